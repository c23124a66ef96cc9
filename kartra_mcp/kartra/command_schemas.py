"""Arguments of Kartra's documented commands, as JSON Schema. Data only.

Source: Kartra's API articles as of 2026. `kartra/command_requests.py` makes the documented request
of them, and `catalogue/command_tools.py` a tool for each command that no action covers.

Arguments are flat: the lead is `email` or `lead_id`, and a lead's fields are next to it. Texts are
as short as they can be: a client sends all of them to its model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kartra_mcp.kartra.command_values import CHOICE_TYPES, PERIODS, SECOND_PERIODS, STATUSES

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CommandSchema:
    """Arguments of one command.

    `does` is one sentence; the effect of a gated command is added to it from `COMMANDS`.
    `on_lead`: the command acts on one lead, named by `email` or `lead_id`. `tasks`: what else the
    search finds it by, next to its name and title.
    """

    title: str
    does: str
    arguments: Mapping[str, Schema] = field(default_factory=dict[str, Schema])
    required: tuple[str, ...] = ()
    on_lead: bool = False
    tasks: tuple[str, ...] = ()

    @property
    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of all arguments."""
        properties = {**(LEAD if self.on_lead else {}), **self.arguments}
        return {
            "type": "object",
            "properties": properties,
            **({"required": list(self.required)} if self.required else {}),
        }


def _text(description: str = "", **more: Any) -> Schema:
    return {"type": "string", **({"description": description} if description else {}), **more}


def _whole(description: str = "", least: int = 1, **more: Any) -> Schema:
    said = {"description": description} if description else {}
    return {"type": "integer", "minimum": least, **said, **more}


ID: Final[Schema] = {"type": "integer"}
LEAD: Final[Mapping[str, Schema]] = {"email": _text(), "lead_id": {**ID}}
"""The two names of a lead: every call gives one of them."""

_NAME: Final = _text()

CUSTOM_FIELDS: Final[Schema] = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "field_identifier": _NAME,
            "field_value": {
                "description": "Text; a choice's label or id, checkbox: a list; empty: cleared"
            },
        },
        "required": ["field_identifier", "field_value"],
    },
}
_LEAD_TEXTS: Final = (
    *("first_name", "middle_name", "last_name", "last_name2", "phone", "phone_country_code"),
    *("ip", "address", "zip", "city", "state", "country", "company", "lead_picture", "website"),
    *("facebook", "twitter", "linkedin", "lead_preferred_time_zone", "sales_tax_id"),
)
_EXAMPLES: Final[Mapping[str, str]] = {
    "phone_country_code": "e.g. 1",
    "lead_picture": "URL",
}
LEAD_FIELDS: Final[Mapping[str, Schema]] = {
    **{name: _text(_EXAMPLES.get(name, "")) for name in _LEAD_TEXTS},
    "business_type": {"type": "number"},
    "custom_fields": CUSTOM_FIELDS,
}
"""The documented fields of a lead that a call can write."""

_TAG: Final[Mapping[str, Schema]] = {"tag_name": _NAME}
_LIST: Final[Mapping[str, Schema]] = {"list_name": _NAME}
_SEQUENCE: Final[Mapping[str, Schema]] = {"sequence_name": _NAME}
_STEP: Final = _text("Box number in its editor, e.g. 2 or 3a")
_POINTS: Final = _whole()
_CLASS: Final[Mapping[str, Schema]] = {"calendar_name": _NAME, "class_name": _NAME}
_TRANSACTION: Final[Mapping[str, Schema]] = {"transaction_id": ID}
_SUBSCRIPTION: Final[Mapping[str, Schema]] = {"subscription_id": ID}

_RECURRENCE: Final[Schema] = {
    "type": "object",
    "properties": {
        "recurring_period_1": _text(enum=list(PERIODS)),
        "recurring_period_2": _text(enum=list(SECOND_PERIODS)),
    },
    "required": ["recurring_period_1"],
}
_TERMS: Final[Mapping[str, Schema]] = {
    "subscription_amount": {
        "type": "number",
        "minimum": 1,
        "maximum": 9999.99,
        "description": "Price, in its currency",
    },
    "subscription_next_payment_date": _text("YYYY-MM-DD HH:MM:SS, US Eastern, future"),
    "subscription_recurrence": _RECURRENCE,
    "subscription_product_id": {**ID, "description": "With its price point"},
    "subscription_price_point": ID,
    "subscription_product_quantity": _whole(maximum=9999),
    "subscription_installments_left": {
        "anyOf": [_whole(), _text()],
        "description": 'Or "until cancelled"',
    },
    "subscription_tax_percent": {"type": "number", "minimum": 0, "maximum": 100},
}

