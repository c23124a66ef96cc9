"""Planning of a bulk run: every item is checked against the account before the user is asked.

The checks are kept with the run, so that a call whose time is over loses none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import anyio

from kartra_mcp.bulk import plan
from kartra_mcp.bulk.item_calls import ParsedItems, make_item_call, parse_items
from kartra_mcp.bulk.request import BulkRequest, require_size
from kartra_mcp.calls.examination import Examination
from kartra_mcp.calls.gateway import Gateway
from kartra_mcp.catalogue.catalogue import ActionTool
from kartra_mcp.consent.intents import describe_actor, draft_intent
from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.elicitation import ClientContext
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.json_types import as_dict, as_list
from kartra_mcp.core.models import Call, Connection
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.kartra.commands import COMMANDS
from kartra_mcp.kartra.names import clean_name
from kartra_mcp.ledger.bulk_records import (
    CANNOT_RUN,
    NOTHING_TO_RUN,
    BulkItem,
    BulkRun,
    ItemCheck,
    make_bulk_id,
)
from kartra_mcp.ledger.records import Intent
from kartra_mcp.policy.gates import Policy

BATCH = 50
"""Items that are checked between two commits."""
ITEM_FAULTS = frozenset(
    {"invalid_arguments", "not_possible", "kartra_error", "forbidden_request", "input_too_large"}
)
"""Errors that are about the item itself; any other one is about the server or the account."""


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans runs of one server; `at_once` checks run concurrently."""

    gateway: Gateway
    rules: Policy
    pace: plan.Pace

    async def create(
        self, entry: ActionTool, request: BulkRequest, connection: Connection, client: ClientContext
    ) -> BulkRun:
        """Return the planned run of a request; an equal one that has not begun is continued."""
        ledger = self.gateway.writes().ledger
        bulk, account = ledger.bulk, ledger.identify(connection.id)
        digest = await run_in_thread(request.compute_digest)
        found = await run_in_thread(bulk.find_request, digest, account)
        if found is not None and await self._is_current(found, entry, connection, client):
            return found
        if not request.undoes:  # an item that ended several levels has several inverse calls
            require_size(len(request.items) + len(request.invalid))
        parsed = await run_in_thread(parse_items, entry, request, self.rules)
        run = BulkRun(
            id=make_bulk_id(),
            tool=entry.tool,
            operation=entry.command or entry.action.key or entry.action.id,
            risk=entry.min_risk,
            connection=account,
            request=digest,
            state="planned",
            made_at=0.0,
            actor=describe_actor(client, self.gateway.writes().actor),
            client=client.name,
            duplicates=parsed.duplicates,
            skip_invalid=request.skip_invalid,
            include_suppressed=request.include_suppressed,
            repeat=request.repeat,
            undoes=request.undoes,
            facts=plan.describe_request(request),
        )
        return await run_in_thread(bulk.create, run, *_number_items(parsed))

    async def _is_current(
        self, run: BulkRun, entry: ActionTool, connection: Connection, client: ClientContext
    ) -> bool:
        """Return whether a plan was made for the present tool, connection, policy and principal."""
        if run.binding is None:
            return True
        bulk = self.gateway.writes().ledger.bulk
        first = await run_in_thread(bulk.list_items, run.id, limit=1, stored="waiting")
        call = make_item_call(entry, first[0].arguments, self.rules, repeat=run.repeat)
        now = self.gateway.writes().make_binding(call, connection, client)
        return replace(run.binding, arguments="") == replace(now, arguments="")

    async def check(
        self, run: BulkRun, entry: ActionTool, deadline: Deadline, client: ClientContext
    ) -> BulkRun:
        """Check every item that was not checked yet; return the run with its exact items fixed.

        Raises:
            KartraMCPError: `not_enough_time` if items are left; `invalid_arguments` if some cannot
                run. Nothing was done.
        """
        bulk = self.gateway.writes().ledger.bulk
        if run.digest:
            await run_in_thread(bulk.require_unaltered, run.id)
            await self._require_current(run, entry, deadline, client)
            return run
        while batch := await run_in_thread(
            bulk.list_items, run.id, limit=BATCH, stored="unchecked"
        ):
            checks, problem = await self._check_batch(run, entry, batch, deadline, client)
            await run_in_thread(bulk.record_checks, run.id, checks)
            counts = await run_in_thread(bulk.count_items, run.id)
            await client.progress.report(
                run.total - counts.unchecked, run.total, "items checked; nothing has run"
            )
            if problem is not None:
                raise _not_checked_error(run, counts.unchecked, problem)
        await self._block_equal(run, entry, deadline, client)
        items = await run_in_thread(bulk.list_items, run.id)
        await self._require_valid(run, items)
        made = plan.make_plan(run, items, self.pace)
        if not made.ready:
            await run_in_thread(bulk.set_state, run.id, "cancelled", NOTHING_TO_RUN)
            raise _nothing_to_run_error(run, made, items)
        binding = None
        if made.risk:
            first = make_item_call(entry, made.ready[0].arguments, self.rules, repeat=run.repeat)
            connection = await self.gateway.account.connection_for_write(deadline)
            binding = self.gateway.writes().make_binding(first, connection, client)
        return await run_in_thread(
            bulk.seal_plan, run.id, risk=made.risk, facts=made.facts, binding=binding
        )

    async def _block_equal(
        self, run: BulkRun, entry: ActionTool, deadline: Deadline, client: ClientContext
    ) -> None:
        """Block the writes that are equal now that the names of their leads were read."""
        writes = self.gateway.writes()
        bulk = writes.ledger.bulk
        waiting = await run_in_thread(bulk.list_items, run.id, stored="waiting")
        if not any(item.risk for item in waiting):
            return
        connection = await self.gateway.account.connection_for_write(deadline)

        def block() -> None:
            drafts = {
                item.number: self._draft(
                    make_item_call(entry, item.arguments, self.rules, repeat=run.repeat),
                    connection,
                    client,
                )
                for item in waiting
            }
            bulk.block_equal(run.id, drafts)

        await run_in_thread(block)

    def _draft(self, call: Call, connection: Connection, client: ClientContext) -> Intent:
        writes = self.gateway.writes()
        return draft_intent(call, connection, client, writes.actor, writes.ledger)

    async def _require_valid(self, run: BulkRun, items: Sequence[BulkItem]) -> None:
        if run.skip_invalid or all(item.state != "invalid" for item in items):
            return
        # An equal request is checked again: the account may have been corrected meanwhile.
        bulk = self.gateway.writes().ledger.bulk
        await run_in_thread(bulk.set_state, run.id, "cancelled", CANNOT_RUN)
        total = sum(item.state == "invalid" for item in items)
        raise RefusedError(
            "invalid_arguments",
            f"{total} of {run.total} items cannot run. Nothing was done.",
            "Correct them, or repeat the call with skip_invalid: true to leave them out; "
            "`detail` has the reasons." + _describe_rest(run, total),
            detail=plan.list_invalid(items),
        )

    async def _require_current(
        self, run: BulkRun, entry: ActionTool, deadline: Deadline, client: ClientContext
    ) -> None:
        if run.binding is None:
            return
        connection = await self.gateway.account.connection_for_write(deadline)
        if await self._is_current(run, entry, connection, client):
            return
        bulk = self.gateway.writes().ledger.bulk
        await run_in_thread(bulk.set_state, run.id, "cancelled", "the settings changed")
        raise RefusedError(
            "confirmation_mismatch",
            f"The settings, the tool or the connection changed since {run.id} was planned. "
            "Nothing was done.",
            f"Call kartra_bulk_run with {_describe_source(run)} again, for a new plan.",
        )

    async def _check_batch(
        self,
        run: BulkRun,
        entry: ActionTool,
        batch: Sequence[BulkItem],
        deadline: Deadline,
        client: ClientContext,
    ) -> tuple[list[ItemCheck], KartraMCPError | None]:
        """Return the checks that could be made, and the error for which the others were not."""
        found: dict[int, Examination | ItemCheck] = {}
        problems: list[KartraMCPError] = []
        limiter = anyio.CapacityLimiter(self.pace.at_once)

        async def examine(item: BulkItem) -> None:
            async with limiter:
                if problems:
                    return
                if not deadline.allows_start(write=True):
                    problems.append(_no_time_error())
                    return
                try:
                    call = make_item_call(entry, item.arguments, self.rules, repeat=run.repeat)
                    found[item.number] = await self.gateway.examine(call, deadline)
                except KartraMCPError as problem:
                    if problem.code in ITEM_FAULTS:
                        found[item.number] = _fault(item, problem)
                    else:
                        problems.append(problem)

        async with anyio.create_task_group() as examining:
            for item in batch:
                examining.start_soon(examine, item)
        return await self._judge(run, found, client), (problems or [None])[0]

    async def _judge(
        self, run: BulkRun, found: dict[int, Examination | ItemCheck], client: ClientContext
    ) -> list[ItemCheck]:
        """Return the checks of examined items; writes that were made before are blocked."""
        writes = self.gateway.writes()
        examined = {n: x for n, x in found.items() if isinstance(x, Examination)}
        drafts = [
            self._draft(x.call, x.connection, client) for x in examined.values() if x.call.writes
        ]
        refusals = await run_in_thread(writes.ledger.find_repeats, drafts, writes.limits)
        numbers = [n for n, x in examined.items() if x.call.writes]
        repeated = dict(zip(numbers, refusals, strict=True))
        now = await run_in_thread(writes.ledger.current_time)
        return [
            check if isinstance(check, ItemCheck) else _judge(run, n, check, repeated.get(n), now)
            for n, check in sorted(found.items())
        ]


