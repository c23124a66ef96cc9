"""Reads of a ledger: entries, notes, conflicts, statistics, times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from kartra_mcp.core.principal import Role
from kartra_mcp.kartra.values import fold_id
from kartra_mcp.ledger import admission, arrivals, projection, rules
from kartra_mcp.ledger import decision_log as decisions
from kartra_mcp.ledger import statistics as figures
from kartra_mcp.ledger.people import Group, Requester
from kartra_mcp.ledger.records import CapsLeft, Filters, Intent
from kartra_mcp.ledger.store import LedgerStore
from kartra_mcp.policy.limits import GroupCaps, Limits

NoteKind = Literal["start", "policy", "consent", "look"]


class LedgerReader:
    """Reads of one store; each is one consistent snapshot."""

    def __init__(self, store: LedgerStore) -> None:
        self._store = store

    def list_conflicts(self) -> list[tuple[str, str]]:
        """List intent and connection of each answer that contradicts a settled outcome."""
        with self._store.read_transaction() as transaction:
            return arrivals.list_conflicts(transaction)

    def latest(self, kind: NoteKind) -> dict[str, Any] | None:
        """Return the newest entry of this kind, with its `at`."""
        with self._store.read_transaction() as transaction:
            return projection.find_latest(transaction.db, kind)

    def list_decisions(self, count: int) -> list[decisions.DecisionEvent]:
        """List approval decisions, PIN attempts and stops of writes, newest first."""
        with self._store.read_transaction() as transaction:
            return decisions.latest(transaction, count)

    def find_completing_call(self, intent: Intent) -> dict[str, Any] | None:
        """Return the call that completed this operation on this target; None if none did."""
        intent = rules.normalize_intent(intent)
        with self._store.read_transaction() as transaction:
            past = projection.list_same_target(transaction.db, intent)
        found = rules.completing_call(intent.operation, past)
        return rules.prior_summary(found) if found else None

    def late_look_times(self, intent_id: str) -> list[float]:
        """List the reads for an unknown intent that found no effect and counted, newest first."""
        with self._store.read_transaction() as transaction:
            return [at for at, _ in projection.list_looks(transaction.db, intent_id)]

    def emails_last_hour(self) -> int:
        """Count the writes of the last hour that could start mail."""
        with self._store.read_transaction() as transaction:
            return admission.count_recent_emails(transaction)

    def list_recent(self, count: int, filters: Filters | None = None) -> list[dict[str, Any]]:
        """List intents with their outcomes, newest first."""
        with self._store.read_transaction() as transaction:
            return projection.list_entries(
                transaction.db, _normalize_filters(filters), max(count, 0)
            )

    def export(self, filters: Filters | None = None) -> list[dict[str, Any]]:
        """List all intents with their outcomes, oldest first."""
        with self._store.read_transaction() as transaction:
            return projection.list_entries(transaction.db, _normalize_filters(filters))[::-1]

    def get(self, intent_id: str) -> dict[str, Any] | None:
        """Return one intent as `list_recent` does, with its `lines` and whether it is `held`."""
        with self._store.read_transaction() as transaction:
            found = projection.get_entry(transaction.db, intent_id)
            if found is None:
                return None
            lines = projection.list_chain_entries(transaction.db, intent_id)
            held = self._store.owners.is_held(transaction, intent_id)
        entries = [
            {"n": x.n, "at": x.at, "kind": x.kind, **x.payload, "hash": x.hash} for x in lines
        ]
        return {**found, "lines": entries, "held": held}

    def compute_statistics(self, since: float) -> figures.Statistics:
        """Return the statistics of all intents since a time (seconds since the epoch)."""
        with self._store.read_transaction() as transaction:
            return figures.compute_statistics(transaction.db, since)

    def caps_left(self, limits: Limits) -> CapsLeft:
        """Return what is left of the caps now."""
        with self._store.read_transaction() as transaction:
            since = transaction.earliest - rules.DAY
            return rules.caps_left(
                limits, projection.list_irreversible_since(transaction.db, since)
            )

    def group_caps_left(
        self, limits: Limits, asker: Requester
    ) -> list[tuple[Role | None, CapsLeft]]:
        """Return what is left of the caps of a person, under None, and of each of its roles."""
        groups: list[tuple[Role | None, GroupCaps]] = [
            (role, caps)
            for _, role, caps in limits.list_group_caps(asker.roles)
            if caps.limits_operations
        ]
        if not groups:
            return []
        with self._store.read_transaction() as transaction:
            since = transaction.earliest - rules.DAY
            return [
                (
                    role,
                    rules.caps_left(
                        caps,
                        projection.list_irreversible_since(
                            transaction.db, since, group=Group(asker.key, role)
                        ),
                    ),
                )
                for role, caps in groups
            ]

    def tool_names(self) -> list[str]:
        """List every tool that ever wrote, by name."""
        with self._store.read_transaction() as transaction:
            return projection.list_tools(transaction.db)

    def entry_count(self) -> int:
        """Return the number of entries; it never decreases, so that a change is noticed by it."""
        with self._store.read_transaction() as transaction:
            return transaction.head.count

    def latest_at(self) -> float | None:
        """Return the time of the newest entry, or None if the ledger is empty."""
        with self._store.read_transaction() as transaction:
            row = transaction.fetch_one("SELECT at FROM lines ORDER BY n DESC LIMIT 1")
            return None if row is None else row["at"]

    def current_time(self) -> float:
        """Return the ledger's time: the clock, but never earlier than the newest entry."""
        with self._store.read_transaction() as transaction:
            return transaction.now

    def list_ages(self, ats: Sequence[float]) -> list[float]:
        """Return the seconds since each of these entries, by both clocks."""
        with self._store.read_transaction() as transaction:
            return [transaction.age(at) for at in ats]


def _normalize_filters(filters: Filters | None) -> Filters:
    if filters is None:
        return Filters()
    return replace(filters, target=fold_id(filters.target))
