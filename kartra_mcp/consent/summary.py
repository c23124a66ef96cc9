"""The one line that the user agrees to: account, operation, amounts, ids and names. Pure.

Names are quoted and may be cut; amounts, ids, dates and new addresses are not. Where the line does
not contain every argument exactly, it ends with a digest of the call, so that two different calls
never have the same summary.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.consent.changes import Change, iter_leaves
from kartra_mcp.consent.facts import Facts
from kartra_mcp.core.models import Action, Call, OperationKind, RawRequest
from kartra_mcp.core.sanitize import redact_secrets, strip_control_chars
from kartra_mcp.kartra import commands, fields
from kartra_mcp.kartra.fields import normalize_name
from kartra_mcp.kartra.request_path import fill_path
from kartra_mcp.kartra.values import normalize_id

SUMMARY = 160
NAME = 30
"""Characters of a name; fewer where the line would be too long."""
_LIMITS = (NAME, 24, 18, 12, 8, 5)
DIGEST = 6
_SHORT_LABELS: Mapping[str, str] = {
    "calendar name": "calendar",
    "class name": "class",
    "starting date": "date",
    "starting hour": "hour",
}
_VERBS: Mapping[OperationKind, str] = {
    OperationKind.REFUND: "REFUND",
    OperationKind.CANCELLATION: "CANCEL",
    OperationKind.REVOCATION: "REVOKE",
    OperationKind.CHANGE: "CHANGE",
    OperationKind.OTHER: "RUN",
}
_SHOWN_AS_CHANGES = frozenset({"edit_lead", "edit_subscription", "modify_subscription_status"})
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_NUMBER = re.compile(r"[0-9][0-9.:, -]{0,29}")
"""Numbers and dates, which need no quotes: no words can hide in them."""
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?: \d{2}:\d{2}(?::\d{2})?)?")
_CLASS_DATE = re.compile(r"\d{1,2} [A-Za-z]{3} \d{4}")
_ADDRESS = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+")


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of the line: `label "text"`; one that `is_exact` is neither cut nor quoted."""

    label: str
    text: str = ""
    is_exact: bool = True

    def render(self, limit: int) -> str:
        text = self.text if self.is_exact else f'"{_shorten(self.text, limit)}"'
        return f"{self.label} {text}".strip()

    def is_changed_by(self, limit: int) -> bool:
        return not self.is_exact and _shorten(self.text, limit) != self.text


def make_summary(call: Call, facts: Facts, *, account: str, sandbox: bool) -> str:
    """Return one ASCII line of at most 160 characters, with account, verb, amount and id first.

    The caller must repeat it exactly, and models alter characters that are not ASCII.
    """
    parts = list(_parts(call, facts, account=account, sandbox=sandbox))
    whole = _is_whole(call, facts)
    for limit in _LIMITS:
        exact = whole and not any(part.is_changed_by(limit) for part in parts)
        line = _finish(" ".join(part.render(limit) for part in parts), call, exact=exact)
        if len(line) <= SUMMARY:
            return line
    mark = f" #{_digest(call)}"
    rendered = [part.render(_LIMITS[-1]) for part in parts]
    while len(rendered) > 1 and len(" ".join(rendered)) + len(mark) > SUMMARY:
        rendered.pop()
    line = redact_secrets(" ".join(rendered))
    return line[: SUMMARY - len(mark)].rstrip() + mark


def quote_name(value: Any, limit: int) -> str:
    """Return a name in quotes: one ASCII line of at most so many characters."""
    return f'"{_shorten(value, limit)}"'


def describe_operation(call: Call) -> str:
    """Return the operation's name; of a raw request, every command in it."""
    if isinstance(call.request, RawRequest):
        path = f"{call.request.method} {fill_path(call.request)}"
        return ", ".join(command.name for command in call.commands) or path
    return call.title


def _finish(line: str, call: Call, *, exact: bool) -> str:
    # Redacted here, as in every error: the caller must repeat exactly the text that was shown.
    redacted = redact_secrets(line)
    return redacted if exact and redacted == line else f"{redacted} #{_digest(call)}"


