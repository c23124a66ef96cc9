"""Schema as advertised to clients, made from the converted one; only here is anything left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kartra_mcp.core.json_types import as_dict, as_list, json_type
from kartra_mcp.schemas.keywords import FALSE_SCHEMA, matches_type, type_names
from kartra_mcp.schemas.locations import (
    allowed_values,
    always_required_names,
    iter_alternatives,
    locate,
    property_names,
    required_names,
)

DEPTH: Final = 12

REMARKS: Final = (
    "title description default examples deprecated readOnly writeOnly".split()  # noqa: SIM905
)
_COMBINATORS: Final = "anyOf oneOf allOf dependentSchemas dependentRequired".split()  # noqa: SIM905
"""`not` and `if` are left out, `oneOf` becomes `anyOf`: around looser ones they are stricter."""
_NUMERIC: Final = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_OF_TYPE: Final[dict[str, tuple[str, ...]]] = {
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": _NUMERIC,
    "integer": _NUMERIC,
}
_SCALARS: Final = [{"type": name} for name in ("string", "number", "boolean", "object")]
_ANYTHING: Final[list[dict[str, Any]]] = [
    *_SCALARS,
    {
        "type": "array",
        "items": {
            "anyOf": [
                *_SCALARS,
                {"type": "array", "items": {"description": "Any value"}},
                {"type": "null"},
            ]
        },
    },
    {"type": "null"},
]


def accepts_anything(annotations: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a schema that accepts any value.

    It is spelled out: a bare `true` or `{}` breaks some clients.
    """
    return {**schema_annotations(annotations or {}), "anyOf": [dict(item) for item in _ANYTHING]}


