"""Membrane's errors: the envelope inside a value, and the error it becomes here. Pure.

Neither stream nor shape nor exit status of an error is documented, so all are parsed tolerantly. An
unclear error after a write was started is `unknown`, never `no`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.core.errors import KartraMCPError, UpstreamError
from kartra_mcp.core.json_types import as_dict, is_array, is_object
from kartra_mcp.core.models import Executed
from kartra_mcp.core.sanitize import safe_excerpt, strip_control_chars, truncate
from kartra_mcp.kartra.errors import find_error
from kartra_mcp.membrane.lenient_json import decode_if_json

ERROR_TYPES = frozenset(
    """
    bad_request connection configuration dependency_error flow_run flow_instance_setup concurrency
    internal action_run action_instance_setup unit_run custom_code insufficient_credit
    openrouter_not_configured
    """.split()  # noqa: SIM905  shorter to read than a list of quoted names
)
"""Membrane's error types, as its JavaScript SDK lists them."""

UNAUTHORIZED, TOO_MANY, SERVER_ERRORS = 401, 429, 500
CLIENT_ERRORS, NO_STATUS = 400, 600


@dataclass(frozen=True, slots=True)
class KnownError:
    """A Membrane error key which proves that nothing was executed."""

    code: str
    message: str
    remedy: str


_LOGIN = KnownError(
    "not_logged_in",
    "The membrane program is not logged in, or its login has expired.",
    "Run `kartra-mcp setup` or `membrane login --tenant` in a terminal, then repeat the call.",
)
KNOWN_ERRORS: Mapping[str, KnownError] = {
    "not_authenticated": _LOGIN,
    "access_denied": KnownError(
        "membrane_error",
        "Membrane denied access to this connection or action.",
        "Check with `membrane status` that the right workspace is logged in.",
    ),
    "not_found": KnownError(
        "membrane_error",
        "Membrane does not have this action, connection or path.",
        "Call kartra_status; the list of actions may have changed.",
    ),
    "rate_limit_exceeded": KnownError(
        "rate_limited",
        "Too many calls: the request was rejected before it was executed.",
        "Wait a few seconds, then repeat the call.",
    ),
}
_INVALID = KnownError(
    "membrane_error",
    "Membrane refused the input before running the action.",
    "Correct the arguments named in the detail, then repeat the call.",
)
_INVALID_KEY = re.compile(
    r"^(?:input_)?(?:validation(?:_error|_failed)?|invalid_input|invalid_params)$"
)
_OTHER_KEYS = frozenset(
    {"already_exists", "connection_is_defunct", "access_token_expired", "lock_timeout"}
)
LOGGED_OUT_PATTERN = re.compile(
    r"(?im)^(?:error: *)?unauthorized\.?\s*$|\bnot (?:logged in|authenticated)\b"
    r"|\bplease log ?in\b|\blogin required\b"
    r"|\b401 unauthorized\b|\bstatus(?: code)?:? 401\b|\brun [`'\"]?membrane login\b"
    r"|\b(?:session|login) (?:has |is )?expired\b|\blogged out\b"
)
_ENVELOPE = frozenset(
    """
    type key code name message reason data details stack logs causedByError errorId error errors
    errorMessage errorCode status statusCode statusText success ok output actionRunId requestId
    timestamp path
    """.split()  # noqa: SIM905  shorter to read than a list of quoted names
)
"""Fields of an error. A value with any other field is data, unless it is a listed error."""
_STACK = re.compile(
    r"\n?^[ \t]+at .*|Traceback \(most recent call last\).*(?:\n[ \t]+.*)*", re.MULTILINE
)


def find_error_envelope(value: Any, exit_code: int = 0) -> Mapping[str, Any] | None:
    """Return the error inside a value: `{type, message, …}`, or under `error` or `errors`."""
    if not is_object(value) or ("id" in value and "state" in value):
        return None  # a listed element may contain the errors of its own set-up
    run = {"actionRunId": value["actionRunId"]} if value.get("actionRunId") else {}
    inner = value.get("error")
    if is_object(inner) and inner:
        return {**run, **inner}
    if value.get("output") in (None, "", {}, []):
        if inner:
            return {**_first_envelope(inner), **value}
        if value.get("errors") and _is_small(value):
            return {**value, **_first_envelope(value["errors"])}
        if _is_failure(value):
            return value
    return value if _is_envelope(value, exit_code) else None


def _first_envelope(error: Any) -> Mapping[str, Any]:
    """Return one error as an envelope, of a list the first."""
    first = error[0] if is_array(error) and error else error
    if is_object(first):
        return first
    return {"message": first if isinstance(first, str) else ""}


def _is_small(value: Mapping[str, Any]) -> bool:
    return value.keys() <= _ENVELOPE


def _is_failure(value: Mapping[str, Any]) -> bool:
    """Return whether `success: false` or an HTTP status reports a failure."""
    if value.get("success") is False or value.get("ok") is False:
        return _is_small(value) or "actionRunId" in value or "output" in value
    status = parse_http_status(value)
    is_http = status is not None and status >= CLIENT_ERRORS
    return is_http and _is_small(value) and isinstance(value.get("message"), str)


