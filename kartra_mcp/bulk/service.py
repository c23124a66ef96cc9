"""The bulk tools: plan, consent, run, continue, cancel; the same for a client and a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kartra_mcp.account.account import Account
from kartra_mcp.bulk import csv_import, result_items
from kartra_mcp.bulk.conditions import parse_condition
from kartra_mcp.bulk.errors import (
    gated_read_error,
    interrupted_by_ledger,
    no_run_error,
    no_tool_error,
    other_connection_error,
    paused_error,
    require_cancel_right,
    require_own_run,
    several_sources_error,
    with_bulk_id,
)
from kartra_mcp.bulk.plan import Pace, find_gate, make_subject
from kartra_mcp.bulk.planning import Planner
from kartra_mcp.bulk.request import BulkRequest, merge_items
from kartra_mcp.bulk.row_reader import FIRST_ROWS_BYTES, RowPage, RowReader
from kartra_mcp.bulk.running import ItemRunner
from kartra_mcp.bulk.table import RowChoice
from kartra_mcp.bulk.undo import UndoOptions, UndoRequests, read_undo_options
from kartra_mcp.bulk.view import (
    MAX_FAILURES,
    describe_progress,
    describe_run,
    make_notice,
)
from kartra_mcp.calls.gateway import CallResult, Gateway
from kartra_mcp.catalogue import consent_arguments
from kartra_mcp.catalogue.builtin_tools import BUILTIN_TOOLS, BULK_RUN
from kartra_mcp.catalogue.catalogue import ActionTool
from kartra_mcp.catalogue.definitions import validate_builtin_arguments
from kartra_mcp.catalogue.exposure import Exposure
from kartra_mcp.consent.flow import ConsentRequest
from kartra_mcp.consent.intents import draft_bulk_intent
from kartra_mcp.consent.preview import Preview, typed_confirmation
from kartra_mcp.core.deadline import Deadline, ExtendableDeadline
from kartra_mcp.core.elicitation import ClientContext
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import ActionResult, Connection, ConsentArguments, Gate
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.ledger.bulk_records import BulkItem, BulkRun
from kartra_mcp.ledger.bulk_rows import unknown_run_error
from kartra_mcp.ledger.bulk_runs import BulkRuns
from kartra_mcp.policy.gates import Policy, not_allowed_error, raise_for_verdict, resolve_gate

MAX_RUNS = 20
_SOURCES = ("items", "from_result", "csv")


@dataclass(frozen=True, slots=True)
class BulkPreview:
    """A checked run as a terminal shows it, its gate, and the text that agrees to it."""

    run: BulkRun
    preview: Preview
    gate: Gate
    typed: str


@dataclass(frozen=True, slots=True)
class BulkService:
    """Bulk runs of one server, on the ledger of its state folder.

    `import_dir` is the only folder from which it reads files.
    """

    account: Account
    gateway: Gateway
    exposure: Exposure
    rules: Policy
    pace: Pace
    rows: RowReader
    import_dir: Path | None = None

    @property
    def runs(self) -> BulkRuns:
        return self.gateway.writes().ledger.bulk

    async def call_run(
        self, given: Mapping[str, Any], deadline: Deadline, client: ClientContext
    ) -> CallResult:
        """Run `kartra_bulk_run`: plan a run, or continue the one of `bulk_id`."""
        own, consent = consent_arguments.split_consent(
            BULK_RUN.schema["properties"], given, repeat=True
        )
        wanted = await run_in_thread(validate_builtin_arguments, BULK_RUN, own)
        if "undo" in wanted:
            options = read_undo_options(wanted, repeat=consent.repeat)
            run, entry = await self.plan_undo(wanted["undo"], options, deadline, client)
        elif "bulk_id" in wanted:
            run = await self._find(wanted["bulk_id"], wanted, repeat=consent.repeat)
            entry = await self.find_entry(run.tool, deadline)
        else:
            if "tool" not in wanted:
                raise no_tool_error()
            entry = await self.find_entry(wanted["tool"], deadline)
            request = await self._read_request(entry, wanted, deadline, repeat=consent.repeat)
            run = await self.plan(entry, request, deadline, client)
        return await self.advance(run, entry, consent, deadline, client)

    async def plan(
        self, entry: ActionTool, request: BulkRequest, deadline: Deadline, client: ClientContext
    ) -> BulkRun:
        """Return the planned run of a request, its items not checked against the account yet."""
        gate = resolve_gate(entry.risk, entry.names, self.rules)
        if not entry.risk and gate is not Gate.ALLOW:
            raise gated_read_error(entry.tool, gate)
        await self.gateway.writes().open()
        connection = await self._connection(entry, deadline)
        return await self._planner.create(entry, request, connection, client)

    async def plan_undo(
        self, bulk_id: str, options: UndoOptions, deadline: Deadline, client: ClientContext
    ) -> tuple[BulkRun, ActionTool]:
        """Return the planned run that undoes another one, or the one that has begun; and its tool.

        Raises:
            RefusedError: it cannot be undone, or was; nothing was done.
        """
        await self.gateway.writes().open()
        original = await self._find(bulk_id)
        entry = await self.find_entry(original.tool, deadline)
        if original.connection != self._identify(await self._connection(entry, deadline)):
            raise other_connection_error()
        undos = UndoRequests(self.runs, self.rules)
        begun = await run_in_thread(undos.find_begun, original)
        if begun is not None:
            return begun, await self.find_entry(begun.tool, deadline)
        entries = self.account.snapshot.catalogue.entries.values()
        request = await run_in_thread(undos.make, original, entry, entries, options)
        inverse = await self.find_entry(request.tool, deadline)
        return await self.plan(inverse, request, deadline, client), inverse

    async def check(
        self, run: BulkRun, entry: ActionTool, deadline: Deadline, client: ClientContext
    ) -> BulkRun:
        """Return a planned run with its exact items fixed; `Planner.check` has the errors."""
        await self._require_connection(run, entry, deadline)
        return await self._planner.check(run, entry, deadline, client)

    async def describe(self, run: BulkRun, entry: ActionTool, deadline: Deadline) -> BulkPreview:
        """Return what the user of a terminal agrees to, of a run whose items were checked."""
        connection = await self._require_connection(run, entry, deadline)
        items = await run_in_thread(self.runs.list_items, run.id, stored="waiting")
        flow = self.gateway.writes().consent
        consent = ConsentArguments()
        subject = make_subject(run, entry, connection, consent, items, flags=flow.flags)
        facts = await subject.read_facts()
        return BulkPreview(
            run,
            subject.make_preview(facts, sandbox=flow.sandbox),
            await self._resolve_gate(run, items),
            typed_confirmation(facts),
        )

    async def begin(
        self,
        run: BulkRun,
        entry: ActionTool,
        consent: ConsentArguments,
        patience: ExtendableDeadline,
        client: ClientContext,
    ) -> BulkRun:
        """Return a run as running: on the consent that its gate demands, or on that of its begin.

        Raises:
            KartraMCPError: the preview, or what prevents it. Nothing was done.
            InputRequired: the user is asked first.
        """
        require_own_run(run, client.principal)
        connection = await self._require_connection(run, entry, patience.deadline)
        if run.state == "planned":
            run = await self._planner.check(run, entry, patience.deadline, client)
            return await self._agree(run, entry, connection, consent, patience, client)
        return await self._resume(run) if run.state in ("running", "paused") else run

    async def run_items(
        self, run: BulkRun, entry: ActionTool, deadline: Deadline, client: ClientContext
    ) -> BulkRun:
        """Run items of a running run until none is left or the time of the call is nearly over."""
        if run.state != "running":
            return run
        at_once = self.pace.at_once
        runner = ItemRunner(self.gateway, self.rules, at_once, run, entry, deadline, client)
        with interrupted_by_ledger(run):
            return await runner.run_items()

    async def advance(
        self,
        run: BulkRun,
        entry: ActionTool,
        consent: ConsentArguments,
        deadline: Deadline,
        client: ClientContext,
    ) -> CallResult:
        """Check, ask, or run: the next step of a run, until the time of the call is nearly over.

        Raises:
            KartraMCPError: the preview, or `bulk_paused`, or what prevents the step.
            InputRequired: the user is asked first.
        """
        patience = ExtendableDeadline(deadline)
        run = await self.begin(run, entry, consent, patience, client)
        ended = await self.run_items(run, entry, patience.deadline, client)
        if run.state != "running":
            return await self._answer(ended)
        with interrupted_by_ledger(run):
            return await self._answer(ended)

    async def call_status(self, wanted: Mapping[str, Any], _: Deadline) -> CallResult:
        """Run `kartra_bulk_status`: one run with its items, or the newest runs."""
        where = parse_condition(wanted.get("where"))
        await run_in_thread(self.gateway.writes().ledger.mark_orphans_unknown)
        if "bulk_id" not in wanted:
            if where is not None:
                raise no_run_error()
            runs = await run_in_thread(self.runs.list_recent, MAX_RUNS)
            shown = [
                describe_run(run, await run_in_thread(self.runs.count_items, run.id))
                for run in runs
            ]
            return CallResult(ActionResult({"runs": shown}), own=True)
        run = await self._find(wanted["bulk_id"])
        if wanted.get("cancel"):
            require_cancel_right(run, self.rules)
            run = await run_in_thread(self.runs.set_state, run.id, "cancelled", "by the caller")
        counts = await run_in_thread(self.runs.count_items, run.id)
        page = await run_in_thread(
            self.rows.read_page,
            *(self.runs, run, RowChoice(wanted.get("state"), where)),
            offset=int(wanted.get("offset", 0)),
            limit=int(wanted.get("limit", 100)),
        )
        return _with_rows(run, describe_run(run, counts), page)

    def open_stored(self, identity: Mapping[str, Any]) -> Sequence[Any]:
        """Return the rows that a stored result stands for; it reads the disk."""
        return self.rows.open_stored(self.runs, identity)

    @property
    def _planner(self) -> Planner:
        return Planner(self.gateway, self.rules, self.pace)

    async def _read_request(
        self, entry: ActionTool, wanted: Mapping[str, Any], deadline: Deadline, *, repeat: bool
    ) -> BulkRequest:
        """Return the request for a new run, from one source of items."""
        given = [name for name in _SOURCES if name in wanted]
        if len(given) > 1:
            raise several_sources_error(given)
        shared = wanted.get("arguments", {})
        request = BulkRequest(
            entry.tool,
            (),
            skip_invalid=bool(wanted.get("skip_invalid")),
            include_suppressed=bool(wanted.get("include_suppressed")),
            repeat=repeat,
        )
        if "csv" in wanted:
            file = csv_import.parse_source(wanted["csv"])
            content = await run_in_thread(csv_import.read_import, self.import_dir, file.file)
            columns = await run_in_thread(
                csv_import.read_items, entry, content, file.mapping, shared
            )
            return columns.fill(request)
        if "from_result" in wanted:
            await self.gateway.writes().open()
            source = result_items.parse_source(wanted["from_result"])
            here = self._identify(await self._connection(entry, deadline))
            made = await run_in_thread(self.rows.make_items, self.runs, source, shared, here)
            items, invalid = made
            return replace(request, items=items, invalid=invalid)
        return replace(request, items=merge_items(shared, wanted.get("items", [])))

    async def _find(
        self, bulk_id: str, wanted: Mapping[str, Any] | None = None, *, repeat: bool = False
    ) -> BulkRun:
        """Return the run of an id; its items were fixed when it was planned."""
        others = sorted((wanted or {}).keys() - {"bulk_id"})
        found = await run_in_thread(self.runs.get, bulk_id)
        if repeat and found is not None and not found.repeat:
            others.append("repeat")
        if others:
            raise RefusedError(
                "invalid_arguments",
                f"bulk_id continues a run as it was planned; {', '.join(others)} cannot change it. "
                "Nothing was done.",
                "Call kartra_bulk_run with bulk_id alone, or without it for a new run.",
            )
        if found is None:
            raise unknown_run_error()
        return found

    async def find_entry(self, tool: str, deadline: Deadline) -> ActionTool:
        """Return the tool that a run is for."""
        if tool in BUILTIN_TOOLS:
            raise RefusedError(
                "invalid_arguments",
                f"{tool} cannot run in bulk. Nothing was done.",
                "Give the name of a tool that acts in Kartra, such as kartra_assign_tag.",
            )
        entry = await self.account.find_tool(tool, deadline)
        raise_for_verdict(self.exposure.hidden_reason(entry), self.rules)
        return entry

    async def _require_connection(
        self, run: BulkRun, entry: ActionTool, deadline: Deadline
    ) -> Connection:
        """Return the served connection; refuse a run of another one."""
        connection = await self._connection(entry, deadline)
        if run.connection != self._identify(connection):
            raise other_connection_error()
        return connection

    def _identify(self, connection: Connection) -> str:
        """Return the account of a connection, as the ledger names it."""
        return self.gateway.writes().ledger.identify(connection.id)

    async def _connection(self, entry: ActionTool, deadline: Deadline) -> Connection:
        writes = entry.risk > 0
        wanted = self.account.connection_for_write if writes else self.account.connection_for_read
        return await wanted(deadline)

    async def _agree(
        self,
        run: BulkRun,
        entry: ActionTool,
        connection: Connection,
        consent: ConsentArguments,
        patience: ExtendableDeadline,
        client: ClientContext,
    ) -> BulkRun:
        """Return the run as begun, on the consent that its gate demands."""
        items = await run_in_thread(self.runs.list_items, run.id, stored="waiting")
        writes = self.gateway.writes()
        draft = draft_bulk_intent(run, items, writes.actor, client)
        gate = await self._resolve_gate(run, items)
        if run.is_read and gate is Gate.ALLOW:
            return await run_in_thread(self.runs.begin_read, run.id)
        if run.binding is None:
            raise gated_read_error(run.tool, gate)
        flags = writes.consent.flags
        subject = make_subject(run, entry, connection, consent, items, flags=flags)
        try:
            intent = await writes.consent.obtain(
                ConsentRequest(subject, gate, run.binding, client, draft, writes.limits, patience)
            )
        except RefusedError as problem:
            raise with_bulk_id(problem, run) from None
        return await run_in_thread(self.runs.agree, run.id, intent, writes.limits)

    async def _resolve_gate(self, run: BulkRun, items: list[BulkItem]) -> Gate:
        gate = find_gate(items, run.risk)
        if gate is Gate.DENY:
            raise not_allowed_error(self.rules.faults)
        return await self.gateway.writes().resolve_gate(gate, sum(item.mail for item in items))

    async def _resume(self, run: BulkRun) -> BulkRun:
        """Return a run that was agreed to as running; its consent holds for a day."""
        await run_in_thread(self.runs.require_agreed, run.id)
        return await run_in_thread(self.runs.set_state, run.id, "running")

    async def describe_progress(self, run: BulkRun) -> dict[str, Any]:
        """Return the contract's progress of a run, with its first failures."""
        counts = await run_in_thread(self.runs.count_items, run.id)
        failures = await run_in_thread(self.runs.list_failures, run.id, MAX_FAILURES)
        return describe_progress(run, counts, failures)

    async def _answer(self, run: BulkRun) -> CallResult:
        told = await self.describe_progress(run)
        if run.state == "paused":
            raise paused_error(run, told)
        if not run.is_read or run.state != "done":
            return CallResult(ActionResult(told), own=True, notice=make_notice(told["failures"]))
        room = FIRST_ROWS_BYTES
        page = await run_in_thread(self.rows.read_page, self.runs, run, room=room)
        return _with_rows(run, told, page)


def _with_rows(run: BulkRun, told: Mapping[str, Any], page: RowPage) -> CallResult:
    """Return an answer with rows; those of a read are data of the account."""
    result = ActionResult({**told, **page.fields})
    notice = "" if run.is_read else make_notice(page.fields["items"])
    return CallResult(result, notice=notice, own=not run.is_read, truncated=page.truncated)
