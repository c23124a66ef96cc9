"""Values and form bodies as PHP parses them; only syntax, no meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

if TYPE_CHECKING:
    from typing import TypeGuard

NESTING = 64
VARIABLES = 1000


def is_map(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def is_array(value: object) -> bool:
    """Return whether PHP would call a value an array: a JSON object or a JSON array."""
    return is_map(value) or is_list(value)


def values(array: object) -> list[Any]:
    if is_map(array):
        return list(array.values())
    return array if is_list(array) else []


def fields(array: object) -> dict[str, Any]:
    if is_map(array):
        return array
    return {str(index): item for index, item in enumerate(values(array))}


def text(value: object) -> str:
    """Return a scalar as PHP would print it; arrays and null are empty."""
    if value is None or value is False or is_array(value):
        return ""
    if value is True:
        return "1"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).encode("utf-8", "replace").decode()  # half a character is none


def is_blank(value: object) -> bool:
    return text(value).strip() == "" and not (is_array(value) and values(value))


def integer(value: object) -> int | None:
    digits = text(value).strip()
    sign = digits[1:] if digits[:1] in {"-", "+"} else digits
    return int(digits) if sign.isascii() and sign.isdigit() and len(sign) < 19 else None


def decimal(value: object) -> float | None:
    """Parse plain decimal notation only: no `nan`, no `1_000`, no hexadecimal."""
    number = text(value).strip()
    allowed = number.isascii() and set(number) <= set("0123456789.+-eE")
    try:
        found = float(number) if allowed else None
    except ValueError:
        return None
    return found if found is not None and abs(found) < 1e15 else None


def parse_form(body: str) -> dict[str, Any]:
    """Parse `a[b][]=c` text into an array by the rules of PHP's variable parser."""
    found: dict[str, Any] = {}
    pairs = [pair for pair in body.split("&") if pair]
    for pair in pairs[:VARIABLES]:
        name, _, value = pair.partition("=")
        path = _path(unquote_plus(name))
        if path and len(path) <= NESTING:
            _put(found, path, unquote_plus(value))
    return found


def _path(name: str) -> list[str | None]:
    """Split a variable's name into keys; None is `[]`; no key for an unusable name."""
    name = name.split("\0", 1)[0].lstrip(" ")
    head, bracket, rest = name.partition("[")
    head = _plain(head)
    if not head or not bracket:
        return [head] if head else []
    if "]" not in rest:
        return [head + "_" + _plain(rest).replace("[", "_")]
    return [head, *_indexes("[" + rest)]


def _indexes(rest: str) -> list[str | None]:
    keys: list[str | None] = []
    while rest.startswith("["):
        key, closed, after = rest[1:].partition("]")
        if not closed:
            break
        keys.append(None if key.strip(" \t\n\r\v\f") == "" else key)
        rest = after
    return keys


def _plain(name: str) -> str:
    return name.replace(" ", "_").replace(".", "_")


def _put(into: dict[str, Any], path: list[str | None], value: str) -> None:
    for key in path[:-1]:
        name = _next_index(into) if key is None else key
        below = into.get(name)
        if not is_map(below):
            below = {}
            into[name] = below
        into = below
    last = path[-1]
    into[_next_index(into) if last is None else last] = value


def _next_index(array: dict[str, Any]) -> str:
    taken = [int(key) for key in array if key.isascii() and key.isdigit() and str(int(key)) == key]
    return str(max(taken, default=-1) + 1)