def schema_annotations(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {key: schema[key] for key in REMARKS if key in schema}


def advertise(schema: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the root as advertised: an object with `properties` and no combinator next to them."""
    showing = _Advertiser(names)
    members = collect_properties(schema)
    if schema.get("additionalProperties") is False:
        # `arguments.py` knows these names too; a client would refuse them as additional.
        members |= {name: {} for name in required_names(locate(schema)) if name not in members}
    properties = showing.advertise_members(members, 1)
    needed = [showing.name(name) for name in always_required_names(schema)]
    needed = [name for name in needed if name in properties]
    out = {key: schema[key] for key in ("minProperties", "maxProperties") if key in schema}
    out |= (
        showing.open_part(schema, 1)
        | schema_annotations(schema)
        | _describe_alternatives(schema, names)
    )
    out = {"type": "object", "properties": properties, **out}
    return {**out, "required": needed} if needed else out


def collect_properties(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the properties at the root, including those that only a branch names.

    A property of one alternative may be anything under the others, so that its type is only named.
    """
    certain = _find_certain(schema)
    return {
        name: certain[name] if name in certain else _describe_uncertain(found)
        for name, found in property_names(locate(schema)).items()
    }


def _find_certain(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the properties whose schema applies whichever alternative does."""
    found: dict[str, Any] = {}
    for branch in as_list(schema.get("allOf")):
        found |= _find_certain(as_dict(branch))
    for key in ("anyOf", "oneOf"):
        branches = [b for b in as_list(schema.get(key)) if b is not False]
        each = [_find_certain(as_dict(branch)) for branch in branches]
        for name in each[0] if each else ():
            if all(name in one for one in each):
                found.setdefault(name, _any_of([one[name] for one in each]))
    own = as_dict(schema.get("properties")).items()
    return found | {name: one for name, one in own if one not in ({}, True, None)}


def _any_of(schemas: list[Any]) -> Any:
    telling = [item for i, item in enumerate(schemas) if item not in schemas[:i]]
    telling = [item for item in telling if item != FALSE_SCHEMA] or telling
    return {"anyOf": telling} if len(telling) > 1 else telling[0]


def _describe_uncertain(found: list[Any]) -> Any:
    """Return a schema that accepts anything, with the annotations and types of the branches."""
    allowed = [as_dict(item) for item in found if item != FALSE_SCHEMA]
    if not allowed:
        return found[0]
    annotations = schema_annotations(next((item for item in allowed if item), dict[str, Any]()))
    types = sorted({name for item in allowed for name in type_names(item)})
    if not types:
        return annotations
    own = annotations.get("description", "")
    return {**annotations, "description": f"{own} (type: {' or '.join(types)})".strip()}


def _describe_alternatives(schema: dict[str, Any], names: Mapping[str, str]) -> dict[str, str]:
    sentences = [as_sentence(key, found, names) for key, found in iter_alternatives(schema)]
    text = " ".join([str(schema.get("description", "")), *sentences]).strip()
    return {"description": text} if text else {}


def as_sentence(key: str, found: list[Any], names: Mapping[str, str]) -> str:
    """Return an `anyOf` or `oneOf` of required names in words; "" for any other one."""
    words = describe_combinator(found, names)
    return f"Give {'exactly ' if key == 'oneOf' else ''}one of: {words}." if words else ""


def describe_combinator(found: list[Any], names: Mapping[str, str]) -> str:
    """Return the names that the branches require, e.g. `email; first_name and last_name`."""
    each = [always_required_names(as_dict(branch)) for branch in found]
    if not all(each):
        return ""
    words = [" and ".join(names.get(name, name) for name in needed) for needed in each]
    return "; ".join(dict.fromkeys(words))


class _Advertiser:
    """Walk down one schema, with the advertised names."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def name(self, own: str) -> str:
        return self.names.get(own, own)

    def advertise(
        self, node: Any, depth: int, inherited: list[str] | None = None
    ) -> dict[str, Any]:
        """Return a schema that accepts at least what this one does.

        `inherited` are the types of the schema that a branch without a type refines.
        """
        if not isinstance(node, dict):
            return accepts_anything()
        found = as_dict(node)
        types = type_names(found) or _value_types(found) or (inherited or [])
        if depth > DEPTH and not _is_scalar(types):
            return _cut(found, types)
        if len(types) > 1:
            return self._advertise_several(found, types, depth)
        if not types:
            return self._advertise_untyped(found, depth)
        return self._advertise_single(found, types[0], depth)

    def advertise_members(self, properties: Mapping[str, Any], depth: int) -> dict[str, Any]:
        return {
            self.name(own): self.advertise(schema, depth + 1)
            for own, schema in properties.items()
            if schema != FALSE_SCHEMA
        }

    def open_part(self, node: dict[str, Any], depth: int) -> dict[str, Any]:
        """Return the advertised rule for undeclared names."""
        out: dict[str, Any] = {}
        rest = node.get("additionalProperties")
        if rest is not None:
            out["additionalProperties"] = self._advertise_rest(rest, depth)
        patterns = as_dict(node.get("patternProperties"))
        if patterns:
            out["patternProperties"] = {
                key: self.advertise(schema, depth + 1)
                for key, schema in patterns.items()
                if schema != FALSE_SCHEMA
            }
        return out

    def _advertise_rest(self, rest: Any, depth: int) -> Any:
        if isinstance(rest, bool) or not rest:
            return rest is not False
        return self.advertise(rest, depth + 1)

    def _advertise_single(self, node: dict[str, Any], name: str, depth: int) -> dict[str, Any]:
        out = {**schema_annotations(node), "type": name}
        values = _allowed_values(node, [name])
        if values is not None:
            out["enum"] = values
        out |= self._advertise_type(node, name, depth)
        return out | self._advertise_combinators(node, depth, [name])

    def _advertise_several(
        self, node: dict[str, Any], types: list[str], depth: int
    ) -> dict[str, Any]:
        each = [
            self._make_branch(node, name, depth)
            for name in types
            if _allowed_values(node, [name]) != []
        ]
        combined = self._advertise_combinators(node, depth, types)
        if "anyOf" in combined:
            combined["allOf"] = [*combined.get("allOf", []), {"anyOf": combined.pop("anyOf")}]
        return {**schema_annotations(node), "anyOf": each, **combined}

    def _make_branch(self, node: dict[str, Any], name: str, depth: int) -> dict[str, Any]:
        values = _allowed_values(node, [name])
        listed = {} if values is None or name == "null" else {"enum": values}
        return {"type": name, **listed, **self._advertise_type(node, name, depth)}

    def _advertise_untyped(self, node: dict[str, Any], depth: int) -> dict[str, Any]:
        combined = self._advertise_combinators(node, depth, [])
        inferred = _infer_types(node)
        if inferred:
            each = [self._make_branch(node, name, depth) for name in inferred]
            each += [dict(other) for other in _ANYTHING if other["type"] not in inferred]
            if "anyOf" in combined:
                combined["allOf"] = [*combined.get("allOf", []), {"anyOf": combined.pop("anyOf")}]
            return {**schema_annotations(node), "anyOf": each, **combined}
        if combined.keys() & {"anyOf", "oneOf", "allOf"}:
            return {**schema_annotations(node), **combined}
        return {**accepts_anything(node), **combined}

    def _advertise_type(self, node: dict[str, Any], name: str, depth: int) -> dict[str, Any]:
        if name == "object":
            return self._advertise_object(node, depth)
        if name == "array":
            return self._advertise_array(node, depth)
        kept = {key: node[key] for key in _OF_TYPE.get(name, ()) if key in node}
        if not isinstance(kept.get("multipleOf", 1), int):
            del kept["multipleOf"]  # binary fractions deny that 19.99 is a multiple of 0.01
        return kept

    def _advertise_object(self, node: dict[str, Any], depth: int) -> dict[str, Any]:
        out = {key: node[key] for key in ("minProperties", "maxProperties") if key in node}
        out |= self.open_part(node, depth)
        if "propertyNames" in node and not self.names:
            out["propertyNames"] = self.advertise(node["propertyNames"], depth + 1)
        properties = self.advertise_members(as_dict(node.get("properties")), depth)
        if properties:
            out["properties"] = properties
        needed = [self.name(name) for name in as_list(node.get("required"))]
        needed = [name for name in needed if name in properties]
        return {**out, "required": needed} if needed else out

    def _advertise_array(self, node: dict[str, Any], depth: int) -> dict[str, Any]:
        counts = ("minItems", "maxItems", "uniqueItems", "minContains")
        out = {key: node[key] for key in counts if key in node}
        first = [self.advertise(item, depth + 1) for item in as_list(node.get("prefixItems"))]
        if first:
            out["prefixItems"] = first
        if isinstance(node.get("contains"), dict):
            out["contains"] = self.advertise(node["contains"], depth + 1)
        if node.get("items") is False:
            out["maxItems"] = min(len(first), out.get("maxItems", len(first)))
        out["items"] = self.advertise(node.get("items"), depth + 1)
        return out

    def _advertise_combinators(
        self, node: dict[str, Any], depth: int, types: list[str]
    ) -> dict[str, Any]:
        out: dict[str, Any] = {}
        every: list[Any] = []
        for key in _COMBINATORS:
            found = self._advertise_combinator(key, node.get(key), depth, types)
            if found and key == "allOf":
                every += found
            elif found and key == "oneOf" and "anyOf" in out:
                every.append({"anyOf": found})
            elif found:
                out["anyOf" if key == "oneOf" else key] = found
        return {**out, "allOf": every} if every else out

    def _advertise_combinator(self, key: str, value: Any, depth: int, types: list[str]) -> Any:
        if isinstance(value, list):
            kept = [item for item in as_list(value) if item is not False]
            return [self.advertise_branch(item, depth + 1, types) for item in kept]
        if key == "dependentRequired":
            found = as_dict(value).items()
            return {self.name(name): [self.name(n) for n in needed] for name, needed in found}
        if key == "dependentSchemas":
            found = as_dict(value).items()
            return {
                self.name(name): self.advertise_branch(item, depth + 1, types)
                for name, item in found
            }
        return None

    def advertise_branch(self, node: Any, depth: int, types: list[str]) -> dict[str, Any]:
        """Return a schema that refines another; one that only requires names stays that."""
        needed = as_list(as_dict(node).get("required"))
        if needed and as_dict(node).keys() <= {"required", *REMARKS}:
            return {**schema_annotations(node), "required": [self.name(name) for name in needed]}
        return self.advertise(node, depth, types)


def _is_scalar(types: list[str]) -> bool:
    return bool(types) and not {"object", "array"} & set(types)


def _cut(node: dict[str, Any], types: list[str]) -> dict[str, Any]:
    if types == ["array"]:
        return {**schema_annotations(node), "type": "array", "items": accepts_anything()}
    return (
        {**schema_annotations(node), "type": "object"}
        if types == ["object"]
        else accepts_anything(node)
    )


def _value_types(node: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(json_type(value) for value in allowed_values(node) or []))


def _infer_types(node: dict[str, Any]) -> list[str]:
    """Return the type that the keywords of an untyped schema are about; others are allowed too."""
    if node.keys() & {"properties", "required", "patternProperties"}:
        return ["object"]
    if node.keys() & {"items", "prefixItems"}:
        return ["array"]
    if node.keys() & set(_OF_TYPE["string"]):
        return ["string"]
    return ["number"] if node.keys() & set(_OF_TYPE["number"]) else []


def _allowed_values(node: dict[str, Any], types: list[str]) -> list[Any] | None:
    values = allowed_values(node)
    return None if values is None else [value for value in values if matches_type(value, types)]
