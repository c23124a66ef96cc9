"""Custom fields in arguments: their names, and the options of choice fields. Pure.

Kartra ignores a custom field that it does not know and reports success, and takes an option only by
its id. Therefore names are checked before anything is sent, and labels become ids here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.kartra.fields import normalize_name
from kartra_mcp.kartra.names import find_nearest, fold_text
from kartra_mcp.kartra.response_search import find_rows, first_field, is_empty_list
from kartra_mcp.kartra.values import normalize_id

COMMANDS: Final = frozenset({"create_lead", "edit_lead"})
"""Commands that write custom fields."""
READ_COMMAND: Final = "retrieve_custom_fields"
CHECKBOX: Final = "checkbox"
CHOICES: Final = frozenset({"drop_down", "radio_button", CHECKBOX})
MAX_SHOWN: Final = 30

_ENTRIES: Final = "customfields"
_NAME: Final = "fieldidentifier"
_VALUE: Final = "fieldvalue"


@dataclass(frozen=True, slots=True)
class CustomField:
    """One custom field of the account; `options` maps option id to label."""

    name: str
    type: str
    options: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One custom field that cannot be sent.

    `about` contains names of the account: untrusted text.
    """

    path: str
    text: str
    about: Mapping[str, Any]


def parse_custom_fields(answer: Any) -> dict[str, CustomField] | None:
    """Return the account's custom fields by name; None if the response cannot be understood."""
    rows = find_rows(answer, "custom_fields")
    named = [(_text(first_field(row, "field_identifier")), row) for row in rows]
    if not all(name for name, _ in named):
        return None
    if not named and not is_empty_list(answer, "custom_fields"):
        return None
    return {name: CustomField(name, *_parse_type(row)) for name, row in named}


def _parse_type(row: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    given = row.get("field_value")
    found = [one for one in given if is_object(one)] if is_array(given) else []
    options = {
        normalize_id(one.get("option_id")): _text(one.get("option_value"))
        for one in found
        if one.get("option_id") is not None
    }
    return _text(row.get("field_type")), options


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def has_custom_fields(value: Any) -> bool:
    """Return whether the arguments set a custom field."""
    if is_object(value):
        return any(
            (normalize_name(name) == _ENTRIES and bool(inner)) or has_custom_fields(inner)
            for name, inner in value.items()
        )
    return is_array(value) and any(map(has_custom_fields, value))


@dataclass(slots=True)
class FieldResolver:
    """Replace labels by option ids in arguments; `faults` collects what cannot be sent."""

    known: Mapping[str, CustomField]
    faults: list[FieldFault] = field(default_factory=list[FieldFault])

    def resolve(self, value: Any, path: str = "") -> Any:
        """Return the same arguments, with an option's id for its label."""
        if is_array(value):
            return [self.resolve(one, f"{path}[{at}]") for at, one in enumerate(value)]
        if not is_object(value):
            return value
        return {
            name: self._resolve_entries(inner, _join(path, name))
            if normalize_name(name) == _ENTRIES
            else self.resolve(inner, _join(path, name))
            for name, inner in value.items()
        }

    def _resolve_entries(self, entries: Any, path: str) -> Any:
        """Resolve a list of fields; PHP's forms number its elements."""
        if is_array(entries):
            return [self._resolve_entry(one, f"{path}[{at}]") for at, one in enumerate(entries)]
        if not is_object(entries) or _find_name(entries, _NAME):
            return self._resolve_entry(entries, path)
        return {at: self._resolve_entry(one, f"{path}[{at}]") for at, one in entries.items()}

    def _resolve_entry(self, entry: Any, path: str) -> Any:
        own = _find_name(entry, _NAME) if is_object(entry) else ""
        if not own or not is_object(entry):
            return entry
        name = str(entry[own]).strip()
        found = self.known.get(name)
        if found is None:
            self._reject_name(name, _join(path, own))
            return entry
        value = _find_name(entry, _VALUE)
        if not value or found.type not in CHOICES:
            return entry
        return {**entry, value: self._resolve_choice(found, entry[value], _join(path, value))}

    def _reject_name(self, name: str, path: str) -> None:
        near = find_nearest(name, self.known)
        about = {"nearest": near} if near else {"known": list(self.known)[:MAX_SHOWN]}
        self.faults.append(FieldFault(path, "the account has no custom field of this name", about))

    def _resolve_choice(self, found: CustomField, value: Any, path: str) -> Any:
        """Return option ids in the form that the field's type takes; an empty value clears."""
        if value in (None, "", [], {}):
            return value
        if found.type == CHECKBOX:
            if is_object(value):
                return {at: self._find_option(found, one, path) for at, one in value.items()}
            chosen: list[Any] = value if is_array(value) else [value]
            return [self._find_option(found, one, path) for one in chosen]
        given: list[Any] = list(value.values()) if is_object(value) else value
        if is_array(given):
            if len(given) != 1:
                return self._reject_choice(found, value, path, "the field takes one option")
            given = given[0]
        return self._find_option(found, given, path)

    def _find_option(self, found: CustomField, given: Any, path: str) -> Any:
        if isinstance(given, bool) or not isinstance(given, str | int | float):
            return self._reject_choice(found, given, path, "an option's id or label is expected")
        if normalize_id(given) in found.options:
            return given
        for spell in (str.strip, fold_text):
            same = [i for i, label in found.options.items() if spell(label) == spell(str(given))]
            if len(same) == 1:
                return same[0]
        return self._reject_choice(found, given, path, "this is not an option of the field")

    def _reject_choice(self, found: CustomField, value: Any, path: str, text: str) -> Any:
        labels = {label: i for i, label in list(found.options.items())[:MAX_SHOWN]}
        near = find_nearest(str(value), labels) if isinstance(value, str) else []
        about = {"field": found.name, "choices": labels, **({"nearest": near} if near else {})}
        self.faults.append(FieldFault(path, text, about))
        return value


def _find_name(entry: Mapping[str, Any], wanted: str) -> str:
    return next((name for name in entry if normalize_name(name) == wanted), "")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
