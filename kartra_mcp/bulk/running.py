"""Running of a bulk run that was agreed to: its items, as many at once as the server may start.

Each item is an ordinary guarded write, or a read. Several servers may continue one run: an item
runs where its intent could be recorded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from kartra_mcp.bulk.item_calls import make_item_call
from kartra_mcp.bulk.planning import ITEM_FAULTS
from kartra_mcp.calls.gateway import Gateway
from kartra_mcp.calls.item_grant import ItemGrant
from kartra_mcp.catalogue.catalogue import ActionTool
from kartra_mcp.consent.fact_reader import is_absent
from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.elicitation import ClientContext
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.models import Executed, Risk
from kartra_mcp.core.sanitize import dump_json, json_bytes
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.core.timings import read_steady_clock
from kartra_mcp.ledger.bulk_records import BulkItem, BulkRun, ItemOutcome
from kartra_mcp.ledger.bulk_runs import BulkRuns
from kartra_mcp.policy.gates import Policy

MAX_RESULT_BYTES = 256 * 1024
LOOK_LIFETIME = 3_600.0
"""Seconds after which the lead of an item is looked at again before it runs."""
TIME_LIFETIME = 60.0
"""Seconds after which the ledger's time is read again."""
EQUAL_FAILURES = 3
"""Equal failures in a row that pause a run."""
CLAIM_SECONDS = 120.0
OUTCOMES_KEPT = 25
"""Outcomes of reads that are kept in memory between two commits."""
_LEFT_OUT = frozenset({"already_done", "outcome_unknown", "declined", "dismissed"})
"""Codes of an item that did not run because of an earlier call."""
_TAKEN = "in_progress"
_OF_MANY_KINDS = frozenset({"kartra_error", "membrane_error"})
"""Codes of errors that are equal only if their messages are."""


