"""Arguments of a raw-request tool to a call. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kartra_mcp.catalogue import catalogue, consent_arguments
from kartra_mcp.catalogue.builtin_tools import PROXY_READ, BuiltinTool
from kartra_mcp.catalogue.definitions import is_gated
from kartra_mcp.core.models import ConsentArguments, Risk, ValidatedCall
from kartra_mcp.policy import risk as policy_risk
from kartra_mcp.policy.gates import Policy
from kartra_mcp.schemas import arguments


def make_raw_call(tool: BuiltinTool, given: Mapping[str, Any], rules: Policy) -> ValidatedCall:
    """Return the validated call of a raw request.

    Raises:
        RefusedError: it is hostile, not permitted here, or has a dedicated tool.
    """
    from kartra_mcp.kartra import request_guard  # its import would delay the first tools/list

    own, said = (
        {n: v for n, v in given.items() if n != arguments.CLIENT_INJECTED},
        ConsentArguments(),
    )
    if is_gated(tool, rules):
        own, said = consent_arguments.split_consent(tool.schema["properties"], own, refund=False)
    request = request_guard.parse_request(own)
    reads = tool is PROXY_READ
    (request_guard.require_read_only if reads else request_guard.reject_dedicated_commands)(request)
    for command in request.commands:
        catalogue.check_raw_amounts(command)
        catalogue.check_addresses(command)
    risk = policy_risk.request_risk(request)
    return ValidatedCall(
        tool=tool.name,
        title=tool.title,
        request=request,
        risk=risk if reads else max(risk, Risk.WRITE),
        policy_names=frozenset({tool.name}),
        commands=request.commands,
        consent=said,
    )
