"""Unknown writes are settled by looking, never by repeating; what no look proves stays unknown."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from crash_scenarios import FIRST, House, Story, crash
from harness import Answer, Sandbox, call, sandbox_by
from mcp import Client
from polling import gone, until
from reconcile_clock import LATE, LATER, SOON, Clock, opened

from kartra_mcp.ledger.sqlite.intent_locks import IntentLocks

pytestmark = pytest.mark.anyio

REFUND, CANCEL = "kartra_refund_transaction", "kartra_cancel_subscription"
SALE = {"transaction_id": 101}
EARLIER = {"transaction_id": 105}
SUBSCRIPTION = {"subscription_id": 201}
FAULTS = {REFUND: "refund_transaction", CANCEL: "cancel_transaction"}
WRITES = ("67c41d8e9a02b35f716e4b31", "67c41d8e9a02b35f716e4b20")


@pytest.fixture
def account(tmp_path, transport):
    with sandbox_by(transport, Sandbox(tmp_path / "state")) as place:
        yield place


@pytest.fixture
def clock(request) -> Clock:
    name = "account" if "account" in request.fixturenames else "by_api"
    return Clock(request.getfixturevalue(name))


async def lost(client: Client, place: Sandbox, tool: str, *fault: str, **given) -> str:
    """Agree to it, lose the answer; the intent that is unknown now."""
    place.arrange("fault", "set", FAULTS[tool], *(fault or ("silent",)))
    answer = await agreed(client, tool, **given)
    assert (answer.code, answer.executed) == ("membrane_error", "unknown")
    found = (await call(client, "kartra_ledger", state="unknown")).result["lines"]
    assert len(found) == 1
    return found[0]["intent"]


async def agreed(client: Client, tool: str, **given) -> Answer:
    shown = (await call(client, tool, **given)).error["confirmation"]
    said = {"confirmation_id": shown["id"], "confirmation_summary": shown["summary"]}
    return await call(client, tool, confirm=True, **said, **given)


async def reconcile(client: Client, place: Sandbox, intent: str) -> Answer:
    """Return the result of a look, and check that it only looked."""
    before, runs = kept(place), len(place.runs())
    answer = await call(client, "kartra_reconcile", intent=intent)
    assert kept(place) == before
    assert not [words for words in place.runs()[runs:] if words[2] in WRITES]
    return answer


def kept(place: Sandbox) -> list[str]:
    """The account, but for the faults that are used up by looking too."""
    return [line for line in place.dump() if '"faults"' not in line]


async def state(client: Client, place: Sandbox, intent: str) -> str:
    told = (await reconcile(client, place, intent)).result
    line = next(line for line in await lines(client) if line["intent"] == intent)
    assert line["state"] == told["state"]
    assert ("check" in told) == (told["state"] == "unknown")
    return told["state"]


async def lines(client: Client):
    return (await call(client, "kartra_ledger")).result["lines"]


def refunds(place: Sandbox, of: int = 101):
    return place.rows("SELECT cents FROM transactions WHERE parent_id = ?", of)


async def test_a_refund_that_happened_is_seen(account, clock, protocol_version):
    async with opened(account, clock, protocol_version) as client:
        intent = await lost(client, account, REFUND, "killed", "--effect", **SALE)
        assert await state(client, account, intent) == "succeeded"
        again = await call(client, REFUND, **SALE)
        assert (again.code, again.executed) == ("already_done", "no")
        assert again.error["first"]["intent"] == intent
        settled = await reconcile(client, account, intent)
        assert (settled.code, settled.executed) == ("invalid_arguments", "no")
    assert refunds(account) == [(9700,)]


async def test_a_refund_that_is_not_seen_stays_unknown_for_a_quarter_of_an_hour(account, clock):
    async with opened(account, clock) as client:
        intent = await lost(client, account, REFUND, **SALE)
        for _ in range(3):
            assert await state(client, account, intent) == "unknown"
        clock.ahead = SOON
        assert await state(client, account, intent) == "unknown"
        assert (await call(client, REFUND, **SALE)).code == "outcome_unknown"
        clock.ahead = LATE
        assert await state(client, account, intent) == "unknown"
        assert (await call(client, REFUND, **SALE)).code == "outcome_unknown"
        clock.ahead = LATER
        assert await state(client, account, intent) == "failed"
        assert not (await agreed(client, REFUND, **SALE)).failed
    assert refunds(account) == [(9700,)]


async def test_two_late_looks_may_be_of_two_servers(account, clock, protocol_version):
    async with opened(account, clock, protocol_version) as client:
        intent = await lost(client, account, REFUND, **SALE)
    for clock.ahead, expected in ((LATE, "unknown"), (LATER, "failed")):
        async with opened(account, clock, protocol_version) as client:
            assert await state(client, account, intent) == expected


async def test_what_comes_between_two_late_looks_is_seen(account, clock):
    async with opened(account, clock) as client:
        intent = await lost(client, account, REFUND, **SALE)
        clock.ahead = LATE
        assert await state(client, account, intent) == "unknown"
        account.arrange("action", "run", "refund-transaction", '--input={"transaction_id":101}')
        assert refunds(account) == [(9700,)]
        assert await state(client, account, intent) == "succeeded"


async def test_a_look_that_could_not_see_does_not_count(account, clock):
    async with opened(account, clock) as client:
        intent = await lost(client, account, REFUND, **SALE)
        clock.ahead = LATE
        for _ in range(3):
            account.arrange("fault", "set", "retrieve_transactions_from_lead", "internal")
            assert await state(client, account, intent) == "unknown"
        assert await state(client, account, intent) == "unknown"
        clock.ahead = LATER
        assert await state(client, account, intent) == "failed"


async def test_an_earlier_refund_proves_nothing(account, clock):
    """Transaction 105 was refunded in part before; the preview could not read that."""
    async with opened(account, clock) as client:
        account.arrange("fault", "set", "retrieve_transactions_from_lead", "internal", "--times=2")
        intent = await lost(client, account, REFUND, **EARLIER, refund_amount=50)
        assert refunds(account, 105) == [(5000,)]
        for ahead in (0.0, LATE, LATE):
            clock.ahead = ahead
            assert await state(client, account, intent) == "unknown"


async def test_an_earlier_refund_that_was_seen_proves_nothing(account, clock):
    async with opened(account, clock) as client:
        intent = await lost(client, account, REFUND, **EARLIER, refund_amount=50)
        assert await state(client, account, intent) == "unknown"
        clock.ahead = LATE
        assert await state(client, account, intent) == "unknown"
        clock.ahead = LATER
        assert await state(client, account, intent) == "failed"


async def test_nothing_is_settled_while_its_program_lives(account, clock):
    async with opened(account, clock) as client:
        intent = await lost(client, account, REFUND, "silent", "--effect", **SALE)
        held = IntentLocks(account.folder / "sandbox" / "locks").lock(intent)
        for ahead in (0.0, LATE, LATE, LATE):
            clock.ahead = ahead
            answer = await reconcile(client, account, intent)
            assert (answer.code, answer.executed) == ("in_progress", "no")
        held.close()
        assert await state(client, account, intent) == "succeeded"


async def test_looks_while_its_program_lives_do_not_count(account, clock):
    async with opened(account, clock) as client:
        intent = await lost(client, account, REFUND, **SALE)
        clock.ahead = LATE
        held = IntentLocks(account.folder / "sandbox" / "locks").lock(intent)
        for _ in range(3):
            assert (await reconcile(client, account, intent)).code == "in_progress"
        held.close()
        assert await state(client, account, intent) == "unknown"
        clock.ahead = LATER
        assert await state(client, account, intent) == "failed"


async def test_a_program_that_outlives_its_server_is_waited_for(tmp_path):
    house = House(tmp_path / "state").build(1)
    story = Story(FIRST, "preview", "running", how="gated")
    house.plan(FIRST, story.how, story.seconds)
    await crash(house, story, story.dice())
    assert story.crashed
    async with house.server("2026-07-28", "preview") as client:
        (line,) = await lines(client)
        assert line["state"] == "running"
        assert (await call(client, "kartra_reconcile", intent=line["intent"])).code == "in_progress"
        assert (await call(client, REFUND, transaction_id=FIRST)).code == "in_progress"
        house.go(FIRST)
        await until(lambda: all(map(gone, house.pids(FIRST))))
        # Its starter (start_forked.py) holds the lock of the intent until it has noticed the end.
        with anyio.fail_after(30):
            while (told := await call(client, "kartra_reconcile", intent=line["intent"])).failed:
                assert told.code == "in_progress"
        assert told.result["state"] == "succeeded"
    assert house.refunds(FIRST) == [("refund", 9700)]


@pytest.mark.parametrize("effect", [True, False])
async def test_what_was_not_read_before_is_settled_only_if_no_refund_is_there_at_all(
    tmp_path, clock, effect
):
    account = Sandbox(tmp_path / "state", {"GATE_IRREVERSIBLE": "flag"})
    fault = ("silent", "--effect") if effect else ("silent",)
    account.arrange("fault", "set", FAULTS[REFUND], *fault)
    async with opened(account, clock) as client:
        answer = await call(client, REFUND, **SALE, confirm=True)
        assert (answer.code, answer.executed) == ("membrane_error", "unknown")
        (line,) = await lines(client)
        for ahead in (0.0, LATE):
            clock.ahead = ahead
            told = (await reconcile(client, account, line["intent"])).result
            assert told["state"] == "unknown"
            assert "In Kartra" in told["check"]
            again = await call(client, REFUND, **SALE, confirm=True)
            assert (again.code, again.executed) == ("outcome_unknown", "no")
        clock.ahead = LATER
        told = (await reconcile(client, account, line["intent"])).result
    assert told["state"] == ("unknown" if effect else "failed")
    assert len(refunds(account)) == effect


async def test_what_is_to_be_checked_speaks_of_no_other_operation(account, clock):
    account.arrange("fault", "set", "assign_tag", "silent")
    async with opened(account, clock) as client:
        await call(client, "kartra_assign_tag", lead_id=48129, tag_name="VIP")
        (line,) = await lines(client)
        told = (await reconcile(client, account, line["intent"])).result
    assert told["state"] == "unknown"
    assert "transaction" not in told["check"]
    assert (line["operation"], line["target"]) == ("assign_tag", "48129")


async def test_a_cancellation_that_happened_is_seen(account, clock, protocol_version):
    async with opened(account, clock, protocol_version) as client:
        intent = await lost(client, account, CANCEL, "silent", "--effect", **SUBSCRIPTION)
        assert await state(client, account, intent) == "succeeded"
        assert (await call(client, CANCEL, **SUBSCRIPTION)).code == "already_done"


async def test_a_cancellation_that_did_not_happen_is_settled_late(account, clock):
    async with opened(account, clock) as client:
        intent = await lost(client, account, CANCEL, **SUBSCRIPTION)
        assert await state(client, account, intent) == "unknown"
        clock.ahead = LATE
        assert await state(client, account, intent) == "unknown"
        assert (await call(client, CANCEL, **SUBSCRIPTION)).code == "outcome_unknown"
        clock.ahead = LATER
        assert await state(client, account, intent) == "failed"
        assert not (await agreed(client, CANCEL, **SUBSCRIPTION)).failed


async def test_it_looks_under_read_only_too(account, clock, protocol_version):
    async with opened(account, clock) as client:
        intent = await lost(client, account, REFUND, "silent", "--effect", **SALE)
    account.settings = {"READ_ONLY": "on"}
    async with opened(account, clock, protocol_version) as client:
        assert await state(client, account, intent) == "succeeded"


async def test_what_is_not_in_the_ledger(account, clock):
    async with opened(account, clock) as client:
        answer = await call(client, "kartra_reconcile", intent="int_0000000000000000")
        assert (answer.code, answer.executed) == ("invalid_arguments", "no")
        odd = await call(client, "kartra_reconcile", intent="../../ledger")
        assert (odd.code, odd.executed) == ("invalid_arguments", "no")


# ── Membrane's own logs of runs, which only its API can be asked for ──


@pytest.fixture
def by_api(tmp_path):
    with sandbox_by("api", Sandbox(tmp_path / "state")) as place:
        yield place


def logs(place: Sandbox) -> list[dict[str, Any]]:
    return [json.loads(log) for (log,) in place.rows("SELECT log FROM run_logs ORDER BY rowid")]


def relog(place: Sandbox, intent: str, **instead: Any) -> None:
    """Write of the run of an intent another log than Membrane wrote."""
    (log,) = [
        log for log in logs(place) if (log.get("meta") or {}).get("kartra_mcp_intent") == intent
    ]
    text = json.dumps({**log, **instead})
    place.rows("UPDATE run_logs SET log = ? WHERE id = ?", text, log["id"])


async def test_a_lost_answer_is_found_in_the_runs_own_log(by_api, clock, protocol_version):
    """Kartra itself is not asked: it could not even say."""
    async with opened(by_api, clock, protocol_version) as client:
        intent = await lost(client, by_api, REFUND, "killed", "--effect", **SALE)
        (log,) = [log for log in logs(by_api) if log.get("meta")]
        kept = by_api.entries(intent)[0]
        assert log["meta"] == {
            "kartra_mcp_intent": intent,
            "kartra_mcp_attempt": kept["attempt"],
            "kartra_mcp_line": kept["n"],
            "kartra_mcp_hash": kept["hash"],
        }
        by_api.arrange("fault", "set", "*", "internal", "--times=99")
        runs = len(by_api.runs())
        told = (await reconcile(client, by_api, intent)).result
        assert len(by_api.runs()) == runs
        (line,) = await lines(client)
    assert (told["state"], told["source"], told["action_run_id"]) == (
        "succeeded",
        "run_log",
        log["id"],
    )
    assert (line["state"], line["executed"], line["evidence"]["source"]) == (
        "succeeded",
        "yes",
        "run_log",
    )
    assert line["evidence"]["action_run_id"] == log["id"]
    assert refunds(by_api) == [(9700,)]


async def test_an_answer_lost_before_the_deed_has_no_log_and_that_proves_nothing(
    by_api, clock, protocol_version
):
    async with opened(by_api, clock, protocol_version) as client:
        intent = await lost(client, by_api, REFUND, "killed", **SALE)
        assert not [log for log in logs(by_api) if log.get("meta")]
        told = (await reconcile(client, by_api, intent)).result
        assert told["state"] == "unknown"
        assert "source" not in told
        assert (await call(client, REFUND, **SALE)).code == "outcome_unknown"
    assert refunds(by_api) == []


TURNED_AWAY = {"type": "bad_request", "key": "access_denied", "message": "no"}
KARTRAS = {"status": "Success", "actions": [{"refund_transaction": {"status": "Error"}}]}
LOGS: dict[str, tuple[dict[str, Any], str]] = {
    "turned away": ({"status": "error", "output": None, "error": TURNED_AWAY}, "failed"),
    "an error that proves nothing": (
        {"status": "error", "output": None, "error": {"type": "internal", "message": "oops"}},
        "unknown",
    ),
    "an error of no shape": ({"status": "error", "output": None, "error": "oops"}, "unknown"),
    "still running": ({"status": "running", "output": None}, "unknown"),
    "an output that says otherwise": ({"output": KARTRAS}, "unknown"),
    "another's mark": ({"meta": {"kartra_mcp_intent": "int_0000000000000000"}}, "unknown"),
    "another's connection": ({"connectionId": "other"}, "unknown"),
    "no mark": ({"meta": None}, "unknown"),
}


@pytest.mark.parametrize("name", LOGS)
async def test_what_a_log_proves(by_api, clock, name):
    """The preview's read of what was refunded before fails, so that only the log can tell."""
    instead, state_then = LOGS[name]
    by_api.settings = {"GATE_IRREVERSIBLE": "flag"}
    by_api.arrange("fault", "set", FAULTS[REFUND], "killed", "--effect")
    async with opened(by_api, clock) as client:
        assert (await call(client, REFUND, **SALE, confirm=True)).executed == "unknown"
        (line,) = await lines(client)
        relog(by_api, line["intent"], **instead)
        told = (await reconcile(client, by_api, line["intent"])).result
    assert told["state"] == state_then
    assert ("source" in told) == (state_then != "unknown")


async def test_a_write_that_may_be_tried_again_is_not_settled_by_a_log_of_one_try(by_api, clock):
    """Only the first try may have left a log, and a later one may have been done."""
    by_api.arrange("fault", "set", "assign_tag", "killed", "--effect")
    async with opened(by_api, clock) as client:
        given = {"lead_id": 48129, "tag_name": "VIP"}
        assert (await call(client, "kartra_assign_tag", **given)).executed == "unknown"
        (line,) = await lines(client)
        relog(by_api, line["intent"], status="error", output=None, error=TURNED_AWAY)
        told = (await reconcile(client, by_api, line["intent"])).result
        assert told["state"] == "unknown"
        relog(by_api, line["intent"], status="success", output={"status": "Success"})
        told = (await reconcile(client, by_api, line["intent"])).result
        assert told["state"] == "succeeded"
