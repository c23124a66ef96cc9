"""Houses of the crash scenarios whose ledger is that of a team, in PostgreSQL.

Nothing proves at once that a killed server has ended: its intent runs until its right to send and
the time of the answer are over. `await_ends` waits for that.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import anyio
from bulk_crashes import API_POINTS, BulkAPIHouse
from crash_scenarios import APIHouse
from fault_server import POINTS, TEAM_POINTS
from ledger_stores import APP
from polling import wait_for
from postgres_server import PostgresServer, running_postgres
from team_server import VARIABLE, open_named

from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.postgres.migrations import migrate
from kartra_mcp.ledger.records import Filters

_ENDS_WITHIN = 60.0
_OF_A_FILE = frozenset({"begin_torn", "finish_torn", "fsync", "program_first", "program_alone"})
"""Points of the ledger's file, and of a program that a server starts."""
REFUND_POINTS = [*(point for point in POINTS if point not in _OF_A_FILE), *TEAM_POINTS]
RUN_POINTS = [*(point for point in API_POINTS if point not in _OF_A_FILE), *TEAM_POINTS]

UPSTREAM: tuple[tuple[str, ...], ...] = (
    (),
    ("slow", "--times=3"),
    ("killed", "--effect", "--times=2"),
    ("killed", "--effect", "--after=0.8", "--times=2"),
    ("queued", "--message=1", "--times=2"),
    ("delayed", "--message=1", "--times=2"),
    ("delayed", "--message=6", "--times=2"),
    ("hang", "--effect", "--times=1"),
)
"""Faults of the upstream: answers lost or late, effects late, requests received late."""


@dataclass
class TeamHouse(APIHouse):
    """The account behind Membrane's API, and a ledger in PostgreSQL.

    The seconds of the right to send and of its answer stand for 30 and 120.
    """

    dsn: str = ""
    account: str = ""
    send_seconds: float = 5.0
    answer_seconds: float = 1.0

    @property
    def ledger_words(self) -> str:
        return json.dumps([self.dsn, self.account, self.send_seconds, self.answer_seconds])

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, VARIABLE: self.ledger_words}

    @property
    def server_words(self) -> list[str]:
        return [str(Path(__file__).with_name("team_server.py"))]

    def open_ledger(self) -> Ledger:
        return open_named(self.ledger_words)

    async def await_ends(self, target: str | None = None) -> None:
        running = Filters(state="running", target=target)
        with closing(self.open_ledger()) as ledger:

            def is_over() -> bool:
                ledger.mark_orphans_unknown()
                return not ledger.export(running)

            waits = partial(wait_for, is_over, within=_ENDS_WITHIN, every=0.25)
            await anyio.to_thread.run_sync(waits)


class BulkTeamHouse(TeamHouse, BulkAPIHouse):
    """The same for bulk runs."""


H = TypeVar("H", bound=TeamHouse)


@dataclass
class TeamLedgers:
    """One PostgreSQL, with a ledger for each house."""

    server: PostgresServer

    def make(self, house: H) -> H:
        """Create the ledger of a house; return the house with it."""
        account = f"soak{secrets.token_hex(4)}"  # tests share a server
        migrate(self.server.dsn(), [account], APP)
        return replace(house, dsn=self.server.dsn(APP), account=account)


@contextmanager
def team_ledgers() -> Generator[TeamLedgers]:
    # `synchronous_commit` stays on: a killed server is no crash of the database.
    off = dict.fromkeys(("fsync", "full_page_writes"), "off")
    with (
        TemporaryDirectory(prefix="kartra-mcp-soak-") as folder,
        running_postgres(Path(folder) / "data", **off) as server,
    ):
        server.run_sql(f"CREATE ROLE {APP} LOGIN")
        yield TeamLedgers(server)
