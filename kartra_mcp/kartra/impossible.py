"""Tasks that Kartra's API cannot do, and those that only a raw request does. Data only.

Source: Kartra's API articles as of 2026. `catalogue/tasks.py` compares an intent with the rows;
verbs and nouns are the meanings of `catalogue/vocabulary.py`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Task:
    """One row. Each condition that is not empty must hold.

    `verbs`: one of them leads the intent; `nouns`: one of them is its object, and no other is;
    `pattern`: found in the intent; `person`: whether the intent may, must or must not name a lead.
    """

    verbs: str = ""
    nouns: str = ""
    pattern: str = ""
    person: bool | None = None


@dataclass(frozen=True, slots=True)
class Impossible:
    """A task without a command, and what is possible instead; `keys` are the actions for that."""

    task: Task
    answer: str
    instead: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RawTask:
    """A task that a documented command does, though no published action does."""

    task: Task
    command: str
    hint: str


_LEADS = (
    r"\b(?:leads|contacts|customers|people|clients|subscribers|buyers|members|users|students)\b"
)
MANY = (
    r"\b(?:bulk|batch|mass|csv|spreadsheet|everyone|everybody)\b"
    r"|\b(?:all|every|several|many|multiple|these|those|[1-9][0-9]{1,3})\b(?: [a-z]+){0,2}? "
    r"(?:leads?|contacts?|customers?|people|clients?|subscribers?|buyers?|members?|users?|students?"
    r"|addresses|e-?mails|sales|transactions|subscriptions)\b"
)
"""Words of a task for many leads or sales."""
_ALL_SALES = (
    r"^(?!.*(?:\d|@|\bdetails?\b)).*\b(?:transactions|sales|orders|payments|purchases|refunds|revenue"
    r"|reports?|statistics|stats|analytics|metrics)\b"
)
_IN_KARTRA = "The user does it in Kartra itself."
_MADE_IN_KARTRA = "The user makes, renames and deletes them in Kartra itself."

IMPOSSIBLE: tuple[Impossible, ...] = (
    Impossible(
        Task(
            pattern=r"\b(?:undo|undoing|reverse|revert|take back|cancel|stop|recall|withdraw)\b"
            r"(?: \S+){0,3}? refund"
        ),
        "A refund cannot be undone.",
        "The customer has to buy again. kartra_get_transaction_details shows the sale.",
        ("get-transaction-details",),
    ),
    Impossible(
        Task(
            pattern=r"\buncancel|\b(?:reactivat\w*|restart|renew|restore|resume|undo|reverse|revive)"
            r"\b.*\bcancel"
        ),
        "A cancelled subscription cannot be reactivated.",
        "The customer has to buy again; that makes a new subscription id.",
    ),
    Impossible(
        Task("merge", "lead"),
        "Kartra's API has no command that merges leads.",
        "Copy values to one lead with kartra_edit_lead. " + _IN_KARTRA,
        ("get-lead", "edit-lead"),
    ),
    Impossible(
        Task("delete remove archive", "lead"),
        "Kartra's API has no command that deletes a lead.",
        "Unsubscribe the lead from lists and sequences and remove tags. The user deletes it in "
        "Kartra itself.",
        ("unsubscribe-lead-from-list", "unsubscribe-lead-from-sequence", "unassign-tag"),
    ),
    Impossible(
        Task(
            "show",
            "lead profile address company",
            r"\bby (?:\S+ )?(?:first|last|sur|full)? ?name\b|\bby (?:the |their |his |her )?"
            r"(?:phone|city|country|company|address)\b|\bnamed\b|\bcalled\b|\bwhose\b"
            r"|\bwith (?:the )?(?:first|last|sur)? ?name\b",
        ),
        "Kartra's API finds a lead only by its exact e-mail address or id.",
        "Get the address or id from the user, then call kartra_get_lead.",
        ("get-lead",),
    ),
    Impossible(
        Task("upload", "lead list file"),
        "Kartra's API has no import of files.",
        "kartra_bulk_run with kartra_create_lead creates up to 2,000 leads, one request each. "
        "The user imports a file in Kartra itself.",
        ("create-lead",),
    ),
    Impossible(
        Task(
            "show export",
            "lead list tag membership course sequence segment",
            rf"{_LEADS}|\b(?:who|everyone|everybody)\b.*\b(?:on|in|has|have|with)\b",
        ),
        "Kartra's API cannot list, count or export leads, nor those of a tag, list or membership.",
        "kartra_get_lead shows one lead by e-mail or id, kartra_bulk_run many that are known. "
        "The user filters and exports leads in Kartra itself.",
        ("get-lead",),
    ),
    Impossible(
        Task("show export", "transaction report", _ALL_SALES, False),
        "Kartra's API cannot list sales or revenue of the whole account, only those of one lead.",
        "kartra_retrieve_transactions_from_lead lists the transactions of one lead. The user reads "
        "reports in Kartra itself.",
        ("retrieve-transactions-from-lead",),
    ),
    Impossible(
        Task("show", "sequence step", r"\bsteps?\b"),
        "Kartra's API does not list the steps of a sequence.",
        "The step number is the box number in Kartra's sequence editor; get it from the user.",
        ("retrieve-account-sequences",),
    ),
    Impossible(
        Task("show export", "membership course", "", False),
        "Kartra's API does not list memberships or their levels.",
        "kartra_get_lead shows the memberships of one lead. Get the exact name from the user.",
        ("get-lead",),
    ),
    Impossible(
        Task("show export", "booking", "", False),
        "Kartra's API does not list calendars or bookings.",
        "The user reads them in Kartra itself.",
    ),
    Impossible(
        Task("create delete edit archive copy", "tag", "", False),
        "Kartra's API has no command that creates, renames or deletes a tag.",
        _MADE_IN_KARTRA + " kartra_retrieve_account_tags lists those that exist.",
        ("retrieve-account-tags",),
    ),
    Impossible(
        Task("create delete edit archive copy", "list", "", False),
        "Kartra's API has no command that creates, renames or deletes a list.",
        _MADE_IN_KARTRA + " kartra_retrieve_account_lists lists those that exist.",
        ("retrieve-account-lists",),
    ),
    Impossible(
        Task("create delete edit archive copy", "sequence workflow", "", False),
        "Kartra's API has no command that creates, edits or deletes sequences and automations.",
        _MADE_IN_KARTRA + " kartra_retrieve_account_sequences lists the sequences.",
        ("retrieve-account-sequences",),
    ),
    Impossible(
        Task("delete remove edit archive", "field", "", False),
        "Kartra's API has no command that deletes or renames a custom field.",
        "The user does it in Kartra itself. kartra_edit_lead empties its value for one lead.",
        ("retrieve-account-custom-fields", "edit-lead"),
    ),
    Impossible(
        Task("create delete edit archive copy activate disable", "page", "", False),
        "Kartra's API has no command that creates, edits or deletes a page.",
        "The user does it in Kartra itself. kartra_retrieve_account_pages lists the pages.",
        ("retrieve-account-pages",),
    ),
    Impossible(
        Task("create delete edit archive copy", "membership course", "", False),
        "Kartra's API has no command that creates, edits or deletes a membership.",
        _IN_KARTRA,
    ),
    Impossible(
        Task("send send-again", "message template"),
        "Kartra's API has no command that sends a single e-mail, text message or broadcast.",
        "Put the lead on a list or into a sequence whose mail exists. The user sends broadcasts in "
        "Kartra itself.",
        ("subscribe-lead-to-sequence", "subscribe-lead-to-list", "assign-tag"),
    ),
    Impossible(
        Task("charge create", "transaction invoice"),
        "Kartra's API has no command that charges a customer or makes a sale.",
        "Give the customer the address of a checkout page.",
        ("retrieve-account-pages",),
    ),
    Impossible(
        Task(
            nouns="product coupon affiliate commission survey form video ticket webhook workflow "
            "template segment event shipment stock category employee team cart"
        ),
        "Kartra's API has no command for this area.",
        _IN_KARTRA,
    ),
)
"""Impossible tasks in order: the first row that fits is the answer."""

RAW_TASKS: tuple[RawTask, ...] = (
    RawTask(
        Task("pause", "subscription"),
        "modify_subscription_status",
        'with "subscription_status_modification": "pause"',
    ),
    RawTask(
        Task("resume", "subscription"),
        "modify_subscription_status",
        'with "subscription_status_modification": "unpause"',
    ),
    RawTask(
        Task("edit move", "subscription price"), "edit_subscription", "for price, date or quantity"
    ),
    RawTask(
        Task("show", "subscription"),
        "retrieve_subscriptions_from_lead",
        "for one lead; get_subscription_details reads one subscription",
    ),
    RawTask(Task("add grant create", "points"), "give_points_to_lead", 'with "points"'),
    RawTask(Task("remove untag revoke", "points"), "remove_points_from_lead", 'with "points"'),
    RawTask(
        Task("book add subscribe create", "booking"),
        "calendar_subscribe",
        'with "calendar_name" and "class_name"',
    ),
    RawTask(
        Task("cancel delete remove", "booking"),
        "calendar_cancel",
        'with "calendar_name" and "class_name"',
    ),
    RawTask(
        Task("create add", "field", "", False),
        "create_custom_field",
        'with "custom_field_identifier" and "custom_field_type"',
    ),
)
