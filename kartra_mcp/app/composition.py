"""Composition root: settings to the objects of one server, in the order of their arrows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from kartra_mcp.account.account import Account
from kartra_mcp.account.connect import ConnectFlow
from kartra_mcp.app.membrane_factory import make_membrane_client
from kartra_mcp.calls.dispatcher import ToolDispatcher
from kartra_mcp.calls.gateway import Gateway
from kartra_mcp.calls.result_store import ResultStore
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
from kartra_mcp.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from kartra_mcp.bulk.service import BulkService
    from kartra_mcp.calls.writes import GuardedWrites
    from kartra_mcp.ledger.ledger import Ledger

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
    state = StateDir(settings.state_dir)
    rules, clocks = policy_from_settings(settings), Clocks(clock, steady)
    membrane, shown = make_membrane_client(settings, state, run_program, clocks, timings.writes)
    own = frozenset(BUILTIN_TOOLS)
    account = Account(
        membrane,
        state,
        wanted=settings.connection,
        own=own,
        commands=rules.commands,
        timings=timings,
    )
    opened = open_ledger or partial(_open_ledger, settings, clocks)
    writes = cache(partial(_make_writes, settings, rules, clocks, timings, opened))
    gateway = Gateway(membrane, account, writes, timings.retry)
    connecting = ConnectFlow(membrane, account, settings.state_dir, timings.connect_poll)
    exposure = Exposure(settings.expose, settings.expose_tokens, rules)
    finder, kept = ToolSearch(exposure), ResultStore(state)
    bulk = cache(partial(_make_bulk, settings, rules, account, gateway, exposure, kept))
    tools = ToolDispatcher(
        settings, rules, exposure, finder, account, gateway, connecting, kept, shown, bulk
    )
    reader = ResourceReader(settings, rules, account)
    mcp = MCPServer(
        tools, account, reader, sandbox=settings.sandbox, progress=timings.progress, clocks=clocks
    )
    return App(mcp, membrane, state, tools)


def policy_from_settings(settings: Settings) -> Policy:
    return Policy(
        settings.gates,
        settings.read_only,
        settings.allow,
        settings.deny,
        settings.tool_gates,
        settings.check_lead,
        settings.commands == "auto",
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


def _make_writes(
    settings: Settings,
    rules: Policy,
    clocks: Clocks,
    timings: CallTimings,
    open_ledger: OpenLedger,
) -> GuardedWrites:
    """Build the writes on a ledger. Modules are imported on first use, for a fast start."""
    from kartra_mcp.app.page_launcher import PageLauncher
    from kartra_mcp.calls.writes import GuardedWrites
    from kartra_mcp.consent.flow import ConsentFlow

    ledger = open_ledger()
    ledger.switch.is_off = not settings.writes
    consent = ConsentFlow(
        ledger,
        sandbox=settings.sandbox,
        outside=settings.out_of_band_approval,
        flags=settings.cli_flags,
        page=PageLauncher(settings).get_url,
        min_human=timings.min_human,
        clocks=clocks,
        timeout=timings.answer,
    )
    return GuardedWrites(ledger, rules, settings.limits, settings.actor, consent, timings.writes)
