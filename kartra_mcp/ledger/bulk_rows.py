"""Rows of bulk runs as values, and the decision whether an item of a run may run now."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Gate, Risk
from kartra_mcp.kartra.commands import COMMANDS
from kartra_mcp.ledger import confirmations, projection, rules
from kartra_mcp.ledger.bulk_records import (
    CANNOT_RUN,
    CONSENT_LIFETIME,
    NOTHING_TO_RUN,
    BulkItem,
    BulkRun,
    ItemCounts,
)
from kartra_mcp.ledger.database import Query
from kartra_mcp.ledger.hash_chain import dump_canonical
from kartra_mcp.ledger.records import Binding, Intent
from kartra_mcp.ledger.transaction import Transaction

COLUMNS = (
    "id, tool, operation, risk, connection, request, state, made_at, actor, client, digest,"
    " binding, facts, consent, agreed_at, ended_at, why, total, duplicates, options, undoes"
)
_NAMES = tuple(COLUMNS.split(", "))
ITEM = (
    "SELECT t.*, b.intent AS intent, i.state AS intent_state,"
    " i.reconcile_line IS NOT NULL AS settled,"
    " json_extract(o.body, '$.detail.code') AS intent_code FROM bulk_items t"
    " LEFT JOIN bulk_intents b ON b.bulk = t.bulk AND b.item = t.number"
    " LEFT JOIN intents i ON i.id = b.intent LEFT JOIN lines o ON o.n = i.outcome_line"
    " WHERE t.bulk = ?"
)
SHOWN_STATE = (
    "CASE WHEN i.state IS NOT NULL THEN CASE i.state WHEN 'refused' THEN 'failed' ELSE i.state END"
    " WHEN t.state IN ('invalid', 'blocked', 'suppressed') THEN 'skipped' ELSE t.state END"
)
"""SQL of an item's state as it is shown: that of its intent, if it has one."""
_SAME_UNDO = (
    "SELECT r.id FROM bulk_runs r JOIN bulk_items t ON t.bulk = r.id"  # noqa: S608
    " JOIN bulk_items mine ON mine.bulk = ? AND mine.state = 'waiting'"
    " AND mine.source = t.source AND mine.arguments = t.arguments"
    " LEFT JOIN bulk_intents b ON b.bulk = t.bulk AND b.item = t.number"
    " LEFT JOIN intents i ON i.id = b.intent"
    " WHERE r.undoes = ? AND r.id <> ? AND r.agreed_at IS NOT NULL"
    f" AND ({SHOWN_STATE} IN ('running', 'succeeded', 'unknown')"
    f" OR ({SHOWN_STATE} = 'waiting' AND r.state IN ('running', 'paused'))) LIMIT 1"
)
"""An item that two undos of one run have, and that the other one has run or will run."""
RECENT = (
    f"SELECT {COLUMNS} FROM bulk_runs WHERE NOT (state = 'cancelled'"  # noqa: S608
    f" AND agreed_at IS NULL AND why IN ('{CANNOT_RUN}', '{NOTHING_TO_RUN}'))"
    " ORDER BY made_at DESC LIMIT ?"
)
READ_RETENTION = 86_400.0
WRITE_RETENTION = 30 * 86_400.0
"""Seconds after its end during which a run keeps its items' arguments, for its undo."""
_SOURCE = "SELECT source FROM bulk_items WHERE bulk = ? AND number = ?"
_AGREED = (
    "SELECT at, json_extract(body, '$.digest') AS digest FROM lines WHERE kind = 'bulk'"
    " AND json_extract(body, '$.bulk') = ? AND json_extract(body, '$.event') = 'agreed'"
)


def item_refusal(
    transaction: Transaction, intent: Intent, burns: Binding | None
) -> RefusedError | None:
    """Return the reason why an item of a bulk run may not run now, or None.

    The consent of the run covers exactly its items, under the binding that was shown.
    """
    run = find_run(transaction, intent.bulk)
    if run is None or run.binding is None or burns is None:
        return _not_agreed_error("The bulk run does not exist")
    if run.state != "running":
        return _not_agreed_error(f"The bulk run {run.id} is {run.state}")
    if not is_agreed(transaction, run):
        return _not_agreed_error(f"The consent to the bulk run {run.id} is older than a day")
    differs = confirmations.describe_differences(
        replace(run.binding, arguments="", repeat=burns.repeat), replace(burns, arguments="")
    )
    if differs:
        return _not_agreed_error(f"The bulk run is for {' and '.join(differs)}")
    return _row_refusal(transaction, intent)


