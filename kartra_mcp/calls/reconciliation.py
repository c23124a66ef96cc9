"""Proof by evidence in the account for a write with an unknown outcome. Pure.

A write succeeded only by evidence newer than the preview. It failed only after two reads without an
effect: each at least 15 minutes after the write could last be accepted, because Kartra applies some
writes later, and five minutes apart, so that one step of the clock cannot make both of them late.
Otherwise its outcome stays unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from kartra_mcp.consent.facts import Facts
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.models import Executed, OperationKind, Risk
from kartra_mcp.core.timings import DEFAULT_TIMINGS, WriteTimings
from kartra_mcp.kartra.errors import raise_for_error
from kartra_mcp.kartra.values import parse_amount
from kartra_mcp.ledger.settlement import REQUIRED_LOOKS, describe_delay, is_fenced, look_delay
from kartra_mcp.membrane.responses import RunLog

LATE_LOOK_DELAY = DEFAULT_TIMINGS.writes.settle_seconds
LOOK_DISTANCE = DEFAULT_TIMINGS.writes.look_seconds


@dataclass(frozen=True, slots=True)
class ReconcileFinding:
    """Result of one read of the account.

    `late_look`: no effect was found, and the call is old enough for that to count. `check`: what
    the user can do, where it is more than `WHAT_TO_CHECK`.
    """

    state: Literal["succeeded", "failed", "unknown"]
    why: str
    late_look: bool = False
    check: str = ""


@dataclass(frozen=True, slots=True)
class PastLooks:
    """Time since an intent and since the earlier looks at it.

    Attributes:
        age: seconds since the intent, by both clocks.
        looks: seconds since each earlier read that found no effect and counted, newest first.
        delay: seconds after the intent from which on a look without an effect counts.
        distance: seconds between two looks that count.
    """

    age: float
    looks: Sequence[float] = ()
    delay: float = LATE_LOOK_DELAY
    distance: float = LOOK_DISTANCE


def past_looks(
    entry: Mapping[str, Any], age: float, looks: Sequence[float], timings: WriteTimings
) -> PastLooks:
    """Return the time since an intent and since the earlier looks at it."""
    return PastLooks(age, looks, look_delay(entry, timings), timings.look_seconds)


def evaluate_evidence(entry: Mapping[str, Any], facts: Facts, past: PastLooks) -> ReconcileFinding:
    """Return the finding of one more read of the account.

    Args:
        entry: the intent, with its `facts` (`seen`: the evidence at the preview).
        facts: as read now.
        past: time since the intent and since the earlier looks at it.
    """
    kept: Mapping[str, Any] = entry.get("facts") or {}
    seen: Sequence[str] | None = kept.get("seen")
    if facts.missing:
        return ReconcileFinding("unknown", f"Not everything could be read: {facts.missing[0]}.")
    if seen is None and (
        facts.already_done or (facts.act is OperationKind.REFUND and facts.evidence)
    ):
        return ReconcileFinding(
            "unknown", "Nothing was read before it ran, so nothing can be compared."
        )
    proof = _find_proof(facts, seen or (), _amount_moved(entry))
    if proof is not None:
        return proof
    return _evaluate_absence(facts, past)


@dataclass(frozen=True, slots=True)
class RunLogProof:
    """Proof by a run log of Membrane, by the rules for a response."""

    state: Literal["succeeded", "failed"]
    why: str
    run: str


def evaluate_run_logs(logs: Sequence[RunLog], risk: str) -> RunLogProof | None:
    """Return the proof by all run logs of one write; None if they prove nothing.

    A missing log proves nothing. Therefore the one log of a rejection proves failure only for a
    write that is never retried: after any other write, a later run may have left no log.
    """
    judged = [(log, _get_executed(log)) for log in logs]
    done = next((log for log, executed in judged if executed is Executed.YES), None)
    if done:
        return RunLogProof("succeeded", "Membrane's own log of the run reports a success.", done.id)
    refused = [log for log, executed in judged if executed is Executed.NO]
    if len(judged) == len(refused) == 1 and risk == Risk.IRREVERSIBLE.label:
        why = "Membrane's own log of the run reports that it was turned away."
        return RunLogProof("failed", why, refused[0].id)
    return None


def _get_executed(log: RunLog) -> Executed:
    if log.reply is None:
        return log.error.executed if log.error else Executed.UNKNOWN
    try:
        raise_for_error(log.reply.result, write=True)
    except KartraMCPError as problem:
        return problem.executed
    return Executed.YES


def _evaluate_absence(facts: Facts, past: PastLooks) -> ReconcileFinding:
    """Return the finding if the account shows no new effect."""
    if not _is_fully_read(facts):
        return ReconcileFinding("unknown", "The data that could be read does not decide it.")
    return count_look(past)


def count_look(past: PastLooks) -> ReconcileFinding:
    """Return the finding of a look that showed no effect, after the earlier ones."""
    if past.age < past.delay:
        return ReconcileFinding(
            "unknown", "No effect is visible yet; Kartra applies some writes later."
        )
    if past.looks and past.looks[0] < past.distance:
        return ReconcileFinding(
            "unknown", "No effect is visible; the next look counts five minutes after the last one."
        )
    if len(past.looks) + 1 < REQUIRED_LOOKS:
        return ReconcileFinding(
            "unknown",
            "No effect is visible; one more look, in five minutes or later, decides.",
            late_look=True,
        )
    late = describe_delay(past.delay)
    return ReconcileFinding(
        "failed",
        f"Two looks, five minutes apart and at least {late} after the call, found no effect.",
    )


def require_fence(
    entry: Mapping[str, Any], found: ReconcileFinding, *, token_ended: bool | None
) -> ReconcileFinding:
    """Return the finding; not `failed` where the write could still be accepted.

    Args:
        entry: the intent.
        found: the finding of a look.
        token_ended: Membrane refuses a token with the end of this write's; None if not known.
    """
    if found.state != "failed" or not entry.get("attempt"):
        return found  # a program held the intent's lock: it has ended
    none = "The looks found no effect"
    if is_fenced(entry) and token_ended is None:
        why = f"{none}, but it could not be checked that Membrane refuses its token now."
        return ReconcileFinding("unknown", why, late_look=True, check=CHECK_AGAIN)
    if is_fenced(entry) and token_ended:
        return found
    why = f"{none}, but Membrane still accepts its token: a delayed request could be executed."
    check = STATE_IT.format(intent=entry["intent"])
    return ReconcileFinding("unknown", why, late_look=True, check=check)


CHECK_AGAIN = (
    "Call kartra_reconcile again, with the API credentials under which the write was sent "
    "(docs/api.md)."
)
STATE_IT = (
    "Check in Kartra that it was not done. Then the user runs `kartra-mcp ledger settle {intent} "
    "failed` in a terminal."
)


def _find_proof(
    facts: Facts, seen: Sequence[str], moved: Decimal | None
) -> ReconcileFinding | None:
    """Return the finding that evidence newer than the preview supports, or None."""
    new = [row for row in facts.evidence if row not in seen]
    if facts.act is OperationKind.CANCELLATION and facts.already_done and new:
        return ReconcileFinding("succeeded", f"The subscription's status changed to {new[0]}.")
    if facts.act is not OperationKind.REFUND or not new:
        return None
    ours = [row for row in new if moved is None or parse_amount(row.rpartition(" ")[2]) == moved]
    if not ours:
        return ReconcileFinding("unknown", f"There is a new refund of another sum: {new[0]}.")
    return ReconcileFinding("succeeded", f"There is a refund that was not there before: {ours[0]}.")


def _is_fully_read(facts: Facts) -> bool:
    """Return whether the account was read completely; otherwise nothing is settled as failed."""
    if facts.act is OperationKind.REFUND:
        return facts.remaining is not None
    return bool(facts.shown.get("status"))


def _amount_moved(entry: Mapping[str, Any]) -> Decimal | None:
    found = entry.get("known_amount") or entry.get("amount")
    return None if found is None else parse_amount(found)


WHAT_TO_CHECK = (
    "In Kartra, open the object of this write (kartra_ledger shows its operation, target and lead) "
    "and check whether it was changed; then decide. The write is not repeated."
)
