"""A second, smaller Kartra: the effect that a write must have on the account, and its inverse.

It shares no code with the sandbox, whose tables it reads. A state maps each fact of the account to
its value; dates are left out.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from harness import Sandbox

Key = tuple[Any, ...]
State = Mapping[Key, Any]
Changes = dict[Key, Any]
"""New values; None removes the fact."""

TAGS = ("VIP", "Webinar attended")
LISTS = ("Weekly Letter", "Workshop Updates")
STEPS = {"Welcome": ("1", "2"), "Win-back": ("1", "3")}
LEVELS = {
    ("Studio Circle", "Basic"): 801,
    ("Studio Circle", "Gold"): 802,
    ("Studio Circle", "Founders"): 803,
    ("Teacher Portal", "Assistant"): 821,
    ("Teacher Portal", "Lead teacher"): 822,
}
SALES = frozenset({"sale", "rebill"})
ENDED = frozenset({"Cancelled", "Terminated"})
FIELDS = ("first_name", "city", "phone", "company")
_LEAD = "first_name", "middle_name", "last_name", "city", "phone", "company", "address", "notes"

_QUERIES: Mapping[str, str] = {
    "email": "SELECT id, email FROM leads",
    "deleted": "SELECT id, deleted FROM leads WHERE deleted",
    "tag": "SELECT lead_id, name, 1 FROM lead_tags JOIN tags ON id = tag_id",
    "list": "SELECT lead_id, name, active FROM lead_lists JOIN lists ON id = list_id",
    "sequence": "SELECT lead_id, name, step || ' ' || status FROM lead_sequences"
    " JOIN sequences ON id = sequence_id",
    "membership": "SELECT lead_id, level_id, active FROM lead_memberships",
    "points": "SELECT lead_id, sum(points) FROM points GROUP BY lead_id",
    "field": "SELECT lead_id, field_id, value FROM lead_fields",
    "booking": "SELECT lead_id, class_id, starts || status FROM bookings",
    "row": "SELECT id, type || ' ' || cents || ' of ' || parent_id FROM transactions",
    "lead of": "SELECT id, lead_id FROM transactions",
    "subscription of": "SELECT id, subscription_id FROM transactions WHERE subscription_id",
    "test": "SELECT id, test FROM transactions WHERE test",
    "status": "SELECT id, status FROM subscriptions",
    "terms": "SELECT id, cents || period || quantity || point || tax FROM subscriptions",
    "subscriber": "SELECT id, lead_id || ' ' || product_id FROM subscriptions",
    "level of": "SELECT id, level_id FROM products",
    "named": "SELECT 'tag', id, name FROM tags UNION SELECT 'list', id, name FROM lists"
    " UNION SELECT 'option', id, value FROM options"
    " UNION SELECT 'field', id, identifier FROM custom_fields",
    **{name: f"SELECT id, {name} FROM leads WHERE {name} <> ''" for name in _LEAD},
}


def read_state(place: Sandbox) -> dict[Key, Any]:
    """Return every fact of the account."""
    with closing(sqlite3.connect(place.file)) as database:
        found = {
            (kind, *row[:-1]): row[-1]
            for kind, sql in _QUERIES.items()
            for row in database.execute(sql)
        }
    return {key: value for key, value in found.items() if value is not None}


def without_remains(state: State) -> dict[Key, Any]:
    """Leave out what is over: Kartra keeps the row of an ended membership, no call removes it."""
    return {
        key: value
        for key, value in state.items()
        if not (key[0] in {"list", "membership", "points"} and not value)
        and not (key[0] == "sequence" and str(value).endswith("unsubscribed"))
    }


def apply(state: State, changes: Changes) -> dict[Key, Any]:
    after = {**state, **changes}
    return {key: value for key, value in after.items() if value is not None}


@dataclass(frozen=True)
class Write:
    """One command with its fields."""

    command: str
    fields: tuple[tuple[str, Any], ...]

    def __getitem__(self, name: str) -> Any:
        return dict(self.fields).get(name)

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.fields)
        return f"{self.command}({given})"

    def lead(self, state: State) -> int | None:
        """Return the id of the lead, or None if Kartra does not find it."""
        number = self["lead_id"]
        if number is None:
            emails = {v.lower(): key[1] for key, v in state.items() if key[0] == "email"}
            number = emails.get(str(self["email"]).lower())
        found = ("email", number) in state and ("deleted", number) not in state
        return number if found else None

    def effect(self, state: State) -> Changes | None:
        """Return the changes; None if Kartra refuses the command."""
        return _EFFECTS[self.command](self, state)

    def meaning(self, state: State) -> tuple[Any, ...]:
        """Return the same value for each spelling of the same write on this account."""
        skipped = {"lead_id", "email", "refund_amount", "subscription_id", "transaction_id"}
        rest = [(name, value) for name, value in self.fields if name not in skipped]
        if self.command == "create_lead":
            return self.command, self["email"], *sorted(rest)
        return self.command, self.target(state), self.money(state), *sorted(rest)

    def target(self, state: State) -> Any:
        if self.command == "refund_transaction":
            return self["transaction_id"]
        if self.command in {"cancel_transaction", "modify_subscription_status"}:
            return _subscription(self, state)
        return self.lead(state) or self["lead_id"] or self["email"]

    def money(self, state: State) -> int | None:
        """Return the cents that a refund moves."""
        if self.command != "refund_transaction":
            return None
        given = self["refund_amount"]
        return remains(state, self["transaction_id"]) if given is None else round(given * 100)


def write(command: str, **given: Any) -> Write:
    return Write(command, tuple((n, v) for n, v in given.items() if v is not None))


# ── Effects ──


def _row(state: State, number: Any) -> tuple[str, int, int]:
    """Return type, cents and parent of a transaction."""
    kind, cents, _, parent = str(state.get(("row", number), "none 0 of 0")).split()
    return kind, int(cents), int(parent)


def remains(state: State, number: Any) -> int:
    """Return the cents of a sale that were not paid back."""
    rows = [_row(state, key[1]) for key in state if key[0] == "row"]
    back = [cents for kind, cents, of in rows if of == number and kind in BACK]
    return _row(state, number)[1] - sum(back)


BACK = frozenset({"refund", "partial_refund", "chargeback"})


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
    refundable = _row(state, number)[0] in SALES and ("test", number) not in state
    if not refundable or not 0 < cents <= left or number in TOO_OLD:
        return None
    kind = "refund" if cents == left else "partial_refund"
    return _new_row(state, number, kind, cents)


TOO_OLD = frozenset({104})


def _subscription(call: Write, state: State) -> int | None:
    number = call["subscription_id"]
    return state.get(("subscription of", call["transaction_id"])) if number is None else number


def _cancel(call: Write, state: State) -> Changes | None:
    number = _subscription(call, state)
    if state.get(("status", number), "Cancelled") in ENDED:
        return None
    lead, product = map(int, str(state["subscriber", number]).split())
    changes: Changes = {("status", number): "Cancelled"}
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
    was, after = ("Active", "Paused") if wanted == "pause" else ("Paused", "Active")
    possible = state.get(("status", number)) == was and number != OF_PAYPAL
    return {("status", number): after} if possible else None


OF_PAYPAL = 205


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


def levels(call: Write) -> list[int]:
    """Return the levels that a call means; without a level, all of the membership."""
    meant = call["membership_name"], call["level_name"]
    return [
        number for (name, level), number in LEVELS.items() if meant in {(name, level), (name, None)}
    ]


def _revoke(call: Write, state: State, lead: int) -> Changes | None:
    keys: list[Key] = [("membership", lead, number) for number in levels(call)]
    return {key: 0 for key in keys if key in state} if keys else None


def _grant(call: Write, _: State, lead: int) -> Changes | None:
    return {("membership", lead, number): 1 for number in levels(call)[:1]} or None


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
}


def overwritten(call: Write, before: State) -> dict[str, Any]:
    """Return the old value of each field that an edit of a lead replaces."""
    lead = call.lead(before)
    given = [(name, call[name]) for name in (*FIELDS, "new_email") if call[name] is not None]
    old = {n: before.get(("email" if n == "new_email" else n, lead), "") for n, _ in given}
    return {name: old[name] for name, value in given if old[name] and old[name] != value}


# ── Undo ──


def inverse(call: Write, before: State) -> list[Write]:
    """Return the calls that a user makes to undo a write that changed the account.

    Without any, it cannot be undone by the tools.
    """
    if call.command == "modify_subscription_status":
        wanted = "unpause" if call["subscription_status_modification"] == "pause" else "pause"
        number = call["subscription_id"]
        return [
            write(call.command, subscription_id=number, subscription_status_modification=wanted)
        ]
    lead = call.lead(before)
    swapped = _OPPOSITES.get(call.command)
    if lead is None or (swapped is None and call.command != "edit_lead"):
        return []
    if call.command == "edit_lead":
        old = {name: before.get((name, lead), "") for name in FIELDS if call[name] is not None}
        email = {"new_email": before["email", lead]} if call["new_email"] else {}
        return [write("edit_lead", lead_id=lead, **old, **email)]
    name = next((n for n in ("tag_name", "list_name", "sequence_name", "points") if call[n]), "")
    given: dict[str, Any] = {name: call[name]} if name else {}
    if call.command == "subscribe_lead_to_sequence_at_step":
        was = str(before.get(_sequence(call, lead), ""))
        if was.endswith(" active"):  # it was in it at another step
            return [write(call.command, lead_id=lead, **given, step=was.removesuffix(" active"))]
    if call.command == "unsubscribe_lead_from_sequence":
        given["step"] = str(before[_sequence(call, lead)]).split()[0]
    if "membership" not in call.command:
        return [write(swapped or "", lead_id=lead, **given)]
    numbers = [n for n in levels(call) if before.get(("membership", lead, n))]
    meant = {n: names for names, n in LEVELS.items()}
    return [
        write(swapped or "", lead_id=lead, membership_name=meant[n][0], level_name=meant[n][1])
        for n in (numbers if "revoke" in call.command else levels(call)[:1])
    ]


_PAIRS = (
    ("assign_tag", "unassign_tag"),
    ("subscribe_lead_to_list", "unsubscribe_lead_from_list"),
    ("subscribe_lead_to_sequence_at_step", "unsubscribe_lead_from_sequence"),
    ("grant_membership_access", "revoke_membership_access"),
    ("give_points_to_lead", "remove_points_from_lead"),
)
_OPPOSITES = {**dict(_PAIRS), **{undo: done for done, undo in _PAIRS}}
