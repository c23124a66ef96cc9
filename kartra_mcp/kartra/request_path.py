"""Operation of a raw request without Kartra commands, judged by the words of its path. Pure.

Kartra documents one endpoint, whose commands are in the body. The paths of other APIs name the
operation themselves: `POST /transactions/101/refund`. They are judged like the name of an unknown
action, with the HTTP method as the verb.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from urllib.parse import unquote

from kartra_mcp.core.models import RawRequest, Risk
from kartra_mcp.kartra import action_words
from kartra_mcp.kartra.commands import COMMANDS, find_command
from kartra_mcp.kartra.fields import contains_word, iter_fields, normalize_name, split_words

ENDPOINTS = frozenset({"", "/api"})
"""Kartra's documented endpoint, without the slash at its end."""
METHOD_VERBS: Mapping[str, str] = {
    "GET": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "update",
    "DELETE": "delete",
}
DEDICATED_WORDS = ("refund", "cancel")
"""Parts of words that no operation of a raw request has: dedicated tools read the facts first."""

MAX_NAME = 80
_OPERATION_FIELDS = frozenset(
    {"action", "act", "operation", "op", "command", "do", "verb", "task", "function"}
)
"""Fields whose value names the operation, as in `/index.php?action=refund`."""
_NOUNS = frozenset({"tag", "email", "store", "issue", "set"})
"""Verbs that name a resource in a path that is read."""
_NOUNS_BEFORE_ID = frozenset(
    {"charge", "credit", "bill", "transfer", "purchase", "payout", "debit", "chargeback", "topup"}
    | {"copy", "process", "run", "broadcast", "mark"}
)
"""Verbs that name a resource unless they follow an id: `/charge/5`, not `/customers/5/charge`."""
_STATUS_VERBS = frozenset({"pause", "unpause", "resume", "restore", "uncancel", "reactivate"})
_NOT_VERB_ENDINGS = ("ed", "s", "ion")
"""Endings of a state or of a list, as in `/subscriptions/cancelled`."""


def is_endpoint(request: RawRequest) -> bool:
    """Return whether a request goes to Kartra's documented endpoint."""
    return fill_path(request).rstrip("/") in ENDPOINTS


def fill_path(request: RawRequest) -> str:
    """Return the path with its parameters filled in, percent-decoded."""
    path = request.path
    for name, value in request.path_params.items():
        path = path.replace("{" + name + "}", value)
    return unquote(path)


def operation_name(request: RawRequest) -> str:
    """Return the operation in words, e.g. `create transactions 101 refund`.

    Empty for the documented endpoint without a field that names an operation.
    """
    names = [*_segments(request), *_named_by_fields(request)]
    return " ".join((METHOD_VERBS[request.method], *names)) if names else ""


def dedicated_word(request: RawRequest) -> str:
    """Return the member of `DEDICATED_WORDS` by which a request refunds or cancels, or ""."""
    reads = _is_plain_get(request)
    names = _acting_names(request) if reads else [*_segments(request), *_named_by_fields(request)]
    found = (_dedicated_word_of(name) for name in names)
    return next((word for word in found if word), "")


def path_risk(request: RawRequest) -> Risk:
    """Return the risk of a request by the words of its path; READ for the documented endpoint.

    A GET reads unless a segment is a verb. Any other method is destructive at least.
    """
    name = operation_name(request)
    if not name:
        return Risk.READ
    if _is_plain_get(request):
        return max((_name_risk(one) for one in _acting_names(request)), default=Risk.READ)
    parts = [*_segments(request), *_named_by_fields(request)]
    # A known command has its own row: `calendar_cancel` cancels a booking, nothing paid.
    unknown = " ".join((METHOD_VERBS[request.method], *(p for p in parts if not find_command(p))))
    names = [unknown, *parts, *_field_words(request)]
    ends_subscription = request.method == "DELETE" and contains_word(name, "subscription")
    return Risk.IRREVERSIBLE if ends_subscription else max(map(_name_risk, names))


def named_commands(request: RawRequest) -> frozenset[str]:
    """Return the Kartra commands that a path names, for the lists and gates of the policy."""
    names = (*_segments(request), *_named_by_fields(request))
    return frozenset(command for command in map(find_command, names) if command)


def moves_money(request: RawRequest) -> bool:
    """Return whether a request moves money by the words of its path."""
    reads = _is_plain_get(request)
    all_names = (operation_name(request), *_segments(request), *_named_by_fields(request))
    names = _acting_names(request) if reads else all_names
    return any(map(action_words.moves_money, names)) or dedicated_word(request) == "refund"


def sends(request: RawRequest) -> bool:
    """Return whether a request can send mail by the words of its path."""
    return action_words.sends(operation_name(request))


def _is_plain_get(request: RawRequest) -> bool:
    return request.method == "GET" and request.body is None


def _segments(request: RawRequest) -> list[str]:
    if is_endpoint(request):
        return []
    return [segment for segment in fill_path(request).split("/") if segment]


def _named_by_fields(request: RawRequest) -> list[str]:
    """Return the values of fields that name an operation."""
    return [
        value
        for name, value in iter_fields(request.fields)
        if normalize_name(name) in _OPERATION_FIELDS and isinstance(value, str) and value
    ]


def _field_words(request: RawRequest) -> Iterator[str]:
    """Yield names of fields, and short texts, that refund or cancel: `{"status": "cancelled"}`."""
    for name, value in iter_fields(request.fields):
        texts = (name, value) if isinstance(value, str) and len(value) <= MAX_NAME else (name,)
        for text in texts:
            if _dedicated_word_of(text):
                yield text


def _acting_names(request: RawRequest) -> list[str]:
    """Return the segments of a GET that are verbs, and what its fields name as the operation."""
    segments = ["", *_segments(request)]
    acting = [
        segment
        for before, segment in pairwise(segments)
        if _acts(segment, after_id=any(map(str.isdigit, before)) and segment == segments[-1])
    ]
    return acting + [name for name in _named_by_fields(request) if not _reads(name)]


def _acts(segment: str, *, after_id: bool) -> bool:
    word = segment.lower()
    if word in _NOUNS or (word in _NOUNS_BEFORE_ID and not after_id):
        return False
    if _reads(segment):
        return False
    verb = next(iter(split_words(segment)), "")
    ends = action_words.destroys(segment) and not verb.endswith(_NOT_VERB_ENDINGS)
    known = bool(find_command(segment))
    return known or ends or verb in _STATUS_VERBS or action_words.is_acting(segment)


def _reads(name: str) -> bool:
    command = find_command(name)
    return COMMANDS[command].risk is Risk.READ if command else action_words.is_reading(name)


def _name_risk(name: str) -> Risk:
    command = find_command(name)
    if command:
        return COMMANDS[command].risk
    ends = action_words.moves_money(name) or action_words.ends_for_good(name)
    return Risk.IRREVERSIBLE if ends or _dedicated_word_of(name) else Risk.DESTRUCTIVE


def _dedicated_word_of(name: str) -> str:
    """Return the member of `DEDICATED_WORDS` in a name; `uncancel` and `calendar_cancel` have none.

    A known command has its own row of the table.
    """
    command = find_command(name)
    if command and COMMANDS[command].risk < Risk.IRREVERSIBLE:
        return ""
    words = [word for word in split_words(command or name) if not word.startswith("un")]
    return next((d for d in DEDICATED_WORDS if any(d in word for word in words)), "")