def _is_envelope(value: Mapping[str, Any], exit_code: int) -> bool:
    if "message" not in value:
        return False
    kind, key = value.get("type"), value.get("key", value.get("code"))
    if isinstance(kind, str) and kind in ERROR_TYPES:
        return True
    if "output" in value or not _is_small(value) or _is_kartras(value):
        return False
    if isinstance(key, str) and (
        key in KNOWN_ERRORS or key in _OTHER_KEYS or _INVALID_KEY.match(key)
    ):
        return True
    return isinstance(kind, str) and (
        isinstance(key, str) or exit_code != 0 or bool(value.get("actionRunId"))
    )


def _is_kartras(value: Mapping[str, Any]) -> bool:
    """Return whether an envelope is Kartra's own: its status is a word."""
    return isinstance(value.get("status"), str) and parse_http_status(value) is None


def make_membrane_error(envelope: Mapping[str, Any]) -> KartraMCPError:
    """Return this server's error for an error of Membrane, judged down its `causedByError` chain.

    Kartra's own error is the deepest and the most specific.
    """
    chain = list(_iter_chain(envelope))
    kartra = next((found for found in map(_parse_kartra_error, reversed(chain)) if found), None)
    if kartra:
        return kartra
    detail: dict[str, Any] = {"membrane": [_describe_link(link) for link in chain]}
    known = next((k for k in map(_find_known_error, chain) if k), None)
    if known and not any(map(_is_inconclusive, chain)):
        return UpstreamError(
            known.code, known.message, known.remedy, executed=Executed.NO, detail=detail
        )
    if _get_run_id(envelope):
        detail["action_run_id"] = _get_run_id(envelope)
    if known is _LOGIN or any(map(_is_about_login, chain)):
        return logged_out_error(detail)
    return UpstreamError(
        "membrane_error",
        "Membrane reported an error.",
        "Read the detail; if this was a write, look in Kartra before repeating it.",
        detail=detail,
    )


def logged_out_error(detail: dict[str, Any]) -> KartraMCPError:
    """Return the error for a lost login, recognized by words only; `executed` is unknown."""
    return UpstreamError(
        _LOGIN.code,
        _LOGIN.message,
        "Run `kartra-mcp setup` or `membrane login --tenant` in a terminal; if this was a write, "
        "look in Kartra before repeating it.",
        detail=detail,
    )


def parse_http_status(value: Mapping[str, Any]) -> int | None:
    """Return the HTTP status of a response, given as a number or as text."""
    for name in ("status", "statusCode"):
        found = value.get(name)
        if isinstance(found, int) and not isinstance(found, bool) and 100 <= found < NO_STATUS:  # noqa: PLR2004
            return found
        if isinstance(found, str) and re.fullmatch(r"[1-5][0-9][0-9]", found.strip()):
            return int(found)
    return None


def _iter_chain(envelope: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    link: Any = envelope
    for _ in range(10):
        if not is_object(link):
            return
        yield link
        link = link.get("causedByError")


def _find_known_error(link: Mapping[str, Any]) -> KnownError | None:
    for name in (link.get("key"), link.get("code"), link.get("type")):
        if isinstance(name, str) and name in KNOWN_ERRORS:
            return KNOWN_ERRORS[name]
    if _get_response_status(link) == TOO_MANY:
        return KNOWN_ERRORS["rate_limit_exceeded"]
    key = link.get("key")
    if link.get("type") == "bad_request" and isinstance(key, str) and _INVALID_KEY.match(key):
        return _INVALID
    return None


def _is_inconclusive(link: Mapping[str, Any]) -> bool:
    """Return whether a link is `internal` or a 5xx, which prove nothing."""
    return link.get("type") == "internal" or _get_response_status(link) >= SERVER_ERRORS


def _get_response_status(link: Mapping[str, Any]) -> int:
    """Return the HTTP status of the response that an error is about, 0 if it has none."""
    data = link.get("data")
    response = data.get("response") if is_object(data) else None
    return (parse_http_status(response) or 0) if is_object(response) else 0


def _is_about_login(link: Mapping[str, Any]) -> bool:
    """Return True if an error is about Membrane's login.

    A `connection` error is about the app behind the connection instead.
    """
    if link.get("type") == "connection":
        return False
    message = link.get("message")
    text = message[:2000] if isinstance(message, str) else ""
    return _get_response_status(link) == UNAUTHORIZED or LOGGED_OUT_PATTERN.search(text) is not None


def _parse_kartra_error(link: Mapping[str, Any]) -> KartraMCPError | None:
    """Return the error in a response body of Kartra that Membrane passed on."""
    data = link.get("data")
    response = data.get("response") if is_object(data) else None
    bodies = (response.get("data"), response.get("body")) if is_object(response) else ()
    return find_kartra_error([decode_if_json(body) for body in (*bodies, data)])


def find_kartra_error(bodies: Iterable[Any]) -> KartraMCPError | None:
    found = (find_error(body, write=True) for body in bodies)
    return next((error for error in found if error), None)


def _describe_link(link: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: strip_stack_trace(str(link[name]), 300)
        for name in ("type", "key", "message")
        if link.get(name) not in (None, "")
    }


def _get_run_id(envelope: Mapping[str, Any]) -> str:
    data = envelope.get("data")
    places = [envelope, as_dict(data)]
    found = next((p["actionRunId"] for p in places if p.get("actionRunId")), "")
    return safe_id(found)


def safe_id(value: Any) -> str:
    """Return an id of Membrane's for display."""
    return truncate(" ".join(strip_control_chars(str(value)[:2000]).split()), 64)


def strip_stack_trace(text: str, length: int = 500) -> str:
    """Return untrusted text without stack traces."""
    return safe_excerpt(_STACK.sub("", text[:20_000]), length)
