"""Kartra's error types: meaning, remedy and whether anything was done; errors in responses. Pure.

Kartra returns errors with HTTP 200, at the top level or inside `actions[i].<cmd>`. Source: the
error tables of its API articles (74 types). A type that is not listed leaves a write unknown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.core.errors import KartraMCPError, UpstreamError
from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.core.models import Executed
from kartra_mcp.core.sanitize import safe_excerpt, strip_control_chars, truncate
from kartra_mcp.kartra.commands import COMMANDS


@dataclass(frozen=True, slots=True)
class Meaning:
    """One error type: sentences without a full stop, and what it proves."""

    text: str
    remedy: str
    executed: Executed = Executed.NO
    code: str = "kartra_error"


_RECONNECT = "Ask for kartra_status and reconnect the connection in Membrane; the key is kept there"
_NAMES = "Ask for the account's names and use one exactly as it is written there"
_LEAD = "Look the lead up by another address or id, or create it first"
_SUBSCRIPTION = "Read the lead's subscriptions and use an id that is listed there"
_TRANSACTION = "Read the lead's transactions and use an id that is listed there"
_FIELD = "Correct the value, then repeat the call"
_LOOK = "Do not repeat it: read the transactions or the subscription, or look in Kartra"


def _many(text: str, remedy: str, *types: int) -> dict[str, Meaning]:
    return {str(number): Meaning(text, remedy) for number in types}


MEANINGS: Mapping[str, Meaning] = {
    **_many("The connection to Kartra was not secure", _RECONNECT, 201),
    **_many("Membrane did not supply a valid Kartra API key", _RECONNECT, 202, 203),
    **_many("The Kartra account's API access is inactive", _RECONNECT, 204),
    **_many("An e-mail address or a lead id is required", _FIELD, 206),
    **_many("The request has the wrong shape for Kartra", _FIELD, 223, 224, 236),
    **_many("Membrane did not supply a valid Kartra API password", _RECONNECT, 233),
    **_many("Membrane did not supply a valid or active Kartra app", _RECONNECT, 238, 239, 240),
    **_many("Kartra does not accept calls from Membrane's address for this app", _RECONNECT, 242),
    **_many("A command is missing in the request", _FIELD, 254),
    **_many(
        "The Kartra app of this connection may not use this command",
        "Ask the owner of the Kartra app to permit the command",
        262,
    ),
    **_many("The list does not exist or was not named", _NAMES, 207, 208, 209, 231),
    **_many("The tag does not exist or was not named", _NAMES, 211, 212, 213, 214),
    **_many("The number of points is missing or not a number", _FIELD, 215, 217, 227, 228),
    **_many("The sequence does not exist or was not named", _NAMES, 219, 220, 226),
    **_many(
        "The step of the sequence is missing or does not exist",
        "Use the number of the step's box in Kartra's sequence editor",
        225,
        229,
        230,
    ),
    **_many("No such lead was found", _LEAD, 234, 243),
    **_many("A lead with this address exists already", "Edit the lead instead", 244),
    **_many("The lead was deleted", _LEAD, 245),
    **_many("The transaction does not exist", _TRANSACTION, 247),
    **_many("The subscription does not exist", _SUBSCRIPTION, 248),
    **_many("The transaction belongs to no recurring subscription", _SUBSCRIPTION, 249),
    **_many(
        "The transaction is outside Kartra's refund period",
        "Refund it at the payment processor, if at all",
        250,
    ),
    "251": Meaning(
        "The transaction was refunded before",
        "Nothing more is to be done",
        code="already_done",
    ),
    "252": Meaning(
        "The subscription was cancelled before",
        "Nothing more is to be done",
        code="already_done",
    ),
    **_many(
        "This kind of transaction can be neither refunded nor cancelled",
        "Use the id of a sale or a rebill that is no test",
        253,
    ),
    **_many("The calendar or class does not exist or was not named", _NAMES, 255, 256, 257, 258),
    **_many("The lead has no active or pending booking in this class", _LEAD, 259),
    **_many("The date is invalid or in the past", _FIELD, 260, 261),
    **_many("The custom field's name cannot be used", _FIELD, 263, 264, 265),
    "266": Meaning(
        "Kartra says that the refund failed, but not whether money moved", _LOOK, Executed.UNKNOWN
    ),
    "267": Meaning(
        "Kartra says that the cancellation failed, but not how far it went",
        _LOOK,
        Executed.UNKNOWN,
    ),
    **_many("The amount is not valid", _FIELD, 268),
    **_many("The custom field's type or options are not valid", _FIELD, 269, 270, 272, 273),
    **_many("A custom field's value has the wrong form", _FIELD, 271),
    **_many("The status is none of cancel, pause and unpause", _FIELD, 274),
    **_many("A cancelled or terminated subscription cannot be changed", _SUBSCRIPTION, 275),
    **_many("The quantity must be from 1 to 9,999", _FIELD, 276),
    **_many("The price must be from 1.00 to 9,999.99", _FIELD, 277),
    **_many("The number is not valid", _FIELD, 278),
    **_many("The recurring period is not valid or cannot be changed", _FIELD, 280, 281),
    **_many("The number of installments is not valid", _FIELD, 282),
    **_many("The product id or price point is not valid", _FIELD, 283),
    **_many(
        "A PayPal subscription can only be cancelled, not changed", "Cancel it, or leave it", 284
    ),
    **_many("Nothing that could be changed was sent", _FIELD, 285),
    **_many("The tax must be from 0 to 100 percent", _FIELD, 290),
}
"""Every published error type."""

_WRAPPERS = ("data", "body", "response", "result", "output")
_ANSWER = frozenset({"status", "type", "message", "cmd", "actions", "code"})
"""The fields of an answer: a row of the account that stands in a list has others."""


@dataclass(frozen=True, slots=True)
class Part:
    """Response to one command: `type` is Kartra's number as text, "" if it has none."""

    command: str
    failed: bool
    type: str = ""
    message: str = ""


