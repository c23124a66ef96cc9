"""MCP server: handlers that translate between the SDK's types and `calls`."""

from __future__ import annotations

import asyncio  # noqa: TID251  anyio has no timer that is not a task
import logging
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

import anyio
import mcp_types as types
from anyio.abc import TaskGroup
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged
from mcp.shared.exceptions import MCPError
from mcp_types.methods import serialize_server_result
from pydantic import ValidationError

from kartra_mcp import __version__
from kartra_mcp.account.account import Account
from kartra_mcp.calls import responses
from kartra_mcp.calls.dispatcher import ToolDispatcher
from kartra_mcp.catalogue.catalogue import Catalogue
from kartra_mcp.core.elicitation import ClientContext, InputRequired
from kartra_mcp.core.errors import KartraMCPError, describe_exception, internal_error
from kartra_mcp.core.input_size import input_too_large
from kartra_mcp.core.models import Executed
from kartra_mcp.core.progress import CallProgress
from kartra_mcp.core.timings import Clocks
from kartra_mcp.server.approval_card import APPS_EXTENSION, CARD_META, CARD_TYPE
from kartra_mcp.server.client_display import shows_both
from kartra_mcp.server.elicitation import (
    INPUT_REQUIRED_VERSION,
    client_context,
    get_scope,
    make_input_required,
    replace_unreadable_answers,
)
from kartra_mcp.server.resource_reader import ResourceReader

Context = ServerRequestContext[Any]
PROTOCOL_VERSIONS = ("2025-11-25", "2026-07-28")

WEBSITE = "https://help.kartra.com/"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class CallReport:
    """One call of a tool as the operator may see it: no arguments, no texts.

    Attributes:
        tool: name as the client gave it: untrusted until it is known to be a tool.
        scope: ASGI scope of the request; {} on stdio.
        outcome: `done`, `input_required`, the code of the error, or `cancelled`.
        seconds: from the request to the answer.
    """

    tool: str
    scope: Mapping[str, Any]
    outcome: str = "cancelled"
    seconds: float = 0.0


Observe = Callable[[CallReport], None]


