"""Names in the account (tags, lists, custom fields, options): comparison and nearest ones. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

from kartra_mcp.core.sanitize import redact_secrets, strip_control_chars, truncate

MAX_NEAREST: Final = 3
MAX_CHARS: Final = 200
MAX_NAME_CHARS: Final = 60
"""Characters of a name that are shown and recorded."""
MAX_COMPARED: Final = 5_000
"""Names that are compared letter by letter; in a longer list only equal ones are found."""


_ADDRESS = re.compile(r"[^\s@<>()]+@[^\s@<>()]+")


def clean_name(text: str, *, mask: bool = False) -> str:
    """Return a name as one line without secrets; no character in it can end the quote."""
    line = redact_secrets(" ".join(strip_control_chars(text).split())).replace('"', "'")
    if mask:
        line = _ADDRESS.sub("(address)", line)
    return truncate(line, MAX_NAME_CHARS)


def fold_text(text: str) -> str:
    """Fold case, accents, width and inner blanks: `  Café ` and `CAFE` are equal."""
    split = unicodedata.normalize("NFKD", text.casefold())
    kept = "".join(char for char in split if not unicodedata.combining(char))
    return " ".join(unicodedata.normalize("NFKC", kept).casefold().split())


def find_nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names nearest to this one, best first; those that fold alike come first."""
    from difflib import get_close_matches

    wanted, folded = fold_text(name[:MAX_CHARS]), dict[str, list[str]]()
    for one in known:
        folded.setdefault(fold_text(one), []).append(one)
    names = list(folded) if len(folded) <= MAX_COMPARED else []
    close = get_close_matches(wanted, names, n=MAX_NEAREST, cutoff=0.5)
    near = [wanted] if wanted in folded else []
    return list(_iter_spellings([*near, *close], folded))[:MAX_NEAREST]


def _iter_spellings(near: list[str], folded: dict[str, list[str]]) -> Iterator[str]:
    for one in dict.fromkeys(near):
        yield from folded[one]
