"""The undo of a receipt, read and carried out as a user would who knows the old account.

A clause that is in none of these tables fails: every undo is one that a user can follow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from truth_account import CLASSES, LEVELS, State, Write, levels, write
from truth_effects import CLASS_TIME

Old = Mapping[str, Any]
Make = Callable[[re.Match[str], Write, State, Old], Write | list[Write]]
"""Makes the writes that a clause asks for: of the match, the undone write, the account before it,
and the old values that the answer has."""

FOR_GOOD = frozenset({"create_lead", "refund_transaction", "cancel"})
"""Kinds of writes that no call undoes."""
REMARKS = (
    "mail already sent cannot be recalled",
    "what this does to the lead's progress is not documented",
    "a field that is not in it was empty, if the lead could be read",
)
_NAME = '"([^"]*)"'


def _on_lead(command: str, *names: str) -> Make:
    def make(found: re.Match[str], undone: Write, before: State, _: Old) -> Write:
        given = dict(zip(names, found.groups(), strict=True))
        return write(command, lead_id=undone.lead(before), **given)

    return make


def _points(command: str) -> Make:
    def make(found: re.Match[str], undone: Write, before: State, _: Old) -> Write:
        return write(command, lead_id=undone.lead(before), points=int(found[1]))

    return make


def _enter(found: re.Match[str], undone: Write, before: State, _: Old) -> Write:
    """Subscribe again at the step that the undo names, or that the user had read before."""
    lead = undone.lead(before)
    seen = str(before.get(("sequence", lead, found[1]), "")).split(" ")[0]
    command = "subscribe_lead_to_sequence_at_step"
    return write(command, lead_id=lead, sequence_name=found[1], step=found[2] or seen)


def _grant(found: re.Match[str], undone: Write, before: State, _: Old) -> list[Write]:
    """Grant the levels that the undo names; without one, those which the user had read before."""
    lead, named = undone.lead(before), re.findall(_NAME, found[2] or "")
    held = [level for level in levels(undone) if before.get(("membership", lead, level))]
    read = [names[1] for names, level in LEVELS.items() if level in held]
    return [
        write("grant_membership_access", lead_id=lead, membership_name=found[1], level_name=level)
        for level in named or read
    ]


def _book(found: re.Match[str], undone: Write, before: State, _: Old) -> Write:
    """Book again, at the start that the user knows: no command of Kartra shows it."""
    lead, classes = undone.lead(before), {"class_name": found[1], "calendar_name": found[2]}
    known = str(before.get(("booking", lead, CLASSES[found[2], found[1]]), ""))
    at = datetime.fromisoformat(known[:19]) if known.endswith(" active") else None
    text = at.strftime(CLASS_TIME).rpartition(" ") if at else ("", "", "")
    when = {"starting_date": text[0], "starting_hour": text[2]} if at else {}
    return write("calendar_subscribe", lead_id=lead, **classes, **when)


def _status(found: re.Match[str], _: Write, __: State, ___: Old) -> Write:
    given = {"subscription_id": int(found[2]), "subscription_status_modification": found[1]}
    return write("modify_subscription_status", **given)


def _set_again(found: re.Match[str], undone: Write, before: State, old: Old) -> Write:
    """Set the old values: of a lead those of the answer, of a subscription those read before."""
    names = found[1].split(", ")
    if undone.command == "edit_lead":
        return write("edit_lead", lead_id=undone.lead(before), **{n: old.get(n, "") for n in names})
    number = undone.target(before)
    terms = {name: _TERMS[name](before, number) for name in names}
    return write("edit_subscription", subscription_id=number, **terms)


def _term(name: str) -> Callable[[State, Any], Any]:
    return lambda before, number: before.get((name, number))


_TERMS: Mapping[str, Callable[[State, Any], Any]] = {
    "subscription_product_id": _term("product"),
    "subscription_price_point": _term("point"),
    "subscription_next_payment_date": _term("next payment"),
    "subscription_amount": lambda before, number: before["price", number] / 100,
    "subscription_recurrence": lambda b, number: {"recurring_period_1": b["period", number]},
    "subscription_product_quantity": _term("quantity"),
    "subscription_installments_left": lambda b, number: b.get(
        ("installments left", number), "until cancelled"
    ),
    "subscription_tax_percent": _term("tax"),
}

_NAMES = '(?:"[^"]*"(?:, )?)+'
_KEPT = "(?:: only the answer of this write has them, as `before`)?"
_LEVEL = f"(?:, level {_NAME})?"
_CLASS = f"class {_NAME} of the calendar {_NAME}"
CLAUSES: Mapping[str, Make] = {
    f"assign the tag {_NAME} again": _on_lead("assign_tag", "tag_name"),
    f"unassign the tag {_NAME}": _on_lead("unassign_tag", "tag_name"),
    f"unsubscribe the lead from the list {_NAME}": _on_lead(
        "unsubscribe_lead_from_list", "list_name"
    ),
    f"subscribe the lead to the list {_NAME} again, with the lead's consent": _on_lead(
        "subscribe_lead_to_list", "list_name"
    ),
    f"unsubscribe the lead from the sequence {_NAME}": _on_lead(
        "unsubscribe_lead_from_sequence", "sequence_name"
    ),
    f"subscribe the lead to the sequence {_NAME} again at "
    r"(?:the step that get_lead showed before|step (\w+))": _enter,
    rf"subscribe the lead to the sequence {_NAME} at step (\w+) again": _enter,
    r"remove (\d+) points? from the lead": _points("remove_points_from_lead"),
    r"give (\d+) points? to the lead": _points("give_points_to_lead"),
    f"cancel the booking of the {_CLASS}": _on_lead(
        "calendar_cancel", "class_name", "calendar_name"
    ),
    f"book the lead into the {_CLASS} again if it has room": _book,
    f"revoke the access to the membership {_NAME}{_LEVEL}": _on_lead(
        "revoke_membership_access", "membership_name", "level_name"
    ),
    f"grant the access to the membership {_NAME}(, level {_NAMES})? again": _grant,
    r"(pause|unpause) subscription (\d+)": _status,
    f"set the old values of (.+?) again{_KEPT}": _set_again,
}
"""Clauses of an undo, and the write that each asks for."""


def _had(held: bool) -> Callable[[Write, State], bool]:  # noqa: FBT001
    return lambda wanted, before: _held(wanted, before) is held


CONDITIONS: Mapping[str, Callable[[Write, State], bool]] = {
    "the lead did not have it before": _had(False),
    "the lead had it before": _had(True),
    "the lead was not subscribed before": _had(False),
    "the lead was subscribed before": _had(True),
    "the lead was not in it before": _had(False),
    "the lead was in it before": _had(True),
    "the lead was not booked before": _had(False),
    "the lead had no access before": _had(False),
    "the lead had access before": _had(True),
    "the old values were others": lambda _, __: True,
}


def replaces(call: Write, before: State) -> bool:
    """Return whether a write replaces a step or a booking, which Kartra does not show."""
    kinds = {"subscribe_lead_to_sequence_at_step", "calendar_subscribe"}
    return call.command in kinds and _held(call, before)


def _held(wanted: Write, before: State) -> bool:
    """Return whether the lead had, before, what the undo gives or takes."""
    lead, name = wanted.lead(before), wanted.command
    if "tag" in name:
        return ("tag", lead, wanted["tag_name"]) in before
    if "list" in name:
        return bool(before.get(("list", lead, wanted["list_name"])))
    if "sequence" in name:
        seen = before.get(("sequence", lead, wanted["sequence_name"]), "")
        return str(seen).endswith(" active")
    if "membership" in name:
        return any(before.get(("membership", lead, level)) for level in levels(wanted))
    number = CLASSES.get((wanted["calendar_name"], wanted["class_name"]))
    return str(before.get(("booking", lead, number), "")).endswith((" active", " pending"))


def parse_undo(undo: str, writes: tuple[Write, ...], before: State, old: Old) -> list[Write]:
    """Return the writes that an undo asks for, in its order; conditions that fail ask for none."""
    clauses = [clause for clause in undo.split("; ") if clause and clause not in REMARKS]
    return [made for clause in clauses for made in _parse_clause(clause, writes, before, old)]


def _parse_clause(clause: str, writes: tuple[Write, ...], before: State, old: Old) -> list[Write]:
    read = re.fullmatch(r"(?:if (.+?): )?(.*)", clause)
    condition, action = (read[1] or "", read[2]) if read else ("", clause)
    for pattern, make in CLAUSES.items():
        found = re.fullmatch(pattern, action)
        if found:
            made = make(found, _undone(action, writes), before, old)
            wanted = made if isinstance(made, list) else [made]
            named = [CONDITIONS[one] for one in condition.split(" and ") if one]
            return [one for one in wanted if all(holds(one, before) for holds in named)]
    raise AssertionError(f"no user can follow {clause!r}")


def _undone(action: str, writes: tuple[Write, ...]) -> Write:
    """Return the write of a chain that a clause undoes, where it needs its fields."""
    words = {"set the old": "edit_", "grant": "revoke_"}
    start = next((w for begin, w in words.items() if action.startswith(begin)), "")
    return next((one for one in writes if start and one.command.startswith(start)), writes[0])