def _row_refusal(transaction: Transaction, intent: Intent) -> RefusedError | None:
    """Return the reason why an item of a running run may not run, or None."""
    row = transaction.fetch_one(
        f"{ITEM} AND t.number = ?",
        intent.bulk,
        intent.item,
    )
    if row is None or row["digest"] != intent.arguments_digest:
        return _not_agreed_error("This item is not the one that was agreed to")
    if row["intent"] is not None or row["state"] != "waiting":
        return RefusedError(
            "in_progress",
            "This item was run before, or is running. Nothing was done by this call.",
            "Call kartra_bulk_status to see its outcome.",
        )
    if intent.risk > row["risk"]:
        return RefusedError(
            "facts_changed",
            f"This item was agreed to as {Risk(row['risk']).label}; by what the account shows now "
            f"it is {intent.risk.label}. Nothing was done.",
            "Preview this item alone, or plan a new run with it.",
        )
    return None


def block_equal(transaction: Transaction, bulk: str, drafts: Mapping[int, Intent]) -> None:
    """Block the items that are the same write as an earlier one of the run.

    A lead has an id and addresses: equal arguments alone do not find them. Of several irreversible
    commands on one object, the first one changes the facts that were shown of the others.
    `drafts` are the intents of the items by number, in order.
    """
    first: dict[tuple[Any, ...], int] = {}
    for number, draft in drafts.items():
        parts = rules.split_intent(rules.normalize_intent(draft))
        key = tuple(_identify(transaction, part) for part in parts)
        if first.setdefault(key, number) == number:
            continue
        source = transaction.fetch_one(_SOURCE, bulk, first[key])
        assert source is not None  # noqa: S101  `drafts` are items of the run
        transaction.run(
            "UPDATE bulk_items SET state = 'blocked', digest = '', code = 'already_done',"
            " reason = ? WHERE bulk = ? AND number = ? AND state = 'waiting'",
            f"Item {source['source']} is the same write on the same object.",
            bulk,
            number,
        )


def _identify(transaction: Transaction, part: Intent) -> tuple[Any, ...]:
    names = projection.list_lead_names(
        transaction.db, part.connection, part.target_kind, part.target
    )
    is_shown = part.risk is Risk.IRREVERSIBLE and part.operation in COMMANDS and names
    equality = "" if is_shown else part.equality or part.arguments_digest
    return part.operation, equality, *names


def is_agreed(transaction: Transaction, run: BulkRun) -> bool:
    return run.agreed_at is not None and transaction.is_within(run.agreed_at, CONSENT_LIFETIME)


def require_agreement(transaction: Transaction, run: BulkRun, digest: str) -> None:
    """Raise unless the chain has the consent to exactly these items, less than a day old.

    The rows of a run can be altered on disk; the chain notices it. A read has no consent.
    """
    row = None if run.is_read else transaction.fetch_one(_AGREED, run.id)
    if not run.is_read and row is None:
        raise altered_error(run)
    agreed_at = run.agreed_at if row is None else row["at"]
    if agreed_at is None or not transaction.is_within(agreed_at, CONSENT_LIFETIME):
        raise RefusedError(
            "confirmation_expired",
            f"The consent to {run.id} is older than a day. Nothing was done by this call.",
            "Plan a new run of what is left: kartra_bulk_run with the same tool and "
            f'from_result {{"bulk_id": "{run.id}", "state": "waiting"}}.',
        )
    if digest != run.digest or (row is not None and row["digest"] != digest):
        raise altered_error(run)


