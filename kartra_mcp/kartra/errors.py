"""Kartra's error types: meaning, remedy and proof of what was done; errors in responses. Pure.

Kartra returns errors with HTTP 200, at the top level or inside `actions[i].<cmd>`. Source: the
error tables of its API articles (74 types). A type that is not listed leaves a write unknown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.core.errors import KartraMCPError, UpstreamError
from kartra_mcp.core.json_types import as_list, is_array, is_object
from kartra_mcp.core.models import Executed
from kartra_mcp.core.sanitize import safe_excerpt, strip_control_chars, truncate
from kartra_mcp.kartra.commands import COMMANDS


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """One error type: `text` and `remedy` without a full stop, and the proven `executed`."""

    text: str
    remedy: str
    executed: Executed = Executed.NO
    code: str = "kartra_error"


_RECONNECT = "Call kartra_status and reconnect the connection in Membrane, which stores the key"
_TAGS = "Call kartra_retrieve_account_tags and use a name exactly as it is there"
_LISTS = "Call kartra_retrieve_account_lists and use a name exactly as it is there"
_SEQUENCES = "Call kartra_retrieve_account_sequences and use a name exactly as it is there"
_CALENDARS = "Ask the user for the names in Kartra: no command lists calendars or classes"
_FIELDS = "Call kartra_retrieve_account_custom_fields for the names, types and option ids"
_LEAD = "Call kartra_get_lead with another address or id, or create the lead first"
_SUBSCRIPTION = "Call kartra_retrieve_subscriptions_from_lead and use an id that it lists"
_TRANSACTION = "Call kartra_retrieve_transactions_from_lead and use an id that it lists"
_FIELD = "Correct the value, then repeat the call"
_LOOK = "Do not repeat the call: call kartra_get_transaction_details, or look in Kartra"


def _same_meaning(text: str, remedy: str, *types: int) -> dict[str, ErrorInfo]:
    return {str(number): ErrorInfo(text, remedy) for number in types}


ERROR_TYPES: Mapping[str, ErrorInfo] = {
    **_same_meaning("The connection to Kartra was not secure", _RECONNECT, 201),
    **_same_meaning("Membrane did not supply a valid Kartra API key", _RECONNECT, 202, 203),
    **_same_meaning("The Kartra account's API access is inactive", _RECONNECT, 204),
    **_same_meaning("An e-mail address or a lead id is required", _FIELD, 206),
    **_same_meaning("The request has the wrong shape for Kartra", _FIELD, 223, 224, 236),
    **_same_meaning("Membrane did not supply a valid Kartra API password", _RECONNECT, 233),
    **_same_meaning(
        "Membrane did not supply a valid or active Kartra app", _RECONNECT, 238, 239, 240
    ),
    **_same_meaning(
        "Kartra does not accept calls from Membrane's address for this app", _RECONNECT, 242
    ),
    **_same_meaning("A command is missing in the request", _FIELD, 254),
    **_same_meaning(
        "The Kartra app of this connection may not use this command",
        "Ask the owner of the Kartra app to permit the command",
        262,
    ),
    **_same_meaning("The list does not exist or was not named", _LISTS, 207, 208, 209, 231),
    **_same_meaning("The tag does not exist or was not named", _TAGS, 211, 212, 213, 214),
    **_same_meaning("The number of points is missing or not a number", _FIELD, 215, 217, 227, 228),
    **_same_meaning("The sequence does not exist or was not named", _SEQUENCES, 219, 220, 226),
    **_same_meaning(
        "The step of the sequence is missing or does not exist",
        "Use the number of the step's box in Kartra's sequence editor",
        225,
        229,
        230,
    ),
    **_same_meaning("No such lead was found", _LEAD, 234, 243),
    **_same_meaning(
        "A lead with this address exists already",
        "Edit the lead with kartra_edit_lead instead",
        244,
    ),
    **_same_meaning("The lead was deleted", _LEAD, 245),
    **_same_meaning("The transaction does not exist", _TRANSACTION, 247),
    **_same_meaning("The subscription does not exist", _SUBSCRIPTION, 248),
    **_same_meaning("The transaction belongs to no recurring subscription", _SUBSCRIPTION, 249),
    **_same_meaning(
        "The transaction is outside Kartra's refund period",
        "Refund it at the payment processor, if at all",
        250,
    ),
    "251": ErrorInfo(
        "The transaction was refunded before",
        "No further action is needed",
        code="already_done",
    ),
    "252": ErrorInfo(
        "The subscription was cancelled before",
        "No further action is needed",
        code="already_done",
    ),
    **_same_meaning(
        "This kind of transaction can be neither refunded nor cancelled",
        "Use the id of a sale or a rebill that is not a test",
        253,
    ),
    **_same_meaning(
        "The calendar or class does not exist or was not named", _CALENDARS, 255, 256, 257, 258
    ),
    **_same_meaning("The lead has no active or pending booking in this class", _LEAD, 259),
    **_same_meaning("The date is invalid or in the past", _FIELD, 260, 261),
    **_same_meaning("The custom field's name cannot be used", _FIELD, 263, 264, 265),
    "266": ErrorInfo(
        "Kartra reports a failed refund, but not whether money moved", _LOOK, Executed.UNKNOWN
    ),
    "267": ErrorInfo(
        "Kartra reports a failed cancellation, but not how far it went",
        _LOOK,
        Executed.UNKNOWN,
    ),
    **_same_meaning("The amount is not valid", _FIELD, 268),
    **_same_meaning("The custom field's type or options are not valid", _FIELD, 269, 270, 272, 273),
    **_same_meaning("A custom field's value has the wrong form", _FIELDS, 271),
    # The arguments are checked before, so that the fault is the subscription's state.
    **_same_meaning(
        "The subscription's status does not allow this: it may be paused or active already",
        "Call kartra_get_subscription_details and compare its status before another call",
        274,
    ),
    **_same_meaning("A cancelled or terminated subscription cannot be changed", _SUBSCRIPTION, 275),
    **_same_meaning("The quantity must be from 1 to 9,999", _FIELD, 276),
    **_same_meaning("The price must be from 1.00 to 9,999.99", _FIELD, 277),
    **_same_meaning("The number is not valid", _FIELD, 278),
    **_same_meaning("The recurring period is not valid or cannot be changed", _FIELD, 280, 281),
    **_same_meaning("The number of installments is not valid", _FIELD, 282),
    **_same_meaning("The product id or price point is not valid", _FIELD, 283),
    **_same_meaning(
        "A PayPal subscription cannot be paused, resumed or edited",
        "Ask the user what they want instead; the customer can change it at PayPal",
        284,
    ),
    **_same_meaning("Nothing that could be changed was sent", _FIELD, 285),
    **_same_meaning("The tax must be from 0 to 100 percent", _FIELD, 290),
}
"""Every published error type."""

_WRAPPERS = ("data", "body", "response", "result", "output")
_ANSWER = frozenset({"status", "type", "message", "cmd", "actions", "code"})
"""Fields of a response to a command; a row of the account in a list has others."""


@dataclass(frozen=True, slots=True)
class ActionOutcome:
    """Response to one command; a failed one has its message.

    `type` is Kartra's number as text, "" if it has none.
    """

    command: str
    failed: bool
    type: str = ""
    message: str = ""


def raise_for_error(result: Any, *, write: bool) -> None:
    """Raise if a Kartra response contains an error at any level. A read counts as not executed.

    Raises:
        UpstreamError: `already_done` for types 251 and 252, else `kartra_error`.
    """
    parts = [part for body in _iter_bodies(result, 3) for part in _iter_outcomes(body)]
    failed = [part for part in parts if part.failed]
    if not failed:
        return
    done = any(part.command for part in parts if not part.failed)
    raise _partial_error(parts, write) if done else _make_error(failed, write)


def find_error(value: Any, *, write: bool) -> KartraMCPError | None:
    """Return the Kartra error in the body of another error, or None."""
    try:
        raise_for_error(value, write=write)
    except KartraMCPError as found:
        return found
    return None


def _iter_bodies(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    """Yield the value and every value inside it that may be Kartra's response.

    Membrane or an action may wrap the response under any name.
    """
    if isinstance(value, str):
        value = _decode(value)
    if is_array(value) and depth:
        for inner in value:
            if _is_answer(inner):
                yield from _iter_bodies(inner, depth - 1)
    if not is_object(value):
        return
    yield value
    is_envelope = isinstance(value.get("status"), str) or "actions" in value
    for name, inner in value.items() if depth else ():
        strange = not (is_envelope or name in COMMANDS or is_array(inner))
        if name in _WRAPPERS or strange:
            yield from _iter_bodies(inner, depth - 1)


def _is_answer(value: Any) -> bool:
    """Return True for a list element that is a response to a command, not a row of the account."""
    return is_object(value) and (value.keys() <= _ANSWER or not COMMANDS.keys().isdisjoint(value))


def _decode(text: str) -> Any:
    """Return Kartra's body if Membrane passed it on as text."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _iter_outcomes(body: Mapping[str, Any]) -> Iterator[ActionOutcome]:
    inner = list(_iter_command_outcomes(body))
    if _is_error(body) and not any(part.failed for part in inner):
        yield _parse_outcome("", body)
    yield from inner


