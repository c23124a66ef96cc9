"""Planning of bulk runs: what is checked before the user is asked, and what the preview shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import anyio
import pytest
from bulk_account import (
    CREATE,
    EDIT,
    FIRST_LEAD,
    POINTS,
    REFUND,
    RUN,
    STATUS,
    TAG,
    VIP,
    add_leads,
    agree,
    bulk,
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
from consent_actors import changed, lines, sandbox
from harness import Answer, Sandbox, call, connect
from polling import until

pytestmark = pytest.mark.anyio

REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no tool": ({"items": [{}]}, "invalid_arguments", "tool"),
    "no items": ({"tool": TAG, "items": []}, "invalid_arguments", "no items"),
    "nothing": ({}, "invalid_arguments", "tool"),
    "an item that is no object": ({"tool": TAG, "items": [{}, "x"]}, "invalid_arguments", "1"),
    "too many": ({"tool": CREATE, "items": [{}] * 2001}, "input_too_large", "2,001"),
    "an unknown tool": ({"tool": "kartra_tag_it", "items": [{}]}, "unknown_tool", ""),
    "a tool of the server": ({"tool": RUN, "items": [{}]}, "invalid_arguments", RUN),
    "the raw write": ({"tool": "kartra_proxy_write", "items": [{}]}, "invalid_arguments", "proxy"),
    "an unknown run": ({"bulk_id": "blk_000000000000"}, "invalid_arguments", "id"),
    "a run with other items": (
        {"bulk_id": "blk_000000000000", "items": [{}]},
        "invalid_arguments",
        "items",
    ),
    "a run with other options": (
        {"bulk_id": "blk_000000000000", "skip_invalid": True, "tool": TAG},
        "invalid_arguments",
        "skip_invalid, tool",
    ),
    "an unknown argument": ({"tool": TAG, "itmes": [{}]}, "invalid_arguments", "itmes"),
}


@pytest.fixture
def place(tmp_path: Path) -> Sandbox:
    return sandbox(tmp_path)


@pytest.mark.parametrize("name", REFUSED)
async def test_what_cannot_be_a_run_is_refused(place: Sandbox, name: str):
    given, code, word = REFUSED[name]
    async with connect(place, "legacy") as client:
        answer = await call(client, RUN, **given)
    assert (answer.code, answer.executed) == (code, "no"), answer.text
    assert word in answer.error["message"] + answer.error["remedy"]
    assert changed(place, "SELECT id FROM bulk_runs") == []
    assert place.runs() == []


async def test_a_preview_shows_everything_that_the_contract_names(place: Sandbox):
    who = add_leads(place, 5)
    place.arrange("fault", "set", "assign_tag", "garbage", "--effect")
    given = [*who, who[0], who[1], "ada@example.com", "nobody@example.com", "no address"]
    async with connect(place, "legacy") as client:
        await call(client, TAG, email=who[4], tag_name="Customer")  # its outcome is unknown
        before = place.dump()
        preview = await plan(
            client, TAG, emails(given), arguments={"tag_name": "Customer"}, skip_invalid=True
        )
        assert preview.code == "confirmation_required", preview.text
        assert place.dump() == before
    shown = preview.error["confirmation"]
    facts = shown["facts"]
    assert (facts["count"], facts["duplicates"], facts["can_start_mail"]) == (4, 2, 4)
    assert [item["item"] for item in facts["invalid"]["first"]] == [8, 9]
    assert [item["item"] for item in facts["blocked"]["first"]] == [4, 7]
    assert "outcome is unknown" in facts["blocked"]["first"][0]["reason"]
    assert facts["sample"] == emails(who[:3])
    assert facts["shared"] == {"tag_name": "Customer"}
    assert facts["seconds"] >= 1
    assert "tag" in shown["effect"]
    assert "unassign the tag" in shown["undo"]
    assert shown["bulk_id"].startswith("blk_")
    summary = shown["summary"]
    assert all(word in summary for word in ("SANDBOX", "4 items", "mail 4", '"Customer"'))
    assert summary.isascii()
    assert len(summary) <= 160


async def test_the_first_twenty_invalid_items_are_listed_with_the_total(place: Sandbox):
    items = [{"email": f"x{number}"} for number in range(25)]
    async with connect(place, "legacy") as client:
        answer = await plan(client, CREATE, [*new_leads(2), *items])
        assert (answer.code, answer.executed) == ("invalid_arguments", "no")
        invalid = answer.error["detail"]["invalid"]
        assert (invalid["total"], len(invalid["first"])) == (25, 20)
        assert [item["item"] for item in invalid["first"]] == list(range(2, 22))
        assert all(item["reason"] for item in invalid["first"])
        assert "25 of 27" in answer.error["message"]
        preview = await plan(client, CREATE, [*new_leads(2), *items], skip_invalid=True)
        done = await agree(client, preview)
        assert (done.result["done"], done.result["skipped"]) == (2, 25)
        shown = await states(client, bulk_id(preview))
    assert shown == ["succeeded"] * 2 + ["skipped"] * 25
    assert created(place) == 2


WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "a tag that does not exist": (TAG, {"tag_name": "VIPP"}, 'tag of this name. Nearest: "VIP"'),
    "a list that does not exist": (
        "kartra_subscribe_lead_to_list",
        {"list_name": "Newslettre"},
        "list",
    ),
    "a lead that does not exist": (TAG, {"email": "nobody@example.com", **VIP}, "exist"),
    "a lead that gets points and does not exist": (
        POINTS,
        {"email": "nobody@example.com", "points": 5},
        "exist",
    ),
    "a lead of two": (TAG, {"lead_id": 48110, **VIP}, "same lead"),
    "a custom field that does not exist": (
        EDIT,
        {"custom_fields": [{"field_identifier": "shoe", "field_value": "44"}]},
        "custom field",
    ),
    "an edit of nothing": (EDIT, {}, "no field"),
    "a missing argument": (TAG, {}, "tag_name"),
    "an unknown argument": (TAG, {**VIP, "colour": "red"}, "colour"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_names_and_ids_are_checked_before_the_user_is_asked(place: Sandbox, name: str):
    """Bug: 2,000 leads were planned for a tag that does not exist, under the gate allow."""
    tool, arguments, word = WRONG[name]
    (who,) = add_leads(place, 1)
    async with connect(place, "legacy") as client:
        answer = await plan(client, tool, [{"email": who, **arguments}])
    assert (answer.code, answer.executed) == ("invalid_arguments", "no"), answer.text
    (item,) = answer.error["detail"]["invalid"]["first"]
    assert word in item["reason"]
    assert lines(place, "intent") == []


async def test_an_account_that_was_corrected_is_checked_again(place: Sandbox):
    """Bug: the refusal of an hour ago was repeated for an equal request."""
    given = {"arguments": {"tag_name": "Brand new"}}
    (who,) = add_leads(place, 1)
    async with connect(place, "legacy") as client:
        assert (await plan(client, TAG, emails([who]), **given)).code == "invalid_arguments"
    place.rows("INSERT INTO tags (name) VALUES ('Brand new')")
    async with connect(place, "legacy") as client:
        assert (await plan(client, TAG, emails([who]), **given)).code == "confirmation_required"


async def test_an_equal_request_continues_its_plan(place: Sandbox):
    async with connect(place, "legacy") as client:
        first = await plan(client, CREATE, new_leads(3))
        second = await plan(client, CREATE, new_leads(3))
        other = await plan(client, CREATE, new_leads(2))
        assert bulk_id(first) == bulk_id(second) != bulk_id(other)
        done = await agree(client, first)
        assert done.result["done"] == 3


async def test_a_run_without_items_that_do_something_asks_nobody(place: Sandbox):
    async with connect(place, "legacy") as client:
        answer = await plan(client, TAG, emails(["ada@example.com"]), arguments=VIP)
        assert (answer.code, answer.executed) == ("invalid_arguments", "no")
        assert answer.error["detail"]["blocked"]["total"] == 1


async def test_what_runs_now_is_blocked(place: Sandbox):
    (who, other) = add_leads(place, 2)
    previews: list[Answer] = []
    place.arrange("fault", "set", "assign_tag", "slow", "--message=1")
    async with connect(place, "legacy") as client, connect(place, "legacy") as second:

        async def tag() -> None:
            await call(second, TAG, email=who, **VIP)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tag)
            await until(lambda: bool(place.runs()))
            previews.append(await plan(client, TAG, emails([who, other]), arguments=VIP))
    facts = previews[0].error["confirmation"]["facts"]
    assert (facts["count"], facts["blocked"]["total"]) == (1, 1), facts
    assert "running" in facts["blocked"]["first"][0]["reason"]


async def test_planning_is_continued_when_its_time_is_over(tmp_path: Path):
    place = sandbox(tmp_path, TIMEOUT="4", MAX_CHILDREN="1")
    who = add_leads(place, 8)
    place.arrange("fault", "set", "get_lead", "slow", "--times=8", "--message=0.5")
    calls = 0
    async with connect(place, "legacy") as client:
        await call(client, "kartra_retrieve_account_lists")  # loads the list of actions
        answer = await plan(client, TAG, emails(who), arguments=VIP)
        assert (answer.code, answer.executed) == ("not_enough_time", "no"), answer.text
        id_ = answer.error["detail"]["bulk_id"]
        assert answer.error["detail"]["checked"] < 8
        while answer.code == "not_enough_time":
            answer = await resume(client, id_)
            calls += 1
        assert answer.code == "confirmation_required", answer.text
        assert bulk_id(answer) == id_
        assert answer.error["confirmation"]["facts"]["count"] == 8
        done = await agree(client, answer)
        while done.result["state"] == "running":
            done = await resume(client, id_)
    assert calls > 0
    assert done.result["done"] == 8
    assert tagged(place) >= set(who)
    reads = [words for words in place.runs() if "tag_name" not in str(words)]
    assert len([words for words in reads if "lead7" in str(words)]) == 8


async def test_an_error_of_the_account_while_planning_is_not_called_a_lack_of_time(tmp_path: Path):
    """Bug: a lost login was answered as `not_enough_time`, and leads that could not be read passed.

    The checks that were made are kept.
    """
    place = sandbox(tmp_path, MAX_CHILDREN="1")
    who = add_leads(place, 4)
    async with connect(place, "legacy") as client:
        place.arrange("fault", "set", "get_lead", "not_authenticated")
        answer = await plan(client, TAG, emails(who), arguments=VIP)
        assert (answer.code, answer.executed) == ("not_logged_in", "no"), answer.text
        assert only_run(place) in answer.error["remedy"]
        assert answer.error["detail"]["bulk_id"] == only_run(place)
        preview = await resume(client, only_run(place))
        assert preview.error["confirmation"]["facts"]["count"] == 4


@pytest.mark.parametrize("how", ["by its id", "by its items"])
async def test_a_plan_is_not_agreed_to_under_other_settings(place: Sandbox, how: str):
    """Bug: the consent was asked for and given, and then every item was refused."""
    who = add_leads(place, 2)
    async with connect(place, "legacy") as client:
        preview = await plan(client, TAG, emails(who), arguments=VIP)
    place.settings["GATE_DESTRUCTIVE"] = "human"
    async with connect(place, "legacy") as client:
        if how == "by its id":
            answer = await resume(client, bulk_id(preview))
            assert (answer.code, answer.executed) == ("confirmation_mismatch", "no")
            assert (await resume(client, bulk_id(preview))).result["state"] == "cancelled"
        new = await plan(client, TAG, emails(who), arguments=VIP)
        assert bulk_id(new) != bulk_id(preview)
        assert (await agree(client, new)).result["done"] == 2


async def test_a_lead_by_two_names_is_one_item(place: Sandbox):
    """Bug: it was counted twice, and got its points twice when the run was continued."""
    (who,) = add_leads(place, 1)
    items = [{"email": who}, {"lead_id": FIRST_LEAD}, {"email": who.upper()}]
    async with connect(place, "legacy") as client:
        preview = await plan(client, POINTS, items, arguments={"points": 5})
        facts = preview.error["confirmation"]["facts"]
        assert (facts["count"], facts["blocked"]["total"]) == (1, 2)
        assert "Item 0" in facts["blocked"]["first"][1]["reason"]
        done = await agree(client, preview)
        assert (done.result["state"], done.result["skipped"]) == ("done", 2)
    assert len(place.rows("SELECT 1 FROM points WHERE lead_id = ?", FIRST_LEAD)) == 1


async def test_two_thousand_items_make_one_short_preview(place: Sandbox):
    """Bug: more than 1,000 items were refused as too many names."""
    async with connect(place, "legacy") as client:
        preview = await plan(client, CREATE, new_leads(2000))
    assert preview.code == "confirmation_required", preview.text
    assert preview.error["confirmation"]["facts"]["count"] == 2000
    assert len(preview.text) < 2000


async def test_refunds_show_their_sum_and_count_by_item(place: Sandbox):
    items = [{"transaction_id": 101}, {"transaction_id": 102, "refund_amount": "1.50"}]
    async with connect(place, "legacy") as client:
        answer = await plan(client, REFUND, items)
    assert answer.code == "approval_required"
    facts = answer.error["confirmation"]["facts"]
    assert (facts["count"], facts["amount"]) == (2, "98.50")
    assert "SUM 98.50" in answer.error["confirmation"]["summary"]


async def test_a_second_refund_of_a_sale_is_not_in_the_sum(place: Sandbox):
    """Bug: the user agreed to a sum above the sale; the second refund could never run."""
    items = [{"transaction_id": 101}, {"transaction_id": "101", "refund_amount": "1.50"}]
    async with connect(place, "legacy") as client:
        answer = await plan(client, REFUND, items)
    facts = answer.error["confirmation"]["facts"]
    assert (facts["count"], facts["amount"], facts["blocked"]["total"]) == (1, "97.00", 1)


async def test_a_preview_of_onboarding_names_its_effect_and_tags(place: Sandbox):
    """Bug: it "changes the account in an unknown way", and only the sample had the tag."""
    async with connect(place, "legacy") as client:
        answer = await plan(
            client, "kartra_onboard_lead", new_leads(2), arguments={"tags": ["VIP", "Customer"]}
        )
    shown = answer.error["confirmation"]
    assert 'tags "VIP, Customer"' in shown["summary"]
    assert "unknown" not in shown["effect"]
    assert "deletes the lead" in shown["undo"]


async def test_a_status_lists_runs_and_pages_through_items(place: Sandbox):
    async with connect(place, "legacy") as client:
        done = await bulk(client, CREATE, new_leads(7))
        waiting = await plan(client, CREATE, emails(["made@example.org", "made@example.net"]))
        listed = await call(client, STATUS)
        assert [run["bulk_id"] for run in listed.result["runs"]] == [
            bulk_id(waiting),
            done.result["bulk_id"],
        ]
        page = await call(
            client, STATUS, bulk_id=done.result["bulk_id"], offset=5, limit=10, state="succeeded"
        )
        assert [item["item"] for item in page.result["items"]] == [5, 6]
        cancelled = await call(client, STATUS, bulk_id=bulk_id(waiting), cancel=True)
        assert (cancelled.result["state"], cancelled.result["left"]) == ("cancelled", 2)
        unknown = await call(client, STATUS, bulk_id="blk_000000000000")
        assert unknown.code == "invalid_arguments"
    assert created(place) == 7


async def test_a_plan_that_was_refused_is_no_run_but_has_all_reasons(place: Sandbox):
    """Bug: each mistake of a client stayed in the list, as a run that was cancelled."""
    items = [{"email": f"x{number}"} for number in range(25)]
    async with connect(place, "legacy") as client:
        refused = await plan(client, CREATE, [*new_leads(2), *items])
        empty = await plan(client, CREATE, items, skip_invalid=True)
        runs = (await call(client, STATUS)).result["runs"]
        named = re.search(r"blk_[0-9a-f]+", refused.error["remedy"])
        assert named is not None, refused.text
        status = await call(client, STATUS, bulk_id=named[0], state="skipped")
        cancelled = await plan(client, CREATE, new_leads(2))
        await call(client, STATUS, bulk_id=bulk_id(cancelled), cancel=True)
        after = (await call(client, STATUS)).result["runs"]
    assert (refused.code, empty.code) == ("invalid_arguments", "invalid_arguments")
    assert runs == []
    assert [item["item"] for item in status.result["items"]] == list(range(2, 27))
    assert [run["state"] for run in after] == ["cancelled"]
