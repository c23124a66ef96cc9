"""Validation of a call's arguments against the action's schema.

No other module accepts or refuses arguments.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.json_types import MAX_SAFE_INTEGER, as_dict, as_list
from kartra_mcp.schemas.argument_errors import (
    ArgumentError,
    format_names,
    iter_errors,
    unknown_argument,
)
from kartra_mcp.schemas.argument_errors import format_path as field_name
from kartra_mcp.schemas.coercion import DEPTH, coerce_numbers, drop_absent
from kartra_mcp.schemas.keywords import replace_surrogates
from kartra_mcp.schemas.locations import (
    Location,
    at_items,
    at_property,
    matches_pattern,
    property_names,
    required_names,
)
from kartra_mcp.schemas.locations import locate as place_of
from kartra_mcp.schemas.portable import PortableSchema

__all__ = ["coerce_numbers", "drop_absent", "limit_names", "validate"]

MAX_ERRORS: Final = 5
MAX_NAMES: Final = 1_000
"""Names in one call, at all depths; PHP, which Kartra runs on, ignores the rest of a form."""
CLIENT_INJECTED: Final = "wait_for_previous"
"""Argument that Gemini CLI adds to every tool, and sends."""

_NAMING: Final = ("properties", "patternProperties")

Path = tuple[str | int, ...]


def validate(
    portable: PortableSchema,
    arguments: Mapping[str, Any] | None,
    *,
    strict: bool,
    extra: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Return the arguments under the action's own names.

    Args:
        portable: the action's schema.
        arguments: the caller's, under advertised or own names; None means no arguments.
        strict: refuse every undeclared name, in nested objects too.
        extra: top-level names of the server; accepted, and left out of the result.

    Raises:
        RefusedError: the arguments are invalid.
    """
    given = _as_json_object(arguments)
    shown = {name: shown_as for shown_as, name in portable.renames.items()}
    naming = _NameMapper(portable, shown, strict)
    own = naming.map_members(
        naming.strip_server_arguments(given, extra), place_of(portable.enforced), ()
    )
    found = _group_by_field(iter_errors(portable, own, shown))
    for fault in naming.found:
        found[fault.field] = fault
    if found:
        raise _invalid_arguments_error(list(found.values()), portable)
    return own


def limit_names(arguments: Any, most: int = MAX_NAMES) -> None:
    """Refuse more names than a call can use, before anything examines each of them."""
    found, left = 0, [arguments]
    while left and found <= most:
        value = left.pop()
        if isinstance(value, dict):
            found += len(as_dict(value))
            left += as_dict(value).values()
        elif isinstance(value, list):
            left += as_list(value)
    if found > most:
        raise RefusedError(
            "invalid_arguments",
            f"Invalid arguments for this tool: more than {most:,} names.",
            "Send only the arguments that the tool names. Nothing was done.",
        )


def _group_by_field(found: Iterator[ArgumentError]) -> dict[str, ArgumentError]:
    """Return the first error of each field, and all errors of the whole."""
    kept: dict[str, ArgumentError] = {}
    for fault in found:
        kept.setdefault(fault.field or fault.text, fault)
    return kept


def _invalid_arguments_error(found: list[ArgumentError], portable: PortableSchema) -> RefusedError:
    known = format_names(sorted(as_dict(portable.advertised.get("properties"))))
    texts = _list_names_once([str(fault) for fault in found[:MAX_ERRORS]], f"; {known}")
    more = f" and {len(found) - MAX_ERRORS} more" if len(found) > MAX_ERRORS else ""
    names = "" if any(text.endswith(known) for text in texts) else f" ({known})"
    return RefusedError(
        "invalid_arguments",
        f"Invalid arguments for this tool: {'; '.join(texts)}{more}.",
        f"Correct what is named and call the tool again{names}. Nothing was done.",
    )


def _list_names_once(texts: list[str], names: str) -> list[str]:
    """Remove the list of known names from all but the last text that ends with it."""
    last = max((at for at, text in enumerate(texts) if text.endswith(names)), default=-1)
    return [text if at == last else text.removesuffix(names) for at, text in enumerate(texts)]


