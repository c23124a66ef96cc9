"""Facts of a refund: the sale, what was returned of it, and what remains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kartra_mcp.consent.fact_reader import (
    FactReader,
    describe_person,
    known_text,
    list_rows,
    short_text,
    without_empty,
)
from kartra_mcp.consent.facts import Facts, Impossible
from kartra_mcp.core.models import OperationKind, Target
from kartra_mcp.kartra.fields import normalize_name
from kartra_mcp.kartra.response_search import first_field
from kartra_mcp.kartra.values import (
    CENT,
    format_amount,
    normalize_id,
    parse_amount,
    to_json_id,
)

REFUND_ROWS = frozenset({"refund"})
CHARGEBACKS = frozenset({"chargeback"})
"""Money that was returned without a refund: it reduces the rest, and proves no refund by us."""

_OTHER_ROWS: Mapping[str, str] = {
    "chargeback": "a chargeback",
    "partialrefund": "a partial refund",
    "refund": "a refund",
    "fail": "a failed payment",
    "declin": "a failed payment",
    "cancel": "a cancellation",
    "void": "a voided payment",
}
"""Types of rows that are neither a sale nor a rebill, by a part of their normalized name."""
USE_A_SALE = (
    "Read the lead's transactions (kartra_retrieve_transactions_from_lead), and use the id of a "
    "sale or a rebill."
)


@dataclass(frozen=True, slots=True)
class _MoneyReturned:
    """A refund or chargeback row."""

    id: str
    kind: str
    paid: Decimal


async def refund_facts(target: Target, amount: Decimal | None, reader: FactReader) -> Facts:
    """Return the facts of a refund of a transaction; `amount` None is all that remains."""
    sale = await reader.read_transaction(target.id)
    wrong_row = _absent(target, reader) or _wrong_row(target, sale)
    whole = parse_amount(
        first_field(sale, "transaction_full_amount", "full_amount", "amount", "total")
    )
    email = short_text(first_field(sale, "lead_email", "buyer_email", "email"))
    rows = await _read_returns(target.id, _buyer(sale, email), reader) if sale else ()
    refunded = _sum_returned(rows, REFUND_ROWS)
    charged_back = _sum_returned(rows, CHARGEBACKS)
    if sale and whole is None:
        reader.unread.append("amount: the transaction does not say it")
    known = whole is not None and not reader.unread
    at_most = None if whole is None else whole - refunded - charged_back
    remaining = at_most if known else None
    moves = amount if amount is not None else remaining
    full = None if remaining is None else moves == remaining
    status = short_text(first_field(sale, "transaction_status", "status")).lower()
    row = {
        "transaction_id": target.id,
        "buyer": describe_person(sale, email),
        "product": known_text(first_field(sale, "product_name", "product")),
        "type": short_text(first_field(sale, "transaction_type", "type")),
        "date": known_text(first_field(sale, "transaction_date", "date", "created_at")),
        "amount": format_amount(whole),
    }
    money = {
        "refunded_so_far": format_amount(refunded) if known else None,
        "taken_back_by_the_bank": format_amount(charged_back) if charged_back else None,
        "remaining": format_amount(remaining),
        "this_refund": format_amount(moves) or "all that remains",
        "full_or_partial": "FULL" if full or amount is None else "PARTIAL" if known else None,
        "currency": "the sale's own currency, which Kartra does not name",
        "may_also": "start the account's automations for refunds, which may end access",
    }
    all_refunded = at_most is not None and at_most <= 0 and refunded > 0 and not charged_back
    done = not wrong_row and (all_refunded or status == "refunded")
    too_much = None if done else _too_much(target, amount, at_most, rows, known=known)
    return Facts(
        OperationKind.REFUND,
        target,
        without_empty(row if wrong_row else {**row, **money}),
        tuple(reader.unread),
        amount_moved=moves,
        remaining=remaining,
        full=full,
        already_done=done,
        impossible=wrong_row or too_much,
        evidence=tuple(
            sorted(f"{back.id} {back.paid:.2f}" for back in rows if back.kind in REFUND_ROWS)
        ),
        lead=email,
    )


def row_kind(transaction: Mapping[str, Any]) -> str:
    """Return the kind of a row that is neither a sale nor a rebill, with its article; else ""."""
    kind = normalize_name(short_text(first_field(transaction, "transaction_type", "type")))
    return next((words for part, words in _OTHER_ROWS.items() if part in kind), "")


def is_test(transaction: Mapping[str, Any]) -> bool:
    found = first_field(transaction, "transaction_test", "is_test", "test")
    return str(found).strip().lower() in {"1", "true", "yes"}


def _absent(target: Target, reader: FactReader) -> Impossible | None:
    if "the transaction" not in reader.absent:
        return None
    return Impossible(f"Transaction {short_text(target.id)} does not exist.", USE_A_SALE)


def _wrong_row(target: Target, sale: Mapping[str, Any]) -> Impossible | None:
    """Return the reason why no row of this type can be refunded, or None."""
    kind, parent = row_kind(sale), _parent_id(sale)
    if kind:
        origin = f" Its sale is transaction {parent}." if parent.isdecimal() else ""
        why = f"Transaction {short_text(target.id)} is {kind}, not a sale or a rebill."
        return Impossible(why + origin, USE_A_SALE)
    if is_test(sale):
        why = f"Transaction {short_text(target.id)} is a test, which is never refunded."
        return Impossible(why, USE_A_SALE)
    return None


def _too_much(
    target: Target,
    amount: Decimal | None,
    at_most: Decimal | None,
    rows: Iterable[_MoneyReturned],
    *,
    known: bool,
) -> Impossible | None:
    """Return the reason why this amount exceeds what is certainly left to refund, or None.

    Unless the rest is `known`, `at_most` is only its upper limit.
    """
    if at_most is None:
        return None
    if at_most <= 0:
        back = _sum_returned(rows, CHARGEBACKS)
        by_bank = f" The bank took back {back:.2f} of it." if back else ""
        why = f"Nothing of transaction {short_text(target.id)} remains to be refunded."
        return Impossible(why + by_bank, f"No refund of it is possible. {USE_A_SALE}")
    if amount is None or amount <= at_most:
        return None
    remain = "remain" if known else "can remain"
    why = f"{amount:.2f} is more than the {at_most:.2f} that {remain} of transaction {target.id}."
    hundredth = (amount / 100).quantize(CENT)
    hint = (
        f"Amounts are not in cents: if {hundredth:.2f} is meant, give {hundredth:.2f}. "
        if hundredth * 100 == amount and hundredth <= at_most
        else ""
    )
    return Impossible(why, f"{hint}Ask the user for the amount, at most {at_most:.2f}.")


def _buyer(sale: Mapping[str, Any], email: str) -> Mapping[str, Any]:
    """Return the lead that bought, by its id: a sale keeps the address that the lead had then."""
    number = known_text(first_field(sale, "lead_id"))
    if number and number != "0":
        return {"id": to_json_id(number)}
    return {"email": email} if email else {}


async def _read_returns(
    identity: str, buyer: Mapping[str, Any], reader: FactReader
) -> tuple[_MoneyReturned, ...]:
    """Return every refund and chargeback of the transaction; incomplete rows need one read each."""
    if not buyer:
        reader.unread.append("earlier refunds: the transaction does not name the buyer")
        return ()
    answer = await reader.ask("earlier refunds", "retrieve_transactions_from_lead", buyer)
    found: list[_MoneyReturned] = []
    for row in list_rows(answer, "transaction_list", "earlier refunds", reader):
        kind = _return_kind(row)
        if kind:
            back = await _make_return(row, kind, identity, reader)
            found += [back] if back else []
    return tuple(found)


def _return_kind(row: Mapping[str, Any]) -> str:
    """Return "chargeback" or "refund" for a row that returned money, else ""."""
    kind = normalize_name(short_text(first_field(row, "transaction_type", "type")))
    if "chargeback" in kind:
        return "chargeback"
    return "refund" if "refund" in kind else ""


async def _make_return(
    row: Mapping[str, Any], kind: str, identity: str, reader: FactReader
) -> _MoneyReturned | None:
    own = normalize_id(first_field(row, "transaction_id", "id") or "")
    full = row if _parent_id(row) else await reader.read_transaction(own)
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
