"""Parser for the output of the `membrane` program: a value, or an error of this server. Pure."""

from __future__ import annotations

from typing import Any

from kartra_mcp.core.errors import KartraMCPError, UpstreamError
from kartra_mcp.core.json_types import is_object
from kartra_mcp.core.models import Executed
from kartra_mcp.core.sanitize import strip_ansi
from kartra_mcp.kartra.errors import find_error
from kartra_mcp.membrane.errors import (
    LOGGED_OUT_PATTERN,
    find_error_envelope,
    find_kartra_error,
    logged_out_error,
    make_membrane_error,
    strip_stack_trace,
)
from kartra_mcp.membrane.lenient_json import extract_json
from kartra_mcp.membrane.responses import invalid_response_error


def parse_output(exit_code: int, stdout: bytes, stderr: bytes) -> Any:
    """Return the JSON value that the program printed as its response.

    Raises:
        UpstreamError: an error envelope on either stream, a non-zero exit, or nothing readable.
            `executed` is `no` only where the envelope's key proves it.
    """
    out, err = _decode_text(stdout), _decode_text(stderr)
    printed, logged = extract_json(out), extract_json(err)
    values, others = _without_logs(printed.values), _without_logs(logged.values)
    envelopes = [
        e for v in reversed(values) if (e := find_error_envelope(v, exit_code)) is not None
    ]
    if envelopes:
        raise make_membrane_error(envelopes[0])
    envelopes = [e for v in others if (e := find_error_envelope(v, exit_code)) is not None]
    if envelopes:
        problem = make_membrane_error(envelopes[0])
        if exit_code == 0 and values:
            problem.executed = Executed.UNKNOWN  # stdout reports a success: the two contradict
        raise problem
    if exit_code != 0:
        raise find_kartra_error([*values, *others]) or _exit_error(exit_code, out, err)
    if printed.broken or not values:
        raise _no_json_error(out or err)
    return _pick_answer(values)


def _without_logs(values: list[Any]) -> list[Any]:
    """Return the values without log lines, unless there is nothing else."""
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


def _pick_answer(values: list[Any]) -> Any:
    """Return the last value that reports a failure; else the last with a field of a response."""
    if len(values) == 1:
        return values[0]
    failed = [value for value in values if find_error(value, write=True)]
    likely = [value for value in values if _is_answer(value)]
    return (failed or likely or values)[-1]


def _decode_text(raw: bytes) -> str:
    return strip_ansi(raw.decode("utf-8", errors="replace").lstrip("\ufeff"))


def _no_json_error(text: str) -> KartraMCPError:
    if LOGGED_OUT_PATTERN.search(text[:2000]):
        return logged_out_error({"output": strip_stack_trace(text)})
    return invalid_response_error(text)


def _exit_error(exit_code: int, out: str, err: str) -> KartraMCPError:
    output = err or out
    detail = {"exit_code": exit_code, "output": strip_stack_trace(output)}
    if LOGGED_OUT_PATTERN.search(output[:2000]):
        return logged_out_error(detail)
    return UpstreamError(
        "membrane_error",
        f"The membrane program ended with exit code {exit_code} and no readable error.",
        "Call kartra_status; if this was a write, look in Kartra before repeating it.",
        detail=detail,
        answered=False,
    )
