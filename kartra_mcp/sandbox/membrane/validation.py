"""Validation of an input as Membrane does it: missing fields fail, unknown ones are dropped."""

from __future__ import annotations

from typing import Any

from kartra_mcp.sandbox.membrane.errors import MembraneError
from kartra_mcp.sandbox.store import php_values


def validate_input(schema: object, given: object) -> dict[str, Any]:
    """Return the input without undeclared properties.

    Nothing reports them, so callers must check first.
    """
    if given is not None and not php_values.is_map(given):
        raise MembraneError("The input has to be an object", key="validation_error")
    missing: list[str] = []
    kept = _part(schema, given or {}, "", missing)
    if missing:
        raise MembraneError(
            f"Missing required: {', '.join(missing)}",
            key="validation_error",
            data={"missing": missing},
        )
    return php_values.fields(kept)


def _part(schema: object, given: object, path: str, missing: list[str]) -> object:
    if not php_values.is_map(schema):
        return given
    if php_values.is_list(given):
        return [_part(schema.get("items"), one, f"{path}[]", missing) for one in given]
    declared = schema.get("properties")
    if not php_values.is_map(given) or not php_values.is_map(declared):
        return given
    missing += [
        path + name for name in php_values.values(schema.get("required")) if name not in given
    ]
    opened = schema.get("additionalProperties")
    return {
        name: _part(declared.get(name), value, f"{path}{name}.", missing)
        for name, value in given.items()
        if name in declared or opened is True or php_values.is_map(opened)
    }
