"""Leads are read before mail: a suppressed one needs an explicit yes that names the reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from consent_actors import Person, confirmed, lines, sandbox
from harness import Answer, Sandbox, call, connect

from kartra_mcp.bulk import running
from kartra_mcp.consent.mail_check import NO_CONSENT, NO_LEAD, NOT_CHECKED
from kartra_mcp.kartra.commands import COMMANDS

pytestmark = pytest.mark.anyio

RAW, FINE = "kartra_proxy_write", 48129
STATES: Mapping[str, tuple[int, str]] = {
    "blacklisted": (48116, "Alumni"),
    "deleted": (48125, "Alumni"),
    "GDPR not accepted": (48118, "Alumni"),
    "GDPR pending": (48123, "Alumni"),
    "unsubscribed from this list": (48104, "Weekly Letter"),
}
"""Reason: the sandbox's lead, and a list for which the lead has no other reason."""
POINTS = {"cmd": "give_points_to_lead", "points": 10}
TAGGED = {"cmd": "assign_tag", "tag_name": "VIP"}
CLASS = {"calendar_name": "Consultation", "class_name": "Intro call"}
BOOKED = {"cmd": "calendar_subscribe", **CLASS}
LISTED = {"cmd": "subscribe_lead_to_list"}
SEQUENCE = {"sequence_name": "Win-back", "step": "1"}
LEVEL = {"membership_name": "Teacher Portal", "level_name": "Lead teacher"}
SENDING = [
    {
        "id": "68b20f31c7d84e5a96100001",
        "key": "send-text-message",
        "name": "Send text message",
        "inputSchema": {
            "type": "object",
            "properties": {"lead_id": {"type": "integer"}, "points": {"type": "integer"}},
        },
        "x-sandbox": {"cmd": "give_points_to_lead"},
    }
]


def raw(*commands: Mapping[str, Any], **lead: Any) -> dict[str, Any]:
    return {"method": "POST", "path": "/api", "json": {"lead": lead, "actions": list(commands)}}


