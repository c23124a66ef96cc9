"""The ledger's values: an intent, its history, and the binding of a consent."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

from kartra_mcp.core.models import Executed, Fence, Risk, SendRight
from kartra_mcp.ledger.people import Requester

Consent = Literal["none", "flag", "two_step", "elicitation", "approval"]
State = Literal["running", "succeeded", "failed", "refused", "unknown"]
FinalState = Literal["succeeded", "failed", "refused", "unknown"]

CONSENT_MEANINGS: Mapping[str, str] = {
    "none": "the gate requires no consent",
    "flag": "the caller set a flag",
    "two_step": "the caller repeated the summary of the preview",
    "elicitation": "the client reports an answer of the user",
    "approval": "the user approved with the PIN outside the client",
}
"""Consent by its name in the contract. `two_step` is never described as the user's consent."""

CONSENT_PROOFS: Mapping[str, str] = {
    "flag": "The caller set confirm to true. Nothing shows that the user was asked.",
    "two_step": (
        "The caller repeated the summary of the preview. The facts were shown to the caller; "
        "whether the user saw them is not known, so this is never called a human's consent."
    ),
    "elicitation": (
        "The client reports that a human answered its question. An answer in under a second counts "
        "as the program's own and runs nothing."
    ),
    "approval": "A human with the PIN approved it outside the client.",
}
"""Proof that each consent gives, and its limits, in full sentences."""

CAPPED_STATES: tuple[State, ...] = ("running", "succeeded", "unknown")
"""States that count against the caps; an unknown intent may have been executed."""

