"""Checks of the notices of requests for approval: the newest one, and a test."""

from __future__ import annotations

from kartra_mcp.ledger.postgres.deployment import NoticeState
from kartra_mcp.ledger.postgres.notice_log import SENT
from kartra_mcp.ledger.records import format_utc
from kartra_mcp.onboarding.doctor.findings import CheckResult, failed, passed, warning
from kartra_mcp.team.loading import Team
from kartra_mcp.team.notice import make_test_notice
from kartra_mcp.team.webhook import NoticeFailed, Webhook

NOTICES, TEST = "notices", "test notice"
_FIX = (
    "Check the address of notify in the team file, then run `kartra-mcp team check --notify`. "
    "Requests wait on the page, with a notice or without."
)


def judge_notices(newest: NoticeState | None) -> CheckResult:
    """Return the finding about the newest notice that a replica sent."""
    if newest is None:
        return passed(NOTICES, "No notice was sent yet. A test: `kartra-mcp team check --notify`.")
    which = f"request {newest.number} of {newest.account}, {format_utc(newest.at)}"
    if newest.outcome == SENT:
        return passed(NOTICES, f"The newest notice was accepted ({which}).")
    why = newest.outcome or "no outcome was recorded"
    return warning(NOTICES, f"The newest notice was not delivered ({which}): {why}.", _FIX)


async def send_test(team: Team) -> CheckResult:
    """Send a test notice, and return the finding."""
    webhook = Webhook.of(team)
    if webhook is None:
        return failed(TEST, "The team file names no webhook.", "Add notify: (docs/team/file.md).")
    try:
        await webhook.send(make_test_notice(f"{team.config.public_url}/page"))
    except NoticeFailed as problem:
        return failed(TEST, f"It was not delivered: {problem.reason}.", _FIX)
    return passed(TEST, "It was accepted. Look whether it arrived where people see it.")
