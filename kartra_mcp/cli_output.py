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
from typing import Any, TypeGuard

from kartra_mcp.errors import Failed, KartraMCPError
from kartra_mcp.kartra_errors import error_in
from kartra_mcp.model import Executed, Reply
from kartra_mcp.shapes import is_array, is_object
from kartra_mcp.text import clean, cut, shown, without_ansi

ERROR_TYPES = frozenset(
    """
    bad_request connection configuration dependency_error flow_run flow_instance_setup concurrency
    internal action_run action_instance_setup unit_run custom_code insufficient_credit
    openrouter_not_configured
    """.split()  # noqa: SIM905  a table that is read as words
)
"""Membrane's error types, as its JavaScript SDK lists them."""

UNAUTHORIZED, TOO_MANY, SERVER_ERRORS = 401, 429, 500
CLIENT_ERRORS, NO_STATUS = 400, 600
MOST_ATTEMPTS, FIRST_ATTEMPTS = 50, 10
"""Places in one output that are tried as JSON, and how many of them from its beginning."""

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
_OTHER_KEYS = frozenset(
    {"already_exists", "connection_is_defunct", "access_token_expired", "lock_timeout"}
)
_LOGGED_OUT = re.compile(
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
    """.split()  # noqa: SIM905  a table that is read as words
)
"""The fields of an error: what has any other is data, unless it says so more plainly."""
_STACK = re.compile(
    r"\n?^[ \t]+at .*|Traceback \(most recent call last\).*(?:\n[ \t]+.*)*", re.MULTILINE
)


def read_value(exit_code: int, stdout: bytes, stderr: bytes) -> Any:
    """The JSON value that the program printed as its answer.

    Raises:
        Failed: an error envelope on either stream, a non-zero exit, or nothing readable.
            `executed` is `no` only where the envelope's key proves it.
    """
    out, err = _text(stdout), _text(stderr)
    printed, told = printed_json(out), printed_json(err)
    values, others = _without_logs(printed.values), _without_logs(told.values)
    envelopes = [e for v in reversed(values) if (e := error_envelope(v, exit_code)) is not None]
    if envelopes:
        raise membrane_error(envelopes[0])
    envelopes = [e for v in others if (e := error_envelope(v, exit_code)) is not None]
    if envelopes:
        problem = membrane_error(envelopes[0])
        if exit_code == 0 and values:
            problem.executed = Executed.UNKNOWN  # a success beside it: the two contradict
        raise problem
    if exit_code != 0:
        raise _kartra_error_among([*values, *others]) or _bare_exit(exit_code, out, err)
    if printed.broken or not values:
        raise _no_json(out or err)
    return _answer(values)


@dataclass(frozen=True, slots=True)
class Printed:
    """The JSON values of an output; `broken` where one began and did not come to its end."""

    values: list[Any]
    broken: bool = False


def printed_json(text: str) -> Printed:
    """Every JSON value that stands alone or begins a line, warning lines and ANSI codes aside.

    What stands inside a value that broke off is a fragment of it and never an answer.
    """
    whole = _decoded(text.strip())
    if whole is not _NOTHING:
        return Printed([whole])
    values: list[Any] = []
    at = 0
    for start in _places(text):
        if start < at:
            continue
        value, end = _decoded_from(text, start)
        if value is not _NOTHING:
            values.append(value)
        elif end is None:
            return Printed(values, broken=True)
        at = end or start
    return Printed(values)


_PLACE = re.compile(
    r"^[ \t]*(\{(?=[\s\"}]|\Z)|\[(?=[\s\"\[\]{\d-]|\Z|true|false|null|NaN|Infinity))",
    re.MULTILINE,
)


def _places(text: str) -> list[int]:
    """Where a value may begin; of too many, the first and the last that no other can hold."""
    places = [match.start(1) for match in _PLACE.finditer(text)]
    if len(places) <= MOST_ATTEMPTS:
        return places
    first, rest = places[:FIRST_ATTEMPTS], places[FIRST_ATTEMPTS:]
    outer = [at for at in rest if text[at - 1] == "\n"]
    return [*first, *outer[FIRST_ATTEMPTS - MOST_ATTEMPTS :]]


def _without_logs(values: list[Any]) -> list[Any]:
    """The values without lines of a log, where there is anything else."""
    return [value for value in values if not _is_log(value)] or values


def _is_log(value: Any) -> bool:
    if not is_object(value) or _is_answer(value):
        return False
    return "level" in value and not value.keys().isdisjoint(("msg", "message", "time", "timestamp"))


def _is_answer(value: Any) -> bool:
    if not is_object(value):
        return False
    known = not value.keys().isdisjoint(("output", "actionRunId", "items"))
    return known or ("status" in value and "headers" in value)


def _answer(values: list[Any]) -> Any:
    """Of several values the one that failed, else the last that has an answer's fields."""
    if len(values) == 1:
        return values[0]
    failed = [value for value in values if error_in(value, write=True)]
    likely = [value for value in values if _is_answer(value)]
    return (failed or likely or values)[-1]


def error_envelope(value: Any, exit_code: int = 0) -> Mapping[str, Any] | None:
    """The error inside a value, or None: `{type, message, …}`, or under `error` or `errors`."""
    if not is_object(value) or ("id" in value and "state" in value):
        return None  # an element of Membrane's may carry the errors of its own set-up
    run = {"actionRunId": value["actionRunId"]} if value.get("actionRunId") else {}
    inner = value.get("error")
    if is_object(inner) and inner:
        return {**run, **inner}
    if value.get("output") in (None, "", {}, []):
        if inner:
            return {**_first_of(inner), **value}
        if value.get("errors") and _is_small(value):
            return {**value, **_first_of(value["errors"])}
        if _says_failed(value):
            return value
    return value if _is_envelope(value, exit_code) else None


def _first_of(error: Any) -> Mapping[str, Any]:
    """One error as an envelope, of a list the first."""
    first = error[0] if is_array(error) and error else error
    if is_object(first):
        return first
    return {"message": first if isinstance(first, str) else ""}


def _is_small(value: Mapping[str, Any]) -> bool:
    return value.keys() <= _ENVELOPE


def _says_failed(value: Mapping[str, Any]) -> bool:
    """Whether `success: false` or an HTTP status says so, in a run's answer or beside little."""
    if value.get("success") is False or value.get("ok") is False:
        return _is_small(value) or "actionRunId" in value or "output" in value
    status = _http_status(value)
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
    if isinstance(key, str) and (key in KEYS or key in _OTHER_KEYS or _INVALID_KEY.match(key)):
        return True
    return isinstance(kind, str) and (
        isinstance(key, str) or exit_code != 0 or bool(value.get("actionRunId"))
    )


def _is_kartras(value: Mapping[str, Any]) -> bool:
    """Kartra's own answers carry a word as their status."""
    return isinstance(value.get("status"), str) and _http_status(value) is None


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
    if known is _LOGIN or any(map(_tells_of_login, chain)):
        return _logged_out(detail)
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
        detail={"output": _shown(text) or "(nothing was printed)"},
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
    """The result of `action run`: `{output, actionRunId}` or a bare value.

    Raises:
        KartraMCPError: the output is the app's HTTP answer, headers and all, and no success.
    """
    for answer in _unwrapped(value):
        status = _http_status(answer) if is_object(answer) and "headers" in answer else None
        if status is not None and status >= CLIENT_ERRORS:
            link = {"type": "connection", "message": f"HTTP status {status}"}
            raise membrane_error({**value, **link, "data": {"response": answer}})
    if is_object(value) and ("actionRunId" in value or set(value) == {"output"}):
        run_id = value.get("actionRunId")
        rest = {k: v for k, v in value.items() if k != "actionRunId"}
        result = value.get("output", rest or None)
        return Reply(result, _identity(run_id) if run_id else None)
    return Reply(value)


def logged_in(value: Any) -> bool | None:
    """What the verb `status` told of the login; None where it told nothing."""
    inner = value.get("output", value) if is_object(value) else value
    told = inner if is_object(inner) else {}
    flags = (told.get(name) for name in ("loggedIn", "isLoggedIn", "logged_in", "authenticated"))
    found = next((flag for flag in flags if isinstance(flag, bool)), None)
    if found is not None:
        return found
    said = next((t for t in (inner, told.get("status"), told.get("login")) if _is_text(t)), "")
    if _LOGGED_OUT.search(said):
        return False
    return True if re.search(r"(?i)\blogged in\b", said) else None


@dataclass(frozen=True, slots=True)
class HTTPReply:
    """What `request` gave: the body, and the status where the program told it."""

    body: Any
    status: int | None = None


def request_reply(value: Any) -> HTTPReply:
    """`{status, headers, body|data}`, wrapped or not → its parts; else the body itself."""
    for found in (value, *_unwrapped(value)):
        if is_object(found) and not found.keys().isdisjoint(("body", "data", "headers")):
            status = _http_status(found)
            if status is not None:
                return HTTPReply(_body(found.get("body", found.get("data"))), status)
    return HTTPReply(_body(value))


def _unwrapped(value: Any) -> list[Any]:
    if not is_object(value) or len(value.keys() - {"actionRunId"}) != 1:
        return []
    return [value[name] for name in ("output", "response") if name in value]


def _http_status(value: Mapping[str, Any]) -> int | None:
    """The HTTP status of an answer, as a number or as the text of one."""
    for name in ("status", "statusCode"):
        found = value.get(name)
        if isinstance(found, int) and not isinstance(found, bool) and 100 <= found < NO_STATUS:  # noqa: PLR2004
            return found
        if isinstance(found, str) and re.fullmatch(r"[1-5][0-9][0-9]", found.strip()):
            return int(found)
    return None


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


def _decoded_from(text: str, start: int) -> tuple[Any, int | None]:
    """The value that begins there and where it ends; nothing, and no end, where it broke off."""
    part = text[start:]  # a slice: an error counts the lines before it, from the very beginning
    try:
        value, length = _DECODER.raw_decode(part)
    except json.JSONDecodeError as problem:
        return _NOTHING, None if _broke_off(part, problem) else start + 1
    except (ValueError, RecursionError):
        return _NOTHING, None
    return (_pruned(value, DEEPEST) if _too_deep(value) else value), start + length


_BEGUN = re.compile(r"[\[\s]*\{\s*\"(?:[^\"\\\n]|\\.)*\"\s*:")


def _broke_off(part: str, problem: json.JSONDecodeError) -> bool:
    """Whether this was the beginning of an answer, and not a line that only looks like one."""
    at_end = problem.msg.startswith("Unterminated string") or not part[problem.pos :].strip()
    lists = part.startswith("[") and problem.lineno > 1
    return at_end or lists or _BEGUN.match(part) is not None


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
    if _response_status(link) == TOO_MANY:
        return KEYS["rate_limit_exceeded"]
    key = link.get("key")
    if link.get("type") == "bad_request" and isinstance(key, str) and _INVALID_KEY.match(key):
        return _INVALID
    return None


def _leaves_open(link: Mapping[str, Any]) -> bool:
    """Whether a link is `internal` or a 5xx, which prove nothing whatever stands beside them."""
    return link.get("type") == "internal" or _response_status(link) >= SERVER_ERRORS


def _response_status(link: Mapping[str, Any]) -> int:
    """The HTTP status of the answer that an error is about, 0 where it tells none."""
    data = link.get("data")
    response = data.get("response") if is_object(data) else None
    return (_http_status(response) or 0) if is_object(response) else 0


def _tells_of_login(link: Mapping[str, Any]) -> bool:
    """Whether it is about Membrane's login; a `connection` tells of the app behind it."""
    if link.get("type") == "connection":
        return False
    message = link.get("message")
    said = message[:2000] if isinstance(message, str) else ""
    return _response_status(link) == UNAUTHORIZED or _LOGGED_OUT.search(said) is not None


def _kartra_error(link: Mapping[str, Any]) -> KartraMCPError | None:
    """The error in a body of Kartra's that Membrane passed on."""
    data = link.get("data")
    response = data.get("response") if is_object(data) else None
    bodies = (response.get("data"), response.get("body")) if is_object(response) else ()
    return _kartra_error_among([_body(body) for body in (*bodies, data)])


def _kartra_error_among(bodies: Iterable[Any]) -> KartraMCPError | None:
    found = (error_in(body, write=True) for body in bodies)
    return next((error for error in found if error), None)


def _said(link: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: _shown(str(link[name]), 300)
        for name in ("type", "key", "message")
        if link.get(name) not in (None, "")
    }


def _run_id(envelope: Mapping[str, Any]) -> str:
    data = envelope.get("data")
    places = [envelope, data if is_object(data) else {}]
    found = next((p["actionRunId"] for p in places if p.get("actionRunId")), "")
    return _identity(found)


def _identity(value: Any) -> str:
    """An id of Membrane's as it may be shown."""
    return cut(" ".join(clean(str(value)[:2000]).split()), 64)


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str)


def _shown(text: str, length: int = 500) -> str:
    """A stranger's text without the stack traces of its program."""
    return shown(_STACK.sub("", text[:20_000]), length)


def _no_json(text: str) -> KartraMCPError:
    if _LOGGED_OUT.search(text[:2000]):
        return _logged_out({"output": _shown(text)})
    return unreadable(text)


def _bare_exit(exit_code: int, out: str, err: str) -> KartraMCPError:
    said = err or out
    detail = {"exit_code": exit_code, "output": _shown(said)}
    if _LOGGED_OUT.search(said[:2000]):
        return _logged_out(detail)
    return Failed(
        "membrane_error",
        f"The membrane program ended with exit code {exit_code} and no readable error.",
        "Ask for kartra_status; if this was a write, look in Kartra before repeating it.",
        detail=detail,
        answered=False,
    )


def _logged_out(detail: dict[str, Any]) -> KartraMCPError:
    """Words that tell of a lost login and prove nothing."""
    return Failed(
        _LOGIN.code,
        _LOGIN.message,
        "Run `membrane login --tenant` in a terminal; if this was a write, look in Kartra "
        "before repeating it.",
        detail=detail,
    )
