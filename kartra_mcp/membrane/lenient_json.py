"""JSON in the output of programs: found, decoded, and pruned where it is too deep. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kartra_mcp.core.json_types import is_array, is_object

MAX_ATTEMPTS, FIRST_ATTEMPTS = 50, 10
"""Most positions of one output that are tried as JSON, and how many of them are the first ones."""

MAX_DEPTH = 100
"""Levels of nesting beyond which parts are left out: later code walks the value recursively."""
TOO_DEEP = "(nested too deeply to be read)"


@dataclass(frozen=True, slots=True)
class ExtractedJson:
    """JSON values of an output; `broken` if one began and did not end."""

    values: list[Any]
    broken: bool = False


def extract_json(text: str) -> ExtractedJson:
    """Return every JSON value that is alone or begins a line, without warning lines and ANSI codes.

    A value inside a broken one is a fragment and never a response.
    """
    whole = decode(text.strip())
    if whole is not NO_JSON:
        return ExtractedJson([whole])
    values: list[Any] = []
    at = 0
    for start in _find_starts(text):
        if start < at:
            continue
        value, end = decode_from(text, start)
        if value is not NO_JSON:
            values.append(value)
        elif end is None:
            return ExtractedJson(values, broken=True)
        at = end or start
    return ExtractedJson(values)


_PLACE = re.compile(
    r"^[ \t]*(\{(?=[\s\"}]|\Z)|\[(?=[\s\"\[\]{\d-]|\Z|true|false|null|NaN|Infinity))",
    re.MULTILINE,
)


def _find_starts(text: str) -> list[int]:
    """Return the positions where a value may begin; of too many, some first and the last outermost.

    Each attempt scans the text, so that their number bounds the time for hostile output.
    """
    places = [match.start(1) for match in _PLACE.finditer(text)]
    if len(places) <= MAX_ATTEMPTS:
        return places
    first, rest = places[:FIRST_ATTEMPTS], places[FIRST_ATTEMPTS:]
    outer = [at for at in rest if text[at - 1] == "\n"]
    return [*first, *outer[FIRST_ATTEMPTS - MAX_ATTEMPTS :]]


class _Nothing:
    """Marker for "no JSON"; None is a JSON value."""


NO_JSON = _Nothing()


def decode(text: str) -> Any:
    """Return the decoded value, or `NO_JSON`. Levels beyond `MAX_DEPTH` are left out."""
    try:
        value = _DECODER.decode(text) if text else NO_JSON
    except (ValueError, RecursionError):
        return NO_JSON
    return _limit_depth(value, text)


def _limit_depth(value: Any, text: str) -> Any:
    """Return a parsed value without what is too deep; text with few brackets needs no walk."""
    if text.count("{") + text.count("[") <= MAX_DEPTH or not _is_too_deep(value):
        return value
    return _prune(value, MAX_DEPTH)


def _parse_finite(text: str) -> float | str:
    """Return a number, or its text if it is infinite: 1e999 cannot be passed on as JSON."""
    number = float(text)
    return number if math.isfinite(number) else text


_DECODER = json.JSONDecoder(parse_constant=str, parse_float=_parse_finite)


def decode_from(text: str, start: int) -> tuple[Any, int | None]:
    """Return the value that begins at a position and its end; `NO_JSON` and None if cut off."""
    part = text[start:]  # a slice: JSONDecodeError counts all lines before its position
    try:
        value, length = _DECODER.raw_decode(part)
    except json.JSONDecodeError as problem:
        return NO_JSON, None if _is_truncated(part, problem) else start + 1
    except (ValueError, RecursionError):
        return NO_JSON, None
    return _limit_depth(value, part[:length]), start + length


_BEGUN = re.compile(r"[\[\s]*\{\s*\"(?:[^\"\\\n]|\\.)*\"\s*:")


def _is_truncated(part: str, problem: json.JSONDecodeError) -> bool:
    """Return True for the beginning of a response, False for a line that only looks like one."""
    at_end = problem.msg.startswith("Unterminated string") or not part[problem.pos :].strip()
    lists = part.startswith("[") and problem.lineno > 1
    return at_end or lists or _BEGUN.match(part) is not None


def _prune(value: Any, levels: int) -> Any:
    """Return a value without what is too deep: one deep part must not cost the whole response."""
    if levels == 0 and (is_object(value) or is_array(value)):
        return TOO_DEEP
    if is_object(value):
        return {name: _prune(inner, levels - 1) for name, inner in value.items()}
    return [_prune(inner, levels - 1) for inner in value] if is_array(value) else value


def _is_too_deep(value: Any) -> bool:
    level = [value] if is_object(value) or is_array(value) else []
    for _ in range(MAX_DEPTH):
        level = [
            inner for outer in level for inner in _iter_values(outer) if type(inner) in _NESTED
        ]
        if not level:
            return False
    return True


_NESTED = (dict, list)  # compared by type: faster than a type guard on each number of a response


def _iter_values(value: Any) -> Iterable[Any]:
    return value.values() if is_object(value) else value


def decode_if_json(value: Any) -> Any:
    """Return the value of a text that is a JSON object or list; anything else unchanged."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        found = decode(value)
        return value if found is NO_JSON else found
    return value
