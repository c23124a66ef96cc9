"""Consent to bulk runs: gates, limits, two calls, questions, approvals, and how long they hold."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from bulk_account import (
    CREATE,
    POINTS,
    REFUND,
    RUN,
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
    tagged,
)
from consent_actors import Person, changed, confirmed, decided, ledger_folder, lines, sandbox
from harness import both_eras, call, connect

from kartra_mcp.core.timings import Clocks
from kartra_mcp.ledger.sqlite.store import open_ledger

pytestmark = pytest.mark.anyio

SALES = [{"transaction_id": 101}, {"transaction_id": 102, "refund_amount": "1.50"}]
UNTAG = "kartra_unassign_tag"


class LaterClocks:
    """The real clocks, and so many seconds more."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.both = Clocks(lambda: time.time() + self.ahead, lambda: time.monotonic() + self.ahead)


GATED: dict[str, tuple[dict[str, str], str, dict[str, Any], str]] = {
    "a write under allow": ({}, TAG, VIP, "confirmation_required"),
    "a write under its own gate": (
        {"POLICY": '[tools."kartra_assign_tag"]\ngate = "human"'},
        TAG,
        VIP,
        "approval_required",
    ),
    "a destructive write under allow": (
        {"GATE_DESTRUCTIVE": "allow"},
        "kartra_remove_points_from_lead",
        {"points": 1},
        "confirmation_required",
    ),
    "a destructive write under human": (
        {"GATE_DESTRUCTIVE": "human"},
        "kartra_remove_points_from_lead",
        {"points": 1},
        "approval_required",
    ),
    "a destructive write under deny": (
        {"GATE_DESTRUCTIVE": "deny"},
        "kartra_remove_points_from_lead",
        {"points": 1},
        "not_allowed",
    ),
    "a denied tool": ({"DENY": "kartra_assign_tag"}, TAG, VIP, "not_allowed"),
    "a denied command": ({"DENY": "assign_tag"}, TAG, VIP, "not_allowed"),
    "a tool that is not allowed": (
        {"ALLOW": "kartra_bulk_run,kartra_get_*"},
        TAG,
        VIP,
        "not_allowed",
    ),
    "the bulk tool denied": ({"DENY": "kartra_bulk_run"}, TAG, VIP, "not_allowed"),
    "a write under read-only": ({"READ_ONLY": "on"}, TAG, VIP, "read_only"),
    "a tool denied by its gate": (
        {"POLICY": '[tools."kartra_assign_tag"]\ngate = "deny"'},
        TAG,
        VIP,
        "not_allowed",
    ),
    "mail above the limit": ({"MAIL_PER_HOUR": "1"}, TAG, VIP, "approval_required"),
    "mail up to the limit": ({"MAIL_PER_HOUR": "2"}, TAG, VIP, "confirmation_required"),
}


@pytest.mark.parametrize("name", GATED)
async def test_a_run_has_at_least_the_gate_of_its_items(tmp_path: Path, name: str):
    settings, tool, shared, code = GATED[name]
    if "POLICY" in settings:
        file = tmp_path / "policy.toml"
        file.write_text(settings["POLICY"])
        settings = {"POLICY": str(file)}
    place = sandbox(tmp_path / "state", **settings)
    who = add_leads(place, 2)
    before = place.dump()
    async with connect(place, "legacy") as client:
        answer = await plan(client, tool, emails(who), arguments=shared)
    assert (answer.code, answer.executed) == (code, "no"), answer.text
    assert place.dump() == before


@pytest.mark.parametrize("gate", ["allow", "flag", "preview", "human"])
async def test_irreversible_items_need_a_human_whatever_their_gate(tmp_path: Path, gate: str):
    place = sandbox(tmp_path, GATE_IRREVERSIBLE=gate)
    async with connect(place, "legacy") as client:
        answer = await plan(client, REFUND, SALES)
    assert answer.code == "approval_required"
    async with connect(place, "legacy", elicitation_callback=Person()) as client:
        done = await plan(client, REFUND, SALES)
    assert done.result["done"] == 2
    assert {line["consent"] for line in lines(place, "intent")} == {"elicitation"}


async def test_reads_need_no_consent(tmp_path: Path):
    place = sandbox(tmp_path, READ_ONLY="on")
    async with connect(place, "legacy") as client:
        done = await plan(client, "kartra_get_lead", emails(["ada@example.com", "x@example.com"]))
        assert (done.result["state"], done.result["done"]) == ("done", 1), done.text
    assert lines(place, "bulk") == lines(place, "intent") == []


CAPS: dict[str, tuple[dict[str, str], str]] = {
    "the number a day": ({"CAP_DAY_COUNT": "1"}, "CAP_DAY_COUNT"),
    "the sum a day": ({"CAP_DAY_AMOUNT": "98"}, "CAP_DAY_AMOUNT"),
    "one refund": ({"CAP_REFUND": "50"}, "CAP_REFUND"),
}


