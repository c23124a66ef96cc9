"""What a `membrane` program printed, understood: a value, or one of our errors. Pure.

Neither the stream, nor the shape, nor the exit code of an error is documented, so all are read
tolerantly; what stays unclear after a write was started is `unknown`, never `no`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.errors import Failed, KartraMCPError
from kartra_mcp.kartra_errors import error_in
from kartra_mcp.model import Executed, Reply
from kartra_mcp.shapes import is_array, is_number, is_object
from kartra_mcp.text import shown, without_ansi

ERROR_TYPES = frozenset(
    """
    bad_request connection configuration dependency_error flow_run flow_instance_setup concurrency
    internal action_run action_instance_setup unit_run custom_code insufficient_credit
    openrouter_not_configured
    """.split()  # noqa: SIM905  a table that is read as words
)
"""Membrane's error types, as its JavaScript SDK lists them."""

SERVER_ERRORS = 500
DEEPEST = 100
"""Levels of nesting beyond which parts of an answer are left out: what comes after walks it."""
TOO_DEEP = "(nested too deeply to be read)"


@dataclass(frozen=True, slots=True)
class Known:
    """A Membrane error key that says that nothing was executed."""

    code: str
    message: str
    remedy: str


_LOGIN = Known(
    "not_logged_in",
    "The membrane program is not logged in, or its login has expired.",
    "Run `membrane login --tenant` in a terminal, then repeat the call.",
)
KEYS: Mapping[str, Known] = {
    "not_authenticated": _LOGIN,
    "access_denied": Known(
        "membrane_error",
        "Membrane denied access to this connection or action.",
        "Check with `membrane status` that the right workspace is logged in.",
    ),
    "not_found": Known(
        "membrane_error",
        "Membrane does not know this action, connection or path.",
        "Ask for kartra_status; the list of actions may have changed.",
    ),
    "rate_limit_exceeded": Known(
        "rate_limited",
        "Too many calls: the request was turned away before it was executed.",
        "Wait a few seconds, then repeat the call.",
    ),
}
_INVALID = Known(
    "membrane_error",
    "Membrane refused the input before running the action.",
    "Correct the arguments named in the detail, then repeat the call.",
)
_INVALID_KEY = re.compile(
    r"^(?:input_)?(?:validation(?:_error|_failed)?|invalid_input|invalid_params)$"
)
_LOGGED_OUT = re.compile(
    r"(?i)\bnot logged in\b|\bplease log ?in\b|\blogin required\b"
    r"|\b401 unauthorized\b|\bstatus(?: code)?:? 401\b"
)


def read_value(exit_code: int, stdout: bytes, stderr: bytes) -> Any:
    """The JSON value that the program printed as its answer.

    Raises:
        Failed: an error envelope on either stream, a non-zero exit, or nothing readable.
            `executed` is `no` only where the envelope's key proves it.
    """
    out, err = _text(stdout), _text(stderr)
    values = list(json_values(out))
    envelopes = [e for value in reversed(values) if (e := error_envelope(value)) is not None]
    if envelopes:
        raise membrane_error(envelopes[0])
    told = [e for value in json_values(err) if (e := error_envelope(value)) is not None]
    if told:
        problem = membrane_error(told[0])
        if exit_code == 0 and values:
            problem.executed = Executed.UNKNOWN  # a success beside it: the two contradict
        raise problem
    if exit_code != 0:
        raise _bare_exit(exit_code, out, err)
    if not values:
        raise unreadable(out or err)
    return values[-1]


def json_values(text: str) -> Iterator[Any]:
    """Every JSON value that stands alone or begins a line, warning lines and ANSI codes aside."""
    whole = _decoded(text.strip())
    if whole is not _NOTHING:
        yield whole
        return
    at = 0
    for match in re.finditer(r"^[ \t]*([\[{])", text, re.MULTILINE):
        if match.start() >= at:
            value, end = _decoded_from(text, match.start(1))
            at = end
            if value is not _NOTHING:
                yield value


def error_envelope(value: Any) -> Mapping[str, Any] | None:
    """The error inside a value, or None: `{type, message, …}`, or under `error`."""
    if not is_object(value):
        return None
    inner = value.get("error")
    if is_object(inner):
        return inner
    if inner and "output" not in value:
        return {"message": inner if isinstance(inner, str) else "", **value}
    kind = value.get("type")
    is_error = isinstance(kind, str) and kind in ERROR_TYPES and "message" in value
    return value if is_error else None


def membrane_error(envelope: Mapping[str, Any]) -> KartraMCPError:
    """Our error for Membrane's, judged down its `causedByError` chain.

    What Kartra itself answered stands deepest and says most.
    """
    chain = list(_chain(envelope))
    kartra = next((found for found in map(_kartra_error, reversed(chain)) if found), None)
    if kartra:
        return kartra
    detail: dict[str, Any] = {"membrane": [_said(link) for link in chain]}
    known = next((k for k in map(_known, chain) if k), None)
    if known and not any(map(_leaves_open, chain)):
        return Failed(known.code, known.message, known.remedy, executed=Executed.NO, detail=detail)
    if _run_id(envelope):
        detail["action_run_id"] = _run_id(envelope)
    return Failed(
        "membrane_error",
        "Membrane reported an error.",
        "Read the detail; if this was a write, look in Kartra before repeating it.",
        detail=detail,
    )


def unreadable(text: str) -> KartraMCPError:
    return Failed(
        "unreadable_answer",
        "The membrane program's answer could not be understood.",
        "Ask for kartra_status; if this was a write, look in Kartra before repeating it.",
        detail={"output": shown(text) or "(nothing was printed)"},
        answered=False,
    )


