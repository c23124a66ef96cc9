"""Wording of previews and questions: facts, effect, undo; `summary.py` has the summary. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kartra_mcp.consent.call_effects import call_effect
from kartra_mcp.consent.facts import Facts, Impossible
from kartra_mcp.consent.summary import make_summary
from kartra_mcp.core.display import display_value
from kartra_mcp.core.elicitation import ElicitationResponse, FormElicitation
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.json_types import is_array
from kartra_mcp.core.models import Call, Gate, OperationKind
from kartra_mcp.kartra.commands import COMMANDS, find_status_texts
from kartra_mcp.kartra.values import is_typed
from kartra_mcp.ledger.records import IssuedConfirmation, format_utc

AnswerOutcome = Literal["yes", "declined", "dismissed", "answered_by_host"]


@dataclass(frozen=True, slots=True)
class Preview:
    """The text that the user agrees to."""

    summary: str
    effect: str
    undo: str
    facts: Mapping[str, Any]

    def to_confirmation(self, number: int, address: str) -> dict[str, Any]:
        """Return what an answer shows of a request for approval; `address` is its page, or ""."""
        return {
            "number": number,
            "summary": self.summary,
            "facts": dict(self.facts),
            "effect": self.effect,
            "undo": self.undo,
            **({"address": address} if address else {}),
        }


def build_preview(call: Call, facts: Facts, *, account: str, sandbox: bool) -> Preview:
    """Return the preview of a call and its facts; `account` is the connection's name."""
    rows = [COMMANDS[c.name] for c in call.commands if c.name in COMMANDS]
    effect = _describe_effect(call, facts) or "; ".join(row.effect for row in rows)
    effect = effect or "changes the account in an unknown way"
    found = call_effect(call, held=facts.held)
    undo = _NOTHING_TO_UNDO if found.no_change else found.undo
    undo = _status_texts(call)[1] or undo or "not known"
    shown = dict(facts.shown)
    if facts.missing:
        shown["could_not_be_read"] = list(facts.missing)
    summary = make_summary(call, facts, account=account, sandbox=sandbox)
    return Preview(summary, effect, undo, shown)


_NOTHING_TO_UNDO = "not needed: the lead is already as this call would make it"


def _status_texts(call: Call) -> tuple[str, str]:
    return find_status_texts(call.commands[0]) if len(call.commands) == 1 else ("", "")


def _describe_effect(call: Call, facts: Facts) -> str:
    """Return the effect of this very call: what a refund pays back, or what a status does."""
    moves = facts.shown.get("this_refund") if facts.act is OperationKind.REFUND else None
    return f"pays {moves} back to the buyer" if moves else _status_texts(call)[0]


def confirmation_payload(shown: Preview, minted: IssuedConfirmation) -> dict[str, Any]:
    """Return the contract's `error.confirmation`."""
    return {
        "id": minted.id,
        "summary": shown.summary,
        "facts": dict(shown.facts),
        "effect": shown.effect,
        "undo": shown.undo,
        "expires_at": format_utc(minted.expires_at),
    }


def make_question(shown: Preview, facts: Facts, gate: Gate) -> FormElicitation:
    """Return the question to the user: the summary, one line per fact, effect and undo."""
    lines = [shown.summary, ""]
    lines += [
        f"{name.replace('_', ' ')}: {display_value(value)}" for name, value in shown.facts.items()
    ]
    lines += ["", f"Effect: {shown.effect}.", f"Undo: {shown.undo}."]
    return FormElicitation(
        "\n".join(lines), typed_confirmation(facts) if gate is Gate.HUMAN else ""
    )


def typed_confirmation(facts: Facts) -> str:
    """Return the text to type: the amount, or without one the id of the target."""
    if facts.typed:
        return facts.typed
    if facts.amount_moved is not None:
        return f"{facts.amount_moved:.2f}"
    return facts.target.id if facts.target else "yes"


def interpret_answer(
    answered: ElicitationResponse, asked: FormElicitation, min_human: float
) -> AnswerOutcome:
    """Interpret an answer. Only the boolean true is a yes, and nothing faster than a human.

    Some clients answer questions by themselves, at once: an answer in less than `min_human` seconds
    counts as the client's own.
    """
    if answered.seconds < min_human:
        return "answered_by_host"
    if answered.action not in {"accept", "decline"}:  # closed, or not readable
        return "dismissed"
    agreed = answered.action == "accept" and answered.content.get("confirm") is True
    return (
        "yes"
        if agreed and is_typed(_typed(answered, asked), asked.typed_confirmation)
        else "declined"
    )


