"""Validation errors in words; only here is a value of the caller quoted."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

from kartra_mcp.core.json_types import as_dict, as_list, json_type
from kartra_mcp.schemas.advertised import describe_combinator
from kartra_mcp.schemas.keywords import FALSE_SCHEMA
from kartra_mcp.schemas.locations import always_required_names, declared_types, locate
from kartra_mcp.schemas.portable import PortableSchema

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

QUOTED: Final = 60
_VALUES: Final = 20
_NAMES: Final = 30
_ENOUGH: Final = 1_000

_NOUNS: Final = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}
_BOUNDS: Final = {
    "minLength": "at least {} characters are expected",
    "maxLength": "at most {} characters are expected",
    "minItems": "at least {} entries are expected",
    "maxItems": "at most {} entries are expected",
    "minProperties": "at least {} fields are expected",
    "maxProperties": "at most {} fields are expected",
    "minimum": "at least {} is expected",
    "maximum": "at most {} is expected",
    "exclusiveMinimum": "more than {} is expected",
    "exclusiveMaximum": "less than {} is expected",
    "multipleOf": "a multiple of {} is expected",
    "pattern": "text that matches {} is expected",
}


@dataclass(frozen=True, slots=True)
class ArgumentError:
    """One invalid field; `field` is empty for the arguments as a whole."""

    field: str
    text: str

    def __str__(self) -> str:
        return f"{self.field}: {self.text}" if self.field else self.text


def shorten(text: str) -> str:
    """Return text on one line, without control characters, truncated."""
    kept = "".join(c for c in text if unicodedata.category(c)[0] != "C")
    return kept if len(kept) <= QUOTED else f"{kept[: QUOTED - 1]}…"


def quote_value(value: Any) -> str:
    """Return a scalar as JSON, truncated; a list or an object only by its type."""
    if isinstance(value, dict | list):
        return _NOUNS[json_type(value)]
    return shorten(json.dumps(value, ensure_ascii=False))


def format_path(path: Iterable[str | int], names: Mapping[str, str]) -> str:
    """Return a path as a caller writes it, e.g. `lead.tags[0]`."""
    out = ""
    for step in path:
        if isinstance(step, int):
            out += f"[{step}]"
        else:
            out += f"{'.' if out else ''}{shorten(names.get(step, step))}"
    return out


def unknown_argument(name: str, known: Iterable[str]) -> str:
    """Return the sentence about an undeclared name, with the nearest names."""
    from difflib import get_close_matches

    all_known = sorted(known)
    near = get_close_matches(name, all_known, n=1)
    meant = f" (did you mean {shorten(near[0])}?)" if near else ""
    return f"is not known{meant}; {format_names(all_known)}"


def format_names(known: list[str]) -> str:
    if not known:
        return "no fields are known here"
    more = f" and {len(known) - _NAMES} more" if len(known) > _NAMES else ""
    return f"known are {', '.join(shorten(name) for name in known[:_NAMES])}{more}"


def iter_errors(
    portable: PortableSchema, arguments: Any, names: Mapping[str, str]
) -> Iterator[ArgumentError]:
    """Yield every violation of a schema; `names` maps own names to advertised ones."""
    errors: Iterator[ValidationError] = _judge(portable).iter_errors(arguments)
    for _, error in zip(range(_ENOUGH), errors, strict=False):
        yield from _describe_error(error, names)


@lru_cache(maxsize=128)
def _judge(portable: PortableSchema) -> Any:
    return _make_validator()(portable.enforced)


@cache
def _make_validator() -> Any:
    import jsonschema

    made = cast(Any, jsonschema)
    return made.validators.extend(made.Draft202012Validator, {"multipleOf": _check_multiple})


def _check_multiple(
    _validator: Any, step: Any, instance: Any, _schema: Any
) -> Iterator[ValidationError]:
    """Check a multiple in decimals: 19.99 is a multiple of 0.01, which binary fractions deny."""
    from jsonschema.exceptions import ValidationError

    if json_type(instance) not in {"integer", "number"}:
        return
    value, unit = (Decimal(repr(number)).as_integer_ratio() for number in (instance, step))
    if (value[0] * unit[1]) % (value[1] * unit[0]):
        yield ValidationError("not a multiple")


def _describe_error(error: ValidationError, names: Mapping[str, str]) -> Iterator[ArgumentError]:
    path = list(error.absolute_path)
    word = str(error.validator)
    if word in {"anyOf", "oneOf"}:
        yield from _iter_branch_errors(error, path, names)
    elif word in _MEMBERS:
        missing = _MEMBERS[word](error)
        yield from (
            ArgumentError(format_path([*path, name], names), text) for name, text in missing
        )
    else:
        yield ArgumentError(format_path(path, names), _describe_keyword(word, error))


def _describe_keyword(word: str, error: ValidationError) -> str:
    limit: Any = error.validator_value
    got = quote_value(error.instance)
    if word in _BOUNDS:
        return f"{_BOUNDS[word].format(quote_value(limit))}, got {got}"
    if word == "type":
        return f"{_format_types(as_list(limit) or [limit])} is expected, got {got}"
    if word in {"enum", "const"}:
        return f"{_format_values(limit if word == 'enum' else [limit])} is expected, got {got}"
    if word == "None" or error.schema == FALSE_SCHEMA:
        return "must not be given"
    return _REST.get(word, f"does not fit what is expected ({shorten(word)})")


_REST: Final = {
    "items": "fewer entries are expected",
    "uniqueItems": "every entry may occur only once",
    "contains": "an expected entry is missing",
    "not": "this value, or combination, is not allowed",
}


def _format_types(types: Iterable[str]) -> str:
    return " or ".join(_NOUNS.get(name, name) for name in types)


def _format_values(values: list[Any]) -> str:
    more = f" and {len(values) - _VALUES} more" if len(values) > _VALUES else ""
    shown = ", ".join(quote_value(value) for value in values[:_VALUES])
    return f"one of {shown}{more}" if len(values) > 1 else shown


def _iter_missing(error: ValidationError) -> Iterator[tuple[str, str]]:
    wanted, given = _list_names(error.validator_value), as_dict(error.instance)
    yield from ((name, "is required") for name in wanted if name not in given)


def _iter_surplus(error: ValidationError) -> Iterator[tuple[str, str]]:
    known = as_dict(as_dict(error.schema).get("properties"))
    given = as_dict(error.instance)
    yield from ((name, unknown_argument(name, known)) for name in given if name not in known)


def _iter_dependent(error: ValidationError) -> Iterator[tuple[str, str]]:
    given = as_dict(error.instance)
    for name, wanted in as_dict(error.validator_value).items():
        if name in given:
            text = f"is required together with {shorten(name)}"
            yield from ((other, text) for other in _list_names(wanted) if other not in given)


def _list_names(value: Any) -> list[str]:
    return [name for name in as_list(value) if isinstance(name, str)]


_MEMBERS: Final[dict[str, Callable[[ValidationError], Iterator[tuple[str, str]]]]] = {
    "required": _iter_missing,
    "additionalProperties": _iter_surplus,
    "dependentRequired": _iter_dependent,
}


def _iter_branch_errors(
    error: ValidationError, path: list[str | int], names: Mapping[str, str]
) -> Iterator[ArgumentError]:
    """Return the errors of the branch that was clearly meant, else list the branches."""
    branches = as_list(error.validator_value)
    meant = [i for i, branch in enumerate(branches) if _is_meant_branch(branch, error.instance)]
    inner = [e for e in error.context or [] if e.relative_schema_path[0] in meant[:1]]
    if inner and len(meant) == 1:
        for one in inner:
            yield from _describe_error(one, names)
        return
    yield ArgumentError(format_path(path, names), _describe_expected(error, branches, names))


def _is_meant_branch(branch: Any, instance: Any) -> bool:
    """Return whether a value has the branch's type and everything that the branch requires."""
    found = as_dict(branch)
    if not found:
        return False
    types = declared_types((found,))
    own = json_type(instance)
    if types and own not in types and not (own == "integer" and "number" in types):
        return False
    needed = always_required_names(found)
    return bool(types or needed) and set(needed) <= as_dict(instance).keys()


def _describe_expected(
    error: ValidationError, branches: list[Any], names: Mapping[str, str]
) -> str:
    only = "exactly one of" if error.validator == "oneOf" else "one of"
    words = describe_combinator(branches, names)
    if words and isinstance(error.instance, dict):
        return f"{only}: {words} is expected"
    types = [name for branch in branches for name in sorted(declared_types(locate(branch)))]
    if not types or not error.context or json_type(error.instance) in types:
        return f"must fit {only} {len(branches)} possible forms, got {quote_value(error.instance)}"
    return f"{_format_types(dict.fromkeys(types))} is expected, got {quote_value(error.instance)}"
