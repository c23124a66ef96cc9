"""Arguments of a raw-request tool to a call. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kartra_mcp.catalogue import command_checks, consent_arguments
from kartra_mcp.catalogue.builtin_tools import PROXY_READ, BuiltinTool
from kartra_mcp.catalogue.definitions import coerce_arguments, is_gated
from kartra_mcp.core.json_types import is_array, is_number, is_object
from kartra_mcp.core.models import ConsentArguments, Risk, ValidatedCall
from kartra_mcp.kartra.fields import AMOUNT_NAMES, COERCED_NAMES, normalize_name
from kartra_mcp.policy import risk as policy_risk
from kartra_mcp.policy.gates import Policy
from kartra_mcp.schemas import arguments
from kartra_mcp.schemas.coercion import format_number

_BODIES = ("json", "form", "raw")


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
        own, said = consent_arguments.split_consent(
            tool.schema["properties"], own, repeat=tool is not PROXY_READ
        )
    request = request_guard.parse_request(_coerce_arguments(tool, own))
    reads = tool is PROXY_READ
    (request_guard.require_read_only if reads else request_guard.reject_dedicated_commands)(request)
    for command in request.commands:
        command_checks.check_raw_amounts(command)
        command_checks.check_command(command, exact=True, is_raw=True)
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


def _coerce_arguments(tool: BuiltinTool, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with objects for their JSON text, and ids and amounts as text.

    A body that is null is absent only where another one is given: a POST needs one.
    """
    bodies = {name for name in _BODIES if given.get(name) is not None}
    nulls = {} if bodies else {n: v for n, v in given.items() if n in _BODIES and v is None}
    known = {**coerce_arguments(tool, given), **nulls}
    query = known.get("query")
    if is_object(query):
        known["query"] = {name: _coerce_query(name, value) for name, value in query.items()}
    return known


def _coerce_query(name: str, value: Any) -> Any:
    if is_array(value):
        return [_coerce_query(name, inner) for inner in value]
    flat = normalize_name(name)
    numeric = flat.endswith(("id", "ids")) or flat in COERCED_NAMES | AMOUNT_NAMES
    text = format_number(value) if numeric and is_number(value) else None
    return value if text is None else text
