"""Readiness of a replica: every ledger answers, its schema fits, and the replica is not ending.

A ledger that was altered or went back refuses its writes. The other accounts are served, and the
page on which writes are stopped.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import anyio

from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.ledger.errors import LedgerDamagedError
from kartra_mcp.ledger.postgres.errors import RolledBackError
from kartra_mcp.ledger.store import LedgerStore

CACHE_SECONDS = 1.0
"""Seconds for which a check counts: anybody may ask, and each check reads the database."""


@dataclass(slots=True)
class Readiness:
    """Checks of the ledgers, one at a time."""

    stores: Mapping[str, LedgerStore]
    is_ending: bool = False
    _result: tuple[float, bool] = (0.0, False)
    _turn: anyio.Lock = field(default_factory=anyio.Lock)

    async def is_ready(self) -> bool:
        if self.is_ending:
            return False
        async with self._turn:
            at, ready = self._result
            if not at or time.monotonic() - at > CACHE_SECONDS:
                ready = await run_in_thread(self._check)
                self._result = time.monotonic(), ready
        return ready and not self.is_ending

    def _check(self) -> bool:
        try:
            for store in self.stores.values():
                with suppress(LedgerDamagedError, RolledBackError), store.read_transaction():
                    pass
        except KartraMCPError:
            return False
        return True