def _digest(call: Call) -> str:
    request = call.request
    action = request.id if isinstance(request, Action) else ""
    whole = f"{call.tool} {action} {call.operation.digest}"
    return hashlib.sha256(whole.encode()).hexdigest()[:DIGEST]


def _parts(call: Call, facts: Facts, *, account: str, sandbox: bool) -> Iterator[_Part]:
    if sandbox:
        yield _Part("SANDBOX")
    elif account:
        yield _name("", account)
    yield from _warnings(facts)
    verb = _verb(call, facts.act)
    yield _Part(f"{verb} AGAIN" if call.consent.repeat else verb)
    if facts.act is OperationKind.REFUND:
        yield _Part(str(facts.shown.get("full_or_partial") or "AMOUNT"))
        yield _Part(str(facts.shown.get("this_refund", "")))
    if facts.act is OperationKind.OTHER:
        yield _operation(call)
    if not commands.acts_on_account(call.commands):
        yield _target(facts, "on" if facts.act is OperationKind.OTHER else "")
    yield from _details(call, facts)
    if len(call.commands) > 1 and facts.act is not OperationKind.OTHER:
        yield _name("in a request of", describe_operation(call))
    if len(call.commands) > 1:
        yield from _rest_of_chain(call)


def _warnings(facts: Facts) -> Iterator[_Part]:
    if facts.missing:
        yield _Part("NOT READ:", _shorten(facts.missing[0], NAME).rstrip(".") + ".")
    if facts.suppressed:
        yield _Part("SUPPRESSED LEAD:", ", ".join(facts.suppressed) + ".")


def _verb(call: Call, act: OperationKind) -> str:
    statuses = {
        fields.find_status(command.arguments)
        for command in call.commands
        if command.name == "modify_subscription_status"
    }
    if act is OperationKind.CHANGE and len(call.commands) == 1 and statuses:
        return {"pause": "PAUSE", "unpause": "RESUME"}.get(statuses.pop(), "CHANGE")
    return _VERBS[act]


def _operation(call: Call) -> _Part:
    """Return the operation; that of one known command is not cut."""
    name = describe_operation(call)
    if len(call.commands) == 1 and call.commands[0].name in commands.COMMANDS:
        return _Part("", quote_name(name, NAME))
    return _name("", name)


def _target(facts: Facts, before: str) -> _Part:
    target = facts.target
    if target is None:
        return _Part(before, "what is not named")
    text = _to_ascii_line(target.id).replace('"', "'")
    plain = _ID.fullmatch(text) or (_ADDRESS.fullmatch(text) and len(text) <= 2 * NAME)
    label = f"{before} {target.kind}".strip()
    return _Part(label, text) if plain else _name(label, text)


def _details(call: Call, facts: Facts) -> Iterator[_Part]:
    """Yield changes first, then product and person, then dates and other arguments."""
    shown = facts.shown
    if facts.act is OperationKind.CANCELLATION and shown.get("transaction_id"):
        yield _Part("of transaction", str(shown["transaction_id"]))
    for change in facts.changes:
        yield from _change(change)
    yield from _product_and_person(facts)
    if facts.act is OperationKind.REVOCATION and not any(_other_leaves(call, facts)):
        for membership in shown.get("memberships") or ():
            yield _name("membership", membership)
    yield from _dates(facts)
    named_here = facts.act in (OperationKind.REVOCATION, OperationKind.OTHER)
    if named_here and not facts.changes and len(call.commands) <= 1:
        for path, value in _other_leaves(call, facts):
            yield _value(_label(path), value)


def _rest_of_chain(call: Call) -> Iterator[_Part]:
    """Yield the tag, list and so on of each command that the changes do not contain."""
    for command in call.commands:
        if command.name not in _SHOWN_AS_CHANGES:
            for path, value in iter_leaves(command.arguments):
                if value not in ({}, []):
                    yield _value(_label(path), value)


def _product_and_person(facts: Facts) -> Iterator[_Part]:
    shown = facts.shown
    if shown.get("product"):
        yield _name("of", shown["product"])
    elif shown.get("product_id"):
        yield _value("of product", shown["product_id"])
    person = shown.get("buyer") or shown.get("lead")
    if person:
        yield _name("to" if facts.act is OperationKind.REFUND else "of", person)