def _number_items(parsed: ParsedItems) -> tuple[list[BulkItem], list[ItemCheck]]:
    """Return the items in the order given, and the checks of those that are invalid."""
    reasons = {item.source: reason for item, reason in parsed.invalid}
    given = [*(item for item, _ in parsed.invalid), *parsed.valid]
    items = [
        BulkItem(number, item.source, item.arguments)
        for number, item in enumerate(sorted(given, key=lambda item: item.source))
    ]
    checks = [
        ItemCheck(item.number, "invalid", code="invalid_arguments", reason=reasons[item.source])
        for item in items
        if item.source in reasons
    ]
    return items, checks


def _judge(
    run: BulkRun, number: int, seen: Examination, repeated: RefusedError | None, now: float
) -> ItemCheck:
    """Return the check of one item, by what the account and the ledger show."""
    call, facts = seen.call, seen.facts
    if seen.impossible is not None:
        return ItemCheck(number, "invalid", code="not_possible", reason=seen.impossible.why)
    if facts is not None and facts.already_done:
        return ItemCheck(number, "blocked", code="already_done", reason="It was done before.")
    if repeated is not None and not run.repeat:
        return ItemCheck(number, "blocked", code=repeated.code, reason=_shorten(repeated))
    if seen.changes is False:
        reason = "Nothing would change: the lead is in this state already."
        return ItemCheck(number, "blocked", code="already_done", reason=reason)
    against_mail = seen.mail.describe() if seen.mail is not None else ""
    if against_mail and not run.include_suppressed:
        return ItemCheck(number, "suppressed", reason=against_mail)
    amount = facts.amount_moved if facts is not None else None
    if amount is None and call.operation.moves_money:
        amount = call.operation.amount
    return ItemCheck(
        number,
        "waiting",
        digest=call.operation.digest,
        facts_digest=facts.digest if facts is not None else "",
        amount="" if amount is None else f"{amount:.2f}",
        risk=call.risk,
        mail=call.operation.email_count,
        gate=call.decision.gate,
        changes=seen.changes,
        looked_at=None if seen.mail is None else now,
        reason=against_mail,
        held=seen.held.as_dict() if seen.held else {},
    )


