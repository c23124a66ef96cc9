"""Questions to the user over MCP, in both eras: elicitation, and input-required results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import mcp_types as types
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from kartra_mcp.core.elicitation import (
    ClientContext,
    ElicitationResponse,
    FormElicitation,
    InputRequired,
    UrlElicitation,
)
from kartra_mcp.core.json_types import is_object
from kartra_mcp.core.principal import Principal
from kartra_mcp.core.sanitize import strip_control_chars, truncate
from kartra_mcp.core.timings import Clocks

INPUT_REQUIRED_VERSION = "2026-07-28"
URL_ELICITATION_VERSION = "2025-11-25"
"""First protocol revision in which the client can ask the user to open an address."""
KEY = "consent"
PRINCIPAL_KEY = "kartra_mcp.principal"
"""Key of the verified principal in the ASGI scope of a request over HTTP."""
UNREADABLE = "kartra_mcp_unreadable"
"""Action of an answer that cannot be read. A client that sends the mark itself gains nothing."""

Context = ServerRequestContext[Any]


def client_context(
    ctx: Context, params: types.CallToolRequestParams, clocks: Clocks
) -> ClientContext:
    """Return the calling client and the ways in which it can ask the user.

    Only ways that the client declared are included: another one would make it fail the whole call.
    """
    newer = ctx.protocol_version == INPUT_REQUIRED_VERSION

    async def ask(question: FormElicitation) -> ElicitationResponse:
        return await _elicit_form(ctx, question)

    async def open_(address: UrlElicitation) -> ElicitationResponse:
        return await _elicit_url(ctx, address)

    async def opened(address: UrlElicitation) -> None:
        await ctx.session.send_elicit_complete(address.id, ctx.request_id)

    principal = get_principal(ctx)
    return ClientContext(
        name=_name(ctx, principal),
        principal=principal,
        supports_forms=_declares_forms(ctx),
        elicit_form=None if newer else ask,
        response=_parse_answer(params) if newer else None,
        request_state=params.request_state if newer else None,
        received_at=clocks.wall(),
        received_steady=clocks.steady(),
        supports_urls=_declares_urls(ctx),
        elicit_url=None if newer else open_,
        notify_url_complete=None if newer else opened,
    )


def make_input_required(asked: InputRequired) -> types.InputRequiredResult:
    """Return the newer era's question; the client repeats the call with answer and state."""
    question = asked.question
    params = (
        types.ElicitRequestURLParams(message=question.text, url=question.url)
        if isinstance(question, UrlElicitation)
        else types.ElicitRequestFormParams(message=question.text, requested_schema=question.schema)
    )
    return types.InputRequiredResult(
        input_requests={KEY: types.ElicitRequest(params=params)}, request_state=asked.state
    )


async def _elicit_form(ctx: Context, question: FormElicitation) -> ElicitationResponse:
    """Ask inside the call (older era). A client error is "error", never a user's decision."""
    try:
        result = await ctx.session.elicit_form(
            question.text, question.schema, related_request_id=ctx.request_id
        )
    except MCPError:
        return ElicitationResponse("error")
    except ValidationError:
        return ElicitationResponse(UNREADABLE)
    return ElicitationResponse(result.action, result.content or {})


async def _elicit_url(ctx: Context, address: UrlElicitation) -> ElicitationResponse:
    """Ask the client to open an address. Acceptance means only that the client opens it."""
    try:
        result = await ctx.session.elicit_url(
            address.text, address.url, address.id, related_request_id=ctx.request_id
        )
    except (MCPError, ValidationError):
        return ElicitationResponse("error")
    return ElicitationResponse(result.action)


def _parse_answer(params: types.CallToolRequestParams) -> ElicitationResponse | None:
    if not params.input_responses:
        return None
    found = params.input_responses.get(KEY)
    if not isinstance(found, types.ElicitResult):
        return ElicitationResponse("error")
    content = found.content or {}
    return ElicitationResponse(UNREADABLE if UNREADABLE in content else found.action, content)


async def replace_unreadable_answers(ctx: Context, call_next: CallNext) -> HandlerResult:
    """Replace answers that the SDK rejects by a marked one (middleware; newer era).

    The SDK would refuse the whole call as a protocol error, and the question would stay open.
    """
    params = ctx.params or {}
    given = params.get("inputResponses")
    if ctx.method != "tools/call" or not given:
        return await call_next(ctx)
    answers = given if is_object(given) else {KEY: given}
    readable = {name: _make_readable(answer) for name, answer in answers.items()}
    return await call_next(replace(ctx, params={**params, "inputResponses": readable}))


def _make_readable(answer: Any) -> Any:
    try:
        types.ElicitResult.model_validate(answer, by_name=False)
    except ValidationError:
        action = answer.get("action") if is_object(answer) else None
        if action in ("decline", "cancel"):  # a refusal counts whatever its content is
            return {"action": action}
        return {"action": "cancel", "content": {UNREADABLE: True}}
    return answer


def _declares_forms(ctx: Context) -> bool:
    """Return True for `{}`, which means forms, and for a list of modes that contains `form`."""
    declared = _get_elicitation_capability(ctx)
    return declared is not None and (declared.form is not None or declared.url is None)


def _declares_urls(ctx: Context) -> bool:
    declared = _get_elicitation_capability(ctx)
    known = ctx.protocol_version >= URL_ELICITATION_VERSION
    return known and declared is not None and declared.url is not None


def _get_elicitation_capability(ctx: Context) -> types.ElicitationCapability | None:
    capabilities = ctx.session.client_capabilities
    return capabilities.elicitation if capabilities else None


def get_scope(ctx: Context) -> Mapping[str, Any]:
    """Return the ASGI scope of a request over HTTP; {} on stdio."""
    return {} if ctx.request is None else ctx.request.scope


def get_principal(ctx: Context) -> Principal | None:
    """Return the verified principal of a request over HTTP; None on stdio."""
    found = get_scope(ctx).get(PRINCIPAL_KEY)
    return found if isinstance(found, Principal) else None


def _name(ctx: Context, principal: Principal | None) -> str:
    """Return name and version as reported by the client: for the ledger, never for a decision.

    Older clients report them once, in a session that a stateless server does not have: then it is
    the client of the token.
    """
    params = ctx.session.client_params
    info = params.client_info if params else None
    of_token = principal.client_id if principal else ""
    told = f"{info.name} {info.version}" if info else of_token or "unknown client"
    return truncate(" ".join(strip_control_chars(told).split()), 80)
