"""Bulk runs while they run: failures, pauses, continuation, several servers, lost clients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from bulk_account import (
    CREATE,
    POINTS,
    REFUND,
    RUN,
    STATUS,
    TAG,
    VIP,
    add_leads,
    agree,
    bulk,
    bulk_events,
    bulk_id,
    created,
    emails,
    new_leads,
    only_run,
    plan,
    resume,
    states,
    tagged,
)
from consent_actors import Person, changed, confirmed, lines, sandbox
from harness import Sandbox, call, connect, sandbox_served
from polling import until

from kartra_mcp.ledger.sqlite.store import open_ledger

pytestmark = pytest.mark.anyio
ONE = {"MAX_CHILDREN": "1"}


async def test_three_equal_failures_in_a_row_pause_a_run(make_sandbox: Callable[..., Sandbox]):
    place = make_sandbox(**ONE)
    place.arrange("fault", "set", CREATE.removeprefix("kartra_"), "244", "--times=3")
    async with connect(place, "legacy") as client:
        paused = await bulk(client, CREATE, new_leads(6))
        assert (paused.code, paused.executed) == ("bulk_paused", "no")
        progress = paused.error["detail"]
        assert (progress["state"], progress["failed"], progress["left"]) == ("paused", 3, 3)
        assert "kartra_error" in progress["why"]
        assert [failed["item"] for failed in progress["failures"]] == [0, 1, 2]
        done = await resume(client, progress["bulk_id"])
    assert done.result["state"] == "done"
    assert (done.result["done"], done.result["failed"]) == (3, 3)
    assert created(place) == 3
    assert bulk_events(place) == ["agreed", "paused", "running", "done"]


async def test_failures_that_differ_or_are_apart_do_not_pause_a_run(tmp_path: Path):
    place = sandbox(tmp_path, **ONE)
    place.arrange("fault", "set", "create_lead", "244", "--times=2")
    place.arrange("fault", "set", "create_lead", "271", "--times=2")
    async with connect(place, "legacy") as client:
        done = await bulk(client, CREATE, new_leads(5))
    assert not done.failed, done.text


async def test_a_run_whose_last_items_fail_is_done_not_paused(tmp_path: Path):
    """Bug: a run with nothing left was paused, and stayed so."""
    place = sandbox(tmp_path, **ONE)
    place.arrange("fault", "set", "create_lead", "244", "--times=3")
    async with connect(place, "legacy") as client:
        done = await bulk(client, CREATE, new_leads(3))
    assert (done.result["state"], done.result["failed"]) == ("done", 3)


async def test_an_item_that_cannot_begin_holds_up_no_other(tmp_path: Path):
    """Bug: the same item was tried again at once, three times, and its run was paused."""
    place = sandbox(tmp_path, **ONE)
    who = add_leads(place, 5)
    first = {"email": who[0], "lead_id": 70_001}  # both names: the lead is read to compare them
    async with connect(place, "legacy") as client:
        preview = await plan(client, TAG, [first, *emails(who[1:])], arguments=VIP)
        place.arrange("fault", "set", "get_lead", "not_authenticated")
        paused = await agree(client, preview)
        progress = paused.error["detail"]
        assert (progress["done"], progress["left"]) == (4, 1)
        assert "not_logged_in" in progress["why"]
        assert await states(client, bulk_id(preview)) == ["waiting", *["succeeded"] * 4]
        done = await resume(client, bulk_id(preview))
    assert done.result["done"] == 5
    assert tagged(place) >= set(who)


async def test_items_that_a_killed_server_had_claimed_run_at_once(
    make_sandbox: Callable[..., Sandbox],
):
    """Bug: they waited two minutes, and the run was answered as running without doing anything."""
    place = make_sandbox(**ONE)
    async with connect(place, "legacy") as client:
        place.arrange("fault", "set", "create_lead", "244", "--times=3")
        paused = await bulk(client, CREATE, new_leads(20))
        id_ = paused.error["detail"]["bulk_id"]
        changed(place, "UPDATE bulk_items SET claimed_until = 9e9")
        done = await resume(client, id_)
    assert (done.result["state"], done.result["left"]) == ("done", 0)


async def test_an_item_whose_server_died_becomes_unknown_and_the_run_ends(tmp_path: Path):
    """Bug: its run stayed running for ever: only another write settled the lost intent."""
    place = sandbox(tmp_path, **ONE)
    place.arrange("fault", "set", "create_lead", "244", "--times=3")
    async with connect(place, "legacy") as client:
        paused = await bulk(client, CREATE, new_leads(4))
        id_ = paused.error["detail"]["bulk_id"]
        lose_item(place, id_, 3)
        status = await call(client, STATUS, bulk_id=id_)
        assert status.result["unknown"] == 1
        done = await resume(client, id_)
        assert (done.result["state"], done.result["unknown"]) == ("done", 1)
        assert done.result["failures"][0]["state"] == "unknown"
        assert "kartra_reconcile" in done.result["next"]


def lose_item(place: Sandbox, id_: str, number: int) -> None:
    """Record the begin of an item by a server that then ends without a word."""
    ledger = open_ledger(place.folder / "sandbox")
    body = lines(place, "intent")[-1]
    with ledger._store.write_transaction() as transaction:
        lost = {**body, "intent": "int_lost", "bulk": id_, "item": number, "target": "lost"}
        transaction.append("intent", lost)
    ledger.close()


async def test_several_servers_run_the_items_of_one_run_once(make_sandbox: Callable[..., Sandbox]):
    place = make_sandbox()
    async with (
        connect(place, "legacy") as one,
        connect(place, "2026-07-28") as two,
        connect(place, "legacy") as three,
    ):
        preview = await plan(one, CREATE, new_leads(60))
        answers: list[Any] = []

        async def join(client: Any) -> None:
            await until(lambda: bulk_events(place) == ["agreed"])
            answers.append(await resume(client, bulk_id(preview)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(join, two)
            tasks.start_soon(join, three)
            answers.append(await agree(one, preview))
        last = await resume(one, bulk_id(preview))
    assert (last.result["state"], last.result["done"]) == ("done", 60)
    assert created(place) == 60
    assert len(lines(place, "intent")) == 60
    assert bulk_events(place) == ["agreed", "done"]


async def test_a_run_that_is_cancelled_while_it_runs_starts_nothing_more(tmp_path: Path):
    place = sandbox(tmp_path, **ONE)
    place.arrange("fault", "set", "create_lead", "slow", "--times=40", "--message=0.1")
    answers: list[Any] = []
    async with connect(place, "legacy") as client, connect(place, "legacy") as other:
        preview = await plan(client, CREATE, new_leads(40))

        async def run() -> None:
            answers.append(await agree(client, preview))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await until(lambda: created(place) >= 1)
            answers.append(await call(other, STATUS, bulk_id=bulk_id(preview), cancel=True))
        again = await resume(client, bulk_id(preview))
    status, answer = answers
    assert status.result["state"] == "cancelled"
    assert (answer.result["state"], answer.result["done"]) == ("cancelled", created(place))
    assert answer.result["left"] == 40 - created(place) > 0
    assert again.result == answer.result
    assert len(lines(place, "intent")) == created(place)


async def test_a_client_that_times_out_leaves_no_item_unknown(tmp_path: Path):
    """Bug: the programs of the running items were ended, and their outcome was lost."""
    place = sandbox(tmp_path)
    place.arrange("fault", "set", "create_lead", "slow", "--times=60", "--message=0.1")
    async with connect(place, "legacy") as client:
        preview = await plan(client, CREATE, new_leads(60))
        with anyio.CancelScope() as waiting:
            async with anyio.create_task_group() as tasks:

                async def give_up() -> None:
                    await until(lambda: created(place) >= 2)
                    waiting.cancel()

                tasks.start_soon(give_up)
                await agree(client, preview)
        assert waiting.cancelled_caught
        done = await resume(client, bulk_id(preview))
    assert (done.result["state"], done.result["done"]) == ("done", 60)
    assert (done.result["unknown"], created(place)) == (0, 60)


async def test_a_call_whose_time_is_over_is_continued_by_the_id_alone(tmp_path: Path):
    place = sandbox(tmp_path, TIMEOUT="4", **ONE)
    place.arrange("fault", "set", "create_lead", "slow", "--times=12", "--message=0.4")
    async with connect(place, "legacy") as client:
        answer = await bulk(client, CREATE, new_leads(12))
        assert (answer.result["state"], answer.result["failed"]) == ("running", 0)
        assert answer.result["left"] > 0
        calls = 1
        while answer.result["state"] == "running":
            answer = await resume(client, answer.result["bulk_id"])
            calls += 1
    assert (answer.result["state"], answer.result["done"]) == ("done", 12)
    assert created(place) == 12
    assert calls > 1


async def test_an_unknown_irreversible_item_pauses_a_run_and_is_settled(
    make_sandbox: Callable[..., Sandbox],
):
    place = make_sandbox(**ONE)
    place.arrange("fault", "set", "refund_transaction", "garbage", "--effect")
    items = [{"transaction_id": number} for number in (101, 102)]
    async with connect(place, "legacy", elicitation_callback=Person()) as client:
        paused = await plan(client, REFUND, items)
        assert (paused.code, paused.executed) == ("bulk_paused", "unknown")
        progress = paused.error["detail"]
        assert (progress["done"], progress["unknown"], progress["left"]) == (0, 1, 1)
        (lost,) = progress["failures"]
        settled = await call(client, "kartra_reconcile", intent=lost["intent"])
        assert settled.result["state"] == "succeeded"
        shown = await call(client, STATUS, bulk_id=progress["bulk_id"], state="succeeded")
        assert "code" not in shown.result["items"][0]
        done = await resume(client, progress["bulk_id"])
    assert (done.result["state"], done.result["done"]) == ("done", 2)


async def test_an_unknown_additive_item_is_not_repeated(make_sandbox: Callable[..., Sandbox]):
    place = make_sandbox(**ONE)
    place.arrange("fault", "set", "create_lead", "garbage", "--effect")
    async with connect(place, "legacy") as client:
        done = await bulk(client, CREATE, new_leads(3))
        assert (done.result["state"], done.result["unknown"]) == ("done", 1)
        again = await resume(client, done.result["bulk_id"])
        assert again.result == done.result
        later = await plan(client, CREATE, new_leads(3))
    assert "blocked" in later.error["detail"]
    assert len(lines(place, "intent")) == created(place) == 3


async def test_a_run_that_other_settings_continue_is_paused_with_the_reason(tmp_path: Path):
    """Bug: it was answered as running, with all items left and no reason."""
    place = sandbox(tmp_path, **ONE)
    place.arrange("fault", "set", "create_lead", "244", "--times=3")
    async with connect(place, "legacy") as client:
        paused = await bulk(client, CREATE, new_leads(6))
    id_ = paused.error["detail"]["bulk_id"]
    stricter = replace(place, settings={**place.settings, "GATE_DESTRUCTIVE": "human"})
    async with connect(stricter, "legacy") as client:
        answer = await resume(client, id_)
        assert (answer.code, answer.executed) == ("bulk_paused", "no")
        assert "policy" in answer.error["detail"]["why"]
        assert answer.error["detail"]["left"] == 3
    assert created(place) == 0


async def test_facts_that_changed_since_the_preview_fail_their_item_alone(tmp_path: Path):
    place = sandbox(tmp_path, GATE_DESTRUCTIVE="allow")
    items = [{"subscription_id": number} for number in (201, 202)]
    cancel = "kartra_cancel_subscription"

    async def between(context: Any, params: Any) -> Any:
        place.rows("UPDATE subscriptions SET cents = cents + 100 WHERE id = 201")
        return await Person()(context, params)

    async with connect(place, "legacy", elicitation_callback=between) as client:
        done = await plan(client, cancel, items)
        assert (done.result["done"], done.result["failed"]) == (1, 1), done.text
        (failed,) = done.result["failures"]
        assert (failed["item"], failed["code"]) == (0, "facts_changed")
        assert "intent" not in failed


async def test_an_edit_that_would_now_overwrite_a_value_fails(tmp_path: Path):
    """Bug: it ran on a consent that was shown no overwriting, if another item overwrote."""
    place = sandbox(tmp_path)
    who = add_leads(place, 2)
    place.rows("UPDATE leads SET company = 'Old' WHERE email = ?", who[1])
    items = [{"email": email, "company": "New"} for email in who]
    async with connect(place, "legacy") as client:
        preview = await plan(client, "kartra_edit_lead", items)
        place.rows("UPDATE leads SET company = 'Written meanwhile' WHERE email = ?", who[0])
        done = await agree(client, preview)
    assert (done.result["done"], done.result["failed"]) == (1, 1), done.text
    assert done.result["failures"][0]["code"] == "facts_changed"
    found = place.rows("SELECT company FROM leads WHERE id >= 70001 ORDER BY id")
    assert found == [("Written meanwhile",), ("New",)]


async def test_a_failure_is_named_even_if_its_server_died_before_it_was_noted(tmp_path: Path):
    """Bug: it was listed as failed without a reason."""
    place = sandbox(tmp_path)
    place.arrange("fault", "set", "create_lead", "244")
    async with connect(place, "legacy") as client:
        done = await bulk(client, CREATE, new_leads(2))
        changed(place, "UPDATE bulk_items SET state = 'waiting', code = '', reason = ''")
        status = await call(client, STATUS, bulk_id=done.result["bulk_id"], state="failed")
    assert [item["code"] for item in status.result["items"]] == ["kartra_error"]


async def test_the_time_of_an_answer_is_not_taken_from_the_run(tmp_path: Path):
    """Bug: a question that took longer than a call began a run whose time was over."""
    place = sandbox(tmp_path, TIMEOUT="3")
    items = [{"transaction_id": 101}]
    person = Person(after=3.0)
    async with connect(place, "legacy", elicitation_callback=person) as client:
        done = await plan(client, REFUND, items)
    assert (done.result["state"], done.result["done"]) == ("done", 1)


async def test_a_lead_that_is_named_in_two_ways_gets_its_points_once(
    make_sandbox: Callable[..., Sandbox],
):
    place = make_sandbox()
    (who,) = add_leads(place, 1)
    async with connect(place, "legacy") as client:
        await call(client, "kartra_get_lead", email=who)
        items = [{"email": who}, {"lead_id": 70_001}]
        done = await bulk(client, POINTS, items, arguments={"points": 5})
    assert (done.result["state"], done.result["done"]) == ("done", 1), done.text
    assert done.result["skipped"] == 1
    assert place.rows("SELECT points FROM points WHERE lead_id = 70001") == [(5,)]


async def test_a_chain_that_is_done_in_part_is_among_the_failures(tmp_path: Path):
    place = sandbox(tmp_path)
    place.arrange("fault", "set", "assign_tag", "211")
    async with connect(place, "legacy") as client:
        done = await bulk(client, "kartra_onboard_lead", new_leads(2), arguments={"tags": ["VIP"]})
    assert done.result["state"] == "done", done.text
    (partial,) = done.result["failures"]
    assert (partial["state"], partial["code"]) == ("succeeded", "kartra_error")
    assert created(place) == 2
    assert len([email for email in tagged(place) if email.startswith("made")]) == 1


async def test_progress_names_the_run_and_never_passes_its_total(tmp_path: Path):
    place = sandbox(tmp_path, MAX_CHILDREN="1")
    place.arrange("fault", "set", "create_lead", "slow", "--times=4", "--message=0.4")
    seen: list[tuple[float, float | None, str | None]] = []

    async def show(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total, message))

    async with connect(place, "legacy") as client:
        preview = await plan(client, CREATE, new_leads(4))
        await client.call_tool(
            RUN, {"bulk_id": bulk_id(preview), **confirmed(preview)}, progress_callback=show
        )
        await until(lambda: any(bulk_id(preview) in (message or "") for _, _, message in seen))
    assert all(done <= total for done, total, _ in seen if total is not None)
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)


async def test_reads_are_paused_and_continued_like_writes(tmp_path: Path):
    place = sandbox(tmp_path, MAX_CHILDREN="1")
    who = add_leads(place, 5)
    place.arrange("fault", "set", "get_lead", "not_authenticated", "--times=3")
    async with connect(place, "legacy") as client:
        paused = await plan(client, "kartra_get_lead", emails(who))
        assert paused.code == "bulk_paused", paused.text
        assert "not_logged_in" in paused.error["detail"]["why"]
        done = await resume(client, only_run(place))
        assert (done.result["state"], done.result["done"]) == ("done", 5)
        status = await call(client, STATUS, bulk_id=only_run(place))
    assert "lead70005@example.com" in status.text
    assert bulk_events(place) == []


async def test_a_run_over_the_api_does_each_item_once(tmp_path: Path):
    with sandbox_served(sandbox(tmp_path)) as place:
        async with connect(place, "legacy") as client:
            done = await bulk(client, CREATE, new_leads(12))
    assert (done.result["state"], done.result["done"]) == ("done", 12)
    assert created(place) == 12


async def test_progress_of_reads_counts_items_and_not_their_checks(tmp_path: Path):
    """Bug: it was at its end as soon as the items were checked, while all of them were left."""
    place = sandbox(tmp_path, MAX_CHILDREN="1")
    who = add_leads(place, 4)
    place.arrange("fault", "set", "get_lead", "slow", "--times=4", "--message=0.4")
    seen: list[tuple[float, str]] = []

    async def show(progress: float, total: float | None, message: str | None) -> None:
        del total
        seen.append((progress, message or ""))

    given = {"tool": "kartra_get_lead", "items": emails(who)}
    async with connect(place, "legacy") as client:
        await client.call_tool(RUN, given, progress_callback=show)
        await until(lambda: any("items of" in message for _, message in seen))
    assert {"1 of 4", "2 of 4", "3 of 4"} & {message[:6] for _, message in seen}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
