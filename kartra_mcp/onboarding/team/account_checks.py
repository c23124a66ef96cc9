"""Checks of the Kartra accounts of a team through Membrane, by reads alone."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

import anyio

from kartra_mcp.account.account import Account
from kartra_mcp.app.composition import build_app
from kartra_mcp.app.team_account import make_account_settings, make_write_timings
from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.timings import CallTimings
from kartra_mcp.membrane.http_client import HttpClient
from kartra_mcp.onboarding.doctor import api_measurements as measurements
from kartra_mcp.onboarding.doctor.findings import CheckResult, failed, passed
from kartra_mcp.team.config import TeamAccount
from kartra_mcp.team.loading import Team

LOOK_SECONDS = 30.0
ACTOR = "team check"


async def check_accounts(team: Team, names: tuple[str, ...]) -> AsyncIterator[CheckResult]:
    """Yield the findings about each account: its connection and actions, clock and tokens."""
    with tempfile.TemporaryDirectory(prefix="kartra-mcp-team-check-") as folder:
        for name in names:
            async for finding in _check_account(team, team.config.accounts[name], Path(folder)):
                yield replace(finding, step=f"{finding.step} {name}")


async def _check_account(
    team: Team, account: TeamAccount, folder: Path
) -> AsyncIterator[CheckResult]:
    settings = make_account_settings(team, account, folder, ACTOR)
    timings = CallTimings(writes=make_write_timings(team.config.writes))
    app = build_app(settings, open_ledger=_no_ledger, timings=timings)
    try:
        async with _refreshing(app.tools.account):
            found = await _find_connection(app.tools.account)
        yield found
        client = app.membrane
        if found.state == "ok" and isinstance(client, HttpClient):
            yield measurements.check_api_clock(client)
            yield await measurements.check_token_end(client, partial(Deadline.after, LOOK_SECONDS))
    finally:
        await app.close()


async def _find_connection(account: Account) -> CheckResult:
    """Read the connection and its actions from Membrane."""
    deadline = Deadline.after(LOOK_SECONDS)
    try:
        served = await account.refresh_now(deadline)
        connection = await account.connection_for_read(deadline)
    except KartraMCPError as problem:
        return failed("account", problem.message, problem.remedy)
    count = sum(entry.is_action for entry in served.catalogue.entries.values())
    return passed("account", f"The connection {connection.name!r} is ready, with {count} actions.")


@asynccontextmanager
async def _refreshing(account: Account) -> AsyncGenerator[None]:
    """Run the background refreshes of an account."""
    async with anyio.create_task_group() as tasks:
        account.start(tasks)
        yield
        tasks.cancel_scope.cancel()


def _no_ledger() -> NoReturn:
    raise AssertionError("a check writes nothing")
