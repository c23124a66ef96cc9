"""Types of parsed JSON: type guards, and reading untrusted values as one type."""

from __future__ import annotations

from typing import Any, Final, TypeGuard, cast

MAX_SAFE_INTEGER: Final = 2**53
"""JavaScript rounds larger whole numbers to a neighbor: another id."""


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def is_array(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def is_number(value: Any) -> TypeGuard[int | float]:
    """Return True for a JSON number; `true` and `false` are not numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_inexact(value: Any) -> bool:
    """Return whether JavaScript, in clients and in Membrane's program, rounds a whole number."""
    return isinstance(value, int) and abs(value) > MAX_SAFE_INTEGER


def as_dict(value: Any) -> dict[str, Any]:
    """Return the object, or an empty one for anything else."""
    return value if is_object(value) else {}


def as_list(value: Any) -> list[Any]:
    """Return the list, or an empty one for anything else."""
    return value if is_array(value) else []


def is_large(value: Any) -> bool:
    """Return whether a value has many parts or long texts, without walking it to its end."""
    parts, characters = 0, 0
    waiting: list[Any] = [value]
    while waiting:
        part = waiting.pop()
        parts += 1
        # Of a hundred parts most are scalars: the kinds of a parsed value are exact, and cheap.
        kind = cast("type[object]", type(part))
        if kind is str:
            characters += len(part)
        elif kind is dict or kind is list:
            if len(part) > _MANY_PARTS:
                return True
            waiting += part.values() if kind is dict else part
        if parts > _MANY_PARTS or characters > _LONG_TEXT:
            return True
    return False


_MANY_PARTS, _LONG_TEXT = 2_000, 200_000


def json_type(value: Any) -> str:
    """Return the JSON type of a value; a whole number is an integer."""
    if value is None:
        return "null"
    for python, name in _PYTHON_TYPES:
        if isinstance(value, python):
            return name
    return "object"


_PYTHON_TYPES: Final = (
    (bool, "boolean"),
    (str, "string"),
    (int, "integer"),
    (float, "number"),
    (list, "array"),
)
