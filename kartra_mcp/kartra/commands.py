"""Kartra's commands as tables: risk, effect and undo. Pure.

Source: Kartra's API articles as of 2026 (29 commands and `get_lead`) and the 20 actions that
Membrane publishes. `policy/risk.py` decides with these tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from kartra_mcp.core.models import Command, Risk
from kartra_mcp.kartra import action_words
from kartra_mcp.kartra.fields import find_status, normalize_name


@dataclass(frozen=True, slots=True)
class CommandInfo:
    """One Kartra command.

    `risk` is the highest that the command can have, `min_risk` the lowest if its arguments decide.
    `effect` and `undo` are sentences without a full stop, for previews and refusals.
    `may_send_email`: the command can start mail or automations.
    `additive`: each equal call has an effect of its own, such as points.
    """

    risk: Risk
    effect: str = ""
    undo: str = ""
    may_send_email: bool = False
    min_risk: Risk | None = None
    additive: bool = False

    @property
    def lowest_risk(self) -> Risk:
        return self.risk if self.min_risk is None else self.min_risk


_READ = CommandInfo(Risk.READ)
_TAGGED = "a tag can start mail and automations, which cannot be recalled"

COMMANDS: Mapping[str, CommandInfo] = {
    "get_lead": _READ,
    "search_lead": _READ,
    "retrieve_account_tags": _READ,
    "retrieve_account_lists": _READ,
    "retrieve_account_sequences": _READ,
    "retrieve_account_pages": _READ,
    "retrieve_custom_fields": _READ,
    "search_transaction": _READ,
    "get_transaction_details": _READ,
    "retrieve_transactions_from_lead": _READ,
    "search_subscription": _READ,
    "get_subscription_details": _READ,
    "retrieve_subscriptions_from_lead": _READ,
    "create_lead": CommandInfo(
        Risk.WRITE,
        "creates a lead",
        "not by the API, which has no command that deletes a lead",
        additive=True,
    ),
    "edit_lead": CommandInfo(
        Risk.DESTRUCTIVE,
        "overwrites fields of the lead",
        "edit the lead again with the old values: only the answer has them, in `before`",
        min_risk=Risk.WRITE,
    ),
    "assign_tag": CommandInfo(
        Risk.WRITE, f"adds a tag to the lead; {_TAGGED}", "unassign the tag", may_send_email=True
    ),
    "unassign_tag": CommandInfo(
        Risk.DESTRUCTIVE,
        "removes a tag from the lead, which can start automations or end access",
        "assign the tag again",
        may_send_email=True,
    ),
    "subscribe_lead_to_list": CommandInfo(
        Risk.WRITE,
        "subscribes the lead to a mailing list",
        "unsubscribe the lead",
        may_send_email=True,
    ),
    "unsubscribe_lead_from_list": CommandInfo(
        Risk.DESTRUCTIVE,
        "stops the list's mail to the lead",
        "subscribe the lead again, with the lead's consent",
    ),
    "subscribe_lead_to_sequence_at_step": CommandInfo(
        Risk.WRITE,
        "starts the sequence's mail to the lead",
        "unsubscribe the lead; mail already sent cannot be recalled",
        may_send_email=True,
        additive=True,
    ),
    "unsubscribe_lead_from_sequence": CommandInfo(
        Risk.DESTRUCTIVE,
        "ends the sequence for the lead, whose place in it is lost",
        "subscribe the lead again at the step that get_lead showed before",
    ),
    "give_points_to_lead": CommandInfo(
        Risk.WRITE, "adds points", "remove the same number of points", additive=True
    ),
    "remove_points_from_lead": CommandInfo(
        Risk.DESTRUCTIVE, "takes points away", "give the same number of points", additive=True
    ),
    "create_custom_field": CommandInfo(
        Risk.DESTRUCTIVE,
        "creates a custom field for the whole account",
        "not by the API, which has no command that deletes a custom field",
        additive=True,
    ),
    "calendar_subscribe": CommandInfo(
        Risk.WRITE,
        "books the lead into a class",
        "cancel the booking",
        may_send_email=True,
        additive=True,
    ),
    "calendar_cancel": CommandInfo(
        Risk.DESTRUCTIVE, "cancels the lead's booking", "book the lead again if the class has room"
    ),
    "grant_membership_access": CommandInfo(
        Risk.WRITE,
        "gives the lead access to a membership",
        "revoke the access",
        may_send_email=True,
    ),
    "revoke_membership_access": CommandInfo(
        Risk.DESTRUCTIVE,
        "ends the lead's access to the membership; charges go on",
        "grant the access again; what this does to the lead's progress is not documented",
    ),
    "refund_transaction": CommandInfo(
        Risk.IRREVERSIBLE,
        "pays money back to the buyer, all that remains if no amount is given",
        "not possible",
    ),
    "cancel_transaction": CommandInfo(
        Risk.IRREVERSIBLE,
        "ends a recurring payment for good",
        "not possible: the customer must buy again",
    ),
    "modify_subscription_status": CommandInfo(
        Risk.IRREVERSIBLE,
        "cancels, pauses or resumes a subscription",
        "pause and unpause undo each other; a cancellation cannot be undone",
        min_risk=Risk.DESTRUCTIVE,
    ),
    "edit_subscription": CommandInfo(
        Risk.IRREVERSIBLE,
        "changes what a customer will be charged",
        "edit it again with the old terms: only the answer has them, in `before`",
    ),
}
"""Every known command and its highest risk. A command that is not here is destructive."""
_STATUS_TEXTS: Mapping[str, tuple[str, str]] = {
    "pause": ("stops the charges until the subscription is resumed", "resume it (unpause)"),
    "unpause": ("starts the charges of the paused subscription again", "pause it again"),
}
"""Effect and undo of each status that can be undone."""


def find_status_texts(command: Command) -> tuple[str, str]:
    """Return effect and undo of a status that can be undone; empty texts for another command."""
    if command.name != "modify_subscription_status":
        return "", ""
    return _STATUS_TEXTS.get(find_status(command.arguments), ("", ""))


ACTION_COMMANDS: Mapping[str, str] = {
    "retrieve_account_custom_fields": "retrieve_custom_fields",
    "subscribe_lead_to_sequence": "subscribe_lead_to_sequence_at_step",
    "cancel_subscription": "cancel_transaction",
}
"""Published action keys (with `_` for `-`) whose Kartra command has another name."""

PUBLISHED_KEYS: tuple[str, ...] = (
    "retrieve-account-pages",
    "retrieve-account-custom-fields",
    "retrieve-account-sequences",
    "retrieve-account-tags",
    "retrieve-account-lists",
    "get-lead",
    "get-transaction-details",
    "retrieve-transactions-from-lead",
    "create-lead",
    "edit-lead",
    "assign-tag",
    "subscribe-lead-to-list",
    "subscribe-lead-to-sequence",
    "unsubscribe-lead-from-list",
    "unsubscribe-lead-from-sequence",
    "unassign-tag",
    "cancel-subscription",
    "refund-transaction",
    "grant-membership-access",
    "revoke-membership-access",
)
"""The 20 actions of the published Kartra skill, for the README and tests.

