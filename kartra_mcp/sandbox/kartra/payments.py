"""Payments: Kartra's commands that find, print and refund a transaction."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from kartra_mcp.sandbox.kartra.errors import KartraError, require
from kartra_mcp.sandbox.kartra.leads import find
from kartra_mcp.sandbox.store import clock, php_values
from kartra_mcp.sandbox.store.database import Account, Row

Map = dict[str, Any]
CHARGES = {"sale", "rebill"}


def find_transaction(account: Account, number: object, missing: str = "247") -> Row:
    found = account.row("SELECT * FROM transactions WHERE id = ?", php_values.integer(number))
    if found is None:
        raise KartraError(missing)
    return found


def search_transaction(account: Account, _lead: Map, action: Map) -> Map:
    find_transaction(account, action.get("transaction_id"))
    return {"message": "Transaction found"}


def retrieve_transactions_from_lead(account: Account, lead: Map, _action: Map) -> Map:
    number = find(account, lead)["id"]
    rows = account.rows("SELECT * FROM transactions WHERE lead_id = ? ORDER BY id", number)
    return {"transaction_list": [_format_line(row) for row in rows]}


def _format_line(row: Row) -> Map:
    return {
        "transaction_id": str(row["id"]),
        "lead_id": str(row["lead_id"]),
        "lead_email": row["lead_email"],
        "transaction_type": row["type"],
    }


def get_transaction_details(account: Account, _lead: Map, action: Map) -> Map:
    row = find_transaction(account, action.get("transaction_id"))
    return {
        "transaction_details": {
            **_format_line(row),
            **_format_buyer(account, row),
            **_charge(account, row),
        }
    }


def _format_buyer(account: Account, row: Row) -> Map:
    lead = account.row("SELECT * FROM leads WHERE id = ?", row["lead_id"])
    if lead is None:
        return {}
    return {
        "lead_first_name": lead["first_name"],
        "lead_last_name": lead["last_name"],
        "lead_username": "",
        "lead_country": lead["country"],
        "lead_state": lead["state"],
        "lead_phone_country_code": lead["phone_country_code"],
        "lead_phone_number": lead["phone"],
        "lead_address": lead["address"],
        "lead_city": lead["city"],
        "lead_zip": lead["zip"],
    }


def _charge(account: Account, row: Row) -> Map:
    product = account.row("SELECT name FROM products WHERE id = ?", row["product_id"])
    subscription = account.row(
        "SELECT processor_id FROM subscriptions WHERE id = ?", row["subscription_id"]
    )
    return {
        "product_name": product["name"] if product else "N/A",
        "product_id": str(row["product_id"]),
        "product_price_point": str(row["point"]),
        "transaction_full_amount": row["cents"] / 100,
        "transaction_base_amount": row["cents"] / 100,
        "transaction_quantity": str(row["quantity"]),
        "transaction_affiliate": "N/A",
        "transaction_jv": "N/A",
        "transaction_discount": "0.00",
        "transaction_shipping": "0.00",
        "transaction_tax": "0.00",
        "transaction_date": row["at"],
        "transaction_parent_id": str(row["parent_id"]),
        "transaction_subscription_id": subscription["processor_id"] if subscription else "N/A",
        "transaction_internal_subscription_id": str(row["subscription_id"] or "N/A"),
        "transaction_subscription_pay_number": str(row["pay_number"] or "N/A"),
        "transaction_last_4_card_digits": "N/A" if row["paypal"] else row["card"],
        "transaction_processor": "PayPal" if row["paypal"] else "Stripe",
        "transaction_test": str(row["test"]),
    }


def compute_remainder(account: Account, row: Row) -> int:
    """Return the part of a charge that has not been refunded, in cents."""
    back = account.number(
        "SELECT sum(cents) FROM transactions WHERE parent_id = ?"
        " AND type IN ('refund', 'partial_refund', 'chargeback')",
        row["id"],
    )
    return row["cents"] - back


def refund_transaction(account: Account, _lead: Map, action: Map) -> Map:
    row = find_transaction(account, action.get("transaction_id"))
    require(row["type"] in CHARGES and not row["test"], "253")
    left = compute_remainder(account, row)
    require(left > 0, "251")
    require(_is_in_period(account, row), "250")
    cents = _parse_cents(action.get("refund_amount"), left)
    kind = "refund" if cents == left else "partial_refund"
    added = add_row(account, row, kind, cents)
    return {"transaction_refunded": str(added)}


def _is_in_period(account: Account, row: Row) -> bool:
    days = account.number("SELECT refund_days FROM products WHERE id = ?", row["product_id"])
    return clock.read(row["at"]) + timedelta(days=days) >= clock.now()


def _parse_cents(amount: object, left: int) -> int:
    """Parse an amount in cents.

    An empty amount is everything that remains; 0 is an error, not empty.
    """
    if amount is None or (not isinstance(amount, bool) and php_values.is_blank(amount)):
        return left
    number = php_values.decimal(amount)
    if number is None or isinstance(amount, bool):
        raise KartraError("268")
    cents = round(number * 100)
    require(0 < cents <= left and abs(number * 100 - cents) < 1e-6, "268")
    return cents


def add_row(account: Account, origin: Row, kind: str, cents: int) -> int:
    """Insert a further transaction that belongs to an earlier one."""
    return account.run(
        "INSERT INTO transactions (lead_id, lead_email, type, cents, quantity, product_id, point,"
        " at, parent_id, subscription_id, card, paypal) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
        *(origin["lead_id"], origin["lead_email"], kind, cents, origin["quantity"]),
        *(origin["product_id"], origin["point"], clock.in_days(0), origin["id"]),
        *(origin["subscription_id"], origin["card"], origin["paypal"]),
    )
