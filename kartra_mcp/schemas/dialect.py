"""Membrane's schema dialect to plain JSON Schema 2020-12; only here are `$ref`s resolved."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import unquote

from kartra_mcp.schemas.keywords import (
    ASIDE,
    DROPPED,
    NEVER,
    RULES,
    fits,
    known_values,
    listing,
    mapping,
    modernised,
    pattern,
    plain,
    retyped,
    typed,
    types_of,
)

DEPTH: Final = 40
SCHEMAS: Final = 10_000
UNROLLED: Final = 2

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


def cleaned(raw: Any) -> dict[str, Any]:
    """Return the schema in standard keywords, every local `$ref` inlined; `{}` if it was empty.

    Whatever cannot be read becomes permissive, never stricter. A location whose schema is
    unreachable gets `additionalProperties: true`: any name is allowed there.
    """
    found = _Cleaning(raw).schema(mapping(raw), 0, ("#",))
    return found if isinstance(found, dict) else {}


class _Cleaning:
    """Conversion of one schema: remaining budget, and the number of loosened parts."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self.budget = SCHEMAS
        self.losses = 0

    def schema(self, node: Any, depth: int, trail: tuple[str, ...]) -> dict[str, Any] | bool:
        if isinstance(node, bool):
            return node
        if not isinstance(node, dict):
            return self._open("")
        if depth > DEPTH or self.budget <= 0:
            return self._open(_DEEPER)
        self.budget -= 1
        found = mapping(node)
        if "$ref" in found:
            return self._referred(found, depth, trail)
        return self._keywords(found, depth, trail)

    def _open(self, description: str) -> dict[str, Any]:
        self.losses += 1
        said = {"description": description} if description else {}
        return {**said, "additionalProperties": True}

    def _referred(
        self, node: dict[str, Any], depth: int, trail: tuple[str, ...]
    ) -> dict[str, Any] | bool:
        beside = self._keywords({k: v for k, v in node.items() if k != "$ref"}, depth, trail)
        ref = node["$ref"]
        target = pointed(self.root, ref)
        if not isinstance(target, dict | bool):
            return {**self._open(_FOREIGN), **beside}
        if trail.count(ref) >= UNROLLED:
            return {**self._stub(target), **beside}
        return joined(self.schema(target, depth + 1, (*trail, ref)), beside)

    def _stub(self, target: Any) -> dict[str, Any]:
        found = mapping(target)
        names = types_of(found) or (["object"] if "properties" in found else [])
        return {**self._open(_DEEPER), **typed(names)}

    def _keywords(self, node: dict[str, Any], depth: int, trail: tuple[str, ...]) -> dict[str, Any]:
        node = modernised(node)
        out = self._ruled(node)
        out.update(self._types(node))
        out.update(self._enumerated(node, types_of(out), str(out.get("description", ""))))
        out.update(self._nested(node, depth, trail))
        self.losses += len(_UNHEARD & node.keys())
        return out

    def _ruled(self, node: dict[str, Any]) -> dict[str, Any]:
        kept = {key: rule(node[key]) for key, rule in RULES.items() if key in node}
        lost = [key for key, value in kept.items() if value is DROPPED and key not in ASIDE]
        self.losses += len(lost)
        return {key: value for key, value in kept.items() if value is not DROPPED}

    def _types(self, node: dict[str, Any]) -> dict[str, Any]:
        names = types_of(node)
        self.losses += "type" in node and not names
        if names and node.get("nullable") is True and "null" not in names:
            names = [*names, "null"]
        return typed(names)

    def _enumerated(
        self, node: dict[str, Any], names: list[str], description: str
    ) -> dict[str, Any]:
        given = listing(node.get("enum"))
        known = [plain(value) for value in given]
        sound = [retyped(value, names) for value in known if value is not DROPPED]
        fitting = [value for value in sound if not names or fits(value, names)]
        if node.get("allowCustom") is True or len(sound) < len(given) or not fitting:
            self.losses += "enum" in node
            return known_values(sound, description)
        if node.get("nullable") is True and None not in fitting:
            fitting = [*fitting, None]
        return {"enum": fitting}

    def _nested(self, node: dict[str, Any], depth: int, trail: tuple[str, ...]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key in _SINGLE:
            out.update(self._single(node, key, depth, trail))
        for key in _NAMED:
            out.update(self._members(node, key, depth, trail))
        for key in _LISTS:
            out.update(self._branches(node, key, depth, trail))
        if "loosened" in out:
            out["allOf"] = [*out.get("allOf", []), {"anyOf": out.pop("loosened")}]
        return out

    def _single(
        self, node: dict[str, Any], key: str, depth: int, trail: tuple[str, ...]
    ) -> dict[str, Any]:
        """Convert one schema.

        A `not` or `if` that was loosened would be stricter, so it is dropped.
        """
        before = self.losses
        if not isinstance(node.get(key), dict | bool):
            self.losses += key in node
            return {}
        kept = self.schema(node[key], depth + 1, trail)
        return {} if key in {"not", "if"} and self.losses > before else {key: kept}

    def _branches(
        self, node: dict[str, Any], key: str, depth: int, trail: tuple[str, ...]
    ) -> dict[str, Any]:
        """Convert a list of schemas; a `oneOf` with a loosened branch becomes an `anyOf`."""
        before = self.losses
        given: list[Any] = [
            item for item in listing(node.get(key)) if isinstance(item, dict | bool)
        ]
        kept = [self.schema(item, depth + 1, trail) for item in given]
        if not kept:
            self.losses += key in node
            return {}
        return {"loosened" if key == "oneOf" and self.losses > before else key: kept}

    def _members(
        self, node: dict[str, Any], key: str, depth: int, trail: tuple[str, ...]
    ) -> dict[str, Any]:
        if key not in node:
            return {}
        given = {str(name): item for name, item in mapping(node[key]).items()}
        if key == "patternProperties":
            given = {name: item for name, item in given.items() if pattern(name) is not DROPPED}
        kept = {
            name: NEVER if item is False else self.schema(item, depth + 1, trail)
            for name, item in given.items()
        }
        return {key: kept} if kept or key == "properties" else {}


def joined(target: Any, beside: dict[str, Any]) -> Any:
    """Merge a referred schema with the keywords next to the reference."""
    if not beside:
        return target
    if isinstance(target, dict) and beside.keys() <= ASIDE:
        return {**mapping(target), **beside}
    both: list[Any] = [target, *listing(beside.get("allOf"))]
    return {**beside, "allOf": both}


def pointed(root: Any, ref: Any) -> Any:
    """Return the target of a local reference, or None."""
    if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
        return None
    found: Any = root
    for part in ref.split("/")[1:]:
        step = unquote(part).replace("~1", "/").replace("~0", "~")
        found = _stepped(found, step)
    return found


def _stepped(found: Any, step: str) -> Any:
    if isinstance(found, list):
        items = listing(found)
        ok = re.fullmatch(r"[0-9]{1,6}", step) and int(step) < len(items)
        return items[int(step)] if ok else None
    return mapping(found).get(step)
