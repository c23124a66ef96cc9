"""Cost of the ledger for a call, with ten thousand lines in it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import accounts
from benchmarks.stats import Row, in_turn, repeated
from benchmarks.team_database import team_database
from kartra_mcp.core.models import Executed, Risk
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.records import Answer, Binding, Intent, make_intent_id
from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.policy.limits import Limits

TITLE = "The ledger at 10,000 lines, and that of a team at 100,000"
ABOUT = (
    "Each intent has another transaction, and is written before the action and again after it, "
    "each time to the disk (`synchronous=FULL`). Two bare SQLite commits, made in turn with "
    'these, show the cost of the disk alone. "95 of 100" is the time that so many calls stay '
    "under. A bare commit of PostgreSQL is BEGIN, one INSERT into a table with a primary key, and "
    "COMMIT, by the same library over the same kind of connection; an INSERT alone, which commits "
    "itself in one trip to the server, is the row after it. With a standby, as a team's database "
    "should have one, each commit waits for a second server, here on the same machine."
)
LINES = 10_000
TIMES = 300
PROMISED = 0.010
MANY_LINES = 100_000
SHARE = 3.0
"""Bookkeeping of a call, by two bare commits of the same database."""
LIMITS = Limits(cap_day_count=None)
BINDING = Binding("kartra_refund_transaction", "digest", "c", "2026", "a", "r1", "p")
SUMMARY = "Refund FULL 97.00 of transaction 101 (Course) to 'Ada'"

targets = count(10_000_000)  # none of the history


def run() -> list[Row]:
    return [*run_file(), *run_team()]


def run_file() -> list[Row]:
    with (
        accounts.folder() as folder,
        closing(open_ledger(folder / "state")) as ledger,
        closing(bare_file(folder)) as bare_one,
    ):
        repeated(lambda: plain(ledger), LINES // 2)
        works = (partial(plain, ledger), partial(with_preview, ledger))
        bare, gated, disk = in_turn((*works, partial(two_commits, bare_one)), TIMES)
    return [
        Row("begin and finish", bare, "ms", PROMISED),
        Row("begin and finish, 95 of 100", bare, "ms", PROMISED, percent=95),
        Row("a previewed call: mint, check, begin, finish", gated, "ms", PROMISED),
        Row("a previewed call, 95 of 100", gated, "ms", percent=95),
        Row("two bare commits on this disk", disk, "ms"),
        Row("two bare commits, 95 of 100", disk, "ms", percent=95),
    ]


def run_team() -> list[Row]:
    """Measure the team's ledger against bare commits of the same PostgreSQL."""
    rows: list[Row] = []
    for lines, standby in ((LINES, False), (MANY_LINES, False), (MANY_LINES, True)):
        with team_database(lines, standby=standby) as team:
            works = (partial(plain, team.ledger), partial(with_preview, team.ledger))
            begun, gated, bare, inserts = in_turn(
                (*works, team.two_commits, team.two_inserts), TIMES
            )
        where = f"PostgreSQL at {lines:,} lines{' with a standby' if standby else ''}"
        share = median(begun) / median(bare)
        rows += [
            Row(f"{where}: begin and finish", begun, "ms"),
            Row(f"{where}: a previewed call", gated, "ms"),
            Row(f"{where}: two bare commits", bare, "ms"),
            Row(f"{where}: two inserts that commit themselves", inserts, "ms"),
            Row(f"{where}: begin and finish, by two bare commits", (share,), "×", SHARE),
        ]
    return rows


def plain(ledger: Ledger) -> None:
    done(ledger, intent())


def with_preview(ledger: Ledger) -> None:
    """Do all ledger work of a previewed and confirmed call."""
    minted = ledger.consents.issue(BINDING, SUMMARY, "facts")
    ledger.consents.validate(minted.id, BINDING, SUMMARY)
    done(ledger, intent(consent="two_step", confirmation_id=minted.id), BINDING)


def done(ledger: Ledger, wanted: Intent, burns: Binding | None = None) -> None:
    ledger.begin(wanted, LIMITS, burns)
    ledger.finish(wanted.id, Answer("succeeded", Executed.YES))


def intent(**more: Any) -> Intent:
    target = str(next(targets))
    return Intent(
        id=make_intent_id(),
        tool="kartra_refund_transaction",
        operation="refund_transaction",
        risk=Risk.IRREVERSIBLE,
        connection="c",
        target_kind="transaction",
        target=target,
        arguments_digest=f"arguments of {target}",
        amount=Decimal(97),
        known_amount=Decimal(97),
        actor="me",
        client="benchmarks 1",
        facts={"product": "Course"},
        **more,
    )


def two_commits(database: sqlite3.Connection) -> None:
    """Commit two rows to disk, one after the other, in an otherwise empty file."""
    for _ in range(2):
        database.execute("INSERT INTO line (body) VALUES (?)", ("x" * 500,))


def bare_file(folder: Path) -> sqlite3.Connection:
    """Open a file with the ledger's own settings."""
    database = sqlite3.connect(folder / "bare.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE line (n INTEGER PRIMARY KEY, body TEXT)")
    return database
