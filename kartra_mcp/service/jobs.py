"""Jobs of the service: settling and anchoring, by one replica of all, as often as they should."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from kartra_mcp.app.composition import AccountParts, build_tools, policy_from_settings
from kartra_mcp.app.team_jobs import AccountEntries, StoreGate
from kartra_mcp.core.errors import KartraMCPError, describe_exception
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.ledger.lost_intents import LostIntents
from kartra_mcp.ledger.postgres.job_turns import JobTurns
from kartra_mcp.ledger.postgres.store import PostgresStore
from kartra_mcp.service.logs import write_event
from kartra_mcp.service.server import Replica
from kartra_mcp.team.account_tools import AccountTools
from kartra_mcp.team.ledger_jobs import make_jobs
from kartra_mcp.team.settling import settle_account

POLL_SECONDS = 15.0
SETTLE_SECONDS = 120.0
"""Seconds between two runs of settling: the time in which a lost answer stays unknown."""
WHO = "the service"


@dataclass(frozen=True, slots=True)
class ServiceJobs:
    """The jobs of one replica; another one takes over when it ends.

    Attributes:
        replica: whose accounts and database are used.
        turns: shared by every replica.
        poll: seconds between two looks for a turn.
        settle: seconds between two runs of settling.
    """

    replica: Replica
    turns: JobTurns
    poll: float = POLL_SECONDS
    settle: float = SETTLE_SECONDS

    @classmethod
    def of(cls, replica: Replica) -> ServiceJobs:
        return cls(replica, JobTurns(replica.connections))

    async def run(self) -> None:
        """Run each job when its turn comes, until it is cancelled or the replica ends."""
        while not self.replica.is_ending():
            for name in self.replica.accounts:
                await self._take_turn("settle", name, self.settle, self._settle)
                anchor = self.replica.team.config.anchor
                if anchor is not None:
                    await self._take_turn("anchor", name, anchor.every_seconds, self._anchor)
            await anyio.sleep(self.poll)

    async def _take_turn(
        self, job: str, account: str, seconds: float, work: Callable[[str], Awaitable[None]]
    ) -> None:
        """Run a job if it is this replica's turn. Its fault is logged and ends no other job."""
        try:
            if await run_in_thread(self.turns.claim, f"{job} {account}", seconds):
                await work(account)
        except KartraMCPError as problem:
            write_event("job_failed", job=job, account=account, code=problem.code)
        except Exception as error:  # noqa: BLE001  its text may hold customer data
            write_event("job_failed", job=job, account=account, error=describe_exception(error))

    async def _settle(self, account: str) -> None:
        parts, store = self.replica.accounts[account].parts, self.replica.stores[account]
        report = await settle_account(_make_tools(account, parts, store), StoreGate(store, WHO))
        if report.problem is not None:
            raise report.problem
        found = (report.overdue, report.settled, report.conflicts, report.adopted, report.lost)
        if any(found) or report.altered:
            write_event(
                "settled",
                account=account,
                overdue=len(report.overdue),
                settled=len(report.settled),
                needs_people=report.needs_people,
            )

    async def _anchor(self, account: str) -> None:
        replica = self.replica
        entries = AccountEntries(replica.connections, account)
        jobs = make_jobs(replica.team, account, entries, replica.options.state_dir)
        result = await run_in_thread(jobs.anchor, time.time())
        if result.problem is not None:
            raise result.problem


def _make_tools(account: str, parts: AccountParts, store: PostgresStore) -> AccountTools:
    rules = policy_from_settings(parts.settings)
    gateway = build_tools(parts, rules).gateway
    return AccountTools(account, parts.consent().ledger, LostIntents(store), gateway, rules)
