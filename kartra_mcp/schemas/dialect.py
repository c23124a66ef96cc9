"""Membrane's schema dialect to plain JSON Schema 2020-12; only here are `$ref`s resolved."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import unquote

from kartra_mcp.core.json_types import as_dict, as_list
from kartra_mcp.schemas.keywords import (
    ANNOTATION_KEYWORDS,
    DROPPED,
    FALSE_SCHEMA,
    RULES,
    coerce_enum_value,
    describe_open_enum,
    matches_type,
    pattern_or_dropped,
    sanitize_value,
    type_keyword,
    type_names,
    upgrade_draft,
)

DEPTH: Final = 40
SCHEMAS: Final = 10_000
MAX_REF_DEPTH: Final = 2

_SINGLE: Final = (
    "items additionalProperties propertyNames contains not if then else".split()  # noqa: SIM905
)
_LISTS: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED: Final = ("properties", "patternProperties", "dependentSchemas")
_UNHEARD: Final = frozenset(
    {"unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$recursiveRef"}
)
_FOREIGN: Final = "Any value: what it must look like is not known here."
_DEEPER: Final = "Goes on in the same way; any deeper content is accepted."


def to_json_schema(raw: Any) -> dict[str, Any]:
    """Return the schema in standard keywords, every local `$ref` inlined; `{}` if it was empty.

    Whatever cannot be read becomes permissive, never stricter. A location whose schema is
    unreachable gets `additionalProperties: true`: any name is allowed there.
    """
    found = _DialectConverter(raw).convert(as_dict(raw), 0, ("#",))
    return found if isinstance(found, dict) else {}


class _DialectConverter:
    """Conversion of one schema: remaining budget, and the number of loosened parts."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self.budget = SCHEMAS
        self.losses = 0

    def convert(self, node: Any, depth: int, trail: tuple[str, ...]) -> dict[str, Any] | bool:
        if isinstance(node, bool):
            return node
        if not isinstance(node, dict):
            return self._open("")
        if depth > DEPTH or self.budget <= 0:
            return self._open(_DEEPER)
        self.budget -= 1
        found = as_dict(node)
        if "$ref" in found:
            return self._convert_ref(found, depth, trail)
        return self._convert_keywords(found, depth, trail)

    def _open(self, description: str) -> dict[str, Any]:
        self.losses += 1
        annotations = {"description": description} if description else {}
        return {**annotations, "additionalProperties": True}

    def _convert_ref(
        self, node: dict[str, Any], depth: int, trail: tuple[str, ...]
    ) -> dict[str, Any] | bool:
        beside = self._convert_keywords(
            {k: v for k, v in node.items() if k != "$ref"}, depth, trail
        )
        ref = node["$ref"]
        target = resolve_ref(self.root, ref)
        if not isinstance(target, dict | bool):
            return {**self._open(_FOREIGN), **beside}
        if trail.count(ref) >= MAX_REF_DEPTH:
            return {**self._make_stub(target), **beside}
        return merge(self.convert(target, depth + 1, (*trail, ref)), beside)

    def _make_stub(self, target: Any) -> dict[str, Any]:
        found = as_dict(target)
        names = type_names(found) or (["object"] if "properties" in found else [])
        return {**self._open(_DEEPER), **type_keyword(names)}

    def _convert_keywords(
        self, node: dict[str, Any], depth: int, trail: tuple[str, ...]
    ) -> dict[str, Any]:
        node = upgrade_draft(node)
        out = self._apply_rules(node)
        out.update(self._convert_types(node))
        out.update(self._convert_enum(node, type_names(out), str(out.get("description", ""))))
        out.update(self._convert_nested(node, depth, trail))
        self.losses += len(_UNHEARD & node.keys())
        return out

    def _apply_rules(self, node: dict[str, Any]) -> dict[str, Any]:
        kept = {key: rule(node[key]) for key, rule in RULES.items() if key in node}
        lost = [
            key
            for key, value in kept.items()
            if value is DROPPED and key not in ANNOTATION_KEYWORDS
        ]
        self.losses += len(lost)
        return {key: value for key, value in kept.items() if value is not DROPPED}

    def _convert_types(self, node: dict[str, Any]) -> dict[str, Any]:
        names = type_names(node)
        self.losses += "type" in node and not names
        if names and node.get("nullable") is True and "null" not in names:
            names = [*names, "null"]
        return type_keyword(names)

    def _convert_enum(
        self, node: dict[str, Any], names: list[str], description: str
    ) -> dict[str, Any]:
        given = as_list(node.get("enum"))
        known = [sanitize_value(value) for value in given]
        sound = [coerce_enum_value(value, names) for value in known if value is not DROPPED]
        fitting = [value for value in sound if not names or matches_type(value, names)]
        if node.get("allowCustom") is True or len(sound) < len(given) or not fitting:
            self.losses += "enum" in node
            return describe_open_enum(sound, description)
        if node.get("nullable") is True and None not in fitting:
            fitting = [*fitting, None]
        return {"enum": fitting}

    def _convert_nested(
        self, node: dict[str, Any], depth: int, trail: tuple[str, ...]
    ) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key in _SINGLE:
            out.update(self._convert_single(node, key, depth, trail))
        for key in _NAMED:
            out.update(self._convert_members(node, key, depth, trail))
        for key in _LISTS:
            out.update(self._convert_branches(node, key, depth, trail))
        if "loosened" in out:
            out["allOf"] = [*out.get("allOf", []), {"anyOf": out.pop("loosened")}]
        return out

    def _convert_single(
        self, node: dict[str, Any], key: str, depth: int, trail: tuple[str, ...]
    ) -> dict[str, Any]:
        """Convert one schema.

        A `not` or `if` that was loosened would be stricter, so it is dropped.
        """
        before = self.losses
        if not isinstance(node.get(key), dict | bool):
            self.losses += key in node
            return {}
        kept = self.convert(node[key], depth + 1, trail)
        return {} if key in {"not", "if"} and self.losses > before else {key: kept}

    def _convert_branches(
        self, node: dict[str, Any], key: str, depth: int, trail: tuple[str, ...]
    ) -> dict[str, Any]:
        """Convert a list of schemas; a `oneOf` with a loosened branch becomes an `anyOf`."""
        before = self.losses
        given: list[Any] = [
            item for item in as_list(node.get(key)) if isinstance(item, dict | bool)
        ]
        kept = [self.convert(item, depth + 1, trail) for item in given]
        if not kept:
            self.losses += key in node
            return {}
        return {"loosened" if key == "oneOf" and self.losses > before else key: kept}

    def _convert_members(
        self, node: dict[str, Any], key: str, depth: int, trail: tuple[str, ...]
    ) -> dict[str, Any]:
        if key not in node:
            return {}
        given = {str(name): item for name, item in as_dict(node[key]).items()}
        if key == "patternProperties":
            given = {
                name: item
                for name, item in given.items()
                if pattern_or_dropped(name) is not DROPPED
            }
        kept = {
            name: FALSE_SCHEMA if item is False else self.convert(item, depth + 1, trail)
            for name, item in given.items()
        }
        return {key: kept} if kept or key == "properties" else {}


def merge(target: Any, beside: dict[str, Any]) -> Any:
    """Merge a referred schema with the keywords next to the reference."""
    if not beside:
        return target
    if isinstance(target, dict) and beside.keys() <= ANNOTATION_KEYWORDS:
        return {**as_dict(target), **beside}
    both: list[Any] = [target, *as_list(beside.get("allOf"))]
    return {**beside, "allOf": both}


def resolve_ref(root: Any, ref: Any) -> Any:
    """Return the target of a local reference, or None."""
    if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
        return None
    found: Any = root
    for part in ref.split("/")[1:]:
        step = unquote(part).replace("~1", "/").replace("~0", "~")
        found = _follow_step(found, step)
    return found


def _follow_step(found: Any, step: str) -> Any:
    if isinstance(found, list):
        items = as_list(found)
        ok = re.fullmatch(r"[0-9]{1,6}", step) and int(step) < len(items)
        return items[int(step)] if ok else None
    return as_dict(found).get(step)
