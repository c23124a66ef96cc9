"""The jobs over a real ledger: verify, anchor, evidence, and what each of them notices."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from timestamp_authority import Authority, served

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.timings import Clocks
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.sqlite.store import SQLiteStore
from kartra_mcp.team.ledger_jobs import LedgerJobs, make_jobs, write_evidence
from kartra_mcp.team.ledger_source import StoreSource
from kartra_mcp.team.loading import Team
from kartra_mcp.team.offline_verifier import Bundle
from kartra_mcp.team.team_file import parse_team_file

TEAM = """\
public_url: https://kartra.example.com
database: postgresql://kartra_app@db.example.com/kartra
issuers: [{issuer: https://login.example.com, roles: {support: operator}}]
accounts:
  main:
    membrane: {workspace_key: w, workspace_secret_file: s, tenant_key: t, connection: c}
anchor: {directory: anchors, url: URL}
"""


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    with served() as found:
        yield found


def append(store: SQLiteStore, count: int) -> None:
    ledger = Ledger(store)
    for number in range(count):
        ledger.append_note("look", {"intent": f"i{number}"})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    with closing(SQLiteStore(tmp_path / "ledger", Clocks())) as made:
        append(made, 5)
        yield made


@pytest.fixture
def jobs(tmp_path: Path, store: SQLiteStore, authority: Authority) -> LedgerJobs:
    text = TEAM.replace("URL", authority.url)
    team = Team(tmp_path / "team.yaml", parse_team_file(text), {})
    return make_jobs(team, "main", StoreSource(store), tmp_path / "state")


def test_an_anchored_ledger_is_valid_and_the_newer_entries_are_counted(
    jobs: LedgerJobs, store: SQLiteStore
):
    made = jobs.anchor(1.0)
    assert (made.head.count, made.added, made.timestamp, made.problem) == (5, True, True, None)
    append(store, 2)
    report = jobs.verify()
    assert (report.ok, report.count, report.anchors, report.anchored) == (True, 7, 2, 5)
    again = jobs.anchor(2.0)
    assert (again.head.count, again.added) == (7, True)


def test_the_same_head_is_anchored_once(jobs: LedgerJobs, authority: Authority):
    jobs.anchor(1.0)
    before = authority.requests
    again = jobs.anchor(2.0)
    assert (again.added, again.timestamp) == (False, True)
    assert authority.requests == before
    assert sorted(receipt.name for receipt in jobs.folder.iterate()) == [
        "000000000005.json",
        "000000000005.tsr",
    ]


def test_an_authority_that_fails_leaves_the_receipt_and_is_asked_again(
    jobs: LedgerJobs, authority: Authority
):
    authority.fault = "503"
    made = jobs.anchor(1.0)
    authority.fault = ""
    assert made.added
    assert made.problem is not None
    assert made.problem.as_dict()["executed"] == "no"
    again = jobs.anchor(2.0)
    assert (again.added, again.timestamp, again.problem) == (False, True, None)


def test_a_ledger_without_entries_is_not_anchored(
    tmp_path: Path, jobs: LedgerJobs, store: SQLiteStore
):
    with closing(SQLiteStore(tmp_path / "other", Clocks())) as empty:
        made = make_jobs(jobs.team, "main", StoreSource(empty), tmp_path / "state")
        anchored = made.anchor(1.0)
        assert (anchored.head.count, anchored.added, anchored.timestamp) == (0, False, False)
    assert not jobs.folder.path.exists()


def replace_ledger(tmp_path: Path, jobs: LedgerJobs, count: int) -> LedgerJobs:
    """Return the jobs on another ledger in the place of the first, as after a restore."""
    other = SQLiteStore(tmp_path / f"restored-{count}", Clocks())
    append(other, count)
    return make_jobs(jobs.team, "main", StoreSource(other), tmp_path / "state")


@pytest.mark.parametrize("count", [3, 5, 9])
def test_another_history_is_found_and_never_anchored(tmp_path: Path, jobs: LedgerJobs, count: int):
    jobs.anchor(1.0)
    restored = replace_ledger(tmp_path, jobs, count)
    report = restored.verify()
    assert not report.ok
    assert report.fault is not None
    assert report.fault.n == min(count + 1, 5)
    with pytest.raises(RefusedError, match="Nothing was anchored"):
        restored.anchor(2.0)


def test_a_head_that_this_machine_saw_is_missed_without_any_anchor(
    tmp_path: Path, jobs: LedgerJobs
):
    assert jobs.verify().ok
    report = replace_ledger(tmp_path, jobs, 4).verify()
    assert report.fault is not None
    assert report.fault.n == 5
    assert "5 was seen before" in report.fault.why


def test_a_machine_that_cannot_remember_a_head_reports_that(tmp_path: Path, jobs: LedgerJobs):
    (tmp_path / "state").write_text("a file where the folder should be")
    report = jobs.verify()
    assert (report.ok, report.remembered) == (True, False)


def test_a_changed_entry_is_named(tmp_path: Path, jobs: LedgerJobs):
    jobs.anchor(1.0)
    with closing(sqlite3.connect(tmp_path / "ledger" / "ledger.db")) as db, db:
        db.execute("DROP TRIGGER lines_stay")
        db.execute("UPDATE lines SET body = '{}' WHERE n = 3")
    report = jobs.verify()
    assert report.fault is not None
    assert (report.fault.n, report.ok) == (3, False)


def test_evidence_of_a_ledger_passes_its_own_verifier(tmp_path: Path, jobs: LedgerJobs):
    jobs.anchor(1.0)
    made = write_evidence(jobs.team, [jobs], tmp_path / "evidence", 3.0)
    bundle = Bundle(made.folder)
    bundle.check()
    assert bundle.faults == []
    assert (made.ledgers["main"].count, made.anchors) == (5, 2)
