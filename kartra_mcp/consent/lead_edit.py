"""Effect of edit_lead on the values that the lead has now: what it overwrites."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kartra_mcp.consent.changes import format_leaf, iter_leaves
from kartra_mcp.consent.fact_reader import FactReader, short_text
from kartra_mcp.consent.facts import Change
from kartra_mcp.core.json_types import as_list, is_array, is_object
from kartra_mcp.core.models import Call
from kartra_mcp.kartra import fields
from kartra_mcp.kartra.fields import normalize_name
from kartra_mcp.kartra.response_search import first_field
from kartra_mcp.kartra.values import normalize_id

EDIT = "edit_lead"
_ENTRIES, _NEW_ADDRESS = "customfields", "newemail"
_NOT_FIELDS = frozenset({"cmd"})


@dataclass(frozen=True, slots=True)
class LeadEdit:
    """Effect of edit_lead.

    `changes` are fields with old and new value. `before` has the old value of each written field
    that was not empty, if any of them changes: with it the edit can be undone. An old value is
    never kept in the ledger. `unknown`: fields that could not be read.
    """

    changes: tuple[Change, ...] = ()
    before: Mapping[str, Any] = field(default_factory=dict[str, Any])
    unknown: tuple[str, ...] = ()
    was_read: bool = False
    replaces_value: bool = False

    @property
    def changed(self) -> bool | None:
        """Return whether the values differ from the lead's; None if those were not all read."""
        return bool(self.changes) if self.was_read and not self.unknown else None

    @property
    def overwrites(self) -> bool:
        """True if a value is overwritten, or may be because the old one is not known."""
        return self.replaces_value or bool(self.unknown)


NO_EDIT = LeadEdit()


def names_no_field(call: Call) -> bool:
    """Return whether the call only edits leads, and names nothing to write."""
    only = bool(call.commands) and all(command.name == EDIT for command in call.commands)
    return only and not describe_edit(call, None).changes


def edits_lead(call: Call) -> bool:
    return any(command.name == EDIT for command in call.commands)


async def read_lead_edit(call: Call, reader: FactReader) -> LeadEdit:
    """Read the lead and return what the call changes; nothing for a lead that does not exist."""
    # Of a chain, the target of the edit: the chain itself may have another one, or none.
    parts = (part.target for part in call.operation.parts if part.name == EDIT)
    target = next(parts, call.operation.target)
    if target is None or target.kind != "lead":
        return describe_edit(call, None)
    details = await reader.read_lead(target.id, "the lead")
    if "the lead" in reader.absent:
        return LeadEdit()
    return describe_edit(call, details or None)


def describe_edit(call: Call, details: Mapping[str, Any] | None) -> LeadEdit:
    """Return what the call changes; `details` is the lead, None if it could not be read."""
    changes: list[Change] = []
    unknown: list[str] = []
    before: dict[str, Any] = {}
    custom: dict[str, Any] = {}
    replaces = False
    for name, new, is_custom in _written_fields(call, details or {}):
        old = _old_value(name, details, is_custom=is_custom)
        if old is None:
            unknown.append(name)
            changes.append(Change(name, "(not read)", format_leaf(new)))
            continue
        if not _is_equal(old, new):
            changes.append(Change(name, _display(old), _display_new(new)))
            replaces = replaces or not _is_blank(old)
        if not _is_blank(old):
            (custom if is_custom else before)[name] = old
    if custom:
        before["custom_fields"] = custom
    return LeadEdit(
        tuple(changes),
        before if changes else {},
        tuple(unknown),
        was_read=details is not None,
        replaces_value=replaces,
    )


def _written_fields(call: Call, details: Mapping[str, Any]) -> Iterator[tuple[str, Any, bool]]:
    """Yield (name, new value, whether it is a custom field) of every field that is written."""
    for command in call.commands:
        if command.name != EDIT:
            continue
        for given in (command.lead, command.arguments):
            yield from _fields_of(given, details)


def _fields_of(
    given: Mapping[str, Any], details: Mapping[str, Any]
) -> Iterator[tuple[str, Any, bool]]:
    for name, value in given.items():
        plain = normalize_name(name)
        if plain == _ENTRIES:
            yield from _custom_fields(value)
        elif is_object(value) and plain in fields.LEAD_ALIASES:
            yield from _fields_of(value, details)
        elif not _identifies(plain, value, details):
            for path, leaf in iter_leaves(value, name):
                yield path, leaf, False


def _custom_fields(entries: Any) -> Iterator[tuple[str, Any, bool]]:
    listed = list(entries.values()) if is_object(entries) else as_list(entries)
    for entry in listed:
        if is_object(entry):
            name = short_text(first_field(entry, "field_identifier"))
            by_plain = {normalize_name(key): value for key, value in entry.items()}
            yield name, by_plain.get("fieldvalue"), True


def _identifies(plain: str, value: Any, details: Mapping[str, Any]) -> bool:
    """Return whether a field only names the lead; an address that differs is a new one."""
    if plain in fields.LEAD_ID_NAMES or plain in fields.LEAD_ALIASES or plain in _NOT_FIELDS:
        return True
    if "mail" not in plain or plain.startswith("new"):
        return False
    own = first_field(details, "email")
    return own is None or normalize_id(own) == normalize_id(value)


def _old_value(name: str, details: Mapping[str, Any] | None, *, is_custom: bool) -> Any:
    """Return the value that the lead has, "" for an empty one; None if it is not known."""
    if details is None:
        return None
    if is_custom:
        rows = [row for row in as_list(details.get("custom_fields")) if is_object(row)]
        same = (row for row in rows if short_text(row.get("field_identifier")) == name)
        row = next(same, None)
        return None if row is None else _custom_value(row.get("field_value"))
    plain = normalize_name(name)
    wanted = "email" if plain == _NEW_ADDRESS or "mail" in plain else plain
    by_plain = {normalize_name(key): value for key, value in details.items()}
    if wanted not in by_plain:
        return None
    old = by_plain[wanted]
    return "" if old is None else old


def _custom_value(value: Any) -> Any:
    return "" if value is None else value


def _options(value: Any) -> set[str] | None:
    """Return the option ids of a choice field's value; None for a text."""
    if not is_array(value):
        return None
    ids = (first_field(one, "option_id") if is_object(one) else one for one in value)
    return {normalize_id(one) for one in ids}


def _is_equal(old: Any, new: Any) -> bool:
    chosen = _options(old)
    if chosen is not None:
        wanted = _options(new) or ({normalize_id(new)} if not _is_blank(new) else set[str]())
        return chosen == wanted
    return str(old).strip() == ("" if new is None else str(new).strip())


def _is_blank(value: Any) -> bool:
    return value is None or value in ([], {}) or (isinstance(value, str) and not value.strip())


def _display(old: Any) -> str:
    if not is_array(old):
        return short_text(old)
    labels = (first_field(one, "option_value") if is_object(one) else one for one in old)
    return short_text(", ".join(str(label) for label in labels))


def _display_new(new: Any) -> str:
    if is_array(new):
        return short_text(", ".join(map(str, new)))
    return "" if _is_blank(new) else format_leaf(new)
