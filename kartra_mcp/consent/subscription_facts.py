"""Facts of a subscription that is cancelled, paused, resumed or edited."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kartra_mcp.consent import changes
from kartra_mcp.consent.fact_reader import (
    NOT_UNDERSTOOD,
    FactReader,
    describe_person,
    find_transaction,
    known_text,
    linked_subscription,
    short_text,
    without_empty,
)
from kartra_mcp.consent.facts import Facts, Impossible
from kartra_mcp.consent.refund_facts import USE_A_SALE, is_test, row_kind
from kartra_mcp.core.models import Call, OperationKind, Target
from kartra_mcp.kartra.fields import find_status
from kartra_mcp.kartra.response_search import find_object, find_rows, first_field
from kartra_mcp.kartra.values import format_amount, normalize_id, parse_amount, to_json_id

MAX_PRODUCT_READS = 4
"""Payments that are read to find the product's name and the payment processor."""
_ENDED = frozenset({"cancelled", "canceled", "terminated"})
_NO_SUBSCRIPTION = frozenset({"0", "n/a"})
_PAYPAL_ID = re.compile(r"I-[A-Z0-9]{6,}")
"""PayPal's ids of recurring payments; `transaction_subscription_id` has them for PayPal only."""
_USE_A_SUBSCRIPTION = "Call kartra_retrieve_subscriptions_from_lead and use an id that it lists."
_STATUS_AFTER = {"pause": "Paused", "unpause": "Active"}


@dataclass(slots=True)
class _Subscription:
    """Reads of one subscription; `payment` is one of its payments, for names."""

    id: str
    sale: Mapping[str, Any] = field(default_factory=dict[str, Any])
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])
    payment: Mapping[str, Any] = field(default_factory=dict[str, Any])
    person: str = ""
    email: str = ""

    @property
    def status(self) -> str:
        return short_text(first_field(self.details, "subscription_status", "status"))

    @property
    def has_ended(self) -> bool:
        return self.status.lower() in _ENDED

    @property
    def is_paypal(self) -> bool:
        paid = self.payment
        processor = short_text(first_field(paid, "transaction_processor", "payment_processor"))
        outer = short_text(first_field(paid, "transaction_subscription_id"))
        return "paypal" in processor.lower() or _PAYPAL_ID.fullmatch(outer) is not None


async def subscription_facts(
    act: OperationKind, target: Target, call: Call | None, reader: FactReader
) -> Facts:
    """Return the facts of a subscription; `call` is None for an earlier write."""
    found = _Subscription(target.id)
    impossible: Impossible | None = None
    if target.kind == "transaction":
        found.sale = await reader.read_transaction(target.id)
        impossible = _wrong_transaction(target, found.sale, reader)
        found.id = _linked_id(found.sale)
        if found.sale and not found.id:
            reader.unread.append("the subscription: the transaction names none")
    if found.id:
        impossible = await _read_details(found, reader) or impossible
    if call is not None and found.status:
        await _read_names(found, reader)
    wanted = _wanted_status(call)
    done = (act is OperationKind.CANCELLATION and found.has_ended) or (
        found.status == _STATUS_AFTER.get(wanted) and call is not None and len(call.commands) == 1
    )
    if act is OperationKind.CHANGE and not done:
        impossible = impossible or _unchangeable(found)
    shown = _shown(found, target, act)
    made = changes.subscription_changes(call, shown) if call is not None else ()
    if act is OperationKind.CHANGE:
        shown["changes"] = list(map(str, made))
    return Facts(
        act,
        Target("subscription", found.id) if found.id else target,
        without_empty(shown),
        tuple(reader.unread),
        already_done=done,
        impossible=None if done else impossible,
        changes=made if act is OperationKind.CHANGE else (),
        evidence=(found.status,),
        lead=found.email,
    )


def _shown(found: _Subscription, target: Target, act: OperationKind) -> dict[str, Any]:
    details, payment = found.details, found.payment
    number = known_text(first_field(details, "subscription_product_id", "product_id"))
    paid_for = known_text(first_field(payment, "product_id"))
    # The subscription may have another product since its last payment.
    product_name = first_field(payment, "product_name", "product")
    is_other = bool(number and paid_for) and number != paid_for
    amount = first_field(details, "subscription_next_scheduled_payment_amount")
    price, quantity = _find_terms(details, payment)
    shown = {
        "subscription_id": found.id or None,
        "transaction_id": target.id if target.kind == "transaction" else None,
        "lead_id": known_text(first_field(details, "subscription_lead_id", "lead_id")),
        "lead": found.person,
        "product_id": number,
        "product": None if is_other else known_text(product_name),
        "price_point": known_text(first_field(details, "subscription_price_point")),
        "status": found.status,
        "price": price,
        "quantity": quantity,
        "next_payment_amount": format_amount(parse_amount(amount)) or known_text(amount),
        "recurring": known_text(first_field(details, "subscription_recurring_period", "period")),
        "next_payment": known_text(
            first_field(details, "subscription_next_payment_date", "next_payment")
        ),
        "installments_left": known_text(first_field(details, "subscription_installments_left")),
    }
    if act is OperationKind.CHANGE:
        return shown
    access = (
        "ends by itself only where the membership is the product's own content; "
        "otherwise an automation or a revocation ends it"
    )
    return {**shown, "access": access}