REFUND = "refund_transaction"
CANCEL = "cancel_transaction"
"""The one operation name of a cancellation, `modify_subscription_status=cancel` included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentPart:
    """One writing command of a chain, as the rules judge it; fields as in `Intent`."""

    operation: str
    risk: Risk
    target_kind: str = ""
    target: str | None = None
    known_amount: Decimal | None = None
    equality: str = ""
    moves_money: bool = False
    additive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One write that is about to run.

    Args:
        operation: the Kartra command, else the action's key.
        target: the id (or address, or name) that it acts on; normalized by the ledger.
        amount: as given by the caller; None if none was given.
        remainder: the amount not yet refunded, as the preview read it; None if not read.
        known_amount: the amount that will move, for the caps; None if it could not be read.
        arguments_digest: SHA-256 of the arguments, in hexadecimal.
        equality: digest of the fields without those that name the target; "" is
            `arguments_digest`. Two writes are equal if operation, target and this are.
        additive: a second equal write has a second effect.
        parts: the commands of a chain, each judged by itself; empty for a single write.
        bulk: id of the bulk run that it belongs to, or ""; `item` is its number there.
        confirmation_id: of the preview or the question.
        approval: the number of the approval that the intent rests on.
        fresh: the consent rests on a fresh preview or on the user's answer.
        repeat: the caller declared that an equal write is intended.
        mail: number of its commands that can start mail.
        facts: ids, amounts and product only, already redacted.
        lead: the lead's address, masked; `lead_hash` its keyed hash.
        right: the right to send it over HTTP, as its client wants it; None for a program, which
            holds the intent's lock. The store fills in the next four.
        attempt: id of the one attempt to send it, or "" where a file lock proves that it runs.
        fence: whether the token of the attempt ends with it; None if that is not known.
        send_until: end of the right to send, by the clock of the ledger; after `expires_at` an
            intent without an outcome is unknown.
        requester: the principal of a team that asked; None for a single user.
    """

    id: str
    tool: str
    operation: str
    risk: Risk
    connection: str
    target_kind: str = ""
    target: str | None = None
    amount: Decimal | None = None
    remainder: Decimal | None = None
    known_amount: Decimal | None = None
    arguments_digest: str = ""
    consent: Consent = "none"
    confirmation_id: str | None = None
    approval: int | None = None
    fresh: bool = False
    repeat: bool = False
    mail: int = 0
    moves_money: bool = False
    actor: str = ""
    client: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    lead: str = ""
    lead_hash: str = ""
    undo: str = ""
    equality: str = ""
    additive: bool = False
    parts: tuple[IntentPart, ...] = ()
    bulk: str = ""
    item: int = 0
    right: SendRight | None = None
    attempt: str = ""
    fence: Fence | None = None
    send_until: float | None = None
    expires_at: float | None = None
    requester: Requester | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to an attempt of an intent.

    Attributes:
        state: the outcome by the answer.
        executed: knowledge about the effect.
        detail: why it ended so.
        action_run_id: id of Membrane's run.
        undo: how to undo it.
        attempt: the attempt that it answers; None: the one that this process began.
    """

    state: FinalState
    executed: Executed
    detail: Mapping[str, Any] = field(default_factory=dict[str, Any])
    action_run_id: str | None = None
    undo: str = ""
    attempt: str | None = None


@dataclass(frozen=True, slots=True)
class PriorIntent:
    """An earlier intent, reduced to what the rules compare; `ended_at` is None while it runs."""

    id: str
    at: float
    operation: str
    state: State
    amount: Decimal | None = None
    remainder: Decimal | None = None
    known_amount: Decimal | None = None
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class CapsLeft:
    """Rest of the caps: of one refund, and of 24 hours; None: no cap."""

    refund: Decimal | None = None
    day_amount: Decimal | None = None
    day_count: int | None = None


@dataclass(frozen=True, slots=True)
class Binding:
    """The one call that a consent is valid for.

    `repeat`: the call declares that an equal write is intended, which was shown with the facts.
    `requester`: key of the principal of a team that asked, or ""; nobody else can use it.
    """

    tool: str
    arguments: str
    connection: str
    connection_created: str
    action: str
    revision: str
    policy: str
    repeat: bool = False
    requester: str = ""


@dataclass(frozen=True, slots=True)
class StoredQuestion:
    """A question that was returned to the client, and the values that judge its answer.

    Args:
        facts_digest: of the facts that the question showed.
        asked_at: seconds since the epoch, just before it was recorded.
        number: 1, or 2 where the facts changed while the first was answered.
        typed_confirmation: the text that the user must type; "" for none.
    """

    facts_digest: str
    asked_at: float
    number: int
    typed_confirmation: str


@dataclass(frozen=True, slots=True)
class IssuedConfirmation:
    """A confirmation id in full; the ledger stores only its hash."""

    id: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class Filters:
    """Filters for intents; None matches every intent.

    `since` is inclusive and `until` exclusive, in seconds since the epoch; `before` is the line
    that a page ended with.
    """

    tool: str | None = None
    since: float | None = None
    lead_hash: str | None = None
    target: str | None = None
    state: State | None = None
    until: float | None = None
    risk: Risk | None = None
    consent: Consent | None = None
    before: int | None = None


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """Result of `verify`.

    Attributes:
        count: number of entries.
        ok: writes are accepted.
        broken: number of the first broken entry, if any is.
        why: the damage, or "".
        refused: why writes are refused although no entry is broken, or "".
    """

    count: int
    ok: bool
    broken: int | None = None
    why: str = ""
    refused: str = ""

    @property
    def count_text(self) -> str:
        return "1 entry" if self.count == 1 else f"{self.count} entries"

    @property
    def intact_text(self) -> str:
        if self.count == 1:
            return "The only line is intact"
        return f"All {self.count:,} lines are intact"


@dataclass(frozen=True, slots=True)
class ReplacedLedger:
    """Result of `ledger new`: the new name of the old ledger's file, if there was one."""

    old_file: str | None
    old_hash: str
    why: str


def make_intent_id() -> str:
    """Return `int_` and 16 random hexadecimal digits."""
    return "int_" + secrets.token_hex(8)


def format_utc(at: float) -> str:
    """Return a time as `2026-11-23T17:06:00Z`."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
