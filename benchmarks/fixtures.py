"""Ledgers after months of use, written by the ledger's own code.

Leads and sales are invented. The same count gives the same history, except for its times.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from kartra_mcp.core.models import Executed, Risk
from kartra_mcp.core.timings import Clocks
from kartra_mcp.ledger.approvals import ApprovalRequest
from kartra_mcp.ledger.hash_chain import Head, LedgerEntry, make_entry
from kartra_mcp.ledger.projection import intent_payload
from kartra_mcp.ledger.pseudonyms import mask_email
from kartra_mcp.ledger.records import Binding, Consent, FinalState, Intent
from kartra_mcp.ledger.sqlite.store import SQLiteStore, open_ledger
from kartra_mcp.ledger.transaction import Transaction

PIN = "correct horse"
CLIENT, ACTOR = "Example Client 1.2", "ada"
DAYS = 90.0
DAY = 86_400.0
MOST_AT_ONCE = 10_000
"""Lines in one commit."""
PEOPLE = (
    "Ada Moreno <ada@example.com>",
    "Noor van den Berg <noor@example.com>",
    "Inês Carvalho <ines@example.org>",
    "Søren Ødegård <soren@example.net>",
    "Wanjiru Kamau <wanjiru@example.org>",
    "陳美玲 <meiling@example.com>",
)
PRODUCTS = {
    "Watercolour Foundations": "97.00",
    "Studio Membership": "49.00",
    "A Week of Sketching": "19.00",
    "Landscape Masterclass": "250.00",
    "Brushes & Paper, a Guide": "12.50",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A tool of the invented months, its effect and its consent."""

    tool: str
    risk: Risk
    consents: tuple[Consent, ...]
    target: str
    undo: str


KINDS = (
    Kind("assign_tag", Risk.WRITE, ("none",), "lead", "unassign the tag"),
    Kind("subscribe_lead_to_list", Risk.WRITE, ("none",), "lead", "unsubscribe the lead"),
    Kind("unassign_tag", Risk.DESTRUCTIVE, ("flag",), "lead", "assign the tag again"),
    Kind(
        "refund_transaction",
        Risk.IRREVERSIBLE,
        ("two_step", "elicitation", "approval"),
        "transaction",
        "not possible",
    ),
    Kind(
        "cancel_subscription",
        Risk.IRREVERSIBLE,
        ("two_step", "approval"),
        "subscription",
        "not possible: the customer must buy again",
    ),
)
WEIGHTS = (40, 25, 12, 18, 5)
ENDINGS: Mapping[FinalState, int] = {"succeeded": 930, "failed": 50, "refused": 14, "unknown": 6}
FAULTS = ("kartra_error", "rate_limited", "timed_out", "not_allowed", "membrane_error")
EXECUTED: Mapping[FinalState, Executed] = {
    "succeeded": Executed.YES,
    "failed": Executed.NO,
    "refused": Executed.NO,
    "unknown": Executed.UNKNOWN,
}


def ledger_of(folder: Path, *, waiting: int = 0, lines: int = 0, pin: str = PIN) -> None:
    """Write a ledger with a PIN, so many lines of past months, and so many waiting approvals."""
    history(folder, lines)
    with closing(open_ledger(folder)) as ledger:
        if pin:
            ledger.pins.set(pin, ACTOR)
        for number in range(1, waiting + 1):
            ledger.approvals.request(asked(number))


def asked(number: int, **facts: Any) -> ApprovalRequest:
    """Request a refund that waits; each number is another transaction."""
    buyer = PEOPLE[number % len(PEOPLE)]
    product, price = list(PRODUCTS.items())[number % len(PRODUCTS)]
    shown = {
        "transaction_id": str(1_000 + number),
        "buyer": buyer,
        "product": product,
        "type": "sale",
        "date": "2026-11-21 16:45:35",
        "amount": price,
        "refunded_so_far": "0.00",
        "remaining": price,
        "this_refund": price,
        "full_or_partial": "FULL",
        "currency": "the sale's own currency, which Kartra does not name",
        "may_also": "start the account's automations for refunds, which may end access",
        "effect": f"pays {price} back to the buyer",
        "undo": "not possible",
        "risk": Risk.IRREVERSIBLE.label,
        **facts,
    }
    return ApprovalRequest(
        Binding("kartra_refund_transaction", f"arguments {number}", "c", "2026", "a", "r1", "p"),
        f'REFUND FULL {price} transaction {1_000 + number} of "{shown["product"]}"',
        shown,
        f"facts {number}",
        f"{ACTOR}, through {CLIENT}",
        f"refund {number}",
    )


