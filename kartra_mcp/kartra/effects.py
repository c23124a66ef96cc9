"""Effect of each command in words that name its object, for receipts and the ledger. Pure.

`assign the tag again` does not help a user who has several tags: every line names the tag, list,
sequence and step, membership and level, or the edited fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.core.models import Command
from kartra_mcp.kartra.commands import COMMANDS
from kartra_mcp.kartra.fields import LEAD_ID_NAMES, find_values, normalize_name
from kartra_mcp.kartra.lead_state import SEQUENCE_ENTRY, HeldState, find_object
from kartra_mcp.kartra.names import clean_name
from kartra_mcp.kartra.values import normalize_id

MAX_FIELDS = 12
OBJECT_ALIASES: Mapping[str, tuple[str, ...]] = {
    "tag": ("tag_name", "tag"),
    "list": ("list_name", "list"),
    "sequence": ("sequence_name", "sequence"),
    "step": ("step", "step_number", "sequence_step"),
    "membership": ("membership_name", "membership", "membership_id"),
    "level": ("level_name", "level", "membership_level", "level_id"),
    "points": ("points",),
    "calendar": ("calendar_name", "calendar"),
    "class": ("class_name", "class"),
    "custom_field": ("custom_field_identifier", "field_identifier"),
}
"""Parts of an object as the ledger keeps them, and the arguments that name them."""
OBJECT_PARTS = (*OBJECT_ALIASES, "fields")


_MAIL_IS_SENT = "mail already sent cannot be recalled"
_OLD_VALUES = ": only the answer of this write has them, as `before`"


@dataclass(frozen=True, slots=True)
class _Row:
    """Words of one command. `{who}` is the lead, `{what}` the target; the others are parts.

    `{when}` is the time of a booking, which the ledger does not keep.

    `unsure` is the condition under which a success has changed the account: Kartra answers a
    repeated one as a success too. "": a success always is a change.
    """

    parts: tuple[str, ...]
    done: str
    undo: str = ""
    unsure: str = ""


_ROWS: Mapping[str, _Row] = {
    "assign_tag": _Row(
        ("tag",),
        "assigned the {tag} to {who}",
        "unassign the {tag}",
        "the lead did not have it before",
    ),
    "unassign_tag": _Row(
        ("tag",),
        "unassigned the {tag} from {who}",
        "assign the {tag} again",
        "the lead had it before",
    ),
    "subscribe_lead_to_list": _Row(
        ("list",),
        "subscribed {who} to the {list}",
        "unsubscribe the lead from the {list}",
        "the lead was not subscribed before",
    ),
    "unsubscribe_lead_from_list": _Row(
        ("list",),
        "unsubscribed {who} from the {list}",
        "subscribe the lead to the {list} again, with the lead's consent",
        "the lead was subscribed before",
    ),
    "subscribe_lead_to_sequence_at_step": _Row(
        ("sequence", "step"),
        "subscribed {who} to the {sequence}{step}",
        f"unsubscribe the lead from the {{sequence}}; {_MAIL_IS_SENT}",
        "the lead was not in it before",
    ),
    "unsubscribe_lead_from_sequence": _Row(
        ("sequence",),
        "unsubscribed {who} from the {sequence}",
        "subscribe the lead to the {sequence} again at the step that get_lead showed before",
        "the lead was in it before",
    ),
    "give_points_to_lead": _Row(
        ("points",), "gave {points} to {who}", "remove {points} from the lead"
    ),
    "remove_points_from_lead": _Row(
        ("points",), "took {points} from {who}", "give {points} to the lead"
    ),
    "calendar_subscribe": _Row(
        ("calendar", "class"),
        "booked {who} into the {class}{calendar}{when}",
        "cancel the booking of the {class}{calendar}",
        "the lead was not booked before",
    ),
    "calendar_cancel": _Row(
        ("calendar", "class"),
        "cancelled the booking of {who} for the {class}{calendar}",
        "book the lead into the {class}{calendar} again if it has room",
    ),
    "grant_membership_access": _Row(
        ("membership", "level"),
        "gave {who} access to the {membership}{level}",
        "revoke the access to the {membership}{level}",
        "the lead had no access before",
    ),
    "revoke_membership_access": _Row(
        ("membership", "level"),
        "ended the access of {who} to the {membership}{level}",
        "grant the access to the {membership}{level} again; what this does to the lead's progress "
        "is not documented",
        "the lead had access before",
    ),
    "create_custom_field": _Row(("custom_field",), "created the {custom_field}"),
    "create_lead": _Row((), "created {who}"),
    "edit_lead": _Row(
        ("fields",),
        "edited {fields} of {who}",
        f"set the old values of {{fields}} again{_OLD_VALUES}; a field that is not in it was "
        "empty, if the lead could be read",
        "the old values were others",
    ),
    "edit_subscription": _Row(
        ("fields",),
        "changed {fields} of {what}",
        f"set the old values of {{fields}} again{_OLD_VALUES}",
        "the old values were others",
    ),
    "refund_transaction": _Row((), "refunded {what}"),
    "cancel_transaction": _Row((), "cancelled {what} for good"),
}
_BY_STATUS: Mapping[str, _Row] = {
    "pause": _Row((), "paused {what}", "unpause {what}"),
    "unpause": _Row((), "resumed {what}", "pause {what}"),
    "cancel": _Row((), "cancelled {what} for good", "not possible: the customer must buy again"),
}
_IDENTITY = LEAD_ID_NAMES | {
    normalize_name(name) for name in ("email", "lead_email", "subscription_id", "subscription")
}
"""Arguments that name the lead or subscription; all others of an edit are edited fields."""


@dataclass(frozen=True, slots=True)
class Effect:
    """Effect of one call, if it succeeds.

    Args:
        done: what was done, with the names of the objects.
        undo: how to undo a change, or "" if that is not known.
        unsure: the condition under which a success was a change, if it is one for all of it.
        parts: the named objects, for the ledger.
        sure: a success is a change.
        no_change: a success is none, because the lead was as the call wants it.
    """

    done: str
    undo: str = ""
    unsure: str = ""
    parts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    sure: bool = True
    no_change: bool = False

    @property
    def undo_if_changed(self) -> str:
        """Return the undo with its condition, if there is one."""
        return f"if {self.unsure}: {self.undo}" if self.unsure and self.undo else self.undo


def describe_effect(
    commands: Sequence[Command],
    title: str,
    *,
    who: str,
    what: str,
    mask: bool = False,
    held: HeldState | None = None,
) -> Effect:
    """Return the effect of a call; without a known command that of an unknown action.

    Args:
        commands: of the call, each with its arguments.
        title: of the tool, for an unknown action.
        who: the lead, e.g. `lead 48110`.
        what: the target, e.g. `transaction 101`.
        mask: hide names that contain an address, for the ledger.
        held: the state of the object of a single command before it, if it was read.
    """
    found = [_describe_in_chain(commands, at, who, what, mask=mask) for at in range(len(commands))]
    known = [effect for effect in found if effect.done]
    if not known or not any(command.name in COMMANDS for command in commands):
        return Effect(f"{title} of {what}", "not known", "it changed anything", sure=False)
    if len(known) == 1:
        return _judge_held(known[0], commands[0].name, held) if len(commands) == 1 else known[0]
    latest = known[::-1]
    in_order = [e for e in latest if not e.sure] + [e for e in latest if e.sure]
    return Effect(
        "; ".join(effect.done for effect in known),
        "; ".join(effect.undo_if_changed for effect in in_order if effect.undo),
        parts=_merge_parts(effect.parts for effect in known),
        sure=all(effect.sure for effect in known),
    )


def describe_bulk_undo(undo: str) -> str:
    """Return the undo of an item of a bulk run, whose answer has no old values."""
    before, found, _ = undo.partition(_OLD_VALUES)
    return f"{before}; a bulk run keeps none" if found else undo


def describe_object(parts: Mapping[str, Any]) -> str:
    """Return the object from the parts that the ledger kept: `sequence "Welcome", step 2`."""
    shown = [_format_part(name, parts[name]) for name in OBJECT_PARTS if parts.get(name)]
    return ", ".join(shown)


def condition_undo(undo: str, condition: str) -> str:
    """Return an undo that holds only under a further condition."""
    if not undo:
        return ""
    return f"if {condition} and {undo[3:]}" if undo.startswith("if ") else f"if {condition}: {undo}"


def _describe_in_chain(
    commands: Sequence[Command], at: int, who: str, what: str, *, mask: bool
) -> Effect:
    """Return the effect of one command; on a lead that an earlier one created, it is a change."""
    command = commands[at]
    effect = _describe_command(command, who, what, mask=mask) if command.name else Effect("")
    made = any(c.name == "create_lead" and c.lead == command.lead for c in commands[:at])
    adds = find_object(command.name)
    return replace(effect, unsure="", sure=True) if made and adds and adds[1] else effect


def _describe_command(command: Command, who: str, what: str, *, mask: bool) -> Effect:
    given = {**command.lead, **command.arguments}
    if command.name not in COMMANDS:
        name = clean_name(command.name)
        return Effect(f"ran {name}", "not known", f"{name} changed anything", sure=False)
    row = _ROWS.get(command.name) or _BY_STATUS.get(_find_status(given))
    if row is None:
        return Effect("")
    parts = {name: value for name in row.parts if (value := _find_part(name, given, mask=mask))}
    words = {name: _format_in_sentence(name, parts.get(name)) for name in row.parts}
    what = _find_subscription(command) or what  # of a chain, each command has its own
    undo = (row.undo or COMMANDS[command.name].undo).format(**words, who=who, what=what)
    done = row.done.format(**words, who=who, what=what, when=_format_time(given))
    return Effect(done, undo, row.unsure, parts, sure=not row.unsure)


def _format_time(given: Mapping[str, Any]) -> str:
    """Return the time of a booking, e.g. ` on 05 Mar 2027 at 14:30 (US Eastern)`, or ""."""
    names = {"startingdate": " on ", "startinghour": " at "}
    found = [
        f"{before}{clean_name(str(value))}"
        for name, before in names.items()
        for _, value in find_values(given, frozenset({name}))
        if str(value).strip()
    ]
    return f"{''.join(found)} (US Eastern)" if found else ""


def _judge_held(effect: Effect, command: str, held: HeldState | None) -> Effect:
    """Return the effect of a command on a lead whose state before it is known."""
    found = find_object(command)
    if held is None or found is None:
        return effect
    if held.held and command == SEQUENCE_ENTRY:
        return _judge_second_entry(effect, held)
    adds = found[1]
    if held.held != adds:
        return replace(effect, undo=_undo_removal(effect, command, held), unsure="", sure=True)
    if command == "grant_membership_access" and not effect.parts.get("level"):
        return effect  # it may add another level
    return replace(effect, undo="", unsure="", sure=False, no_change=True)


def _judge_second_entry(effect: Effect, held: HeldState) -> Effect:
    """Return the effect of an entry into a sequence in which the lead is already."""
    if not held.step or held.step == str(effect.parts.get("step")):
        return replace(effect, undo="", unsure="", sure=False)
    sequence = _format_in_sentence("sequence", effect.parts.get("sequence"))
    undo = f"subscribe the lead to the {sequence} at step {held.step} again; {_MAIL_IS_SENT}"
    return replace(effect, undo=undo, unsure="", sure=True)


def _undo_removal(effect: Effect, command: str, held: HeldState) -> str:
    """Return the undo with the step or the levels that were held, where the call names none."""
    parts = {**effect.parts, "step": held.step}
    if held.levels and not parts.get("level"):
        parts["level"] = list(held.levels)
    if command == "unsubscribe_lead_from_sequence" and held.step:
        template = "subscribe the lead to the {sequence} again{step}"
    elif command == "revoke_membership_access":
        template = _ROWS[command].undo
    else:
        return effect.undo
    names = ("sequence", "step", "membership", "level")
    return template.format(**{name: _format_in_sentence(name, parts.get(name)) for name in names})


def _find_subscription(command: Command) -> str:
    """Return the subscription that a command pauses, resumes or edits, or ""."""
    if command.name not in {"modify_subscription_status", "edit_subscription"}:
        return ""
    ids = find_values(command.arguments, frozenset({"subscriptionid", "subscription"}))
    return next((f"subscription {normalize_id(value)}" for _, value in ids), "")


def _find_status(given: Mapping[str, Any]) -> str:
    names = frozenset({"subscriptionstatusmodification", "statusmodification", "status"})
    return next((str(value) for _, value in find_values(given, names)), "")


def _find_part(name: str, given: Mapping[str, Any], *, mask: bool) -> Any:
    if name == "fields":
        return [clean_name(found, mask=mask) for found in _list_edited(given)][:MAX_FIELDS]
    for alias in OBJECT_ALIASES[name]:
        for _, value in find_values(given, frozenset({normalize_name(alias)})):
            if isinstance(value, str | int | float) and str(value).strip():
                return clean_name(str(value), mask=mask)
    return None


def _list_edited(given: Mapping[str, Any]) -> list[str]:
    """Return the names of the edited fields; of custom fields their identifiers."""
    names: list[str] = []
    for name, value in given.items():
        plain = normalize_name(name)
        if plain in _IDENTITY or plain == "cmd":
            continue
        own = _list_custom_fields(value) if plain == "customfields" else []
        names += own or [name]
    return list(dict.fromkeys(names))


def _list_custom_fields(value: Any) -> list[str]:
    found = find_values(value, frozenset({"fieldidentifier"}))
    named = [str(identifier) for _, identifier in found]
    if not named and is_object(value) and not any(map(str.isdecimal, value)):
        named = list(value)
    return named


def _format_part(name: str, value: Any) -> str:
    values = [str(inner) for inner in value] if is_array(value) else [str(value)]
    if name == "points":
        return "; ".join("1 point" if v == "1" else f"{v} points" for v in values)
    if name == "fields":
        return ", ".join(values)
    quoted = ", ".join(v if name == "step" else f'"{v}"' for v in values)
    return f"{name.replace('_', ' ')} {quoted}"


def _format_in_sentence(name: str, value: Any) -> str:
    """Return a part inside a sentence; the second part of an object begins with its preposition."""
    second = {"step": " at ", "level": ", ", "calendar": " of the "}
    if not value:
        return "" if name in second else name.replace("_", " ")
    return second.get(name, "") + _format_part(name, value)


def _merge_parts(found: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    merged: dict[str, list[Any]] = {}
    for parts in found:
        for name, value in parts.items():
            kept = merged.setdefault(name, [])
            kept += [v for v in (value if is_array(value) else [value]) if v not in kept]
    return {name: kept[0] if len(kept) == 1 else kept for name, kept in merged.items()}
