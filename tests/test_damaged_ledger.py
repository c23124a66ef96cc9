"""An altered ledger: no write runs on it, and status, doctor and verify report the same."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from harness import Sandbox, call, connect

from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.onboarding.doctor.checks import check_ledger_and_clock
from kartra_mcp.settings import read_settings
from tests.consent_actors import confirmed
from tests.ledger_intents import (
    BINDING,
    LIMITS,
    attempt,
    intent,
    rewritten,
    run,
    two_step,
)

REFUND, TAG, SALE = "kartra_refund_transaction", "kartra_assign_tag", {"transaction_id": 101}

# Each alteration makes the ledger admit something that it must refuse.
ALTERED = {
    "the target of an old line": "UPDATE lines SET body = replace(body, '101', '901')",
    "the outcome of an old line": "UPDATE lines SET body = replace(body, 'succeeded', 'failed')",
    "the time of an old line": "UPDATE lines SET at = at - 9000000 WHERE n = 2",
    "the kind of an old line": "UPDATE lines SET kind = 'start' WHERE kind = 'intent'",
    "the target of a derived row": "UPDATE intents SET target = '901'",
    "the connection of a derived row": "UPDATE intents SET connection = 'other'",
    "the state of a derived row": "UPDATE intents SET state = 'failed'",
    "the amount of a derived row": "UPDATE intents SET amount = '1', known_amount = '1'",
    "the time of a derived row": "UPDATE intents SET at = at - 9000000",
    "the risk of a derived row": "UPDATE intents SET risk = 1",
    "a derived row that is gone": "DELETE FROM intents",
    "a used confirmation that is free again": "UPDATE confirmations SET used_by = NULL",
}


def rows(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / "ledger.db", isolation_level=None)) as db:
        db.execute(statement)


MORE = {"CAP_DAY_COUNT": "100"}


@pytest.fixture(scope="module")
def refunded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with a refund, and so many newer lines that the newest show nothing."""
    place = Sandbox(tmp_path_factory.mktemp("refunded") / "state", MORE)

    async def make() -> None:
        async with connect(place, "legacy") as client:
            preview = await call(client, REFUND, **SALE)
            assert not (await call(client, REFUND, **SALE, **confirmed(preview))).failed
            for _ in range(40):
                given = {"lead_id": 48129, "tag_name": "VIP", "confirm": True}
                await call(client, "kartra_unassign_tag", **given)

    anyio.run(make)
    return place.folder


@pytest.fixture
def place(refunded: Path, tmp_path: Path) -> Sandbox:
    """A copy of that folder, checked and sealed: only what a test alters is new to the ledger."""
    shutil.copytree(refunded, tmp_path / "state")
    with closing(open_ledger(tmp_path / "state" / "sandbox")) as ledger:
        ledger.require_writable()
    return Sandbox(tmp_path / "state", MORE)


@pytest.mark.anyio
@pytest.mark.parametrize("while_served", [True, False])
@pytest.mark.parametrize("name", ALTERED)
async def test_no_write_runs_on_an_altered_ledger(name: str, while_served, place: Sandbox):
    """An equal full refund ran again while verify and doctor reported refused writes."""
    folder = place.folder / "sandbox"
    if not while_served:
        rewritten(folder, ALTERED[name])
    async with connect(place, "legacy") as client:
        if while_served:
            given = {"lead_id": 48129, "tag_name": "VIP", "confirm": True}
            assert not (await call(client, "kartra_unassign_tag", **given)).failed
            rewritten(folder, ALTERED[name])
        await require_refused(client, place)
    assert place.rows("SELECT cents FROM transactions WHERE parent_id = 101") == [(9700,)]
    (found, *_) = check_ledger_and_clock(
        read_settings({}, place.environment), time.time(), usable=True
    )
    assert found.state == "failed"
    assert "Writes are refused" in found.message
    with closing(open_ledger(folder)) as ledger:
        assert not ledger.verify().ok


