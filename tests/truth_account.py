"""The account as facts, and the writes that change it; `truth_effects.py` has what each must do.

A state maps each fact of the account to its value; dates of the past are left out.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
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
CLASSES = {
    ("Live critique", "Tuesday evening"): 901,
    ("Consultation", "Intro call"): 911,
    ("Consultation", "Portfolio review"): 912,
}
SALES = frozenset({"sale", "rebill"})
BACK = frozenset({"refund", "partial_refund", "chargeback"})
ENDED = frozenset({"Cancelled", "Terminated"})
FIELDS = ("first_name", "city", "phone", "company")
_LEAD = "first_name", "middle_name", "last_name", "city", "phone", "company", "address", "notes"

TERMS = {
    "price": "cents",
    "period": "period",
    "quantity": "quantity",
    "point": "point",
    "product": "product_id",
    "tax": "tax",
    "installments left": "installments_left",
    "next payment": "next_payment",
}
"""Terms of a subscription, and the columns of the sandbox that have them."""

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
    "booking": "SELECT lead_id, class_id, starts || ' ' || status FROM bookings",
    "row": "SELECT id, type || ' ' || cents || ' of ' || parent_id FROM transactions",
    "lead of": "SELECT id, lead_id FROM transactions",
    "subscription of": "SELECT id, subscription_id FROM transactions WHERE subscription_id",
    "test": "SELECT id, test FROM transactions WHERE test",
    "status": "SELECT id, status FROM subscriptions",
    "subscriber": "SELECT id, lead_id FROM subscriptions",
    **{name: f"SELECT id, {column} FROM subscriptions" for name, column in TERMS.items()},
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


OVER = ("unsubscribed", "cancelled")


def without_remains(state: State) -> dict[Key, Any]:
    """Leave out what is over: Kartra keeps the row of an ended membership, no call removes it."""
    return {
        key: value
        for key, value in state.items()
        if not (key[0] in {"list", "membership", "points"} and not value)
        and not (key[0] in {"sequence", "booking"} and str(value).endswith(OVER))
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

    @property
    def kind(self) -> str:
        """Return the operation: a cancellation is the same by either command."""
        cancels = self["subscription_status_modification"] == "cancel"
        return "cancel" if cancels or self.command == "cancel_transaction" else self.command

    def meaning(self, state: State) -> tuple[Any, ...]:
        """Return the same value for each spelling of the same write on this account."""
        skipped = {"lead_id", "email", "refund_amount", "subscription_id", "transaction_id"}
        rest = [(name, value) for name, value in self.fields if name not in skipped]
        if self.command == "create_lead":
            return self.command, self["email"], *sorted(rest)
        if self.kind == "cancel":
            return self.kind, self.target(state)
        return self.command, self.target(state), self.money(state), *sorted(rest)

    def target(self, state: State) -> Any:
        if self.command == "refund_transaction":
            return self["transaction_id"]
        if self.command in OF_SUBSCRIPTIONS:
            number = self["subscription_id"]
            paid = self["transaction_id"]
            return state.get(("subscription of", paid)) if number is None else number
        return self.lead(state) or self["lead_id"] or self["email"]

    def money(self, state: State) -> int | None:
        """Return the cents that a refund moves."""
        if self.command != "refund_transaction":
            return None
        given = self["refund_amount"]
        return remains(state, self["transaction_id"]) if given is None else round(given * 100)


OF_SUBSCRIPTIONS = frozenset(
    {"cancel_transaction", "modify_subscription_status", "edit_subscription"}
)


def write(command: str, **given: Any) -> Write:
    return Write(command, tuple((n, v) for n, v in given.items() if v is not None))


# ── Questions to a state ──


def read_row(state: State, number: Any) -> tuple[str, int, int]:
    """Return type, cents and parent of a transaction."""
    kind, cents, _, parent = str(state.get(("row", number), "none 0 of 0")).split()
    return kind, int(cents), int(parent)


def remains(state: State, number: Any) -> int:
    """Return the cents of a sale that were not paid back."""
    rows = [read_row(state, key[1]) for key in state if key[0] == "row"]
    back = [cents for kind, cents, of in rows if of == number and kind in BACK]
    return read_row(state, number)[1] - sum(back)


def levels(call: Write) -> list[int]:
    """Return the levels that a call means; without a level, all of the membership."""
    meant = call["membership_name"], call["level_name"]
    return [
        number for (name, level), number in LEVELS.items() if meant in {(name, level), (name, None)}
    ]


def overwritten(call: Write, before: State) -> dict[str, Any]:
    """Return the old values of an edit of a lead that changes one: those that were not empty."""
    lead = call.lead(before)
    given = [(name, call[name]) for name in (*FIELDS, "new_email") if call[name] is not None]
    old = {n: before.get(("email" if n == "new_email" else n, lead), "") for n, _ in given}
    moved = any(old[name] != value for name, value in given)
    return {name: value for name, value in old.items() if value and moved}
