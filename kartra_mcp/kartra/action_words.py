"""Words in the name of an action that is not in the table of commands. Pure.

The first word of a name is its verb, and a verb may follow a conjunction (`find-or-create`). Nouns
after a reading verb do not count: `get-refund` reads. `policy/risk.py` decides with these
predicates, the ledger counts money and mail with them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

from kartra_mcp.kartra.fields import split_words

READ_VERBS = frozenset(
    {
        "get",
        "list",
        "retrieve",
        "find",
        "search",
        "fetch",
        "read",
        "lookup",
        "count",
        "view",
        "show",
        "describe",
    }
)
EDITING_VERBS = frozenset({"create", "add", "insert", "update", "edit", "upsert", "set"})
"""The only verbs that an unknown action may have to be a plain write."""

MONEY_VERBS = frozenset(
    {"refund", "charge", "capture", "pay", "payout", "transfer", "purchase", "buy", "void"}
    | {"credit", "topup", "recharge", "chargeback", "reimburse", "withdraw", "disburse", "repay"}
    | {"autorefund", "remit", "redeem", "bill", "debit"}
)
MONEY_OBJECTS = frozenset(
    {"payment", "payout", "transfer", "charge", "refund", "credit", "chargeback", "reimbursement"}
    | {"disbursement", "withdrawal", "purchase", "autorefund", "topup", "debit", "chargebacks"}
    | {"fund", "money", "cash", "deposit", "donation", "tip", "rebill"}
)
_OBJECT_ONLY_EDITED = frozenset(
    {"update", "edit", "set", "upsert", "insert", "delete", "remove", "archive", "unarchive"}
    | {"rename", "tag", "untag", "label", "export", "import", "validate", "verify", "preview"}
    | {"calculate", "estimate", "download", "cancel", "close", "reopen", "decline", "reject"}
)
"""Verbs whose money object is a record that changes, not money that moves."""

DESTROYING_VERBS = frozenset(
    {"destroy", "purge", "wipe", "erase", "obliterate", "shred", "anonymize", "anonymise", "forget"}
    | {"nuke", "hard"}  # as in hard-delete
)
DESTROYED_FOR_GOOD = re.compile(
    r"\bpermanently\b|\bcan(?:no|')t be (?:undone|reversed|recovered)\b|\birreversibl[ey]\b",
    re.IGNORECASE,
)
DESTRUCTIVE_PREFIXES = (
    "delet", "remov", "revok", "merg", "archiv", "terminat", "replac", "overwrit", "clos", "unsub",
    "unassign", "unenrol", "unlink", "untag", "cancel", "deactivat", "disabl", "suspend", "block",
    "ban", "reset", "drop", "clear", "expir", "detach", "trash", "bulk", "reject", "uninstall",
)  # fmt: skip
"""Words of an editing verb's object that make it destructive, at any position."""

BILLED_OBJECTS = frozenset(
    {"subscription", "subscriptions", "plan", "price", "prices", "invoice", "order", "checkout"}
    | {"balance", "installment", "installments", "quantity", "payment", "payments", "charge"}
    | {"charges", "refund", "refunds", "payout", "payouts", "transfer", "transfers", "credit"}
    | {"credits", "chargeback", "dispute", "membership", "password", "permission", "permissions"}
    | {"role", "roles", "owner", "ownership", "webhook", "webhooks", "transaction", "transactions"}
    | {"sale", "sales", "fee", "fees", "settlement", "mandate", "refunded", "voided", "void"}
)
"""Objects whose edit changes what a customer pays, or who may do what: never a plain write."""

SENDING_WORDS = frozenset(
    {"send", "resend", "broadcast", "email", "emails", "mail", "mails", "mailing", "sms"}
    | {"message", "messages", "notify", "notification", "invite", "invites", "invitation"}
    | {"campaign", "campaigns", "newsletter", "reminder", "text"}
)
STATE_VERBS = READ_VERBS | frozenset(
    {"update", "edit", "set", "upsert", "change", "modify", "patch", "put", "save", "rename"}
    | {"assign", "subscribe", "tag", "label", "mark", "move", "enable", "disable", "activate"}
    | {"lock", "unlock", "pause", "unpause", "resume", "stop", "accept", "approve", "decline"}
    | {"publish", "unpublish", "reopen", "restore", "link", "attach", "replace", "sync", "verify"}
    | {"confirm", "unlink", "unban", "unblock", "unassign", "unarchive", "undelete", "refresh"}
    | {"sort", "reorder", "validate", "complete", "finish", "end", "uncancel", "reactivate"}
)
"""Verbs after which the account is in a named state: a second equal call changes nothing."""
TECHNICAL_OBJECTS = frozenset(
    {"run", "job", "task", "build", "upload", "import", "export", "execution", "query", "scan"}
    | {"batch", "workflow", "operation", "download", "deployment", "sync"}
)
"""Objects whose cancellation ends a process, and takes nothing from a customer."""

