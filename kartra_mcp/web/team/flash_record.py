"""Messages that a session shows once, as JSON: another replica may show them. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from kartra_mcp.consent.decisions import ReasonRequiredError
from kartra_mcp.core.error_codes import ERROR_CODES
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.json_types import as_dict
from kartra_mcp.ledger.records import VerificationReport
from kartra_mcp.web.sessions import Refusal, Session, Verified
from kartra_mcp.web.views.flash import NO_MESSAGE, FlashMessage

EMPTY = ""


def dump_flash(session: Session) -> str:
    """Return the text to store; `EMPTY` if there is nothing to show."""
    record: dict[str, Any] = {}
    notice, refusal = session.notice, session.refusal
    if notice.text:
        record["notice"] = {"text": notice.text, "doubtful": notice.doubtful}
    if session.verified is not None:
        record["verified"] = asdict(session.verified)
    if refusal is not None:
        problem = refusal.problem
        record["refusal"] = {
            "page": refusal.page,
            "code": problem.code,
            "message": problem.message,
            "remedy": problem.remedy,
            "needs_reason": isinstance(problem, ReasonRequiredError),
            "number": refusal.number,
            "reason": refusal.reason,
        }
    return json.dumps(record) if record else EMPTY


def parse_flash(text: str) -> tuple[FlashMessage, Refusal | None, Verified | None]:
    """Return notice, refusal and verification of a stored text."""
    record = as_dict(json.loads(text)) if text else {}
    notice, refusal = as_dict(record.get("notice")), as_dict(record.get("refusal"))
    verified = as_dict(record.get("verified"))
    return (
        FlashMessage(notice["text"], notice["doubtful"]) if notice else NO_MESSAGE,
        _make_refusal(refusal) if refusal else None,
        Verified(verified["page"], VerificationReport(**verified["report"])) if verified else None,
    )


def _make_refusal(record: dict[str, Any]) -> Refusal:
    return Refusal(record["page"], _make_problem(record), record["number"], record["reason"])


def _make_problem(record: dict[str, Any]) -> KartraMCPError:
    # A replica of a newer version may have stored a code that this one does not have.
    code = record["code"] if record["code"] in ERROR_CODES else "internal_error"
    kind = ReasonRequiredError if record["needs_reason"] else RefusedError
    return kind(code, record["message"], record["remedy"])
