"""Migrations of the ledger: a ledger of 0.1.0 opens, verifies and keeps its rules."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from consent_actors import ledger_folder, sandbox
from harness import call, connect
from page_client import served

from kartra_mcp.cli.main import run_command
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.file_locks import exclusive_lock
from kartra_mcp.ledger import confirmations
from kartra_mcp.ledger.hash_chain import dump_canonical
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.records import Binding, StoredQuestion
from kartra_mcp.ledger.sqlite import schema
from kartra_mcp.ledger.sqlite.store import open_ledger

FIXTURE = Path(__file__).parent / "fixtures" / "ledger-0.1.0"
WRITTEN_AT = 1795942080.0
ENTRIES = 20
STATES = ["succeeded", "succeeded", "unknown", "succeeded", "failed"]
BINDING = Binding("kartra_refund_transaction", "digest", "c", "2026", "a", "r1", "p")
FACTS = "0123456789abcdef" * 4
ENTRIES_BY_CONSENT = (
    "SELECT json_extract(l.body, '$.consent'), i.id FROM intents i JOIN lines l ON l.n = i.line"
)
OLD_ROW = "INSERT INTO confirmations VALUES (?, 'question', ?, 'any', ?, ?, ?, NULL)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURE, tmp_path / "state"))


def again(folder: Path, at: float = WRITTEN_AT) -> Ledger:
    return open_ledger(folder, lambda: at, wait=0.2)


def select(folder: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """The rows of SQL on the file itself, committed."""
    with closing(sqlite3.connect(folder / "ledger.db")) as db, db:
        return db.execute(sql, values).fetchall()


def dump(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "ledger.db")) as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        return [f"version {version}", *db.iterdump()]


def use(folder: Path) -> None:
    with closing(again(folder)) as ledger:
        ledger.current_time()


def refusal(of: Callable[[], object]) -> RefusedError:
    with pytest.raises(RefusedError) as refused:
        of()
    return refused.value


def add_question(folder: Path, id_: str, packed: str | bytes) -> None:
    """Add a question as 0.1.0 stored it, asked when the fixture was written."""
    binding = dump_canonical(asdict(BINDING))
    values = (confirmations.hash_text(id_), binding, packed, WRITTEN_AT, WRITTEN_AT + 300)
    select(folder, OLD_ROW, *values)


def test_every_migration_has_a_number_and_a_sentence():
    assert [step.number for step in schema.MIGRATIONS] == list(range(1, schema.VERSION + 1))
    assert all(
        step.sentence[0].isupper() and step.sentence[-1] == "." for step in schema.MIGRATIONS
    )


def test_the_fixture_is_of_the_first_version(folder: Path):
    assert select(folder, "PRAGMA user_version") == [(1,)]


def test_an_old_ledger_is_migrated_and_its_chain_stays(folder: Path):
    lines = select(folder, "SELECT * FROM lines ORDER BY n")
    head = (folder / "ledger.head").read_bytes()
    with closing(again(folder)) as ledger:
        report = ledger.verify()
        assert (report.ok, report.count, report.why) == (True, ENTRIES, "")
    assert select(folder, "SELECT * FROM lines ORDER BY n") == lines
    assert len(lines) == ENTRIES
    assert (folder / "ledger.head").read_bytes() == head
    assert select(folder, "PRAGMA user_version") == [(schema.VERSION,)]


def test_a_migrated_ledger_has_the_tables_of_a_new_one(folder: Path, tmp_path: Path):
    sql = "SELECT type, name, sql FROM sqlite_master ORDER BY name"
    use(folder)
    use(tmp_path / "new")
    assert select(folder, sql) == select(tmp_path / "new", sql)


def test_a_migrated_ledger_is_not_migrated_again(folder: Path):
    use(folder)
    before = dump(folder)
    use(folder)
    assert dump(folder) == before


def test_an_old_ledger_shows_its_entries_and_approvals(folder: Path):
    with closing(again(folder)) as ledger:
        entries = ledger.export()
        assert [entry["state"] for entry in entries] == STATES
        approvals = [ledger.approvals.get(number) for number in (1, 2, 3)]
        states = [approval.state for approval in approvals if approval is not None]
        assert states == ["approved", "declined", "pending"]
        assert ledger.pins.check("135790", "ada")
        decisions = [decision.event for decision in ledger.list_decisions(20)]
        assert "approval_declined" in decisions


def test_new_entries_follow_the_old_ones(folder: Path):
    with closing(again(folder)) as ledger:
        ledger.append_note("start", {"program": "a test"})
        report = ledger.verify()
    assert (report.ok, report.count) == (True, ENTRIES + 1)


@pytest.mark.anyio
async def test_an_equal_refund_is_already_done(tmp_path: Path):
    place = sandbox(tmp_path, GATE_IRREVERSIBLE="preview")
    shutil.copytree(FIXTURE, ledger_folder(place), dirs_exist_ok=True)
    async with connect(place, "2026-07-28") as client:
        first = select(ledger_folder(place), "SELECT id FROM intents WHERE target = '101'")
        answer = await call(client, "kartra_refund_transaction", transaction_id=101)
        unknown = await call(client, "kartra_refund_transaction", transaction_id=104)
    assert (answer.code, answer.executed) == ("already_done", "no")
    assert answer.error["first"]["intent"] == first[0][0]
    assert (unknown.code, unknown.executed) == ("outcome_unknown", "no")


def test_the_page_shows_an_old_write_with_its_approval(tmp_path: Path):
    place = sandbox(tmp_path)
    shutil.copytree(FIXTURE, ledger_folder(place), dirs_exist_ok=True)
    with served(place) as page:
        visitor = page.visitor()
        done = visitor.get("/done").text
        intents = dict(select(ledger_folder(place), ENTRIES_BY_CONSENT))
        story = visitor.get(f"/done/{intents['approval']}")
    assert all(intent in done for intent in intents.values())
    assert story.status == 200
    assert "the buyer asked" in story.text


def test_the_command_shows_an_old_ledger(folder: Path, capsys: pytest.CaptureFixture[str]):
    place = ["--state-dir", str(folder)]
    assert run_command(["ledger", "list", "--json", *place]) == 0
    listed = json.loads(capsys.readouterr().out)["lines"]
    assert [entry["state"] for entry in listed] == STATES[::-1]
    approved = next(entry for entry in listed if entry["consent"] == "approval")
    assert approved["confirmation"] == "approval 1"
    assert run_command(["ledger", "show", approved["intent"], *place]) == 0
    assert "approval 1" in capsys.readouterr().out
    assert run_command(["ledger", "verify", *place]) == 0


@pytest.mark.parametrize("typed", ["", "97.00", "two words"])
def test_an_open_question_keeps_its_values(folder: Path, typed: str):
    add_question(folder, "an id", f"{FACTS} {WRITTEN_AT} 2 {typed}")
    with closing(again(folder)) as ledger:
        stored = ledger.consents.validate_question("an id", BINDING)
    assert stored == StoredQuestion(FACTS, WRITTEN_AT, 2, typed)


@pytest.mark.parametrize("packed", ["", "facts", f"{FACTS} soon 1 ", f"{FACTS} 1.0 x ", FACTS])
def test_a_question_that_cannot_be_read_has_expired(folder: Path, packed: str):
    add_question(folder, "an id", packed)
    with closing(again(folder)) as ledger:
        refused = refusal(lambda: ledger.consents.validate_question("an id", BINDING))
    assert refused.code == "confirmation_expired"


def test_the_questions_of_the_fixture_are_unpacked(folder: Path):
    use(folder)
    sql = "SELECT asked_at, question_number, typed_confirmation FROM confirmations WHERE kind = ?"
    questions = sorted(select(folder, sql, "question"))
    unpacked = [(number, typed) for _, number, typed in questions]
    assert unpacked == [
        (1, "201"),
        (1, "97.00"),
        (1, "49.00"),
    ]
    assert set(select(folder, sql, "two_step")) == {(None, None, None)}


def test_a_migration_that_fails_leaves_the_file_as_it_was(folder: Path):
    select(folder, OLD_ROW, "hash", "{}", "text", 0, 0)
    select(folder, "UPDATE confirmations SET summary = CAST(x'ff' AS TEXT) WHERE hash = 'hash'")
    before = (folder / "ledger.db").read_bytes()
    with closing(again(folder)) as ledger:
        refused = refusal(ledger.current_time)
    assert (refused.code, str(refused.executed)) == ("ledger_unavailable", "no")
    assert (folder / "ledger.db").read_bytes() == before
    assert select(folder, "PRAGMA user_version") == [(1,)]


def test_a_damaged_ledger_is_not_migrated(folder: Path):
    select(folder, "DROP TRIGGER lines_stay")
    before = dump(folder)
    with closing(again(folder)) as ledger:
        assert refusal(ledger.current_time).code == "ledger_unavailable"
        assert ledger.verify().why == "its tables were altered"
    assert dump(folder) == before


def test_a_migration_waits_for_a_running_write(folder: Path):
    before = dump(folder)
    with exclusive_lock(folder / "ledger.turn", 1), closing(again(folder)) as ledger:
        assert refusal(ledger.current_time).code == "ledger_unavailable"
        assert dump(folder) == before
    use(folder)
    assert select(folder, "PRAGMA user_version") == [(schema.VERSION,)]
