"""One ledger for one account: none vanishes unnoticed under a server, and none serves two."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from consent_actors import sandbox, twice
from harness import Sandbox, StandIn, action, call, connect, healthy

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.onboarding.doctor.checks import check_ledger_and_clock
from kartra_mcp.settings import read_settings
from tests.ledger_intents import attempt, intent, rewritten, run

pytestmark = pytest.mark.anyio

REFUND, TAG = "kartra_refund_transaction", "kartra_assign_tag"
SALE = {"transaction_id": 7, "confirm": True}
NUMBER = {"type": "object", "properties": {"transaction_id": {"type": "integer"}}}


@pytest.fixture
def place(fake_membrane: StandIn) -> StandIn:
    fake_membrane.settings = {"GATE_IRREVERSIBLE": "flag", "RATE": "0"}
    return fake_membrane.plan(**healthy(action("refund-transaction", inputSchema=NUMBER)))


def remove_folder(state: Path, _: Path) -> None:
    shutil.rmtree(state)


def remove_content(state: Path, _: Path) -> None:
    for file in state.iterdir():
        shutil.rmtree(file) if file.is_dir() else file.unlink()


def replace_by_empty_ledger(state: Path, _: Path) -> None:
    remove_content(state, state)
    with closing(open_ledger(state)) as other:
        other.append_note("start", {})


def put_copy_back(state: Path, copy: Path) -> None:
    shutil.rmtree(state)
    shutil.copytree(copy, state)


GONE: dict[str, Callable[[Path, Path], None]] = {
    "the folder is removed": remove_folder,
    "its content is removed": remove_content,
    "another server began an empty ledger": replace_by_empty_ledger,
    "an older copy is put back": put_copy_back,
}


@pytest.mark.parametrize("name", GONE)
async def test_a_ledger_that_vanished_while_it_was_served_is_not_begun_anew(
    place: StandIn, name: str, tmp_path: Path
):
    """An empty ledger took its place, and the same refund ran again."""
    state = place.folder / "state"
    async with connect(place, "legacy") as client:
        assert not (await call(client, REFUND, transaction_id=6, confirm=True)).failed
        with closing(open_ledger(state)) as ledger:
            ledger.require_writable()
        shutil.copytree(state, tmp_path / "copy")
        assert not (await call(client, REFUND, **SALE)).failed
        runs = len(place.runs())
        GONE[name](state, tmp_path / "copy")
        for _ in range(2):
            answer = await call(client, REFUND, **SALE)
            assert (answer.code, answer.executed) == ("ledger_unavailable", "no"), answer.text
            assert "not the ledger that this server used" in answer.error["message"]
            assert "check in Kartra" in answer.error["remedy"]
        assert len(place.runs()) == runs
        status = (await call(client, "kartra_status")).result
        assert (status["ledger"]["usable"], status["healthy"]) == (False, False)
        assert "this server saw" in status["ledger"]["problem"] or "gone" in str(status["ledger"])


def test_a_ledger_that_the_user_replaced_is_used_on(tmp_path: Path):
    with closing(open_ledger(tmp_path)) as server, closing(open_ledger(tmp_path)) as user:
        run(server, intent("1"))
        rewritten(tmp_path, "UPDATE lines SET kind = 'start' WHERE n = 2")
        assert attempt(server, "2") == "ledger_unavailable"
        user.replace_damaged()
        user.close()
        assert attempt(server, "2") == "runs"


def test_an_earlier_replacement_is_not_taken_for_a_new_one(tmp_path: Path):
    state, copy, now = tmp_path / "state", tmp_path / "copy", time.time()
    with closing(open_ledger(state)) as user:
        run(user, intent("1"))
        rewritten(state, "UPDATE lines SET kind = 'start' WHERE n = 2")
        user.replace_damaged()
    shutil.copytree(state, copy)
    with closing(open_ledger(state, lambda: now + 60)) as server:
        run(server, intent("2"))
        server.close()
        put_copy_back(state, copy)
        assert attempt(server, "2") == "ledger_unavailable"


async def test_the_sandbox_and_a_real_account_have_a_ledger_each(place: StandIn, tmp_path: Path):
    rehearsal = sandbox(tmp_path / "state", GATE_IRREVERSIBLE="flag")
    place.settings["STATE_DIR"] = str(tmp_path / "state")
    async with connect(rehearsal, "legacy") as client:
        assert not (await twice(client, REFUND, transaction_id=101, repeat=True)).failed
    async with connect(place, "legacy") as client:
        assert (await call(client, "kartra_ledger")).result["lines"] == []
        assert not (await call(client, REFUND, transaction_id=101, confirm=True)).failed
    assert len(place.runs()) == 1
    async with connect(rehearsal, "legacy") as client:
        (line,) = (await call(client, "kartra_ledger")).result["lines"]
    assert line["target"] == "101"


@pytest.mark.parametrize("first", ["sandbox", "real"])
async def test_a_ledger_of_one_kind_of_account_takes_no_write_of_the_other(
    place: StandIn, first: str, tmp_path: Path
):
    """The folder of the sandbox's ledger, set for a real account, or the other way round."""
    folder = tmp_path / "state" / "sandbox"
    rehearsal = sandbox(tmp_path / "state", GATE_IRREVERSIBLE="flag")
    place.settings |= {"STATE_DIR": str(folder), "CONNECTION": "c1"}
    calls: list[tuple[Sandbox | StandIn, dict[str, int]]] = [
        (rehearsal, {"transaction_id": 101}),
        (place, {"transaction_id": 7}),
    ]
    (one, given), (other, refused) = calls if first == "sandbox" else calls[::-1]
    async with connect(one, "legacy") as client:
        assert not (await call(client, REFUND, **given, confirm=True)).failed
    (folder / "served.json").unlink()  # else `several_connections` refuses it before
    async with connect(other, "legacy") as client:
        runs = len(other.runs())
        answer = await call(client, REFUND, **refused, confirm=True)
        assert (answer.code, answer.executed) == ("ledger_unavailable", "no"), answer.text
        assert "KARTRA_MCP_STATE_DIR" in answer.error["remedy"]
        assert (await call(client, "kartra_status")).result["ledger"]["usable"] is False
        assert len(other.runs()) == runs
    settings = read_settings({}, other.environment)
    (found, *_) = check_ledger_and_clock(settings, time.time(), usable=True)
    assert (found.state, "Writes are refused" in found.message) == ("failed", True)
    with closing(open_ledger(folder, account=settings.account_kind)) as ledger:
        assert "has the ledger of" in ledger.verify().refused
        with pytest.raises(RefusedError):
            ledger.require_writable()
