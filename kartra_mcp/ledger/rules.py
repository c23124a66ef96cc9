"""Whether an intent may run, given what is in the ledger: identity, repeats, caps. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Risk
from kartra_mcp.kartra.values import fold_id, normalize_amount
from kartra_mcp.ledger.records import CANCEL, REFUND, Intent, PriorIntent, format_utc
from kartra_mcp.policy.limits import Limits

DAY, HOUR = 86_400.0, 3_600.0
BY_A_PERSON = frozenset({"elicitation", "approval"})
MONEY_WORDS = ("refund", "charge", "payout")


class AlreadyDoneError(RefusedError):
    """It was done before; `first` tells of the call that did it."""

    def __init__(self, message: str, remedy: str, first: PriorIntent) -> None:
        super().__init__("already_done", message, remedy, first=prior_summary(first))


def prior_summary(past: PriorIntent) -> dict[str, Any]:
    """The call that did it, as an answer tells of it."""
    moved = _amount_moved(past)
    amount = None if moved is None else f"{moved:.2f}"
    return {"intent": past.id, "at": format_utc(past.at), "amount": amount}


def normalize_intent(intent: Intent) -> Intent:
    """The intent in the one spelling that identity, index and ledger share."""
    return replace(
        intent,
        target=fold_id(intent.target),
        amount=normalize_amount(intent.amount),
        remainder=normalize_amount(intent.remainder),
        known_amount=normalize_amount(intent.known_amount),
    )


def make_identity_key(intent: Intent) -> str:
    """What a person declines: this operation on this target, whatever the amount."""
    target = fold_id(intent.target) or f"arguments {intent.arguments_digest}"
    return f"{intent.connection} {intent.operation} {intent.target_kind} {target}"


def no_target_refusal(intent: Intent) -> RefusedError | None:
    if intent.risk is not Risk.IRREVERSIBLE or intent.target is not None:
        return None
    return RefusedError(
        "invalid_arguments",
        "What this would act on was not found in its arguments. Nothing was done.",
        "Name the id of the transaction or subscription, under the name that the tool describes.",
    )


def duplicate_refusal(
    intent: Intent, past: Sequence[PriorIntent], now: float, window_days: int
) -> RefusedError | None:
    """Why this must not run after what was done to the same target; None if it may.

    Args:
        intent: normalised.
        past: every earlier intent on its connection and target, oldest first.
        now: seconds since the epoch.
        window_days: how long an equal partial refund counts as a repeat.
    """
    if intent.risk is not Risk.IRREVERSIBLE:
        return None
    same = [row for row in past if row.operation == intent.operation]
    unsettled = _unsettled_refusal(same)
    if unsettled is not None:
        return unsettled
    done = [row for row in same if row.state == "succeeded"]
    if intent.operation == CANCEL and done:
        return AlreadyDoneError(
            "This was already cancelled through this server. Nothing was done.",
            "Nothing is left to do. Look at the subscription to see how it stands.",
            done[0],
        )
    if intent.operation == REFUND:
        return _fully_refunded_refusal(done) or _equal_refund_refusal(
            intent, done, now - window_days * DAY
        )
    return None


def cap_refusal(
    intent: Intent, limits: Limits, day: Sequence[PriorIntent], now: float
) -> RefusedError | None:
    """Which cap forbids this irreversible intent; None if none does.

    `day` is what counts: running, succeeded and unknown of the last 24 hours, oldest first.
    """
    if intent.risk is not Risk.IRREVERSIBLE:
        return None
    if _moves_money(intent.operation, intent.known_amount):
        amount = intent.known_amount
        found = _single_cap_refusal(amount, limits.cap_refund)
        found = found or _day_cap_refusal(amount, limits.cap_day_amount, day, now)
        if found is not None:
            return found
    return _count_cap_refusal(limits.cap_day_count, day, now)


def email_cap_refusal(intent: Intent, limits: Limits, sent: int) -> RefusedError | None:
    """Above the hourly number only what a person agreed to may start mail."""
    if not intent.mail or intent.consent in BY_A_PERSON:
        return None
    if sent + intent.mail <= limits.mail_per_hour:
        return None
    return RefusedError(
        "cap_reached",
        f"{sent} writes of the last hour could start mail; KARTRA_MCP_MAIL_PER_HOUR is "
        f"{limits.mail_per_hour}. Nothing was done.",
        "Wait, or repeat the call, so that a person is asked.",
        detail={"cap": "KARTRA_MCP_MAIL_PER_HOUR", "limit": limits.mail_per_hour, "left": 0},
    )


def _unsettled_refusal(same: Sequence[PriorIntent]) -> RefusedError | None:
    for row in same:
        if row.state == "running":
            return RefusedError(
                "in_progress",
                f"The same is running in another call ({row.id}). Nothing was done by this one.",
                "Wait for that call to end; kartra_ledger shows how it went.",
                detail={"intent": row.id},
            )
    for row in same:
        if row.state == "unknown":
            return RefusedError(
                "outcome_unknown",
                f"An earlier call ({row.id}) may have done this; its outcome is unknown. "
                "Nothing was done by this one.",
                "Settle it with kartra_reconcile and that intent; never by repeating the call.",
                detail={"intent": row.id},
            )
    return None


def _fully_refunded_refusal(done: Sequence[PriorIntent]) -> RefusedError | None:
    for row in done:
        if row.amount is None or (row.remainder is not None and row.amount >= row.remainder):
            return AlreadyDoneError(
                "This transaction was already refunded in full. Nothing was done.",
                "Nothing is left to refund. Look at the transaction to see how it stands.",
                row,
            )
    return None


def _equal_refund_refusal(
    intent: Intent, done: Sequence[PriorIntent], since: float
) -> RefusedError | None:
    wanted = intent.remainder if intent.amount is None else intent.amount
    equal = [row for row in done if row.at >= since and _may_be_equal(wanted, _amount_moved(row))]
    if not equal or (intent.repeat and intent.fresh):
        return None
    message = "An equal refund of this transaction was already paid. Nothing was done."
    if intent.repeat:
        remedy = (
            "repeat: true counts only with a fresh preview: call without confirmation_id for "
            "one, show it to the person, then confirm that."
        )
    else:
        remedy = "If a second refund is meant, ask the person, and preview it with repeat: true."
    return AlreadyDoneError(message, remedy, equal[0])


def _amount_moved(row: PriorIntent) -> Decimal | None:
    """The amount of a refund; None where neither said nor read, which equals every amount."""
    return row.remainder if row.amount is None else row.amount


def _may_be_equal(one: Decimal | None, other: Decimal | None) -> bool:
    return one is None or other is None or one == other


def _moves_money(operation: str, known: Decimal | None) -> bool:
    return known is not None or any(word in operation.lower() for word in MONEY_WORDS)


def _single_cap_refusal(amount: Decimal | None, cap: Decimal | None) -> RefusedError | None:
    if cap is None or (amount is not None and amount <= cap):
        return None
    return _cap_error("KARTRA_MCP_CAP_REFUND", cap, cap, None, unread=amount is None)


def _day_cap_refusal(
    amount: Decimal | None, cap: Decimal | None, day: Sequence[PriorIntent], now: float
) -> RefusedError | None:
    if cap is None:
        return None
    name = "KARTRA_MCP_CAP_DAY_AMOUNT"
    spent = [
        row for row in day if row.at > now - DAY and _moves_money(row.operation, row.known_amount)
    ]
    left = _remaining_cap(cap, spent)
    if amount is None or amount > cap:
        return _cap_error(name, cap, left, None, unread=amount is None)
    return (
        None
        if amount <= left
        else _cap_error(name, cap, left, _time_until_room(cap - amount, spent))
    )


def _remaining_cap(cap: Decimal, spent: Sequence[PriorIntent]) -> Decimal:
    """What the cap still allows; an amount that was not read leaves nothing."""
    known = [row.known_amount for row in spent if row.known_amount is not None]
    return max(cap - sum(known, Decimal(0)), Decimal(0)) if len(known) == len(spent) else Decimal(0)


def _time_until_room(room: Decimal, spent: Sequence[PriorIntent]) -> float | None:
    """When so much has become a day old, oldest first, that what is left of it fits the room."""
    total = Decimal(0)
    for row in reversed(spent):
        if row.known_amount is None or total + row.known_amount > room:
            return row.at + DAY
        total += row.known_amount
    return None


def _count_cap_refusal(
    cap: int | None, day: Sequence[PriorIntent], now: float
) -> RefusedError | None:
    ats = [row.at for row in day if row.at > now - DAY]
    if cap is None or len(ats) < cap:
        return None
    frees = ats[len(ats) - cap] + DAY if cap > 0 else None
    return _cap_error("KARTRA_MCP_CAP_DAY_COUNT", Decimal(cap), Decimal(0), frees)


def _cap_error(
    name: str, cap: Decimal, left: Decimal, frees: float | None, *, unread: bool = False
) -> RefusedError:
    why = "The amount could not be read, which counts as over the cap." if unread else ""
    when = f"room again at {format_utc(frees)}" if frees is not None else "waiting does not help"
    text = f"{name} is {cap:f}; {left:f} is left, and {when}."
    return RefusedError(
        "cap_reached",
        f"{why} {text} Nothing was done.".strip(),
        "This is a limit of this server, not of Kartra's. Ask the person who set it.",
        detail={
            "cap": name,
            "limit": f"{cap:f}",
            "left": f"{left:f}",
            "frees_at": None if frees is None else format_utc(frees),
        },
    )
