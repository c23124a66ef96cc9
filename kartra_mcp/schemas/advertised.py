"""Schema as advertised to clients, made from the converted one; only here is anything left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kartra_mcp.schemas.keywords import NEVER, fits, kind, listing, mapping, types_of
from kartra_mcp.schemas.locations import allowed, alternatives, declared, place, required_always

DEPTH: Final = 12

REMARKS: Final = (
    "title description default examples deprecated readOnly writeOnly".split()  # noqa: SIM905
)
_COMBINATORS: Final = (
    "anyOf oneOf allOf not if then else dependentSchemas dependentRequired".split()  # noqa: SIM905
)
_NUMERIC: Final = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_OF_TYPE: Final[dict[str, tuple[str, ...]]] = {
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": _NUMERIC,
    "integer": _NUMERIC,
}
_SCALARS: Final = [{"type": name} for name in ("string", "number", "boolean", "object")]
_ANYTHING: Final[list[dict[str, Any]]] = [
    *_SCALARS,
    {"type": "array", "items": {"anyOf": [*_SCALARS, {"type": "null"}]}},
    {"type": "null"},
]


def anything(said: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a schema that accepts any value.

    It is spelled out: a bare `true` or `{}` breaks some clients.
    """
    return {**remarks(said or {}), "anyOf": [dict(item) for item in _ANYTHING]}