def _find_terms(
    details: Mapping[str, Any], payment: Mapping[str, Any]
) -> tuple[str | None, str | None]:
    """Return price and quantity, each None if unknown.

    Kartra returns neither: only the next amount, which quantity and tax are part of. An equal
    last payment shows that the terms are still those of that payment.
    """
    price = parse_amount(first_field(details, "price"))
    due = parse_amount(first_field(details, "subscription_next_scheduled_payment_amount"))
    paid = parse_amount(first_field(payment, "transaction_full_amount"))
    base = parse_amount(first_field(payment, "transaction_base_amount"))
    if due is None or due != paid:
        return format_amount(price), None
    quantity = known_text(first_field(payment, "transaction_quantity"))
    if price is None and quantity == "1" and base == paid:
        price = due
    return format_amount(price), quantity


async def _read_details(found: _Subscription, reader: FactReader) -> Impossible | None:
    answer = await reader.ask(
        "the subscription", "get_subscription_details", subscription_id=to_json_id(found.id)
    )
    found.details = find_object(answer, "subscription_details", ("subscription_id",))
    if answer is not None and not found.status:
        reader.unread.append(f"subscription {found.id}: {NOT_UNDERSTOOD}")
    if "the subscription" not in reader.absent:
        return None
    return Impossible(f"Subscription {short_text(found.id)} does not exist.", _USE_A_SUBSCRIPTION)


async def _read_names(found: _Subscription, reader: FactReader) -> None:
    """Read the customer, and the product in one of the subscription's payments."""
    lead_id = known_text(first_field(found.details, "subscription_lead_id", "lead_id"))
    found.payment = found.sale
    if found.sale:
        found.email = short_text(first_field(found.sale, "lead_email", "buyer_email", "email"))
        found.person = describe_person(found.sale, found.email)
    if lead_id and not found.person:
        lead = await reader.read_lead(lead_id, "the customer")
        found.email = short_text(first_field(lead, "email"))
        found.person = describe_person(lead, found.email)
    if lead_id and not found.payment:
        found.payment = await _find_payment(found.id, lead_id, reader)


async def _find_payment(identity: str, lead_id: str, reader: FactReader) -> Mapping[str, Any]:
    """Return the newest payment of a subscription; {} if it is not among the newest of the lead."""
    answer = await reader.ask_quietly(
        "retrieve_transactions_from_lead", {"id": to_json_id(lead_id)}
    )
    rows = find_rows(answer, "transaction_list")
    paid = [row for row in rows if not row_kind(row)][::-1]
    for row in paid[:MAX_PRODUCT_READS]:
        own = normalize_id(first_field(row, "transaction_id", "id") or "")
        answer = await reader.ask_quietly("get_transaction_details", transaction_id=to_json_id(own))
        payment = find_transaction(answer)
        if _linked_id(payment) == identity:
            return payment
    return {}


def _linked_id(transaction: Mapping[str, Any]) -> str:
    linked = linked_subscription(transaction)
    return normalize_id(linked) if linked not in (None, "", 0, "0", "N/A") else ""


def _wrong_transaction(
    target: Target, sale: Mapping[str, Any], reader: FactReader
) -> Impossible | None:
    """Return the reason why no subscription can be cancelled by this transaction, or None."""
    name = f"Transaction {short_text(target.id)}"
    if "the transaction" in reader.absent:
        return Impossible(f"{name} does not exist.", USE_A_SALE)
    kind = row_kind(sale)
    if kind:
        return Impossible(f"{name} is {kind}, not a sale or a rebill.", USE_A_SALE)
    if is_test(sale):
        return Impossible(f"{name} is a test, which has no real subscription.", USE_A_SALE)
    linked = linked_subscription(sale)
    if linked is not None and str(linked).strip().lower() in _NO_SUBSCRIPTION:
        return Impossible(f"{name} belongs to no subscription.", _USE_A_SUBSCRIPTION)
    return None


def _unchangeable(found: _Subscription) -> Impossible | None:
    name = f"Subscription {short_text(found.id)}"
    if found.has_ended:
        ended = "terminated" if found.status.lower() == "terminated" else "cancelled"
        return Impossible(
            f"{name} is {ended}. It can be neither paused, resumed nor edited.",
            "No change is possible; the customer has to buy again.",
        )
    if found.is_paypal:
        return Impossible(
            f"{name} is paid by PayPal, and Kartra cannot change it.",
            "Ask the user what they want instead; the customer can change it at PayPal.",
        )
    return None


def _wanted_status(call: Call | None) -> str:
    commands = call.commands if call is not None else ()
    wanted = [find_status(c.arguments) for c in commands if c.name == "modify_subscription_status"]
    return wanted[0] if len(wanted) == 1 else ""