class MCPServer:
    """The tools as an MCP server, for every protocol revision that the SDK supports."""

    def __init__(
        self,
        tools: ToolDispatcher,
        account: Account,
        reader: ResourceReader,
        *,
        progress: float,
        clocks: Clocks,
        over_http: bool = False,
    ) -> None:
        self._tools = tools
        self._reader = reader
        self._account = account
        self._sandbox = tools.settings.sandbox
        self._progress = progress
        self._clocks = clocks
        self._bus = InMemorySubscriptionBus()
        self._over_http = over_http
        self._older_session: ServerSession | None = None
        self.observe: Observe | None = None
        self._checked: dict[str, tuple[Mapping[str, Any], types.Tool | None]] = {}
        self._listening = ListenHandler(self._bus)
        account.refresher.listeners.append(self._on_refresh)
        self.server: Server[None] = Server(
            "kartra-mcp",
            version=__version__,
            title="SANDBOX Kartra" if self._sandbox else "Kartra",
            website_url=WEBSITE,
            instructions=self._reader.instructions(),
            lifespan=self._lifespan,
            on_list_tools=self._list_tools,
            on_list_prompts=_list_prompts,
            on_get_prompt=self._get_prompt,
            on_list_resources=_list_resources,
            on_list_resource_templates=_list_resource_templates,
            on_read_resource=self._read_resource,
            on_subscriptions_listen=self._listening,
            # No schema of ours declares a header; the SDK would list all tools for each call.
            get_tool_input_schema=_no_schema,
        )
        if over_http:
            self.server.extensions[APPS_EXTENSION] = {}
        self.server.add_request_handler("tools/call", types.CallToolRequestParams, self._call_tool)
        # The SDK's middleware traces requests; its spans would contain the texts of errors.
        self.server.middleware.clear()
        self.server.middleware.append(replace_unreadable_answers)

    def make_options(self) -> InitializationOptions:
        return self.server.create_initialization_options(NotificationOptions(tools_changed=True))

    def make_oversized_result(self) -> dict[str, Any]:
        """Return the result of a tool call that is too large to be read."""
        return self._failure_result(input_too_large())

    def close_streams(self) -> None:
        """End the open listen streams; each client is told that its stream is over."""
        self._listening.close()

    @asynccontextmanager
    async def _lifespan(self, _: Server[None]) -> AsyncGenerator[None]:
        async with anyio.create_task_group() as self._behind:
            if not self._over_http:  # an account of a team outlives each of its servers
                self._account.start(self._behind)
            yield
            self._behind.cancel_scope.cancel()

    async def _list_tools(
        self, ctx: Context, _: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        self._track_legacy_session(ctx)
        found = [self._make_tool(definition) for definition in await self._tools.list_definitions()]
        return types.ListToolsResult(tools=[tool for tool in found if tool])

    async def _call_tool(
        self, ctx: Context, params: types.CallToolRequestParams
    ) -> dict[str, Any] | types.InputRequiredResult:
        self._track_legacy_session(ctx)
        client = client_context(ctx, params, self._clocks)
        report = CallReport(params.name, get_scope(ctx))
        try:
            with _progress_heartbeat(ctx, self._behind, self._progress, client.progress):
                return await self._call_dispatcher(params, client, report)
        finally:
            report.seconds = self._clocks.steady() - (client.received_steady or 0.0)
            if self.observe is not None:
                self.observe(report)

    async def _call_dispatcher(
        self, params: types.CallToolRequestParams, client: ClientContext, report: CallReport
    ) -> dict[str, Any] | types.InputRequiredResult:
        try:
            answer = await self._tools.call(params.name, params.arguments, client)
            report.outcome = "done"
            structured = {} if shows_both(client.name) else {"structuredContent": answer.structured}
            return _make_result(answer.text, isError=False, **structured)
        except InputRequired as asked:
            report.outcome = "input_required"
            return make_input_required(asked)
        except KartraMCPError as problem:
            report.outcome = problem.code
            return self._failure_result(problem)
        except Exception as error:  # noqa: BLE001  its text may hold customer data: not returned
            log.error("%s in a call", describe_exception(error))  # noqa: TRY400  no traceback either
            report.outcome = "internal_error"
            return self._failure_result(internal_error(Executed.NO))

    async def _read_resource(
        self, _: Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        with _as_protocol_error({"uri": str(params.uri)}):
            mime, text = await self._reader.read(str(params.uri))
        meta = CARD_META if mime == CARD_TYPE else None
        content = types.TextResourceContents(uri=params.uri, mime_type=mime, text=text, _meta=meta)
        return types.ReadResourceResult(contents=[content])

    async def _get_prompt(
        self, _: Context, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult:
        from kartra_mcp.server.prompts import make_prompt_messages

        with _as_protocol_error():
            messages = make_prompt_messages(
                params.name, params.arguments, self._tools.describe_access
            )
        return types.GetPromptResult(
            messages=[
                types.PromptMessage.model_validate(
                    {"role": message["role"], "content": {"type": "text", "text": message["text"]}}
                )
                for message in messages
            ]
        )

    def _failure_result(self, problem: KartraMCPError) -> dict[str, Any]:
        remedy = self._tools.qualify_remedy(problem.remedy)
        text = responses.error_text(problem, sandbox=self._sandbox, remedy=remedy)
        return _make_result(text, isError=True)

    def _track_legacy_session(self, ctx: Context) -> None:
        if ctx.protocol_version != INPUT_REQUIRED_VERSION and not self._over_http:
            self._older_session = ctx.session

    def _make_tool(self, definition: Mapping[str, Any]) -> types.Tool | None:
        """Return the tool, or None if an era rejects it: one bad entry voids the list."""
        name = definition["name"]
        known = self._checked.get(name)
        if known is None or known[0] != definition:
            known = self._checked[name] = (definition, _validated_tool(definition))
        return known[1]

    async def _on_refresh(self, before: Catalogue, after: Catalogue) -> None:
        if self._tools.exposure.has_changed(before, after):
            await self._announce()

    async def _announce(self) -> None:
        """Notify the client, in its era's form, that the tool list changed."""
        await self._bus.publish(ToolsListChanged())
        if self._older_session is not None:
            with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
                await self._older_session.send_tool_list_changed()


def _no_schema(_: str) -> None:
    return None


async def _list_prompts(_: Context, __: types.PaginatedRequestParams | None) -> Any:
    from kartra_mcp.server.prompts import list_prompt_definitions

    found = [types.Prompt.model_validate(definition) for definition in list_prompt_definitions()]
    return types.ListPromptsResult(prompts=found)


async def _list_resources(_: Context, __: types.PaginatedRequestParams | None) -> Any:
    from kartra_mcp.server.resources import list_resource_definitions

    found = [
        types.Resource.model_validate(definition) for definition in list_resource_definitions()
    ]
    return types.ListResourcesResult(resources=found)


async def _list_resource_templates(_: Context, __: types.PaginatedRequestParams | None) -> Any:
    """Return an empty list: clients that list resources report an unknown method as a fault."""
    return types.ListResourceTemplatesResult(resource_templates=[])


@contextmanager
def _as_protocol_error(about: dict[str, str] | None = None) -> Generator[None]:
    """Raise errors as MCP errors; unexpected ones without their text.

    Prompts and resources have no error result as tools have. The text of an unexpected error may
    hold customer data.
    """
    try:
        yield
    except KartraMCPError as problem:
        words = f"{problem.message} {problem.remedy}"
        raise MCPError(code=types.INVALID_PARAMS, message=words, data=about) from None
    except Exception as error:  # noqa: BLE001
        log.error("%s in a request", describe_exception(error))  # noqa: TRY400
        raise MCPError(code=types.INTERNAL_ERROR, message="An error in this server.") from None


@contextmanager
def _progress_heartbeat(
    ctx: Context, behind: TaskGroup, interval: float, progress: CallProgress
) -> Generator[None]:
    """Report progress to the client while a call runs, so that the client does not give up.

    A call that ends before the first report costs a timer, not a task.
    """
    reporting: list[anyio.CancelScope] = []

    def begin() -> None:
        reporting.append(anyio.CancelScope())
        behind.start_soon(_report_progress, ctx, reporting[0], interval, progress)

    timer = asyncio.get_running_loop().call_later(interval, begin)
    try:
        yield
    finally:
        timer.cancel()
        for scope in reporting:
            scope.cancel()


async def _report_progress(
    ctx: Context, scope: anyio.CancelScope, interval: float, progress: CallProgress
) -> None:
    """Report at each interval; a value that grows, because MCP requires that."""
    shown = 0.0
    with scope, suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
        for number in count(1):
            if progress.total:
                shown = max(progress.before + progress.done, shown + _SMALL_STEP)
                total = max(progress.before + progress.total, shown)
                done = f"{progress.done:.0f} of {progress.total:.0f} {progress.sentence}"
                await ctx.session.report_progress(shown, total, done)
            else:
                shown = number * interval
                await ctx.session.report_progress(shown, None, f"running for {shown:.0f} s")
            await anyio.sleep(interval)


_SMALL_STEP = 0.001
"""Growth of the reported value while no further item is done."""


def _make_result(text: str, **more: Any) -> dict[str, Any]:
    """Return a `CallToolResult` as JSON; the SDK would validate and dump a model a second time."""
    return {"content": [{"type": "text", "text": text}], "resultType": "complete", **more}


def _validated_tool(definition: Mapping[str, Any]) -> types.Tool | None:
    try:
        tool = types.Tool.model_validate(definition)
        body = types.ListToolsResult(tools=[tool]).model_dump(
            by_alias=True, mode="json", exclude_none=True
        )
        for era in PROTOCOL_VERSIONS:
            serialize_server_result("tools/list", era, body)
    except (ValidationError, ValueError, RecursionError) as fault:
        log.warning("the tool %s was left out: %s", definition["name"], type(fault).__name__)
        return None
    return tool
