"""A second, smaller Kartra: the effect that each write must have on the account.

It shares no code with the sandbox.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from truth_account import (
    CLASSES,
    ENDED,
    FIELDS,
    LISTS,
    SALES,
    STEPS,
    TAGS,
    Changes,
    Key,
    State,
    Write,
    levels,
    read_row,
    remains,
)

TOO_OLD = frozenset({104})
OF_PAYPAL = 205
Terms = dict[str, Any]
"""New terms of a subscription."""
CLASS_TIME = "%d %b %Y %H:%M"
"""Format of the start of a booking in a call; a state has it as text of SQL."""
NEVER = "0000-00-00 00:00:00"
NEXT_YEAR = str(date.today().year + 1)  # noqa: DTZ011  the year of any zone will do
"""Of every date in the future; others are past."""


def effect_of(call: Write, state: State) -> Changes | None:
    """Return the changes of a write; None if Kartra refuses it."""
    return _EFFECTS[call.command](call, state)


def _new_row(state: State, origin: int, kind: str, cents: int) -> Changes:
    number = 1 + max(key[1] for key in state if key[0] == "row")
    made: Changes = {
        ("row", number): f"{kind} {cents} of {origin}",
        ("lead of", number): state["lead of", origin],
    }
    subscription = state.get(("subscription of", origin))
    return {**made, ("subscription of", number): subscription} if subscription else made


def _refund(call: Write, state: State) -> Changes | None:
    number, cents = call["transaction_id"], call.money(state) or 0
    left = remains(state, number)
    refundable = read_row(state, number)[0] in SALES and ("test", number) not in state
    if not refundable or not 0 < cents <= left or number in TOO_OLD:
        return None
    kind = "refund" if cents == left else "partial_refund"
    return _new_row(state, number, kind, cents)


def _cancel(call: Write, state: State) -> Changes | None:
    number = call.target(state)
    if state.get(("status", number), "Cancelled") in ENDED:
        return None
    lead, product = state["subscriber", number], state["product", number]
    changes: Changes = {("status", number): "Cancelled", ("next payment", number): NEVER}
    access = ("membership", lead, state.get(("level of", product)))
    if access in state:
        changes[access] = 0
    rows = sorted(
        key[1] for key, of in state.items() if key[0] == "subscription of" and of == number
    )
    return {**changes, **(_new_row(state, rows[0], "cancellation", 0) if rows else {})}


def _modify(call: Write, state: State) -> Changes | None:
    """Return the changes of a pause or its end; PayPal's subscriptions know neither."""
    number, wanted = call["subscription_id"], call["subscription_status_modification"]
    if wanted == "cancel":
        return _cancel(call, state)
    was, after = ("Active", "Paused") if wanted == "pause" else ("Paused", "Active")
    possible = state.get(("status", number)) == was and number != OF_PAYPAL
    return {("status", number): after} if possible else None


def _edit_terms(call: Write, state: State) -> Changes | None:
    number = call["subscription_id"]
    ended = state.get(("status", number), "Cancelled") in ENDED
    found = [rule(call, state, number) for name, rule in _TERMS.items() if call[name] is not None]
    if ended or number == OF_PAYPAL or not found or None in found:
        return None
    return {(name, number): value for some in found if some for name, value in some.items()}


def _product(call: Write, _: State, __: int) -> Terms | None:
    chosen = call["subscription_product_id"], call["subscription_price_point"]
    if chosen not in RECURRING:
        return None
    return {"product": chosen[0], "point": chosen[1], "price": RECURRING[chosen]}


RECURRING = {(301, 2): 3500, (302, 1): 4900, (302, 2): 49000, (305, 1): 2900}
"""Price points that recur, and their cents."""


def _between(name: str, field: str, least: float, most: float, factor: int = 1):
    def change(call: Write, _: State, __: int) -> Terms | None:
        value = call[field]
        return {name: value * factor} if least <= value <= most else None

    return change


def _period(call: Write, state: State, number: int) -> Terms | None:
    value = call["subscription_recurrence"]["recurring_period_1"]
    fixed = state["product", number] == 305
    return {"period": value} if value in {"monthly", "yearly"} and not fixed else None


def _installments(call: Write, _: State, __: int) -> Terms | None:
    value = call["subscription_installments_left"]
    if value == "until cancelled":
        return {"installments left": None}
    return {"installments left": value} if value > 0 else None


def _next(call: Write, _: State, __: int) -> Terms | None:
    value = call["subscription_next_payment_date"]
    return {"next payment": value} if value > date.today().isoformat() else None  # noqa: DTZ011