def _iter_command_outcomes(body: Mapping[str, Any]) -> Iterator[ActionOutcome]:
    actions = body.get("actions")
    entries = list(actions.values()) if is_object(actions) else actions
    for entry in [*as_list(entries), body]:
        if is_object(entry):
            if entry is not body and isinstance(entry.get("status"), str):
                yield _parse_outcome(str(entry.get("cmd") or ""), entry)
            for name, answer in entry.items():
                if entry is not body or name in COMMANDS:
                    yield from (_parse_outcome(name, one) for one in _list_answers(answer))


def _list_answers(value: Any) -> list[dict[str, Any]]:
    """Return the response to a command, or its responses if they came as a list."""
    found = [inner for inner in value if _is_answer(inner)] if is_array(value) else [value]
    return [inner for inner in found if is_object(inner)]


def _parse_outcome(command: str, answer: Mapping[str, Any]) -> ActionOutcome:
    name = truncate(strip_control_chars(command), 60)
    if not _is_error(answer):
        return ActionOutcome(name, failed=False)  # its texts are not shown: no search for secrets
    return ActionOutcome(
        command=name,
        failed=True,
        type=safe_excerpt(str(answer.get("type", "")), 12),
        message=safe_excerpt(str(answer.get("message", "")), 300),
    )


