"""Response types of Membrane, for any transport: lists, runs, proxy responses, login. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from kartra_mcp.core.errors import KartraMCPError, UpstreamError
from kartra_mcp.core.json_types import as_dict, is_array, is_object
from kartra_mcp.core.models import ActionResult, Executed
from kartra_mcp.kartra.errors import find_error
from kartra_mcp.membrane.errors import (
    CLIENT_ERRORS,
    LOGGED_OUT_PATTERN,
    make_membrane_error,
    parse_http_status,
    safe_id,
    strip_stack_trace,
)
from kartra_mcp.membrane.lenient_json import decode_if_json


def invalid_response_error(text: str) -> KartraMCPError:
    """Return the error for a response that cannot be parsed; `executed` stays unknown."""
    return UpstreamError(
        "unreadable_answer",
        "Membrane's response could not be parsed.",
        "Call kartra_status; if this was a write, look in Kartra before repeating it.",
        detail={"output": strip_stack_trace(text) or "(nothing was printed)"},
        answered=False,
    )


def timed_out_error(message: str, *, write: bool) -> UpstreamError:
    """Return the error for a passed deadline; `write`: a write may have been executed."""
    return UpstreamError(
        "timed_out",
        message,
        "The write may have been executed: look in Kartra before you repeat it."
        if write
        else "Repeat the call, or raise KARTRA_MCP_TIMEOUT.",
        executed=Executed.UNKNOWN if write else Executed.NO,
    )


def list_items(value: Any) -> list[Any]:
    """Return the items of a list: `{items}`, `{output: {items}}` or a bare list."""
    inner = value.get("output", value) if is_object(value) else value
    found = inner.get("items") if is_object(inner) else inner
    if not is_array(found):
        raise invalid_response_error(json.dumps(value)[:600])
    return found


def get_cursor(value: Any) -> str | None:
    """Return the opaque cursor of a list's next page, None on the last."""
    inner = value.get("output", value) if is_object(value) else value
    found = inner.get("cursor") if is_object(inner) else None
    return found if isinstance(found, str) and found else None


def parse_run(value: Any, size: int | None = None) -> ActionResult:
    """Return the result of `action run`: `{output, actionRunId}` or a bare value.

    Args:
        value: the parsed response.
        size: its bytes, if they are known.

    Raises:
        KartraMCPError: the output is the app's HTTP response, with headers, and a failure.
    """
    for answer in _unwrap(value):
        status = parse_http_status(answer) if is_object(answer) and "headers" in answer else None
        if status is not None and status >= CLIENT_ERRORS:
            link = {"type": "connection", "message": f"HTTP status {status}"}
            raise make_membrane_error({**value, **link, "data": {"response": answer}})
    if is_object(value) and ("actionRunId" in value or set(value) == {"output"}):
        run_id = value.get("actionRunId")
        rest = {k: v for k, v in value.items() if k != "actionRunId"}
        result = value.get("output", rest or None)
        return ActionResult(result, safe_id(run_id) if run_id else None, size)
    return ActionResult(value, size=size)


def parse_login(value: Any) -> bool | None:
    """Return the login state that `status` reports; None if it reports none."""
    inner = value.get("output", value) if is_object(value) else value
    payload = as_dict(inner)
    flags = (payload.get(name) for name in ("loggedIn", "isLoggedIn", "logged_in", "authenticated"))
    found = next((flag for flag in flags if isinstance(flag, bool)), None)
    if found is not None:
        return found
    text = next(
        (t for t in (inner, payload.get("status"), payload.get("login")) if _is_text(t)), ""
    )
    if LOGGED_OUT_PATTERN.search(text):
        return False
    return True if re.search(r"(?i)\blogged in\b", text) else None


@dataclass(frozen=True, slots=True)
class ProxyResponse:
    """Result of `request`: the body, and the status if the program reported it."""

    body: Any
    status: int | None = None


@dataclass(frozen=True, slots=True)
class RunLog:
    """Membrane's log of one run: its output, or the error that it ended with, or neither."""

    id: str
    reply: ActionResult | None = None
    error: KartraMCPError | None = None


def parse_run_log(entry: Mapping[str, Any]) -> RunLog:
    """Parse one entry of the run logs."""
    number = safe_id(entry.get("id") or "")
    try:
        if entry.get("status") == "success" and "output" in entry:
            answer = {"output": entry["output"], "actionRunId": number}
            return RunLog(number, parse_run(answer))
    except KartraMCPError as problem:
        return RunLog(number, error=problem)
    error = entry.get("error")
    if entry.get("status") == "error" and is_object(error):
        return RunLog(number, error=make_membrane_error(error))
    return RunLog(number)


def parse_proxy_response(value: Any) -> ProxyResponse:
    """Parse `{status, headers, body|data}`, wrapped or not; any other value is the body itself."""
    for found in (value, *_unwrap(value)):
        if is_object(found) and not found.keys().isdisjoint(("body", "data", "headers")):
            status = parse_http_status(found)
            if status is not None:
                return ProxyResponse(decode_if_json(found.get("body", found.get("data"))), status)
    return ProxyResponse(decode_if_json(value))


def _unwrap(value: Any) -> list[Any]:
    if not is_object(value) or len(value.keys() - {"actionRunId"}) != 1:
        return []
    return [value[name] for name in ("output", "response") if name in value]


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str)


OK = range(200, 300)
TOO_MANY = 429


def raise_for_status(answer: ProxyResponse, *, write: bool) -> None:
    """Raise for an HTTP status that is a failure; an error in the body is more specific."""
    if answer.status is None or answer.status in OK:
        return
    if answer.status == TOO_MANY:
        raise UpstreamError(
            "rate_limited",
            "Kartra rejected the request because of too many calls; it was not executed.",
            "Wait a second, then repeat the call.",
            executed=Executed.NO,
        )
    raise find_error(answer.body, write=write) or UpstreamError(
        "kartra_error",
        f"The request was answered with the HTTP status {answer.status}.",
        "Check the path; if this was a write, look in Kartra before repeating it.",
        detail={"status": answer.status},
    )
