"""Tools of the jobs of one account: its ledger, its reads, and Membrane's run logs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import anyio

from kartra_mcp.calls.gateway import Gateway
from kartra_mcp.catalogue.catalogue import ActionTool, make_call
from kartra_mcp.catalogue.decided_calls import decide_call
from kartra_mcp.consent.facts import Read
from kartra_mcp.consent.intents import draft_intent
from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.elicitation import ClientContext
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.models import Command, Connection, Risk
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.lost_intents import LostIntents
from kartra_mcp.ledger.records import Intent
from kartra_mcp.membrane.logged_runs import LoggedRun, LoggedRuns
from kartra_mcp.policy.gates import Policy

LOG_SECONDS = 300.0
"""Seconds for reading all run logs of an account."""
READ_SECONDS = 50.0
"""Seconds for one look at the account."""
ACTOR = "run log"


@dataclass(frozen=True, slots=True)
class AccountTools:
    """The parts of one account's server that its jobs use.

    Attributes:
        name: of the account, in the team file.
        ledger: its ledger; `lost` searches it for lost writes.
        gateway: reads of the account.
        rules: the policy, for the risk of a lost write.
    """

    name: str
    ledger: Ledger
    lost: LostIntents
    gateway: Gateway
    rules: Policy

    async def find_connection(self) -> Connection:
        """Return the connection of the account, with a list of its actions that is current.

        Raises:
            KartraMCPError: Membrane cannot be reached, or has no such connection.
        """
        deadline = Deadline.after(READ_SECONDS)
        await self.gateway.account.refresh_now(deadline)
        return await self.gateway.account.connection_for_read(deadline)

    async def list_runs(self, connection: Connection, since: float) -> LoggedRuns:
        deadline = Deadline.after(LOG_SECONDS)
        return await self.gateway.membrane.logged_runs(connection.id, since, deadline)

    async def reconcile(self, intent: str) -> dict[str, Any]:
        """Look once at an unknown write, and settle it if that proves its outcome."""
        return await self.gateway.reconcile(intent, Deadline.after(READ_SECONDS))

    def reader(self, connection: Connection) -> Read:
        """Return the function that reads the account, within `READ_SECONDS` for each read."""

        async def read(command: Command) -> Any:
            return await self.gateway.read(command, connection, Deadline.after(READ_SECONDS))

        return read

    def draft_lost(self, intent: str, run: LoggedRun, connection: Connection) -> Intent:
        """Return a lost write as far as its run log shows it.

        One of an action that is not listed any more, or with arguments that do not fit, is an
        unknown irreversible write without a target.
        """
        entry = self._find_action(run.action)
        if entry is not None:
            try:
                call = decide_call(make_call(entry, run.arguments, gated=False), self.rules)
            except KartraMCPError:
                pass
            else:
                client = ClientContext(ACTOR)
                draft = draft_intent(call, connection, client, ACTOR, self.ledger)
                return replace(draft, id=intent)
        return Intent(
            id=intent,
            tool=run.action or "unknown",
            operation=run.action or "unknown",
            risk=Risk.IRREVERSIBLE,
            connection=self.ledger.identify(connection.id),
            actor=ACTOR,
            client=ACTOR,
        )

    def _find_action(self, action: str) -> ActionTool | None:
        found = self.gateway.account.snapshot.catalogue.entries.values()
        named = (
            one for one in found if one.is_action and action in (one.action.id, one.action.key)
        )
        return next(named, None)


@asynccontextmanager
async def started(tools: AccountTools) -> AsyncGenerator[AccountTools]:
    """Run the background refreshes that reads of the account need."""
    async with anyio.create_task_group() as tasks:
        tools.gateway.account.start(tasks)
        yield tools
        tasks.cancel_scope.cancel()


def incomplete_error(what: str) -> RefusedError:
    return RefusedError(
        "ledger_unavailable",
        f"Not all run logs could be read: {what}. Nothing was concluded from them.",
        "Run the command again; Membrane keeps its logs for a limited time.",
    )
