"""Reads that the admission of an intent needs, for a store to which each trip costs time.

The checks run their own reads all the same: one that is missing here costs a trip, and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kartra_mcp.core.models import Risk
from kartra_mcp.ledger import bulk_rows, confirmations, projection, revocations, rules
from kartra_mcp.ledger.admission import list_identity_keys
from kartra_mcp.ledger.database import Query
from kartra_mcp.ledger.records import Intent
from kartra_mcp.ledger.transaction import Transaction

_ListNames = Callable[[Intent], Sequence[str]]


@dataclass(slots=True)
class AdmissionReads:
    """Reads that most intents need; `others` are run with them."""

    intent: Intent
    others: Sequence[Query] = ()
    _parts: list[Intent] = field(init=False)
    _leads: list[Query] = field(init=False)
    _made: tuple[float, list[Query]] | None = None

    def __post_init__(self) -> None:
        self._parts = rules.split_intent(self.intent)
        self._leads = [
            projection.lead_query(part.connection, part.target)
            for part in self._parts
            if part.target_kind == "lead" and part.target is not None
        ]

    def list_first(self, at: float) -> Sequence[Query]:
        """List what can be read as a transaction begins, at about this time.

        The names of a lead are needed for the other reads.
        """
        return self._leads or self._list_all(at, _list_own_name)

    def run(self, transaction: Transaction) -> None:
        """Run all of it that the transaction did not begin with, in one trip, or in two."""
        if transaction.prefetch is None:
            return
        if self._leads:
            transaction.prefetch(self._leads)
        db, at = transaction.db, transaction.earliest
        transaction.prefetch(self._list_all(at, lambda part: projection.list_names_of(db, part)))

    def _list_all(self, at: float, list_names: _ListNames) -> list[Query]:
        since = bulk_rows.round_down(at - rules.DAY)
        if self._made is None or self._made[0] != since or self._leads:
            self._made = since, [*self.others, *self._list_own(since, list_names)]
        return self._made[1]

    def _list_own(self, since: float, list_names: _ListNames) -> list[Query]:
        intent, queries = self.intent, list[Query]()
        if intent.requester is not None:
            queries.append(revocations.of_keys_query(intent.requester.keys))
        if intent.confirmation_id is not None and not intent.bulk:
            queries.append(confirmations.issued_query(intent.confirmation_id))
        if not intent.bulk and intent.consent not in rules.BY_A_PERSON:
            queries.append(bulk_rows.unagreed_query(intent.connection, since))
        for part in self._parts:
            names = list_names(part)
            queries += map(confirmations.block_query, list_identity_keys(part, names))
            if part.risk is Risk.IRREVERSIBLE:
                queries.append(projection.same_target_query(part, names))
            if part.equality or part.arguments_digest:
                queries.append(projection.equal_query(part, names))
        return queries


def _list_own_name(part: Intent) -> list[str]:
    return [] if part.target is None else [part.target]
