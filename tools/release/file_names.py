"""File names that every system can store: Windows is the strictest of the three."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

LONGEST_PATH = 140
"""Characters of a path below the folder of the bundle.

Windows refuses paths of 260 and more, and the longest folder into which Claude Desktop unpacks
(docs/platforms.md) has about 120.
"""
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
_FORBIDDEN = re.compile(r'[<>:"|?*\\\x00-\x1f]|[. ]$|[^\x20-\x7e]')


def find_name_faults(paths: Iterable[str]) -> Iterator[str]:
    """Yield each path, with forward slashes, that Windows or macOS could not store."""
    seen: dict[str, str] = {}
    for path in sorted(paths):
        for part in path.rstrip("/").split("/"):
            if _FORBIDDEN.search(part) or _DEVICE.fullmatch(part):
                yield f"{path}: {part!r} is no file name on every system"
        if (other := seen.setdefault(path.casefold(), path)) != path:
            yield f"{path}: differs from {other} by case only"


def find_length_faults(paths: Iterable[str]) -> Iterator[str]:
    """Yield each path that is too long for the folder of the bundle on Windows."""
    for path in paths:
        if len(path) > LONGEST_PATH:
            yield f"{path}: {len(path)} characters, {LONGEST_PATH} are allowed"