def digest_items(transaction: Transaction, run: BulkRun) -> str:
    """Return the digest of the run as it was shown, and of every item that will run."""
    sql = (
        "SELECT number, arguments, digest, facts_digest, amount, risk, mail, gate, looked_at,"
        " changes, held FROM bulk_items WHERE bulk = ? AND digest <> '' ORDER BY number"
    )
    options = [run.repeat, run.include_suppressed, run.skip_invalid, run.undoes]
    shown = [run.tool, run.operation, run.connection, int(run.risk), dict(run.facts)]
    told = hashlib.sha256(dump_canonical([run.request, *options, *shown]).encode())
    for row in transaction.db.execute(sql, (run.id,)):
        told.update(dump_canonical(list(row)).encode())
    return told.hexdigest()


def require_unaltered(transaction: Transaction, run: BulkRun) -> None:
    """Raise unless the items of a run are those that were sealed and, later, agreed to."""
    if not run.digest:
        return
    agreed = transaction.fetch_one(_AGREED, run.id)
    if digest_items(transaction, run) != (agreed["digest"] if agreed else run.digest):
        raise altered_error(run)


def altered_error(run: BulkRun) -> RefusedError:
    return RefusedError(
        "ledger_unavailable",
        f"The bulk run {run.id} or its items were altered on disk. Nothing was done by this call.",
        "Plan the run again.",
    )


def find_run(transaction: Transaction, bulk: str) -> BulkRun | None:
    sql = f"SELECT {COLUMNS} FROM bulk_runs WHERE id = ?"  # noqa: S608
    row = transaction.fetch_one(sql, bulk)
    return None if row is None else make_run(row)


def round_down(at: float) -> float:
    """Return the begin of an hour: until the next one, equal reads have equal values."""
    return at - at % rules.HOUR


def unagreed_query(connection: str, since: float) -> Query:
    """Return the read of the runs that were planned since about a time and never agreed to."""
    return Query(
        f"SELECT {COLUMNS} FROM bulk_runs WHERE connection = ? AND made_at > ?"  # noqa: S608
        " AND agreed_at IS NULL",
        (connection, round_down(since)),
    )


def find_runs_with(
    transaction: Transaction, connection: str, digest: str, since: float
) -> list[tuple[BulkRun, int]]:
    """List the runs that were planned since a time and never agreed to and have this call.

    Each comes with the number of the item.
    """
    item = "SELECT number FROM bulk_items WHERE bulk = ? AND digest = ?"
    return [
        (make_run(row), found["number"])
        for row in transaction.read(unagreed_query(connection, since))
        if row["made_at"] > since
        for found in transaction.fetch_all(item, row["id"], digest)
    ]


def require_run(transaction: Transaction, bulk: str) -> BulkRun:
    found = find_run(transaction, bulk)
    if found is None:
        raise unknown_run_error()
    return found


def list_undos(transaction: Transaction, bulk: str) -> list[BulkRun]:
    """List the runs that undo a run and were agreed to, oldest first."""
    sql = (
        f"SELECT {COLUMNS} FROM bulk_runs WHERE undoes = ? AND agreed_at IS NOT NULL"  # noqa: S608
        " ORDER BY agreed_at"
    )
    return [make_run(row) for row in transaction.fetch_all(sql, bulk)]


def undone_refusal(transaction: Transaction, run: BulkRun) -> RefusedError | None:
    """Return the refusal of an undo of which another one has, or will run, an item; else None.

    Its plan left out such items, but another plan may have been agreed to since.
    """
    row = transaction.fetch_one(_SAME_UNDO, run.id, run.undoes, run.id) if run.undoes else None
    if row is None:
        return None
    return RefusedError(
        "already_done",
        f"Since this plan was made, {row['id']} began to undo {run.undoes}. Nothing was done.",
        f'Call kartra_bulk_run with {{"undo": "{run.undoes}"}} for what is left.',
        first={"bulk_id": row["id"]},
    )


def unknown_run_error() -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        "No bulk run has this id. Nothing was done.",
        "Call kartra_bulk_status without bulk_id to list the runs.",
    )


