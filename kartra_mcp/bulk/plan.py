"""Plan of a bulk run: its facts, its preview and its gate, from the checked items. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, cast

from kartra_mcp.bulk.request import BulkRequest
from kartra_mcp.catalogue.catalogue import ActionTool
from kartra_mcp.consent.facts import Facts
from kartra_mcp.consent.mail_check import split_reasons
from kartra_mcp.consent.preview import Preview
from kartra_mcp.consent.summary import SUMMARY, quote_name
from kartra_mcp.core.json_types import as_dict
from kartra_mcp.core.models import Command, Connection, ConsentArguments, Gate, OperationKind, Risk
from kartra_mcp.core.sanitize import dump_json, json_bytes, redact_secrets, truncate
from kartra_mcp.kartra.commands import COMMANDS, find_status_texts
from kartra_mcp.kartra.inverse import PLANNABLE
from kartra_mcp.ledger.bulk_records import BulkItem, BulkRun
from kartra_mcp.policy.gates import strictest

MAX_LISTED = 20
LEFT_OUT = ("not_undone", "invalid", "blocked", "suppressed")
"""Facts that have items which do not run: their total and the first with the reason."""
SAMPLE = 3
TYPICAL_SECONDS = 1.0
"""Duration of one call of the program, for the estimate."""
_MAX_VALUE = 300
"""Bytes of JSON of one argument that a preview shows: the digest stands for all of it."""
_DIGEST = 6
_NAME = 24
"""Characters of a shared text in a summary."""
_UNDO_IN_BULK: Mapping[str, str] = {
    "edit_lead": "by hand only: a bulk run keeps no old values, so read the leads in bulk first",
    "edit_subscription": "by hand only: nothing keeps the old terms, so read them in bulk first",
}
"""Undo of commands whose old values are in the answer of a single call only."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is decided about a run before the user is asked.

    `ready` are the items that will run.
    """

    ready: tuple[BulkItem, ...]
    facts: Mapping[str, Any]
    risk: Risk


@dataclass(frozen=True, slots=True)
class Pace:
    """Pace of calls: a second by the rate limit (0: none), and how many at once."""

    rate: float
    at_once: int

    def estimate_seconds(self, calls: int) -> int:
        """Return the whole seconds that so many calls take at least."""
        by_rate = calls / self.rate if self.rate else 0.0
        return max(1, round(max(by_rate, calls * TYPICAL_SECONDS / self.at_once)))


def describe_request(request: BulkRequest) -> dict[str, Any]:
    """Return the facts of a run that are known before its items are checked."""
    unused = list(request.unused_columns)
    undoes = {"undoes": request.undoes} if request.undoes else {}
    return {**undoes, **({"columns_not_used": unused} if unused else {})}


def make_plan(run: BulkRun, items: Sequence[BulkItem], pace: Pace) -> Plan:
    """Return the plan of a run whose items were all checked."""
    ready = tuple(item for item in items if item.state == "waiting")
    amount = sum_amounts(ready)
    mail = sum(item.mail for item in ready)
    facts: dict[str, Any] = {"count": len(ready), **run.facts}
    if run.duplicates:
        facts["duplicates"] = run.duplicates
    facts |= _describe_left_out(run, items)
    shared = _shared_arguments(ready)
    if shared:
        facts["shared"] = _shorten_values(shared)
    facts["sample"] = [
        _shorten_values({n: value for n, value in item.arguments.items() if n not in shared})
        for item in ready[:SAMPLE]
    ]
    if mail:
        facts["can_start_mail"] = mail
    not_checked = sum(item.mail > 0 and item.looked_at is None for item in ready)
    if not_checked:
        facts["leads_not_checked"] = not_checked
    if amount is not None:
        facts["amount"] = f"{amount:.2f}"
    facts["seconds"] = pace.estimate_seconds(len(ready))
    risk = max((item.risk for item in ready), default=Risk.READ)
    return Plan(ready, facts, risk)


def list_invalid(items: Sequence[BulkItem]) -> dict[str, Any]:
    """Return the items that cannot run, for an error."""
    invalid = [item for item in items if item.state == "invalid"]
    return {"invalid": _describe_items(invalid, once=len(invalid) == len(items))}


def sum_amounts(items: Iterable[BulkItem]) -> Decimal | None:
    """Return the money that these items move; None if they move none, or it is not all known."""
    amounts = [item.amount for item in items]
    return sum(map(Decimal, amounts), Decimal(0)) if amounts and all(amounts) else None


def find_gate(items: Iterable[BulkItem], risk: Risk) -> Gate:
    """Return the gate of a run: at least a preview for writes, a human for irreversible ones."""
    least = {Risk.READ: Gate.ALLOW, Risk.IRREVERSIBLE: Gate.HUMAN}.get(risk, Gate.PREVIEW)
    return strictest(least, *(item.gate for item in items))


def make_preview(
    run: BulkRun,
    title: str,
    *,
    account: str,
    sandbox: bool,
    does: str = "",
    reversal: str = "",
) -> Preview:
    """Return the preview of a sealed run; `title` is that of its tool.

    `does` and `reversal` are effect and undo of a chain of commands, which is no command itself.
    """
    row = COMMANDS.get(run.operation)
    # A status that all items share is more exact than the command, which can also cancel.
    status, back = find_status_texts(Command(run.operation, as_dict(run.facts.get("shared"))))
    effect = status or (row.effect if row else does or "changes the account in an unknown way")
    undo = f"{row.undo}, for each item" if row and row.risk < Risk.IRREVERSIBLE else ""
    undo = undo or (row.undo if row else reversal or "not known")
    undo = _UNDO_IN_BULK.get(run.operation) or back or undo
    summary = _make_summary(run, title, account=account, sandbox=sandbox)
    return Preview(summary, f"{effect}; {_count(run.facts['count'])}", undo, run.facts)


def _make_summary(run: BulkRun, title: str, *, account: str, sandbox: bool) -> str:
    """Return one ASCII line: account, count, tool, sum, mail, and the digest of the items."""
    where = "SANDBOX" if sandbox else quote_name(account, 30)
    again = (f" UNDO {run.undoes}" if run.undoes else "") + (" AGAIN" if run.repeat else "")
    count, amount = run.facts["count"], run.facts.get("amount")
    money = f" SUM {amount}" if amount else ""
    mail = f" mail {run.facts['can_start_mail']}" if run.facts.get("can_start_mail") else ""
    suppressed = " suppressed too" if run.include_suppressed else ""
    mark = f" #{run.digest[:_DIGEST]}"
    line = f"{where} BULK{again} {quote_name(title, 40)} {_count(count)}{money}{mail}{suppressed}"
    room = SUMMARY - len(mark) - len(line)
    # Redacted here, as in every error: the caller must repeat exactly the text that was shown.
    return redact_secrets(line + _summarize_shared(run.facts.get("shared", {}), room)) + mark


def _summarize_shared(shared: Mapping[str, Any], room: int) -> str:
    """Return the shared arguments that fit, each in full: numbers first, then the number left out.

    A number that is cut in the middle is another number.
    """
    ordered = sorted(shared.items(), key=lambda pair: not _is_number(pair[1]))
    parts = [f" {name.replace('_', ' ')} {_quote_value(value)}" for name, value in ordered]
    for shown in range(len(parts), 0, -1):
        more = f" and {len(parts) - shown} more" if shown < len(parts) else ""
        line = "".join(parts[:shown]) + more
        if len(line) <= room:
            return line
    return ""


def _quote_value(value: Any) -> str:
    if isinstance(value, list):
        return quote_name(", ".join(map(str, cast("list[Any]", value))), _NAME)
    return quote_name(value, SUMMARY if _is_number(value) else _NAME)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and value.isdecimal())


def _count(number: int) -> str:
    return f"{number} item" if number == 1 else f"{number} items"


def _shared_arguments(ready: Sequence[BulkItem]) -> dict[str, Any]:
    """Return the arguments that are equal in every item, such as the tag."""
    if not ready:
        return {}
    first, *rest = (item.arguments for item in ready)
    plain = {n: v for n, v in first.items() if _is_plain(v)}
    return {n: v for n, v in plain.items() if all(other.get(n) == v for other in rest)}


def _shorten_values(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments to show; a long value is cut, and its size is named."""
    shown: dict[str, Any] = {}
    for name, value in arguments.items():
        text = value if isinstance(value, str) else dump_json(value)
        size = json_bytes(text)
        cut = f"{truncate(text, _MAX_VALUE)} ({size:,} bytes in all)"
        shown[name] = cut if size > _MAX_VALUE else value
    return shown