@pytest.mark.parametrize("name", CAPS)
async def test_caps_hold_for_the_whole_before_it_starts(tmp_path: Path, name: str):
    settings, cap = CAPS[name]
    place = sandbox(tmp_path, **settings)
    person = Person()
    async with connect(place, "legacy", elicitation_callback=person) as client:
        answer = await plan(client, REFUND, SALES)
    assert (answer.code, answer.executed) == ("cap_reached", "no")
    assert cap in answer.error["detail"]["cap"]
    assert person.asked == []
    assert lines(place, "intent") == []


async def test_the_number_a_day_holds_for_each_item_as_it_starts(tmp_path: Path):
    """An item with an unknown outcome counts."""
    place = sandbox(tmp_path, CAP_DAY_COUNT="2", MAX_CHILDREN="1", GATE_IRREVERSIBLE="allow")
    place.arrange("fault", "set", "refund_transaction", "garbage", "--effect")
    async with connect(place, "legacy", elicitation_callback=Person()) as client:
        assert (await plan(client, REFUND, SALES)).code == "bulk_paused"
        assert not (await call(client, REFUND, transaction_id=105)).failed
        answer = await resume(client, only_run(place))
    assert answer.code == "bulk_paused"
    assert "CAP_DAY_COUNT" in answer.error["detail"]["why"]
    assert (answer.error["detail"]["left"], len(lines(place, "intent"))) == (1, 2)


async def test_the_mail_limit_holds_for_each_item_as_it_starts(tmp_path: Path):
    place = sandbox(tmp_path, MAIL_PER_HOUR="6", MAX_CHILDREN="1")
    who = add_leads(place, 6)
    place.arrange("fault", "set", "assign_tag", "211", "--times=3")
    async with connect(place, "legacy") as client:
        assert (await bulk(client, TAG, emails(who), arguments=VIP)).code == "bulk_paused"
        for email in who[:4]:
            assert not (await call(client, TAG, email=email, tag_name="Customer")).failed
        answer = await resume(client, only_run(place))
        assert answer.code == "bulk_paused"
        assert "MAIL_PER_HOUR" in answer.error["detail"]["why"]
        assert answer.error["detail"]["left"] == 1
    assert len(tagged(place) & set(who)) == 2


async def test_two_calls_are_recorded_as_two_step_on_each_item(tmp_path: Path):
    place = sandbox(tmp_path)
    async with connect(place, "legacy") as client:
        preview = await plan(client, CREATE, new_leads(3))
        done = await agree(client, preview)
        assert done.result["done"] == 3
        again = await call(client, RUN, bulk_id=bulk_id(preview), **confirmed(preview))
        assert again.result == done.result
    intents = lines(place, "intent")
    assert {(line["consent"], line["bulk"]) for line in intents} == {("two_step", bulk_id(preview))}
    assert sorted(line["item"] for line in intents) == [0, 1, 2]
    (agreed,) = [line for line in lines(place, "bulk") if line["event"] == "agreed"]
    assert (agreed["consent"], agreed["count"]) == ("two_step", 3)


WRONG_WORDS: dict[str, tuple[dict[str, Any], str]] = {
    "no confirm": ({"confirm": False}, "confirmation_required"),
    "another summary": ({"confirmation_summary": "SANDBOX BULK"}, "confirmation_mismatch"),
    "an invented id": ({"confirmation_id": "x" * 24}, "confirmation_mismatch"),
}


@pytest.mark.parametrize("name", WRONG_WORDS)
async def test_a_wrong_confirmation_runs_nothing(tmp_path: Path, name: str):
    instead, code = WRONG_WORDS[name]
    place = sandbox(tmp_path)
    async with connect(place, "legacy") as client:
        preview = await plan(client, CREATE, new_leads(2))
        answer = await call(client, RUN, bulk_id=bulk_id(preview), **confirmed(preview, **instead))
        assert (answer.code, answer.executed) == (code, "no")
    assert created(place) == 0


async def test_a_confirmation_is_for_one_run(tmp_path: Path):
    place = sandbox(tmp_path)
    async with connect(place, "legacy") as client:
        one = await plan(client, CREATE, new_leads(2))
        other = await plan(client, CREATE, emails(["made@example.org"]))
        crossed = await call(client, RUN, bulk_id=bulk_id(other), **confirmed(one))
        assert (crossed.code, crossed.executed) == ("confirmation_mismatch", "no")
    assert created(place) == 0


@both_eras
async def test_a_question_shows_the_run_and_its_answer_runs_it(tmp_path: Path, protocol_version):
    place = sandbox(tmp_path)
    who = add_leads(place, 2)
    person = Person()
    async with connect(place, protocol_version, elicitation_callback=person) as client:
        done = await plan(client, TAG, emails(who), arguments=VIP)
    assert done.result["done"] == 2, done.text
    (asked,) = person.asked
    assert all(word in asked.message for word in ("2 items", "VIP", "can start mail: 2"))
    assert tagged(place) >= set(who)
    assert {line["consent"] for line in lines(place, "intent")} == {"elicitation"}


