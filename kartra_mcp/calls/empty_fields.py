"""Empty fields of a result, listed once by name instead of shown one by one. Pure.

Most fields of a lead are empty, and each costs about five tokens. A field is listed only if it is
empty in every object at its location, so that the list loses nothing but the kind of emptiness
(`null`, "", [], {} or a zero date).
"""

from __future__ import annotations

from typing import Any

from kartra_mcp.core.json_types import is_array, is_object

MIN_FIELDS = 3
"""Fewer empty fields at one location cost less where they are."""
_NOTHING = (None, "", "0000-00-00", "0000-00-00 00:00:00")
_CONTAINERS = frozenset({dict, list})
"""Compared by type: the kinds of a parsed value are exact, and most values are scalars."""

EmptyFields = dict[str, list[str]]
"""Location → names. A location is a JSON Pointer, in which `*` is every item of a list."""


def extract_empty_fields(result: Any) -> tuple[Any, EmptyFields]:
    """Return the result without its empty fields, and their names by location.

    `{"lead": {"id": 1, "phone": "", "zip": "", "city": null}}` becomes `{"lead": {"id": 1}}` and
    `{"/lead": ["phone", "zip", "city"]}`.
    """
    empty: EmptyFields = {}
    if type(result) in _CONTAINERS:
        _collect_names(result, "", empty)
    listed = {location: names for location, names in empty.items() if len(names) >= MIN_FIELDS}
    return (_without(result, "", listed, _ways_to(listed)) if listed else result), listed


def is_empty(value: Any) -> bool:
    """Return whether a value is empty; 0 and false are not."""
    return value in _NOTHING or (not value and type(value) in _CONTAINERS)


def _collect_names(container: Any, location: str, empty: EmptyFields) -> None:
    """Set the names that are empty in every object at a location, in it and below."""
    if is_array(container):
        place = f"{location}/*"
        for inner in container:
            if type(inner) in _CONTAINERS:
                _collect_names(inner, place, empty)
        return
    if len(container) < MIN_FIELDS:
        names = []
    elif location in empty:
        known = empty[location]
        names = [name for name in known if name in container and is_empty(container[name])]
    else:
        names = [name for name, value in container.items() if is_empty(value)]
    empty[location] = names
    for name, inner in container.items():
        if type(inner) in _CONTAINERS:
            _collect_names(inner, _join(location, name), empty)


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
            if type(inner) in _CONTAINERS
            else inner
            for name, inner in value.items()
            if name not in dropped
        }
    if is_array(value):
        return [_without(inner, f"{location}/*", listed, ways) for inner in value]
    return value


def _join(location: str, name: str) -> str:
    if "~" in name or "/" in name:
        name = name.replace("~", "~0").replace("/", "~1")
    return f"{location}/{name}"
