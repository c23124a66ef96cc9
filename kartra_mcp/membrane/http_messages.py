"""Requests to Membrane's API, and parsing of its responses into a value or an error. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from kartra_mcp.core.errors import KartraMCPError, RefusedError, UpstreamError
from kartra_mcp.core.json_types import is_object
from kartra_mcp.core.models import Executed, RawRequest
from kartra_mcp.membrane.client import StartedIntent
from kartra_mcp.membrane.errors import (
    KNOWN_ERRORS,
    LOGGED_OUT_PATTERN,
    SERVER_ERRORS,
    TOO_MANY,
    UNAUTHORIZED,
    find_error_envelope,
    find_kartra_error,
    make_membrane_error,
    strip_stack_trace,
)
from kartra_mcp.membrane.lenient_json import NO_JSON, decode, decode_if_json
from kartra_mcp.membrane.responses import OK, invalid_response_error

INTENT_META_KEY = "kartra_mcp_intent"
"""Name in a run's `meta` that holds its intent's id."""

ATTEMPT_META_KEY, LINE_META_KEY, HASH_META_KEY = (
    "kartra_mcp_attempt",
    "kartra_mcp_line",
    "kartra_mcp_hash",
)
"""Names in a run's `meta`: its attempt, and number and hash of the ledger's entry.

