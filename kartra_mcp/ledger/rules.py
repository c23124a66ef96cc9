"""Rules that admit an intent given the ledger's history: identity, repeats, caps. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Risk
from kartra_mcp.kartra.action_words import moves_money
from kartra_mcp.kartra.commands import COMMANDS
from kartra_mcp.kartra.values import fold_id, format_amount, normalize_amount
from kartra_mcp.ledger.records import CANCEL, REFUND, CapsLeft, Intent, PriorIntent, format_utc
from kartra_mcp.policy.limits import LIMITS, GroupCaps, Limits

DAY, HOUR = 86_400.0, 3_600.0
BY_A_PERSON = frozenset({"elicitation", "approval"})

JUST_NOW = 60.0
"""Seconds during which an equal additive write counts as the same one, sent again."""
_FRESH_REPEAT = (
    "repeat: true needs a fresh preview: call without confirmation_id for one, show it to "
    "the user, then confirm it."
)
_ADDITIVE_REPEAT = "If a second one is intended, ask the user, and preview it with repeat: true."
_UNSETTLED_REPEAT = (
    "If that cannot settle it, let the user check Kartra; then preview the call with repeat: true."
)


class AlreadyDoneError(RefusedError):
    """An equal call succeeded before; `first` describes that call."""

    def __init__(self, message: str, remedy: str, first: PriorIntent) -> None:
        super().__init__("already_done", message, remedy, first=prior_summary(first))


def prior_summary(past: PriorIntent) -> dict[str, Any]:
    """Return `{"intent", "at", "amount"}` of an earlier call, for an answer."""
    amount = format_amount(_amount_moved(past))
    return {"intent": past.id, "at": format_utc(past.at), "amount": amount}


def normalize_intent(intent: Intent) -> Intent:
    """Return the intent in the one spelling that identity, index and ledger share."""
    return replace(
        intent,
        target=fold_id(intent.target),
        amount=normalize_amount(intent.amount),
        remainder=normalize_amount(intent.remainder),
        known_amount=normalize_amount(intent.known_amount),
        parts=tuple(
            replace(
                part,
                target=fold_id(part.target),
                known_amount=normalize_amount(part.known_amount),
            )
            for part in intent.parts
        ),
    )


def split_intent(intent: Intent) -> list[Intent]:
    """Return each command of a chain as an intent of its own, for the rules; else the intent."""
    return [
        replace(
            intent,
            operation=part.operation,
            risk=part.risk,
            target_kind=part.target_kind,
            target=part.target,
            known_amount=part.known_amount,
            equality=part.equality,
            moves_money=part.moves_money,
            additive=part.additive,
            parts=(),
        )
        for part in intent.parts
    ] or [intent]


def make_identity_keys(intent: Intent) -> list[str]:
    """Return the keys that a decline blocks: one for each command of a chain."""
    return list(dict.fromkeys(make_identity_key(part) for part in split_intent(intent)))


def make_identity_key(intent: Intent, name: str | None = None) -> str:
    """Return the key that a decline blocks: this operation on this target, whatever the amount.

    `name` is another name of the target.
    """
    target = fold_id(name or intent.target) or f"arguments {intent.arguments_digest}"
    return f"{intent.connection} {intent.operation} {intent.target_kind} {target}"


def no_target_refusal(intent: Intent) -> RefusedError | None:
    """Return the refusal of an irreversible intent without a target, or None.

    Without a target there is no identity, and so no protection against a repetition.
    """
    known = any(name in COMMANDS for name in intent.operation.split("+"))
    if intent.risk is not Risk.IRREVERSIBLE or intent.target is not None or not known:
        return None
    return RefusedError(
        "invalid_arguments",
        "The arguments name no target for this operation. Nothing was done.",
        "Give the id of the transaction or subscription, in the argument that the tool describes.",
    )


def duplicate_refusal(
    intent: Intent, past: Sequence[PriorIntent], now: float, window_days: int
) -> RefusedError | None:
    """Return the reason why the intent must not run after earlier ones on its target, or None.

    Args:
        intent: normalized.
        past: every earlier intent on its connection and target, oldest first.
        now: seconds since the epoch.
        window_days: days during which an equal partial refund counts as a repeat.
    """
    if intent.risk is not Risk.IRREVERSIBLE:
        return None
    same = [row for row in past if row.operation == intent.operation]
    unsettled = _unsettled_refusal(same, agreed=_is_repeat_agreed(intent))
    if unsettled is not None:
        return unsettled
    done = [row for row in same if row.state == "succeeded"]
    if intent.operation == CANCEL and done:
        return AlreadyDoneError(
            "This was already cancelled through this server. Nothing was done.",
            "No further action is needed. Read the subscription to see its status.",
            done[0],
        )
    if intent.operation == REFUND:
        return _fully_refunded_refusal(done) or _equal_refund_refusal(
            intent, done, now - window_days * DAY
        )
    return None


def completing_call(operation: str, past: Sequence[PriorIntent]) -> PriorIntent | None:
    """Return the success that left nothing to do; None if none of these did.

    Args:
        operation: the ledger's name of it.
        past: every earlier intent on the target, oldest first.
    """
    if operation not in (REFUND, CANCEL, "revoke_membership_access"):
        return None
    done = [row for row in past if row.operation == operation and row.state == "succeeded"]
    if operation == REFUND:
        done = [row for row in done if _refunds_all(row)]
    return done[-1] if done else None


def equal_call_refusal(
    intent: Intent, equal: Sequence[PriorIntent], now: float, planned_at: float | None = None
) -> RefusedError | None:
    """Return the reason why a write must not run after equal ones, or None: at most once.

    Args:
        intent: normalized; of any risk.
        equal: every earlier write with its operation, target and fields, oldest first.
        now: seconds since the epoch.
        planned_at: time of the plan of its bulk run, whose preview shows no later writes.
    """
    agreed = _is_repeat_agreed(intent)
    unsettled = _unsettled_refusal(equal, agreed=agreed)
    if unsettled is not None or agreed or not intent.additive:
        return unsettled
    done = [row for row in equal if row.state == "succeeded"]
    since = now - JUST_NOW if planned_at is None else min(now - JUST_NOW, planned_at)
    recent = [row for row in done if (row.ended_at or row.at) > since]
    if not recent:
        return None
    remedy = _FRESH_REPEAT if intent.repeat else _ADDITIVE_REPEAT
    when = f"less than {JUST_NOW:.0f} seconds ago"
    if planned_at is not None:
        when = f"since the bulk run was planned, or {when}"
    message = f"An equal call succeeded {when}. Nothing was done."
    return AlreadyDoneError(message, remedy, recent[0])


def cap_refusal(
    intent: Intent,
    limits: Limits | GroupCaps,
    day: Sequence[PriorIntent],
    now: float,
    where: str = "",
) -> RefusedError | None:
    """Return the refusal of the first cap that this irreversible intent exceeds, or None.

    Each irreversible command of a chain counts, and their sum, which is paid at once. `day` holds
    what counts: running, succeeded and unknown intents of the last 24 hours, oldest first. `where`
    is the table of the policy file that has the caps of a person or role, or "".
    """
    parts = [part for part in split_intent(intent) if part.risk is Risk.IRREVERSIBLE]
    if not parts:
        return None
    amounts = [
        part.known_amount
        for part in parts
        if part.moves_money or _moves_money(part.operation, part.known_amount)
    ]
    single = (_single_cap_refusal(amount, limits.cap_refund, where) for amount in amounts)
    return (
        next(filter(None, single), None)
        or _day_cap_refusal(amounts, limits.cap_day_amount, day, now, where)
        or _count_cap_refusal(limits.cap_day_count, day, now, len(parts), where)
    )


def email_cap_refusal(intent: Intent, limits: Limits, sent: int) -> RefusedError | None:
    """Return the refusal above the hourly limit of mail, unless the user agreed to this call."""
    if not intent.mail or intent.consent in BY_A_PERSON:
        return None
    name, cap = LIMITS["mail_per_hour"].variable, limits.mail_per_hour
    if sent + intent.mail <= cap:
        return None
    return RefusedError(
        "cap_reached",
        f"{sent} writes of the last hour could start mail; {name} is {cap}. Nothing was done.",
        "Wait, or repeat the call so that the user is asked.",
        detail={"cap": name, "limit": cap, "left": max(cap - sent, 0)},
    )


def _is_repeat_agreed(intent: Intent) -> bool:
    """Return whether a fresh preview showed that an equal write is intended.

    Never of a refund or cancellation: its outcome is settled by reading the account.
    """
    settled_by_reading = intent.operation in (REFUND, CANCEL)
    return intent.repeat and intent.fresh and not settled_by_reading


def _unsettled_refusal(same: Sequence[PriorIntent], *, agreed: bool) -> RefusedError | None:
    for row in same:
        if row.state == "running":
            return RefusedError(
                "in_progress",
                f"An equal call ({row.id}) is running. Nothing was done by this one.",
                "Wait for that call to end; kartra_ledger shows its outcome.",
                detail={"intent": row.id},
            )
    for row in () if agreed else same:
        if row.state == "unknown":
            money = row.operation in (REFUND, CANCEL)
            return RefusedError(
                "outcome_unknown",
                f"An earlier call ({row.id}) may have done this; its outcome is unknown. "
                "Nothing was done by this one.",
                "Settle it with kartra_reconcile and that intent"
                + ("; never by repeating the call." if money else f". {_UNSETTLED_REPEAT}"),
                detail={"intent": row.id},
            )
    return None


def _fully_refunded_refusal(done: Sequence[PriorIntent]) -> RefusedError | None:
    for row in done:
        if _refunds_all(row):
            return AlreadyDoneError(
                "This transaction was already refunded in full. Nothing was done.",
                "Nothing is left to refund. Read the transaction to see its status.",
                row,
            )
    return None


def _refunds_all(row: PriorIntent) -> bool:
    """Return whether a refund took all that remained when it was paid."""
    return row.amount is None or (row.remainder is not None and row.amount >= row.remainder)


def _equal_refund_refusal(
    intent: Intent, done: Sequence[PriorIntent], since: float
) -> RefusedError | None:
    wanted = intent.remainder if intent.amount is None else intent.amount
    equal = [row for row in done if row.at >= since and _may_be_equal(wanted, _amount_moved(row))]
    if not equal or (intent.repeat and intent.fresh):
        return None
    message = "An equal refund of this transaction was already paid. Nothing was done."
    if intent.repeat:
        remedy = _FRESH_REPEAT
    else:
        remedy = "If a second refund is intended, ask the user, and preview it with repeat: true."
    return AlreadyDoneError(message, remedy, equal[0])


def _amount_moved(row: PriorIntent) -> Decimal | None:
    """Return the amount of a refund; None is not known, and equals every amount."""
    return row.remainder if row.amount is None else row.amount


def _may_be_equal(one: Decimal | None, other: Decimal | None) -> bool:
    return one is None or other is None or one == other


def _moves_money(operation: str, known: Decimal | None) -> bool:
    return known is not None or moves_money(operation)


def _name_cap(field: str, where: str) -> str:
    """Return the name under which the user finds a cap."""
    info = LIMITS[field]
    return f"{where} {info.file_key}" if where else info.variable


def _single_cap_refusal(
    amount: Decimal | None, cap: Decimal | None, where: str
) -> RefusedError | None:
    if cap is None or (amount is not None and amount <= cap):
        return None
    return _cap_error(_name_cap("cap_refund", where), cap, cap, None, unread=amount is None)


def _day_cap_refusal(
    amounts: Sequence[Decimal | None],
    cap: Decimal | None,
    day: Sequence[PriorIntent],
    now: float,
    where: str,
) -> RefusedError | None:
    if cap is None or not amounts:
        return None
    name = _name_cap("cap_day_amount", where)
    spent = [
        row for row in day if row.at > now - DAY and _moves_money(row.operation, row.known_amount)
    ]
    left = _remaining_cap(cap, spent)
    known = [amount for amount in amounts if amount is not None]
    wanted, unread = sum(known), len(known) < len(amounts)
    if unread or wanted > cap:
        return _cap_error(name, cap, left, None, unread=unread)
    if wanted <= left:
        return None
    return _cap_error(name, cap, left, _time_until_room(cap - wanted, spent))


def _remaining_cap(cap: Decimal, spent: Sequence[PriorIntent]) -> Decimal:
    """Return the rest of the cap; an amount that could not be read leaves nothing."""
    known = [row.known_amount for row in spent if row.known_amount is not None]
    return max(cap - sum(known), Decimal(0)) if len(known) == len(spent) else Decimal(0)


def _time_until_room(room: Decimal, spent: Sequence[PriorIntent]) -> float | None:
    """Return the time when enough old entries have left the day for the rest to fit into `room`."""
    total = Decimal(0)
    for row in reversed(spent):
        if row.known_amount is None or total + row.known_amount > room:
            return row.at + DAY
        total += row.known_amount
    return None


def caps_left(limits: Limits | GroupCaps, day: Sequence[PriorIntent]) -> CapsLeft:
    """Return what is left of the caps; `day` as of `cap_refusal`."""
    spent = [row for row in day if _moves_money(row.operation, row.known_amount)]
    amount, count = limits.cap_day_amount, limits.cap_day_count
    return CapsLeft(
        refund=limits.cap_refund,
        day_amount=None if amount is None else _remaining_cap(amount, spent),
        day_count=None if count is None else max(count - len(day), 0),
    )


def _count_cap_refusal(
    cap: int | None, day: Sequence[PriorIntent], now: float, wanted: int, where: str
) -> RefusedError | None:
    ats = [row.at for row in day if row.at > now - DAY]
    if cap is None or len(ats) + wanted <= cap:
        return None
    frees = ats[len(ats) + wanted - cap - 1] + DAY if wanted <= cap else None
    left = Decimal(max(cap - len(ats), 0))
    return _cap_error(_name_cap("cap_day_count", where), Decimal(cap), left, frees)


def _cap_error(
    name: str, cap: Decimal, left: Decimal, frees: float | None, *, unread: bool = False
) -> RefusedError:
    why = "The amount could not be read, which counts as over the cap." if unread else ""
    when = f"more from {format_utc(frees)} on" if frees is not None else "waiting does not help"
    text = f"{name} is {cap:f}; {left:f} is left, and {when}."
    return RefusedError(
        "cap_reached",
        f"{why} {text} Nothing was done.".strip(),
        "This limit belongs to this server, not to Kartra. Ask the user who set it.",
        detail={
            "cap": name,
            "limit": f"{cap:f}",
            "left": f"{left:f}",
            "frees_at": None if frees is None else format_utc(frees),
        },
    )
