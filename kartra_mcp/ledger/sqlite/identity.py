"""Identity of the ledger that one process writes to: one account, and one chain that only grows.

Without it, a ledger that vanished under a running server would be followed by an empty one that
admits the same refund again, and the rehearsal account could write into the ledger of a real one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kartra_mcp.ledger.database import Database
from kartra_mcp.ledger.errors import LedgerRefusedError
from kartra_mcp.ledger.hash_chain import Head, LedgerEntry

AccountKind = Literal["", "real", "sandbox"]
"""The kind of account whose writes a ledger contains; "" where only its entries are shown."""

_KEY = "account"
_OTHER_ACCOUNT = (
    "The user should set KARTRA_MCP_STATE_DIR to a folder of its own for one of the two, "
    "and restart that server."
)
_OTHER_CHAIN = (
    "The user should put the old state folder back, or check in Kartra what was done, "
    "and then restart this server."
)


@dataclass(slots=True)
class LedgerIdentity:
    """Identity of the ledger at one path, as far as this process knows it.

    `newest` is the newest entry that this process saw, `at` its time.
    """

    account: AccountKind = ""
    newest: Head = field(default_factory=Head)
    at: float = 0.0

    def note(self, newest: Head, at: float) -> None:
        self.newest, self.at = newest, at

    def require_present(self, path: Path) -> None:
        """Raise if the ledger is gone that this process used: no empty one may replace it."""
        if self.newest.count and not path.exists():
            raise _other_chain_error(f"it had {self.newest.count} lines and is gone", path)

    def require_same_chain(self, db: Database, path: Path) -> None:
        """Raise unless the file contains the newest entry that this process saw.

        A ledger that the user began since then with `ledger new` names the old one.
        """
        if not self.newest.count:
            return
        sql = "SELECT hash FROM lines WHERE n = ?"
        row = db.execute(sql, (self.newest.count,)).fetchone()
        if row is not None and row[0] == self.newest.hash:
            return
        if not self._was_replaced_by_user(db):
            why = f"the file does not have the line {self.newest.count} that this server saw"
            raise _other_chain_error(why, path)

    def require_account(self, db: Database) -> None:
        """Raise if the ledger has the mark of the other kind of account."""
        why = self.account_fault(db)
        if why:
            raise LedgerRefusedError(why, _OTHER_ACCOUNT)

    def mark_account(self, db: Database) -> None:
        """Mark the ledger with the kind of its account, with the first entry that is added."""
        if self.account:
            sql = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT DO NOTHING"
            db.execute(sql, (_KEY, self.account))

    def account_fault(self, db: Database) -> str:
        """Return why the ledger is not that of this kind of account, or ""."""
        row = db.execute("SELECT value FROM meta WHERE key = ?", (_KEY,)).fetchone()
        if not self.account or row is None or row[0] == self.account:
            return ""
        owner = "the sandbox account" if row[0] == "sandbox" else "a real account"
        return f"this state folder has the ledger of {owner}"

    def _was_replaced_by_user(self, db: Database) -> bool:
        sql = "SELECT n, at, kind, body, prev, hash FROM lines WHERE n = 1"
        row = db.execute(sql).fetchone()
        if row is None:
            return False
        first = LedgerEntry(*row)
        after = first.payload.get("after")
        if first.kind != "start" or after is None:
            return False
        # A ledger from a clock that was ahead is followed by an earlier one, which names it.
        return first.at >= self.at or after["hash"] == self.newest.hash


def _other_chain_error(why: str, path: Path) -> LedgerRefusedError:
    return LedgerRefusedError(
        why, _OTHER_CHAIN, f"{path} is not the ledger that this server used: {why}"
    )