The tool list never comes from here: a connection may offer others."""

READ_TYPES = frozenset(
    {
        "list-data-records",
        "find-data-record-by-id",
        "match-data-record",
        "search-data-record",
        "search-data-records",
    }
)
TYPE_RISKS: Mapping[str, Risk] = {
    "create-data-record": Risk.WRITE,
    "find-or-create-data-record": Risk.WRITE,
    "update-data-record": Risk.WRITE,
    "delete-data-record": Risk.DESTRUCTIVE,
}
"""Membrane's action types that declare an effect; the others declare nothing."""
EDITING_TYPES = frozenset(
    {"create-data-record", "find-or-create-data-record", "update-data-record"}
)

METHOD_RISKS: Mapping[str, Risk] = {
    "POST": Risk.WRITE,
    "PUT": Risk.WRITE,
    "PATCH": Risk.WRITE,
    "DELETE": Risk.DESTRUCTIVE,
}

DEDICATED_TOOLS: Mapping[str, str] = {
    "refund_transaction": "kartra_refund_transaction",
    "cancel_transaction": "kartra_cancel_subscription",
    "modify_subscription_status": "kartra_cancel_subscription",
}
"""Commands that no raw request may contain, and the tool that requires consent first.

`catalogue/remedies.py` adds the name that the tool has on this connection."""


ACCOUNT_COMMANDS = frozenset({"create_custom_field"})
"""Writing commands on the account as a whole, which name no object that exists."""


CREDENTIALS = frozenset({"app_id", "api_key", "api_password"})
"""Kartra's three credentials. Only Membrane adds them: others would select another account."""


def acts_on_account(commands: Sequence[Command]) -> bool:
    """Return whether no command has an object that could be named or read."""
    return bool(commands) and {command.name for command in commands} <= ACCOUNT_COMMANDS


def find_command(key: str) -> str:
    """Return the Kartra command of a name, or "" if it is not a known one.

    `refund-transaction`, `refundTransaction` and `refund_transaction` are the same command.
    """
    return _BY_PLAIN.get(normalize_name(key), "")


@lru_cache(maxsize=4_096)
def find_action_command(key: str) -> str:
    """Return the command of an action's key, or "".

    A key with other characters is not folded: its meaning is unknown.
    """
    return find_command(key) if key.isascii() else ""


@lru_cache(maxsize=4_096)
def has_amount(name: str) -> bool:
    """Return whether amount-like fields of an operation of this name are sums of money to check."""
    command = find_command(name)
    return command == "edit_subscription" or action_words.moves_money(command or name)


_BY_PLAIN: Mapping[str, str] = {
    **{normalize_name(command): command for command in COMMANDS},
    **{normalize_name(key): command for key, command in ACTION_COMMANDS.items()},
}