def _as_json_object(arguments: Any) -> dict[str, Any]:
    if arguments is None:
        return {}
    if not isinstance(arguments, Mapping):
        raise _not_json_error(ArgumentError("", "an object is expected"))
    given = dict(cast(Mapping[str, Any], arguments))
    fault = next(_iter_non_json(given, ()), None)
    if fault is not None:
        raise _not_json_error(fault)
    return given


def _not_json_error(fault: ArgumentError) -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        f"Invalid arguments for this tool: {fault}.",
        "Send the arguments as a plain JSON object. Nothing was done.",
    )


def _iter_non_json(value: Any, path: Path) -> Iterator[ArgumentError]:
    """Return what is not JSON or cannot be sent."""
    if len(path) > DEPTH:
        yield ArgumentError(field_name(path[:3], {}), f"is nested deeper than {DEPTH} levels")
    elif isinstance(value, dict):
        yield from _iter_non_json_members(cast(dict[Any, Any], value), path)
    elif isinstance(value, list):
        for index, item in enumerate(as_list(value)):
            yield from _iter_non_json(item, (*path, index))
    else:
        problem = _describe_scalar_problem(value)
        if problem:
            yield ArgumentError(field_name(path, {}), problem)


def _iter_non_json_members(value: dict[Any, Any], path: Path) -> Iterator[ArgumentError]:
    for name, item in value.items():
        if not isinstance(name, str) or _has_lone_surrogate(name):
            yield ArgumentError(field_name(path, {}), "every name in an object must be text")
        else:
            yield from _iter_non_json(item, (*path, name))


def _describe_scalar_problem(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "a finite number is expected"
    if value is None or isinstance(value, bool | float):
        return ""
    if isinstance(value, int):
        return "" if abs(value) < MAX_SAFE_INTEGER else "a number below 2^53 is expected"
    if isinstance(value, str):
        return "text in whole characters is expected" if _has_lone_surrogate(value) else ""
    return "a JSON value is expected"


def _has_lone_surrogate(value: str) -> bool:
    return replace_surrogates(value) != value


@dataclass(slots=True)
class _NameMapper:
    """Map a caller's names to the action's own, and collect the unknown ones."""

    portable: PortableSchema
    shown: Mapping[str, str]
    strict: bool
    found: list[ArgumentError] = field(default_factory=list[ArgumentError])

    def strip_server_arguments(
        self, given: dict[str, Any], extra: frozenset[str]
    ) -> dict[str, Any]:
        """Remove the server's own arguments and those that a client is known to inject."""
        aside = extra | {CLIENT_INJECTED}
        known = self.portable.declared
        return {
            name: value
            for name, value in given.items()
            if name not in aside or self.portable.renames.get(name, name) in known
        }

    def map_members(self, given: dict[str, Any], at: Location, path: Path) -> dict[str, Any]:
        known = property_names(at).keys() | (
            self.portable.declared if not path else required_names(at)
        )
        out: dict[str, Any] = {}
        for name, value in given.items():
            own = self._own_name(name, known)
            if own not in known and not self._is_allowed(name, at, path):
                self._add_error(
                    (*path, name), unknown_argument(name, {self.shown.get(n, n) for n in known})
                )
            if own in given and own != name and not _is_same(given[own], value):
                self._add_error(
                    (*path, own), f"is given twice, as {name} too, with different values"
                )
            out[own] = self._map_value(value, at_property(at, own), (*path, own))
        return out

    def _own_name(self, name: str, known: frozenset[str] | set[str]) -> str:
        renamed = self.portable.renames.get(name, name)
        return renamed if name not in known and renamed in known else name

    def _is_allowed(self, name: str, at: Location, path: Path) -> bool:
        if self.strict:
            return bool(path) and not any(
                as_dict(view.get(word)) for view in at for word in _NAMING
            )
        return bool(
            path or matches_pattern(at, name) or self.portable.missing or self.portable.open
        )

    def _add_error(self, path: Path, text: str) -> None:
        self.found.append(ArgumentError(field_name(path, self.shown), text))

    def _map_value(self, value: Any, at: Location, path: Path) -> Any:
        if isinstance(value, dict):
            return self.map_members(as_dict(value), at, path)
        if isinstance(value, list):
            inner = at_items(at)
            return [self._map_value(v, inner, (*path, i)) for i, v in enumerate(as_list(value))]
        return value


def _is_same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other