def raise_for_error(result: Any, *, write: bool) -> None:
    """Raise if a Kartra response contains an error at any level. A read is never executed.

    Raises:
        Failed: `already_done` for types 251 and 252, else `kartra_error`.
    """
    parts = [part for body in _bodies(result, 3) for part in _parts(body)]
    failed = [part for part in parts if part.failed]
    if not failed:
        return
    done = [part.command for part in parts if not part.failed and part.command]
    raise _chain_error(done, failed, write) if done else _error(failed, write)


def error_in(value: Any, *, write: bool) -> KartraMCPError | None:
    """Return the Kartra error in a body that came with another error, or None."""
    try:
        raise_for_error(value, write=write)
    except KartraMCPError as found:
        return found
    return None


def _bodies(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    """Yield the response itself and what Membrane or an action wrapped it in, under any name."""
    if isinstance(value, str):
        value = _decoded(value)
    if is_array(value) and depth:
        for inner in value:
            if _is_answer(inner):
                yield from _bodies(inner, depth - 1)
    if not is_object(value):
        return
    yield value
    is_envelope = isinstance(value.get("status"), str) or "actions" in value
    for name, inner in value.items() if depth else ():
        strange = not (is_envelope or name in COMMANDS or is_array(inner))
        if name in _WRAPPERS or strange:
            yield from _bodies(inner, depth - 1)


def _is_answer(value: Any) -> bool:
    """Return whether a list element is a response to a command and not a row of the account."""
    return is_object(value) and (value.keys() <= _ANSWER or not COMMANDS.keys().isdisjoint(value))


def _decoded(text: str) -> Any:
    """Return Kartra's body if Membrane passed it on as text."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _parts(body: Mapping[str, Any]) -> Iterator[Part]:
    inner = list(_command_parts(body))
    if _is_error(body) and not any(part.failed for part in inner):
        yield _part("", body)
    yield from inner


def _command_parts(body: Mapping[str, Any]) -> Iterator[Part]:
    actions = body.get("actions")
    entries = list(actions.values()) if is_object(actions) else actions
    for entry in [*(entries if is_array(entries) else []), body]:
        if is_object(entry):
            if entry is not body and isinstance(entry.get("status"), str):
                yield _part(str(entry.get("cmd") or ""), entry)
            for name, answer in entry.items():
                if entry is not body or name in COMMANDS:
                    yield from (_part(name, one) for one in _answers(answer))


def _answers(value: Any) -> list[dict[str, Any]]:
    """Return the response to a command, or its responses if they came as a list."""
    found = [inner for inner in value if _is_answer(inner)] if is_array(value) else [value]
    return [inner for inner in found if is_object(inner)]


def _part(command: str, answer: Mapping[str, Any]) -> Part:
    return Part(
        command=truncate(strip_control_chars(command), 60),
        failed=_is_error(answer),
        type=safe_excerpt(str(answer.get("type", "")), 12),
        message=safe_excerpt(str(answer.get("message", "")), 300),
    )


def _is_error(answer: Mapping[str, Any]) -> bool:
    status = answer.get("status")
    return isinstance(status, str) and status.strip().casefold() == "error"


def _error(failed: list[Part], write: bool) -> KartraMCPError:  # noqa: FBT001
    """Return the error of parts that all failed.

    The most severe one wins, `already_done` the least.
    """
    meanings = [MEANINGS.get(part.type) for part in failed]
    meaning = next((m for m in meanings if m is None or m.code != "already_done"), meanings[0])
    detail = {"kartra": [_detail(part) for part in failed]}
    if meaning is None:
        return UpstreamError(
            "kartra_error",
            "Kartra answered with an error that its documentation does not list.",
            "Read the detail; if this was a write, look in Kartra before repeating it.",
            executed=None if write else Executed.NO,
            detail=detail,
        )
    unsure = write and any(_executed(part) is Executed.UNKNOWN for part in failed)
    return UpstreamError(
        meaning.code,
        meaning.text + ".",
        meaning.remedy + ".",
        executed=Executed.UNKNOWN if unsure else Executed.NO,
        detail=detail,
    )


def _chain_error(done: list[str], failed: list[Part], write: bool) -> KartraMCPError:  # noqa: FBT001
    """Return the error of a request in which some commands were executed and some were not."""
    unsure = [part for part in failed if _executed(part) is Executed.UNKNOWN]
    executed = Executed.UNKNOWN if unsure else Executed.YES
    return UpstreamError(
        "kartra_error",
        f"{len(done)} of {len(done) + len(failed)} commands were done, the others were not.",
        "Do not repeat the whole request: correct and send only what was not done.",
        executed=executed if write else Executed.NO,
        detail={"done": done, "not_done": [_detail(part) for part in failed]},
    )


def _executed(part: Part) -> Executed:
    meaning = MEANINGS.get(part.type)
    return meaning.executed if meaning else Executed.UNKNOWN


def _detail(part: Part) -> dict[str, str]:
    meaning = MEANINGS.get(part.type)
    said = {"command": part.command, "type": part.type, "message": part.message}
    known = {"meaning": meaning.text} if meaning else {}
    return {name: text for name, text in {**said, **known}.items() if text}
