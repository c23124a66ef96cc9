"""Group commit: writes that wait together share a commit, and each gets its own result."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.file_locks import exclusive_lock
from kartra_mcp.core.models import Risk
from kartra_mcp.ledger import group_commit
from kartra_mcp.ledger.records import Intent, make_intent_id
from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.policy.limits import Limits

MANY = 24


def intent(number: int) -> Intent:
    return Intent(
        id=make_intent_id(),
        tool="kartra_assign_tag",
        operation="assign_tag",
        risk=Risk.WRITE,
        connection="c",
        target_kind="lead",
        target=str(number),
        arguments_digest=f"{number:064x}",
    )


def test_more_writes_than_one_group_holds_are_all_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Bug: a write behind a full group had no result."""
    monkeypatch.setattr(group_commit, "MAX_GROUP", 1)
    intents = [intent(number) for number in range(MANY)]
    ready = Barrier(MANY + 1)
    with closing(open_ledger(tmp_path / "state", wait=20.0)) as ledger:
        ledger.require_writable()

        def begin(number: int) -> str:
            ready.wait(20)
            running = ledger.begin(intents[number], Limits())
            running.close()
            return running.intent_id

        with ThreadPoolExecutor(MANY) as pool:
            with exclusive_lock(tmp_path / "state" / "ledger.turn", 5.0):
                begun = [pool.submit(begin, number) for number in range(MANY)]
                ready.wait(20)
            ids = [one.result(30) for one in begun]
        kept = {entry["intent"] for entry in ledger.export()}
    assert set(ids) == kept == {one.id for one in intents}


def test_a_refused_write_undoes_itself_and_no_other_of_its_group(tmp_path: Path):
    equal = intent(1)
    twin = replace(equal, id=make_intent_id())
    others = [intent(number) for number in range(2, 8)]
    ready = Barrier(len(others) + 2)
    with closing(open_ledger(tmp_path / "state", wait=20.0)) as ledger:
        first = ledger.begin(equal, Limits())

        def begin(one: Intent) -> str:
            ready.wait(20)
            ledger.begin(one, Limits()).close()
            return one.id

        with ThreadPoolExecutor(len(others) + 1) as pool:
            with exclusive_lock(tmp_path / "state" / "ledger.turn", 5.0):
                begun = [pool.submit(begin, one) for one in (*others, twin)]
                ready.wait(20)
            assert [one.result(30) for one in begun[:-1]] == [one.id for one in others]
            with pytest.raises(RefusedError) as refused:
                begun[-1].result(30)
        kept = {entry["intent"] for entry in ledger.export()}
        first.close()
    assert refused.value.code == "in_progress"
    assert kept == {equal.id, *(one.id for one in others)}
