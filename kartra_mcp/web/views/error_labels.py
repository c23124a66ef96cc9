"""The codes of errors in a person's words; the code itself stands beside."""

from __future__ import annotations

from collections.abc import Mapping

from kartra_mcp.web.views.formatting import humanize

WORDS: Mapping[str, str] = {
    "already_done": "It was done before",
    "cap_reached": "A limit of yours was reached",
    "catalogue_unavailable": "Membrane told no list of actions",
    "connection_not_ready": "The connection was not ready",
    "facts_changed": "The account had changed",
    "forbidden_request": "The request is forbidden",
    "in_progress": "The same was running already",
    "input_too_large": "It was too much for one call",
    "internal_error": "A fault of kartra-mcp's own",
    "invalid_arguments": "An argument was wrong",
    "kartra_error": "Kartra refused it",
    "ledger_unavailable": "The ledger could not be written",
    "membrane_error": "Membrane failed",
    "no_connection": "There was no connection",
    "not_allowed": "Your rules forbid it",
    "not_enough_time": "Too little time was left",
    "not_logged_in": "Membrane was not logged in",
    "outcome_unknown": "An earlier call may have done it",
    "program_missing": "Membrane's program was missing",
    "rate_limited": "There were too many calls",
    "read_only": "Nothing may be written",
    "timed_out": "No answer came in time",
    "unreadable_answer": "The answer could not be read",
    "wrong_program": "The program was not Membrane's",
}
"""Of those that a recorded write can end with; the others are named after themselves."""


def error_label(code: str) -> str:
    return WORDS.get(code) or humanize(code)


def label_with_code(code: str) -> str:
    """`No answer came in time (timed_out)`."""
    return f"{error_label(code)} ({code})"
