"""Documented example, effect, success type and error types of each command. Data only.

`tools/vendor.py` uses them too, without the packages of the tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ADA = {"email": "ada@example.com"}
NEW = {"lead_id": 48129}
ANYWHERE = (206, 262)


@dataclass(frozen=True)
class Example:
    """One call of a command tool.

    `effect` is a query with one value that the call changes to `after`; none for a read.
    `holds` is a part of the answer; `errors` are the documented types of the command alone.
    """

    given: Mapping[str, Any] = field(default_factory=dict)
    effect: str = ""
    after: Any = None
    holds: str = ""
    success: str = ""
    errors: tuple[int, ...] = ()


def _count(table: str, condition: str) -> str:
    return f"SELECT count(*) FROM {table} WHERE {condition}"


def _one(column: str, table: str, condition: str) -> str:
    return f"SELECT {column} FROM {table} WHERE {condition}"


_VIP = _count("lead_tags", "lead_id = 48129 AND tag_id = 502")
_MADE = _one("city", "leads", "email = 'eve@example.org'")
_SEQUENCE = "lead_id = 48129 AND sequence_id = 453"
_BOOKING = _one("status", "bookings", "lead_id = 48110 AND class_id = {}")
_TERMS = _one("{}", "subscriptions", "id = 201")
_BOOK = {"calendar_name": "Live critique", "class_name": "Tuesday evening"}

EXAMPLES: Mapping[str, Example] = {
    "get_lead": Example(ADA, holds="Moreno", errors=(234, 245)),
    "search_lead": Example(ADA, holds="48110", errors=(243, 245)),
    "create_lead": Example(
        {"email": "eve@example.org", "city": "Bergen"}, _MADE, "Bergen", errors=(244, 245, 271)
    ),
    "edit_lead": Example(
        {**NEW, "company": "Fjord"},
        _one("company", "leads", "id = 48129"),
        "Fjord",
        errors=(243, 245, 271),
    ),
    "assign_tag": Example({**NEW, "tag_name": "VIP"}, _VIP, 1, success="103", errors=(211, 212)),
    "unassign_tag": Example(
        {**ADA, "tag_name": "VIP"},
        _count("lead_tags", "lead_id = 48110 AND tag_id = 502"),
        0,
        success="104",
        errors=(213, 214),
    ),
    "retrieve_account_tags": Example(holds="Webinar attended"),
    "subscribe_lead_to_list": Example(
        {**NEW, "list_name": "Alumni"},
        _count("lead_lists", "lead_id = 48129 AND list_id = 404 AND active = 1"),
        1,
        success="101",
        errors=(207, 231),
    ),
    "unsubscribe_lead_from_list": Example(
        {**ADA, "list_name": "Studio Circle Members"},
        _one("active", "lead_lists", "lead_id = 48110 AND list_id = 402"),
        0,
        success="101",
        errors=(208, 209),
    ),
    "retrieve_account_lists": Example(holds="Waiting List"),
    "subscribe_lead_to_sequence_at_step": Example(
        {**NEW, "sequence_name": "Win-back", "step": "2"},
        _one("step", "lead_sequences", _SEQUENCE),
        "2",
        success="107",
        errors=(219, 225, 226, 229, 230),
    ),
    "unsubscribe_lead_from_sequence": Example(
        {**ADA, "sequence_name": "Studio Circle onboarding"},
        _one("status", "lead_sequences", "lead_id = 48110 AND sequence_id = 452"),
        "unsubscribed",
        errors=(220, 226),
    ),
    "retrieve_account_sequences": Example(holds="Win-back"),
    "give_points_to_lead": Example(
        {**NEW, "points": 10, "expiration": 30},
        "SELECT sum(points) FROM points WHERE lead_id = 48129 AND expires <> ''",
        10,
        success="105",
        errors=(215, 227),
    ),
    "remove_points_from_lead": Example(
        {**ADA, "points": 5},
        "SELECT sum(points) FROM points WHERE lead_id = 48110",
        120,
        success="106",
        errors=(217, 228),
    ),
    "create_custom_field": Example(
        {
            "custom_field_identifier": "shoe_size",
            "custom_field_type": "drop_down",
            "custom_field_options": ["Small", "Large"],
        },
        "SELECT group_concat(value) FROM options WHERE field_id ="
        " (SELECT id FROM custom_fields WHERE identifier = 'shoe_size')",
        "Small,Large",
        success="114",
        errors=(263, 264, 265, 269, 270, 272, 273),
    ),
    "retrieve_custom_fields": Example(holds="favourite_medium"),
    "retrieve_account_pages": Example(holds="Thank you"),
    "calendar_subscribe": Example(
        {
            **ADA,
            "calendar_name": "Consultation",
            "class_name": "Intro call",
            "starting_date": "05 Mar 2097",
            "starting_hour": "14:30",
        },
        _BOOKING.format(911),
        "active",
        success="112",
        errors=(255, 256, 257, 258, 260, 261),
    ),
    "calendar_cancel": Example(
        {**ADA, **_BOOK},
        _BOOKING.format(901),
        "cancelled",
        success="113",
        errors=(255, 256, 257, 258, 259),
    ),
    "search_transaction": Example({"transaction_id": 101}, holds="Success", errors=(247,)),
    "get_transaction_details": Example({"transaction_id": 101}, holds="97", errors=(247,)),
    "retrieve_transactions_from_lead": Example(ADA, holds="rebill", errors=(243,)),
    "refund_transaction": Example(
        {"transaction_id": 101, "refund_amount": 20.5},
        "SELECT cents FROM transactions WHERE parent_id = 101",
        2050,
        errors=(247, 250, 251, 253, 266, 268),
    ),
    "search_subscription": Example({"subscription_id": 201}, holds="found", errors=(248,)),
    "get_subscription_details": Example({"subscription_id": 201}, holds="monthly", errors=(248,)),
    "retrieve_subscriptions_from_lead": Example(ADA, holds="Active", errors=(243,)),
    "modify_subscription_status": Example(
        {"subscription_id": 201, "subscription_status_modification": "pause"},
        _TERMS.format("status"),
        "Paused",
        success="115",
        errors=(248, 252, 267, 274, 275, 284),
    ),
    "edit_subscription": Example(
        {
            "subscription_id": 201,
            "subscription_amount": 59.5,
            "subscription_product_quantity": 2,
            "subscription_next_payment_date": "2097-03-05 10:00:00",
            "subscription_recurrence": {"recurring_period_1": "every 2 months"},
            "subscription_installments_left": "until cancelled",
            "subscription_tax_percent": 7.5,
        },
        _TERMS.format("cents || ' ' || quantity || ' ' || next_payment || ' ' || period || tax"),
        "5950 2 2097-03-05 10:00:00 every 2 months7.5",
        success="115",
        errors=(248, 260, 261, 268, 275, 276, 277, 278, 280, 281, 282, 283, 284, 285, 290),
    ),
    "cancel_transaction": Example(
        {"transaction_internal_subscription_id": 201},
        _TERMS.format("status"),
        "Cancelled",
        errors=(248, 249, 252, 253, 267),
    ),
}
"""The 29 documented commands and `get_lead`, on the rehearsal account."""

ONE_ACTION = [
    {
        "id": "68b20f31c7d84e5a9610ffff",
        "key": "reticulate",
        "name": "Reticulate",
        "type": "run-javascript",
        "state": "READY",
        "inputSchema": {"type": "object", "properties": {"list": {"type": "string"}}},
    }
]
