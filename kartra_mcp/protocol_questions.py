"""Questions to a person in MCP's words, in both eras: elicitation, and input-required results."""

from __future__ import annotations

import time
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

from kartra_mcp.asking import Answered, Client, Question, QuestionToReturn
from kartra_mcp.text import clean, cut

NEW_ERA = "2026-07-28"
KEY = "consent"

Context = ServerRequestContext[Any]


def client_of(ctx: Context, params: types.CallToolRequestParams) -> Client:
    """Who calls, and how a person can be asked: only what the client declares counts."""
    newer = ctx.protocol_version == NEW_ERA

    async def ask(question: Question) -> Answered:
        return await _elicit(ctx, question)

    return Client(
        name=_name(ctx),
        can_ask=_declares_forms(ctx),
        ask=None if newer else ask,
        answer=_answer(params) if newer else None,
        state=params.request_state if newer else None,
        arrived=time.time(),
    )


def input_required(asked: QuestionToReturn) -> types.InputRequiredResult:
    """The newer era's question: the client asks, then repeats the call with answer and state."""
    params = types.ElicitRequestFormParams(
        message=asked.question.text, requested_schema=asked.question.schema
    )
    return types.InputRequiredResult(
        input_requests={KEY: types.ElicitRequest(params=params)}, request_state=asked.state
    )


async def _elicit(ctx: Context, question: Question) -> Answered:
    """The older era's question, inside the call; a client that cannot show it dismisses it."""
    try:
        result = await ctx.session.elicit_form(
            question.text, question.schema, related_request_id=ctx.request_id
        )
    except MCPError:
        return Answered("error")
    return Answered(result.action, result.content or {})


def _answer(params: types.CallToolRequestParams) -> Answered | None:
    if not params.input_responses:
        return None
    found = params.input_responses.get(KEY)
    if not isinstance(found, types.ElicitResult):
        return Answered("error")
    return Answered(found.action, found.content or {})


def _declares_forms(ctx: Context) -> bool:
    """`{}` means forms; naming modes, `form` has to be among them."""
    capabilities = ctx.session.client_capabilities
    declared = capabilities.elicitation if capabilities else None
    if declared is None:
        return False
    return declared.form is not None or declared.url is None


def _name(ctx: Context) -> str:
    """Name and version as the client tells them: for the ledger, never to steer anything."""
    params = ctx.session.client_params
    info = params.client_info if params else None
    told = f"{info.name} {info.version}" if info else "unknown client"
    return cut(" ".join(clean(told).split()), 80)
