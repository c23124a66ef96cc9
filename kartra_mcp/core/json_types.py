"""JSON of another program, told apart by shape, so that types follow."""

from __future__ import annotations

from typing import Any, TypeGuard


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def is_array(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def is_number(value: Any) -> TypeGuard[int | float]:
    """A JSON number; `true` is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