def items(value: Any) -> list[Any]:
    """The items of a list verb: `{items}`, `{output: {items}}` or a bare list."""
    inner = value.get("output", value) if is_object(value) else value
    found = inner.get("items") if is_object(inner) else inner
    if not is_array(found):
        raise unreadable(json.dumps(value)[:600])
    return found


def cursor(value: Any) -> str | None:
    """The opaque cursor of a list's next page, None on the last."""
    inner = value.get("output", value) if is_object(value) else value
    found = inner.get("cursor") if is_object(inner) else None
    return found if isinstance(found, str) and found else None


def run_reply(value: Any) -> Reply:
    """The result of `action run`: `{output, actionRunId}` or a bare value."""
    if is_object(value) and ("actionRunId" in value or set(value) == {"output"}):
        run_id = value.get("actionRunId")
        rest = {k: v for k, v in value.items() if k != "actionRunId"}
        result = value.get("output", rest or None)
        return Reply(result, str(run_id) if run_id else None)
    return Reply(value)


@dataclass(frozen=True, slots=True)
class HTTPReply:
    """What `request` gave: the body, and the status where the program told it."""

    body: Any
    status: int | None = None


def request_reply(value: Any) -> HTTPReply:
    """`{status, headers, body|data}` → its parts; anything else is the body itself."""
    if is_object(value) and is_object(value.get("headers")):
        status = value.get("status", value.get("statusCode"))
        if isinstance(status, int) and not isinstance(status, bool):
            return HTTPReply(_body(value.get("body", value.get("data"))), status)
    return HTTPReply(_body(value))


def _body(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        decoded = _decoded(value)
        return value if decoded is _NOTHING else decoded
    return value


class _Nothing:
    """No JSON here; None is a JSON value."""


_NOTHING = _Nothing()


def _decoded(text: str) -> Any:
    try:
        value = _DECODER.decode(text) if text else _NOTHING
    except (ValueError, RecursionError):
        return _NOTHING
    return _pruned(value, DEEPEST) if _too_deep(value) else value


def _finite(text: str) -> float | str:
    """1e999 is no number that JSON could carry on."""
    number = float(text)
    return number if math.isfinite(number) else text


_DECODER = json.JSONDecoder(parse_constant=str, parse_float=_finite)


def _decoded_from(text: str, start: int) -> tuple[Any, int]:
    try:
        value, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return _NOTHING, start
    return (_pruned(value, DEEPEST) if _too_deep(value) else value), end


def _pruned(value: Any, levels: int) -> Any:
    """The same value with what lies too deep left out, so that one deep part costs no more."""
    if levels == 0 and (is_object(value) or is_array(value)):
        return TOO_DEEP
    if is_object(value):
        return {name: _pruned(inner, levels - 1) for name, inner in value.items()}
    return [_pruned(inner, levels - 1) for inner in value] if is_array(value) else value


def _too_deep(value: Any) -> bool:
    level = [value] if is_object(value) or is_array(value) else []
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _inside(outer) if type(inner) in _NESTED]
        if not level:
            return False
    return True


_NESTED = (dict, list)  # looked at by type: a large answer asks this of every number in it


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if is_object(value) else value


def _text(raw: bytes) -> str:
    return without_ansi(raw.decode("utf-8", errors="replace").lstrip("\ufeff"))


def _chain(envelope: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    link: Any = envelope
    for _ in range(10):
        if not is_object(link):
            return
        yield link
        link = link.get("causedByError")


def _known(link: Mapping[str, Any]) -> Known | None:
    for name in (link.get("key"), link.get("code"), link.get("type")):
        if isinstance(name, str) and name in KEYS:
            return KEYS[name]
    key = link.get("key")
    if link.get("type") == "bad_request" and isinstance(key, str) and _INVALID_KEY.match(key):
        return _INVALID
    return None


def _leaves_open(link: Mapping[str, Any]) -> bool:
    """Whether a link is `internal` or a 5xx, which prove nothing whatever stands beside them."""
    data = link.get("data")
    response = data.get("response") if is_object(data) else None
    status = response.get("status") if is_object(response) else None
    return link.get("type") == "internal" or (is_number(status) and status >= SERVER_ERRORS)


def _kartra_error(link: Mapping[str, Any]) -> KartraMCPError | None:
    """The error in a body of Kartra's that Membrane passed on."""
    data = link.get("data")
    response = data.get("response") if is_object(data) else None
    bodies = (response.get("data"), response.get("body")) if is_object(response) else ()
    found = (error_in(_body(body), write=True) for body in (*bodies, data))
    return next((error for error in found if error), None)


def _said(link: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: shown(str(link[name]), 300)
        for name in ("type", "key", "message")
        if link.get(name) not in (None, "")
    }


def _run_id(envelope: Mapping[str, Any]) -> str:
    data = envelope.get("data")
    places = [envelope, data if is_object(data) else {}]
    found = next((p["actionRunId"] for p in places if p.get("actionRunId")), "")
    return shown(str(found), 64)


def _bare_exit(exit_code: int, out: str, err: str) -> KartraMCPError:
    said = err or out
    detail = {"exit_code": exit_code, "output": shown(said)}
    if _LOGGED_OUT.search(said[:2000]):
        return Failed(
            _LOGIN.code,
            _LOGIN.message,
            "Run `membrane login --tenant` in a terminal; if this was a write, look in Kartra "
            "before repeating it.",
            detail=detail,
        )
    return Failed(
        "membrane_error",
        f"The membrane program ended with exit code {exit_code} and no readable error.",
        "Ask for kartra_status; if this was a write, look in Kartra before repeating it.",
        detail=detail,
        answered=False,
    )
