"""Sanitize the keywords of a schema, one at a time; only here is a keyword's value judged."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable
from typing import Any, Final, cast

TYPE_NAMES: Final = ("string", "integer", "number", "boolean", "object", "array", "null")
LISTED: Final = 100
_VALUE_DEPTH: Final = 24
_LARGEST: Final = 10**300

_FORMATS: Final = {
    **{name: name for name in ("date-time", "date", "time", "duration", "email", "hostname")},
    **{name: name for name in ("ipv4", "ipv6", "uri", "uri-reference", "uuid")},
    "datetime": "date-time",
    "url": "uri",
}
ASIDE: Final = frozenset(
    "title description default examples deprecated readOnly writeOnly format".split()  # noqa: SIM905
)
"""Keywords that no value is judged by."""


class _Dropped:
    """Marker for a value that cannot be kept."""


DROPPED: Final = _Dropped()
NEVER: Final[dict[str, Any]] = {"not": {}}
"""What `false` is for a property: unlike it, it keeps the place of its fault."""


def mapping(value: Any) -> dict[str, Any]:
    """Return the object, or an empty one for anything else."""
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def listing(value: Any) -> list[Any]:
    """Return the list, or an empty one for anything else."""
    return cast(list[Any], value) if isinstance(value, list) else []


def kind(value: Any) -> str:
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


def fits(value: Any, names: list[str]) -> bool:
    """Return whether a value has one of the types."""
    own = kind(value)
    return own in names or (own == "integer" and "number" in names)


def types_of(schema: dict[str, Any]) -> list[str]:
    """Return the types of a schema as a list: trimmed, known ones only, without duplicates."""
    named = schema.get("type")
    wanted = listing(named) or [named]
    clean = [name.strip().lower() for name in wanted if isinstance(name, str)]
    return [name for name in dict.fromkeys(clean) if name in TYPE_NAMES]


def plain(value: Any, depth: int = 0) -> Any:
    """Return a JSON value that can be sent, or DROPPED: no NaN, no formula, no endless nesting."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return text(value)
    if isinstance(value, int | float):
        return value if _sound(value) else DROPPED
    if depth >= _VALUE_DEPTH:
        return DROPPED
    return _plain_list(value, depth) if isinstance(value, list) else _plain_object(value, depth)


def _sound(number: float) -> bool:
    return math.isfinite(number) if isinstance(number, float) else abs(number) < _LARGEST


def _plain_list(value: Any, depth: int) -> Any:
    kept = [plain(item, depth + 1) for item in listing(value)]
    return DROPPED if any(item is DROPPED for item in kept) else kept


def _plain_object(value: Any, depth: int) -> Any:
    found = mapping(value)
    if not isinstance(value, dict) or any(str(key).startswith("$") for key in found):
        return DROPPED
    kept = {text(str(key)): plain(item, depth + 1) for key, item in found.items()}
    return DROPPED if any(item is DROPPED for item in kept.values()) else kept


def text(value: str) -> str:
    """Return the text without unpaired surrogates, which cannot be encoded."""
    return value.encode("utf-8", "replace").decode("utf-8")


def _text(value: Any) -> Any:
    return text(value) if isinstance(value, str) else DROPPED


def _flag(value: Any) -> Any:
    return value if isinstance(value, bool) else DROPPED


def _number(value: Any) -> Any:
    ok = isinstance(value, int | float) and not isinstance(value, bool) and _sound(value)
    return value if ok else DROPPED


def _positive(value: Any) -> Any:
    number = _number(value)
    return number if number is not DROPPED and number > 0 else DROPPED


def _count(value: Any) -> Any:
    number = _number(value)
    return int(number) if number is not DROPPED and number >= 0 and number % 1 == 0 else DROPPED


def _format(value: Any) -> Any:
    return _FORMATS.get(value.strip().lower(), DROPPED) if isinstance(value, str) else DROPPED


def _examples(value: Any) -> Any:
    kept = [plain(item) for item in (listing(value) or [value])]
    return [item for item in kept if item is not DROPPED] or DROPPED


def pattern(value: Any) -> Any:
    """Return the pattern if Python's `re` compiles it without a warning."""
    if not isinstance(value, str):
        return DROPPED
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(value)
    except (re.error, OverflowError, RecursionError, Warning):
        return DROPPED
    return value if text(value) == value else DROPPED


def _names(value: Any) -> Any:
    names = list(dict.fromkeys(name for name in listing(value) if isinstance(name, str)))
    return names or DROPPED


def _dependents(value: Any) -> Any:
    kept = {key: _names(names) for key, names in mapping(value).items()}
    return {key: names for key, names in kept.items() if names is not DROPPED} or DROPPED


RULES: Final[dict[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(("title", "description"), _text),
    **dict.fromkeys(("deprecated", "readOnly", "writeOnly", "uniqueItems"), _flag),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), _count),
    **dict.fromkeys(("minProperties", "maxProperties", "minContains", "maxContains"), _count),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _number),
    "multipleOf": _positive,
    "format": _format,
    "pattern": pattern,
    "default": plain,
    "const": plain,
    "examples": _examples,
    "required": _names,
    "dependentRequired": _dependents,
}


def typed(names: list[str]) -> dict[str, Any]:
    if not names:
        return {}
    return {"type": names[0] if len(names) == 1 else names}


def retyped(value: Any, names: list[str]) -> Any:
    """Convert an enum value to its type: Membrane writes an integer 1 as `"1"`."""
    if isinstance(value, str) and names and not fits(value, names):
        if re.fullmatch(r"-?[0-9]{1,18}", value) and fits(1, names):
            return int(value)
        if value in {"true", "false"} and "boolean" in names:
            return value == "true"
    return value


def known_values(values: list[Any], description: str) -> dict[str, Any]:
    """Move an open enum's values to the description."""
    shown = [str(value) for value in values if isinstance(value, str | int | float)]
    if not shown:
        return {}
    more = f" and {len(shown) - LISTED} more" if len(shown) > LISTED else ""
    listed = f"Known values: {', '.join(shown[:LISTED])}{more}"
    return {"description": f"{description} {listed}".strip()}


def modernised(node: dict[str, Any]) -> dict[str, Any]:
    """Upgrade keywords of older drafts: tuple items, dependencies, boolean exclusive bounds."""
    out = dict(node)
    if isinstance(out.get("items"), list):
        out["prefixItems"] = out.pop("items")
        if "additionalItems" in out:
            out["items"] = out["additionalItems"]
    for bound in ("Minimum", "Maximum"):
        if isinstance(out.get(f"exclusive{bound}"), bool):
            exclusive = out.pop(f"exclusive{bound}")
            if exclusive and bound.lower() in out:
                out[f"exclusive{bound}"] = out.pop(bound.lower())
    return _undepended(out)


def _undepended(out: dict[str, Any]) -> dict[str, Any]:
    old = mapping(out.pop("dependencies", None))
    for key, kinds in (("dependentRequired", list), ("dependentSchemas", dict)):
        found: dict[str, Any] = {
            name: item for name, item in old.items() if isinstance(item, kinds)
        }
        if found:
            out[key] = {**found, **mapping(out.get(key))}
    return out
