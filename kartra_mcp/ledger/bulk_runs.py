"""Bulk runs on disk: the exact items, the consent to them, and the fate of each.

A run is written before its first item runs. The fate of a write item is that of its intent, which
the chain holds; an item can have one intent only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Risk
from kartra_mcp.ledger import admission, approval_rows, confirmations
from kartra_mcp.ledger.bulk_records import (
    BulkItem,
    BulkRun,
    ItemCheck,
    ItemCounts,
    ItemOutcome,
    ItemState,
    RunState,
)
from kartra_mcp.ledger.bulk_rows import (
    COLUMNS,
    ITEM,
    RECENT,
    SHOWN_STATE,
    block_equal,
    count_items,
    digest_items,
    find_run,
    forget_old,
    insert_run,
    list_undos,
    make_item,
    make_run,
    require_agreement,
    require_run,
    require_unaltered,
    undone_refusal,
)
from kartra_mcp.ledger.bulk_states import change_state
from kartra_mcp.ledger.database import NO_LIMIT, make_in_list
from kartra_mcp.ledger.hash_chain import dump_canonical
from kartra_mcp.ledger.records import Binding, Intent
from kartra_mcp.ledger.rules import normalize_intent
from kartra_mcp.ledger.store import LedgerStore
from kartra_mcp.ledger.switch import switch_refusal
from kartra_mcp.ledger.transaction import Transaction
from kartra_mcp.policy.limits import Limits

PLAN_LIFETIME = 3_600.0
"""Seconds during which an equal request continues a plan instead of checking every item again."""


@dataclass(frozen=True, slots=True)
class BulkRuns:
    """The bulk runs of one ledger."""

    store: LedgerStore

    def create(
        self, run: BulkRun, items: Sequence[BulkItem], checks: Sequence[ItemCheck]
    ) -> BulkRun:
        """Write a planned run, its items and the checks made; remove the data of old runs."""
        with self.store.write_transaction() as transaction:
            forget_old(transaction)
            insert_run(transaction, replace(run, made_at=transaction.now, total=len(items)))
            transaction.db.executemany(
                "INSERT INTO bulk_items VALUES"
                " (?, ?, ?, ?, 'unchecked', '', '', '', 0, 0, 'allow',"
                " NULL, NULL, '', '', NULL, '', 0)",
                [(run.id, i.number, i.source, dump_canonical(dict(i.arguments))) for i in items],
            )
            _record_checks(transaction, run.id, checks)
            return require_run(transaction, run.id)

    def get(self, bulk: str) -> BulkRun | None:
        """Return a run in any state, or None for an unknown id."""
        with self.store.read_transaction() as transaction:
            return find_run(transaction, bulk)

    def find_request(self, request: str, connection: str) -> BulkRun | None:
        """Return the newest run that was planned for an equal request and has not begun."""
        sql = (
            f"SELECT {COLUMNS} FROM bulk_runs WHERE request = ? AND connection = ?"  # noqa: S608
            " AND state = 'planned' AND made_at > ? ORDER BY made_at DESC LIMIT 1"
        )
        with self.store.read_transaction() as transaction:
            since = transaction.now - PLAN_LIFETIME
            row = transaction.fetch_one(sql, request, connection, since)
            return None if row is None else make_run(row)

    def list_undos(self, bulk: str) -> list[BulkRun]:
        """List the runs that undo a run and were agreed to, oldest first."""
        with self.store.read_transaction() as transaction:
            return list_undos(transaction, bulk)

    def list_recent(self, count: int) -> list[BulkRun]:
        """List runs, newest first, without plans that were refused: those never were a run."""
        with self.store.read_transaction() as transaction:
            return [make_run(row) for row in transaction.fetch_all(RECENT, count)]

    def count_items(self, bulk: str) -> ItemCounts:
        with self.store.read_transaction() as transaction:
            return count_items(transaction, bulk)

    def list_items(
        self,
        bulk: str,
        *,
        offset: int = 0,
        limit: int = NO_LIMIT,
        state: ItemState | None = None,
        stored: str = "",
        numbers: Sequence[int] | None = None,
    ) -> list[BulkItem]:
        """List items in their order.

        Args:
            bulk: id of the run.
            offset: items to leave out first.
            limit: at most so many.
            state: only items of this state, as it is shown.
            stored: only items of this state of the checks: `unchecked`, `invalid`, `suppressed`…
            numbers: only these items.
        """
        where, values = "", list[Any]([bulk])
        if state is not None:
            where, values = f" AND {SHOWN_STATE} = ?", [*values, state]
        if stored:
            where, values = f"{where} AND t.state = ?", [*values, stored]
        if numbers is not None:
            where = f"{where} AND t.number IN ({make_in_list(len(numbers))})"
            values = [*values, *numbers]
        sql = f"{ITEM}{where} ORDER BY t.number LIMIT ? OFFSET ?"
        with self.store.read_transaction() as transaction:
            rows = transaction.fetch_all(sql, *values, limit, offset)
            return [make_item(row) for row in rows]

    def list_failures(self, bulk: str, limit: int) -> list[BulkItem]:
        """List items that are unknown, that failed, or that were done in part; in this order."""
        partial = f"t.state = 'failed' AND {SHOWN_STATE} = 'succeeded' AND i.reconcile_line IS NULL"
        kinds = (f"{SHOWN_STATE} = 'unknown'", f"{SHOWN_STATE} = 'failed'", partial)
        with self.store.read_transaction() as transaction:
            rows = [
                row
                for kind in kinds
                for row in transaction.fetch_all(
                    f"{ITEM} AND {kind} ORDER BY t.number LIMIT ?", bulk, limit
                )
            ]
            return [make_item(row) for row in rows[:limit]]

    def record_checks(self, bulk: str, checks: Sequence[ItemCheck]) -> None:
        """Record the result of checks of items of a planned run."""
        with self.store.write_transaction() as transaction:
            _record_checks(transaction, bulk, checks)

    def block_equal(self, bulk: str, drafts: Mapping[int, Intent]) -> None:
        """Block items of a plan that are the same write as an earlier one of it."""
        with self.store.write_transaction() as transaction:
            block_equal(transaction, bulk, drafts)

    def seal_plan(
        self, bulk: str, *, risk: Risk, facts: Mapping[str, Any], binding: Binding | None
    ) -> BulkRun:
        """Fix the exact items of a run whose items were all checked; return the run.

        `risk` is the highest of its items. `binding` is completed with the digest of the items.
        """
        with self.store.write_transaction() as transaction:
            run = require_run(transaction, bulk)
            if run.digest or run.state != "planned":
                return run
            sql = "UPDATE bulk_runs SET risk = ?, facts = ? WHERE id = ?"
            transaction.run(sql, int(risk), dump_canonical(dict(facts)), bulk)
            digest = digest_items(transaction, require_run(transaction, bulk))
            bound = None if binding is None else replace(binding, arguments=digest)
            transaction.run(
                "UPDATE bulk_runs SET digest = ?, binding = ? WHERE id = ?",
                digest,
                None if bound is None else confirmations.serialize_binding(bound),
                bulk,
            )
            return require_run(transaction, bulk)

    def agree(self, bulk: str, intent: Intent, limits: Limits) -> BulkRun:
        """Begin a planned write with the consent of `intent`, which is consumed in this commit.

        Raises:
            RefusedError: the consent does not count, a cap is passed, or it has begun before.
        """
        intent = normalize_intent(intent)
        refusal: RefusedError | None = None
        with self.store.write_transaction() as transaction:
            run = require_run(transaction, bulk)
            require_unaltered(transaction, run)
            if run.state == "planned":
                refusal = switch_refusal(transaction) or undone_refusal(transaction, run)
                refusal = refusal or admission.admission_refusal(
                    transaction, intent, limits, run.binding
                )
                if refusal is None:
                    _agree(transaction, run, intent)
            begun = require_run(transaction, bulk)
        if refusal is not None:
            raise refusal
        return begun

    def require_unaltered(self, bulk: str) -> None:
        """Raise if a sealed plan was altered on disk: it must not be shown either."""
        with self.store.read_transaction() as transaction:
            require_unaltered(transaction, require_run(transaction, bulk))

    def begin_read(self, bulk: str) -> BulkRun:
        """Begin a planned read, which needs no consent and no line."""
        with self.store.write_transaction() as transaction:
            transaction.run(
                "UPDATE bulk_runs SET state = 'running', agreed_at = ?"
                " WHERE id = ? AND state = 'planned'",
                transaction.now,
                bulk,
            )
            return require_run(transaction, bulk)

    def set_state(self, bulk: str, state: RunState, why: str = "") -> BulkRun:
        """Change the state of a run that has not ended; of a write with a line in the chain."""
        with self.store.write_transaction() as transaction:
            change_state(transaction, require_run(transaction, bulk), state, why)
            return require_run(transaction, bulk)

    def claim(
        self, bulk: str, count: int, seconds: float, taken: Sequence[int] = (), start: int = 0
    ) -> list[BulkItem]:
        """Return the next waiting items, without those that the caller has `taken`.

        Items from the number `start` on come first: before it, there are hardly any left.

        A claim only keeps servers out of each other's way for `seconds`: that an item runs once is
        decided where its intent is recorded. If nothing else is left, the claimed items of others
        are returned, whose server may have ended.
        """
        waiting = f"{ITEM} AND t.state = 'waiting' AND b.intent IS NULL AND t.number >= ?"
        if taken:
            waiting += f" AND t.number NOT IN ({make_in_list(len(taken))})"
        waiting += " AND t.claimed_until <= ? ORDER BY t.number LIMIT ?"
        with self.store.write_transaction() as transaction:
            run = require_run(transaction, bulk)
            if run.state != "running":
                return []
            now = transaction.now

            def find(first: int, until: float) -> list[Any]:
                return transaction.fetch_all(waiting, bulk, first, *taken, until, count)

            rows = find(start, now) or find(0, now) or find(0, math.inf)
            transaction.db.executemany(
                "UPDATE bulk_items SET claimed_until = ? WHERE bulk = ? AND number = ?",
                [(now + seconds, bulk, row["number"]) for row in rows],
            )
            return [make_item(row) for row in rows]

    def release(self, bulk: str, numbers: Sequence[int]) -> None:
        """Give up the claim of items that were not run."""
        with self.store.write_transaction() as transaction:
            transaction.db.executemany(
                "UPDATE bulk_items SET claimed_until = 0 WHERE bulk = ? AND number = ?",
                [(bulk, number) for number in numbers],
            )

    def record_outcomes(self, bulk: str, outcomes: Sequence[ItemOutcome]) -> None:
        """Record outcomes; an item that has an intent keeps the state of that intent."""
        with self.store.write_transaction() as transaction:
            transaction.db.executemany(
                "UPDATE bulk_items SET state = :state, code = :code, reason = :reason,"
                " result = :result, changes = COALESCE(:changes, changes)"
                " WHERE bulk = :bulk AND number = :number AND state = 'waiting'",
                [
                    {
                        **asdict(outcome),
                        "result": None if outcome.result is None else json.dumps(outcome.result),
                        "bulk": bulk,
                    }
                    for outcome in outcomes
                ],
            )

    def end_if_over(self, bulk: str) -> BulkRun:
        """Return the run, done if no item is left."""
        with self.store.write_transaction() as transaction:
            run = require_run(transaction, bulk)
            if run.state != "running" or count_items(transaction, bulk).left:
                return run
            sql = "UPDATE bulk_runs SET state = 'done', why = '', ended_at = ? WHERE id = ?"
            transaction.run(sql, transaction.now, bulk)
            if not run.is_read:
                transaction.append("bulk", {"bulk": bulk, "event": "done", "why": ""})
            return require_run(transaction, bulk)

    def require_agreed(self, bulk: str) -> None:
        """Raise unless a run may go on without a new consent: exactly these items, for a day.

        Raises:
            RefusedError: `confirmation_expired`, or `ledger_unavailable` if it was altered on disk.
        """
        with self.store.read_transaction() as transaction:
            run = require_run(transaction, bulk)
            require_agreement(transaction, run, digest_items(transaction, run))


def _record_checks(transaction: Transaction, bulk: str, checks: Sequence[ItemCheck]) -> None:
    transaction.db.executemany(
        "UPDATE bulk_items SET state = :state, digest = :digest,"
        " facts_digest = :facts_digest, amount = :amount, risk = :risk, mail = :mail,"
        " gate = :gate, changes = :changes, looked_at = :looked_at, code = :code,"
        " reason = :reason, held = :held"
        " WHERE bulk = :bulk AND number = :number AND state = 'unchecked'",
        [
            {
                **asdict(check),
                "risk": int(check.risk),
                "gate": str(check.gate),
                "held": dump_canonical(dict(check.held)) if check.held else "",
                "bulk": bulk,
            }
            for check in checks
        ],
    )


def _agree(transaction: Transaction, run: BulkRun, intent: Intent) -> None:
    id_ = intent.confirmation_id
    body = {
        "bulk": run.id,
        "event": "agreed",
        "tool": run.tool,
        "operation": run.operation,
        "risk": run.risk.label,
        "connection": run.connection,
        "digest": run.digest,
        "count": run.total,
        "consent": intent.consent,
        "confirmation": None if id_ is None else confirmations.hash_text(id_),
        "approval": intent.approval,
        "actor": intent.actor,
        "client": intent.client,
        **({"undoes": run.undoes} if run.undoes else {}),
        **({"requester": intent.requester.as_payload()} if intent.requester else {}),
    }
    transaction.append("bulk", body)
    transaction.run(
        "UPDATE bulk_runs SET state = 'running', consent = ?, agreed_at = ?, actor = ?,"
        " client = ? WHERE id = ?",
        intent.consent,
        transaction.now,
        intent.actor,
        intent.client,
        run.id,
    )
    if intent.consent == "approval" and intent.approval is not None:
        approval_rows.consume(transaction, intent.approval, run.id)
    elif id_ is not None:
        confirmations.consume(transaction, id_, run.id)