def _is_error(answer: Mapping[str, Any]) -> bool:
    status = answer.get("status")
    return isinstance(status, str) and status.strip().casefold() == "error"


def _make_error(failed: list[ActionOutcome], write: bool) -> KartraMCPError:  # noqa: FBT001
    """Return the error of commands that all failed.

    The most severe outcome wins. `already_done` is the least severe, so that it hides no unknown
    one.
    """
    meanings = [ERROR_TYPES.get(part.type) for part in failed]
    meaning = next((m for m in meanings if m is None or m.code != "already_done"), meanings[0])
    detail = {"kartra": [_make_detail(part) for part in failed]}
    if meaning is None:
        return UpstreamError(
            "kartra_error",
            "Kartra answered with an error that its documentation does not list.",
            "Read the detail; if this was a write, look in Kartra before repeating it.",
            executed=None if write else Executed.NO,
            detail=detail,
        )
    unsure = write and any(_get_executed(part) is Executed.UNKNOWN for part in failed)
    return UpstreamError(
        meaning.code,
        meaning.text + ".",
        meaning.remedy + ".",
        executed=Executed.UNKNOWN if unsure else Executed.NO,
        detail=detail,
    )


def _partial_error(parts: list[ActionOutcome], write: bool) -> KartraMCPError:  # noqa: FBT001
    """Return the error of a request in which some commands were executed and some were not.

    `index` is the position of a command, because several can have the same name.
    """
    named = [part for part in parts if part.command]
    done = [part.command for part in named if not part.failed]
    failed = [part for part in parts if part.failed]
    not_done = [
        {**_make_detail(part), **({"index": named.index(part)} if part in named else {})}
        for part in failed
    ]
    unsure = [part for part in failed if _get_executed(part) is Executed.UNKNOWN]
    executed = Executed.UNKNOWN if unsure else Executed.YES
    return UpstreamError(
        "kartra_error",
        f"{len(done)} of {len(done) + len(failed)} commands were done, the others were not.",
        "Do not repeat the whole request: correct and send only what was not done.",
        executed=executed if write else Executed.NO,
        detail={"done": done, "not_done": not_done},
    )


def _get_executed(part: ActionOutcome) -> Executed:
    meaning = ERROR_TYPES.get(part.type)
    return meaning.executed if meaning else Executed.UNKNOWN


def _make_detail(part: ActionOutcome) -> dict[str, str]:
    meaning = ERROR_TYPES.get(part.type)
    said = {"command": part.command, "type": part.type, "message": part.message}
    known = {"meaning": meaning.text} if meaning else {}
    return {name: text for name, text in {**said, **known}.items() if text}
