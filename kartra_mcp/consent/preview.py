"""Wording of previews and questions: summary, facts, effect, undo. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from kartra_mcp.consent.call_effects import call_effect
from kartra_mcp.consent.facts import Facts, Impossible
from kartra_mcp.core.elicitation import ElicitationResponse, FormElicitation
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Call, Gate, OperationKind, RawRequest
from kartra_mcp.core.sanitize import redact_secrets, strip_control_chars, truncate
from kartra_mcp.kartra import fields
from kartra_mcp.kartra.commands import COMMANDS
from kartra_mcp.kartra.request_path import fill_path
from kartra_mcp.kartra.values import amount_error, normalize_id, parse_amount
from kartra_mcp.ledger.records import IssuedConfirmation, format_utc

SUMMARY = 160
NAME = 30
_VERBS: Mapping[OperationKind, str] = {
    OperationKind.REFUND: "REFUND",
    OperationKind.CANCELLATION: "CANCEL",
    OperationKind.REVOCATION: "REVOKE",
    OperationKind.CHANGE: "CHANGE",
    OperationKind.OTHER: "RUN",
}
AnswerOutcome = Literal["yes", "declined", "dismissed", "answered_by_host"]


@dataclass(frozen=True, slots=True)
class Preview:
    """The text that the user agrees to."""

    summary: str
    effect: str
    undo: str
    facts: Mapping[str, Any]


def build_preview(call: Call, facts: Facts, *, sandbox: bool) -> Preview:
    """Return the preview of a call and its facts."""
    rows = [COMMANDS[c.name] for c in call.commands if c.name in COMMANDS]
    effect = _describe_effect(facts) or "; ".join(row.effect for row in rows)
    effect = effect or "changes the account in an unknown way"
    undo = call_effect(call).undo or "not known"
    shown = dict(facts.shown)
    if facts.missing:
        shown["could_not_be_read"] = list(facts.missing)
    return Preview(make_summary(call, facts, sandbox=sandbox), effect, undo, shown)


def _describe_effect(facts: Facts) -> str:
    """Return the effect; of a refund, what this call pays back."""
    moves = facts.shown.get("this_refund") if facts.act is OperationKind.REFUND else None
    return f"pays {moves} back to the buyer" if moves else ""


def make_summary(call: Call, facts: Facts, *, sandbox: bool) -> str:
    """Return one ASCII line of at most 160 characters, with verb, amount and id first.

    The caller must repeat it exactly, and models alter other characters; what is cut comes last.
    """
    unread = f"NOT READ: {_shorten_name(facts.missing[0])}. " if facts.missing else ""
    words = [_VERBS[facts.act], *(["AGAIN"] if call.consent.repeat else [])]
    if facts.act is OperationKind.REFUND:
        words.append(str(facts.shown.get("full_or_partial") or "AMOUNT"))
        words.append(str(facts.shown.get("this_refund", "")))
    if facts.act is OperationKind.OTHER:
        words.append(f'"{_shorten_name(_describe_operation(call))}" on')
    words.append(_to_ascii_line(str(facts.target)) if facts.target else "what is not named")
    told = " ".join(word for word in words if word)
    named = " ".join(
        f'{label} "{_shorten_name(value)}"'
        for label, value in _list_named_values(call, facts)
        if value
    )
    start = "SANDBOX " if sandbox else ""
    # Redacted here, as in every error: the caller must repeat exactly the text that was shown.
    line = redact_secrets(f"{start}{unread}{told} {named}".strip())
    return line[:SUMMARY].rstrip()


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
        f"{name.replace('_', ' ')}: {_format_value(value)}" for name, value in shown.facts.items()
    ]
    lines += ["", f"Effect: {shown.effect}.", f"Undo: {shown.undo}."]
    return FormElicitation(
        "\n".join(lines), typed_confirmation(facts) if gate is Gate.HUMAN else ""
    )


def typed_confirmation(facts: Facts) -> str:
    """Return the amount, or without one the id of the target."""
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
        if agreed and _is_typed_correctly(answered.content.get("amount"), asked.typed_confirmation)
        else "declined"
    )


def _is_typed_correctly(said: Any, wanted: str) -> bool:
    if not wanted:
        return True
    text = str(said or "").strip()
    amount, meant = parse_amount(text), parse_amount(wanted)
    # A finer sum would be rounded: 97.004 is not the 97.00 that the user was shown.
    same_sum = isinstance(amount, Decimal) and amount == meant and amount_error(text) is None
    return text == wanted or same_sum or normalize_id(text) == wanted


def preview_required_error(code: str, shown: Preview, minted: IssuedConfirmation) -> RefusedError:
    """Return `confirmation_required` or `facts_changed`, with the preview to repeat."""
    message = {
        "confirmation_required": "This call needs agreement to exactly what the preview shows.",
        "facts_changed": "The account changed since the preview; this preview is current.",
    }[code]
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
    space. Without a PIN the first step is to choose one.
    """
    page = (
        f"open {address} in a browser on this machine (it works once: leave that to them), or to "
        if address
        else ""
    )
    approve = f"kartra-mcp approve {number}{flags}"
    set_pin = f"kartra-mcp approve --set-pin{flags}"
    pin = "" if has_pin else f"first run `{set_pin}` in a terminal, then to "
    return RefusedError(
        "approval_required",
        f"The user has to approve this outside the client, as number {number}. Nothing was done.",
        f"Ask the user to {pin}{page}run `{approve}` in a terminal, then "
        "repeat the call with the same arguments.",
        confirmation={
            "number": number,
            "summary": shown.summary,
            "facts": dict(shown.facts),
            "effect": shown.effect,
            "undo": shown.undo,
            **({"address": address} if address else {}),
        },
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


def _describe_operation(call: Call) -> str:
    """Return the operation's name; of a raw request, every command in it."""
    if isinstance(call.request, RawRequest):
        path = f"{call.request.method} {fill_path(call.request)}"
        return ", ".join(command.name for command in call.commands) or path
    return call.title


def _list_named_values(call: Call, facts: Facts) -> list[tuple[str, Any]]:
    shown = facts.shown
    given = (
        fields.find_values(call.operation.arguments, fields.RECIPIENT_FIELDS)
        if facts.act is OperationKind.OTHER
        else ()
    )
    others = (
        _describe_operation(call)
        if len(call.commands) > 1 and facts.act is not OperationKind.OTHER
        else ""
    )
    memberships: list[str] = shown.get("memberships") or [""]
    return [
        ("of", shown.get("product") or memberships[0]),
        (
            "to" if facts.act is OperationKind.REFUND else "of",
            shown.get("buyer") or shown.get("lead"),
        ),
        ("dated", shown.get("date")),
        ("next payment", shown.get("next_payment")),
        ("in a request of", others),
        *((_to_ascii_line(name.replace("_", " ")), value) for name, value in given),
    ]


def _shorten_name(value: Any) -> str:
    """Return a name for use between quotes: no character in it can end the quote."""
    text = _to_ascii_line(str(value)).replace('"', "'")
    return text if len(text) <= NAME else text[: NAME - 3].rstrip() + "..."


def _to_ascii_line(text: str) -> str:
    """Return one ASCII line, converted before truncating or quoting: one letter may become many."""
    return " ".join(_to_ascii(strip_control_chars(text)).split())


def _format_value(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return truncate(" ".join(strip_control_chars(text).split()), 200)


def _to_ascii(text: str) -> str:
    """Drop marks of letters, replace any white space by a blank, and the rest by `?`."""
    plain = unicodedata.normalize("NFKD", " ".join(text.split()))
    kept = "".join(c for c in plain if not unicodedata.combining(c))
    return kept.encode("ascii", "replace").decode()