def _is_plain(value: Any) -> bool:
    """Return whether a summary can name a value: a scalar, or a list of them such as tags."""
    values = cast("list[Any]", value) if isinstance(value, list) else [value]
    return all(isinstance(one, str | int | float) for one in values)


def _describe_left_out(run: BulkRun, items: Sequence[BulkItem]) -> dict[str, Any]:
    """Return the items that will not run, and the leads that get mail on request only."""
    told: dict[str, Any] = {}
    for state in ("invalid", "blocked", "suppressed"):
        named = [item for item in items if item.state == state]
        if state == "suppressed":  # those that are to be mailed all the same, too
            named += [item for item in items if item.state == "waiting" and item.reason]
        if named:
            name = "not_undone" if run.undoes and state == "invalid" else state
            by_reason = name in ("suppressed", "not_undone")
            once = state == "invalid" and len(named) == len(items)
            told[name] = _describe_items(named, by_reason=by_reason, once=once)
    return told


def _describe_items(
    items: Sequence[BulkItem], *, by_reason: bool = False, once: bool = False
) -> dict[str, Any]:
    """Return the number of items, and the first with their reasons.

    `once`: a reason that several items have is stated for the first of them, with their number in
    `items`. It is a fault of what they share, if no other item can run.
    """
    named = list({item.reason: item for item in reversed(items)}.values())[::-1] if once else items
    same = Counter(item.reason for item in items) if once else Counter[str]()
    first = [
        {"item": item.source, "reason": item.reason}
        | ({"items": same[item.reason]} if same[item.reason] > 1 else {})
        for item in named[:MAX_LISTED]
    ]
    counts = Counter(reason for item in items for reason in split_reasons(item.reason))
    counted = {"by_reason": dict(counts.most_common(MAX_LISTED))} if by_reason else {}
    return {"total": len(items), **counted, "first": first}


