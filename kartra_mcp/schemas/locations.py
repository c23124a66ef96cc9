"""Places inside a cleaned schema: what it says of a value at one of them, all branches together.

Only here are combinators looked through.
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
    """The schema and all its branches, itself first."""
    return tuple(_opened(schema))


def _opened(schema: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(schema, dict):
        return
    found = mapping(schema)
    yield found
    for branch in branches(found):
        yield from _opened(branch)


def branches(schema: dict[str, Any]) -> Iterator[Any]:
    """The schemas that speak of the same value, one level down."""
    for key in _BRANCHES:
        yield from listing(schema.get(key))
    yield from (schema[key] for key in _CONDITIONS if key in schema)
    yield from mapping(schema.get("dependentSchemas")).values()


def _joined(schemas: Iterable[Any]) -> Place:
    return tuple(view for schema in schemas for view in place(schema))


def declared(at: Place) -> dict[str, list[Any]]:
    """The properties named at a place, each with every schema given for it."""
    found: dict[str, list[Any]] = {}
    for view in at:
        for name, schema in mapping(view.get("properties")).items():
            found.setdefault(name, []).append(schema)
    return found


def demanded(at: Place) -> frozenset[str]:
    """The names that some branch requires, declared or not."""
    return frozenset(name for view in at for name in listing(view.get("required")))


def opened(at: Place) -> bool:
    """Whether names that are not declared are welcome: `additionalProperties` true or a schema."""
    rest = (view.get("additionalProperties", False) for view in at)
    return any(schema is not False for schema in rest)


def matched(at: Place, name: str) -> list[Any]:
    """The schemas of `patternProperties` that a name falls under."""
    patterns = [item for view in at for item in mapping(view.get("patternProperties")).items()]
    return [schema for pattern, schema in patterns if re.search(pattern, name)]


def member(at: Place, name: str) -> Place:
    """What is said of the value under a name."""
    found = [*declared(at).get(name, []), *matched(at, name)]
    return _joined(found or [view.get("additionalProperties") for view in at])


def elements(at: Place) -> Place:
    """What is said of the entries of a list, wherever they stand in it."""
    single = [view.get(key) for view in at for key in ("items", "contains")]
    return _joined([*single, *(item for view in at for item in listing(view.get("prefixItems")))])


def types_at(at: Place) -> frozenset[str]:
    """The types declared for a value; those of its enum where none is."""
    named = frozenset(name for view in at for name in types_of(view))
    return named or frozenset(kind(value) for view in at for value in allowed(view) or [])


def allowed(schema: dict[str, Any]) -> list[Any] | None:
    """The only values that a schema takes, if it names them."""
    if "const" in schema:
        return [schema["const"]]
    return listing(schema["enum"]) if "enum" in schema else None


def alternatives(schema: dict[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """The `anyOf`s and `oneOf`s that hold at a place, those inside `allOf` too."""
    yield from ((key, listing(schema[key])) for key in ("anyOf", "oneOf") if key in schema)
    for branch in listing(schema.get("allOf")):
        yield from alternatives(mapping(branch))


def required_always(schema: dict[str, Any]) -> list[str]:
    """The names required at a place whatever branch is taken."""
    inner = [
        name for item in listing(schema.get("allOf")) for name in required_always(mapping(item))
    ]
    return list(dict.fromkeys([*listing(schema.get("required")), *inner]))
