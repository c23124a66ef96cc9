"""Minimal edits of a TOML text: set or remove our tables; every byte outside them is kept.

A line that looks like a table header may be part of a string or an array. It is a header only if
the text between the last header and this line is complete, i.e. can be parsed by itself.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

from kartra_mcp.client_config.errors import UneditableConfigError
from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.core.toml_keys import has_long_key

_HEADER = re.compile(r"^[ \t]*\[.*$", re.MULTILINE)
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_MAX_DEPTH = 100


def read(text: str) -> dict[str, Any]:
    """Parse the text.

    Raises:
        UneditableConfigError: it is not TOML.
    """
    if has_long_key(text):
        raise _too_deep_error()
    try:
        found = tomllib.loads(text.removeprefix("\ufeff").replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError as problem:
        raise UneditableConfigError(f"is not valid TOML ({_error_location(problem)})") from None
    except ValueError:
        raise UneditableConfigError("has a number with too many digits") from None
    except RecursionError:
        raise _too_deep_error() from None
    _require_shallow(found)
    return found


def set_entry(text: str, path: Sequence[str], value: Mapping[str, Any]) -> str:
    """Set the table at `path`: in its place, or at the end of the text.

    Raises:
        UneditableConfigError: it cannot be parsed.
    """
    spans = _join_spans(text, _iter_spans(text, path))
    newline = "\r\n" if "\r\n" in text else "\n"
    rows = newline.join(_iter_rows(path, value))
    if not spans:
        gap = "" if not text.strip("\ufeff\r\n\t ") else _make_gap(text, newline)
        return text + gap + rows + newline
    at = spans[0][0]
    return text[:at] + rows + newline + _remove_spans(text, spans)[at:]


def remove_entry(text: str, path: Sequence[str]) -> str:
    """Remove the table at `path` and its inner tables.

    Raises:
        UneditableConfigError: it cannot be parsed.
    """
    spans = _join_spans(text, _iter_spans(text, path))
    if not spans:
        return text
    left = _remove_spans(text, spans)
    at = spans[0][0]
    if not left[at:].strip():
        return _drop_last_blank_line(left[:at])
    return left[:at] + left[at:].lstrip("\r\n") if not left[:at].strip() else left


def _drop_last_blank_line(text: str) -> str:
    for blank in ("\r\n\r\n", "\n\n"):
        if text.endswith(blank):
            return text[: -len(blank) // 2]
    return text


def _make_gap(text: str, newline: str) -> str:
    return newline if text.endswith("\n") else newline * 2


def _remove_spans(text: str, spans: Sequence[tuple[int, int]]) -> str:
    for start, end in reversed(spans):
        text = text[:start] + text[end:]
    return text


def _iter_spans(text: str, path: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Return the line ranges of the tables at or below `path`, from the header to the last line.

    Comments before the next table belong to that table.
    """
    read(text)
    headers = list(_iter_headers(text))
    ends = [at for at, _ in headers[1:]] + [len(text)]
    for (start, name), end in zip(headers, ends, strict=False):
        if tuple(name[: len(path)]) == tuple(path):
            yield start, _find_last_line(text, start, end)


def _join_spans(text: str, spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Merge ranges with nothing but blank lines between them."""
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and not text[joined[-1][1] : start].strip():
            start = joined.pop()[0]  # noqa: PLW2901
        joined.append((start, end))
    return joined


def _iter_headers(text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    last = 0
    for found in _HEADER.finditer(text):
        name = _parse_name(found[0]) if _is_whole(text[last : found.start()]) else None
        if name is not None:
            last = found.start()
            yield last, name


def _is_whole(text: str) -> bool:
    try:
        read(text)
    except UneditableConfigError:
        return False
    return True


def _parse_name(line: str) -> tuple[str, ...] | None:
    """Parse a header: `[a."b c"]` is ("a", "b c"); None if the line is part of a value."""
    try:
        data: Any = tomllib.loads(line.strip())
    except tomllib.TOMLDecodeError:
        return None
    names: list[str] = []
    while data:
        if is_object(data):
            ((name, data),) = data.items()
            names.append(name)
        else:
            (data,) = data
    return tuple(names)


def _find_last_line(text: str, start: int, end: int) -> int:
    """Return the end of a table: blank lines and comments after it belong to the next one."""
    last = end
    lines = text[start:end].splitlines(keepends=True)
    while len(lines) > 1 and not lines[-1].split("#")[0].strip():
        last -= len(lines.pop())
    return last if _is_whole(text[start:last]) else end


def _iter_rows(path: Sequence[str], value: Mapping[str, Any]) -> Iterator[str]:
    """Return a table as lines, followed by its inner tables."""
    yield "[" + ".".join(map(_format_key, path)) + "]"
    inner = {name: part for name, part in value.items() if is_object(part)}
    for name, part in value.items():
        if name not in inner:
            yield f"{_format_key(name)} = {_format_value(part)}"
    for name, part in inner.items():
        yield ""
        yield from _iter_rows((*path, name), part)


def _format_key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _format_value(value: Any) -> str:
    if is_array(value):
        return "[" + ", ".join(map(_format_value, value)) + "]"
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    if isinstance(value, str | bool | int | float):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    raise UneditableConfigError("has a value in our entry that cannot be written back")


def _require_shallow(found: Mapping[str, Any]) -> None:
    """Refuse tables of hundreds of levels, which the parser takes and no walk does."""
    level: list[Any] = [found]
    for _ in range(_MAX_DEPTH):
        level = [inner for part in level for inner in _iter_inner(part)]
        if not level:
            return
    raise _too_deep_error()


def _iter_inner(part: Any) -> Iterable[Any]:
    values = part.values() if is_object(part) else part if is_array(part) else ()
    return (value for value in values if is_object(value) or is_array(value))


def _too_deep_error() -> UneditableConfigError:
    return UneditableConfigError("is nested too deeply")


def _error_location(problem: tomllib.TOMLDecodeError) -> str:
    found = re.search(r"line \d+", str(problem))
    return found[0] if found else "at its end"
