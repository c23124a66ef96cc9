"""The intents, as the rules and the views query them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from kartra_mcp.kartra.effects import condition_undo, describe_object
from kartra_mcp.kartra.fields import TARGETS
from kartra_mcp.kartra.values import format_amount, parse_amount
from kartra_mcp.ledger.database import NO_LIMIT, Database, Query, make_in_list
from kartra_mcp.ledger.derived import TABLES, Derived, derive, sort_rows
from kartra_mcp.ledger.errors import LedgerDamagedError
from kartra_mcp.ledger.hash_chain import LedgerEntry
from kartra_mcp.ledger.people import Group
from kartra_mcp.ledger.records import (
    CAPPED_STATES,
    Filters,
    Intent,
    IntentPart,
    PriorIntent,
    format_utc,
)

_PAST = (
    "SELECT i.id, i.at, p.operation, i.state, i.amount, i.remainder, p.known_amount, i.ended_at"
    " FROM parts p JOIN intents i ON i.id = p.intent "
)
_LEAD = (
    "SELECT target, lead_id FROM leads WHERE connection = ? AND lead_id = COALESCE("
    "(SELECT lead_id FROM leads WHERE connection = ? AND target = ?), ?)"
)
_JOIN_LINE = "JOIN lines l ON l.n = i.line "
_ONE_LINE = "SELECT n, at, kind, body, prev, hash FROM lines WHERE n = ?"
_OWN_LINES = (
    "SELECT l.n, l.at, l.kind, l.body, l.prev, l.hash FROM intents i JOIN lines l"
    " ON l.n IN (i.line, i.outcome_line, i.reconcile_line) WHERE i.id = :id"
    " UNION SELECT n, at, kind, body, prev, hash FROM lines"
    " WHERE kind IN ('look', 'conflict', 'statement') AND json_extract(body, '$.intent') = :id"
)
_LOOKS = (
    "SELECT at, body FROM lines WHERE kind = 'look' AND json_extract(body, '$.intent') = ?"
    " ORDER BY n DESC"
)
_ALL = (
    "SELECT i.*, l.body, o.body AS outcome, r.body AS reconciled FROM intents i"
    " JOIN lines l ON l.n = i.line LEFT JOIN lines o ON o.n = i.outcome_line"
    " LEFT JOIN lines r ON r.n = i.reconcile_line "
)
_SOUGHT: Mapping[str, str] = {
    "tool": "i.tool = :tool",
    "since": "i.at >= :since",
    "until": "i.at < :until",
    "lead_hash": "i.lead_hash = :lead_hash",
    "target": "i.target = :target",
    "state": "i.state = :state",
    "risk": "i.risk = :risk",
    "consent": "json_extract(l.body, '$.consent') = :consent",
    "before": "i.line < :before",
}
"""SQL of each filter. Only those that are set are joined, so that an index can be used."""
_NEWEST_FIRST = " ORDER BY i.line DESC LIMIT :count"
_PACKED_APPROVAL = re.compile(r"approval ([0-9]{1,15})")
"""Entries of schema version 1 hold the number of an approval in `confirmation`."""
_COUNTS = f"state IN {CAPPED_STATES}"


def intent_payload(intent: Intent, confirmation: str | None) -> dict[str, Any]:
    """Return the body of an intent's entry; the confirmation id only as its hash."""
    return {
        "intent": intent.id,
        "tool": intent.tool,
        "operation": intent.operation,
        "risk": intent.risk.label,
        "connection": intent.connection,
        "target_kind": intent.target_kind,
        "target": intent.target,
        "amount": _spell_amount(intent.amount),
        "remainder": _spell_amount(intent.remainder),
        "known_amount": _spell_amount(intent.known_amount),
        "arguments_digest": intent.arguments_digest,
        "consent": intent.consent,
        "confirmation": confirmation,
        "approval": intent.approval,
        "fresh": intent.fresh,
        "repeat": intent.repeat,
        "mail": int(intent.mail),
        "actor": intent.actor,
        "client": intent.client,
        "facts": dict(intent.facts),
        "lead": intent.lead,
        "lead_hash": intent.lead_hash,
        "undo": intent.undo,
        "equality": intent.equality or intent.arguments_digest,
        **({"parts": [_part_payload(part) for part in intent.parts]} if intent.parts else {}),
        **({"bulk": intent.bulk, "item": intent.item} if intent.bulk else {}),
        **({"requester": intent.requester.as_payload()} if intent.requester else {}),
        **(_attempt_payload(intent) if intent.attempt else {}),
    }


