"""`kartra-mcp sandbox reset`: the rehearsal begins again; no real account's ledger is lost."""

from __future__ import annotations

import subprocess
from contextlib import closing
from pathlib import Path

import command_line
import pytest
from consent_actors import confirmed, sandbox, twice
from harness import Sandbox, call, connect_stdio
from page_client import end

from kartra_mcp.ledger.sqlite.store import open_ledger
from tests.ledger_intents import intent, run

pytestmark = pytest.mark.anyio

REFUND, SALE = "kartra_refund_transaction", {"transaction_id": 101}


def reset(place: Sandbox) -> subprocess.CompletedProcess[str]:
    words = ["sandbox", "reset", "--state-dir", str(place.folder)]
    return command_line.run(words, env=place.environment)


async def refund(place: Sandbox) -> str:
    async with connect_stdio(place, "legacy") as client:
        answer = await call(client, REFUND, **SALE)
        if answer.code == "confirmation_required":
            answer = await call(client, REFUND, **SALE, **confirmed(answer))
    return answer.code if answer.failed else "refunded"


async def test_after_a_reset_the_same_refund_runs_again(tmp_path: Path):
    """The account was new, but the ledger answered `already_done` for 101 and 102."""
    place = sandbox(tmp_path / "state")
    assert [await refund(place), await refund(place)] == ["refunded", "already_done"]
    with closing(open_ledger(place.folder / "sandbox", account="sandbox")) as ledger:
        ledger.pins.set("correct horse", "ada")
    done = reset(place)
    assert done.returncode == 0, done.stderr
    (old,) = (place.folder / "sandbox").glob("ledger-*.db")
    ledger_line, account = done.stdout.splitlines()
    assert account == f"The sandbox account is new: {place.file}"
    assert "no PIN. Choose a PIN again" in ledger_line
    assert f"The old one is kept as {old.name}." in ledger_line
    assert place.rows("SELECT * FROM transactions WHERE parent_id = 101") == []
    with closing(open_ledger(place.folder / "sandbox", account="sandbox")) as ledger:
        assert not ledger.pins.is_set()
        assert ledger.verify().ok
    assert await refund(place) == "refunded"


async def test_a_reset_ends_the_page_which_holds_the_ledger(tmp_path: Path):
    place = sandbox(tmp_path / "state", PAGE="on", GATE_IRREVERSIBLE="human")
    try:
        async with connect_stdio(place, "legacy") as client:
            assert (await call(client, REFUND, **SALE)).code == "approval_required"
        done = reset(place)
    finally:
        end(place)
    assert done.returncode == 0, done.stderr
    assert "The page was ended.\n" in done.stdout


async def test_a_ledger_in_use_is_not_reset_and_neither_is_the_account(tmp_path: Path):
    place = sandbox(tmp_path / "state")
    async with connect_stdio(place, "legacy") as client:
        assert not (await twice(client, REFUND, **SALE)).failed
        before = place.dump()
        done = reset(place)
    assert done.returncode == 1
    assert "has the ledger open. Nothing was changed." in done.stderr
    assert f"`kartra-mcp sandbox reset --state-dir {place.folder}` again" in done.stderr
    assert f"`kartra-mcp page --end --sandbox --state-dir {place.folder}`" in done.stderr
    assert place.dump() == before


def test_the_ledger_of_a_real_account_is_never_reset(tmp_path: Path):
    """A real account whose state folder is called `sandbox`, below that of the rehearsal."""
    place = sandbox(tmp_path / "state")
    with closing(open_ledger(place.folder / "sandbox", account="real")) as ledger:
        run(ledger, intent("1"))
    content, before = (place.folder / "sandbox" / "ledger.db").read_bytes(), place.dump()
    done = reset(place)
    assert done.returncode == 1
    assert "has the ledger of a real account" in done.stderr
    assert (place.folder / "sandbox" / "ledger.db").read_bytes() == content
    assert place.dump() == before


def test_the_ledger_of_the_real_account_above_the_sandbox_is_left_alone(tmp_path: Path):
    place = sandbox(tmp_path / "state")
    with closing(open_ledger(place.folder, account="real")) as ledger:
        run(ledger, intent("1"))
    content = (place.folder / "ledger.db").read_bytes()
    done = reset(place)
    assert (done.returncode, "There was no ledger yet" in done.stdout) == (0, True)
    assert (place.folder / "ledger.db").read_bytes() == content


def test_a_reset_that_stops_at_the_account_reports_the_new_ledger(tmp_path: Path):
    place = sandbox(tmp_path / "state")
    folder = place.folder / "sandbox"
    with closing(open_ledger(folder, account="sandbox")) as ledger:
        run(ledger, intent("1"))
    place.file.unlink(missing_ok=True)
    place.file.mkdir()
    done = reset(place)
    assert done.returncode == 1
    assert "The ledger is new" in done.stdout
    assert "The sandbox account is new" not in done.stdout
    assert "account" in done.stderr
    assert list(folder.glob("ledger-*.db"))