_CONJUNCTIONS = frozenset({"and", "or", "then", "n"})
_ACTING_VERBS = (
    EDITING_VERBS
    | MONEY_VERBS
    | DESTROYING_VERBS
    | frozenset(
        {"make", "issue", "send", "delete", "remove", "revoke", "merge", "archive", "terminate"}
        | {"replace", "overwrite", "close", "cancel", "assign", "unassign", "subscribe", "enroll"}
        | {"unsubscribe", "mark", "move", "copy", "run", "trigger", "start", "stop", "accept"}
        | {"approve", "decline", "submit", "process", "publish", "notify", "email", "broadcast"}
        | {"invite", "enable", "disable", "activate", "deactivate", "lock", "unlock", "reset"}
        | {"save", "store", "write", "apply", "execute", "release", "clear", "drop", "tag"}
    )
)


@lru_cache(maxsize=4_096)
def verbs_of(name: str) -> tuple[str, ...]:
    """Return the first word, and every acting verb after a conjunction, `/`, `&` or `+`."""
    words = _words(name)
    later = (
        word
        for before, word in pairwise(words)
        if before in _CONJUNCTIONS and word in _ACTING_VERBS
    )
    return (*words[:1], *later)


def is_reading(name: str) -> bool:
    """Return whether a reading verb is the only verb of a name."""
    verbs = verbs_of(name)
    return bool(verbs) and all(verb in READ_VERBS for verb in verbs)


def is_acting(name: str) -> bool:
    """Return whether a name has a known verb that does not read."""
    return any(verb in _ACTING_VERBS for verb in verbs_of(name))


def destroys(name: str) -> bool:
    """Return whether a verb of a name removes, ends or replaces something."""
    return any(verb.startswith(DESTRUCTIVE_PREFIXES) for verb in verbs_of(name))


def is_editing(name: str) -> bool:
    """Return whether the verb of a name creates or edits, and nothing in the name does more."""
    verbs, words = verbs_of(name), _words(name)
    plain = bool(verbs) and all(verb in EDITING_VERBS for verb in verbs)
    harmless = not any(word.startswith(DESTRUCTIVE_PREFIXES) for word in words)
    return plain and harmless and not BILLED_OBJECTS.intersection(words)


@lru_cache(maxsize=4_096)
def moves_money(name: str) -> bool:
    """Return whether an operation of this name moves money: its verb, or verb and object."""
    verbs, words = verbs_of(name), _words(name)
    if not words or is_reading(name):
        return False
    if any(verb.removesuffix("s") in MONEY_VERBS for verb in verbs):
        return True
    if "top" in verbs and "up" in words:
        return True
    objects = {word.removesuffix("s") for word in words[1:]} | set(words[1:])
    if "accept" in verbs and "dispute" in objects:
        return True
    acts = set(verbs) - _OBJECT_ONLY_EDITED
    return bool(acts and objects & MONEY_OBJECTS)


@lru_cache(maxsize=4_096)
def ends_for_good(name: str) -> bool:
    """Return whether an operation of this name destroys, or cancels what a customer has."""
    verbs, words = verbs_of(name), _words(name)
    if DESTROYING_VERBS.intersection(verbs) or "permanently" in words:
        return True
    cancels = not is_reading(name) and any(word.startswith("cancel") for word in words)
    return cancels and not TECHNICAL_OBJECTS.intersection(words)


@lru_cache(maxsize=4_096)
def sends(name: str) -> bool:
    """Return whether an operation of this name can send mail or messages."""
    return not is_reading(name) and bool(SENDING_WORDS.intersection(_words(name)))


@lru_cache(maxsize=4_096)
def adds(name: str) -> bool:
    """Return whether each call of an unknown operation has an effect of its own.

    It creates, gives, books, sends or moves money; so may a verb that is not known.
    """
    verbs = verbs_of(name)
    return not (verbs and all(map(_sets_state, verbs))) or sends(name) or moves_money(name)


def _sets_state(verb: str) -> bool:
    ends = verb.startswith(DESTRUCTIVE_PREFIXES) and not verb.startswith("bulk")
    return ends or verb in STATE_VERBS | DESTROYING_VERBS


def is_destroyed_for_good(description: str) -> bool:
    """Return whether a description says that the effect cannot be undone."""
    return DESTROYED_FOR_GOOD.search(description) is not None


def _words(name: str) -> tuple[str, ...]:
    return split_words(re.sub(r"\s*[/&+]\s*", " and ", name))
