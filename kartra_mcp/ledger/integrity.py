"""Comparison of everything that decides an admission with the entries of the chain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kartra_mcp.ledger import projection
from kartra_mcp.ledger.database import Database
from kartra_mcp.ledger.derived import rebuild_all
from kartra_mcp.ledger.errors import LedgerDamagedError
from kartra_mcp.ledger.hash_chain import LedgerEntry, verify_chain
from kartra_mcp.ledger.records import VerificationReport

LINE = "SELECT n, at, kind, body, prev, hash FROM lines "
_STATES = {"asked": "pending", "agreed": "pending"}
"""State of an approval after the event `approval_…`, where the name differs."""


def verify_entries(db: Database, find_store_fault: Callable[[], str]) -> VerificationReport:
    """Verify every entry, and every table that derives from them.

    Args:
        db: a transaction that sees one state of the ledger.
        find_store_fault: returns the fault of the store outside the entries, or "".
    """
    count = db.execute("SELECT COUNT(*) FROM lines").fetchone()[0]
    walked = verify_chain(LedgerEntry(*row) for row in db.execute(LINE + "ORDER BY n"))
    why = walked.why or find_store_fault() or _find_derived_fault(db)
    return VerificationReport(count, not why, walked.broken, why)


def _find_derived_fault(db: Database) -> str:
    try:
        expected = rebuild_all(_iter_lines(db))
    except LedgerDamagedError as problem:
        return problem.why
    if expected != projection.list_all_rows(db):
        return "the table of intents does not match the lines"
    return _find_consent_fault(db)


def _find_consent_fault(db: Database) -> str:
    """Compare approvals, used confirmations, declines and attempts at the PIN with the entries.

    The rows themselves are outside the chain: they expire, and hold the user's data until then.
    """
    intents = [line.payload for line in _iter_lines(db, "intent")]
    agreed = [line.payload for line in _iter_lines(db, "bulk")]
    intents += [{**run, "intent": run["bulk"]} for run in agreed if run["event"] == "agreed"]
    events = [(line.at, line.payload) for line in _iter_lines(db, "consent")]
    if not _are_approvals_true(db, intents, [event for _, event in events]):
        return "an approval does not match the lines"
    if not _are_confirmations_true(db, intents):
        return "a confirmation does not match the lines"
    if not _are_blocks_true(db, [event for _, event in events]):
        return "a decline does not match the lines"
    if not _are_attempts_true(db, events):
        return "the attempts at the PIN do not match the lines"
    if not _are_bulk_runs_true(db, agreed):
        return "a bulk run does not match the lines"
    return ""


def _are_approvals_true(
    db: Database,
    intents: Iterable[Mapping[str, Any]],
    events: Iterable[Mapping[str, Any]],
) -> bool:
    expected: dict[int, tuple[str, str]] = {}
    for event in events:
        name, _, state = str(event.get("event")).partition("approval_")
        if not name and state:
            expected[event["number"]] = (_STATES.get(state, state), event["facts_digest"])
    users = {number: x["intent"] for x in intents if (number := projection.find_approval(x))}
    rows = db.execute("SELECT number, state, facts_digest, used_by FROM approvals").fetchall()
    kept = {row[0]: (row[1], row[2]) for row in rows}
    return kept == expected and {row[0]: row[3] for row in rows if row[3] is not None} == users


def _are_confirmations_true(db: Database, intents: Iterable[Mapping[str, Any]]) -> bool:
    """Check that a confirmation is marked as used by the intent that used it."""
    users = {x["confirmation"]: x["intent"] for x in intents if x.get("confirmation")}
    rows = db.execute("SELECT hash, used_by FROM confirmations").fetchall()
    return all(row[1] == users[row[0]] for row in rows if row[0] in users)


def _are_blocks_true(db: Database, events: Iterable[Mapping[str, Any]]) -> bool:
    ends = {event["key"]: event["until"] for event in events if {"key", "until"} <= event.keys()}
    kept = dict(tuple(row) for row in db.execute("SELECT key, until FROM blocks").fetchall())
    return all(kept.get(key, 0.0) >= until for key, until in ends.items())


def _are_attempts_true(db: Database, events: Iterable[tuple[float, Mapping[str, Any]]]) -> bool:
    results = {"pin_right": 1, "pin_wrong": 0}
    expected = [(at, results[x["event"]]) for at, x in events if x.get("event") in results]
    kept = db.execute("SELECT at, correct FROM pin_attempts ORDER BY number").fetchall()
    return [tuple(row) for row in kept] == expected


def _are_bulk_runs_true(db: Database, events: Iterable[Mapping[str, Any]]) -> bool:
    """Compare state and items of each write run that was agreed to with the entries."""
    expected: dict[str, tuple[str, str]] = {}
    for event in events:
        name, bulk = str(event["event"]), str(event["bulk"])
        digest = event.get("digest") or expected.get(bulk, ("", ""))[1]
        expected[bulk] = ("running" if name == "agreed" else name, digest)
    rows = db.execute(
        "SELECT id, state, digest FROM bulk_runs WHERE agreed_at IS NOT NULL AND risk > 0"
    )
    return {row[0]: (row[1], row[2]) for row in rows} == expected


def _iter_lines(db: Database, kind: str = "") -> Iterable[LedgerEntry]:
    where = "WHERE kind = ? ORDER BY n" if kind else "ORDER BY n"
    return (LedgerEntry(*row) for row in db.execute(LINE + where, (kind,) if kind else ()))
