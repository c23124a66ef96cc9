"""Composition root: settings to the objects of one server, in the order of their arrows."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING

from kartra_mcp.account.account import Account
from kartra_mcp.account.connect import ConnectFlow
from kartra_mcp.app.membrane_factory import make_membrane_client, membrane_in_terminal
from kartra_mcp.calls.dispatcher import ToolDispatcher
from kartra_mcp.calls.gateway import Gateway
from kartra_mcp.calls.result_files import ResultFiles
from kartra_mcp.calls.result_store import ResultStorage, ResultStore
from kartra_mcp.calls.running_writes import RunningWrites
from kartra_mcp.catalogue.builtin_tools import BUILTIN_TOOLS
from kartra_mcp.catalogue.exposure import Exposure
from kartra_mcp.catalogue.search import ToolSearch
from kartra_mcp.core.state_dir import StateDir
from kartra_mcp.core.timings import DEFAULT_TIMINGS, CallTimings, Clock, Clocks, read_steady_clock
from kartra_mcp.membrane.client import MembraneClient
from kartra_mcp.policy.gates import Policy
from kartra_mcp.processes import runner
from kartra_mcp.server.mcp_server import MCPServer
from kartra_mcp.server.resource_reader import ResourceReader
from kartra_mcp.settings import RESTRICTIONS, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from kartra_mcp.bulk.service import BulkService
    from kartra_mcp.calls.writes import GuardedWrites
    from kartra_mcp.consent.flow import ConsentFlow
    from kartra_mcp.consent.team_approval import TeamApproval
    from kartra_mcp.ledger.ledger import Ledger
    from kartra_mcp.membrane.limiter import CallPace

    OpenLedger = Callable[[], Ledger]


@dataclass(frozen=True, slots=True)
class App:
    """One server and what must be closed after it."""

    mcp: MCPServer
    membrane: MembraneClient
    state: StateDir
    tools: ToolDispatcher

    async def close(self) -> None:
        """Remove temporary folders and close connections."""
        await self.membrane.close()
        self.state.close()


@dataclass(frozen=True, slots=True)
class TeamSeams:
    """The parts of an account that a team has in its database instead of the state folder.

    Attributes:
        open_ledger: returns the ledger.
        results: stored results of every replica.
        pace: rate limit of every replica; None for this process alone.
        approval: approvals by other people; None for a single user.
        process: the writes of this process.
    """

    open_ledger: OpenLedger
    results: ResultStorage
    pace: CallPace | None = None
    process: RunningWrites = field(default_factory=RunningWrites)
    approval: TeamApproval | None = None


@dataclass(frozen=True, slots=True)
class AccountParts:
    """Parts that every server of one account shares: all but the rights of its callers.

    Attributes:
        program: Membrane's program or API, for display.
        consent: returns the consent flow on the ledger, which is opened on first use.
    """

    settings: Settings
    clocks: Clocks
    timings: CallTimings
    state: StateDir
    membrane: MembraneClient
    program: str
    account: Account
    kept: ResultStore
    consent: Callable[[], ConsentFlow]
    process: RunningWrites

    async def close(self) -> None:
        """Remove temporary folders and close connections."""
        await self.membrane.close()
        self.state.close()


def build_app(
    settings: Settings,
    clock: Clock = time.time,
    *,
    steady: Clock = read_steady_clock,
    run_program: runner.Run = runner.run,
    timings: CallTimings = DEFAULT_TIMINGS,
    open_ledger: OpenLedger | None = None,
) -> App:
    """Build all objects of one server. No program is started; only the program's path is looked up.

    `clock` is the wall clock: seconds since the epoch. `steady` cannot be set. `run_program` runs
    Membrane's program. `timings` are the waits of calls. `open_ledger` returns the ledger; by
    default that of the state folder.
    """
    state, clocks = StateDir(settings.state_dir), Clocks(clock, steady)
    opened = open_ledger or partial(_open_ledger, settings, clocks)
    seams = TeamSeams(opened, ResultFiles(state))
    parts = build_parts(settings, state, clocks, seams, timings=timings, run_program=run_program)
    rules = policy_from_settings(settings)
    tools = build_tools(parts, rules)
    return App(build_server(parts, tools), parts.membrane, state, tools)


def build_parts(
    settings: Settings,
    state: StateDir,
    clocks: Clocks,
    seams: TeamSeams,
    *,
    timings: CallTimings = DEFAULT_TIMINGS,
    run_program: runner.Run = runner.run,
) -> AccountParts:
    """Build what every server of an account shares. Nothing is started or opened."""
    membrane, shown = make_membrane_client(
        settings, state, run_program, clocks, timings.writes, pace=seams.pace
    )
    account = Account(
        membrane,
        state,
        wanted=settings.connection,
        own=frozenset(BUILTIN_TOOLS),
        commands=policy_from_settings(settings).commands,
        timings=timings,
    )
    consent = cache(partial(_make_consent, settings, clocks, timings, seams))
    kept = ResultStore(seams.results)
    return AccountParts(
        settings, clocks, timings, state, membrane, shown, account, kept, consent, seams.process
    )


def build_tools(parts: AccountParts, rules: Policy) -> ToolDispatcher:
    """Build the tools of an account under one policy; in a team, one for each set of rights."""
    settings, account, membrane = parts.settings, parts.account, parts.membrane
    writes = cache(partial(_make_writes, parts, rules))
    gateway = Gateway(membrane, account, writes, parts.timings.retry)
    poll = parts.timings.connect_poll
    connecting = ConnectFlow(membrane, account, settings.state_dir, poll, settings.sandbox)
    exposure = Exposure(settings.expose, settings.expose_tokens, rules)
    bulk = cache(partial(_make_bulk, settings, rules, account, gateway, exposure, parts.kept))
    return ToolDispatcher(
        settings,
        rules,
        exposure,
        ToolSearch(exposure),
        account,
        gateway,
        connecting,
        parts.kept,
        parts.program,
        bulk,
        membrane_in_terminal(settings),
    )


def build_server(
    parts: AccountParts, tools: ToolDispatcher, *, over_http: bool = False
) -> MCPServer:
    """Build the MCP surface of the tools."""
    reader = ResourceReader(parts.settings, tools.rules, parts.account)
    return MCPServer(
        tools,
        parts.account,
        reader,
        progress=parts.timings.progress,
        clocks=parts.clocks,
        over_http=over_http,
    )


def policy_from_settings(settings: Settings) -> Policy:
    return Policy(
        settings.gates,
        settings.read_only,
        settings.allow,
        settings.deny,
        settings.tool_gates,
        settings.check_lead,
        settings.commands == "auto",
        faults=tuple(str(e) for e in settings.errors if e.variable in RESTRICTIONS),
    )


def _make_bulk(
    settings: Settings,
    rules: Policy,
    account: Account,
    gateway: Gateway,
    exposure: Exposure,
    kept: ResultStore,
) -> BulkService:
    """Build the bulk tools. Modules are imported on first use, for a fast start."""
    from kartra_mcp.bulk.plan import Pace
    from kartra_mcp.bulk.row_reader import RowReader
    from kartra_mcp.bulk.service import BulkService

    pace = Pace(settings.rate, settings.max_children)
    rows = RowReader(kept, settings.result_chars)
    return BulkService(account, gateway, exposure, rules, pace, rows, settings.import_dir)


def _open_ledger(settings: Settings, clocks: Clocks) -> Ledger:
    """Return the ledger of the state folder."""
    from kartra_mcp.ledger.sqlite import store

    return store.open_ledger(
        settings.state_dir,
        clocks.wall,
        steady=clocks.steady,
        fault=settings.ledger_fault,
        account=settings.account_kind,
    )


def _make_consent(
    settings: Settings, clocks: Clocks, timings: CallTimings, seams: TeamSeams
) -> ConsentFlow:
    """Build the consent flow on a ledger. Modules are imported on first use, for a fast start."""
    from kartra_mcp.app.page_launcher import PageLauncher
    from kartra_mcp.consent.flow import ConsentFlow
    from kartra_mcp.consent.team_approval import TeamApproval

    ledger = seams.open_ledger()
    ledger.switch.is_off = not settings.writes
    return ConsentFlow(
        ledger,
        sandbox=settings.sandbox,
        outside=settings.out_of_band_approval,
        flags=settings.cli_flags,
        page=PageLauncher(settings).get_url,
        min_human=timings.min_human,
        clocks=clocks,
        timeout=timings.answer,
        team=seams.approval or TeamApproval(),
    )


def _make_writes(parts: AccountParts, rules: Policy) -> GuardedWrites:
    """Build the writes on the ledger. Modules are imported on first use, for a fast start."""
    from kartra_mcp.calls.writes import GuardedWrites

    consent, settings = parts.consent(), parts.settings
    return GuardedWrites(
        consent.ledger,
        rules,
        settings.limits,
        settings.actor,
        consent,
        parts.timings.writes,
        parts.process,
    )
