"""Recurring payments: Kartra's commands that find, print, pause, change and cancel one."""

from __future__ import annotations

from typing import Any

from kartra_mcp.sandbox.kartra.errors import KartraError, require
from kartra_mcp.sandbox.kartra.leads import find
from kartra_mcp.sandbox.kartra.payments import CHARGES, add_row, find_transaction
from kartra_mcp.sandbox.store import clock, php_values
from kartra_mcp.sandbox.store.database import Account, Row

Map = dict[str, Any]
ENDED = {"Cancelled", "Terminated"}
PERIODS = {
    "weekly",
    "every 2 weeks",
    "monthly",
    "every 2 months",
    "quarterly",
    "yearly",
    "every 2 years",
}
_FIRST = {"weekly", "every 2 weeks", "monthly", "every 2 months"}
_SECOND = {"yearly", "every 2 years"}


def find_subscription(account: Account, number: object) -> Row:
    found = account.row("SELECT * FROM subscriptions WHERE id = ?", php_values.integer(number))
    if found is None:
        raise KartraError("248")
    return found


def search_subscription(account: Account, _lead: Map, action: Map) -> Map:
    find_subscription(account, action.get("subscription_id"))
    return {"message": "Subscription found"}


def retrieve_subscriptions_from_lead(account: Account, lead: Map, _action: Map) -> Map:
    found = find(account, lead)
    rows = account.rows("SELECT * FROM subscriptions WHERE lead_id = ? ORDER BY id", found["id"])
    return {"subscriptions_list": [_format_line(row, found["email"]) for row in rows]}


def _format_line(row: Row, email: str) -> Map:
    return {
        "subscription_id": str(row["id"]),
        "lead_id": str(row["lead_id"]),
        "lead_email": email,
        "subscription_status": row["status"],
    }


def get_subscription_details(account: Account, _lead: Map, action: Map) -> Map:
    return {
        "subscription_details": _format_details(
            find_subscription(account, action.get("subscription_id"))
        )
    }


def _format_details(row: Row) -> Map:
    left = row["installments_left"]
    bills = row["status"] == "Active"
    return {
        "subscription_id": str(row["id"]),
        "subscription_product_id": str(row["product_id"]),
        "subscription_price_point": str(row["point"]),
        "subscription_lead_id": str(row["lead_id"]),
        "subscription_start_date": row["starts"],
        "subscription_end_date": row["ends"],
        "subscription_current_installment": str(row["installment"]),
        "subscription_installments_left": "Until cancelled" if left is None else str(left),
        "subscription_recurring_period": row["period"],
        "subscription_status": row["status"],
        "subscription_next_payment_date": row["next_payment"] if bills else clock.NEVER,
        "subscription_next_scheduled_payment_amount": _compute_amount(row) if bills else "N/A",
        "subscription_affiliate": "N/A",
        "subscription_jv": "N/A",
    }


def _compute_amount(row: Row) -> float:
    return round(row["cents"] * row["quantity"] * (100 + row["tax"]) / 100) / 100


def cancel_transaction(account: Account, _lead: Map, action: Map) -> Map:
    row = _to_cancel(account, action)
    require(row["status"] not in ENDED, "252")
    _cancel(account, row)
    return {
        "transaction_subscription_id": row["processor_id"],
        "transaction_internal_subscription_id": str(row["id"]),
    }


def _to_cancel(account: Account, action: Map) -> Row:
    inner = action.get("transaction_internal_subscription_id")
    if not php_values.is_blank(inner):
        return find_subscription(account, inner)
    outer = php_values.text(action.get("transaction_subscription_id")).strip()
    if outer:  # the older form
        found = account.row("SELECT id FROM subscriptions WHERE processor_id = ?", outer)
        return find_subscription(account, found["id"] if found else None)
    paid = find_transaction(account, action.get("transaction_id"), missing="248")
    require(paid["type"] in CHARGES and not paid["test"], "253")
    require(paid["subscription_id"], "249")
    return find_subscription(account, paid["subscription_id"])


def _cancel(account: Account, row: Row) -> None:
    """Cancel all future charges. Access ends too only if it is the product's own content."""
    today = clock.in_days(0)
    account.run(
        "UPDATE subscriptions SET status = 'Cancelled', ends = ?, next_payment = ? WHERE id = ?",
        *(today, clock.NEVER, row["id"]),
    )
    account.run(
        "UPDATE lead_memberships SET active = 0 WHERE lead_id = ?"
        " AND level_id = (SELECT level_id FROM products WHERE id = ?)",
        *(row["lead_id"], row["product_id"]),
    )
    first = account.row(
        "SELECT * FROM transactions WHERE subscription_id = ? ORDER BY id LIMIT 1", row["id"]
    )
    if first is not None:
        add_row(account, first, "cancellation", 0)