def _attempt_payload(intent: Intent) -> dict[str, Any]:
    names = ("attempt", "fence", "send_until", "expires_at")
    values = {name: getattr(intent, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _part_payload(part: IntentPart) -> dict[str, Any]:
    return {
        "operation": part.operation,
        "risk": part.risk.label,
        "target_kind": part.target_kind,
        "target": part.target,
        "known_amount": _spell_amount(part.known_amount),
        "equality": part.equality,
    }


def apply(db: Database, line: LedgerEntry) -> None:
    """Apply an entry to the tables that derive from the entries."""
    for change in derive(line):
        db.execute(change.sql, change.values)


def list_all_rows(db: Database) -> Derived:
    """Return the rows of the intents, of their parts, and of the items of bulk runs."""
    return tuple(
        sort_rows(db.execute(f"SELECT {', '.join(table.columns)} FROM {table.name}"))  # noqa: S608
        for table in TABLES
    )


def list_running(db: Database) -> list[str]:
    """List the ids of running intents, oldest first."""
    found = db.execute("SELECT id FROM intents WHERE state = 'running' ORDER BY line")
    return [row[0] for row in found]


def get_state(db: Database, intent_id: str) -> str | None:
    """Return the state of an intent, or None if it is unknown here."""
    row = db.execute("SELECT state FROM intents WHERE id = ?", (intent_id,)).fetchone()
    return None if row is None else row[0]


def list_same_target(db: Database, intent: Intent) -> list[PriorIntent]:
    """List every earlier write on the target of this one, in any state, oldest first."""
    return _list_prior(db, same_target_query(intent, list_names_of(db, intent)))


def same_target_query(intent: Intent, names: Sequence[str]) -> Query:
    """Return the read of every earlier write on a target that has these names."""
    where = (
        "WHERE p.connection = ? AND p.target_kind = ?"
        f" AND {_on_target(names)} ORDER BY p.line, p.number"
    )
    return Query(_PAST + where, (intent.connection, intent.target_kind, *names))


def list_equal(db: Database, intent: Intent) -> list[PriorIntent]:
    """List every earlier write that is equal to this one, in any state, oldest first.

    Of an entry of 0.1.0 the fields are not known: it equals every write on its target.
    """
    if not (intent.equality or intent.arguments_digest):
        return []
    return _list_prior(db, equal_query(intent, list_names_of(db, intent)))


def equal_query(intent: Intent, names: Sequence[str]) -> Query:
    """Return the read of every earlier write that is equal, on a target that has these names."""
    equality = intent.equality or intent.arguments_digest
    if not names:
        equal = "p.connection = ? AND p.operation = ? AND (p.equality = ? OR p.equality IS NULL)"
        wanted = f"WHERE {equal} AND {_on_target(names)} ORDER BY p.line, p.number"
        return Query(_PAST + wanted, (intent.connection, intent.operation, equality))
    kinds = sorted({"", intent.target_kind, *TARGETS})
    # `|| ''` keeps the index of the target in use: it finds few rows, that of equal fields many.
    wanted = (
        f"WHERE p.connection = ? AND p.target_kind IN ({make_in_list(len(kinds))})"
        f" AND {_on_target(names)}"
        " AND p.operation || '' = ? AND (p.equality = ? OR p.equality IS NULL)"
        " ORDER BY p.line, p.number"
    )
    values = (intent.connection, *kinds, *names, intent.operation, equality)
    return Query(_PAST + wanted, values)


def list_lead_names(
    db: Database, connection: str, target_kind: str, target: str | None
) -> list[str]:
    """List every name of a target that was read; a lead has its id and its addresses."""
    if target is None or target_kind != "lead":
        return [] if target is None else [target]
    rows = db.execute(*lead_query(connection, target))
    return sorted({target, *(name for row in rows for name in row)})


def lead_query(connection: str, target: str) -> Query:
    """Return the read of the other names of a lead: each address with the id."""
    return Query(_LEAD, (connection, connection, target, target))


def list_names_in(db: Database, entry: Mapping[str, Any]) -> list[str]:
    """List every name of the target of a write."""
    return list_lead_names(db, entry["connection"], entry["target_kind"], entry["target"])


def list_on_lead(db: Database, entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the writes with a command on the lead of a write, as `list_entries` does."""
    names = list_names_in(db, entry)
    marks = make_in_list(len(names))
    sql = f"SELECT DISTINCT intent FROM parts WHERE connection = ? AND target IN ({marks})"  # noqa: S608
    found = db.execute(sql, (entry["connection"], *names)).fetchall()
    rows = [db.execute(_ALL + "WHERE i.id = ?", tuple(one)).fetchone() for one in found]
    return sorted((_make_entry(row) for row in rows), key=lambda row: row["line"])


def add_lead(db: Database, connection: str, target: str, lead_id: str) -> None:
    """Record that a lead with this address has this id."""
    db.execute(
        "INSERT INTO leads (connection, target, lead_id) VALUES (?, ?, ?)"
        " ON CONFLICT (connection, target) DO UPDATE SET lead_id = excluded.lead_id",
        (connection, target, lead_id),
    )


def list_names_of(db: Database, intent: Intent) -> list[str]:
    """List every name of the target of an intent; none for an intent without a target."""
    return list_lead_names(db, intent.connection, intent.target_kind, intent.target)


def _on_target(names: Sequence[str]) -> str:
    return f"p.target IN ({make_in_list(len(names))})" if names else "p.target IS NULL"


def list_irreversible_since(
    db: Database, since: float, count: int = NO_LIMIT, group: Group | None = None
) -> list[PriorIntent]:
    """List what counts for the caps of a day, oldest first; of one group of a team, if given.

    Each irreversible command of a chain counts.
    """
    join, of_group, values = _filter_group(group)
    where = (
        f"{join}WHERE p.risk = 3 AND p.at > ? AND i.{_COUNTS}{of_group}"
        " ORDER BY p.at DESC, p.line DESC, p.number DESC LIMIT ?"
    )
    return _list_prior(db, Query(_PAST + where, (since, *values, count)))[::-1]


def count_emails_since(db: Database, since: float, group: Group | None = None) -> int:
    """Count the commands since then that can start mail and may have run."""
    join, of_group, values = _filter_group(group)
    found = db.execute(
        f"SELECT COALESCE(SUM(i.mail), 0) FROM intents i {join}"  # noqa: S608
        f"WHERE i.mail > 0 AND i.at > ? AND i.{_COUNTS}{of_group}",
        (since, *values),
    )
    return found.fetchone()[0]


def _filter_group(group: Group | None) -> tuple[str, str, tuple[str, ...]]:
    """Return join, condition and values that select the intents of a group, by their entries."""
    if group is None:
        return "", "", ()
    if group.role is None:
        condition = " AND json_extract(l.body, '$.requester.key') = ?"
        return _JOIN_LINE, condition, (group.key,)
    condition = " AND json_extract(l.body, '$.requester.roles') LIKE ?"
    return _JOIN_LINE, condition, (f'%"{group.role}"%',)


def list_entries(db: Database, filters: Filters, count: int = NO_LIMIT) -> list[dict[str, Any]]:
    """List intents with their outcomes as flat objects, newest first."""
    values = {name: value for name, value in asdict(filters).items() if value is not None}
    where = " AND ".join(_SOUGHT[name] for name in values)
    sql = _ALL + (f"WHERE {where}" if where else "") + _NEWEST_FIRST
    return [_make_entry(row) for row in db.execute(sql, {**values, "count": count})]


def find_latest(db: Database, kind: str) -> dict[str, Any] | None:
    """Return the newest entry of a kind, with its `at`, or None."""
    sql = "SELECT at, body FROM lines WHERE kind = ? ORDER BY n DESC LIMIT 1"
    row = db.execute(sql, (kind,)).fetchone()
    return None if row is None else {**parse_payload(row["body"]), "at": row["at"]}


def list_looks(db: Database, intent_id: str) -> list[tuple[float, dict[str, Any]]]:
    """List time and body of each read for an unknown intent that found nothing, newest first."""
    rows = db.execute(_LOOKS, (intent_id,))
    return [(row["at"], parse_payload(row["body"])) for row in rows]


def list_tools(db: Database) -> list[str]:
    """List every tool that ever wrote, by name."""
    return sorted(row[0] for row in db.execute("SELECT DISTINCT tool FROM intents"))


def get_entry(db: Database, intent_id: str) -> dict[str, Any] | None:
    """Return one intent as `list_entries` does, or None."""
    row = db.execute(_ALL + "WHERE i.id = ?", (intent_id,)).fetchone()
    return None if row is None else _make_entry(row)


def list_chain_entries(db: Database, intent_id: str) -> list[LedgerEntry]:
    """List every entry of one intent, oldest first.

    These include reads that found no effect, statements of users, and contradictions.
    """
    rows = db.execute(_OWN_LINES, {"id": intent_id}).fetchall()
    found = {row[0]: LedgerEntry(*row) for row in rows}
    # An entry that replaced an earlier outcome or settlement names it.
    replaced = {line.payload.get("replaces") for line in found.values()} - {None, *found}
    for number in replaced:
        found[number] = LedgerEntry(*db.execute(_ONE_LINE, (number,)).fetchone())
    return [found[number] for number in sorted(found)]


def _list_prior(db: Database, query: Query) -> list[PriorIntent]:
    found = db.execute(*query)
    return [
        PriorIntent(id_, at, operation, state, _read(amount), _read(remainder), _read(known), ended)
        for id_, at, operation, state, amount, remainder, known, ended in found
    ]


_AMOUNTS = ("amount", "known_amount", "remainder")


def _make_entry(row: Any) -> dict[str, Any]:
    body, outcome = parse_payload(row["body"]), parse_payload(row["outcome"])
    approval = find_approval(body)
    return {
        **body,
        # The entry has the shortest spelling, which is hashed; a reader sees two decimals.
        **{n: format_amount(parse_amount(body[n])) or body[n] for n in _AMOUNTS},
        "confirmation": body["confirmation"] if approval is None else f"approval {approval}",
        "approval": approval,
        "line": row["line"],
        "at": row["at"],
        "time": format_utc(row["at"]),
        "state": row["state"],
        "executed": row["executed"],
        "ended_at": row["ended_at"],
        "action_run_id": row["action_run_id"],
        "detail": outcome.get("detail"),
        "object": describe_object(body["facts"]),
        "undo": _describe_undo(row["state"], body, outcome),
        "evidence": parse_payload(row["reconciled"]).get("evidence"),
        "bulk": body.get("bulk"),
    }


def _describe_undo(state: str, body: Mapping[str, Any], outcome: Mapping[str, Any]) -> str:
    """Return how to undo a write: "" for one that did nothing, for an unknown one a condition."""
    if state in ("failed", "refused"):
        return ""
    undo = str(outcome.get("undo") or body.get("undo") or "")
    return undo if state == "succeeded" else condition_undo(undo, "it was done")


def find_approval(body: Mapping[str, Any]) -> int | None:
    """Return the number of the approval that an intent rests on, of an old entry too."""
    number = body.get("approval")
    if isinstance(number, int):
        return number
    found = _PACKED_APPROVAL.fullmatch(str(body["confirmation"]))
    return int(found[1]) if found else None


def _spell_amount(amount: Decimal | None) -> str | None:
    return None if amount is None else format(amount, "f")


def _read(amount: str | None) -> Decimal | None:
    try:
        return None if amount is None else Decimal(amount)
    except ArithmeticError as problem:
        raise LedgerDamagedError("an amount was altered") from problem


def parse_payload(body: str | None) -> dict[str, Any]:
    """Return the object of a body; {} for None.

    Raises:
        LedgerDamagedError: the body is not JSON.
    """
    try:
        return {} if body is None else json.loads(body)
    except ValueError as problem:
        raise LedgerDamagedError("a line was altered") from problem