@pytest.mark.skipif(
    sys.platform == "win32", reason="st_ctime is the time of creation there, so the seal lacks it"
)
@pytest.mark.anyio
@pytest.mark.parametrize("part", ["a line", "a derived row"])
async def test_an_alteration_whose_times_were_put_back_is_noticed(part: str, place: Sandbox):
    """Only doctor and verify noticed it: an equal full refund ran again."""
    file = place.folder / "sandbox" / "ledger.db"
    rows(file.parent, "PRAGMA wal_checkpoint(TRUNCATE)")
    with closing(open_ledger(file.parent)) as ledger:
        ledger.require_writable()  # seals the files as they are now
    before, content = file.stat(), file.read_bytes()
    old, new = ALTERED_BYTES[part]
    assert old in content
    with file.open("r+b") as opened:
        opened.write(content.replace(old, new))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    async with connect(place, "legacy") as client:
        await require_refused(client, place)
    (found, *_) = check_ledger_and_clock(
        read_settings({}, place.environment), time.time(), usable=True
    )
    assert found.state == "failed"
    with closing(open_ledger(file.parent)) as ledger:
        assert not ledger.verify().ok


ALTERED_BYTES = {
    "a line": (b'"target":"101"', b'"target":"901"'),
    "a derived row": (b"transaction101", b"transaction901"),
}
"""Bytes of the file, and others of the same length."""


async def require_refused(client, place: Sandbox) -> None:
    before = len(place.runs())
    for tool, given in ((REFUND, SALE), (TAG, {"lead_id": 48129, "tag_name": "VIP"})):
        answer = await call(client, tool, **given)
        assert (answer.code, answer.executed) == ("ledger_unavailable", "no"), answer.text
        assert "ledger verify" in answer.error["remedy"]
    assert len([r for r in place.runs()[before:] if r[2] == "67c41d8e9a02b35f716e4b31"]) == 0
    status = (await call(client, "kartra_status")).result
    assert (status["ledger"]["usable"], status["healthy"]) == (False, False)


def approved(ledger: Ledger) -> None:
    ledger.append_note("start", {})
    with ledger._store.write_transaction() as transaction:
        transaction.append(
            "consent", {"event": "approval_asked", "number": 1, "facts_digest": "d", "tool": "t"}
        )
        transaction.run(
            "INSERT INTO approvals (number, binding, summary, facts_digest, asked_at, expires_at,"
            " asked_by, state) VALUES (1, '{}', '', 'd', 0, 9e12, 'me', 'pending')"
        )


def wrong_pins(ledger: Ledger) -> None:
    ledger.pins.set("123456", "me")
    for _ in range(5):
        ledger.pins.check("654321", "me")


BESIDE: dict[str, tuple[Callable[[Ledger], object], str]] = {
    "an approval that nobody gave": (approved, "UPDATE approvals SET state = 'approved'"),
    "other facts in an approval": (approved, "UPDATE approvals SET facts_digest = 'e'"),
    "a decline that is gone": (lambda x: x.consents.block("key", "declined"), "DELETE FROM blocks"),
    "a decline that ended": (
        lambda x: x.consents.block("key", "declined"),
        "UPDATE blocks SET until = 0",
    ),
    "attempts at the PIN that are gone": (wrong_pins, "DELETE FROM pin_attempts"),
    "attempts at the PIN that were right": (wrong_pins, "UPDATE pin_attempts SET correct = 1"),
}


@pytest.mark.parametrize("name", BESIDE)
def test_what_decides_beside_the_intents_is_checked_against_its_lines(name: str, tmp_path: Path):
    arrange, statement = BESIDE[name]
    with closing(open_ledger(tmp_path)) as ledger:
        arrange(ledger)
        run(ledger, intent("1"))
        assert ledger.verify().ok
        rows(tmp_path, statement)
        assert attempt(ledger, "2") == "ledger_unavailable"
        assert not ledger.verify().ok


def test_commits_of_other_processes_are_not_alterations(tmp_path: Path):
    with closing(open_ledger(tmp_path)) as one, closing(open_ledger(tmp_path)) as other:
        for number in range(6):
            wanted = two_step(one if number % 2 else other)
            wanted = intent(str(number), consent="two_step", confirmation_id=wanted.confirmation_id)
            (one if number % 2 else other).begin(wanted, LIMITS, BINDING)
            assert json.loads((tmp_path / "ledger.seal").read_text())
        assert one.verify().ok