@both_eras
@pytest.mark.parametrize("no", ["decline", "cancel"])
async def test_a_no_runs_nothing_and_holds(tmp_path: Path, protocol_version, no: str):
    place = sandbox(tmp_path)
    why = {"decline": "declined", "cancel": "dismissed"}[no]
    async with connect(place, protocol_version, elicitation_callback=Person(no)) as client:
        assert (await plan(client, CREATE, new_leads(2))).code == why
        assert (await plan(client, CREATE, new_leads(2))).code == why
    async with connect(place, protocol_version) as client:
        answer = await resume(client, only_run(place))
        assert (answer.code, answer.executed) == (why, "no")
    assert created(place) == 0


@both_eras
async def test_a_sum_is_typed_for_irreversible_items(tmp_path: Path, protocol_version):
    place = sandbox(tmp_path)
    wrong = Person(amount="97.00")
    async with connect(place, protocol_version, elicitation_callback=wrong) as client:
        assert (await plan(client, REFUND, SALES)).code == "declined"
    assert lines(place, "intent") == []


@both_eras
async def test_an_approval_is_for_exactly_one_run(tmp_path: Path, protocol_version):
    place = sandbox(tmp_path, APPROVAL="outside", GATE_DESTRUCTIVE="human")
    async with connect(place, protocol_version) as client:
        wanted = await plan(client, REFUND, SALES)
        assert wanted.code == "approval_required"
        shown = wanted.error["confirmation"]
        assert shown["facts"]["amount"] == "98.50"
        assert (await resume(client, shown["bulk_id"])).code == "approval_required"
        with closing(open_ledger(ledger_folder(place))) as ledger:
            decided(ledger, shown["number"], approve=True, reason="", who="ada")
        done = await resume(client, shown["bulk_id"])
        assert done.result["done"] == 2, done.text
        other = await plan(client, REFUND, [{"transaction_id": 105}])
        assert other.code == "approval_required"
    assert {line["consent"] for line in lines(place, "intent")} == {"approval"}


async def test_a_consent_holds_for_a_day(tmp_path: Path):
    place = sandbox(tmp_path, MAX_CHILDREN="1")
    place.arrange("fault", "set", "create_lead", "244", "--times=3")
    clocks = LaterClocks()
    async with connect(place, "legacy", clocks=clocks.both) as client:
        paused = await bulk(client, CREATE, new_leads(6))
        id_ = paused.error["detail"]["bulk_id"]
        clocks.ahead = 86_400
        late = await resume(client, id_)
        assert (late.code, late.executed) == ("confirmation_expired", "no")
        assert created(place) == 0
        clocks.ahead = 86_300
    async with connect(place, "legacy", clocks=clocks.both) as client:
        answer = await resume(client, id_)
        assert (answer.result["state"], answer.result["done"]) == ("done", 3)


async def test_another_connection_does_not_continue_a_run(tmp_path: Path):
    place = sandbox(tmp_path)
    async with connect(place, "legacy") as client:
        preview = await plan(client, CREATE, new_leads(2))
    changed(place, "UPDATE bulk_runs SET connection = 'another'")
    async with connect(place, "legacy") as client:
        answer = await call(client, RUN, bulk_id=bulk_id(preview), **confirmed(preview))
        assert (answer.code, answer.executed) == ("invalid_arguments", "no")
        assert "KARTRA_MCP_CONNECTION" in answer.error["remedy"]
    assert created(place) == 0
    assert bulk_events(place) == []


async def test_repeat_is_part_of_what_is_agreed_to(tmp_path: Path):
    place = sandbox(tmp_path)
    who = add_leads(place, 2)
    given = {"arguments": {"points": 5}}
    async with connect(place, "legacy") as client:
        assert (await bulk(client, POINTS, emails(who), **given)).result["done"] == 2
        again = await plan(client, POINTS, emails(who), **given)
        assert again.error["detail"]["blocked"]["total"] == 2
        repeated = await plan(client, POINTS, emails(who), repeat=True, **given)
        assert "AGAIN" in repeated.error["confirmation"]["summary"]
        assert (await agree(client, repeated)).result["done"] == 2
    assert len(place.rows("SELECT 1 FROM points WHERE lead_id >= 70001")) == 4


OTHER_WAY: dict[str, bool] = {"another run": True, "a call of its own": False}


@pytest.mark.parametrize("way", OTHER_WAY)
async def test_an_item_that_was_done_since_the_plan_is_not_done_again(tmp_path: Path, way: str):
    """Bug: a run that was planned twice gave the points twice, if a minute lay between."""
    place, clocks = sandbox(tmp_path), LaterClocks()
    (who,) = add_leads(place, 1)
    async with connect(place, "legacy", clocks=clocks.both) as client:
        first = await plan(client, POINTS, emails([who]), arguments={"points": 5})
        if OTHER_WAY[way]:
            await bulk(client, POINTS, [{"email": who, "points": 5}], skip_invalid=True)
        else:
            assert not (await call(client, POINTS, email=who, points=5)).failed
        clocks.ahead = 100.0
        done = await agree(client, first)
    assert (done.result["done"], done.result["skipped"]) == (0, 1), done.text
    assert len(place.rows("SELECT 1 FROM points WHERE lead_id >= 70001")) == 1
