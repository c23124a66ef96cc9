"""Values of a bulk run: the run, its items, their counts."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from kartra_mcp.core.models import Gate, Risk
from kartra_mcp.ledger.records import Binding

RunState = Literal["planned", "running", "paused", "done", "cancelled"]
ItemState = Literal["waiting", "running", "succeeded", "failed", "unknown", "skipped"]
ITEM_STATES: tuple[ItemState, ...] = (
    "waiting",
    "running",
    "succeeded",
    "failed",
    "unknown",
    "skipped",
)
_ID_PREFIX = "blk_"
CONSENT_LIFETIME = 86_400.0
"""Seconds during which a run that was agreed to may be continued without a new consent."""

CANNOT_RUN, NOTHING_TO_RUN = "some items cannot run", "no item could run"
"""Reason of a plan that was cancelled before anybody saw it: the call was refused."""

CheckState = Literal["unchecked", "waiting", "invalid", "blocked", "suppressed"]


@dataclass(frozen=True, slots=True)
class BulkRun:
    """One bulk run; times are seconds since the epoch.

    Attributes:
        request: digest of tool, arguments and items as given, to recognize a repeated request.
        digest: of the exact items to run; "" until every item was checked.
        binding: the call that the consent is bound to, as for a single write; None for reads.
        facts: what the user agrees to, as it was shown.
        include_suppressed: leads that should not get mail run too.
        undoes: id of the run whose inverse this is, or "".
    """

    id: str
    tool: str
    operation: str
    risk: Risk
    connection: str
    request: str
    state: RunState
    made_at: float
    actor: str = ""
    client: str = ""
    digest: str = ""
    binding: Binding | None = None
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    consent: str = ""
    agreed_at: float | None = None
    ended_at: float | None = None
    why: str = ""
    total: int = 0
    duplicates: int = 0
    skip_invalid: bool = False
    include_suppressed: bool = False
    repeat: bool = False
    undoes: str = ""

    @property
    def is_read(self) -> bool:
        return self.risk is Risk.READ

    @property
    def has_ended(self) -> bool:
        return self.state in ("done", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """Results of the checks of one item.

    Attributes:
        digest: of its call, "" until it was checked.
        facts_digest: of the facts that were shown for it, "" if none are read.
        amount: the money that it moves, as text with two decimals, or "".
        risk: of its call; `mail` is the number of its commands that can start mail.
        gate: of its call by the policy.
        changes: False if it would change nothing, None if that is not known.
        looked_at: when the lead was read, or None.
        held: state of its object on the lead before it, as `HeldState.as_dict` makes it, or {}.
        code: error code of an item that did not succeed, or "".
        reason: why it is left out or failed, or why its mail is unwanted, in words of this server.
    """

    digest: str = ""
    facts_digest: str = ""
    amount: str = ""
    risk: Risk = Risk.READ
    mail: int = 0
    gate: Gate = Gate.ALLOW
    changes: bool | None = None
    looked_at: float | None = None
    held: Mapping[str, Any] = field(default_factory=dict[str, Any])
    code: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class BulkItem(_Checked):
    """One item of a run.

    Attributes:
        number: from 0, in the order given.
        source: where it was given: the index in `items`, or the line of a file.
        arguments: of the tool; empty after the run's data was removed, as `is_removed` states.
        intent: id of its intent, or "".
    """

    number: int
    source: int
    arguments: Mapping[str, Any]
    state: ItemState | CheckState = "waiting"
    intent: str = ""
    result: Any = None
    is_removed: bool = False

    @property
    def shown_state(self) -> str:
        """Return the state for display: an item that was left out is skipped."""
        return "skipped" if self.state in ("invalid", "blocked", "suppressed") else self.state


@dataclass(frozen=True, slots=True)
class ItemCheck(_Checked):
    """Result of the checks of one item, before the user is asked."""

    number: int
    state: CheckState


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """Outcome of one item. A write that was recorded as an intent has the state of that intent."""

    number: int
    state: ItemState
    code: str = ""
    reason: str = ""
    result: Any = None
    changes: bool | None = None


@dataclass(frozen=True, slots=True)
class ItemCounts:
    """Number of items by state; `unchecked` only while a run is planned."""

    unchecked: int = 0
    waiting: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    unknown: int = 0
    skipped: int = 0

    @property
    def left(self) -> int:
        return self.unchecked + self.waiting + self.running


class Identity(NamedTuple):
    """Fields of an intent that identify it: a decline blocks them."""

    operation: str
    target_kind: str
    target: str


def identify_run(run: BulkRun) -> Identity:
    """Return the identity of a run as a whole."""
    return Identity(f"bulk {run.operation}", "bulk", run.request[:16])


def identify_item(run: BulkRun, number: int) -> Identity:
    """Return the identity of an irreversible item of a run."""
    return Identity(run.operation, "bulk item", f"{run.request[:16]} {number}")


def make_bulk_id() -> str:
    """Return `blk_` and 12 random hexadecimal digits."""
    return _ID_PREFIX + secrets.token_hex(6)


def is_bulk_id(text: str) -> bool:
    """Return True for the id of a bulk run, False for that of an intent."""
    return text.startswith(_ID_PREFIX)