@dataclass(frozen=True, slots=True)
class BulkSubject:
    """A sealed run as the subject of a consent; its facts were read when it was planned."""

    run: BulkRun
    title: str
    account: str
    given: ConsentArguments
    amount: Decimal | None
    does: str = ""
    reversal: str = ""
    flags: str = ""

    @property
    def consent(self) -> ConsentArguments:
        return self.given

    async def read_facts(self) -> Facts:
        count = str(self.run.facts["count"])
        return Facts(
            OperationKind.OTHER,
            None,
            {**self.run.facts, "items": self.run.digest[:12]},
            amount_moved=self.amount,
            typed="" if self.amount is not None else count,
        )

    def make_preview(self, facts: Facts, *, sandbox: bool) -> Preview:
        del facts  # those of the run, which are shown as they were sealed
        preview = make_preview(
            self.run,
            self.title,
            account=self.account,
            sandbox=sandbox,
            does=self.does,
            reversal=self.reversal,
        )
        return replace(preview, undo=f"{preview.undo}{self._describe_undo()}")

    def _describe_undo(self) -> str:
        """Return the two ways to undo the run; `flags` select its ledger in a terminal."""
        run = self.run
        if run.operation not in PLANNABLE:
            return ""
        command = f"kartra-mcp bulk undo {run.id}{self.flags}"
        return f': kartra_bulk_run {{"undo": "{run.id}"}}, or {command}'


def make_subject(
    run: BulkRun,
    entry: ActionTool,
    connection: Connection,
    consent: ConsentArguments,
    items: Sequence[BulkItem],
    *,
    flags: str,
) -> BulkSubject:
    """Return the subject of the consent to a run with these items."""
    account = connection.name or connection.key or connection.id
    # The description of an action is text of the account, and states nothing here.
    texts = ("", "") if entry.is_action else (entry.action.description, entry.undo)
    return BulkSubject(run, entry.title, account, consent, sum_amounts(items), *texts, flags)
