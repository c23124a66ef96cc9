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
from kartra_mcp.ledger.errors import LedgerDamagedError, explain
from kartra_mcp.ledger.postgres.errors import RolledBackError
from kartra_mcp.ledger.store import LedgerStore
from kartra_mcp.service.logs import write_event

CACHE_SECONDS = 1.0
"""Seconds for which a check counts: anybody may ask, and each check reads the database."""


@dataclass(frozen=True, slots=True)
class _Fault:
    """Reason for which a replica is not ready; the response shows nothing of it, the log does."""

    account: str
    code: str
    reason: str


@dataclass(slots=True)
class Readiness:
    """Checks of the ledgers, one at a time. Each change is logged, with its reason."""

    stores: Mapping[str, LedgerStore]
    is_ending: bool = False
    _checked_at: float | None = None
    _fault: _Fault | None = None
    _turn: anyio.Lock = field(default_factory=anyio.Lock)

    async def is_ready(self) -> bool:
        if self.is_ending:
            return False
        async with self._turn:
            at = self._checked_at
            if at is None or time.monotonic() - at > CACHE_SECONDS:
                self._note(await run_in_thread(self._find_fault))
                self._checked_at = time.monotonic()
        return self._fault is None and not self.is_ending

    def _find_fault(self) -> _Fault | None:
        for account, store in self.stores.items():
            try:
                with suppress(LedgerDamagedError, RolledBackError), store.read_transaction():
                    pass
            except KartraMCPError as problem:
                return _Fault(account, problem.code, explain(problem))
        return None

    def _note(self, fault: _Fault | None) -> None:
        if fault is not None and fault != self._fault:
            write_event("not_ready", account=fault.account, code=fault.code, reason=fault.reason)
        elif fault is None and self._fault is not None:
            write_event("ready")
        self._fault = fault
