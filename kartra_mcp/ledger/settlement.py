"""Rules for late answers, contradictions and statements of users about an outcome. Pure.

An intent has one attempt: one right to send, which ends. Only the answer to that attempt counts,
also if it arrives after the outcome was recorded as unknown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import FENCED, Executed
from kartra_mcp.core.timings import WriteTimings
from kartra_mcp.ledger.records import State

REQUIRED_LOOKS = 2
"""Number of late looks without an effect that a settlement as failed needs."""

SettledState = Literal["succeeded", "failed"]
Arrival = Literal["outcome", "late_outcome", "conflict", "nothing", "refused"]


@dataclass(frozen=True, slots=True)
class Standing:
    """The present record of an intent.

    Attributes:
        state: None if the intent is not in the ledger.
        attempt: id of its one attempt; "" if it was sent without one.
        outcome_line: number of the entry of its outcome, None while it runs.
        settled_line: number of the entry by which a look, a run log or statements settled it.
        conflict: an answer contradicts the settlement, and nobody decided since.
    """

    state: State | None
    attempt: str = ""
    outcome_line: int | None = None
    settled_line: int | None = None
    conflict: bool = False


@dataclass(frozen=True, slots=True)
class Statement:
    """The outcome of an intent as a user states it; `person` identifies the user."""

    person: str
    state: SettledState
    reason: str = ""


def classify_answer(standing: Standing, attempt: str, executed: Executed) -> Arrival:
    """Return the effect of an answer to an attempt on the record of its intent.

    `nothing`: the record already agrees, or the answer proves nothing. `refused`: it belongs to
    another attempt, or the intent has the outcome of its own answer.
    """
    if standing.state is None or attempt != standing.attempt:
        return "refused"
    if standing.state == "running":
        return "outcome"
    if standing.settled_line is None:
        # Without an attempt a lock proved that its owner has ended: it cannot answer.
        if standing.state != "unknown" or not attempt:
            return "refused"
        return "nothing" if executed is Executed.UNKNOWN else "late_outcome"
    if standing.conflict or executed is Executed.UNKNOWN:
        return "nothing"
    agrees = (standing.state == "succeeded") == (executed is Executed.YES)
    return "nothing" if agrees else "conflict"


def is_fenced(entry: Mapping[str, Any]) -> bool:
    """Return whether nothing of this write can start later: its own program, or its token, ended.

    A fixed access token stays valid: a request that the network delayed could still be accepted.
    """
    return not entry.get("attempt") or entry.get("fence") == FENCED


def look_delay(entry: Mapping[str, Any], timings: WriteTimings) -> float:
    """Return the seconds after an intent from which on a look without an effect counts.

    A write over HTTP can be accepted until its right to send ends, by a clock that may differ.
    """
    ends = entry.get("send_until")
    if ends is None:
        return timings.settle_seconds
    sending = max(float(ends) - float(entry["at"]), 0.0)
    return sending + timings.skew_seconds + timings.settle_seconds


def describe_delay(seconds: float) -> str:
    """Return a delay in whole minutes, rounded up; below a minute in seconds."""
    minutes = math.ceil(seconds / 60)
    return f"{minutes} minutes" if seconds > 60 else f"{seconds:g} seconds"  # noqa: PLR2004


def needs_statement(standing: Standing, entry: Mapping[str, Any]) -> bool:
    """Return whether only users can settle this intent, or can settle it as failed."""
    return standing.conflict or (standing.state == "unknown" and not is_fenced(entry))


def statement_refusal(
    standing: Standing, entry: Mapping[str, Any], to: SettledState, looks: int
) -> RefusedError | None:
    """Return the reason why users cannot state this outcome, or None.

    Args:
        standing: of the intent.
        entry: the intent.
        to: the outcome to state.
        looks: number of looks without an effect that counted.
    """
    id_ = entry["intent"]
    if not needs_statement(standing, entry):
        found = standing.state if standing.state != "unknown" else "unknown, and can be read"
        return RefusedError(
            "invalid_arguments",
            f"The intent {id_} is {found}. Nothing was recorded.",
            f"Call kartra_reconcile with the intent {id_}; it reads the account.",
        )
    if to == "failed" and not standing.conflict and looks < REQUIRED_LOOKS:
        return RefusedError(
            "not_allowed",
            f"The intent {id_} has {looks} of {REQUIRED_LOOKS} late looks that found no effect. "
            "Nothing was recorded.",
            f"Call kartra_reconcile with the intent {id_} first; its answer names the next look.",
        )
    return None


def agreed_state(statements: Sequence[Statement], persons: int) -> SettledState | None:
    """Return the outcome that enough users agree on, or None.

    Args:
        statements: oldest first; only the newest of each user counts.
        persons: number of different users that must agree.
    """
    newest: dict[str, SettledState] = {one.person: one.state for one in statements}
    states = list(newest.values())
    agree = len(states) >= persons and len(set(states)) == 1
    return states[0] if agree else None


def describe_conflict(intent_id: str) -> str:
    """Return why an open conflict stops the writes of an account, as a clause."""
    return (
        f"the late answer to the write {intent_id} contradicts its settled outcome, so that all "
        "writes of this account are stopped"
    )


def conflict_error(intent_id: str) -> RefusedError:
    """Return the refusal of every write of an account with an open conflict."""
    why = describe_conflict(intent_id)
    return RefusedError(
        "writes_stopped",
        f"{why[0].upper()}{why[1:]}. Nothing was done.",
        f"The user should check Kartra, then run `kartra-mcp ledger settle {intent_id} succeeded` "
        "or `… failed`; in a team, two persons run `kartra-mcp team settle`.",
        detail={"intent": intent_id},
    )