def remarks(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {key: schema[key] for key in REMARKS if key in schema}


def shown(schema: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the root as advertised: an object with `properties` and no combinator next to them."""
    showing = _Showing(names)
    properties = showing.members(folded(schema), 1)
    needed = [showing.name(name) for name in required_always(schema)]
    needed = [name for name in needed if name in properties]
    out = {key: schema[key] for key in ("minProperties", "maxProperties") if key in schema}
    out |= showing.open_part(schema, 1) | remarks(schema) | _wanted_sentence(schema, names)
    out = {"type": "object", "properties": properties, **out}
    return {**out, "required": needed} if needed else out


def folded(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the properties at the root, including those that only a branch names."""
    own = mapping(schema.get("properties"))
    return {
        name: own[name] if own.get(name) not in ({}, True, None) else _either(found)
        for name, found in declared(place(schema)).items()
    }


def _either(schemas: list[Any]) -> Any:
    distinct = [item for i, item in enumerate(schemas) if item not in schemas[:i]]
    telling = [item for item in distinct if item not in ({}, True, NEVER)]
    if len(telling) > 1:
        return {"anyOf": telling}
    return telling[0] if telling else distinct[0]


def _wanted_sentence(schema: dict[str, Any], names: Mapping[str, str]) -> dict[str, str]:
    said = [sentence(key, found, names) for key, found in alternatives(schema)]
    text = " ".join([str(schema.get("description", "")), *said]).strip()
    return {"description": text} if text else {}


def sentence(key: str, found: list[Any], names: Mapping[str, str]) -> str:
    """Return an `anyOf` or `oneOf` of required names in words.

    Empty if it is about something else.
    """
    words = combination(found, names)
    return f"Give {'exactly ' if key == 'oneOf' else ''}one of: {words}." if words else ""


def combination(found: list[Any], names: Mapping[str, str]) -> str:
    """Return the names that the branches require, e.g. `email; first_name and last_name`."""
    each = [required_always(mapping(branch)) for branch in found]
    if not all(each):
        return ""
    words = [" and ".join(names.get(name, name) for name in needed) for needed in each]
    return "; ".join(dict.fromkeys(words))


class _Showing:
    """Walk down one schema, with the advertised names."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def name(self, own: str) -> str:
        return self.names.get(own, own)

    def schema(self, node: Any, depth: int) -> dict[str, Any]:
        if not isinstance(node, dict):
            return anything()
        found = mapping(node)
        types = types_of(found) or _implied(found)
        if depth > DEPTH and not _is_scalar(types):
            return _cut(found, types)
        if len(types) > 1:
            return self._several(found, types, depth)
        if not types:
            return self._untyped(found, depth)
        return self._single(found, types[0], depth)

    def members(self, properties: Mapping[str, Any], depth: int) -> dict[str, Any]:
        return {
            self.name(own): self.schema(schema, depth + 1)
            for own, schema in properties.items()
            if schema != NEVER
        }

    def open_part(self, node: dict[str, Any], depth: int) -> dict[str, Any]:
        """Return the advertised rule for undeclared names."""
        out: dict[str, Any] = {}
        rest = node.get("additionalProperties")
        if rest is not None:
            out["additionalProperties"] = self._rest(rest, depth)
        patterns = mapping(node.get("patternProperties"))
        if patterns:
            out["patternProperties"] = {
                key: self.schema(schema, depth + 1)
                for key, schema in patterns.items()
                if schema != NEVER
            }
        return out

    def _rest(self, rest: Any, depth: int) -> Any:
        if isinstance(rest, bool) or not rest:
            return rest is not False
        return self.schema(rest, depth + 1)

    def _single(self, node: dict[str, Any], name: str, depth: int) -> dict[str, Any]:
        out = {**remarks(node), "type": name}
        values = _values(node, [name])
        if values is not None:
            out["enum"] = values
        out |= self._of_type(node, name, depth)
        return out | self._combined(node, depth)

    def _several(self, node: dict[str, Any], types: list[str], depth: int) -> dict[str, Any]:
        each = [self._branch(node, name, depth) for name in types if _values(node, [name]) != []]
        combined = self._combined(node, depth)
        if "anyOf" in combined:
            combined["allOf"] = [*combined.get("allOf", []), {"anyOf": combined.pop("anyOf")}]
        return {**remarks(node), "anyOf": each, **combined}

    def _branch(self, node: dict[str, Any], name: str, depth: int) -> dict[str, Any]:
        values = _values(node, [name])
        listed = {} if values is None or name == "null" else {"enum": values}
        return {"type": name, **listed, **self._of_type(node, name, depth)}

    def _untyped(self, node: dict[str, Any], depth: int) -> dict[str, Any]:
        combined = self._combined(node, depth)
        if combined.keys() & {"anyOf", "oneOf", "allOf"}:
            return {**remarks(node), **combined}
        return {**anything(node), **combined}

    def _of_type(self, node: dict[str, Any], name: str, depth: int) -> dict[str, Any]:
        if name == "object":
            return self._object(node, depth)
        if name == "array":
            return self._array(node, depth)
        return {key: node[key] for key in _OF_TYPE.get(name, ()) if key in node}

    def _object(self, node: dict[str, Any], depth: int) -> dict[str, Any]:
        out = {key: node[key] for key in ("minProperties", "maxProperties") if key in node}
        out |= self.open_part(node, depth)
        if "propertyNames" in node and not self.names:
            out["propertyNames"] = self.schema(node["propertyNames"], depth + 1)
        properties = self.members(mapping(node.get("properties")), depth)
        if properties:
            out["properties"] = properties
        needed = [self.name(name) for name in listing(node.get("required"))]
        needed = [name for name in needed if name in properties]
        return {**out, "required": needed} if needed else out

    def _array(self, node: dict[str, Any], depth: int) -> dict[str, Any]:
        counts = ("minItems", "maxItems", "uniqueItems", "minContains", "maxContains")
        out = {key: node[key] for key in counts if key in node}
        first = [self.schema(item, depth + 1) for item in listing(node.get("prefixItems"))]
        if first:
            out["prefixItems"] = first
        if isinstance(node.get("contains"), dict):
            out["contains"] = self.schema(node["contains"], depth + 1)
        if node.get("items") is False:
            out["maxItems"] = min(len(first), out.get("maxItems", len(first)))
        out["items"] = self.schema(node.get("items"), depth + 1)
        return out

    def _combined(self, node: dict[str, Any], depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key in _COMBINATORS:
            found = self._combinator(key, node.get(key), depth)
            if found:
                out[key] = found
        return out

    def _combinator(self, key: str, value: Any, depth: int) -> Any:
        if isinstance(value, list):
            kept = [item for item in listing(value) if item is not False]
            return [self.branch(item, depth + 1) for item in kept]
        if key == "dependentRequired":
            found = mapping(value).items()
            return {self.name(name): [self.name(n) for n in needed] for name, needed in found}
        if key == "dependentSchemas":
            found = mapping(value).items()
            return {self.name(name): self.branch(item, depth + 1) for name, item in found}
        return self.branch(mapping(value), depth + 1) if isinstance(value, dict) else None

    def branch(self, node: Any, depth: int) -> dict[str, Any]:
        """Return a schema that refines another; one that only requires names stays that."""
        needed = listing(mapping(node).get("required"))
        if needed and mapping(node).keys() <= {"required", *REMARKS}:
            return {**remarks(node), "required": [self.name(name) for name in needed]}
        return self.schema(node, depth)


def _is_scalar(types: list[str]) -> bool:
    return bool(types) and not {"object", "array"} & set(types)


def _cut(node: dict[str, Any], types: list[str]) -> dict[str, Any]:
    if types == ["array"]:
        return {**remarks(node), "type": "array", "items": anything()}
    return {**remarks(node), "type": "object"} if types == ["object"] else anything(node)


def _implied(node: dict[str, Any]) -> list[str]:
    """Return the types of a schema that names none, from its values or its keywords."""
    values = allowed(node)
    if values is not None:
        return list(dict.fromkeys(kind(value) for value in values))
    if node.keys() & {"properties", "required", "patternProperties"}:
        return ["object"]
    if node.keys() & {"items", "prefixItems"}:
        return ["array"]
    if node.keys() & set(_OF_TYPE["string"]):
        return ["string"]
    return ["number"] if node.keys() & set(_OF_TYPE["number"]) else []


def _values(node: dict[str, Any], types: list[str]) -> list[Any] | None:
    values = allowed(node)
    return None if values is None else [value for value in values if fits(value, types)]
