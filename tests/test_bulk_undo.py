"""Undo of a bulk run: an ordinary run of the inverse calls, with its own preview and consent."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from bulk_account import (
    CREATE,
    FIRST_LEAD,
    POINTS,
    RUN,
    STATUS,
    TAG,
    VIP,
    add_leads,
    agree,
    bulk,
    bulk_id,
    emails,
    new_leads,
    plan,
    resume,
    states,
    tagged,
)
from consent_actors import changed, lines, sandbox
from harness import Answer, Clocks, Sandbox, call, connect
from truth_account import read_state, without_remains

from kartra_mcp.bulk.undo_items import EarlierUndo, InverseItem, choose_items
from kartra_mcp.catalogue.command_tools import list_command_tools
from kartra_mcp.kartra.inverse import Inverse

pytestmark = pytest.mark.anyio
UNTAG, LEAVE = "kartra_unassign_tag", "kartra_unsubscribe_lead_from_sequence"
ENTER, REVOKE = "kartra_subscribe_lead_to_sequence", "kartra_revoke_membership_access"
GRANT, PAUSE = "kartra_grant_membership_access", "kartra_modify_subscription_status"
CIRCLE = {"membership_name": "Studio Circle"}
WELCOME = {"sequence_name": "Welcome"}
A_DAY_LATER = Clocks(lambda: time.time() + 90_000, lambda: time.monotonic() + 90_000)
TAGGED = "INSERT INTO lead_tags VALUES (?, 502)"
LISTED = "INSERT INTO lead_lists VALUES (?, 404, 1)"
IN_WELCOME = (
    "INSERT INTO lead_sequences SELECT ?, id, '3', 'active' FROM sequences WHERE name = 'Welcome'"
)
BASIC, GOLD = (f"INSERT INTO lead_memberships VALUES (?, {level}, 1)" for level in (801, 802))

KINDS: Mapping[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "a tag": (TAG, VIP, ()),
    "a tag taken away": (UNTAG, VIP, (TAGGED,)),
    "a list": ("kartra_subscribe_lead_to_list", {"list_name": "Alumni"}, ()),
    "a list left": ("kartra_unsubscribe_lead_from_list", {"list_name": "Alumni"}, (LISTED,)),
    "a sequence": (ENTER, {**WELCOME, "step": "2"}, ()),
    "another step": (ENTER, {**WELCOME, "step": "2"}, (IN_WELCOME,)),
    "a sequence left": (LEAVE, WELCOME, (IN_WELCOME,)),
    "points": (POINTS, {"points": 5}, ()),
    "points taken away": ("kartra_remove_points_from_lead", {"points": 5}, ()),
    "a membership": (GRANT, {**CIRCLE, "level_name": "Gold"}, ()),
    "a level that ended": (REVOKE, {**CIRCLE, "level_name": "Gold"}, (BASIC, GOLD)),
    "all levels that ended": (REVOKE, CIRCLE, (BASIC, GOLD)),
}
"""Tool, shared arguments, and what each lead has before."""
GIVEN = "INSERT INTO points VALUES (?, 20, '')"


@pytest.fixture
def place(tmp_path: Path) -> Sandbox:
    return sandbox(tmp_path, GATE_IRREVERSIBLE="preview")


async def undo(client: Any, id_: str, **more: Any) -> Answer:
    """Plan the undo of a run and confirm its preview."""
    preview = await call(client, RUN, undo=id_, **more)
    assert preview.code == "confirmation_required", preview.text
    return await agree(client, preview)


async def tag_all(client: Any, place: Sandbox, count: int = 3) -> tuple[str, list[str]]:
    """Tag so many new leads; return the id of the run and the addresses."""
    who = add_leads(place, count)
    done = await bulk(client, TAG, emails(who), arguments=VIP)
    assert done.result["done"] == count
    return done.result["bulk_id"], who


@pytest.mark.parametrize("name", KINDS)
async def test_an_undo_restores_the_account(place: Sandbox, name: str):
    tool, shared, rows = KINDS[name]
    who = add_leads(place, 3)
    for number in range(FIRST_LEAD, FIRST_LEAD + 3):
        for sql in (GIVEN, *rows):
            place.rows(sql, number)
    before = without_remains(read_state(place))
    async with connect(place, "legacy") as client:
        done = await bulk(client, tool, emails(who), arguments=shared, include_suppressed=True)
        assert (done.result["state"], done.result["done"]) == ("done", 3), done.text
        assert without_remains(read_state(place)) != before
        undone = await undo(client, done.result["bulk_id"], include_suppressed=True)
        assert undone.result["state"] == "done", undone.text
        assert undone.result["done"] == undone.result["total"] >= 3
    assert without_remains(read_state(place)) == before


async def test_the_undo_of_tags_leaves_no_trace_in_the_account(place: Sandbox):
    add_leads(place, 3)
    before = place.dump()
    async with connect(place, "legacy") as client:
        done = await bulk(
            client, TAG, emails(f"lead{70_001 + n}@example.com" for n in range(3)), arguments=VIP
        )
        assert place.dump() != before
        await undo(client, done.result["bulk_id"])
    assert place.dump() == before


async def test_paused_subscriptions_are_resumed(place: Sandbox):
    items = [{"subscription_id": 201}, {"subscription_id": 206}]
    before = place.dump()
    async with connect(place, "legacy") as client:
        given = {"subscription_status_modification": "pause"}
        done = await bulk(client, PAUSE, items, arguments=given)
        assert done.result["done"] == 2
        undone = await undo(client, done.result["bulk_id"])
    assert undone.result["done"] == 2
    assert place.dump() == before


async def test_a_preview_names_the_undo_and_the_undo_the_run(place: Sandbox):
    who = add_leads(place, 2)
    async with connect(place, "legacy") as client:
        first = await plan(client, TAG, emails(who), arguments=VIP)
        way = first.error["confirmation"]["undo"]
        assert f'kartra_bulk_run {{"undo": "{bulk_id(first)}"}}' in way
        assert f"kartra-mcp bulk undo {bulk_id(first)} --sandbox" in way
        await agree(client, first)
        second = await call(client, RUN, undo=bulk_id(first))
        shown = second.error["confirmation"]
        assert shown["facts"]["undoes"] == bulk_id(first)
        assert shown["facts"]["count"] == 2
        assert f"UNDO {bulk_id(first)}" in shown["summary"]
        assert "Remove Tag" in shown["summary"]
        await agree(client, second)
        listed = await call(client, STATUS)
        assert [run.get("undoes") for run in listed.result["runs"]] == [bulk_id(first), None]
    assert lines(place, "bulk")[-2]["undoes"] == bulk_id(first)
    assert not tagged(place) & set(who)


async def test_only_items_that_changed_something_are_undone(place: Sandbox):
    """One lead had the tag, one write failed, one is unknown: only the fourth is undone."""
    who = add_leads(place, 4)
    place.settings["MAX_CHILDREN"] = "1"
    place.rows(TAGGED, FIRST_LEAD)
    async with connect(place, "legacy") as client:
        preview = await plan(client, TAG, emails(who), arguments=VIP)
        place.rows("UPDATE leads SET deleted = 1 WHERE id = ?", FIRST_LEAD + 2)
        place.arrange("fault", "set", "assign_tag", "garbage", "--effect", "--times=1")
        done = await agree(client, preview)
        id_ = bulk_id(preview)
        assert await states(client, id_) == ["skipped", "unknown", "failed", "succeeded"]
        second = await call(client, RUN, undo=id_)
        facts = second.error["confirmation"]["facts"]
        assert facts["count"] == 1, facts
        ((left_out),) = facts["not_undone"]["first"]
        assert (facts["not_undone"]["total"], left_out["item"]) == (1, 1)
        assert "kartra_reconcile" in left_out["reason"]
        assert facts["not_undone"]["by_reason"] == {left_out["reason"]: 1}
        assert (await agree(client, second)).result["done"] == 1
    assert done.result["unknown"] == 1
    assert tagged(place) & set(who) == {who[0], who[1]}


async def test_a_lead_that_was_corrected_meanwhile_is_left_alone(place: Sandbox):
    async with connect(place, "legacy") as client:
        id_, who = await tag_all(client, place)
        place.rows("DELETE FROM lead_tags WHERE lead_id = ?", FIRST_LEAD)
        preview = await call(client, RUN, undo=id_)
        facts = preview.error["confirmation"]["facts"]
        assert (facts["count"], facts["blocked"]["total"]) == (2, 1)
        assert (await agree(client, preview)).result["done"] == 2
    assert not tagged(place) & set(who)


REFUSED: dict[str, tuple[str, list[dict[str, Any]], str]] = {
    "leads": (CREATE, new_leads(2), "deletes a lead"),
    "edits": (
        "kartra_edit_lead",
        [{"email": "ada@example.com", "city": "Bergen"}, {"lead_id": 48129, "city": "Oslo"}],
        "old values",
    ),
    "bookings": (
        "kartra_calendar_subscribe",
        [
            {"lead_id": number, "calendar_name": "Live critique", "class_name": "Tuesday evening"}
            for number in (48101, 48129)
        ],
        "not known",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_has_no_inverse_is_refused_with_the_reason(place: Sandbox, name: str):
    tool, items, word = REFUSED[name]
    async with connect(place, "legacy") as client:
        preview = await plan(client, tool, items, include_suppressed=True)
        assert "bulk undo" not in preview.error["confirmation"]["undo"]
        done = await agree(client, preview)
        assert done.result["done"] == 2, done.text
        answer = await call(client, RUN, undo=bulk_id(preview))
    assert (answer.code, answer.executed) == ("not_possible", "no")
    reasons = answer.error["detail"]["not_undone"]
    assert reasons["total"] == 2
    assert all(word in item["reason"] for item in reasons["first"])


async def test_an_undo_is_continued_after_its_server_ended(place: Sandbox):
    place.settings.update(TIMEOUT="2", MAX_CHILDREN="1")
    async with connect(place, "legacy") as client:
        who = add_leads(place, 8)
        done = await bulk(client, TAG, emails(who), arguments=VIP)
        while done.result["state"] == "running":
            done = await resume(client, done.result["bulk_id"])
        place.arrange("fault", "set", "unassign_tag", "slow", "--times=8", "--message=0.3")
        preview = await call(client, RUN, undo=done.result["bulk_id"])
        while preview.code == "not_enough_time":
            preview = await call(client, RUN, undo=done.result["bulk_id"])
        begun = await agree(client, preview)
        assert (begun.result["state"], begun.result["left"] > 0) == ("running", True), begun.text
    del place.settings["TIMEOUT"]
    async with connect(place, "legacy") as client:
        ended = await call(client, RUN, undo=done.result["bulk_id"])
    assert ended.result["bulk_id"] == bulk_id(preview)
    assert (ended.result["state"], ended.result["done"]) == ("done", 8)
    assert not tagged(place) & set(who)
    assert len([line for line in lines(place, "intent") if line["tool"] == UNTAG]) == 8


async def test_an_undo_runs_once(place: Sandbox):
    async with connect(place, "legacy") as client:
        id_, _ = await tag_all(client, place)
        first = await undo(client, id_)
        before = place.dump()
        again = await call(client, RUN, undo=id_)
        assert (again.code, again.executed) == ("already_done", "no")
        assert again.error["first"] == {"bulk_id": first.result["bulk_id"]}
        assert place.dump() == before


async def test_of_two_plans_to_undo_a_run_one_runs(place: Sandbox):
    """Points would be taken away twice: no look at the lead shows that they were."""
    who = add_leads(place, 2)
    async with connect(place, "legacy") as client:
        done = await bulk(client, POINTS, emails(who), arguments={"points": 5})
        id_ = done.result["bulk_id"]
        one = await call(client, RUN, undo=id_)
        two = await call(client, RUN, undo=id_, repeat=True)
        assert bulk_id(one) != bulk_id(two)
        assert (await agree(client, one)).result["done"] == 2
        late = await call(
            client,
            RUN,
            bulk_id=bulk_id(two),
            repeat=True,
            confirm=True,
            confirmation_id=two.error["confirmation"]["id"],
            confirmation_summary=two.error["confirmation"]["summary"],
        )
        assert (late.code, late.executed) == ("already_done", "no"), late.text
    assert place.rows("SELECT sum(points) FROM points WHERE lead_id >= 70001") == [(0,)]


async def test_a_part_that_was_not_undone_is_planned_again(place: Sandbox):
    """An undo that is cancelled, or in which items fail, leaves the rest to the next one."""
    place.settings["MAX_CHILDREN"] = "1"
    async with connect(place, "legacy") as client:
        id_, who = await tag_all(client, place)
        preview = await call(client, RUN, undo=id_)
        place.arrange("fault", "set", "unassign_tag", "213", "--times=1")
        assert (await agree(client, preview)).result["failed"] == 1
        rest = await undo(client, id_)
        assert (rest.result["total"], rest.result["done"]) == (1, 1)
    assert not tagged(place) & set(who)


async def test_the_rest_of_an_undo_whose_consent_expired_is_planned_again(place: Sandbox):
    """Bug: it was continued, and refused for ever."""
    place.settings["MAX_CHILDREN"] = "1"
    async with connect(place, "legacy") as client:
        id_, who = await tag_all(client, place, 5)
        preview = await call(client, RUN, undo=id_)
        place.arrange("fault", "set", "unassign_tag", "213", "--times=3")
        assert (await agree(client, preview)).code == "bulk_paused"
    async with connect(place, "legacy", clocks=A_DAY_LATER) as client:
        rest = await undo(client, id_)
        assert (rest.result["total"], rest.result["done"]) == (5, 5)
        first = await call(client, STATUS, bulk_id=bulk_id(preview))
    assert first.result["state"] == "cancelled"
    assert not tagged(place) & set(who)


@pytest.mark.parametrize(("tool", "given"), [(TAG, VIP), (POINTS, {"points": 5})])
async def test_an_undo_is_undone(place: Sandbox, tool: str, given: dict[str, Any]):
    """Points too, within the minute in which an equal write counts as sent twice."""
    who = add_leads(place, 3)
    async with connect(place, "legacy") as client:
        done = await bulk(client, tool, emails(who), arguments=given)
        after = place.dump()
        first = await undo(client, done.result["bulk_id"])
        assert place.dump() != after
        second = await undo(client, first.result["bulk_id"])
        assert second.result["done"] == 3, second.text
        again = await call(client, RUN, undo=first.result["bulk_id"])
        assert again.code == "already_done"
        third = await undo(client, second.result["bulk_id"])
        assert third.result["done"] == 3
        assert place.rows("SELECT sum(points) FROM points WHERE lead_id >= 70001") in (
            [(0,)],
            [(None,)],
        )
    assert not tagged(place) & set(who)


async def test_equal_inverses_are_not_merged(place: Sandbox):
    """Points were given for a month and for ever: taking the sum away needs two equal calls."""
    who = add_leads(place, 2)
    items = [*emails(who), {"email": who[0], "expiration": 30}]
    async with connect(place, "legacy") as client:
        done = await bulk(client, POINTS, items, arguments={"points": 5})
        assert done.result["done"] == 3
        preview = await call(client, RUN, undo=done.result["bulk_id"])
        facts = preview.error["confirmation"]["facts"]
        assert (facts["count"], facts["not_undone"]["total"]) == (2, 1)
        assert "undo the run again" in facts["not_undone"]["first"][0]["reason"]
        await agree(client, preview)
        rest = await undo(client, done.result["bulk_id"], repeat=True)
        assert rest.result["done"] == 1
    assert place.rows("SELECT sum(points) FROM points WHERE lead_id >= 70001") == [(0,)]


async def test_items_with_different_inverses_are_undone_one_tool_after_the_other(place: Sandbox):
    """Leads that were in the sequence return to the old step; the others leave it."""
    who = add_leads(place, 3)
    place.rows(IN_WELCOME, FIRST_LEAD)
    before = without_remains(read_state(place))
    async with connect(place, "legacy") as client:
        done = await bulk(client, ENTER, emails(who), arguments={**WELCOME, "step": "2"})
        first = await call(client, RUN, undo=done.result["bulk_id"])
        facts = first.error["confirmation"]["facts"]
        assert (facts["count"], facts["not_undone"]["total"]) == (2, 1)
        assert ENTER in facts["not_undone"]["first"][0]["reason"]
        await agree(client, first)
        rest = await undo(client, done.result["bulk_id"])
        assert rest.result["done"] == 1
        assert (await call(client, RUN, undo=done.result["bulk_id"])).code == "already_done"
    assert without_remains(read_state(place)) == before


@pytest.mark.parametrize(
    "sql",
    [
        """UPDATE bulk_items SET arguments = '{"email":"ada@example.com","tag_name":"VIP"}'""",
        "UPDATE bulk_items SET changes = 1, held = ''",
    ],
)
async def test_a_run_that_was_altered_on_disk_is_not_undone(place: Sandbox, sql: str):
    async with connect(place, "legacy") as client:
        id_, who = await tag_all(client, place)
        changed(place, sql)
        answer = await call(client, RUN, undo=id_)
    assert (answer.code, answer.executed) == ("ledger_unavailable", "no")
    assert tagged(place) >= set(who)


async def test_a_run_that_has_not_ended_is_not_undone(place: Sandbox):
    who = add_leads(place, 2)
    async with connect(place, "legacy") as client:
        preview = await plan(client, TAG, emails(who), arguments=VIP)
        answer = await call(client, RUN, undo=bulk_id(preview))
        assert (answer.code, answer.executed) == ("in_progress", "no")
        assert "cancel" in answer.error["remedy"]
        await call(client, STATUS, bulk_id=bulk_id(preview), cancel=True)
        nothing = await call(client, RUN, undo=bulk_id(preview))
    assert (nothing.code, nothing.executed) == ("not_possible", "no")
    assert "changed anything" in nothing.error["message"]


async def test_what_cannot_be_an_undo_is_refused(place: Sandbox):
    async with connect(place, "legacy") as client:
        unknown = await call(client, RUN, undo="blk_000000000000")
        assert (unknown.code, unknown.executed) == ("invalid_arguments", "no")
        more = await call(client, RUN, undo="blk_000000000000", items=[{}], tool=TAG)
        assert (more.code, more.executed) == ("invalid_arguments", "no")
        assert "items, tool" in more.error["message"]
        read = await call(client, RUN, tool="kartra_get_lead", items=[{"lead_id": 48110}])
        reads = await call(client, RUN, undo=read.result["bulk_id"])
    assert reads.code == "not_possible"
    assert "only read" in reads.error["message"]


async def test_an_undo_whose_tool_is_not_allowed_is_refused(place: Sandbox):
    async with connect(place, "legacy") as client:
        id_, who = await tag_all(client, place)
    place.settings["DENY"] = UNTAG
    async with connect(place, "legacy") as client:
        answer = await call(client, RUN, undo=id_)
    assert (answer.code, answer.executed) == ("not_allowed", "no")
    assert tagged(place) >= set(who)


def test_an_undo_has_no_more_items_than_any_run():
    """Each of these leads needs two calls: the rest is left to the next undo."""
    calls = [(VIP, {"tag_name": "Customer"}) for _ in range(1_001)]
    found = [
        InverseItem(
            number, Inverse("assign_tag", tuple({"lead_id": number, **tag} for tag in tags))
        )
        for number, tags in enumerate(calls)
    ]
    chosen = choose_items(found, list_command_tools(()).values(), EarlierUndo())
    assert len(chosen.items) == 2_000
    assert list(chosen.left_out) == [1_000]
    assert "undo the run again" in chosen.left_out[1_000]


async def test_a_run_that_was_made_again_names_the_run_to_undo(place: Sandbox):
    """Bug: it was "undone", with the way to make changes again that were made again already."""
    async with connect(place, "legacy") as client:
        id_, _ = await tag_all(client, place)
        undone = (await undo(client, id_)).result["bulk_id"]
        again = (await undo(client, undone)).result["bulk_id"]
        answer = await call(client, RUN, undo=id_)
        assert (answer.code, answer.executed) == ("already_done", "no")
        assert f"{again} made its changes again" in answer.error["message"]
        remedy = answer.error["remedy"]
        assert f'{{"undo": "{again}"}}' in remedy
        assert f"`kartra-mcp bulk undo {again} --sandbox" in remedy  # it selects this ledger
        last = (await undo(client, again)).result["bulk_id"]
        answer = await call(client, RUN, undo=id_)
    assert f"{id_} was undone by {last}." in answer.error["message"]