def modify_subscription_status(account: Account, _lead: Map, action: Map) -> Map:
    row = find_subscription(account, action.get("subscription_id"))
    wanted = php_values.text(action.get("subscription_status_modification")).strip()
    require(wanted in {"cancel", "pause", "unpause"}, "274")
    require(not (wanted == "cancel" and row["status"] == "Cancelled"), "252")
    require(row["status"] not in ENDED, "275")
    require(wanted == "cancel" or not row["paypal"], "284")
    if wanted == "cancel":
        _cancel(account, row)
    else:
        _pause(account, row, wanted)
    return {"message": "Subscription modified", "type": "115"}


def _pause(account: Account, row: Row, wanted: str) -> None:
    before, after = ("Active", "Paused") if wanted == "pause" else ("Paused", "Active")
    require(row["status"] == before, "274")
    account.run("UPDATE subscriptions SET status = ? WHERE id = ?", after, row["id"])


def edit_subscription(account: Account, _lead: Map, action: Map) -> Map:
    row = find_subscription(account, action.get("subscription_id"))
    require(row["status"] not in ENDED, "275")
    require(not row["paypal"], "284")
    changes: Map = {}
    for read in (
        _edit_product,
        _edit_date,
        _edit_price,
        _edit_recurrence,
        _edit_quantity,
        _edit_installments,
        _edit_tax,
    ):
        changes.update(read(account, row, action))
    require(changes, "285")
    for column, value in changes.items():
        account.run(f"UPDATE subscriptions SET {column} = ? WHERE id = ?", value, row["id"])
    return {"message": "Subscription modified", "type": "115"}


def _edit_product(account: Account, _row: Row, action: Map) -> Map:
    product, point = action.get("subscription_product_id"), action.get("subscription_price_point")
    if php_values.is_blank(product) and php_values.is_blank(point):
        return {}
    found = account.row(
        "SELECT * FROM price_points WHERE product_id = ? AND point = ? AND period <> 'one time'",
        *(php_values.integer(product), php_values.integer(point)),
    )
    if found is None:
        raise KartraError("283")
    return {"product_id": found["product_id"], "point": found["point"], "cents": found["cents"]}


def _edit_date(_account: Account, _row: Row, action: Map) -> Map:
    date = php_values.text(action.get("subscription_next_payment_date")).strip()
    if not date:
        return {}
    moment = clock.moment(date)
    if moment is None:
        raise KartraError("260")
    require(moment > clock.now(), "261")
    return {"next_payment": clock.written(moment)}


def _edit_price(_account: Account, _row: Row, action: Map) -> Map:
    if php_values.is_blank(action.get("subscription_amount")):
        return {}
    amount = php_values.decimal(action["subscription_amount"])
    if amount is None:
        raise KartraError("268")
    cents = round(amount * 100)
    require(100 <= cents <= 999_999, "277")
    return {"cents": cents}


def _edit_recurrence(account: Account, row: Row, action: Map) -> Map:
    if "subscription_recurrence" not in action:
        return {}
    wanted = php_values.fields(action["subscription_recurrence"])
    first, second = (php_values.text(wanted.get(f"recurring_period_{n}")).strip() for n in (1, 2))
    mixed = bool(second)
    require(first in (_FIRST if mixed else PERIODS) and (not mixed or second in _SECOND), "280")
    fixed = account.number("SELECT fixed_recurrence FROM products WHERE id = ?", row["product_id"])
    require(not fixed, "281")
    return {"period": f"{first}, then {second}" if mixed else first}


def _edit_quantity(_account: Account, _row: Row, action: Map) -> Map:
    if php_values.is_blank(action.get("subscription_product_quantity")):
        return {}
    quantity = php_values.integer(action["subscription_product_quantity"])
    if quantity is None:
        raise KartraError("278")
    require(1 <= quantity <= 9_999, "276")
    return {"quantity": quantity}


def _edit_installments(_account: Account, _row: Row, action: Map) -> Map:
    wanted = action.get("subscription_installments_left")
    if php_values.is_blank(wanted):
        return {}
    if php_values.text(wanted).strip().lower() == "until cancelled":
        return {"installments_left": None}
    left = php_values.integer(wanted)
    require(left is not None and left > 0, "282")
    return {"installments_left": left}


def _edit_tax(_account: Account, _row: Row, action: Map) -> Map:
    if php_values.is_blank(action.get("subscription_tax_percent")):
        return {}
    tax = php_values.decimal(action["subscription_tax_percent"])
    if tax is None:
        raise KartraError("278")
    require(0 <= tax <= 100, "290")
    return {"tax": tax}
