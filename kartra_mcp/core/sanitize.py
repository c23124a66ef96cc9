"""Make untrusted text safe to show: strip control characters, redact secrets, truncate. Pure."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kartra_mcp.core.json_types import is_array, is_inexact, is_object

_KEPT = frozenset("\n\t")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories that are not shown; U+2028 and U+2029 would break a line where none is expected."""
_FILLERS = frozenset(
    "\u115f\u1160\u3164\uffa0\u034f\u2800\u17b4\u17b5\u180b\u180c\u180d\u180f\U0001d159"
)
_SEEMS_PRINTABLE = re.compile(
    "[\ufe00-\ufe0f\U000e0100-\U000e01ef" + "".join(sorted(_FILLERS)) + "]"
)
"""Invisible characters that Python calls printable."""
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")

_SEEN = 4_000
"""Characters of a long text that are searched before the cut: a secret must be seen whole."""


def strip_ansi(text: str) -> str:
    return _ANSI.sub("", text)


def strip_control_chars(text: str) -> str:
    """Remove invisible, bidirectional and control characters; keep line breaks and tabs."""
    if text.isprintable() and (text.isascii() or not _SEEMS_PRINTABLE.search(text)):
        return text
    return "".join(c for c in text.replace("\r\n", "\n") if _is_visible(c))


def _is_visible(char: str) -> bool:
    if char in _KEPT or char.isalnum():
        return char not in _FILLERS
    return unicodedata.category(char) not in _HIDDEN and not _is_variation(char)


def _is_variation(char: str) -> bool:
    return char in _FILLERS or "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"


def map_strings(value: Any, mend: Callable[[str], str] = strip_control_chars) -> Any:
    """Return the same JSON with every string mapped, field names included.

    A whole number that JavaScript would round becomes its text: it may be an id.
    Fields whose names become equal are numbered, so that nothing is lost.
    """
    return _StringMapper(mend).map_value(value)


_ESCAPED = re.compile(r"\\[^nt\"\\]")
"""Characters that JSON escapes and `strip_control_chars` would remove."""
_LONG_NUMBER = re.compile(r"[0-9]{16}")
"""Digits of a number that may be above 2^53, inside a text or not."""
_FOUR_DIGITS = re.compile(r"[0-9]{4}")


def sanitize_and_dump(value: Any) -> tuple[Any, str]:
    """Return the same JSON (names are strings) with every string clean, and its dump as one line.

    Whole numbers above 2^53 become text, as in `map_strings`. Most dumps are clean as a whole line.
    Every string in them is clean then, and no walk is needed.
    """
    line = dump_json(value)
    is_clean = strip_control_chars(line) == line and not _ESCAPED.search(line)
    if is_clean and not _has_long_number(line):
        return value, line
    mended = map_strings(value)
    return mended, dump_json(mended)


def _has_long_number(line: str) -> bool:
    """Search 16 digits in a row: of those, 4 are neighbors among each fourth character.

    Measured: a quarter of the time. Dates have no such neighbors.
    """
    return bool(_FOUR_DIGITS.search(line[::4]) and _LONG_NUMBER.search(line))


class _StringMapper:
    """One walk; a field name is mapped once, because the rows of a list share theirs."""

    def __init__(self, mend: Callable[[str], str]) -> None:
        self._mend = mend
        self._names: dict[str, str] = {}

    def map_value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._mend(value)
        if is_object(value):
            return self._map_object(value)
        if is_array(value):
            return [self.map_value(inner) for inner in value]
        return str(value) if is_inexact(value) else value

    def _map_object(self, value: dict[str, Any]) -> dict[str, Any]:
        mended: dict[str, Any] = {}
        mend, names = self._mend, self._names
        for name, inner in value.items():
            free = names.get(name)
            if free is None:
                free = names[name] = mend(str(name))
            if free in mended:
                free = _free(free, mended)
            # Not `map_value` for strings: large results spend their time in this loop.
            mended[free] = mend(inner) if isinstance(inner, str) else self.map_value(inner)
        return mended


def _free(name: str, taken: Mapping[str, Any]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


def truncate(text: str, length: int) -> str:
    """Return at most `length` characters, the last an ellipsis if something was removed."""
    return text if len(text) <= length else text[: max(length - 1, 0)].rstrip() + "…"


def redact_secrets(text: str) -> str:
    """Remove tokens, keys, passwords and card digits except the last four."""
    from kartra_mcp.core.secret_patterns import CARDS, SECRETS  # not for the first list

    for pattern, instead in SECRETS:
        text = pattern.sub(instead, text)
    for pattern in CARDS:
        text = pattern.sub(_mask_card, text)
    return text


def redact_fields(value: Any) -> Any:
    """Return the same JSON without secrets: in its texts, and under names of secrets."""
    from kartra_mcp.core.secret_patterns import SECRET_NAME  # not for the first list

    if isinstance(value, str):
        return redact_secrets(strip_control_chars(value))
    if is_object(value):
        return {
            name: "[removed]" if inner and SECRET_NAME.fullmatch(name) else redact_fields(inner)
            for name, inner in map_strings(value, strip_control_chars).items()
        }
    return [redact_fields(inner) for inner in value] if is_array(value) else value


def redact_command(words: Sequence[str]) -> tuple[str, ...]:
    """Return the words of a command for display, without the values of secret options."""
    from kartra_mcp.core.secret_patterns import SECRET_NAME  # not for the first list

    shown: list[str] = []
    for word in words:
        before = shown[-1] if shown else ""
        secret = before.startswith("-") and "=" not in before and not word.startswith("-")
        if secret and SECRET_NAME.fullmatch(before.lstrip("-")):
            shown.append("[removed]")
        else:
            shown.append(redact_secrets(word))
    return tuple(shown)


def _mask_card(match: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", match.group())
    return f"[card …{digits[-4:]}]" if _has_luhn_checksum(digits) else match.group()


def _has_luhn_checksum(digits: str) -> bool:
    doubled = [int(d) * (2 if i % 2 else 1) for i, d in enumerate(reversed(digits))]
    return sum(n - 9 if n > 9 else n for n in doubled) % 10 == 0  # noqa: PLR2004


def safe_excerpt(text: str, length: int = 500) -> str:
    """Return untrusted text for an error: clean, without secrets, truncated."""
    seen = strip_ansi(text[: _SEEN + 10 * length])
    return truncate(redact_secrets(strip_control_chars(seen)).strip(), length)


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def dump_json(value: Any) -> str:
    """Return one line of JSON; non-ASCII characters stay unescaped.

    Non-finite numbers never reach this (see `membrane/lenient_json.py`).
    """
    return _ENCODER.encode(value)


def json_bytes(line: str) -> int:
    """Return the size of a line of JSON as it is sent: clients bound a line in bytes."""
    return len(line) if line.isascii() else len(line.encode(errors="surrogatepass"))
