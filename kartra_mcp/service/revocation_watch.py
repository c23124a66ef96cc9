"""Revoked accesses of every account, as a replica last read them: each request is compared."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskStatus

from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.ledger.postgres.revocation_feed import RevocationFeed
from kartra_mcp.ledger.revocations import Revocation, fold

POLL_SECONDS = 1.0
"""Seconds between two reads: a revoked access ends on every replica within two seconds."""


@dataclass(slots=True)
class RevocationWatch:
    """The revoked accesses of the accounts.

    Without the database the last ones count; an account that was never read serves nothing.
    """

    feed: RevocationFeed
    accounts: Sequence[str]
    poll: float = POLL_SECONDS
    _seen: dict[str, int] = field(default_factory=dict[str, int])
    _revoked: dict[str, dict[str, Revocation]] = field(
        default_factory=dict[str, dict[str, Revocation]]
    )

    def is_read(self, account: str) -> bool:
        """Return whether the list of an account was ever read."""
        return account in self._revoked

    def has(self, account: str, key: str) -> bool:
        """Return whether a person or token is revoked; also while that is not known."""
        return not self.is_read(account) or key in self._revoked[account]

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Read the lists until it is cancelled. It counts as started after the first try."""
        await self._try_to_read()
        task_status.started()
        while True:
            await anyio.sleep(self.poll)
            await self._try_to_read()

    async def _try_to_read(self) -> None:
        with suppress(KartraMCPError):
            await run_in_thread(self.read)

    def read(self) -> None:
        """Read what is new. Synchronous."""
        seen = {name: self._seen.get(name, 0) for name in self.accounts}
        for account, rows in self.feed.read_new(seen).items():
            with suppress(KartraMCPError, LookupError):  # an altered entry is of one account
                self._revoked[account] = fold(dict(self._revoked.get(account, {})), rows)
                self._seen[account] = rows[-1]["n"] if rows else seen[account]