Membrane's log is a witness of the ledger that this machine cannot alter.
"""

MAX_REQUEST_BYTES = 10_000_000
"""Largest request in bytes; Membrane documents 10 MB."""

ROOM_FOR_THE_MARK = 1_000
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request.

    `takes_mark`: its body may carry the intent, so that its run log can be found.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Mapping[str, Any] | None = None
    takes_mark: bool = False

    def encode_content(self, begun: StartedIntent | None = None) -> bytes | None:
        """Return the body to send, with the mark of a recorded write if one is given.

        Raises:
            RefusedError: it is too large, or not JSON.
        """
        if self.body is None:
            return None
        marked = {"meta": _make_mark(begun)} if begun and self.takes_mark else {}
        try:
            text = _ENCODER.encode({**self.body, **marked})
            raw = text.encode()
        except ValueError:
            raise _not_json_error() from None
        if len(raw) + ROOM_FOR_THE_MARK > MAX_REQUEST_BYTES:
            raise _too_large_error()
        return raw


def _make_mark(begun: StartedIntent) -> dict[str, Any]:
    mark: dict[str, Any] = {INTENT_META_KEY: begun.intent}
    if begun.right:
        mark[ATTEMPT_META_KEY] = begun.right.attempt
    if begun.line:
        mark |= {LINE_META_KEY: begun.line, HASH_META_KEY: begun.hash}
    return mark


def path_segment(identity: str) -> str:
    """Return an id as one path segment.

    Raises:
        RefusedError: it is not an id, or would change the path.
    """
    if not identity or set(identity) == {"."}:
        raise RefusedError(
            "invalid_arguments",
            "The id is empty or consists of dots. Nothing was sent.",
            "Call kartra_status and use an id that it lists.",
        )
    return quote(identity, safe="")


def request_payload(request: RawRequest) -> dict[str, Any]:
    """Return a raw request as the API expects it.

    Fields: path, method, pathParameters, query, headers, data. The values of `query` are single
    strings: a repeated name must go into the path.
    """
    headers = dict(request.headers)
    payload: dict[str, Any] = {"method": request.method, "path": request.path}
    if len(dict(request.query)) == len(request.query):
        payload["query"] = dict(request.query)
    else:
        payload["path"] += f"?{urlencode(request.query)}"
    if request.body is not None:
        is_json = request.content_type.startswith("application/json")
        payload["data"] = decode_if_json(request.body) if is_json else request.body
        headers |= {"Content-Type": request.content_type} if request.content_type else {}
    more = {"headers": headers, "pathParameters": dict(request.path_params)}
    return {name: value for name, value in (payload | more).items() if value != {}}


def parse_response(status: int, body: bytes) -> Any:
    """Return the value of a response.

    Raises:
        UpstreamError: an error envelope, a failure status, or nothing readable. `executed` is `no`
            only if a listed key, the status 429 or an error of Kartra's own proves it; under a 5xx
            only the last does.
    """
    text = body.decode("utf-8", errors="replace").lstrip("\ufeff").strip()
    value = decode(text)
    if status not in OK:
        raise _make_error(status, text, value)
    if value is NO_JSON:
        raise invalid_response_error(text)
    envelope = find_error_envelope(value)
    if envelope is not None:
        raise _reword_login_error(make_membrane_error(envelope))
    return value


def redact(body: bytes, secret: str, instead: bytes) -> bytes:
    """Return a body without a secret in any of its JSON spellings.

    A server that escapes `/` or `=` returns a spelling that a plain search would miss.
    """
    body = body.replace(secret.encode(), instead)
    # The pattern takes 10 ms to compile, and each write has another token.
    if b"\\" not in body or secret.encode() not in _ESCAPED.sub(_unescape, body):
        return body
    return _secret_pattern(secret).sub(instead, body)


_ESCAPED = re.compile(rb"\\(?:u00([0-7][0-9a-fA-F])|([^u]))")


def _unescape(found: re.Match[bytes]) -> bytes:
    code, letter = found.groups()
    return letter if code is None else bytes([int(code, 16)])


def _secret_pattern(secret: str) -> re.Pattern[bytes]:
    letters = (
        rf"(?:{re.escape(letter)}|\\u(?i:{ord(letter):04x})|\\{re.escape(letter)})"
        for letter in secret
    )
    return re.compile("".join(letters).encode())


def _make_error(status: int, text: str, value: Any) -> KartraMCPError:
    envelope = None if value is NO_JSON else find_error_envelope(value, exit_code=1)
    if envelope is None:
        ran = is_object(value) and bool(value.keys() & {"output", "actionRunId"})
        return _reword_login_error(
            find_kartra_error([value]) or _make_bare_error(status, text, ran=ran)
        )
    if status >= SERVER_ERRORS:
        # A failed server proves nothing, even if its response contains a listed key.
        failed = {"type": "internal", "message": f"HTTP status {status}"}
        envelope = {**failed, "causedByError": envelope}
    return _reword_login_error(make_membrane_error(envelope))


def _make_bare_error(status: int, text: str, *, ran: bool) -> KartraMCPError:
    detail = {"status": status, "output": strip_stack_trace(text) or "(nothing)"}
    if status == TOO_MANY and not ran:
        known = KNOWN_ERRORS["rate_limit_exceeded"]
        return UpstreamError(
            known.code, known.message, known.remedy, executed=Executed.NO, detail=detail
        )
    if status == UNAUTHORIZED or LOGGED_OUT_PATTERN.search(text[:2000]):
        return UpstreamError("not_logged_in", "", "", detail=detail)
    return UpstreamError(
        "membrane_error",
        f"Membrane's API answered with the HTTP status {status} and no readable error.",
        "Call kartra_status; if this was a write, look in Kartra before repeating it.",
        detail=detail,
        answered=False,
    )


def _reword_login_error(problem: KartraMCPError) -> KartraMCPError:
    """Return a login error worded for the API, which has no program to log in to."""
    if problem.code == "not_logged_in":
        problem.message = "Membrane's API rejects these credentials; they may have expired."
        look = " If this was a write, look in Kartra before repeating it."
        problem.remedy = (
            "Correct MEMBRANE_ACCESS_TOKEN, or the workspace's key, secret and tenant; then "
            "restart the server." + look * (problem.executed is Executed.UNKNOWN)
        )
    return problem


def not_sent_error(host: str, why: str) -> UpstreamError:
    """Return the error for a request that ended before anything was sent: nothing was executed."""
    return UpstreamError(
        "membrane_error",
        f"Membrane's API at {host} could not be reached; nothing was sent.",
        "Check the network and MEMBRANE_API_URI, then repeat the call.",
        executed=Executed.NO,
        detail={"reason": strip_stack_trace(why, 200)},
        answered=False,
    )


def connection_lost_error(why: str) -> UpstreamError:
    """Return the error for a connection that broke after the first byte was sent."""
    return UpstreamError(
        "membrane_error",
        "The connection to Membrane's API ended before a response arrived.",
        "If this was a write, look in Kartra before repeating it.",
        detail={"reason": strip_stack_trace(why, 200)},
        answered=False,
    )


def _not_json_error() -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        "The arguments contain a number or a character that JSON does not support. "
        "Nothing was sent.",
        "Remove NaN, infinities and broken Unicode.",
    )


def _too_large_error() -> RefusedError:
    return RefusedError(
        "input_too_large",
        "The arguments exceed the 10 MB that Membrane accepts. Nothing was sent.",
        "Split the call into smaller ones.",
    )
