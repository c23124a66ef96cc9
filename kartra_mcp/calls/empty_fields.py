"""Empty fields of a result, listed once by name instead of shown one by one. Pure.

Most fields of a lead are empty, and each costs about five tokens. A field is listed only if it is
empty in every object at its location, so that the list loses nothing but the kind of emptiness
(`null`, "", [], {} or a zero date).
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from kartra_mcp.core.json_types import is_array, is_object

MIN_FIELDS = 3
"""Fewer empty fields at one location cost less where they are."""
ZERO_DATES = frozenset({"0000-00-00", "0000-00-00 00:00:00"})

_CONTAINERS = (dict, list)
_WITH_LENGTH = (str, list, dict)
"""Tuples, because a union would be built at each of thousands of checks."""

EmptyFields = dict[str, list[str]]
"""Location → names. A location is a JSON Pointer, in which `*` is every item of a list."""


def extract_empty_fields(result: Any) -> tuple[Any, EmptyFields]:
    """Return the result without its empty fields, and their names by location.

    `{"lead": {"id": 1, "phone": "", "zip": "", "city": null}}` becomes `{"lead": {"id": 1}}` and
    `{"/lead": ["phone", "zip", "city"]}`.
    """
    objects: dict[str, list[dict[str, Any]]] = defaultdict(list)
    _collect_objects(result, "", objects)
    names = {location: _always_empty(found) for location, found in objects.items()}
    listed = {location: empty for location, empty in names.items() if len(empty) >= MIN_FIELDS}
    return (_without(result, "", listed, _ways_to(listed)) if listed else result), listed


def is_empty(value: Any) -> bool:
    """Return whether a value is empty; 0 and false are not."""
    if value:
        return value in ZERO_DATES if isinstance(value, str) else False
    return value is None or isinstance(value, _WITH_LENGTH)


def _always_empty(objects: list[dict[str, Any]]) -> list[str]:
    first, *others = objects
    empty = [name for name, value in first.items() if is_empty(value)]
    for other in others:
        empty = [name for name in empty if name in other and is_empty(other[name])]
    return empty


def _collect_objects(value: Any, location: str, objects: dict[str, list[dict[str, Any]]]) -> None:
    """Add every object to those at its location. Most values are scalars, which cost no call."""
    if is_object(value):
        objects[location].append(value)
        for name, inner in value.items():
            if isinstance(inner, _CONTAINERS):
                _collect_objects(inner, _join(location, name), objects)
    elif is_array(value):
        place = f"{location}/*"
        for inner in value:
            _collect_objects(inner, place, objects)


def _ways_to(listed: EmptyFields) -> frozenset[str]:
    """Return the locations on the way to one with empty fields: all others stay as they are."""
    parts = (location.split("/") for location in listed)
    return frozenset("/".join(part[:end]) for part in parts for end in range(1, len(part) + 1))


def _without(value: Any, location: str, listed: EmptyFields, ways: frozenset[str]) -> Any:
    if location not in ways:
        return value
    if is_object(value):
        dropped = listed.get(location, ())
        return {
            name: _without(inner, _join(location, name), listed, ways)
            if isinstance(inner, _CONTAINERS)
            else inner
            for name, inner in value.items()
            if name not in dropped
        }
    if is_array(value):
        return [_without(inner, f"{location}/*", listed, ways) for inner in value]
    return value


def _join(location: str, name: str) -> str:
    return f"{location}/{name.replace('~', '~0').replace('/', '~1')}"
