"""Locations inside a converted schema: the rules for a value there, from all branches together.

Only here are combinators resolved.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from kartra_mcp.schemas.keywords import kind, listing, mapping, types_of

Place = tuple[dict[str, Any], ...]
"""Every schema that may speak of one value: its own and those of its branches."""

_BRANCHES: Final = ("anyOf", "oneOf", "allOf")
_CONDITIONS: Final = ("if", "then", "else")


def place(schema: Any) -> Place:
    """Return the schema and all its branches, itself first."""
    return tuple(_opened(schema))


def _opened(schema: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(schema, dict):
        return
    found = mapping(schema)
    yield found
    for branch in branches(found):
        yield from _opened(branch)


def branches(schema: dict[str, Any]) -> Iterator[Any]:
    """Return the schemas for the same value, one level down."""
    for key in _BRANCHES:
        yield from listing(schema.get(key))
    yield from (schema[key] for key in _CONDITIONS if key in schema)
    yield from mapping(schema.get("dependentSchemas")).values()


def _joined(schemas: Iterable[Any]) -> Place:
    return tuple(view for schema in schemas for view in place(schema))


def declared(at: Place) -> dict[str, list[Any]]:
    """Return the properties named at a location, each with every schema given for it."""
    found: dict[str, list[Any]] = {}
    for view in at:
        for name, schema in mapping(view.get("properties")).items():
            found.setdefault(name, []).append(schema)
    return found


def demanded(at: Place) -> frozenset[str]:
    """Return the names that some branch requires, declared or not."""
    return frozenset(name for view in at for name in listing(view.get("required")))


def opened(at: Place) -> bool:
    """Return whether undeclared names are allowed: `additionalProperties` is true or a schema."""
    rest = (view.get("additionalProperties", False) for view in at)
    return any(schema is not False for schema in rest)


def matched(at: Place, name: str) -> list[Any]:
    """Return the schemas of `patternProperties` that match a name."""
    patterns = [item for view in at for item in mapping(view.get("patternProperties")).items()]
    return [schema for pattern, schema in patterns if re.search(pattern, name)]


def member(at: Place, name: str) -> Place:
    """Return the schemas of the value under a name."""
    found = [*declared(at).get(name, []), *matched(at, name)]
    return _joined(found or [view.get("additionalProperties") for view in at])


def elements(at: Place) -> Place:
    """Return the schemas of a list's elements, at any index."""
    single = [view.get(key) for view in at for key in ("items", "contains")]
    return _joined([*single, *(item for view in at for item in listing(view.get("prefixItems")))])


def types_at(at: Place) -> frozenset[str]:
    """Return the declared types of a value; those of its enum if there is none."""
    named = frozenset(name for view in at for name in types_of(view))
    return named or frozenset(kind(value) for view in at for value in allowed(view) or [])


def allowed(schema: dict[str, Any]) -> list[Any] | None:
    """Return the only values that a schema allows, if it lists them."""
    if "const" in schema:
        return [schema["const"]]
    return listing(schema["enum"]) if "enum" in schema else None


def alternatives(schema: dict[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """Return the `anyOf`s and `oneOf`s at a location, including those inside `allOf`."""
    yield from ((key, listing(schema[key])) for key in ("anyOf", "oneOf") if key in schema)
    for branch in listing(schema.get("allOf")):
        yield from alternatives(mapping(branch))


def required_always(schema: dict[str, Any]) -> list[str]:
    """Return the names that every branch requires."""
    inner = [
        name for item in listing(schema.get("allOf")) for name in required_always(mapping(item))
    ]
    return list(dict.fromkeys([*listing(schema.get("required")), *inner]))
