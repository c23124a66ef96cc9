"""Table of all error codes: label on the approval page, HTTP status there, help in the docs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_CONFLICT = 409


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One code that an answer may carry.

    Args:
        label: the problem, as the approval page names it.
        help: the remedy, in docs/errors.md.
        http_status: status of the approval page if one of its actions fails with this code.
    """

    label: str
    help: str
    http_status: int = _CONFLICT


ERROR_CODES: Mapping[str, ErrorCode] = {
    "invalid_arguments": ErrorCode(
        "An argument was wrong",
        "The answer names each wrong field and what was expected.",
        400,
    ),
    "unknown_tool": ErrorCode(
        "Unknown tool",
        "The assistant used a name that is not in the list. Let it list the tools again.",
    ),
    "not_allowed": ErrorCode(
        "Your rules forbid it",
        "Your own gates, allow or deny list forbid it. Change the setting if you want it.",
        403,
    ),
    "read_only": ErrorCode(
        "Nothing may be written",
        "KARTRA_MCP_READ_ONLY is on. Turn it off if you want writes.",
    ),
    "confirmation_required": ErrorCode(
        "Confirmation required",
        "Read the preview. If you agree, tell the assistant so; it repeats the call with the"
        " confirmation.",
    ),
    "confirmation_mismatch": ErrorCode(
        "Confirmation mismatch",
        "The confirmation belongs to another call, account or policy, or its summary was "
        "altered. Ask for a new preview.",
    ),
    "confirmation_expired": ErrorCode(
        "Confirmation expired",
        "The preview is older than ten minutes. Ask for a new one.",
    ),
    "confirmation_used": ErrorCode(
        "Confirmation used",
        "Each preview is valid once. `kartra_ledger` shows the outcome of the first call.",
    ),
    "facts_changed": ErrorCode(
        "The account had changed",
        "The account changed after the preview. Read the new preview and decide again.",
    ),
    "approval_required": ErrorCode(
        "Approval required",
        "Open the address in the answer in your browser, or run its `kartra-mcp approve NUMBER` "
        "in a terminal; then let the assistant repeat the call.",
    ),
    "declined": ErrorCode(
        "Declined",
        "You declined. Equal calls are blocked for ten minutes, so that you are not asked again and"
        " again.",
    ),
    "dismissed": ErrorCode(
        "Dismissed",
        "The question was closed, not answered within four minutes, or its answer could not be "
        "read. Only if you closed it, equal calls are blocked for ten minutes.",
    ),
    "answered_by_host": ErrorCode(
        "Answered by host",
        "Your client answered the question itself, in under a second. Use one that shows it to "
        "you, or set `KARTRA_MCP_APPROVAL=outside`: then no form is used.",
    ),
    "cap_reached": ErrorCode(
        "One of your limits was reached",
        "One of your limits was reached. The answer names it, the rest, and when there is more.",
    ),
    "already_done": ErrorCode(
        "It was done before",
        "No action is needed: it was done before, and was not done again. For a second equal part "
        "of a refund, tell the assistant that you want a second one (`repeat: true`).",
    ),
    "not_possible": ErrorCode(
        "The account rules it out",
        "The account itself rules this call out, so it was not run and you were not asked. The "
        "answer has the reason and what is possible instead.",
    ),
    "in_progress": ErrorCode(
        "An equal call was running already",
        "An equal call is running. Wait for it to end.",
    ),
    "bulk_paused": ErrorCode(
        "Bulk run paused",
        "Items failed, a limit was reached, or the run was stopped. What ran is kept; the run goes "
        "on once the cause is corrected.",
    ),
    "outcome_unknown": ErrorCode(
        "An earlier call may have done it",
        "An earlier call may have done this. Settle that one with `kartra_reconcile`, or look in"
        " Kartra.",
    ),
    "not_enough_time": ErrorCode(
        "Too little time was left",
        "Too little of the call's time was left to start a write, or its right to be sent ended "
        "before Membrane got it; nothing was done. Repeat it, or raise KARTRA_MCP_TIMEOUT.",
    ),
    "forbidden_role": ErrorCode(
        "The role does not permit it",
        "The roles of the user, or the scopes of the token, do not permit this call, or an admin "
        "revoked the access. Ask an admin.",
        403,
    ),
    "forbidden_request": ErrorCode(
        "The request is forbidden",
        "The raw request was refused and not sent. Use the action's own tool.",
        403,
    ),
    "input_too_large": ErrorCode(
        "It was too much for one call",
        "Send less in one call.",
        413,
    ),
    "ledger_unavailable": ErrorCode(
        "The ledger could not be written",
        "No write runs until the ledger can be written. The answer has the reason: a full disk, a "
        "folder without write permission or that others can change, a wrong clock, another "
        "program, or damage.",
        503,
    ),
    "writes_stopped": ErrorCode(
        "Writes are stopped",
        "All writes of this account are stopped; the answer has the reason. If a person of the "
        "team stopped them, two others resume them on the page. If a late answer "
        "contradicts a settled outcome, check Kartra and run `kartra-mcp ledger settle INTENT "
        "succeeded` or `… failed`; if the clock differs from Membrane's, set it.",
        503,
    ),
    "program_missing": ErrorCode(
        "Membrane's program was missing",
        "Run `npm install -g @membranehq/cli`, or set KARTRA_MCP_MEMBRANE to the program's full "
        "path.",
    ),
    "wrong_program": ErrorCode(
        "The program was not Membrane's",
        "The `membrane` that was found is another program. Set KARTRA_MCP_MEMBRANE to the full "
        "path of Membrane's.",
    ),
    "not_logged_in": ErrorCode(
        "Membrane was not logged in",
        "Run `kartra-mcp setup` or `membrane login --tenant` in a terminal; with Membrane's API,"
        " correct its credentials (docs/api.md).",
    ),
    "no_connection": ErrorCode(
        "There was no connection",
        "Let the assistant call `kartra_connect`, or run `kartra-mcp setup` in a terminal; or "
        "correct KARTRA_MCP_CONNECTION.",
    ),
    "several_connections": ErrorCode(
        "Several connections",
        "Set KARTRA_MCP_CONNECTION to the id of the account that you want. The server never "
        "chooses between two.",
    ),
    "connection_not_ready": ErrorCode(
        "The connection was not ready",
        "Let the assistant call `kartra_connect`, or run `kartra-mcp setup` or the `membrane "
        "connect --connectionId=…` of the answer. Do not make a new connection.",
    ),
    "rate_limited": ErrorCode(
        "There were too many calls",
        "Too many calls; this one was not executed. Wait a second and repeat it.",
    ),
    "kartra_error": ErrorCode(
        "Kartra refused it",
        "Kartra refused. The answer explains Kartra's error and the next step.",
    ),
    "membrane_error": ErrorCode(
        "Membrane failed",
        "Membrane failed. If `executed` is `unknown`, look in Kartra before repeating a write.",
    ),
    "timed_out": ErrorCode(
        "No answer came in time",
        "No answer in time. A write may have been executed anyway: look in Kartra before "
        "repeating it.",
        408,
    ),
    "unreadable_answer": ErrorCode(
        "The answer could not be read",
        "The program's response has an unexpected form. If it was a write, look in Kartra before "
        "repeating it.",
    ),
    "catalogue_unavailable": ErrorCode(
        "Membrane returned no list of actions",
        "Membrane did not answer with a list of actions. Try again; then call `kartra_status`.",
    ),
    "result_expired": ErrorCode(
        "Result expired",
        "The rest of a long result is kept for a short time only. Repeat the call that returned "
        "it.",
    ),
    "internal_error": ErrorCode(
        "An error in kartra-mcp",
        "An error in this server. If it was a write, look in Kartra before repeating it; then "
        "report the error.",
        500,
    ),
}
