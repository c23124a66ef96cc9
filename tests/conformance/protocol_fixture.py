"""Handlers that the suite requires and the shipped server does not have.

Other content than text, sampling, roots, logging, completion, subscriptions to resources, a list
of templates, and the suite's prompts and resources. A handler of a method that the server serves
takes the suite's names for itself and passes everything else to the shipped one.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.subscriptions import PromptsListChanged, SubscriptionBus
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError

from conformance.content_fixture import CONTENT, text
from conformance.prompts_fixture import BINARY, BLOB, PROMPTS, RESOURCES, TEMPLATES
from conformance.questions_fixture import WANTED, input_prompt, input_tool
from conformance.tools_fixture import TEXT, form, tool
from kartra_mcp.catalogue.builtin_tools import BuiltinTool

Context = ServerRequestContext[Any]
Handler = Callable[[Context, Any], Awaitable[Any]]

INPUT_PROMPT = "test_input_required_result_prompt"
TAMPERED = "test_input_required_result_tampered_state"
PAUSE = 0.05
"""Seconds between two messages, as the suite requires."""

# Sampling and logging are deprecated, and the suite still scores them for 2025-11-25.
warnings.filterwarnings("ignore", category=MCPDeprecationWarning)


def add_to(server: Server[Any], bus: SubscriptionBus) -> None:
    """Put the fixtures in front of the shipped handlers, and add the missing ones."""

    async def prompt_change(_: Context, __: types.CallToolRequestParams) -> types.CallToolResult:
        await bus.publish(PromptsListChanged())
        return _said("The client was notified.")

    call = _shipped(server, "tools/call")
    calls = {**CALLS, "test_trigger_prompt_change": prompt_change, TAMPERED: _as_error(call)}
    get = _shipped(server, "prompts/get")
    read = _shipped(server, "resources/read")
    prompts = {**dict.fromkeys(PROMPTS, _get_prompt), INPUT_PROMPT: input_prompt}
    for method, params, handler in (
        ("tools/call", types.CallToolRequestParams, _by(calls, "name", call)),
        ("prompts/get", types.GetPromptRequestParams, _by(prompts, "name", get)),
        ("resources/read", types.ReadResourceRequestParams, _by({BINARY: _blob}, "uri", read)),
        ("prompts/list", types.PaginatedRequestParams, _more_prompts(server)),
        ("resources/list", types.PaginatedRequestParams, _more_resources(server)),
        ("resources/templates/list", types.PaginatedRequestParams, _templates),
        ("resources/subscribe", types.SubscribeRequestParams, _done),
        ("resources/unsubscribe", types.UnsubscribeRequestParams, _done),
        ("logging/setLevel", types.SetLevelRequestParams, _done),
        ("completion/complete", types.CompleteRequestParams, _complete),
    ):
        server.add_request_handler(method, params, handler)


def _shipped(server: Server[Any], method: str) -> Handler:
    found = server.get_request_handler(method)
    assert found is not None, method
    return found.handler


def _by(fixtures: Mapping[str, Handler], name: str, shipped: Handler) -> Handler:
    """Return the fixture of this name, else the shipped handler."""

    async def handler(ctx: Context, params: Any) -> Any:
        return await fixtures.get(getattr(params, name), shipped)(ctx, params)

    return handler


def _as_error(shipped: Handler) -> Handler:
    """Convert a refused state into a protocol error, which the suite requires.

    The shipped server answers with its own error (docs/decisions/0015). The refusal of the altered
    state, and its reason, are the shipped code here too.
    """

    async def handler(ctx: Context, params: types.CallToolRequestParams) -> Any:
        result = await shipped(ctx, params)
        if not isinstance(result, types.InputRequiredResult) and result["isError"]:
            (block,) = result["content"]
            error = json.loads(block["text"])["error"]
            assert error["code"] == "confirmation_mismatch", error
            raise MCPError(code=types.INVALID_PARAMS, message=error["message"])
        return result

    return handler


def _more_prompts(server: Server[Any]) -> Handler:
    shipped = _shipped(server, "prompts/list")

    async def handler(ctx: Context, params: Any) -> types.ListPromptsResult:
        result = await shipped(ctx, params)
        added = [prompt.listed(name) for name, prompt in PROMPTS.items()]
        asking = types.Prompt(name=INPUT_PROMPT, description="Requires its context")
        return types.ListPromptsResult(prompts=[*result.prompts, *added, asking])

    return handler


def _more_resources(server: Server[Any]) -> Handler:
    shipped = _shipped(server, "resources/list")

    async def handler(ctx: Context, params: Any) -> types.ListResourcesResult:
        result = await shipped(ctx, params)
        return types.ListResourcesResult(resources=[*result.resources, *RESOURCES])

    return handler


async def _get_prompt(_: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    return PROMPTS[params.name].get(params.arguments or {})


async def _blob(_: Context, __: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    return types.ReadResourceResult(contents=[BLOB])


async def _templates(_: Context, __: Any) -> types.ListResourceTemplatesResult:
    return types.ListResourceTemplatesResult(resource_templates=TEMPLATES)


async def _done(_: Context, __: Any) -> types.EmptyResult:
    return types.EmptyResult()


async def _complete(_: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
    values = [word for word in ("paris", "park", "party") if word.startswith(params.argument.value)]
    return types.CompleteResult(completion=types.Completion(values=values, total=len(values)))


async def _content(_: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
    return types.CallToolResult(content=CONTENT[params.name])


async def _logs(ctx: Context, _: types.CallToolRequestParams) -> types.CallToolResult:
    for words in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.session.send_log_message(  # pyright: ignore[reportDeprecated]
            "info", words, related_request_id=ctx.request_id
        )
        await anyio.sleep(PAUSE)
    return _said("All was logged.")


async def _samples(ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
    prompt = text(str((params.arguments or {}).get("prompt")))
    found = await ctx.session.create_message(  # pyright: ignore[reportDeprecated]
        [types.SamplingMessage(role="user", content=prompt)],
        max_tokens=100,
        related_request_id=ctx.request_id,
    )
    return _said(f"LLM response: {found.content}")


async def _needs_sampling(ctx: Context, _: types.CallToolRequestParams) -> types.CallToolResult:
    declared = ctx.session.client_capabilities
    if declared is None or declared.sampling is None:
        raise MCPError(
            code=types.MISSING_REQUIRED_CLIENT_CAPABILITY,
            message="This tool needs sampling.",
            data={"requiredCapabilities": {"sampling": {}}},
        )
    return _said("The client can sample.")


def _said(words: str) -> types.CallToolResult:
    return types.CallToolResult(content=[text(words)])


CALLS: Mapping[str, Handler] = {
    **dict.fromkeys(CONTENT, _content),
    **dict.fromkeys(WANTED, input_tool),
    "test_tool_with_logging": _logs,
    "test_logging_tool": _logs,
    "test_sampling": _samples,
    "test_missing_capability": _needs_sampling,
}
"""Tools that are answered here and not by the shipped server."""

_SCHEMAS = {"test_sampling": form(prompt=TEXT)}

LISTED: tuple[BuiltinTool, ...] = tuple(
    tool(name, _SCHEMAS.get(name)) for name in (*CALLS, "test_trigger_prompt_change")
)
"""Their rows; the shipped server lists them."""
