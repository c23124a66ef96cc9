"""Running of a bulk run that was agreed to: its items, as many at once as the server may start.

Each item is an ordinary guarded write, or a read. Several servers may continue one run: an item
runs where its intent could be recorded.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import anyio

from kartra_mcp.bulk.item_calls import make_item_call
from kartra_mcp.bulk.planning import ITEM_FAULTS
from kartra_mcp.calls.gateway import Gateway
from kartra_mcp.calls.item_grant import ItemGrant
from kartra_mcp.catalogue.catalogue import ActionTool
from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.elicitation import ClientContext
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.models import Executed, Risk
from kartra_mcp.core.sanitize import dump_json, json_bytes
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.ledger.bulk_records import BulkItem, BulkRun, ItemOutcome
from kartra_mcp.ledger.bulk_runs import BulkRuns
from kartra_mcp.policy.gates import Policy

MAX_RESULT_BYTES = 256 * 1024
LOOK_LIFETIME = 3_600.0
"""Seconds after which the lead of an item is looked at again before it runs."""
EQUAL_FAILURES = 3
"""Equal failures in a row that pause a run."""
CLAIM_SECONDS = 120.0
OUTCOMES_KEPT = 25
"""Outcomes of reads that are kept in memory between two commits."""
_LEFT_OUT = frozenset({"already_done", "outcome_unknown", "declined", "dismissed"})
"""Codes of an item that did not run because of an earlier call."""
_TAKEN = "in_progress"


@dataclass(slots=True)
class _Progress:
    """State that the workers of one call share; `why` is the reason to stop, or ""."""

    claimed: deque[BulkItem] = field(default_factory=deque[BulkItem])
    outcomes: list[ItemOutcome] = field(default_factory=list[ItemOutcome])
    why: str = ""
    is_over: bool = False
    last_code: str = ""
    in_a_row: int = 0


@dataclass(frozen=True, slots=True)
class ItemRunner:
    """Runs the items of one run until none is left or the time of the call is nearly over."""

    gateway: Gateway
    rules: Policy
    at_once: int

    async def run(
        self, run: BulkRun, entry: ActionTool, deadline: Deadline, client: ClientContext
    ) -> BulkRun:
        """Return the run as it is after this call's time: running, paused or done."""
        bulk = self.gateway.writes().ledger.bulk
        shared, turn = _Progress(), anyio.Lock()
        done = run.total - (await run_in_thread(bulk.count_items, run.id)).left

        async def work() -> None:
            nonlocal done
            while not shared.is_over and deadline.allows_start(write=True):
                item = await self._next(run, bulk, shared, turn)
                if item is None:
                    return
                await self._run_item(run, entry, item, deadline, client, shared)
                done += 1
                await client.progress.report(done, run.total, f"items of {run.id}")
                if len(shared.outcomes) >= OUTCOMES_KEPT:
                    await self._save(run, bulk, shared)

        try:
            async with anyio.create_task_group() as workers:
                for _ in range(self.at_once):
                    workers.start_soon(work)
        finally:
            with anyio.CancelScope(shield=True):
                await self._save(run, bulk, shared)
                left = [item.number for item in shared.claimed]
                await run_in_thread(bulk.release, run.id, left)
        if shared.why:
            return await run_in_thread(bulk.set_state, run.id, "paused", shared.why)
        return await run_in_thread(bulk.end_if_over, run.id)

    async def _next(
        self, run: BulkRun, bulk: BulkRuns, shared: _Progress, turn: anyio.Lock
    ) -> BulkItem | None:
        """Return the next item; None if none is waiting, or the run was paused or cancelled."""
        async with turn:
            if not shared.claimed and not shared.is_over:
                found = await run_in_thread(bulk.claim, run.id, 2 * self.at_once, CLAIM_SECONDS)
                shared.claimed.extend(found)
            return shared.claimed.popleft() if shared.claimed and not shared.is_over else None

    async def _save(self, run: BulkRun, bulk: BulkRuns, shared: _Progress) -> None:
        kept, shared.outcomes = shared.outcomes, []
        if kept:
            await run_in_thread(bulk.record_outcomes, run.id, kept)

    async def _run_item(
        self,
        run: BulkRun,
        entry: ActionTool,
        item: BulkItem,
        deadline: Deadline,
        client: ClientContext,
        shared: _Progress,
    ) -> None:
        try:
            call = make_item_call(entry, item.arguments, self.rules, repeat=run.repeat)
            grant = None if run.is_read else await self._grant(run, item)
            done = await self.gateway.execute(call, deadline, lambda: call, client, grant)
        except KartraMCPError as problem:
            await self._note_failure(run, item, problem, shared)
            return
        shared.last_code, shared.in_a_row = "", 0
        if run.is_read:
            shared.outcomes.append(_make_read_outcome(item, done.reply.result))

    async def _grant(self, run: BulkRun, item: BulkItem) -> ItemGrant:
        now = await run_in_thread(self.gateway.writes().ledger.current_time)
        looked = item.looked_at is not None and now - item.looked_at < LOOK_LIFETIME
        return ItemGrant(run, item, skips_look=looked or run.include_suppressed)

    async def _note_failure(
        self, run: BulkRun, item: BulkItem, problem: KartraMCPError, shared: _Progress
    ) -> None:
        """Record why an item did not succeed, and stop the run where it cannot go on as agreed."""
        code = problem.code
        if code == _TAKEN:
            return  # another server runs it
        if await self._has_ended(run, item, problem):
            state = "skipped" if code in _LEFT_OUT else "failed"
            shared.outcomes.append(ItemOutcome(item.number, state, code, problem.message))
        else:
            shared.claimed.appendleft(item)  # it was not begun: it is released, and runs later
        shared.in_a_row = shared.in_a_row + 1 if code == shared.last_code else 1
        shared.last_code = code
        if code in ("not_enough_time", "bulk_paused"):
            shared.is_over = True
        elif code == "cap_reached":
            _stop(shared, f"a limit of this server: {problem.message}")
        elif problem.executed is Executed.UNKNOWN and run.risk is Risk.IRREVERSIBLE:
            _stop(shared, f"the outcome of item {item.source} is unknown")
        elif shared.in_a_row >= EQUAL_FAILURES and code not in _LEFT_OUT:
            _stop(shared, f"{EQUAL_FAILURES} items in a row failed with {code}")

    async def _has_ended(self, run: BulkRun, item: BulkItem, problem: KartraMCPError) -> bool:
        """Return whether the item has an outcome; otherwise it was not begun, and may run later."""
        if problem.executed is not Executed.NO or not _is_environment(problem.code):
            return True
        bulk = self.gateway.writes().ledger.bulk
        found = await run_in_thread(bulk.list_items, run.id, offset=item.number, limit=1)
        return bool(found and found[0].intent)


def _stop(shared: _Progress, why: str) -> None:
    shared.why, shared.is_over = shared.why or why, True


def _is_environment(code: str) -> bool:
    """Return whether an error is about the server or the account and not about the item."""
    return code not in ITEM_FAULTS | _LEFT_OUT | {"facts_changed", "not_allowed", "read_only"}


def _make_read_outcome(item: BulkItem, result: object) -> ItemOutcome:
    if json_bytes(dump_json(result)) > MAX_RESULT_BYTES:
        reason = f"The result is larger than {MAX_RESULT_BYTES:,} bytes: read it alone."
        return ItemOutcome(item.number, "failed", "input_too_large", reason)
    return ItemOutcome(item.number, "succeeded", result=result)
