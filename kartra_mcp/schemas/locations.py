"""Locations inside a converted schema: the rules for a value there, from all branches together.

Only here are combinators resolved.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from kartra_mcp.core.json_types import as_dict, as_list, is_object, json_type
from kartra_mcp.schemas.keywords import type_names

Location = tuple[dict[str, Any], ...]
"""Every schema that may constrain one value: its own and those of its branches."""

_BRANCHES: Final = ("anyOf", "oneOf", "allOf")
_CONDITIONS: Final = ("if", "then", "else")
_DEPENDENT: Final = "dependentSchemas"
_COMBINATORS: Final = frozenset({*_BRANCHES, *_CONDITIONS, _DEPENDENT})


def locate(schema: Any) -> Location:
    """Return the schema and all its branches, itself first."""
    if is_object(schema) and _COMBINATORS.isdisjoint(schema):  # most schemas, for each argument
        return (schema,)
    return tuple(_iter_views(schema))


def _iter_views(schema: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(schema, dict):
        return
    found = as_dict(schema)
    yield found
    for branch in iter_branches(found):
        yield from _iter_views(branch)


def iter_branches(schema: dict[str, Any]) -> Iterator[Any]:
    """Return the schemas for the same value, one level down."""
    for key in _BRANCHES:
        yield from as_list(schema.get(key))
    yield from (schema[key] for key in _CONDITIONS if key in schema)
    yield from as_dict(schema.get(_DEPENDENT)).values()


def _join_locations(schemas: Iterable[Any]) -> Location:
    return tuple(view for schema in schemas for view in locate(schema))


def property_names(at: Location) -> dict[str, list[Any]]:
    """Return the properties named at a location, each with every schema given for it."""
    found: dict[str, list[Any]] = {}
    for view in at:
        for name, schema in as_dict(view.get("properties")).items():
            found.setdefault(name, []).append(schema)
    return found


def required_names(at: Location) -> frozenset[str]:
    """Return the names that some branch requires, declared or not."""
    return frozenset(name for view in at for name in as_list(view.get("required")))


def is_open(at: Location) -> bool:
    """Return whether undeclared names are allowed: `additionalProperties` is true or a schema.

    What the value's own schema closes, no branch opens.
    """
    if at and at[0].get("additionalProperties") is False:
        return False
    rest = (view.get("additionalProperties", False) for view in at)
    return any(schema is not False for schema in rest)


def matches_pattern(at: Location, name: str) -> list[Any]:
    """Return the schemas of `patternProperties` that match a name."""
    patterns = (view["patternProperties"] for view in at if "patternProperties" in view)
    return [
        schema
        for each in patterns
        for pattern, schema in as_dict(each).items()
        if re.search(pattern, name)
    ]


def at_property(at: Location, name: str) -> Location:
    """Return the schemas of the value under a name."""
    named = (as_dict(view.get("properties")) for view in at)
    found = [*(members[name] for members in named if name in members), *matches_pattern(at, name)]
    return _join_locations(found or [view.get("additionalProperties") for view in at])


def at_items(at: Location) -> Location:
    """Return the schemas of a list's elements, at any index."""
    single = [view.get(key) for view in at for key in ("items", "contains")]
    return _join_locations(
        [*single, *(item for view in at for item in as_list(view.get("prefixItems")))]
    )


def declared_types(at: Location) -> frozenset[str]:
    """Return the declared types of a value; those of its enum if there is none."""
    named = frozenset(name for view in at for name in type_names(view))
    return named or frozenset(
        json_type(value) for view in at for value in allowed_values(view) or []
    )


def allowed_values(schema: dict[str, Any]) -> list[Any] | None:
    """Return the only values that a schema allows, if it lists them."""
    if "const" in schema:
        return [schema["const"]]
    return as_list(schema["enum"]) if "enum" in schema else None


def iter_alternatives(schema: dict[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """Return the `anyOf`s and `oneOf`s at a location, including those inside `allOf`."""
    yield from ((key, as_list(schema[key])) for key in ("anyOf", "oneOf") if key in schema)
    for branch in as_list(schema.get("allOf")):
        yield from iter_alternatives(as_dict(branch))


def always_required_names(schema: dict[str, Any]) -> list[str]:
    """Return the names that every branch requires."""
    inner = [
        name
        for item in as_list(schema.get("allOf"))
        for name in always_required_names(as_dict(item))
    ]
    return list(dict.fromkeys([*as_list(schema.get("required")), *inner]))