def _typed(answered: ElicitationResponse, asked: FormElicitation) -> Any:
    """Return what the user typed; clients that keep an older form send it as `amount`."""
    return answered.content.get(asked.typed_field, answered.content.get("amount"))


def preview_required_error(code: str, shown: Preview, minted: IssuedConfirmation) -> RefusedError:
    """Return `confirmation_required` or `facts_changed`, with the preview to repeat."""
    message = {
        "confirmation_required": "This call needs agreement to exactly what the preview shows.",
        "facts_changed": "The account changed since the preview; this preview is current.",
    }[code]
    reasons = shown.facts.get("suppressed")
    if is_array(reasons):  # of one call; those of a bulk run are counted
        message = f"The lead is suppressed for mail ({', '.join(map(str, reasons))}). {message}"
    return RefusedError(
        code,
        message + " Nothing was done.",
        "Show the user the summary and the facts. If they agree, repeat the call with the same "
        "arguments, confirm: true, confirmation_id and confirmation_summary as given here.",
        confirmation=confirmation_payload(shown, minted),
    )


def auto_answered_error() -> RefusedError:
    return RefusedError(
        "answered_by_host",
        "The question was answered in under a second: by the client, not by a human. "
        "Nothing was done, and nothing is blocked.",
        "Use a client that shows questions to the user, or set KARTRA_MCP_APPROVAL=outside: calls "
        "then return a preview to repeat, or under the gate human a number to approve.",
    )


def unreadable_answer_error() -> RefusedError:
    return RefusedError(
        "dismissed",
        "The client returned an answer that cannot be read. "
        "Nothing was done, and nothing is blocked.",
        "Call the tool again: it then returns a preview to repeat, or under the gate human a "
        "number to approve.",
    )


def declined_error(how: str, reason: str = "") -> RefusedError:
    declined = how == "declined"
    return RefusedError(
        how,
        "The user declined." if declined else "The user closed the question unanswered.",
        "Nothing was done, and this operation is blocked for ten minutes. Ask the user what they "
        "want instead.",
        detail={"reason": reason} if reason else None,
    )


def approval_required_error(
    number: int, shown: Preview, address: str = "", *, flags: str = "", has_pin: bool = True
) -> RefusedError:
    """Return `approval_required`, with the steps of the user before the call is repeated.

    `address` is the page's address, or "". `flags` select the ledger for the command, each after a
    space. Without a PIN it has to be chosen before the approval.
    """
    approve = f"run `kartra-mcp approve {number}{flags}` in a terminal"
    page = f"open {address} in a browser on this machine (it works once: leave that to them)"
    if address and not has_pin:
        # A bundle's program is on no terminal's PATH: only the page shows a command that works.
        steps = (
            f"{page}. It shows the command that chooses the PIN, with its full path. Then they "
            f"approve there, or {approve}. Then"
        )
    elif address:
        steps = f"{page}, or to {approve}, then"
    elif has_pin:
        steps = f"{approve}, then"
    else:
        set_pin = f"kartra-mcp approve --set-pin{flags}"
        steps = f"first run `{set_pin}` in a terminal, then to {approve}, then"
    return RefusedError(
        "approval_required",
        f"The user has to approve this outside the client, as number {number}. Nothing was done.",
        f"Ask the user to {steps} repeat the call with the same arguments.",
        confirmation=shown.to_confirmation(number, address),
    )


def already_done_error(facts: Facts, first: dict[str, Any] | None) -> RefusedError:
    return RefusedError(
        "already_done",
        "The account shows that this was done before. Nothing was done now.",
        "No further action is needed. See `detail`.",
        detail={"facts": dict(facts.shown)},
        first=first,
    )


def not_possible_error(facts: Facts, impossible: Impossible) -> RefusedError:
    return RefusedError(
        "not_possible",
        impossible.why + " Nothing was done.",
        impossible.remedy,
        detail={"facts": dict(facts.shown)},
    )