def _fault(item: BulkItem, problem: KartraMCPError) -> ItemCheck:
    near = as_list(as_dict(problem.detail).get("nearest"))
    names = ", ".join(f'"{clean_name(str(name))}"' for name in near)
    reason = _shorten(problem) + (f" Nearest: {names}." if names else "")
    return ItemCheck(item.number, "invalid", code=problem.code, reason=reason)


def _shorten(problem: KartraMCPError) -> str:
    return problem.message.removesuffix(" Nothing was done.")


def _describe_source(run: BulkRun) -> str:
    return f'{{"undo": "{run.undoes}"}}' if run.undoes else "tool and items"


def _no_time_error() -> RefusedError:
    return RefusedError(
        "not_enough_time",
        "The time of the call is nearly over. Nothing was done.",
        "Repeat the call.",
    )


def _not_checked_error(run: BulkRun, left: int, problem: KartraMCPError) -> RefusedError:
    """Return the error of a call that could not check all items, with the way to go on."""
    is_time = problem.code in ("not_enough_time", "timed_out")
    why = "in this call's time" if is_time else f"before an error: {_shorten(problem)}"
    first = "" if is_time else f"{problem.remedy} Then: "
    return RefusedError(
        "not_enough_time" if is_time else problem.code,
        f"{run.total - left} of {run.total} items were checked {why.rstrip('.')}. "
        "Nothing was done.",
        f'{first}Call kartra_bulk_run with {{"bulk_id": "{run.id}"}} alone to check the rest.',
        detail={"bulk_id": run.id, "checked": run.total - left, "total": run.total},
    )


def _describe_rest(run: BulkRun, count: int) -> str:
    """Return how to read the reasons of the items that `detail` does not list, or ""."""
    if count <= plan.MAX_LISTED:
        return ""
    return f' All: kartra_bulk_status {{"bulk_id": "{run.id}", "state": "skipped"}}.'


def _nothing_to_run_error(run: BulkRun, made: plan.Plan, items: Sequence[BulkItem]) -> RefusedError:
    """Return the refusal of a run without items, with the argument that would run some of them."""
    row = COMMANDS.get(run.operation)
    again = bool(row and row.additive) and any(item.code == "already_done" for item in items)
    ways = {
        "repeat: true runs again what was done less than a minute ago": again,
        "include_suppressed: true mails leads too that should get none": "suppressed" in made.facts,
    }
    named = "; ".join(way for way, is_possible in ways.items() if is_possible)
    return RefusedError(
        "invalid_arguments",
        "No item is left that would do something. Nothing was done.",
        "`detail` has the reason for each: done before, invalid, or a lead that gets no mail."
        + (f" If the user wants it: {named}." if named else "")
        + _describe_rest(run, len(items)),
        detail={n: v for n, v in made.facts.items() if n in plan.LEFT_OUT},
    )
