"""An action's schema in two copies: one advertised to clients, one that validates arguments.

Only this file bounds the size of the advertised one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kartra_mcp.schemas.advertised import REMARKS, anything, remarks, shown
from kartra_mcp.schemas.dialect import cleaned
from kartra_mcp.schemas.keywords import listing, mapping, types_of
from kartra_mcp.schemas.locations import declared, demanded, opened, place
from kartra_mcp.schemas.names import advertised_names

LARGEST: Final = 60_000
_DESCRIPTION: Final = 200
_SHORT: Final = 60


@dataclass(frozen=True, slots=True, eq=False)
class Portable:
    """A schema that any client accepts, and what is needed to validate arguments by it.

    Compared by identity, not by content: what is derived from one is cached for it.

    Attributes:
        advertised: the schema in `tools/list`.
        enforced: the schema for arguments under the action's own names; whether an undeclared
            top-level name is allowed is not in it (see `open`).
        renames: advertised name to own name, for every changed name at any depth; it applies only
            where the own name is declared.
        declared: the action's own top-level names.
        missing: there is no schema that describes an object.
        open: undeclared top-level names are allowed.
    """

    advertised: dict[str, Any]
    enforced: dict[str, Any]
    renames: Mapping[str, str]
    declared: frozenset[str]
    missing: bool
    open: bool


def portable(raw: Any) -> Portable:
    """Make the two copies of a schema. Never raises, whatever JSON `raw` is."""
    found = cleaned(raw)
    types = types_of(found)
    missing = not found.keys() - set(REMARKS) or (bool(types) and "object" not in types)
    root = {**remarks(found), "additionalProperties": True} if missing else found
    root = {**root, "type": "object"}
    at = place(root)
    names = advertised_names(root)
    return Portable(
        advertised=bounded(shown(root, names)),
        enforced=_unclosed(root),
        renames={shown_as: own for own, shown_as in names.items()},
        declared=frozenset(declared(at)) | demanded(at),
        missing=missing,
        open=opened(at),
    )


def _unclosed(root: dict[str, Any]) -> dict[str, Any]:
    """Remove closing keywords.

    `arguments.py` refuses undeclared names itself and can suggest the right one.
    """
    closed = root.get("additionalProperties") is False
    return {k: v for k, v in root.items() if not (closed and k == "additionalProperties")}


def bounded(schema: dict[str, Any]) -> dict[str, Any]:
    """Shrink the schema step by step until it is no larger than a client should get."""
    for smaller in (_whole, _shortened, _flattened, _listed, _counted):
        schema = smaller(schema)
        if _size(schema) <= LARGEST:
            break
    return schema


def _size(schema: Any) -> int:
    return len(json.dumps(schema))


def _whole(schema: dict[str, Any]) -> dict[str, Any]:
    return schema


def _shortened(schema: dict[str, Any]) -> dict[str, Any]:
    """Truncate descriptions everywhere."""
    return mapping(_cut_descriptions(schema))


def _cut_descriptions(node: Any) -> Any:
    if isinstance(node, list):
        return [_cut_descriptions(item) for item in listing(node)]
    if not isinstance(node, dict):
        return node
    return {
        key: cut(value, _DESCRIPTION)
        if key == "description" and isinstance(value, str)
        else _cut_descriptions(value)
        for key, value in mapping(node).items()
    }


def cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _flattened(schema: dict[str, Any]) -> dict[str, Any]:
    """Make nested properties permissive, the largest first, as few as needed."""
    return _replaced(schema, _flat, _largest_first(schema))


def _listed(schema: dict[str, Any]) -> dict[str, Any]:
    """Reduce properties to type and a short description, the largest first."""
    kept = {key: schema[key] for key in ("type", "properties", "required") if key in schema}
    kept["additionalProperties"] = schema.get("additionalProperties") is not False
    return _replaced(kept, _short, _largest_first(kept))


def _replaced(
    schema: dict[str, Any], smaller: Callable[[Any], dict[str, Any]], order: list[str]
) -> dict[str, Any]:
    properties = dict(mapping(schema["properties"]))
    excess = _size(schema) - LARGEST
    for name in order:
        if excess <= 0:
            break
        before = _size(properties[name])
        properties[name] = smaller(properties[name])
        excess -= before - _size(properties[name])
    return {**schema, "properties": properties}


def _largest_first(schema: dict[str, Any]) -> list[str]:
    properties = mapping(schema["properties"])
    return sorted(properties, key=lambda name: -_size(properties[name]))


def _flat(node: Any) -> dict[str, Any]:
    found = mapping(node)
    nested = found.keys() & {"properties", "items", "anyOf", "oneOf", "allOf"}
    return _short(found, _DESCRIPTION) if nested else found


def _short(node: Any, longest: int = _SHORT) -> dict[str, Any]:
    """Keep only type and description."""
    found = mapping(node)
    said = {k: cut(str(found[k]), longest) for k in ("title", "description") if found.get(k)}
    if found.get("type") == "array":
        return {**said, "type": "array", "items": anything()}
    return {**said, "type": found["type"]} if "type" in found else anything(said)


def _counted(schema: dict[str, Any]) -> dict[str, Any]:
    """Keep as many properties as fit, the required ones first; the others can still be given."""
    properties = mapping(schema["properties"])
    needed = [name for name in listing(schema.get("required")) if name in properties]
    order = dict.fromkeys([*needed, *properties])
    kept = dict(_fitting((name, properties[name]) for name in order))
    required = [name for name in needed if name in kept]
    return {
        "type": "object",
        "description": f"{len(properties) - len(kept)} more properties are not shown.",
        "properties": kept,
        "additionalProperties": True,
        **({"required": required} if required else {}),
    }


def _fitting(members: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    room = LARGEST // 2
    for name, schema in members:
        room -= _size(schema) + 2 * len(name)
        if room < 0:
            return
        yield name, schema
