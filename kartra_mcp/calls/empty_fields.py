"""Empty fields of a result, listed once by name instead of shown one by one. Pure.

Most fields of a lead are empty, and each costs about five tokens. A field is listed only if it is
empty in every object at its location, so that the list loses nothing but the kind of emptiness
(`null`, "", [], {} or a zero date).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from kartra_mcp.core.json_types import is_array, is_object

MIN_FIELDS = 3
"""Fewer empty fields at one location cost less where they are."""
ZERO_DATES = frozenset({"0000-00-00", "0000-00-00 00:00:00"})

EmptyFields = dict[str, list[str]]
"""Location → names. A location is a JSON Pointer, in which `*` is every item of a list."""


def extract_empty_fields(result: Any) -> tuple[Any, EmptyFields]:
    """Return the result without its empty fields, and their names by location.

    `{"lead": {"id": 1, "phone": "", "zip": "", "city": null}}` becomes `{"lead": {"id": 1}}` and
    `{"/lead": ["phone", "zip", "city"]}`.
    """
    objects: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for location, found in _iter_objects(result, ""):
        objects[location].append(found)
    names = {location: _always_empty(found) for location, found in objects.items()}
    listed = {location: empty for location, empty in names.items() if len(empty) >= MIN_FIELDS}
    return (_without(result, "", listed) if listed else result), listed


def is_empty(value: Any) -> bool:
    """Return whether a value is empty; 0 and false are not."""
    if isinstance(value, str):
        return not value or value in ZERO_DATES
    return value is None or (isinstance(value, list | dict) and not value)


def _always_empty(objects: list[dict[str, Any]]) -> list[str]:
    return [
        name
        for name in objects[0]
        if all(name in found and is_empty(found[name]) for found in objects)
    ]


def _iter_objects(value: Any, location: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if is_object(value):
        yield location, value
        for name, inner in value.items():
            yield from _iter_objects(inner, _join(location, name))
    elif is_array(value):
        for inner in value:
            yield from _iter_objects(inner, f"{location}/*")


def _without(value: Any, location: str, listed: EmptyFields) -> Any:
    if is_object(value):
        dropped = listed.get(location, ())
        return {
            name: _without(inner, _join(location, name), listed)
            for name, inner in value.items()
            if name not in dropped
        }
    if is_array(value):
        return [_without(inner, f"{location}/*", listed) for inner in value]
    return value


def _join(location: str, name: str) -> str:
    return f"{location}/{name.replace('~', '~0').replace('/', '~1')}"
