"""Type guards for parsed JSON of another program."""

from __future__ import annotations

from typing import Any, TypeGuard


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def is_array(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def is_number(value: Any) -> TypeGuard[int | float]:
    """Return whether a value is a JSON number; `true` is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)
