"""State and last use of each account: read from the state folders without a trace in them."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from agency import CURSOR, SEVEN, Agency
from ledger_intents import LIMITS, intent

from kartra_mcp.ledger.records import FinalState
from kartra_mcp.ledger.sqlite.inspection import inspect_ledger
from kartra_mcp.ledger.sqlite.store import open_ledger


@pytest.fixture
def agency(tmp_path: Path) -> Iterator[Agency]:
    made = Agency(tmp_path / "home")
    yield made
    made.close()


Arrange = Callable[[Agency, Path], object]


def called_at(seconds: float) -> Arrange:
    return lambda agency, folder: agency.call_at(folder, seconds)


def wrote_at(seconds: float, state: FinalState = "succeeded") -> Arrange:
    return lambda agency, folder: agency.record(folder, "con_acme", state, seconds)


def crashed_at(seconds: float) -> Arrange:
    """A server that was killed leaves the log of its database, and its write without an end."""

    def arrange(agency: Agency, folder: Path) -> None:
        agency.record(folder, "con_acme", at=seconds - 60)
        copy = folder.with_name("copy")
        with closing(open_ledger(folder, lambda: seconds)) as ledger:
            running = ledger.begin(intent("9", connection="con_acme"), LIMITS)
            shutil.copytree(folder, copy)
            running.close()
        shutil.rmtree(folder)
        copy.rename(folder)
        assert (folder / "ledger.db-wal").stat().st_size > 0

    return arrange


def without_its_index(agency: Agency, folder: Path) -> None:
    crashed_at(SEVEN)(agency, folder)
    (folder / "ledger.db-shm").unlink()


def damaged(agency: Agency, folder: Path) -> None:
    agency.record(folder, "con_acme", at=SEVEN)
    (folder / "ledger.db").write_bytes(b"no database at all" * 100)


def of_another_program(agency: Agency, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / "ledger.db")) as db:
        db.execute("CREATE TABLE other (x)")


def altered(script: str) -> Arrange:
    """Let another program alter the tables of a ledger, whose triggers would refuse it."""

    def arrange(agency: Agency, folder: Path) -> None:
        agency.record(folder, "con_acme", at=SEVEN)
        with closing(sqlite3.connect(folder / "ledger.db")) as db:
            triggers = db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
            for (name,) in triggers.fetchall():
                db.execute(f'DROP TRIGGER "{name}"')
            db.executescript(script)

    return arrange


VIEW_WITHOUT_END = """
DROP TABLE lines;
CREATE VIEW lines AS WITH RECURSIVE endless(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM endless)
SELECT n, n AS at FROM endless;
"""


def pipe(name: str) -> Arrange:
    def arrange(agency: Agency, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        os.mkfifo(folder / name)

    return arrange


def broken_files(agency: Agency, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "served.json").write_text("[")
    (folder / "actions-0.json").write_text('{"connection": {"id": 5}}')
    (folder / "actions-1.json").write_text("[]")
    (folder / "actions-2.json").write_text('{"connection": {"id": "con_acme", "name": 5}}')


USES: dict[str, tuple[tuple[Arrange, ...], float | None, int, list[str]]] = {
    "never": ((), None, 0, []),
    "a call": ((called_at(SEVEN),), SEVEN, 0, []),
    "a write": ((wrote_at(SEVEN),), SEVEN, 0, []),
    "a read after a write": ((wrote_at(SEVEN), called_at(SEVEN + 9)), SEVEN + 9, 0, []),
    "a note after a call": ((called_at(SEVEN), wrote_at(SEVEN + 9)), SEVEN + 9, 0, []),
    "an unknown write": ((wrote_at(SEVEN, "unknown"),), SEVEN, 1, []),
    "a killed server": ((crashed_at(SEVEN),), SEVEN, 1, []),
    "a log without its index": ((without_its_index,), None, 0, ["ledger"]),
    "a damaged ledger": ((damaged,), None, 0, ["ledger"]),
    "another database": ((of_another_program,), None, 0, ["ledger"]),
    "a time that is a text": ((altered("UPDATE lines SET at = 'x'"),), None, 0, ["ledger"]),
    "a time without a date": ((altered("UPDATE lines SET at = 9e999"),), None, 0, ["ledger"]),
    "an id that is a path": (
        (altered("UPDATE intents SET id = '../x', state = 'running'"),),
        *(None, 0, ["ledger"]),
    ),
    "a view without end": ((altered(VIEW_WITHOUT_END),), None, 0, ["ledger"]),
    "a pipe as ledger": ((pipe("ledger.db"),), None, 0, ["ledger"]),
    "pipes as files": ((pipe("served.json"), pipe("actions-0.json")), None, 0, []),
    "broken files": ((broken_files,), None, 0, []),
}


@pytest.mark.parametrize("case", USES)
def test_last_use_and_unknown_writes_leave_no_trace(agency: Agency, case: str):
    arranged, last_use, unknown, faults = USES[case]
    agency.connect("con_acme").write_entry(CURSOR, "acme", CONNECTION="con_acme")
    for arrange in arranged:
        arrange(agency, agency.state)
    before = agency.everything()
    told = agency.told()
    assert agency.everything() == before
    acme = told.account("acme")
    assert (acme["last_use"], acme["unknown_writes"]) == (last_use, unknown)
    assert told.kinds == faults
    shown = agency.list_accounts("--offline").stdout
    assert ("never" in shown) == (last_use is None)
    assert ("ledger list --state unknown" in shown) == bool(unknown)
    assert agency.everything() == before


def test_a_write_that_still_runs_is_not_unknown(agency: Agency):
    agency.connect("con_acme").write_entry(CURSOR, "acme", CONNECTION="con_acme")
    with closing(open_ledger(agency.state)) as ledger:
        running = ledger.begin(intent("9", connection="con_acme"), LIMITS)
        assert agency.told().account("acme")["unknown_writes"] == 0
        running.close()
    assert agency.told().account("acme")["unknown_writes"] == 1


def test_a_folder_that_cannot_be_opened_is_a_fault(tmp_path: Path):
    (tmp_path / "ledger.db").mkdir()
    assert inspect_ledger(tmp_path).problem


def test_nothing_is_written_on_a_machine_without_a_state_folder(agency: Agency):
    agency.connect().serve(CURSOR, "acme", "con_acme").serve(CURSOR, "beta", "con_beta")
    before = agency.everything()
    assert agency.list_as_process().returncode == 0
    assert agency.list_as_process("--offline", "--json").returncode == 0
    assert agency.everything() == before
    assert not agency.state.exists()
    assert agency.left_behind() == []