Write = tuple[Intent, float, float, FinalState, str]
"""A write, its start and end, its state and its error code."""


def history(folder: Path, lines: int) -> None:
    """Write half as many writes as lines, each with its outcome, over the last three months."""
    story = _story(lines)
    with closing(SQLiteStore(folder, Clocks())) as store:
        for _ in range(0, lines, MOST_AT_ONCE):
            with store.write_transaction() as transaction:
                for _, write in zip(range(MOST_AT_ONCE // 2), story, strict=False):
                    _written(transaction, *write)


@dataclass(slots=True)
class Chain:
    """Entries that no store has yet."""

    now: float = 0.0
    entries: list[LedgerEntry] = field(default_factory=list[LedgerEntry])

    def append(self, kind: str, body: Mapping[str, Any]) -> LedgerEntry:
        last = self.entries[-1] if self.entries else None
        head = Head() if last is None else Head(last.n, last.hash)
        self.entries.append(make_entry(head, self.now, kind, body))
        return self.entries[-1]


def chain(lines: int) -> list[LedgerEntry]:
    """Return the entries of such a history."""
    made = Chain()
    for write in _story(lines):
        _written(made, *write)
    return made.entries


def _story(lines: int) -> Generator[Write]:
    now, writes = time.time(), lines // 2
    return _writes(writes, now - DAYS * DAY, DAYS * DAY / (writes + 1))


def _writes(count: int, begin: float, apart: float) -> Generator[Write]:
    chance = Random(count)  # noqa: S311  a made-up story, no secret
    for number in range(count):
        (kind,) = chance.choices(KINDS, WEIGHTS)
        (state,) = chance.choices(list(ENDINGS), list(ENDINGS.values()))
        at = begin + apart * number
        took = min(apart / 2, chance.lognormvariate(-1.6, 0.7))
        code = chance.choice(FAULTS) if state in {"failed", "refused"} else ""
        code = "timed_out" if state == "unknown" else code
        yield _intent(kind, number, chance), at, at + took, state, code


def _intent(kind: Kind, number: int, chance: Random) -> Intent:
    buyer = chance.choice(PEOPLE)
    address = buyer.partition("<")[2].rstrip(">")
    product, price = chance.choice(list(PRODUCTS.items()))
    money = Decimal(price) if kind.tool == "refund_transaction" else None
    identity = str(1_000 + number)
    is_lead = kind.target == "lead"
    return Intent(
        id=f"int_{number:016x}",
        tool=f"kartra_{kind.tool}",
        operation=kind.tool.replace("cancel_subscription", "cancel_transaction"),
        risk=kind.risk,
        connection="c",
        target_kind=kind.target,
        target=mask_email(address) if is_lead else identity,
        amount=money,
        remainder=money,
        known_amount=money,
        arguments_digest=f"{number:064x}",
        consent=chance.choice(kind.consents),
        fresh=kind.risk is Risk.IRREVERSIBLE,
        actor=ACTOR,
        client=CLIENT,
        facts={} if is_lead else {f"{kind.target}_id": identity, "product": product},
        lead=mask_email(address),
        undo=kind.undo,
    )


def _written(
    transaction: Transaction | Chain,
    intent: Intent,
    at: float,
    ended: float,
    state: FinalState,
    code: str,
) -> None:
    transaction.now = round(at, 3)
    transaction.append("intent", intent_payload(intent, None))
    said = {
        "intent": intent.id,
        "state": state,
        "executed": str(EXECUTED[state]),
        "detail": {"code": code} if code else {},
        "action_run_id": f"run-{intent.id[-6:]}" if state == "succeeded" else None,
        "undo": intent.undo,
    }
    transaction.now = round(ended, 3)
    transaction.append("outcome", said)
