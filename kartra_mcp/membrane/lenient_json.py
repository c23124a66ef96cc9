"""JSON in another program's output: found, decoded, and truncated where it is too deep. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kartra_mcp.core.json_types import is_array, is_object

MOST_ATTEMPTS, FIRST_ATTEMPTS = 50, 10
"""Places in one output that are tried as JSON, and how many of them from its beginning."""

DEEPEST = 100
"""Levels of nesting beyond which parts of an answer are left out: what comes after walks it."""
TOO_DEEP = "(nested too deeply to be read)"


@dataclass(frozen=True, slots=True)
class Printed:
    """JSON values of an output; `broken` if one began and did not end."""

    values: list[Any]
    broken: bool = False


def printed_json(text: str) -> Printed:
    """Return every JSON value that is alone or begins a line, without warning lines and ANSI codes.

    A value inside a broken one is a fragment and never a response.
    """
    whole = decoded(text.strip())
    if whole is not NOTHING:
        return Printed([whole])
    values: list[Any] = []
    at = 0
    for start in _places(text):
        if start < at:
            continue
        value, end = decoded_from(text, start)
        if value is not NOTHING:
            values.append(value)
        elif end is None:
            return Printed(values, broken=True)
        at = end or start
    return Printed(values)


_PLACE = re.compile(
    r"^[ \t]*(\{(?=[\s\"}]|\Z)|\[(?=[\s\"\[\]{\d-]|\Z|true|false|null|NaN|Infinity))",
    re.MULTILINE,
)


def _places(text: str) -> list[int]:
    """Return where a value may begin; of too many, the first ones and the last outermost ones."""
    places = [match.start(1) for match in _PLACE.finditer(text)]
    if len(places) <= MOST_ATTEMPTS:
        return places
    first, rest = places[:FIRST_ATTEMPTS], places[FIRST_ATTEMPTS:]
    outer = [at for at in rest if text[at - 1] == "\n"]
    return [*first, *outer[FIRST_ATTEMPTS - MOST_ATTEMPTS :]]


class _Nothing:
    """Marker for "no JSON"; None is a JSON value."""


NOTHING = _Nothing()


def decoded(text: str) -> Any:
    try:
        value = _DECODER.decode(text) if text else NOTHING
    except (ValueError, RecursionError):
        return NOTHING
    return _shallow(value, text)


def _shallow(value: Any, text: str) -> Any:
    """Return a parsed value without what is too deep; text with few brackets needs no walk."""
    if text.count("{") + text.count("[") <= DEEPEST or not _too_deep(value):
        return value
    return _pruned(value, DEEPEST)


def _finite(text: str) -> float | str:
    """Return a number; 1e999 cannot be passed on as JSON."""
    number = float(text)
    return number if math.isfinite(number) else text


_DECODER = json.JSONDecoder(parse_constant=str, parse_float=_finite)


def decoded_from(text: str, start: int) -> tuple[Any, int | None]:
    """Return the value that begins at a position and its end; nothing if it broke off."""
    part = text[start:]  # a slice: an error counts the lines before it, from the very beginning
    try:
        value, length = _DECODER.raw_decode(part)
    except json.JSONDecodeError as problem:
        return NOTHING, None if _broke_off(part, problem) else start + 1
    except (ValueError, RecursionError):
        return NOTHING, None
    return _shallow(value, part[:length]), start + length


_BEGUN = re.compile(r"[\[\s]*\{\s*\"(?:[^\"\\\n]|\\.)*\"\s*:")


def _broke_off(part: str, problem: json.JSONDecodeError) -> bool:
    """Return whether this was the beginning of a response, and not a line that looks like one."""
    at_end = problem.msg.startswith("Unterminated string") or not part[problem.pos :].strip()
    lists = part.startswith("[") and problem.lineno > 1
    return at_end or lists or _BEGUN.match(part) is not None


def _pruned(value: Any, levels: int) -> Any:
    """Return a value without what is too deep, so that one deep part costs no more."""
    if levels == 0 and (is_object(value) or is_array(value)):
        return TOO_DEEP
    if is_object(value):
        return {name: _pruned(inner, levels - 1) for name, inner in value.items()}
    return [_pruned(inner, levels - 1) for inner in value] if is_array(value) else value


def _too_deep(value: Any) -> bool:
    level = [value] if is_object(value) or is_array(value) else []
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _inside(outer) if type(inner) in _NESTED]
        if not level:
            return False
    return True


_NESTED = (dict, list)  # looked at by type: a large answer asks this of every number in it


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if is_object(value) else value


def text_or_json(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        found = decoded(value)
        return value if found is NOTHING else found
    return value
