"""Tool calls by name: built-in tools and actions; name and arguments to a response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import anyio.to_thread

from kartra_mcp.account.account import Account
from kartra_mcp.account.connect import ConnectFlow
from kartra_mcp.calls import pagination, responses
from kartra_mcp.calls.gateway import CallResult, Gateway
from kartra_mcp.calls.responses import ShownResult, ToolResponse, make_shown
from kartra_mcp.calls.result_store import ResultStore
from kartra_mcp.calls.status import build_status, describe_caller
from kartra_mcp.catalogue import builtin_tools, catalogue, remedies, run_by_name
from kartra_mcp.catalogue.builtin_tools import BUILTIN_TOOLS, BuiltinTool
from kartra_mcp.catalogue.catalogue import EMPTY, ActionTool
from kartra_mcp.catalogue.decided_calls import decide_call
from kartra_mcp.catalogue.definitions import validate_builtin_arguments
from kartra_mcp.catalogue.exposure import Exposure
from kartra_mcp.catalogue.raw_calls import make_raw_call
from kartra_mcp.catalogue.search import NO_TOOL_HINT, ToolSearch
from kartra_mcp.core.deadline import Deadline, bounded_waits
from kartra_mcp.core.display import add_ledger_flags, name_membrane
from kartra_mcp.core.elicitation import ClientContext
from kartra_mcp.core.input_size import check_arguments
from kartra_mcp.core.json_types import is_large
from kartra_mcp.core.models import ActionResult, Call, ValidatedCall
from kartra_mcp.core.principal import calling_as
from kartra_mcp.core.sanitize import (
    json_bytes,
    map_strings,
    redact_secrets,
    sanitize_and_dump,
    truncate,
)
from kartra_mcp.core.threads import THREAD_ARGUMENTS_BYTES, run_in_thread, validate_off_loop
from kartra_mcp.policy import gates
from kartra_mcp.policy.gates import Policy, raise_for_verdict
from kartra_mcp.settings import Settings

MAX_SEARCH_RESULTS = 10
LINE = 120
NOT_KEPT = "The rest cannot be read: too large to be kept, or the state folder is not writable."
NOT_SHOWN = "It was done, but what Kartra answered could not be shown."


class BulkTools(Protocol):
    """The bulk tools, which run calls of other tools."""

    async def call_run(
        self, given: Mapping[str, Any], deadline: Deadline, client: ClientContext
    ) -> CallResult:
        """Run `kartra_bulk_run`."""
        ...

    async def call_status(self, wanted: Mapping[str, Any], _: Deadline) -> CallResult:
        """Run `kartra_bulk_status`."""
        ...

    def open_stored(self, identity: Mapping[str, Any]) -> Sequence[Any]:
        """Return the rows that a stored result stands for; it reads the disk."""
        ...


@dataclass(frozen=True, slots=True)
class ToolDispatcher:
    """The tools that a client may list and call, under the user's policy.

    `program` is the command that runs Membrane, for display. `bulk` makes the bulk tools on first
    use. `membrane` is the program's command in a terminal, "" where its name alone starts it.
    """

    settings: Settings
    rules: Policy
    exposure: Exposure
    finder: ToolSearch
    account: Account
    gateway: Gateway
    connecting: ConnectFlow
    kept: ResultStore
    program: str
    bulk: Callable[[], BulkTools]
    membrane: str = ""

    async def list_definitions(self) -> list[dict[str, Any]]:
        """Return every listed tool as MCP's `Tool`, in a stable order; never raises."""
        if self.exposure.mode == "search":
            self.account.list_in_background()
            return self.exposure.list_definitions(EMPTY)
        return self.exposure.list_definitions(await self.account.catalogue())

    async def call(
        self, name: str, given: Mapping[str, Any] | None, client: ClientContext
    ) -> ToolResponse:
        """Return the response of a successful call.

        Raises:
            KartraMCPError: everything else.
            InputRequired: the user is asked first.
        """
        deadline = Deadline.after(self.settings.timeout)
        with bounded_waits(deadline), calling_as(client.principal):
            return await self._call_within(name, given, deadline, client)

    async def _call_within(
        self, name: str, given: Mapping[str, Any] | None, deadline: Deadline, client: ClientContext
    ) -> ToolResponse:
        own = BUILTIN_TOOLS.get(name)
        size = check_arguments(given)
        if own is None:
            done = await self._call_action(name, given, size, deadline, client)
            return await self._make_response(done)
        catalogue_now = self.account.snapshot.catalogue
        raise_for_verdict(self.exposure.builtin_hidden_reason(own, catalogue_now), self.rules)
        if own is builtin_tools.READ_MORE:
            # A stored result may have 50 MB.
            return await anyio.to_thread.run_sync(self._run_read_more, given)
        done = await self._call_builtin(own, given or {}, size, deadline, client)
        return await self._make_response(done)

    async def _call_action(
        self,
        name: str,
        given: Mapping[str, Any] | None,
        size: int,
        deadline: Deadline,
        client: ClientContext,
    ) -> CallResult:
        def call(entry: ActionTool) -> ValidatedCall:
            gated = gates.takes_consent_arguments(entry.risk, entry.names, self.rules)
            return catalogue.make_call(entry, given, gated=gated)

        return await self._execute_action(name, call, size, deadline, client)

    async def _call_by_name(
        self,
        tool: BuiltinTool,
        given: Mapping[str, Any],
        size: int,
        deadline: Deadline,
        client: ClientContext,
    ) -> CallResult:
        run = await validate_off_loop(size, run_by_name.parse_run_request, tool, given)

        def call(entry: ActionTool) -> ValidatedCall:
            return run.call(entry, self.rules)

        return await self._execute_action(run.action, call, size, deadline, client)

    async def _execute_action(
        self,
        name: str,
        call_of: Callable[[ActionTool], ValidatedCall],
        size: int,
        deadline: Deadline,
        client: ClientContext,
    ) -> CallResult:
        entry = await self.account.find_tool(name, deadline)
        raise_for_verdict(self.exposure.hidden_reason(entry), self.rules)
        call = await validate_off_loop(size, lambda: decide_call(call_of(entry), self.rules))

        def current() -> Call:
            now = self.account.require_tool(name)
            return call if now is entry else decide_call(call_of(now), self.rules)

        return await self.gateway.execute(call, deadline, current, client)

    async def _call_builtin(
        self,
        tool: BuiltinTool,
        given: Mapping[str, Any],
        size: int,
        deadline: Deadline,
        client: ClientContext,
    ) -> CallResult:
        does: Mapping[str, Callable[[Mapping[str, Any], Deadline], Awaitable[ActionResult]]] = {
            builtin_tools.STATUS.name: lambda _, until: self._get_status_of(client, until),
            builtin_tools.SEARCH.name: self._run_search,
            builtin_tools.DESCRIBE.name: self._run_describe,
            builtin_tools.LEDGER.name: self._run_ledger,
            builtin_tools.RECONCILE.name: self._run_reconcile,
        }
        if tool is builtin_tools.BULK_STATUS:
            valid = await validate_off_loop(size, validate_builtin_arguments, tool, given)
            return await self.bulk().call_status(valid, deadline)
        if tool is builtin_tools.BULK_RUN:
            return await self.bulk().call_run(given, deadline, client)
        if tool.name in does:
            valid = await validate_off_loop(size, validate_builtin_arguments, tool, given)
            return CallResult(await does[tool.name](valid, deadline), own=True)
        if tool is builtin_tools.CONNECT:
            await validate_off_loop(size, validate_builtin_arguments, tool, given)
            found = await self.connecting.connect(deadline, client)
            steps = name_membrane(found["next"], self.membrane)
            return CallResult(ActionResult({**found, "next": steps}), own=True)
        if tool in (builtin_tools.RUN_READ, builtin_tools.RUN_WRITE):
            return await self._call_by_name(tool, given, size, deadline, client)
        call = await validate_off_loop(
            size, lambda: decide_call(make_raw_call(tool, given, self.rules), self.rules)
        )
        return await self.gateway.execute(call, deadline, lambda: call, client)

    def qualify_remedy(self, remedy: str) -> str:
        """Return a remedy with how to reach each tool that it names, and the ledger."""
        typed = name_membrane(remedy, self.membrane)
        known = add_ledger_flags(typed, self.settings.cli_flags)
        return remedies.qualify_remedy(known, self.exposure, self.account.snapshot.catalogue)

    def describe_access(self, text: str) -> str:
        """Return how to reach the tools that a text names and that are not listed, or ""."""
        return remedies.describe_access(text, self.exposure, self.account.snapshot.catalogue)

    def _qualify(self, found: Mapping[str, Any], name: str = "remedy") -> dict[str, Any]:
        return {**found, **({name: self.qualify_remedy(found[name])} if name in found else {})}

    async def get_status(self, deadline: Deadline) -> dict[str, Any]:
        """Return the payload of `kartra_status`, after a refresh from Membrane."""
        served = await self.account.refresh_now(deadline)
        problem = self.kept.storage.problem
        status = build_status(served, self.settings, self.rules, self.program, problem)
        writes = self.gateway.writes()
        not_shown = writes.consent.forms.list_failures()
        forms = {"forms_not_shown": not_shown} if not_shown else {}
        ledger = self._qualify(await writes.get_status())
        problems = [self._qualify(problem) for problem in status["problems"]]
        healthy = status["healthy"] and ledger["usable"]
        more = {"problems": problems, "ledger": ledger, "healthy": healthy}
        shown = {**status, **forms, **more}
        return map_strings(shown, redact_secrets)

    async def _get_status_of(self, client: ClientContext, deadline: Deadline) -> ActionResult:
        status = await self.get_status(deadline)
        if client.principal is None:
            return ActionResult(status)
        return ActionResult({**describe_caller(client.principal, self.settings), **status})

    async def _run_ledger(self, given: Mapping[str, Any], _: Deadline) -> ActionResult:
        return ActionResult({"lines": await self.gateway.writes().recent_entries(given)})

    async def _run_reconcile(self, given: Mapping[str, Any], deadline: Deadline) -> ActionResult:
        return ActionResult(await self.gateway.reconcile(given["intent"], deadline))

    async def _run_search(self, given: Mapping[str, Any], deadline: Deadline) -> ActionResult:
        """Rank the loaded list; where that finds nothing certain, search by Membrane too."""
        intent = given["intent"]
        found = await self.finder.find(intent, await self.account.catalogue(), MAX_SEARCH_RESULTS)
        if not found.certain:
            others = await self.gateway.search(intent, deadline)
            found = found.combine([e for e in others if not self.exposure.hidden_reason(e)])
        tools = [search_result(entry) for entry in found.tools[:MAX_SEARCH_RESULTS]]
        notes = found.notes if tools or found.notes else {"hint": NO_TOOL_HINT}
        return ActionResult({"tools": tools, **self._qualify(notes, "instead")})

    async def _run_describe(self, given: Mapping[str, Any], deadline: Deadline) -> ActionResult:
        entry = await self.account.find_tool(run_by_name.require_action(given["action"]), deadline)
        raise_for_verdict(self.exposure.hidden_reason(entry), self.rules)
        return ActionResult(run_by_name.describe_action(entry, self.rules))

    def _run_read_more(self, given: Mapping[str, Any] | None) -> ToolResponse:
        wanted = validate_builtin_arguments(builtin_tools.READ_MORE, given or {})
        stored = self.kept.read(wanted["result_id"])
        rows = stored.bulk_rows
        result = stored.result if rows is None else self.bulk().open_stored(rows)
        path = wanted.get("path", stored.path)
        # The same default for each call: a repeated one must not skip a page.
        default = stored.offset if path == stored.path else 0
        page = pagination.read_page(
            result,
            self.settings.result_chars,
            path=path,
            offset=int(wanted.get("offset", default)),
            limit=int(wanted["limit"]) if "limit" in wanted else None,
            fields=wanted.get("fields", ()),
        )
        cut_off = truncation_notice(page, wanted["result_id"]) if page.has_more else None
        return responses.success_response(
            make_shown(page.shown), {"truncated": cut_off}, sandbox=self.settings.sandbox
        )

    async def _make_response(self, done: CallResult) -> ToolResponse:
        """Return the response; it reports an executed write whatever Kartra returned."""
        try:
            if _needs_thread(done.reply):
                return await run_in_thread(self._paginate, done)
            shown = make_shown(done.reply.result, own=done.own)
            if shown.size <= self.settings.result_chars:
                return self._combine(done, shown, done.receipt, done.truncated)
            return self._paginate(done)
        except Exception:
            if done.receipt is None:
                raise
            return self._combine(done, make_shown(None), {**done.receipt, "note": NOT_SHOWN})

    def _paginate(self, done: CallResult) -> ToolResponse:
        """Return the first page of a result; a truncated one is stored to be continued."""
        whole, line = sanitize_and_dump(done.reply.result)
        page = pagination.make_first_page(whole, self.settings.result_chars, json_bytes(line))
        cut_off = done.truncated
        if page.has_more:
            cut_off = truncation_notice(
                page, self.kept.save(line, page.path, page.next_offset or 0)
            )
        return self._combine(done, make_shown(page.shown, own=done.own), done.receipt, cut_off)

    def _combine(
        self,
        done: CallResult,
        shown: ShownResult,
        receipt: Mapping[str, Any] | None,
        cut_off: Mapping[str, Any] | None = None,
    ) -> ToolResponse:
        """Return the response of what is shown of a result, with all that is told beside it."""
        return responses.success_response(
            shown,
            {
                "action_run_id": done.reply.action_run_id,
                "receipt": receipt,
                "before": map_strings(dict(done.before)),
                "truncated": cut_off,
            },
            sandbox=self.settings.sandbox,
            notice=done.notice,
        )


def _needs_thread(reply: ActionResult) -> bool:
    """Return whether a result takes long to be shown; of a small response that is certain."""
    if reply.size is not None and reply.size <= THREAD_ARGUMENTS_BYTES:
        return False
    return is_large(reply.result)


def search_result(entry: ActionTool) -> dict[str, str]:
    """Return one search result."""
    line = " ".join((entry.action.description or entry.title).split())
    return {"tool": entry.tool, "does": truncate(line, LINE), "risk": entry.risk.label}


def truncation_notice(page: pagination.ResultPage, result_id: str) -> dict[str, Any]:
    """Return the notice of a result that continues."""
    place = {"path": page.path} if page.path else {}
    note = {} if result_id else {"note": NOT_KEPT}
    return {
        "result_id": result_id or None,
        "total": page.total,
        "next_offset": page.next_offset,
        **place,
        **note,
    }
