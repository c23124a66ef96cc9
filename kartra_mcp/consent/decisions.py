"""The user's decision on a pending approval: approved, declined or revoked, with the PIN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kartra_mcp.core.display import display_value, format_local_time, get_os_user
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.ledger.approval_errors import stale_view_error
from kartra_mcp.ledger.approval_records import Approval
from kartra_mcp.ledger.approvals import Approvals
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.people import clean_line
from kartra_mcp.ledger.pin import LOCK_SECONDS, Pins


@dataclass(frozen=True, slots=True)
class ApprovalDecision:
    """A decision as the user gave it: approve or decline, and the reason for the ledger."""

    approve: bool
    reason: str = ""

    @property
    def lacks_reason(self) -> bool:
        return not self.approve and not clean_line(self.reason)


def decide(
    ledger: Ledger,
    number: int,
    *,
    seen: str,
    ask_pin: Callable[[], str],
    decision: ApprovalDecision | Callable[[], ApprovalDecision],
) -> Approval:
    """Decide an approval as this user.

    A decision given as a value is validated before `ask_pin` is called, so that only a wrong PIN
    costs an attempt. A callable decision is called after the PIN. `seen` is `Approval.fingerprint`
    of the displayed request: only that is decided.

    Raises:
        RefusedError: it is not pending, or differs from `seen`; a decline has no reason; the PIN
            is wrong or locked.
    """
    if require_pending(ledger.approvals, number).fingerprint != seen:
        raise stale_view_error(number)
    if not callable(decision):
        _require_reason(decision)
    require_pin(ledger.pins, ask_pin())
    made = _require_reason(decision() if callable(decision) else decision)
    return ledger.approvals.decide(
        number,
        approve=made.approve,
        reason=clean_line(made.reason),
        who=get_os_user(),
        seen=seen,
    )


def withdraw(ledger: Ledger, number: int, pin: str) -> Approval:
    """Revoke an approval that was not used yet, as this user. The PIN is checked last.

    Raises:
        RefusedError: nothing can be revoked, or the PIN is wrong or locked.
    """
    require_unused(ledger.approvals, number)
    require_pin(ledger.pins, pin)
    return ledger.approvals.withdraw(number, get_os_user())


def require_pin_set(pins: Pins, flags: str) -> None:
    """Refuse if no PIN is set; `flags` name the ledger in the command that sets one."""
    if not pins.is_set():
        raise RefusedError(
            "approval_required",
            "No PIN is set, so approvals are not possible yet.",
            f"Set one first, in a terminal: kartra-mcp approve --set-pin{flags}",
        )


def require_pin(pins: Pins, pin: str) -> None:
    """Check the PIN. Every attempt is in the ledger before its result is known.

    Raises:
        RefusedError: no PIN is set, it is wrong, or locked.
    """
    if not pins.check(pin, get_os_user()):
        raise _wrong_pin_error(pins.attempts_left())


def require_pending(approvals: Approvals, number: int, where: str = "") -> Approval:
    """Return the approval if it is pending; else refuse with the reason."""
    asked = approvals.get(number)
    if asked is None:
        raise RefusedError(
            "invalid_arguments",
            f"Number {number} does not exist{where}. Nothing was decided.",
            "Run `kartra-mcp approve` to list the pending numbers.",
        )
    if asked.state == "pending":
        return asked
    code = "confirmation_expired" if asked.decided_at is None else "confirmation_used"
    raise RefusedError(
        code,
        f"Number {number} is not pending: {_describe_end(asked)}.",
        "If it is still wanted, let the assistant repeat the call: it requests a new approval.",
    )


def require_unused(approvals: Approvals, number: int) -> Approval:
    """Return the approval if a call could still use it; else refuse with the reason."""
    asked = approvals.get(number)
    if asked is not None and asked.state == "approved" and asked.used_by is None:
        return asked
    if asked is None:
        why = "the number does not exist"
    else:
        why = "it is still pending" if asked.state == "pending" else _describe_end(asked)
    raise RefusedError(
        "invalid_arguments" if asked is None or asked.state == "pending" else "confirmation_used",
        f"Number {number} cannot be revoked: {why}.",
        "Nothing was changed. Decline a request that is still pending; History lists past writes.",
    )


def outcome_text(decided: Approval, until: str) -> str:
    """Describe the effect of a decision from now on; `until` is its end, as displayed."""
    if decided.state == "approved":
        return (
            "Approved. Nothing has been done yet: tell your assistant to continue. The same call "
            f"then runs once, until {until}."
        )
    if decided.state == "pending":
        return "Your approval was recorded. More approvals of other people are needed."
    if decided.state == "withdrawn":
        return "Revoked. Nothing runs on it; an equal call requests a new approval."
    return "Declined. Nothing was done, and nothing runs on it."


class ReasonRequiredError(RefusedError):
    """A decline needs a reason."""


def reason_required_error() -> ReasonRequiredError:
    return ReasonRequiredError(
        "invalid_arguments",
        "A decline needs a reason for the ledger. Nothing was decided.",
        "Enter a reason, and decline again.",
    )


def _require_reason(decision: ApprovalDecision) -> ApprovalDecision:
    if decision.lacks_reason:
        raise reason_required_error()
    return decision


def _describe_end(asked: Approval) -> str:
    if asked.state == "superseded":
        return "the account changed and a newer number replaced it, or its bulk run was cancelled"
    if asked.state == "expired":
        return f"it expired on {format_local_time(asked.expires_at)}"
    decided = (
        f"{asked.state} by {display_value(asked.who)} on {format_local_time(asked.decided_at)}"
    )
    why = f" ({display_value(asked.reason)})" if asked.reason else ""
    used = f", and used by {asked.used_by}" if asked.used_by else ""
    return f"{decided}{why}{used}"


def _wrong_pin_error(left: int) -> RefusedError:
    if left:
        attempts = "1 attempt is" if left == 1 else f"{left} attempts are"
        what = f"{attempts} left before it is locked for {LOCK_SECONDS / 60:.0f} minutes"
    else:
        what = f"It is locked for {LOCK_SECONDS / 60:.0f} minutes now"
    return RefusedError(
        "not_allowed",
        f"The PIN is wrong. {what}.",
        "Nothing was decided. The ledger records every attempt.",
    )