def insert_run(transaction: Transaction, run: BulkRun) -> None:
    """Insert the row of a run that was not sealed."""
    options = {
        "skip_invalid": run.skip_invalid,
        "include_suppressed": run.include_suppressed,
        "repeat": run.repeat,
    }
    values = (
        *(run.id, run.tool, run.operation, int(run.risk), run.connection, run.request),
        *(run.state, run.made_at, run.actor, run.client, run.digest, None),
        *(dump_canonical(dict(run.facts)), run.consent, run.agreed_at, run.ended_at, run.why),
        *(run.total, run.duplicates, dump_canonical(options), run.undoes),
    )
    marks = ", ".join("?" * len(values))
    transaction.run(f"INSERT INTO bulk_runs ({COLUMNS}) VALUES ({marks})", *values)  # noqa: S608


def forget_old(transaction: Transaction) -> None:
    """Remove the arguments and results of runs that ended long ago, and old plans."""
    reads, writes = transaction.now - READ_RETENTION, transaction.now - WRITE_RETENTION
    old = (
        "SELECT id FROM bulk_runs WHERE (ended_at < ? AND risk = 0)"
        " OR COALESCE(ended_at, agreed_at) < ? OR (made_at < ? AND state = 'planned')"
    )
    transaction.run(
        "UPDATE bulk_items SET arguments = '', result = NULL, reason = '', held = ''"  # noqa: S608
        f" WHERE arguments <> '' AND bulk IN ({old})",
        reads,
        writes,
        reads,
    )
    transaction.run(
        f"UPDATE bulk_runs SET facts = '{{}}' WHERE facts <> '{{}}' AND id IN ({old})",  # noqa: S608
        reads,
        writes,
        reads,
    )
    transaction.run(
        "UPDATE bulk_runs SET state = 'cancelled', why = 'it was never agreed to', ended_at = ?"
        " WHERE made_at < ? AND state = 'planned'",
        transaction.now,
        reads,
    )


def make_run(row: Any) -> BulkRun:
    return _parse_run(tuple(row))


@lru_cache(maxsize=4)
def _parse_run(columns: tuple[Any, ...]) -> BulkRun:
    """Return a run; kept, because each item of a run reads it anew before it may begin."""
    row = dict(zip(_NAMES, columns, strict=True))
    values: dict[str, Any] = {
        **{name: value for name, value in row.items() if name != "options"},
        **json.loads(row["options"]),
        "risk": Risk(row["risk"]),
        "binding": None if row["binding"] is None else Binding(**json.loads(row["binding"])),
        "facts": json.loads(row["facts"]),
    }
    return BulkRun(**values)


def make_item(row: Any) -> BulkItem:
    """Return the item of a row; an unknown one that was settled as done has no error any more."""
    state = row["intent_state"] or row["state"]
    is_settled = row["settled"] and state == "succeeded"
    return BulkItem(
        number=row["number"],
        source=row["source"],
        arguments=json.loads(row["arguments"]) if row["arguments"] else {},
        state="failed" if state == "refused" else state,
        digest=row["digest"],
        facts_digest=row["facts_digest"],
        amount=row["amount"],
        risk=Risk(row["risk"]),
        mail=row["mail"],
        gate=Gate(row["gate"]),
        changes=None if row["changes"] is None else bool(row["changes"]),
        looked_at=row["looked_at"],
        intent=row["intent"] or "",
        code="" if is_settled else row["code"] or row["intent_code"] or "",
        reason="" if is_settled else row["reason"],
        result=None if row["result"] is None else json.loads(row["result"]),
        is_removed=not row["arguments"],
        held=json.loads(row["held"]) if row["held"] else {},
    )


def count_items(transaction: Transaction, bulk: str) -> ItemCounts:
    sql = (
        f"SELECT {SHOWN_STATE} AS shown, COUNT(*) AS number FROM bulk_items t"  # noqa: S608
        " LEFT JOIN bulk_intents b ON b.bulk = t.bulk AND b.item = t.number"
        " LEFT JOIN intents i ON i.id = b.intent WHERE t.bulk = ? GROUP BY shown"
    )
    return ItemCounts(**{row["shown"]: row["number"] for row in transaction.fetch_all(sql, bulk)})


def _not_agreed_error(what: str) -> RefusedError:
    return RefusedError(
        "bulk_paused",
        f"{what}. Nothing was done.",
        "Call kartra_bulk_status with its bulk_id to see the run.",
    )
