"""Writes that Membrane's run logs have and the ledger lacks, because its database went back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kartra_mcp.ledger import admission, projection, rules
from kartra_mcp.ledger.records import Intent
from kartra_mcp.ledger.store import LedgerStore
from kartra_mcp.ledger.transaction import Transaction

_NEWEST_SWEEP = "SELECT body FROM lines WHERE kind = 'run_logs' ORDER BY n DESC LIMIT 1"
_BODY = "SELECT l.body FROM intents i JOIN lines l ON l.n = i.line WHERE i.id = ?"
_FIRST_ENTRY = "SELECT at FROM lines ORDER BY n LIMIT 1"
OVERLAP = 3_600.0
"""Seconds that a sweep goes back before the end of the last one: a log may be written late."""
NOTE_SECONDS = 3_600.0
"""Seconds between two entries of sweeps that found nothing: each one reads the logs since then."""


class LostIntents:
    """Search for lost writes in one ledger, and their record.

    A sweep runs while writes are refused, so that each record here is one of the past.
    """

    def __init__(self, store: LedgerStore) -> None:
        self._store = store

    def since(self) -> float:
        """Return the time from which on run logs have to be compared, in seconds.

        That is the end of the last complete sweep, else the first entry of the ledger.
        """
        with self._store.read_transaction() as transaction:
            row = transaction.fetch_one(_NEWEST_SWEEP)
            if row is not None:
                return float(projection.parse_payload(row["body"])["until"]) - OVERLAP
            first = transaction.fetch_one(_FIRST_ENTRY)
            return transaction.now - OVERLAP if first is None else first["at"]

    def list_known(self, intents: set[str]) -> dict[str, bool]:
        """Return those of these intents that the ledger has; True for one that was adopted."""
        found: dict[str, bool] = {}
        with self._store.read_transaction() as transaction:
            for intent in intents:
                row = transaction.fetch_one(_BODY, intent)
                if row is not None:
                    found[intent] = "adopted" in projection.parse_payload(row["body"])
        return found

    def list_hashes(self, numbers: set[int]) -> dict[int, str]:
        """Return the hash of each of these entries that the ledger has."""
        sql = "SELECT hash FROM lines WHERE n = ?"
        with self._store.read_transaction() as transaction:
            rows = {n: transaction.fetch_one(sql, n) for n in numbers}
        return {n: row["hash"] for n, row in rows.items() if row is not None}

    def adopt(self, intent: Intent, about: Mapping[str, Any]) -> bool:
        """Record a lost write as unknown, so that its identity and the caps hold again.

        Args:
            intent: as far as the run log shows it, with its own id.
            about: the runs in which it was found.

        Returns:
            False if the ledger has it meanwhile.

        Raises:
            RefusedError: an equal write is running or unknown. Nothing was recorded.
        """
        normal = rules.normalize_intent(intent)
        with self._store.write_transaction(settles=True) as transaction:
            if projection.get_state(transaction.db, normal.id) is not None:
                return False
            _record(transaction, normal, about)
            return True

    def note_sweep(self, about: Mapping[str, Any]) -> None:
        """Record that the run logs were compared up to the `until` of `about`.

        At most once in `NOTE_SECONDS`, unless something was found: the job runs every two minutes.
        """
        with self._store.write_transaction(settles=True) as transaction:
            newest = transaction.fetch_one(_NEWEST_SWEEP)
            past = 0.0 if newest is None else projection.parse_payload(newest["body"])["until"]
            if about["adopted"] or float(about["until"]) - float(past) >= NOTE_SECONDS:
                transaction.append("run_logs", about)


def _record(transaction: Transaction, intent: Intent, about: Mapping[str, Any]) -> None:
    payload = projection.intent_payload(intent, None)
    transaction.append("intent", {**payload, "adopted": dict(about)})
    lost = admission.lost_outcome(intent.id)
    detail = {"settled": "it was found in Membrane's run logs, and missing in this ledger"}
    transaction.append("outcome", {**lost, "detail": detail})
