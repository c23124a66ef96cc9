"""Facts that the user sees before money moves or access ends, collected by reads only.

The digest of the facts is bound to the consent, and they are read again immediately before the call
runs. Whatever could not be read is listed with the reason.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.models import Call, Command, OperationKind, Target
from kartra_mcp.core.sanitize import strip_control_chars, truncate
from kartra_mcp.kartra.fields import normalize_name
from kartra_mcp.kartra.response_search import (
    find_object,
    find_rows,
    first_field,
    has_more_pages,
    is_empty_list,
)
from kartra_mcp.kartra.values import normalize_id, parse_amount

MAX_READS = 10
REFUND_ROWS = frozenset({"refund"})
NOT_UNDERSTOOD = "the response could not be parsed"
CHARGEBACKS = frozenset({"chargeback"})
"""Money that was returned without a refund: it reduces the rest, and proves no refund by us."""

Read = Callable[[Command], Awaitable[Any]]
"""Runs one read command and returns Kartra's response."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts read before a call.

    `shown` is displayed to the user; `missing` lists what could not be read, with reasons.
    `remaining` and `amount_moved` are sums (None: could not be read). `already_done`: the account
    shows that the operation was done before.
    """

    act: OperationKind
    target: Target | None
    shown: Mapping[str, Any] = field(default_factory=dict[str, Any])
    missing: tuple[str, ...] = ()
    amount_moved: Decimal | None = None
    remaining: Decimal | None = None
    full: bool | None = None
    already_done: bool = False
    evidence: tuple[str, ...] = ()
    lead: str = ""

    @property
    def digest(self) -> str:
        kept = [
            self.shown,
            self.missing,
            str(self.amount_moved),
            str(self.remaining),
            self.evidence,
        ]
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _MoneyReturned:
    """A refund or chargeback row."""

    id: str
    kind: str
    paid: Decimal


@dataclass(slots=True)
class _Reader:
    """At most ten reads; a failed read is a reason, not an error."""

    read: Read
    left: int = MAX_READS
    unread: list[str] = field(default_factory=list[str])

    async def ask(
        self, what: str, name: str, lead: Mapping[str, Any] | None = None, **given: Any
    ) -> Any:
        if self.left <= 0:
            self._note_missing(what, f"it needs more than {MAX_READS} reads")
            return None
        self.left -= 1
        try:
            return await self.read(Command(name, given, lead or {}))
        except KartraMCPError as problem:
            if problem.code == "connection_not_ready":
                raise
            self._note_missing(what, problem.message.rstrip("."))
            return None

    def _note_missing(self, what: str, why: str) -> None:
        self.unread.append(f"{what}: {why}")


async def read_facts(call: Call, read: Read) -> Facts:
    """Return everything that the user needs for the decision on this call."""
    act, target = call.operation.kind, call.operation.target
    reader = _Reader(read)
    if target is None:
        unread = ("what it acts on: not named in the arguments",)
        return Facts(act, None, _given_facts(call), missing=unread)
    match act:
        case OperationKind.REFUND:
            return await _refund_facts(target, call.operation.amount, reader)
        case OperationKind.CANCELLATION | OperationKind.CHANGE:
            return await _subscription_facts(act, target, call, reader)
        case OperationKind.REVOCATION:
            return await _membership_facts(target, call, reader)
        case OperationKind.OTHER:
            return Facts(act, target, {"acts_on": str(target), **_given_facts(call)})


async def facts_for_entry(operation: str, entry: Mapping[str, Any], read: Read) -> Facts:
    """Return the facts of an earlier write, from what the ledger kept."""
    reader = _Reader(read)
    target = Target(str(entry.get("target_kind") or ""), str(entry.get("target") or ""))
    if operation == "refund_transaction":
        return await _refund_facts(target, None, reader)
    if operation == "cancel_transaction":
        return await _subscription_facts(OperationKind.CANCELLATION, target, None, reader)
    return Facts(OperationKind.OTHER, target, missing=("its effect: only the user can check it",))


async def _refund_facts(target: Target, amount: Decimal | None, reader: _Reader) -> Facts:
    sale = await _read_transaction(target.id, reader)
    whole = parse_amount(
        first_field(sale, "transaction_full_amount", "full_amount", "amount", "total")
    )
    email = _short_text(first_field(sale, "lead_email", "buyer_email", "email"))
    rows = await _read_returns(target.id, email, reader) if sale else ()
    refunded = _sum_returned(rows, REFUND_ROWS)
    charged_back = _sum_returned(rows, CHARGEBACKS)
    if sale and whole is None:
        reader.unread.append("amount: the transaction does not say it")
    known = whole is not None and not reader.unread
    remaining = whole - refunded - charged_back if known and whole is not None else None
    moves = amount if amount is not None else remaining
    full = None if remaining is None else moves == remaining
    status = _short_text(first_field(sale, "transaction_status", "status")).lower()
    shown = {
        "transaction_id": target.id,
        "buyer": _describe_buyer(sale, email),
        "product": _short_text(first_field(sale, "product_name", "product")),
        "type": _short_text(first_field(sale, "transaction_type", "type")),
        "date": _short_text(first_field(sale, "transaction_date", "date", "created_at")),
        "amount": _format_amount(whole),
        "refunded_so_far": _format_amount(refunded) if known else None,
        "taken_back_by_the_bank": _format_amount(charged_back) if charged_back else None,
        "remaining": _format_amount(remaining),
        "this_refund": _format_amount(moves) or "all that remains",
        "full_or_partial": "FULL" if full or amount is None else "PARTIAL" if known else None,
        "currency": "the sale's own currency, which Kartra does not name",
        "may_also": "start the account's automations for refunds, which may end access",
    }
    return Facts(
        OperationKind.REFUND,
        target,
        _without_empty(shown),
        tuple(reader.unread),
        amount_moved=moves,
        remaining=remaining,
        full=full,
        already_done=(remaining is not None and remaining <= 0) or status == "refunded",
        evidence=tuple(
            sorted(f"{back.id} {back.paid:.2f}" for back in rows if back.kind in REFUND_ROWS)
        ),
        lead=email,
    )


async def _read_transaction(identity: str, reader: _Reader) -> Mapping[str, Any]:
    answer = await reader.ask(
        "the transaction", "get_transaction_details", transaction_id=_as_number(identity)
    )
    found = find_object(
        answer, "transaction_details", ("transaction_id", "transaction_full_amount")
    )
    told = first_field(found, "transaction_id", "id")
    if answer is not None and (not found or (told is not None and normalize_id(told) != identity)):
        reader.unread.append(f"transaction {identity}: {NOT_UNDERSTOOD}")
        return {}
    return found


async def _read_returns(identity: str, email: str, reader: _Reader) -> tuple[_MoneyReturned, ...]:
    """Return every refund and chargeback of the transaction; incomplete rows need one read each."""
    if not email:
        reader.unread.append("earlier refunds: the transaction does not name the buyer's address")
        return ()
    answer = await reader.ask(
        "earlier refunds", "retrieve_transactions_from_lead", {"email": email}
    )
    found: list[_MoneyReturned] = []
    for row in _list_rows(answer, "transaction_list", "earlier refunds", reader):
        kind = _return_kind(row)
        if kind:
            back = await _make_return(row, kind, identity, reader)
            found += [back] if back else []
    return tuple(found)


def _return_kind(row: Mapping[str, Any]) -> str:
    """Return "chargeback" or "refund" for a row that returned money, else ""."""
    said = normalize_name(_short_text(first_field(row, "transaction_type", "type")))
    if "chargeback" in said:
        return "chargeback"
    return "refund" if "refund" in said else ""


async def _make_return(
    row: Mapping[str, Any], kind: str, identity: str, reader: _Reader
) -> _MoneyReturned | None:
    own = normalize_id(first_field(row, "transaction_id", "id") or "")
    full = row if _parent_id(row) else await _read_transaction(own, reader)
    if full and not _parent_id(full):
        reader.unread.append(f"earlier refunds: which sale {own} belongs to")
    if not full or _parent_id(full) != identity:
        return None
    paid = parse_amount(first_field(full, "transaction_full_amount", "refund_amount", "amount"))
    if paid is None:
        reader.unread.append(f"earlier refunds: the sum of {own}")
        return None
    return _MoneyReturned(own, kind, abs(paid))


def _sum_returned(rows: Iterable[_MoneyReturned], kinds: frozenset[str]) -> Decimal:
    return sum((back.paid for back in rows if back.kind in kinds), Decimal("0.00"))


def _parent_id(row: Mapping[str, Any]) -> str:
    found = first_field(row, "transaction_parent_id", "parent_id", "original_id")
    return "" if found in (None, "", 0, "0") else normalize_id(found)


async def _subscription_facts(
    act: OperationKind, target: Target, call: Call | None, reader: _Reader
) -> Facts:
    identity = target.id
    if target.kind == "transaction":
        sale = await _read_transaction(target.id, reader)
        linked = first_field(
            sale,
            "transaction_internal_subscription_id",
            "subscription_id",
            "transaction_subscription_id",
        )
        identity = normalize_id(linked) if linked not in (None, "", 0, "0", "N/A") else ""
        if sale and not identity:
            reader.unread.append("the subscription: the transaction names none")
    details: Mapping[str, Any] = {}
    if identity:
        answer = await reader.ask(
            "the subscription", "get_subscription_details", subscription_id=_as_number(identity)
        )
        details = find_object(answer, "subscription_details", ("subscription_id",))
        if answer is not None and not _short_text(
            first_field(details, "subscription_status", "status")
        ):
            reader.unread.append(f"subscription {identity}: {NOT_UNDERSTOOD}")
    status = _short_text(first_field(details, "subscription_status", "status"))
    changes = call.operation.arguments if call and act is OperationKind.CHANGE else None
    shown = {
        "subscription_id": identity or None,
        "transaction_id": target.id if target.kind == "transaction" else None,
        "lead_id": _short_text(first_field(details, "subscription_lead_id", "lead_id")),
        "product_id": _short_text(first_field(details, "subscription_product_id", "product_id")),
        "status": status,
        "price": _short_text(
            first_field(details, "subscription_next_scheduled_payment_amount", "price")
        ),
        "recurring": _short_text(first_field(details, "subscription_recurring_period", "period")),
        "next_payment": _short_text(
            first_field(details, "subscription_next_payment_date", "next_payment")
        ),
        "installments_left": _short_text(first_field(details, "subscription_installments_left")),
        "access": "ends by itself only where the membership is the product's own content; "
        "otherwise an automation or a revocation ends it",
        "changes": changes,
    }
    ended = act is OperationKind.CANCELLATION and status.lower() in {
        "cancelled",
        "canceled",
        "terminated",
    }
    place = Target("subscription", identity) if identity else target
    return Facts(
        act,
        place,
        _without_empty(shown),
        tuple(reader.unread),
        already_done=ended,
        evidence=(status,),
    )


async def _membership_facts(target: Target, call: Call, reader: _Reader) -> Facts:
    who = ("email", target.id) if "@" in target.id else ("id", _as_number(target.id))
    answer = await reader.ask("the lead's memberships", "get_lead", None, **dict([who]))
    details = find_object(answer, "lead_details", ("email", "id"))
    if answer is not None and not details:
        reader.unread.append(f"the lead: {NOT_UNDERSTOOD}")
    given = call.operation.arguments
    wanted = {normalize_name(str(v)) for n, v in given.items() if "membership" in n.lower()}
    levels = {normalize_name(str(v)) for n, v in given.items() if "level" in n.lower()}
    mine = [m for m in find_rows(details, "memberships") if _is_meant(m, wanted, levels)]
    active = [m for m in mine if str(first_field(m, "active")).lower() in {"1", "true"}]
    shown = {
        "lead": _describe_buyer(details, _short_text(first_field(details, "email"))) or target.id,
        "memberships": [
            _without_empty(
                {
                    "membership": _short_text(first_field(m, "name", "membership_name")),
                    "level": _short_text(first_field(m, "level_name", "level")),
                    "active": m in active,
                }
            )
            for m in mine
        ],
        "charges": "go on: a revocation does not cancel a subscription",
    }
    evidence = tuple(f"{first_field(m, 'level_id', 'level_name')}:{m in active}" for m in mine)
    return Facts(
        OperationKind.REVOCATION,
        target,
        _without_empty(shown),
        tuple(reader.unread),
        already_done=bool(mine) and not active and not reader.unread,
        evidence=evidence,
        lead=_short_text(first_field(details, "email")),
    )


def _is_meant(membership: Mapping[str, Any], wanted: set[str], levels: set[str]) -> bool:
    names = {normalize_name(str(first_field(membership, *keys))) for keys in _MEMBERSHIP_KEYS}
    level = {normalize_name(str(first_field(membership, *keys))) for keys in _LEVEL_KEYS}
    return (not wanted or bool(wanted & names)) and (not levels or bool(levels & level))


_MEMBERSHIP_KEYS = (("name", "membership_name"), ("membership_id", "id"))
_LEVEL_KEYS = (("level_name",), ("level_id",))


def _list_rows(answer: Any, name: str, what: str, reader: _Reader) -> list[Mapping[str, Any]]:
    """Return the rows of a list.

    Any other value, or a list with further pages, counts as not read.
    """
    rows = find_rows(answer, name)
    if answer is not None and not rows and not is_empty_list(answer, name):
        reader.unread.append(f"{what}: {NOT_UNDERSTOOD}")
    if has_more_pages(answer):
        reader.unread.append(f"{what}: there are more than one answer holds")
    return rows


def _describe_buyer(found: Mapping[str, Any], email: str) -> str:
    parts = (
        first_field(found, "lead_first_name", "first_name"),
        first_field(found, "lead_last_name", "last_name"),
    )
    name = " ".join(_short_text(part) for part in parts if part)
    return f"{name} <{email}>" if name and email else name or email


def _short_text(value: Any) -> str:
    """Return a value of the account as one short line of clean text."""
    return "" if value is None else truncate(" ".join(strip_control_chars(str(value)).split()), 120)


def _format_amount(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:.2f}"


def _given_facts(call: Call) -> dict[str, Any]:
    given = call.operation.arguments
    commands = [command.name for command in call.commands if command.name]
    return _without_empty({"does": commands, "arguments": given})


def _as_number(identity: str) -> int | str:
    return int(identity) if identity.isdecimal() else identity


def _without_empty(shown: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in shown.items() if value not in (None, "", [])}