def ways(lead: int, list_name: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Every way that can start mail to a lead, as tool and arguments."""
    on_list = {**LISTED, "list_name": list_name}
    enter = {"cmd": "subscribe_lead_to_sequence_at_step", **SEQUENCE}
    who = {"lead_id": lead}
    return {
        "assign_tag": ("kartra_assign_tag", {**who, "tag_name": "Spring retreat"}),
        "unassign_tag": ("kartra_unassign_tag", {**who, "tag_name": "Newsletter"}),
        "a list": ("kartra_subscribe_lead_to_list", {**who, "list_name": list_name}),
        "a sequence": ("kartra_subscribe_lead_to_sequence", {**who, **SEQUENCE}),
        "a grant": ("kartra_grant_membership_access", {**who, **LEVEL}),
        "a command tool": ("kartra_calendar_subscribe", {**who, **CLASS}),
        "a raw booking": (RAW, raw(BOOKED, id=lead)),
        "a raw tag": (RAW, raw(TAGGED, id=lead)),
        "a raw list": (RAW, raw(on_list, id=lead)),
        "a raw sequence": (RAW, raw(enter, id=lead)),
        "a chain": (RAW, raw(POINTS, TAGGED, on_list, id=lead)),
        "an unknown action that sends": ("kartra_send_text_message", {**who, "points": 7}),
    }


LIST_WAYS = {"a list", "a raw list", "a chain"}
PLAIN_WAYS = {"assign_tag", "unassign_tag", "a list", "a grant", "a raw tag", "a raw list"}
"""Ways without an additive command: nothing else reads the lead."""


@pytest.fixture
def place(tmp_path: Path) -> Sandbox:
    return sandbox(tmp_path, GATE_DESTRUCTIVE="allow")


def make_effective(place: Sandbox) -> None:
    """Make each way a change: what changes nothing is left out of a run, and not previewed."""
    place.rows("DELETE FROM lead_lists WHERE lead_id = ?", FINE)
    for lead in (FINE, *(lead for lead, _ in STATES.values())):
        place.rows("INSERT OR IGNORE INTO lead_tags VALUES (?, 508)", lead)


def prepare(place: Sandbox, way: str) -> None:
    if way == "an unknown action that sends":
        file = place.folder / "actions.json"
        file.write_text(json.dumps(SENDING))
        place.arrange("actions", "use", str(file))


def notice(answer: Answer) -> str:
    assert answer.structured is not None, answer.text
    return answer.structured["notice"]


@pytest.mark.parametrize("way", ways(FINE, "Alumni"))
@pytest.mark.parametrize("reason", STATES)
async def test_mail_to_a_suppressed_lead_needs_a_yes_that_names_the_reason(
    place: Sandbox, reason: str, way: str
):
    prepare(place, way)
    make_effective(place)
    tool, given = ways(*STATES[reason])[way]
    async with connect(place, "legacy") as client:
        before = place.dump()
        first = await call(client, tool, **given)
        if reason == "unsubscribed from this list" and way not in LIST_WAYS:
            assert not first.failed, first.text
            return
        assert (first.code, first.executed) == ("confirmation_required", "no"), first.text
        shown = first.error["confirmation"]
        assert shown["facts"]["suppressed"] == [reason]
        assert f"SUPPRESSED LEAD: {reason}." in shown["summary"]
        assert len(shown["summary"]) <= 160
        assert reason in first.error["message"]
        assert (place.writes(), place.dump()) == ([], before)
        flagged = await call(client, tool, **given, confirm=True)
        assert flagged.code == "confirmation_required"
        second = await call(client, tool, **given, **confirmed(first))
        assert not second.failed, second.text
    assert len(place.writes()) == 1
    assert [line["consent"] for line in lines(place, "intent")] == ["two_step"]


@pytest.mark.parametrize("way", ways(FINE, "Alumni"))
async def test_mail_to_any_other_lead_takes_one_call_and_one_read(place: Sandbox, way: str):
    prepare(place, way)
    tool, given = ways(FINE, "Alumni")[way]
    async with connect(place, "legacy") as client:
        answer = await call(client, tool, **given)
    assert not answer.failed, answer.text
    assert (len(place.runs()), len(place.writes())) == (2, 1)
    assert "not checked" not in notice(answer)


def test_every_command_that_can_start_mail_is_one_of_these_ways():
    named = {
        "assign_tag",
        "unassign_tag",
        "subscribe_lead_to_list",
        "subscribe_lead_to_sequence_at_step",
        "grant_membership_access",
        "calendar_subscribe",
    }
    assert {name for name, row in COMMANDS.items() if row.may_send_email} == named


async def test_every_gate_above_flag_shows_the_reason(tmp_path: Path):
    policy = tmp_path / "policy.toml"
    policy.write_text('[tools."kartra_assign_tag"]\ngate = "human"\n')
    place = sandbox(tmp_path / "place", POLICY=str(policy))
    tool, given = ways(*STATES["blacklisted"])["assign_tag"]
    async with connect(place, "legacy") as client:
        asked = await call(client, tool, **given)
    assert asked.code == "approval_required"
    assert asked.error["confirmation"]["facts"]["suppressed"] == ["blacklisted"]


async def test_under_flag_the_flag_alone_is_not_enough(tmp_path: Path):
    place = sandbox(tmp_path)
    make_effective(place)
    tool, given = ways(*STATES["blacklisted"])["unassign_tag"]
    async with connect(place, "legacy") as client:
        asked = await call(client, tool, **given, confirm=True)
    assert asked.error["confirmation"]["facts"]["suppressed"] == ["blacklisted"]
    assert place.writes() == []


async def test_a_form_shows_the_reason(place: Sandbox):
    tool, given = ways(*STATES["GDPR pending"])["a sequence"]
    person = Person()
    async with connect(place, "legacy", elicitation_callback=person) as client:
        assert not (await call(client, tool, **given)).failed
    assert "suppressed: GDPR pending" in person.asked[0].message
    assert "gdpr_lead_communications" in str(person.asked[0].message).replace(" ", "_")


async def test_a_declined_form_runs_nothing(place: Sandbox):
    tool, given = ways(*STATES["blacklisted"])["a list"]
    before = place.dump()
    async with connect(place, "legacy", elicitation_callback=Person("decline")) as client:
        assert (await call(client, tool, **given)).code == "declined"
    assert place.dump() == before


async def test_another_reason_after_the_preview_needs_another_yes(place: Sandbox):
    tool, given = ways(*STATES["blacklisted"])["assign_tag"]
    async with connect(place, "legacy") as client:
        first = await call(client, tool, **given)
        place.rows("UPDATE leads SET gdpr_lead_status = 3 WHERE id = ?", 48116)
        second = await call(client, tool, **given, **confirmed(first))
    assert second.code == "facts_changed"
    facts = second.error["confirmation"]["facts"]
    assert facts["suppressed"] == ["blacklisted", "GDPR not accepted"]
    assert place.writes() == []


async def test_a_chain_that_edits_reads_its_lead_once(place: Sandbox):
    edit = raw({"cmd": "edit_lead"}, TAGGED, id=FINE, company="Aasen AS")
    async with connect(place, "legacy") as client:
        answer = await call(client, RAW, **edit)
    assert not answer.failed, answer.text
    assert (len(place.runs()), len(place.writes())) == (2, 1)


async def test_a_chain_with_a_change_of_a_subscription_names_the_reason(place: Sandbox):
    place.settings["GATE_IRREVERSIBLE"] = "allow"
    edit = {"cmd": "edit_subscription", "subscription_id": 201, "subscription_amount": "29.00"}
    async with connect(place, "legacy") as client:
        before = place.dump()
        asked = await call(client, RAW, **raw(edit, TAGGED, id=48116))
    assert asked.error["confirmation"]["facts"]["suppressed"] == ["blacklisted"]
    assert (place.dump(), lines(place, "intent")) == (before, [])


async def test_a_wrong_name_is_refused_before_the_user_is_asked(place: Sandbox):
    async with connect(place, "legacy") as client:
        answer = await call(client, "kartra_assign_tag", lead_id=48116, tag_name="VIPP")
    assert answer.code == "invalid_arguments"
    assert answer.error["detail"]["nearest"] == ["VIP"]


# Leads that cannot be read


async def test_a_failed_read_is_the_answer_and_nothing_runs(place: Sandbox):
    before = place.dump()
    place.arrange("fault", "set", "get_lead", "garbage", "--times=9")
    tool, given = ways(FINE, "Alumni")["assign_tag"]
    async with connect(place, "legacy") as client:
        answer = await call(client, tool, **given)
        assert (answer.code, answer.executed) == ("unreadable_answer", "no")
        assert answer.error["message"].startswith("SANDBOX: The lead could not be read")
        assert (place.writes(), lines(place, "intent")) == ([], [])
        place.arrange("fault", "clear")
        assert place.dump() == before
        assert not (await call(client, tool, **given)).failed


async def test_a_read_that_kartra_refuses_needs_an_explicit_yes(place: Sandbox):
    place.arrange("fault", "set", "get_lead", "204", "--times=9")
    tool, given = ways(FINE, "Alumni")["assign_tag"]
    async with connect(place, "legacy") as client:
        first = await call(client, tool, **given)
        assert first.code == "confirmation_required"
        assert "NOT READ: the lead" in first.error["confirmation"]["summary"]
        assert not (await call(client, tool, **given, **confirmed(first))).failed


@pytest.mark.parametrize("lead", [{"lead_id": 99999}, {"email": "gone@example.org"}])
async def test_a_lead_that_does_not_exist_is_kartras_to_refuse(place: Sandbox, lead: Any):
    async with connect(place, "legacy") as client:
        answer = await call(client, "kartra_assign_tag", **lead, tag_name="VIP")
    assert (answer.code, answer.executed) == ("kartra_error", "no")


async def test_a_chain_that_creates_its_lead_runs_at_once(place: Sandbox):
    async with connect(place, "legacy") as client:
        answer = await call(
            client, RAW, **raw({"cmd": "create_lead"}, TAGGED, email="e@example.org")
        )
    assert not answer.failed, answer.text
    assert notice(answer).count(NO_CONSENT) == 1


async def test_a_chain_that_would_create_a_suppressed_lead_does_not_run(place: Sandbox):
    """The sandbox goes on after a creation that fails, so that the tag would be assigned."""
    chain = raw({"cmd": "create_lead"}, TAGGED, email="oscar@example.net")
    async with connect(place, "legacy") as client:
        answer = await call(client, RAW, **chain)
    assert (answer.code, answer.executed) == ("invalid_arguments", "no")
    assert place.writes() == []


async def test_a_call_that_names_no_lead_reports_that_none_was_checked(place: Sandbox):
    prepare(place, "an unknown action that sends")
    async with connect(place, "legacy") as client:
        answer = await call(client, "kartra_send_text_message", points=1)
    assert answer.failed or NO_LEAD in notice(answer)


# What the answer states


@pytest.mark.parametrize("way", ways(FINE, "Alumni"))
async def test_without_the_check_no_lead_is_read_and_the_answer_says_so(place: Sandbox, way: str):
    prepare(place, way)
    place.settings["CHECK_LEAD"] = "off"
    tool, given = ways(*STATES["blacklisted"])[way]
    async with connect(place, "legacy") as client:
        answer = await call(client, tool, **given)
    assert NOT_CHECKED in notice(answer)
    assert len(place.writes()) == 1
    if way in PLAIN_WAYS:
        assert len(place.runs()) == 1


async def test_the_answer_of_a_creation_states_that_it_is_no_consent(place: Sandbox):
    async with connect(place, "legacy") as client:
        created = await call(client, "kartra_create_lead", email="eve@example.org")
        edited = await call(client, "kartra_edit_lead", email="eve@example.org", city="Oslo")
    assert NO_CONSENT in notice(created)
    assert NO_CONSENT not in notice(edited)


async def test_turning_the_check_off_is_recorded_as_a_relaxation(place: Sandbox):
    told: list[Any] = []
    for switch in ("on", "off"):
        place.settings["CHECK_LEAD"] = switch
        async with connect(place, "legacy") as client:
            told.append((await call(client, "kartra_status")).result)
    assert [one["rules"]["check_lead"] for one in told] == [True, False]
    assert told[0]["ledger"]["loosened"] == []
    assert told[1]["ledger"]["loosened"] == ["the lead is not checked before mail any more"]


# Bulk runs


TOOL_WAYS = [way for way, (tool, _) in ways(FINE, "Alumni").items() if tool != RAW]


def two_leads(reason: str, way: str) -> dict[str, Any]:
    """A bulk run of a way to a suppressed lead and to another one."""
    tool, given = ways(*STATES[reason])[way]
    shared = {name: value for name, value in given.items() if name != "lead_id"}
    items = [{"lead_id": given["lead_id"]}, {"lead_id": FINE}]
    return {"tool": tool, "arguments": shared, "items": items}


@pytest.mark.parametrize("way", TOOL_WAYS)
@pytest.mark.parametrize("reason", STATES)
async def test_a_bulk_run_leaves_out_a_suppressed_lead(place: Sandbox, reason: str, way: str):
    prepare(place, way)
    make_effective(place)
    async with connect(place, "legacy") as client:
        asked = await call(client, "kartra_bulk_run", **two_leads(reason, way))
        assert asked.code == "confirmation_required", asked.text
        shown = asked.error["confirmation"]
        if reason == "unsubscribed from this list" and way not in LIST_WAYS:
            assert "suppressed" not in shown["facts"]
            return
        first = [{"item": 0, "reason": reason}]
        left_out = {"total": 1, "by_reason": {reason: 1}, "first": first}
        assert (shown["facts"]["count"], shown["facts"]["suppressed"]) == (1, left_out)
        done = await call(client, "kartra_bulk_run", bulk_id=shown["bulk_id"], **confirmed(asked))
    assert (done.result["done"], done.result["skipped"]) == (1, 1), done.text
    assert [line["target"] for line in lines(place, "intent")] == [str(FINE)]


@pytest.mark.parametrize("reason", STATES)
async def test_a_bulk_run_mails_suppressed_leads_only_on_request(place: Sandbox, reason: str):
    make_effective(place)
    run = {**two_leads(reason, "a list"), "include_suppressed": True}
    async with connect(place, "legacy") as client:
        asked = await call(client, "kartra_bulk_run", **run)
        shown = asked.error["confirmation"]
        assert "suppressed too" in shown["summary"]
        assert shown["facts"]["count"] == 2
        assert shown["facts"]["suppressed"]["first"] == [{"item": 0, "reason": reason}]
        done = await call(client, "kartra_bulk_run", bulk_id=shown["bulk_id"], **confirmed(asked))
    assert (done.result["done"], done.result["failed"]) == (2, 0), done.text


async def test_an_item_whose_lead_is_suppressed_since_the_preview_does_not_run(
    place: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    """A lead that was read longer ago than this is read again."""
    monkeypatch.setattr(running, "LOOK_LIFETIME", 0.0)
    run = {"tool": "kartra_assign_tag", "arguments": {"tag_name": "VIP"}}
    async with connect(place, "legacy") as client:
        asked = await call(client, "kartra_bulk_run", **run, items=[{"lead_id": FINE}])
        shown = asked.error["confirmation"]
        place.rows("UPDATE leads SET blacklisted = 1 WHERE id = ?", FINE)
        before = place.dump()
        done = await call(client, "kartra_bulk_run", bulk_id=shown["bulk_id"], **confirmed(asked))
    (failure,) = done.result["failures"]
    assert failure["code"] == "facts_changed"
    assert "blacklisted" in failure["reason"]
    assert place.dump() == before


async def test_suppressed_items_are_counted_by_reason(place: Sandbox):
    place.rows("UPDATE leads SET gdpr_lead_status = 5 WHERE id = 48116")
    leads = [48116, 48123, 48118, FINE]
    run = {"tool": "kartra_assign_tag", "arguments": {"tag_name": "Spring retreat"}}
    async with connect(place, "legacy") as client:
        asked = await call(
            client, "kartra_bulk_run", **run, items=[{"lead_id": lead} for lead in leads]
        )
    facts = asked.error["confirmation"]["facts"]
    assert (facts["count"], facts["suppressed"]["total"]) == (1, 3)
    by_reason = {"blacklisted": 1, "GDPR pending": 2, "GDPR not accepted": 1}
    assert facts["suppressed"]["by_reason"] == by_reason
    assert "leads_not_checked" not in facts


@pytest.mark.parametrize("include", [False, True])
async def test_a_lead_is_read_once_for_its_item_and_the_user_is_asked_once(
    place: Sandbox, *, include: bool
):
    """The run itself reads no lead: that was done for the preview."""
    make_effective(place)
    lead, _ = STATES["blacklisted"]
    items = [{"lead_id": lead}, {"lead_id": FINE}]
    run = {"tool": "kartra_assign_tag", "arguments": {"tag_name": "Spring retreat"}}
    person = Person()
    async with connect(place, "legacy", elicitation_callback=person) as client:
        done = await call(client, "kartra_bulk_run", **run, items=items, include_suppressed=include)
    assert done.result["done"] == 1 + include, done.text
    assert len(person.asked) == 1
    reads = [words for words in place.runs() if words not in place.writes()]
    assert len([words for words in reads if str(lead) in str(words)]) == 1
    assert len([words for words in reads if str(FINE) in str(words)]) == 1
    assert len(place.writes()) == 1 + include


async def test_a_bulk_run_without_the_check_names_the_leads_that_were_not_checked(place: Sandbox):
    place.settings["CHECK_LEAD"] = "off"
    make_effective(place)
    async with connect(place, "legacy") as client:
        asked = await call(client, "kartra_bulk_run", **two_leads("blacklisted", "a list"))
    facts = asked.error["confirmation"]["facts"]
    assert (facts["count"], facts["leads_not_checked"]) == (2, 2)
    assert "suppressed" not in facts