def _dates(facts: Facts) -> Iterator[_Part]:
    shown = facts.shown
    if shown.get("date"):
        yield _date("dated", shown["date"])
    if facts.act is OperationKind.CANCELLATION:
        if shown.get("price"):
            yield _value("price", shown["price"])
        elif shown.get("next_payment_amount"):
            yield _value("next amount", shown["next_payment_amount"])
        if shown.get("next_payment"):
            yield _date("next payment", shown["next_payment"])


def _change(change: Change) -> Iterator[_Part]:
    label = _to_ascii_line(change.label.replace("_", " "))
    if change.old:
        yield _value(label, change.old)
        label = "->"
    else:
        label = f"{label} ->"
    is_address = _ADDRESS.fullmatch(change.new) and len(change.new) <= 2 * NAME
    yield _Part(label, change.new) if is_address else _value(label, change.new or "(empty)")


def _value(label: str, value: Any) -> _Part:
    """Return a number or date without quotes, any other value as a name."""
    text = str(value)
    if _CLASS_DATE.fullmatch(text):
        return _Part(label, f'"{text}"')
    return _Part(label, text) if _NUMBER.fullmatch(text) else _name(label, text)


def _date(label: str, value: Any) -> _Part:
    text = str(value)
    return _Part(label, f'"{text}"') if _DATE.fullmatch(text) else _name(label, text)


def _name(label: str, value: Any) -> _Part:
    return _Part(label, str(value), is_exact=False)


def _label(path: str) -> str:
    """Return `calendar` for `calendar_name`, whose summary is long, else the name in words."""
    name = path.rpartition(".")[2].replace("_", " ")
    return _shorten(_SHORT_LABELS.get(name, name), NAME)


def _other_leaves(call: Call, facts: Facts) -> Iterator[tuple[str, Any]]:
    """Yield the arguments that the target does not contain."""
    target = facts.target
    for path, value in iter_leaves(call.operation.arguments):
        if (
            path
            and value not in ({}, [])
            and not (target is not None and normalize_id(value) == target.id)
        ):
            yield path, value


def _is_whole(call: Call, facts: Facts) -> bool:
    """Return whether the parts contain every argument of the call, and the call is no other's."""
    request = call.request
    if not isinstance(request, Action) or len(call.commands) != 1:
        return False
    command = call.commands[0].name
    keys = {command, *(k for k, c in commands.ACTION_COMMANDS.items() if c == command)}
    if normalize_name(call.tool) not in {normalize_name(f"kartra_{key}") for key in keys}:
        return False
    leaves = list(iter_leaves(call.operation.arguments))
    names = {normalize_name(path) for path, _ in leaves}
    if facts.act is OperationKind.REFUND:
        partly = facts.shown.get("full_or_partial") == "PARTIAL"
        amount = {"refundamount"} if partly and call.operation.amount is not None else set[str]()
        return names == {"transactionid"} | amount
    if facts.act is OperationKind.CANCELLATION:
        return len(names) == 1
    if facts.act is OperationKind.CHANGE or facts.changes:
        return False
    exact = all(type(value) in (str, int) and str(value).strip() for _, value in leaves)
    of_target = [value for _, value in leaves if facts.target and str(value) == facts.target.id]
    hidden = len(leaves) - len(list(_other_leaves(call, facts)))
    exact = exact and len(of_target) == hidden == 1
    return exact and all(re.fullmatch(r"[a-z_]+", path) for path, _ in leaves)


def _shorten(value: Any, limit: int) -> str:
    """Return a name for use between quotes: no character in it can end the quote."""
    text = _to_ascii_line(str(value)).replace('"', "'")
    return text if len(text) <= limit else text[: limit - 3].rstrip() + "..."


def _to_ascii_line(text: str) -> str:
    """Return one ASCII line, converted before truncating or quoting: one letter may become many."""
    return " ".join(_to_ascii(strip_control_chars(" ".join(text.split()))).split())


def _to_ascii(text: str) -> str:
    """Drop marks of letters, replace any white space by a blank, and the rest by `?`."""
    plain = unicodedata.normalize("NFKD", " ".join(text.split()))
    kept = "".join(c for c in plain if not unicodedata.combining(c))
    return kept.encode("ascii", "replace").decode()
