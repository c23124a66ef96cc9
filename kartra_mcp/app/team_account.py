"""Settings and parts of one account of a team file."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from kartra_mcp.app.composition import build_app
from kartra_mcp.core.surroundings import surroundings
from kartra_mcp.core.timings import CallTimings, WriteTimings
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.lost_intents import LostIntents
from kartra_mcp.ledger.store import LedgerStore
from kartra_mcp.membrane import credentials
from kartra_mcp.options import ACCOUNT_SETTINGS
from kartra_mcp.settings import Settings, read_settings
from kartra_mcp.team.account_tools import AccountTools, started
from kartra_mcp.team.config import TeamAccount, WriteTimes
from kartra_mcp.team.loading import Team

FOLDER = "accounts"
"""Folder of the state folder in which each account keeps its list of actions."""


def make_account_settings(
    team: Team,
    account: TeamAccount,
    state_dir: Path,
    actor: str,
    given: Mapping[str, str] | None = None,
) -> Settings:
    """Return the settings of an account, as a single user's would be: one reader for both.

    Args:
        team: the loaded team file.
        account: one of its accounts.
        state_dir: state folder of this machine.
        actor: who acts, as the ledger records it.
        given: settings for every account, by name; only those of `ACCOUNT_SETTINGS` are used.

    Raises:
        RefusedError: a file of a secret cannot be used.
    """
    shared = {name: text for name, text in (given or {}).items() if name in ACCOUNT_SETTINGS}
    flags = {
        **shared,
        "TRANSPORT": "api",
        "CONNECTION": account.membrane.connection,
        "STATE_DIR": str((state_dir / FOLDER / account.name).absolute()),
        "ACTOR": actor,
        "PAGE": "off",
        "APPROVAL": "outside",
    }
    if account.policy:
        flags["POLICY"] = str(team.locate(account.policy))
    kept = {name: surroundings().environment.get(name, "") for name in ("HOME", "PATH")}
    found = read_settings(flags, {**kept, **_make_variables(team, account)})
    return replace(found, team_title=account.title)


def _make_variables(team: Team, account: TeamAccount) -> dict[str, str]:
    access = account.membrane
    found = {credentials.ADDRESSES[0]: access.api}
    if not access.mints_tokens:
        token = team.read_secret(access.access_token_file).reveal()
        return {**found, credentials.TOKENS[0]: token}
    return {
        **found,
        credentials.WORKSPACE: access.workspace_key,
        credentials.SECRET: team.read_secret(access.workspace_secret_file).reveal(),
        credentials.TENANTS[0]: access.tenant_key,
    }


def make_write_timings(times: WriteTimes) -> WriteTimings:
    """Return the times of a write as a team file has them."""
    return WriteTimings(
        send_seconds=times.send_seconds,
        settle_seconds=times.settle_seconds,
        skew_seconds=times.skew_seconds,
    )


@asynccontextmanager
async def open_account_tools(
    settings: Settings, account: TeamAccount, store: LedgerStore, times: WriteTimes
) -> AsyncGenerator[AccountTools]:
    """Open what the jobs of an account use, on its ledger."""
    ledger = Ledger(store)
    timings = CallTimings(writes=make_write_timings(times))
    app = build_app(settings, open_ledger=lambda: ledger, timings=timings)
    try:
        gateway, rules = app.tools.gateway, app.tools.rules
        tools = AccountTools(account.name, ledger, LostIntents(store), gateway, rules)
        async with started(tools):
            yield tools
    finally:
        await app.close()
