"""Revoked accesses of every account, as a replica last read them: each request is compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskStatus

from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.core.timings import Clock, read_steady_clock
from kartra_mcp.ledger.postgres.revocation_feed import RevocationFeed
from kartra_mcp.ledger.postgres.rows import Row
from kartra_mcp.ledger.revocations import Revocation, fold

POLL_SECONDS = 1.0
"""Seconds between two reads: a revoked access ends on every replica within two seconds."""
MAX_AGE_SECONDS = 60.0
"""Seconds after which a list that could not be read again counts as not read."""


@dataclass(frozen=True, slots=True)
class _List:
    """The list of one account: the last entry it rests on, what is revoked, when it was read."""

    last: tuple[int, str] | None
    revoked: Mapping[str, Revocation]
    read_at: float


@dataclass(slots=True)
class RevocationWatch:
    """The revoked accesses of the accounts.

    Without the database the last ones count for a minute; an account whose list is not known serves
    nothing.

    Args:
        feed: reads new entries.
        accounts: names in the team file.
        end_streams: ends the open listen streams of an account. All of them, for those who may
            listen open theirs again.
    """

    feed: RevocationFeed
    accounts: Sequence[str]
    end_streams: Callable[[str], object]
    poll: float = POLL_SECONDS
    clock: Clock = read_steady_clock
    _lists: dict[str, _List] = field(default_factory=dict[str, _List])
    _had_more: set[str] = field(default_factory=set[str])

    def has(self, account: str, key: str) -> bool | None:
        """Return whether a person or token is revoked; None while that is not known."""
        known = self._lists.get(account)
        if known is None or self.clock() - known.read_at > MAX_AGE_SECONDS:
            return None
        return key in known.revoked

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Read the lists until it is cancelled. It counts as started after the first try."""
        await self._try_to_read()
        task_status.started()
        while True:
            await anyio.sleep(self.poll)
            await self._try_to_read()

    async def _try_to_read(self) -> None:
        before = {name: known.revoked.keys() for name, known in self._lists.items()}
        with suppress(KartraMCPError):
            await run_in_thread(self.read)
        after = {name: known.revoked.keys() for name, known in self._lists.items()}
        more = {name for name in before if not after[name] <= before[name]}
        # Twice: a request that was checked just before opens its stream a moment later.
        for account in more | self._had_more:
            self.end_streams(account)
        self._had_more = more

    def read(self) -> None:
        """Read what is new. Synchronous."""
        began = self.clock()
        last = {name: known.last for name, known in self._lists.items()}
        seen = {name: (last.get(name) or (0, ""))[0] for name in self.accounts}
        for account, rows in self.feed.read_new(seen).items():
            # An altered entry is of one account: its list is not known once it is too old.
            with suppress(KartraMCPError, LookupError, TypeError):
                self._take(account, rows, began)

    def _take(self, account: str, rows: Sequence[Row], began: float) -> None:
        known = self._lists.get(account) or _List(None, {}, began)
        if known.last is not None:
            if not rows or (rows[0]["n"], rows[0]["body"]) != known.last:
                # A failover or a restore gave the ledger another history: read all of it next.
                self._lists[account] = _List(None, known.revoked, known.read_at)
                return
            rows = rows[1:]
        before: dict[str, Revocation] = {} if known.last is None else dict(known.revoked)
        last = (rows[-1]["n"], rows[-1]["body"]) if rows else known.last
        self._lists[account] = _List(last, fold(before, rows), began)