_TERMS: Mapping[str, Callable[[Write, State, int], Terms | None]] = {
    "subscription_product_id": _product,
    "subscription_next_payment_date": _next,
    "subscription_amount": _between("price", "subscription_amount", 1, 9_999.99, 100),
    "subscription_recurrence": _period,
    "subscription_product_quantity": _between(
        "quantity", "subscription_product_quantity", 1, 9_999
    ),
    "subscription_installments_left": _installments,
    "subscription_tax_percent": _between("tax", "subscription_tax_percent", 0, 100),
}
"""Each field of edit_subscription in the order in which Kartra takes them."""


def _on_lead(changes: Callable[[Write, State, int], Changes | None]):
    def effect(call: Write, state: State) -> Changes | None:
        lead = call.lead(state)
        return None if lead is None else changes(call, state, lead)

    return effect


def _sequence(call: Write, lead: int) -> Key:
    return "sequence", lead, call["sequence_name"]


def _leave(call: Write, state: State, lead: int) -> Changes | None:
    if call["sequence_name"] not in STEPS:
        return None
    before = state.get(_sequence(call, lead))
    return {_sequence(call, lead): f"{before.split()[0]} unsubscribed"} if before else {}


def _join(call: Write, _: State, lead: int) -> Changes | None:
    if call["step"] not in STEPS.get(call["sequence_name"], ()):
        return None
    return {_sequence(call, lead): f"{call['step']} active"}


def _revoke(call: Write, state: State, lead: int) -> Changes | None:
    keys: list[Key] = [("membership", lead, number) for number in levels(call)]
    return {key: 0 for key in keys if key in state} if keys else None


def _grant(call: Write, _: State, lead: int) -> Changes | None:
    return {("membership", lead, number): 1 for number in levels(call)[:1]} or None


def _class(call: Write, lead: int) -> Key:
    return "booking", lead, CLASSES.get((call["calendar_name"], call["class_name"]))


def _book(call: Write, _: State, lead: int) -> Changes | None:
    key, starts = _class(call, lead), start_of(call)
    possible = key[2] and (not starts or starts > date.today().isoformat())  # noqa: DTZ011
    return {key: f"{starts} {'active' if starts else 'pending'}"} if possible else None


def start_of(call: Write) -> str:
    """Return the start of a booking as the account has it, "" for an open one."""
    if call["starting_date"] is None:
        return ""
    at = datetime.strptime(f"{call['starting_date']} {call['starting_hour']}", CLASS_TIME)  # noqa: DTZ007
    return str(at)


def _unbook(call: Write, state: State, lead: int) -> Changes | None:
    starts, _, status = str(state.get(_class(call, lead), "")).rpartition(" ")
    return {_class(call, lead): f"{starts} cancelled"} if status in {"active", "pending"} else None


def _points(sign: int):
    def change(call: Write, state: State, lead: int) -> Changes | None:
        key = ("points", lead)
        return {key: state.get(key, 0) + sign * call["points"]}

    return change


def _edit(call: Write, state: State, lead: int) -> Changes | None:
    changes: Changes = {
        (name, lead): call[name] or None for name in FIELDS if call[name] is not None
    }
    email = call["new_email"]
    taken = [key for key, v in state.items() if key[0] == "email" and v == email]
    if email and ("email", lead) not in taken and taken:
        return None
    return {**changes, ("email", lead): email} if email else changes


def _create(call: Write, state: State) -> Changes | None:
    if call["email"] in {v for key, v in state.items() if key[0] == "email"}:
        return None
    number = 1 + max(key[1] for key in state if key[0] == "email")
    edited = {(name, number): call[name] for name in FIELDS if call[name]}
    return {("email", number): call["email"], **edited}


def _named(name: str, known: tuple[str, ...], value: Callable[[State, Key], Any]):
    def changes(call: Write, state: State, lead: int) -> Changes | None:
        key = (name, lead, call[f"{name}_name"])
        return {key: value(state, key)} if key[2] in known else None

    return _on_lead(changes)


_EFFECTS: Mapping[str, Callable[[Write, State], Changes | None]] = {
    "create_lead": _create,
    "edit_lead": _on_lead(_edit),
    "assign_tag": _named("tag", TAGS, lambda _, __: 1),
    "unassign_tag": _named("tag", TAGS, lambda _, __: None),
    "subscribe_lead_to_list": _named("list", LISTS, lambda _, __: 1),
    "unsubscribe_lead_from_list": _named("list", LISTS, lambda s, k: 0 if k in s else None),
    "subscribe_lead_to_sequence_at_step": _on_lead(_join),
    "unsubscribe_lead_from_sequence": _on_lead(_leave),
    "grant_membership_access": _on_lead(_grant),
    "revoke_membership_access": _on_lead(_revoke),
    "give_points_to_lead": _on_lead(_points(1)),
    "remove_points_from_lead": _on_lead(_points(-1)),
    "refund_transaction": _refund,
    "cancel_transaction": _cancel,
    "modify_subscription_status": _modify,
    "edit_subscription": _edit_terms,
    "calendar_subscribe": _on_lead(_book),
    "calendar_cancel": _on_lead(_unbook),
}
