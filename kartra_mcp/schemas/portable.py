"""An action's schema in two copies: one advertised to clients, one that validates arguments.

Only this file bounds the size of the advertised one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from kartra_mcp.core.json_types import as_dict, as_list
from kartra_mcp.schemas.advertised import REMARKS, accepts_anything, advertise, schema_annotations
from kartra_mcp.schemas.dialect import to_json_schema
from kartra_mcp.schemas.keywords import type_names
from kartra_mcp.schemas.locations import is_open, locate, property_names, required_names
from kartra_mcp.schemas.names import map_advertised_names

LARGEST: Final = 60_000
_DESCRIPTION: Final = 200
_SHORT: Final = 60
_LARGEST_KEPT: Final = 20_000
_KEPT: Final = 256


@dataclass(frozen=True, slots=True, eq=False)
class PortableSchema:
    """A schema that any client accepts, and the data to validate arguments by it.

    Compared by identity, because derived data is cached per object.

    Attributes:
        advertised: the schema in `tools/list`.
        enforced: the schema for arguments under the action's own names; whether an undeclared
            top-level name is allowed is not in it (see `open`).
        renames: advertised name to own name, for every changed name at any depth; it applies only
            where the own name is declared.
        declared: the action's own top-level names.
        missing: the action's schema does not describe an object.
        open: undeclared top-level names are allowed.
    """

    advertised: dict[str, Any]
    enforced: dict[str, Any]
    renames: Mapping[str, str]
    declared: frozenset[str]
    missing: bool
    open: bool


def find_portable(raw: Any) -> PortableSchema:
    """Return the two copies of a schema, the same object for an equal schema if it is small.

    The list of actions is read again and again, and hardly ever changes.
    """
    try:
        text = json.dumps(raw)
    except RecursionError:
        return make_portable(raw)
    return make_portable(raw) if len(text) > _LARGEST_KEPT else _make_kept(text)


@lru_cache(_KEPT)
def _make_kept(text: str) -> PortableSchema:
    return make_portable(json.loads(text))


def make_portable(raw: Any) -> PortableSchema:
    """Make the two copies of a schema. Never raises, whatever JSON `raw` is."""
    found = to_json_schema(raw)
    types = type_names(found)
    missing = not found.keys() - set(REMARKS) or (bool(types) and "object" not in types)
    root = {**schema_annotations(found), "additionalProperties": True} if missing else found
    root = {**root, "type": "object"}
    at = locate(root)
    names = map_advertised_names(root)
    return PortableSchema(
        advertised=limit_size(advertise(root, names)),
        enforced=_open_undeclared(root),
        renames={shown_as: own for own, shown_as in names.items()},
        declared=frozenset(property_names(at)) | required_names(at),
        missing=missing,
        open=is_open(at),
    )


def _open_undeclared(root: dict[str, Any]) -> dict[str, Any]:
    """Remove closing keywords.

    `arguments.py` refuses undeclared names itself and can suggest the right one.
    """
    closed = root.get("additionalProperties") is False
    return {k: v for k, v in root.items() if not (closed and k == "additionalProperties")}


def limit_size(schema: dict[str, Any]) -> dict[str, Any]:
    """Shrink the schema step by step until it fits the size limit for clients."""
    for smaller in (
        _keep_whole,
        _shorten_descriptions,
        _flatten_nested,
        _reduce_to_types,
        _drop_optional,
    ):
        schema = smaller(schema)
        if _json_size(schema) <= LARGEST:
            break
    return schema


def _json_size(schema: Any) -> int:
    return len(json.dumps(schema))


def _keep_whole(schema: dict[str, Any]) -> dict[str, Any]:
    return schema


def _shorten_descriptions(schema: dict[str, Any]) -> dict[str, Any]:
    """Truncate descriptions everywhere."""
    return as_dict(_cut_descriptions(schema))


def _cut_descriptions(node: Any) -> Any:
    if isinstance(node, list):
        return [_cut_descriptions(item) for item in as_list(node)]
    if not isinstance(node, dict):
        return node
    return {
        key: truncate_schema(value, _DESCRIPTION)
        if key == "description" and isinstance(value, str)
        else _cut_descriptions(value)
        for key, value in as_dict(node).items()
    }


def truncate_schema(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _flatten_nested(schema: dict[str, Any]) -> dict[str, Any]:
    """Make nested properties permissive, the largest first, as few as needed."""
    return _replace_largest(schema, _flatten, _sort_by_size(schema))


def _reduce_to_types(schema: dict[str, Any]) -> dict[str, Any]:
    """Reduce properties to type and a short description, the largest first."""
    kept = {key: schema[key] for key in ("type", "properties", "required") if key in schema}
    closed = schema.get("additionalProperties") is False and "patternProperties" not in schema
    kept["additionalProperties"] = not closed
    return _replace_largest(kept, _shorten, _sort_by_size(kept))


def _replace_largest(
    schema: dict[str, Any], smaller: Callable[[Any], dict[str, Any]], order: list[str]
) -> dict[str, Any]:
    properties = dict(as_dict(schema["properties"]))
    excess = _json_size(schema) - LARGEST
    for name in order:
        if excess <= 0:
            break
        before = _json_size(properties[name])
        properties[name] = smaller(properties[name])
        excess -= before - _json_size(properties[name])
    return {**schema, "properties": properties}


def _sort_by_size(schema: dict[str, Any]) -> list[str]:
    properties = as_dict(schema["properties"])
    return sorted(properties, key=lambda name: -_json_size(properties[name]))


def _flatten(node: Any) -> dict[str, Any]:
    found = as_dict(node)
    nested = found.keys() & {"properties", "items", "anyOf", "oneOf", "allOf"}
    return _shorten(found, _DESCRIPTION) if nested else found


def _shorten(node: Any, longest: int = _SHORT) -> dict[str, Any]:
    """Keep only type and description."""
    found = as_dict(node)
    annotations = {
        k: truncate_schema(str(found[k]), longest) for k in ("title", "description") if found.get(k)
    }
    if found.get("type") == "array":
        return {**annotations, "type": "array", "items": accepts_anything()}
    if "type" not in found:
        return accepts_anything(annotations)
    return {**annotations, "type": found["type"]}


def _drop_optional(schema: dict[str, Any]) -> dict[str, Any]:
    """Keep as many properties as fit, the required ones first; the others can still be given."""
    properties = as_dict(schema["properties"])
    needed = [name for name in as_list(schema.get("required")) if name in properties]
    order = dict.fromkeys([*needed, *properties])
    kept = dict(_iter_fitting((name, properties[name]) for name in order))
    required = [name for name in needed if name in kept]
    return {
        "type": "object",
        "description": f"{len(properties) - len(kept)} more properties are not shown.",
        "properties": kept,
        "additionalProperties": True,
        **({"required": required} if required else {}),
    }


def _iter_fitting(members: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    room = LARGEST // 2
    for name, schema in members:
        room -= _json_size(schema) + 2 * len(name)
        if room < 0:
            return
        yield name, schema
