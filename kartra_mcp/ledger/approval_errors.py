"""Refusals of decisions on approvals, and of calls that rest on one. Pure."""

from __future__ import annotations

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.sanitize import safe_excerpt
from kartra_mcp.kartra.values import is_typed
from kartra_mcp.ledger.approval_records import Approval
from kartra_mcp.ledger.bulk_records import is_bulk_id
from kartra_mcp.ledger.people import ApproverLogin, TeamDecision
from kartra_mcp.policy.roles import Right, page_rights

CLOCK_SKEW = 60.0
"""Seconds that the clock of the issuer may be ahead of the ledger's."""


def decision_refusal(state: str | None, number: int) -> RefusedError | None:
    """Return the reason why a number in this state cannot be decided, or None."""
    if state == "pending":
        return None
    if state is None:
        return RefusedError(
            "invalid_arguments",
            f"Number {number} does not exist. Nothing was decided.",
            "Run `kartra-mcp approve` to list the pending numbers.",
        )
    code = "confirmation_expired" if state in {"expired", "superseded"} else "confirmation_used"
    return RefusedError(
        code,
        f"Number {number} is not pending: it is {state}. Nothing was decided.",
        "Repeat the call to request a new approval.",
    )


def stale_view_error(number: int) -> RefusedError:
    return RefusedError(
        "facts_changed",
        f"Number {number} differs from the request that was shown. Nothing was decided.",
        "Review its current facts, then decide.",
    )


def withdrawal_refusal(
    asked: Approval | None, number: int, *, pending: bool = False
) -> RefusedError | None:
    """Return the reason why there is nothing to withdraw, or None if there is.

    `pending`: a request without a decision can be withdrawn too.
    """
    if asked is not None and asked.used_by is not None:
        return RefusedError(
            "confirmation_used",
            f"Number {number} cannot be revoked: its call has already run.",
            f"See its outcome: {_show_command(asked.used_by)}.",
        )
    if asked is not None and (asked.state == "approved" or (pending and asked.state == "pending")):
        return None
    known = "it does not exist" if asked is None else f"it is {asked.state}"
    return RefusedError(
        "invalid_arguments",
        f"Number {number} is not an approval that can still be used: {known}.",
        "There is nothing to revoke.",
    )


def _show_command(used_by: str) -> str:
    """Return the command that shows the write, or the bulk run, that used an approval."""
    if is_bulk_id(used_by):
        return f"`kartra-mcp bulk show {used_by}`"
    return f"`kartra-mcp ledger show {used_by}`"


def approval_required_error(what: str, *, team: bool = False) -> RefusedError:
    who = (
        "An approver then decides on the page."
        if team
        else ("The user then runs `kartra-mcp approve NUMBER`.")
    )
    return RefusedError(
        "approval_required", f"{what}. Nothing was done.", f"Repeat the call for a number. {who}"
    )


def too_many_requests_error(most: int) -> RefusedError:
    return RefusedError(
        "cap_reached",
        f"{most} requests of yours wait for an approval. Nothing was asked for, and nothing done.",
        "Wait until some are decided, or withdraw those on the page that are not wanted any more.",
        detail={"cap": "requests that wait", "limit": str(most), "left": "0"},
    )


def need_login_error(number: int) -> RefusedError:
    """Return the refusal of a decision with the PIN on a request of a team."""
    return RefusedError(
        "not_allowed",
        f"Number {number} was requested in a team. Nothing was decided.",
        "Decide it on the page of the team, after a login. A PIN does not count there.",
    )


def team_decision_refusal(
    asked: Approval, login: ApproverLogin, decision: TeamDecision, now: float
) -> RefusedError | None:
    """Return the reason why this login may not decide a pending request so, or None.

    The order is from who may decide at all to what was typed: somebody without the right does not
    learn whether an amount is correct.
    """
    return (
        _approver_refusal(asked, login, now)
        or (None if decision.seen == asked.fingerprint else stale_view_error(asked.number))
        or _input_refusal(asked, decision)
    )


def team_withdrawal_refusal(asked: Approval, login: ApproverLogin) -> RefusedError | None:
    """Return the reason why this login may not withdraw a request, or None."""
    if asked.team is None:
        return _not_in_team_error(asked.number)
    is_own = login.principal.is_user and login.principal.key == asked.team.requester.key
    if not is_own and Right.APPROVE not in page_rights(login.principal):
        return RefusedError(
            "forbidden_role",
            f"Only its requester or an approver can withdraw number {asked.number}. "
            "Nothing was changed.",
            "Ask one of them.",
        )
    return None


def _approver_refusal(asked: Approval, login: ApproverLogin, now: float) -> RefusedError | None:
    if asked.team is None:
        return _not_in_team_error(asked.number)
    if Right.APPROVE not in page_rights(login.principal):
        return RefusedError(
            "forbidden_role",
            f"Your roles do not permit a decision on number {asked.number}. Nothing was decided.",
            "Ask a person with the role approver.",
        )
    if login.principal.key == asked.team.requester.key:
        return RefusedError(
            "forbidden_role",
            f"You requested number {asked.number} yourself. Nothing was decided.",
            "Another person has to decide it. You can withdraw it.",
        )
    if login.principal.key in asked.team.voters:
        left = max(asked.team.needed - len(asked.team.voters), 0)
        return RefusedError(
            "confirmation_used",
            f"You approved number {asked.number} before; each person counts once.",
            f"It still needs {left} more of other people.",
        )
    age = now - login.auth_time
    is_old = login.max_age is not None and age > login.max_age + CLOCK_SKEW
    if is_old or age < -CLOCK_SKEW:
        return RefusedError(
            "not_allowed",
            "Your login is too old for a decision. Nothing was decided.",
            "Log in again, then decide.",
        )
    return None


def _input_refusal(asked: Approval, decision: TeamDecision) -> RefusedError | None:
    if not decision.approve:
        if safe_excerpt(decision.reason):
            return None
        return RefusedError(
            "invalid_arguments",
            "A decline needs a reason for the ledger. Nothing was decided.",
            "Enter a reason, and decline again.",
        )
    if asked.typed and is_typed(decision.typed, asked.typed):
        return None
    return RefusedError(
        "invalid_arguments",
        f"The amount or id that you typed is not that of number {asked.number}. "
        "Nothing was decided.",
        "Compare it with the facts, and type it exactly.",
    )


def _not_in_team_error(number: int) -> RefusedError:
    return RefusedError(
        "not_allowed",
        f"Number {number} was not requested in a team. Nothing was decided.",
        "Run `kartra-mcp approve` on the machine that requested it.",
    )
