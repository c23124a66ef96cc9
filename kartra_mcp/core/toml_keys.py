"""Bound on the dotted keys of a TOML text, checked before it is parsed. Pure."""

from __future__ import annotations

import re
from typing import Final

MAX_KEY_PARTS: Final = 100
_TOKEN = re.compile(r"(?s)\"[^\"\n]*\"|'[^'\n]*'|[A-Za-z0-9_-]+|[ \t]+|(?P<dot>\.)|(?P<other>.)")
"""A part of a key, a blank, a dot, or what ends a key."""


def has_long_key(text: str) -> bool:
    """Return whether a key, or a text that looks like one, has more than `MAX_KEY_PARTS` parts.

    `tomllib` takes time by the square of the parts: a quarter of a minute for 8,000 of them.
    """
    dots = 0
    for token in _TOKEN.finditer(text):
        if token.lastgroup == "other":
            dots = 0
        elif token.lastgroup == "dot":
            dots += 1
            if dots >= MAX_KEY_PARTS:
                return True
    return False