@dataclass(slots=True)
class ItemRunner:
    """Runs the items of `run` in one call, until none is left or its time is nearly over.

    Attributes:
        start: number from which on items are claimed first.
        claimed: items to run next.
        in_flight: numbers of the items that run now.
        aside: numbers of the items that could not be begun, with the code of the error; "" for one
            that another call runs. This call does not try them again.
        outcomes: outcomes that are not on disk yet.
        done: number of items of the run that have an outcome; `done_before` this call.
        why: the reason to pause the run, or "".
        time: the ledger's time as it was read, and the steady clock then.
    """

    gateway: Gateway
    rules: Policy
    at_once: int
    run: BulkRun
    entry: ActionTool
    deadline: Deadline
    client: ClientContext
    start: int = 0
    claimed: deque[BulkItem] = field(default_factory=deque[BulkItem])
    in_flight: set[int] = field(default_factory=set[int])
    aside: dict[int, str] = field(default_factory=dict[int, str])
    outcomes: list[ItemOutcome] = field(default_factory=list[ItemOutcome])
    done: int = 0
    done_before: int = 0
    why: str = ""
    is_over: bool = False
    last_failure: str = ""
    in_a_row: int = 0
    time: tuple[float, float] | None = None
    turn: anyio.Lock = field(default_factory=anyio.Lock)

    @property
    def bulk(self) -> BulkRuns:
        return self.gateway.writes().ledger.bulk

    async def run_items(self) -> BulkRun:
        """Return the run as it is after this call's time: running, paused or done."""
        await self._require_access()
        await self._settle()
        left = (await run_in_thread(self.bulk.count_items, self.run.id)).left
        self.done = self.done_before = self.run.total - left
        await self._report()
        try:
            await self._run_workers()
            if "" in self.aside.values():  # an equal call of another item has ended meanwhile
                self.aside = {number: code for number, code in self.aside.items() if code}
                await self._run_workers()
        finally:
            with anyio.CancelScope(shield=True):
                await self._save()
                unused = [*(item.number for item in self.claimed), *self.aside]
                await run_in_thread(self.bulk.release, self.run.id, unused)
        return await self._end()

    async def _run_workers(self) -> None:
        async with anyio.create_task_group() as workers:
            for _ in range(self.at_once):
                workers.start_soon(self._work, workers)

    async def _end(self) -> BulkRun:
        """Return the run as done if no item is left, or paused if there is a reason."""
        await self._settle()
        ended = await run_in_thread(self.bulk.end_if_over, self.run.id)
        why = self.why or ("" if self.is_over else self._describe_aside())
        if ended.state == "running" and why:
            return await run_in_thread(self.bulk.set_state, self.run.id, "paused", why)
        return ended

    def _describe_aside(self) -> str:
        """Return why items that are left cannot be begun, or ""."""
        codes = [code for code in self.aside.values() if code]
        return f"items could not begin: {len(codes)}, with {codes[-1]}" if codes else ""

    async def _settle(self) -> None:
        """Make the items unknown whose server and program have ended."""
        await run_in_thread(self.gateway.writes().ledger.mark_orphans_unknown)

    async def _work(self, workers: TaskGroup) -> None:
        """Run items one after the other, each begun when the answer to the one before is there.

        The outcome of an item that succeeded goes to the disk in one commit with the intent of the
        next one, at the latest.
        """
        with self._end_of_call():
            while not self.is_over and self.deadline.allows_start(write=True):
                item = await self._next()
                if item is None:
                    return
                answered = anyio.Event()
                workers.start_soon(self._work_on, item, answered)
                await answered.wait()

    async def _work_on(self, item: BulkItem, answered: anyio.Event) -> None:
        with self._end_of_call():
            try:
                await self._run_item(item, answered)
            finally:
                self.in_flight.discard(item.number)
                answered.set()
            await self._report()
            if len(self.outcomes) >= OUTCOMES_KEPT:
                await self._save()

    @contextmanager
    def _end_of_call(self) -> Generator[None]:
        """Let a ledger that cannot be used now end the call, never the run."""
        try:
            yield
        except KartraMCPError:
            self.is_over = True

    async def _report(self) -> None:
        about = f"items of {self.run.id}"
        await self.client.progress.report(self.done, self.run.total, about)

    async def _next(self) -> BulkItem | None:
        """Return the next item; None if none is waiting, or the run was paused or cancelled."""
        async with self.turn:
            if self.run.is_read or not self.claimed:
                await self._require_access()
            if not self.claimed and not self.is_over:
                taken = [*self.in_flight, *self.aside, *(o.number for o in self.outcomes)]
                found = await run_in_thread(
                    self.bulk.claim, self.run.id, 2 * self.at_once, CLAIM_SECONDS, taken, self.start
                )
                self.claimed.extend(found)
                self.start = found[-1].number + 1 if found else 0
            if self.is_over or not self.claimed:
                return None
            item = self.claimed.popleft()
            self.in_flight.add(item.number)
            return item

    async def _require_access(self) -> None:
        """Raise for a person whom an admin revoked meanwhile: an item that reads has no begin."""
        if self.client.principal is not None:
            revocations = self.gateway.writes().ledger.revocations
            await run_in_thread(revocations.require_access, self.client.principal)

    async def _save(self) -> None:
        """Write the outcomes; until that is done, their items stay in `outcomes`."""
        kept = tuple(self.outcomes)
        if kept:
            await run_in_thread(self.bulk.record_outcomes, self.run.id, kept)
            saved = {outcome.number for outcome in kept}
            self.outcomes = [o for o in self.outcomes if o.number not in saved]

    async def _run_item(self, item: BulkItem, answered: anyio.Event) -> None:
        def on_answer() -> None:
            self.last_failure, self.in_a_row = "", 0
            answered.set()

        try:
            call = make_item_call(self.entry, item.arguments, self.rules, repeat=self.run.repeat)
            grant = None if self.run.is_read else await self._grant(item, on_answer)
            done = await self.gateway.execute(call, self.deadline, lambda: call, self.client, grant)
        except KartraMCPError as problem:
            await self._note_failure(item, problem)
            return
        self.done += 1
        if self.run.is_read:
            on_answer()
            self.outcomes.append(_make_read_outcome(item, done.reply.result))

    async def _grant(self, item: BulkItem, on_answer: Callable[[], None]) -> ItemGrant:
        looked = False
        if item.looked_at is not None:
            looked = await self._read_time() - item.looked_at < LOOK_LIFETIME
        return ItemGrant(self.run, item, looked or self.run.include_suppressed, on_answer)

    async def _read_time(self) -> float:
        """Return the ledger's time; it is read once in a while, and the steady clock goes on."""
        steady = read_steady_clock()
        if self.time is None or steady - self.time[1] > TIME_LIFETIME:
            self.time = await run_in_thread(self.gateway.writes().ledger.current_time), steady
        return self.time[0] + steady - self.time[1]

    async def _note_failure(self, item: BulkItem, problem: KartraMCPError) -> None:
        """Record why an item did not succeed; stop the run if it cannot go on."""
        code = problem.code
        if code == _TAKEN:
            self.aside[item.number] = ""
            return
        if code == "bulk_paused":
            await self._stop_if_running(problem)
            return
        if await self._has_ended(item, problem):
            state = "skipped" if code in _LEFT_OUT else "failed"
            self.outcomes.append(ItemOutcome(item.number, state, code, problem.message))
            self.done += 1
        else:
            self.aside[item.number] = code
            if code == "timed_out" and self.done > self.done_before:
                self.is_over = True  # the time of a call that did something: the next one goes on
                return
        if self.run.is_read and is_absent(problem):
            self.last_failure = ""  # that a lead does not exist is what its read returns
        else:
            self._judge_failure(item, problem)

    def _judge_failure(self, item: BulkItem, problem: KartraMCPError) -> None:
        """Stop where the run cannot go on as agreed: limit, unknown outcome, equal failures."""
        code = problem.code
        kind = f"{code}: {problem.message}" if code in _OF_MANY_KINDS else code
        self.in_a_row = self.in_a_row + 1 if kind == self.last_failure else 1
        self.last_failure = kind
        if code == "not_enough_time" or self.gateway.writes().process.is_stopped:
            self.is_over = True  # the next call goes on, in a team on another replica
        elif code == "cap_reached":
            self._stop(f"a limit of this server: {problem.message}")
        elif problem.executed is Executed.UNKNOWN and self.run.risk is Risk.IRREVERSIBLE:
            self._stop(f"the outcome of item {item.source} is unknown")
        elif self.in_a_row >= EQUAL_FAILURES and code not in _LEFT_OUT:
            self._stop(f"{EQUAL_FAILURES} items in a row failed with {kind}")

    def _stop(self, why: str) -> None:
        self.why, self.is_over = self.why or why.rstrip("."), True

    async def _stop_if_running(self, problem: KartraMCPError) -> None:
        """Stop; pause the run unless it was paused or cancelled by another call."""
        now = await run_in_thread(self.bulk.get, self.run.id)
        running = now is not None and now.state == "running"
        self._stop(problem.message.removesuffix(" Nothing was done.") if running else "")

    async def _has_ended(self, item: BulkItem, problem: KartraMCPError) -> bool:
        """Return whether the item has an outcome; otherwise it was not begun, and may run later."""
        if problem.executed is not Executed.NO or not _is_environment(problem.code):
            return True
        found = await run_in_thread(self.bulk.list_items, self.run.id, offset=item.number, limit=1)
        return bool(found and found[0].intent)


def _is_environment(code: str) -> bool:
    """Return whether an error is about the server or the account and not about the item."""
    return code not in ITEM_FAULTS | _LEFT_OUT | {"facts_changed", "not_allowed", "read_only"}


def _make_read_outcome(item: BulkItem, result: object) -> ItemOutcome:
    if json_bytes(dump_json(result)) > MAX_RESULT_BYTES:
        reason = f"The result is larger than {MAX_RESULT_BYTES:,} bytes: read it alone."
        return ItemOutcome(item.number, "failed", "input_too_large", reason)
    return ItemOutcome(item.number, "succeeded", result=result)