COMMAND_SCHEMAS: Final[Mapping[str, CommandSchema]] = {
    "get_lead": CommandSchema("Get Lead", "All that Kartra has of one lead.", on_lead=True),
    "search_lead": CommandSchema("Search Lead", "Whether a lead exists.", on_lead=True),
    "create_lead": CommandSchema(
        "Create Lead",
        "Create a lead; it does not count as consenting to mail.",
        {"email": _text(), **LEAD_FIELDS},
        ("email",),
    ),
    "edit_lead": CommandSchema(
        "Edit Lead",
        "Write fields of a lead; an empty text clears one.",
        {"new_email": _text(), **LEAD_FIELDS},
        on_lead=True,
    ),
    "assign_tag": CommandSchema(
        "Assign Tag", "Add an existing tag to a lead; it can start mail.", _TAG, ("tag_name",), True
    ),
    "unassign_tag": CommandSchema(
        "Unassign Tag", "Remove a tag from a lead.", _TAG, ("tag_name",), True
    ),
    "retrieve_account_tags": CommandSchema("Retrieve Account Tags", "Names of all tags."),
    "subscribe_lead_to_list": CommandSchema(
        "Subscribe Lead To List",
        "Put a lead on an existing list; it can start mail.",
        _LIST,
        ("list_name",),
        True,
    ),
    "unsubscribe_lead_from_list": CommandSchema(
        "Unsubscribe Lead From List", "Take a lead off a list.", _LIST, ("list_name",), True
    ),
    "retrieve_account_lists": CommandSchema("Retrieve Account Lists", "Names of all lists."),
    "subscribe_lead_to_sequence_at_step": CommandSchema(
        "Subscribe Lead To Sequence",
        "Put a lead into a sequence at a step; its mail starts.",
        {**_SEQUENCE, "step": _STEP},
        ("sequence_name", "step"),
        True,
    ),
    "unsubscribe_lead_from_sequence": CommandSchema(
        "Unsubscribe Lead From Sequence",
        "Take a lead out of a sequence.",
        _SEQUENCE,
        ("sequence_name",),
        True,
    ),
    "retrieve_account_sequences": CommandSchema(
        "Retrieve Account Sequences", "Names of all sequences."
    ),
    "give_points_to_lead": CommandSchema(
        "Give Points",
        "Add points to a lead.",
        {"points": _POINTS, "expiration": _whole("Days; 0: never", least=0)},
        ("points",),
        True,
    ),
    "remove_points_from_lead": CommandSchema(
        "Remove Points", "Remove points of a lead.", {"points": _POINTS}, ("points",), True
    ),
    "create_custom_field": CommandSchema(
        "Create Custom Field",
        "Create a custom field.",
        {
            "custom_field_identifier": _text("Letters, digits, - and _"),
            "custom_field_type": _text(enum=["input_field", "text_area", *CHOICE_TYPES]),
            "custom_field_options": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Labels of a choice, 2 or more",
            },
        },
        ("custom_field_identifier", "custom_field_type"),
    ),
    "retrieve_custom_fields": CommandSchema(
        "Retrieve Custom Fields", "All custom fields with type and options."
    ),
    "retrieve_account_pages": CommandSchema("Retrieve Account Pages", "All pages."),
    "calendar_subscribe": CommandSchema(
        "Book Class",
        "Book a lead into a class of a calendar; it can start mail.",
        {
            **_CLASS,
            "starting_date": _text("e.g. 05 Mar 2027"),
            "starting_hour": _text("e.g. 14:30, US Eastern"),
        },
        ("calendar_name", "class_name"),
        True,
    ),
    "calendar_cancel": CommandSchema(
        "Cancel Booking",
        "Cancel a lead's booking of a class.",
        _CLASS,
        ("calendar_name", "class_name"),
        True,
    ),
    "search_transaction": CommandSchema(
        "Search Transaction", "Whether a transaction exists.", _TRANSACTION, ("transaction_id",)
    ),
    "get_transaction_details": CommandSchema(
        "Get Transaction Details",
        "Amounts, product and buyer of a transaction.",
        _TRANSACTION,
        ("transaction_id",),
    ),
    "retrieve_transactions_from_lead": CommandSchema(
        "Retrieve Transactions From Lead", "Ids and types of a lead's transactions.", on_lead=True
    ),
    "refund_transaction": CommandSchema(
        "Refund Transaction",
        "Refund a sale or rebill.",
        {
            **_TRANSACTION,
            "refund_amount": {
                "type": "number",
                "description": "In its currency; absent: all that remains",
            },
        },
        ("transaction_id",),
    ),
    "search_subscription": CommandSchema(
        "Search Subscription",
        "Whether a subscription exists.",
        _SUBSCRIPTION,
        ("subscription_id",),
    ),
    "get_subscription_details": CommandSchema(
        "Get Subscription Details",
        "Price, dates and status of a subscription.",
        _SUBSCRIPTION,
        ("subscription_id",),
    ),
    "retrieve_subscriptions_from_lead": CommandSchema(
        "Retrieve Subscriptions",
        "Ids and status of a lead's subscriptions.",
        on_lead=True,
    ),
    "modify_subscription_status": CommandSchema(
        "Change Status",
        "Pause, resume or cancel a subscription.",
        {**_SUBSCRIPTION, "subscription_status_modification": _text(enum=list(STATUSES))},
        ("subscription_id", "subscription_status_modification"),
        tasks=("pause subscription", "resume subscription", "unpause subscription"),
    ),
    "edit_subscription": CommandSchema(
        "Edit Subscription",
        "Change price, date, product or number of payments of a subscription.",
        {**_SUBSCRIPTION, **_TERMS},
        ("subscription_id",),
    ),
    "cancel_transaction": CommandSchema(
        "Cancel Subscription",
        "Cancel a subscription by its id or a transaction's.",
        {"transaction_internal_subscription_id": _whole("Subscription id"), **_TRANSACTION},
    ),
}
"""The 29 documented commands and `get_lead`."""

ONBOARD_LEAD: Final = "onboard_lead"
_NAMES: Final[Schema] = {"type": "array", "items": {"type": "string"}}
ONBOARDING: Final = CommandSchema(
    "Onboard Lead",
    "Create a lead with tags, lists and a sequence in one request.",
    {
        "email": _text(),
        "fields": {
            "type": "object",
            "description": "e.g. first_name, custom_fields [{field_identifier, field_value}]",
        },
        "tags": _NAMES,
        "lists": _NAMES,
        "sequence": _text(),
        "step": _text(),
    },
    ("email",),
    tasks=("create lead with several tags, lists and sequence",),
)
"""The chain that creates a lead and puts it where it belongs."""
