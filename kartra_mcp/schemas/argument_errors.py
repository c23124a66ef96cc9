"""Validation errors in words; only here is a value of the caller quoted."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

from kartra_mcp.schemas.advertised import combination
from kartra_mcp.schemas.keywords import NEVER, kind, listing, mapping
from kartra_mcp.schemas.locations import place, required_always, types_at
from kartra_mcp.schemas.portable import Portable

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
class Fault:
    """One invalid field; `field` is empty for the arguments as a whole."""

    field: str
    text: str

    def __str__(self) -> str:
        return f"{self.field}: {self.text}" if self.field else self.text


def short(text: str) -> str:
    """Return text on one line, without control characters, truncated."""
    kept = "".join(c for c in text if unicodedata.category(c)[0] != "C")
    return kept if len(kept) <= QUOTED else f"{kept[: QUOTED - 1]}…"


def quoted(value: Any) -> str:
    """Return a scalar as JSON, truncated; a list or an object only by its type."""
    if isinstance(value, dict | list):
        return _NOUNS[kind(value)]
    return short(json.dumps(value, ensure_ascii=False))


def field(path: Iterable[str | int], names: Mapping[str, str]) -> str:
    """Return a path as a caller writes it, e.g. `lead.tags[0]`."""
    out = ""
    for step in path:
        if isinstance(step, int):
            out += f"[{step}]"
        else:
            out += f"{'.' if out else ''}{short(names.get(step, step))}"
    return out


def unknown(name: str, known: Iterable[str]) -> str:
    """Return the sentence about an undeclared name, with the nearest names."""
    from difflib import get_close_matches

    all_known = sorted(known)
    near = get_close_matches(name, all_known, n=1)
    meant = f" (did you mean {short(near[0])}?)" if near else ""
    return f"is not known{meant}; {listed(all_known)}"


def listed(known: list[str]) -> str:
    if not known:
        return "no fields are known here"
    more = f" and {len(known) - _NAMES} more" if len(known) > _NAMES else ""
    return f"known are {', '.join(short(name) for name in known[:_NAMES])}{more}"


def faults(portable: Portable, arguments: Any, names: Mapping[str, str]) -> Iterator[Fault]:
    """Yield every violation of a schema; `names` maps own names to advertised ones."""
    errors: Iterator[ValidationError] = _judge(portable).iter_errors(arguments)
    for _, error in zip(range(_ENOUGH), errors, strict=False):
        yield from _worded(error, names)


@lru_cache(maxsize=128)
def _judge(portable: Portable) -> Any:
    return _validator()(portable.enforced)


@cache
def _validator() -> Any:
    import jsonschema

    made = cast(Any, jsonschema)
    return made.validators.extend(made.Draft202012Validator, {"multipleOf": _multiple})


def _multiple(_validator: Any, step: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    """Check a multiple in decimals: 19.99 is a multiple of 0.01, which binary fractions deny."""
    from jsonschema.exceptions import ValidationError

    if kind(instance) not in {"integer", "number"}:
        return
    value, unit = (Decimal(repr(number)).as_integer_ratio() for number in (instance, step))
    if (value[0] * unit[1]) % (value[1] * unit[0]):
        yield ValidationError("not a multiple")


def _worded(error: ValidationError, names: Mapping[str, str]) -> Iterator[Fault]:
    path = list(error.absolute_path)
    word = str(error.validator)
    if word in {"anyOf", "oneOf"}:
        yield from _alternatives(error, path, names)
    elif word in _MEMBERS:
        missing = _MEMBERS[word](error)
        yield from (Fault(field([*path, name], names), text) for name, text in missing)
    else:
        yield Fault(field(path, names), _text(word, error))


def _text(word: str, error: ValidationError) -> str:
    limit: Any = error.validator_value
    got = quoted(error.instance)
    if word in _BOUNDS:
        return f"{_BOUNDS[word].format(quoted(limit))}, got {got}"
    if word == "type":
        return f"{_any_of(listing(limit) or [limit])} is expected, got {got}"
    if word in {"enum", "const"}:
        return f"{_values(limit if word == 'enum' else [limit])} is expected, got {got}"
    if word == "None" or error.schema == NEVER:
        return "must not be given"
    return _REST.get(word, f"does not fit what is expected ({short(word)})")


_REST: Final = {
    "items": "fewer entries are expected",
    "uniqueItems": "every entry may stand there only once",
    "contains": "an expected entry is not there",
    "not": "this value, or combination, is not allowed",
}


def _any_of(types: Iterable[str]) -> str:
    return " or ".join(_NOUNS.get(name, name) for name in types)


def _values(values: list[Any]) -> str:
    more = f" and {len(values) - _VALUES} more" if len(values) > _VALUES else ""
    shown = ", ".join(quoted(value) for value in values[:_VALUES])
    return f"one of {shown}{more}" if len(values) > 1 else shown


def _missing(error: ValidationError) -> Iterator[tuple[str, str]]:
    wanted, given = _names(error.validator_value), mapping(error.instance)
    yield from ((name, "is required") for name in wanted if name not in given)


def _surplus(error: ValidationError) -> Iterator[tuple[str, str]]:
    known = mapping(mapping(error.schema).get("properties"))
    given = mapping(error.instance)
    yield from ((name, unknown(name, known)) for name in given if name not in known)


def _dependent(error: ValidationError) -> Iterator[tuple[str, str]]:
    given = mapping(error.instance)
    for name, wanted in mapping(error.validator_value).items():
        if name in given:
            text = f"is required together with {short(name)}"
            yield from ((other, text) for other in _names(wanted) if other not in given)


def _names(value: Any) -> list[str]:
    return [name for name in listing(value) if isinstance(name, str)]


_MEMBERS: Final[dict[str, Callable[[ValidationError], Iterator[tuple[str, str]]]]] = {
    "required": _missing,
    "additionalProperties": _surplus,
    "dependentRequired": _dependent,
}


def _alternatives(
    error: ValidationError, path: list[str | int], names: Mapping[str, str]
) -> Iterator[Fault]:
    """Return the errors of the branch that was clearly meant, else list the branches."""
    branches = listing(error.validator_value)
    meant = [i for i, branch in enumerate(branches) if _meant(branch, error.instance)]
    inner = [e for e in error.context or [] if e.relative_schema_path[0] in meant[:1]]
    if inner and len(meant) == 1:
        for one in inner:
            yield from _worded(one, names)
        return
    yield Fault(field(path, names), _expected(error, branches, names))


def _meant(branch: Any, instance: Any) -> bool:
    """Return whether a value has the branch's type and everything that the branch requires."""
    found = mapping(branch)
    if not found:
        return False
    types = types_at((found,))
    own = kind(instance)
    if types and own not in types and not (own == "integer" and "number" in types):
        return False
    needed = required_always(found)
    return bool(types or needed) and set(needed) <= mapping(instance).keys()


def _expected(error: ValidationError, branches: list[Any], names: Mapping[str, str]) -> str:
    only = "exactly one of" if error.validator == "oneOf" else "one of"
    words = combination(branches, names)
    if words and isinstance(error.instance, dict):
        return f"{only}: {words} is expected"
    types = [name for branch in branches for name in sorted(types_at(place(branch)))]
    if not types or not error.context or kind(error.instance) in types:
        return f"must fit {only} {len(branches)} possible forms, got {quoted(error.instance)}"
    return f"{_any_of(dict.fromkeys(types))} is expected, got {quoted(error.instance)}"
