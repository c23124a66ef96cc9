"""`kartra-mcp team check`: walk a team file, its database, its login and its accounts."""

from __future__ import annotations

from argparse import Namespace
from urllib.parse import urlsplit

import anyio

from kartra_mcp.cli.team_context import TeamContext
from kartra_mcp.core.display import print_json
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.exit_codes import EXIT_FAILED, EXIT_OK
from kartra_mcp.core.terminal import print_line
from kartra_mcp.onboarding.doctor.command import Report
from kartra_mcp.onboarding.doctor.findings import as_dict, failed, is_healthy, passed
from kartra_mcp.team.addresses import LOOPBACK_HOSTS
from kartra_mcp.team.loading import Team
from kartra_mcp.team.timestamp_client import not_installed_error


def check(given: Namespace, place: TeamContext) -> int:
    """Return 0 if a service could start and write, else 1. Nothing is changed.

    With `--notify` a test notice is sent.
    """
    report = Report(given.json)
    report.tell(
        passed("team file", f"{place.team.file} has no fault, and its secrets can be used.")
    )
    _check_database(place.team, place.accounts, report)
    anyio.run(_check_others, place, report)
    if given.notify:
        anyio.run(_check_webhook, place.team, report)
    healthy = is_healthy(report.found)
    if given.json:
        print_json({"healthy": healthy, "findings": [as_dict(one) for one in report.found]})
    else:
        wrong = sum(finding.state == "failed" for finding in report.found)
        print_line(f"\n{wrong} failed. Fix the first one first." if wrong else "\nHealthy.", "bold")
    return EXIT_OK if healthy else EXIT_FAILED


def _check_database(team: Team, accounts: tuple[str, ...], report: Report) -> None:
    try:
        from kartra_mcp.ledger.postgres.deployment import inspect_database
        from kartra_mcp.onboarding.team.database_checks import DATABASE, judge_database
        from kartra_mcp.onboarding.team.notice_checks import judge_notices
    except ImportError as problem:
        raise not_installed_error() from problem
    address = team.read_database().reveal()
    try:
        state = inspect_database(address, accounts)
    except KartraMCPError as problem:
        report.tell(failed(DATABASE, problem.message, problem.remedy))
        return
    host = urlsplit(address).hostname or "localhost"
    report.add_all(judge_database(state, is_remote=host not in LOOPBACK_HOSTS))
    if team.config.notify is not None:
        report.tell(judge_notices(state.notice))


async def _check_others(place: TeamContext, report: Report) -> None:
    from kartra_mcp.onboarding.team.account_checks import check_accounts
    from kartra_mcp.onboarding.team.issuer_checks import check_issuers

    async for finding in check_issuers(place.team.config):
        report.tell(finding)
    async for finding in check_accounts(place.team, place.accounts):
        report.tell(finding)


async def _check_webhook(team: Team, report: Report) -> None:
    from kartra_mcp.onboarding.team.notice_checks import send_test

    report.tell(await send_test(team))
