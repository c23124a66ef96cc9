"""Leads of one ledger: the names under which each was read, and the hash by which it is found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kartra_mcp.kartra.values import fold_id
from kartra_mcp.ledger import projection
from kartra_mcp.ledger.pseudonyms import hash_email, mask_lead
from kartra_mcp.ledger.store import LedgerStore


class Leads:
    """The leads of one ledger."""

    def __init__(self, store: LedgerStore) -> None:
        self._store = store
        self._key: bytes | None = None

    def hash(self, email: str) -> str:
        """Return the keyed hash under which a lead is found."""
        if self._key is None:
            self._key = self._store.lead_key()
        return hash_email(self._key, email)

    def remember(self, connection: str, email: str, lead_id: str) -> None:
        """Record that these name one lead: what is done to one was done to the other."""
        target, id_ = mask_lead(email, self.hash(email)), fold_id(lead_id)
        if id_ is None:
            return
        account = self._store.identify(connection)
        with self._store.read_transaction() as transaction:
            known = projection.list_lead_names(transaction.db, account, "lead", target)
        if id_ not in known:
            with self._store.write_transaction() as transaction:
                projection.add_lead(transaction.db, account, fold_id(target) or target, id_)

    def is_known(self, connection: str, target: str) -> bool:
        """Return whether both the id and an address of this lead were read."""
        account = self._store.identify(connection)
        with self._store.read_transaction() as transaction:
            names = projection.list_lead_names(
                transaction.db, account, "lead", fold_id(target) or target
            )
        return len(names) > 1

    def find_id(self, entry: Mapping[str, Any]) -> str:
        """Return the id of the lead of a write, or "" if only the mask of its address is known."""
        with self._store.read_transaction() as transaction:
            names = projection.list_names_in(transaction.db, entry)
        return next((name for name in names if name.isdecimal()), "")

    def list_writes(self, entry: Mapping[str, Any]) -> list[dict[str, Any]]:
        """List the other writes on the lead of this one, under any of its names, oldest first."""
        with self._store.read_transaction() as transaction:
            found = projection.list_on_lead(transaction.db, entry)
        return [row for row in found if row["intent"] != entry["intent"]]
