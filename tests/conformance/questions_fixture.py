"""Input-required results that the shipped server never returns: other keys, other kinds, several.

The shipped server sends one question with a form, under its own key. The suite also requires a
key of its choice, sampling and roots, several at once, and a question from a prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext

from conformance.content_fixture import text
from conformance.tools_fixture import NAME, TEXT, form

Context = ServerRequestContext[Any]
Request = types.ElicitRequest | types.CreateMessageRequest | types.ListRootsRequest


def elicit(message: str, schema: dict[str, Any]) -> types.ElicitRequest:
    params = types.ElicitRequestFormParams(message=message, requested_schema=schema)
    return types.ElicitRequest(params=params)


def sample(prompt: str) -> types.CreateMessageRequest:
    said = types.SamplingMessage(role="user", content=text(prompt))
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(messages=[said], max_tokens=100)
    )


USER_NAME = elicit("What is your name?", NAME)
CAPITAL = sample("What is the capital of France?")
ROOTS = types.ListRootsRequest()
CONTEXT = elicit("What context should the prompt use?", form(context=TEXT))

ALL: Mapping[str, Request] = {"user_name": USER_NAME, "greeting": CAPITAL, "client_roots": ROOTS}

WANTED: Mapping[str, Mapping[str, Request]] = {
    "test_input_required_result_elicitation": {"user_name": USER_NAME},
    "test_input_required_result_sampling": {"capital_question": CAPITAL},
    "test_input_required_result_list_roots": {"client_roots": ROOTS},
    "test_input_required_result_multiple_inputs": ALL,
    "test_input_required_result_capabilities": ALL,
}
"""The suite's tools that need input, and which."""

STATE = "several"


async def input_tool(
    ctx: Context, params: types.CallToolRequestParams
) -> types.CallToolResult | types.InputRequiredResult:
    """Request every input that the client can give; done when all of it is there."""
    wanted = {key: one for key, one in WANTED[params.name].items() if _can(ctx, one)}
    given = params.input_responses or {}
    if not wanted.keys() <= given.keys():
        state = STATE if len(wanted) > 1 else None
        return types.InputRequiredResult(input_requests=dict(wanted), request_state=state)
    told = {key: given[key].model_dump(mode="json", exclude_none=True) for key in wanted}
    return types.CallToolResult(content=[text(f"Thank you for {told}.")])


async def input_prompt(
    _: Context, params: types.GetPromptRequestParams
) -> types.GetPromptResult | types.InputRequiredResult:
    given = (params.input_responses or {}).get("user_context")
    if not isinstance(given, types.ElicitResult):
        return types.InputRequiredResult(input_requests={"user_context": CONTEXT})
    said = types.PromptMessage(role="user", content=text(f"Use this context: {given.content}"))
    return types.GetPromptResult(messages=[said])


def _can(ctx: Context, request: Request) -> bool:
    """Return true if the client declares the capability for this request."""
    declared = ctx.session.client_capabilities or types.ClientCapabilities()
    by_kind: Mapping[type[Request], Any] = {
        types.ElicitRequest: declared.elicitation,
        types.CreateMessageRequest: declared.sampling,
        types.ListRootsRequest: declared.roots,
    }
    return by_kind[type(request)] is not None
