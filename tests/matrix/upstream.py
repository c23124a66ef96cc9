"""The upstream of the replicas: the sandbox as a process; its account and journal are the truth."""

from __future__ import annotations

import itertools
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import in_process

from matrix.history import Execution

FIRST_SALE = 5001
CENTS = 9700
INTENT_KEY, ATTEMPT_KEY = "kartra_mcp_intent", "kartra_mcp_attempt"
LINE_KEY, HASH_KEY = "kartra_mcp_line", "kartra_mcp_hash"
SALES = 4000
_LEADS = (
    "INSERT INTO leads (id, email, first_name, date_joined) VALUES (?, ?, 'Matrix',"
    " '2026-01-01 00:00:00')"
)
_SALES = (
    "INSERT INTO transactions (id, lead_id, lead_email, type, cents, quantity, product_id, point,"
    " at) SELECT ?, ?, ?, type, cents, quantity, product_id, point, at FROM transactions"
    " WHERE id = 101"
)


class Upstream:
    """The sandbox's REST API on an account with many equal sales."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "account.db"
        self._sales = itertools.count(FIRST_SALE)
        folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> Upstream:
        self.arrange("reset")
        self._add_sales()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "kartra_mcp.sandbox", f"--account={self.file}", "serve"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.introduction: dict[str, str] = json.loads(self.process.stdout.readline())
        return self

    @property
    def port(self) -> int:
        port = urlsplit(self.introduction["url"]).port
        assert port is not None
        return port

    def new_sale(self) -> str:
        """The id of a sale of 97.00 that nothing was done to."""
        return str(next(self._sales))

    def arrange(self, *words: str) -> None:
        """Use the sandbox's own verbs."""
        done = in_process.sandbox(f"--account={self.file}", *words)
        assert done.exit_code == 0, done

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.file, timeout=30)) as database:
            return database.execute(sql, values).fetchall()

    def forget_runs(self) -> None:
        """Forget the logs of earlier runs: a new ledger would lack their intents."""
        with closing(sqlite3.connect(self.file, timeout=30)) as database, database:
            database.execute("DELETE FROM run_logs")

    def refunds(self, sale: str) -> list[Decimal]:
        found = self.rows("SELECT cents FROM transactions WHERE parent_id = ? ORDER BY id", sale)
        return [Decimal(cents) / 100 for (cents,) in found]

    def executions(self, sales: Sequence[str]) -> list[Execution]:
        """Return what the journal has of these sales, in the order of the effects."""
        sql = (
            "SELECT meta, effects, applied_at, received_at, token_id FROM requests"
            " WHERE effects <> '[]' ORDER BY applied_at, n"
        )
        found = [
            _make_execution(Sent.read(meta, token), effect, at, began)
            for meta, effects, at, began, token in self.rows(sql)
            for effect in json.loads(effects)
        ]
        return [done for done in found if done.target in sales]

    def writes(self) -> list[Sent]:
        """Return every write that reached it, also one that it refused."""
        sql = (
            "SELECT meta, token_id FROM requests WHERE meta LIKE ?"
            " OR (method = 'POST' AND substr(token_id, 1, 4) = 'att_')"
        )
        return [Sent.read(meta, token) for meta, token in self.rows(sql, f"%{INTENT_KEY}%")]

    def is_executing(self) -> bool:
        """Return whether a write was just accepted and is not executed yet."""
        sql = (
            "SELECT 1 FROM requests WHERE decision = 'accepted' AND applied_at IS NULL"
            " AND answered_at IS NULL AND meta LIKE ? AND received_at > ?"
        )
        return bool(self.rows(sql, f"%{INTENT_KEY}%", time.time() - 5))

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _add_sales(self) -> None:
        numbers = range(FIRST_SALE, FIRST_SALE + SALES)
        with closing(sqlite3.connect(self.file)) as database, database:
            database.executemany(_LEADS, [(n, f"matrix{n}@example.com") for n in numbers])
            sales = [(n, n, f"matrix{n}@example.com") for n in numbers]
            database.executemany(_SALES, sales)


@dataclass(frozen=True, slots=True)
class Sent:
    """The write that a request names: by its `meta`, and a raw one by the id of its token alone."""

    intent: str
    attempt: str
    line: int
    hash: str

    @classmethod
    def read(cls, meta: str | None, token: str | None) -> Sent:
        named = json.loads(meta or "{}") or {}
        return cls(
            intent=str(named.get(INTENT_KEY, "")),
            attempt=str(named.get(ATTEMPT_KEY, "") or token or ""),
            line=int(named.get(LINE_KEY, 0)),
            hash=str(named.get(HASH_KEY, "")),
        )


def _make_execution(
    sent: Sent, effect: Mapping[str, Any], at: float, received_at: float
) -> Execution:
    given, lead = effect["arguments"], effect.get("lead") or {}
    return Execution(
        intent=sent.intent,
        attempt=sent.attempt,
        operation=str(effect["cmd"]),
        target=str(given.get("transaction_id") or lead.get("id") or ""),
        amount=Decimal(str(given.get("refund_amount") or CENTS / 100)),
        at=at,
        line=sent.line,
        hash=sent.hash,
        received_at=received_at,
    )
