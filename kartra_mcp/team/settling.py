"""`team settle`: overdue intents, unknown outcomes, and writes that the ledger lacks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.models import Connection
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.ledger.records import Filters
from kartra_mcp.membrane.http_messages import LINE_META_KEY
from kartra_mcp.membrane.logged_runs import LoggedRun
from kartra_mcp.team.account_tools import AccountTools, incomplete_error
from kartra_mcp.team.run_log_sweep import SweepFindings, compare_runs, get_intent

MAX_UNKNOWN = 500


@dataclass(slots=True)
class SettleReport:
    """Result of one account.

    Attributes:
        overdue: intents whose right to send and to answer had ended; now unknown.
        settled: intents that a look or a run log settled, with `state` and `why`.
        waiting: intents that stay unknown, with `why` and `check`.
        conflicts: intents whose late answer contradicts their settled outcome.
        adopted: lost writes that were recorded.
        lost: lost writes that could not be recorded, with the reason.
        altered: intents whose entry had another hash when they were sent, with its number.
        runs: number of run logs that carry an intent.
        swept: the run logs were compared to their end, and nothing is missing now.
        problem: why the account could not be read; "" if it could.
    """

    overdue: list[str] = field(default_factory=list[str])
    settled: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    waiting: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    conflicts: list[str] = field(default_factory=list[str])
    adopted: list[str] = field(default_factory=list[str])
    lost: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    altered: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    runs: int = 0
    swept: bool = False
    problem: KartraMCPError | None = None

    @property
    def needs_people(self) -> bool:
        """True if something was found that no later run of the job settles."""
        found = (self.conflicts, self.lost, self.altered, self.adopted)
        return any(found) or self.problem is not None


class SweepGate(Protocol):
    """Reasons that keep writes stopped after the database was switched or restored."""

    def begin(self) -> None:
        """Note the timeline of the database, before the run logs are read."""
        ...

    def finish(self) -> None:
        """Let writes run on that timeline.

        Raises:
            RefusedError: the timeline changed meanwhile.
        """
        ...


async def settle_account(tools: AccountTools, gate: SweepGate) -> SettleReport:
    """Settle one account as far as evidence allows; nothing is sent to Kartra but reads."""
    report = SettleReport()
    try:
        report.overdue = await run_in_thread(tools.ledger.mark_orphans_unknown)
        await run_in_thread(gate.begin)
        connection = await tools.find_connection()
        await _sweep_and_settle(tools, connection, gate, report)
        if report.lost and report.settled:
            # An equal write of unknown outcome kept a lost one from being recorded.
            await _sweep_and_settle(tools, connection, gate, report)
        found = await run_in_thread(tools.ledger.list_conflicts)
        report.conflicts = [intent for intent, _ in found]
    except KartraMCPError as problem:
        report.problem = problem
    return report


async def _sweep_and_settle(
    tools: AccountTools, connection: Connection, gate: SweepGate, report: SettleReport
) -> None:
    await _sweep(tools, connection, report)
    if report.swept:
        await run_in_thread(gate.finish)
    await _settle_unknown(tools, report)


async def _sweep(tools: AccountTools, connection: Connection, report: SettleReport) -> None:
    """Compare Membrane's run logs with the ledger, and record the writes that it lacks."""
    until = await run_in_thread(tools.ledger.current_time)
    since = await run_in_thread(tools.lost.since)
    found = await tools.list_runs(connection, since)
    if not found.complete:
        raise incomplete_error("there are too many")
    findings = await run_in_thread(_compare, tools, found.runs)
    report.runs, report.altered, report.lost = findings.runs, list(findings.altered), []
    for intent, runs in findings.lost:
        await _adopt(tools, connection, intent, runs, report)
    report.swept = not report.lost and not report.altered
    if report.swept:
        about = {"since": since, "until": until, "runs": findings.runs, "adopted": report.adopted}
        await run_in_thread(tools.lost.note_sweep, about)


def _compare(tools: AccountTools, runs: tuple[LoggedRun, ...]) -> SweepFindings:
    intents = {intent for run in runs if (intent := get_intent(run))}
    numbers = {int(n) for run in runs if isinstance(n := run.meta.get(LINE_META_KEY), int)}
    known, hashes = tools.lost.list_known(intents), tools.lost.list_hashes(numbers)
    return compare_runs(runs, known.get, hashes.get)


async def _adopt(
    tools: AccountTools,
    connection: Connection,
    intent: str,
    runs: tuple[LoggedRun, ...],
    report: SettleReport,
) -> None:
    draft = await run_in_thread(tools.draft_lost, intent, runs[0], connection)
    about = {"runs": [run.id for run in runs], "at": runs[0].created_at}
    try:
        if await run_in_thread(tools.lost.adopt, draft, about):
            report.adopted.append(intent)
    except KartraMCPError as problem:
        report.lost.append({"intent": intent, **about, "why": problem.message})


async def _settle_unknown(tools: AccountTools, report: SettleReport) -> None:
    filters = Filters(state="unknown")
    report.waiting = []
    for entry in await run_in_thread(tools.ledger.list_recent, MAX_UNKNOWN, filters):
        try:
            found = await tools.reconcile(entry["intent"])
        except KartraMCPError as problem:
            found = {"intent": entry["intent"], "state": "unknown", "why": problem.message}
        (report.waiting if found["state"] == "unknown" else report.settled).append(found)
