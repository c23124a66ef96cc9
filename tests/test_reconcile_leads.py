"""A lost write of a tag, list, sequence or membership is settled where the lead shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from consent_actors import confirmed, lines
from harness import Answer, Sandbox, call, connect
from reconcile_clock import LATE, LATER, QUARTER, Clock, opened

from kartra_mcp.calls.lead_settlement import evaluate_lead
from kartra_mcp.calls.reconciliation import PastLooks
from kartra_mcp.kartra.lead_state import HeldState

pytestmark = pytest.mark.anyio

ADA, NEW, NEW_ADDRESS = 48110, 48129, "new@example.net"
RAW = "kartra_proxy_write"
POLICY = """
[tools]
"kartra_*assign_tag" = {gate = "preview"}
"kartra_*subscribe_lead*" = {gate = "preview"}
"kartra_*membership*" = {gate = "preview"}
"""

# command → its tool, and arguments that change the lead 48110
CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "assign_tag": ("kartra_assign_tag", {"tag_name": "Affiliate"}),
    "unassign_tag": ("kartra_unassign_tag", {"tag_name": "VIP"}),
    "subscribe_lead_to_list": ("kartra_subscribe_lead_to_list", {"list_name": "Alumni"}),
    "unsubscribe_lead_from_list": (
        "kartra_unsubscribe_lead_from_list",
        {"list_name": "Weekly Letter"},
    ),
    "subscribe_lead_to_sequence_at_step": (
        "kartra_subscribe_lead_to_sequence",
        {"sequence_name": "Win-back", "step": "2"},
    ),
    "unsubscribe_lead_from_sequence": (
        "kartra_unsubscribe_lead_from_sequence",
        {"sequence_name": "Studio Circle onboarding"},
    ),
    "grant_membership_access": (
        "kartra_grant_membership_access",
        {"membership_name": "Teacher Portal", "level_name": "Assistant"},
    ),
    "revoke_membership_access": (
        "kartra_revoke_membership_access",
        {"membership_name": "Studio Circle"},
    ),
}
NOT_PROVED_BY_ABSENCE = {"subscribe_lead_to_sequence_at_step"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def place(tmp_path: Path) -> Sandbox:
    """An account whose previews read the lead before each of these writes."""
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    return Sandbox(tmp_path / "state", {"POLICY": str(policy)}).arrange("reset")


@pytest.fixture
def unread(tmp_path: Path) -> Sandbox:
    """An account whose gates read nothing before these writes."""
    settings = {"GATE_DESTRUCTIVE": "allow", "CAP_DAY_COUNT": "50", "CHECK_LEAD": "off"}
    return Sandbox(tmp_path / "state", settings).arrange("reset")


async def write(client: Any, tool: str, **given: Any) -> Answer:
    answer = await call(client, tool, **given)
    if answer.failed and answer.code == "confirmation_required":
        answer = await call(client, tool, **given, **confirmed(answer))
    return answer


async def lose(client: Any, place: Sandbox, command: str, *, effect: bool, **lead: Any) -> str:
    """Run the change of a command, lose its answer, and return the intent."""
    tool, given = CHANGES[command]
    place.arrange("fault", "set", command, "garbage", *(["--effect"] if effect else []))
    answer = await write(client, tool, **(lead or {"lead_id": ADA}), **given)
    assert answer.executed == "unknown", answer.text
    return lines(place, "intent")[-1]["intent"]


async def look(client: Any, intent: str) -> dict[str, Any]:
    answer = await call(client, "kartra_reconcile", intent=intent)
    assert not answer.failed, answer.text
    return answer.result


@pytest.mark.parametrize("command", CHANGES)
async def test_a_lost_write_that_the_lead_shows_is_settled(place: Sandbox, clock, command: str):
    """Bug: only a run log settled it, which the program does not give."""
    async with opened(place, clock) as client:
        intent = await lose(client, place, command, effect=True)
        before = place.dump()
        found = await look(client, intent)
        assert (found["state"], "check" in found) == ("succeeded", False), found
        assert place.dump() == before
        (line,) = (await call(client, "kartra_ledger")).result["lines"]
    assert (line["state"], line["executed"]) == ("succeeded", "yes")


@pytest.mark.parametrize("command", CHANGES)
async def test_a_lost_write_that_two_late_looks_do_not_show_failed(
    place: Sandbox, clock, command: str
):
    async with opened(place, clock) as client:
        intent = await lose(client, place, command, effect=False)
        states = [(await look(client, intent))["state"]]
        for clock.ahead in (LATE, LATE + 60, LATER):
            states.append((await look(client, intent))["state"])
    last = "unknown" if command in NOT_PROVED_BY_ABSENCE else "failed"
    assert states == ["unknown", "unknown", "unknown", last]


@pytest.mark.parametrize("command", CHANGES)
async def test_the_present_state_alone_does_not_prove_which_call_made_it(
    unread: Sandbox, clock, command: str
):
    tool, _ = CHANGES[command]
    if tool == "kartra_revoke_membership_access":
        unread.settings["GATE_DESTRUCTIVE"] = "flag"
    async with opened(unread, clock) as client:
        tool, given = CHANGES[command]
        unread.arrange("fault", "set", command, "garbage", "--effect")
        answer = await call(client, tool, lead_id=ADA, **given, confirm=True)
        assert answer.executed == "unknown", answer.text
        (line,) = lines(unread, "intent")
        for clock.ahead in (0.0, LATE, LATER):
            found = await look(client, line["intent"])
            assert found["state"] == "unknown"
            assert "not read before" in found["why"]
            assert "Nothing has to be done" in found["check"]


async def test_another_write_of_the_same_object_leaves_it_unknown(place: Sandbox, clock):
    """The tag is there by the second call; whether the first one ran is not known."""
    async with opened(place, clock) as client:
        intent = await lose(client, place, "assign_tag", effect=False)
        tool, given = CHANGES["assign_tag"]
        again = await write(client, tool, lead_id=ADA, **given, repeat=True)
        assert not again.failed, again.text
        for clock.ahead in (0.0, LATE, LATER):
            found = await look(client, intent)
            assert (found["state"], "Another write" in found["why"]) == ("unknown", True)


async def test_a_write_of_another_object_does_not_hinder(place: Sandbox, clock):
    async with opened(place, clock) as client:
        intent = await lose(client, place, "assign_tag", effect=True)
        assert not (
            await write(client, "kartra_assign_tag", lead_id=ADA, tag_name="Newsletter")
        ).failed
        assert (await look(client, intent))["state"] == "succeeded"


async def test_a_lead_named_by_its_address_is_read_by_the_id_that_was_seen(unread: Sandbox, clock):
    """The ledger keeps a mask of the address only, by which no lead can be read."""
    async with opened(unread, clock) as client:
        intent = await lose(client, unread, "assign_tag", effect=False, email=NEW_ADDRESS)
        found = await look(client, intent)
        assert found["state"] == "unknown"
        assert "kartra_get_lead" in found["check"]
        assert not (await call(client, "kartra_get_lead", email=NEW_ADDRESS)).failed
        for clock.ahead in (LATE, LATER):
            found = await look(client, intent)
    assert found["state"] == "failed"


async def test_a_lead_that_cannot_be_read_settles_nothing(place: Sandbox, clock):
    async with opened(place, clock) as client:
        intent = await lose(client, place, "unassign_tag", effect=False)
        for clock.ahead in (LATE, LATER, LATER + 400):
            place.arrange("fault", "set", "get_lead", "internal", "--times=9")
            found = await look(client, intent)
            assert (found["state"], "could be read" in found["why"]) == ("unknown", True)


# What was read before a write makes its receipt certain.

CIRCLE = "Studio Circle onboarding"
# name → tool, arguments, the undo (None: there is none), `changed`
KNOWN: dict[str, tuple[str, dict[str, Any], str | None, bool | None]] = {
    "a tag": ("kartra_assign_tag", {"tag_name": "Affiliate"}, 'unassign the tag "Affiliate"', True),
    "a tag that it has": ("kartra_assign_tag", {"tag_name": "VIP"}, None, False),
    "a list": (
        "kartra_subscribe_lead_to_list",
        {"list_name": "Alumni"},
        'unsubscribe the lead from the list "Alumni"',
        True,
    ),
    "a sequence that it leaves": (
        "kartra_unsubscribe_lead_from_sequence",
        {"sequence_name": CIRCLE},
        f'subscribe the lead to the sequence "{CIRCLE}" again at step 3a',
        True,
    ),
    "a sequence that it is in, at another step": (
        "kartra_subscribe_lead_to_sequence",
        {"sequence_name": CIRCLE, "step": "1"},
        (
            f'subscribe the lead to the sequence "{CIRCLE}" at step 3a again; '
            "mail already sent cannot be recalled"
        ),
        True,
    ),
    "a sequence that it is in, at that step": (
        "kartra_subscribe_lead_to_sequence",
        {"sequence_name": CIRCLE, "step": "3a"},
        None,
        None,
    ),
    "a membership without a level": (
        "kartra_revoke_membership_access",
        {"membership_name": "Studio Circle"},
        (
            'grant the access to the membership "Studio Circle", level "Gold" again; what this '
            "does to the lead's progress is not documented"
        ),
        True,
    ),
}


@pytest.mark.parametrize("name", KNOWN)
async def test_the_undo_names_what_was_held_before(place: Sandbox, name: str):
    """Bug: `at the step that get_lead showed before`, and a membership without its level."""
    tool, given, undo, changed = KNOWN[name]
    async with connect(place, "legacy") as client:
        preview = await call(client, tool, lead_id=ADA, **given)
        shown = preview.error["confirmation"]
        answer = await call(client, tool, lead_id=ADA, **given, **confirmed(preview))
        assert answer.structured, answer.text
        receipt = answer.structured["receipt"]
        (line,) = (await call(client, "kartra_ledger")).result["lines"]
    assert (receipt.get("undo"), receipt["changed"]) == (undo, changed)
    assert line.get("undo") == undo
    if undo:
        assert shown["undo"] == undo
    else:
        assert "if " not in shown["undo"]


async def test_the_step_and_the_level_before_are_restored_by_the_undo(place: Sandbox):
    sequence = "SELECT step, status FROM lead_sequences WHERE lead_id = ? ORDER BY sequence_id"
    levels = "SELECT level_id, active FROM lead_memberships WHERE lead_id = ? ORDER BY level_id"
    before = [place.rows(sql, ADA) for sql in (sequence, levels)]
    circle = {"lead_id": ADA, "membership_name": "Studio Circle"}
    entry_point = {"lead_id": ADA, "sequence_name": CIRCLE}
    async with connect(place, "legacy") as client:
        for tool, given in (
            ("kartra_unsubscribe_lead_from_sequence", entry_point),
            ("kartra_revoke_membership_access", circle),
        ):
            assert not (await write(client, tool, **given)).failed
        assert [place.rows(sql, ADA) for sql in (sequence, levels)] != before
        for tool, given in (
            ("kartra_subscribe_lead_to_sequence", {**entry_point, "step": "3a"}),
            ("kartra_grant_membership_access", {**circle, "level_name": "Gold"}),
        ):
            assert not (await write(client, tool, **given)).failed
    assert [place.rows(sql, ADA) for sql in (sequence, levels)] == before


NOT_HELD_BY_ADA = {
    "kartra_unassign_tag": {"tag_name": "Affiliate"},
    "kartra_unsubscribe_lead_from_list": {"list_name": "Alumni"},
    "kartra_unsubscribe_lead_from_sequence": {"sequence_name": "Win-back"},
}


@pytest.mark.parametrize("tool", NOT_HELD_BY_ADA)
async def test_what_the_lead_does_not_have_is_not_taken_away(place: Sandbox, tool: str):
    before = place.dump()
    async with connect(place, "legacy") as client:
        answer = await call(client, tool, lead_id=ADA, **NOT_HELD_BY_ADA[tool])
        assert (answer.code, answer.executed) == ("not_possible", "no"), answer.text
        assert "does not have" in answer.error["message"]
    assert (place.dump(), lines(place, "intent")) == (before, [])


# The pure rule

HELD, NOT_HELD = HeldState(held=True), HeldState(held=False)
FIVE = 5 * 60.0


def entry(operation: str = "assign_tag", before: HeldState | None = None, **more: Any) -> Any:
    known = {} if before is None else {"held_before": before.as_dict()}
    facts = {"tag": "VIP", "list": "Alumni", "sequence": "Welcome", "membership": "Club", **known}
    base = {"intent": "int_1", "operation": operation, "facts": facts, "state": "unknown"}
    return {**base, "line": 10, "at": 10_000.0, "ended_at": 10_001.0, **more}


def other(operation: str = "unassign_tag", state: str = "succeeded", **more: Any) -> Any:
    return {**entry(operation), "intent": "int_2", "state": state, "line": 20, **more}


# name → entry, state now, other writes, late looks before, the state that is found
RULES: dict[str, tuple[Any, HeldState | None, list[Any], int, str]] = {
    "held now, and not before": (entry(before=NOT_HELD), HELD, [], 0, "succeeded"),
    "held now, and before": (entry(before=HELD), HELD, [], 1, "unknown"),
    "held now, not read before": (entry(), HELD, [], 1, "unknown"),
    "not held now": (entry(before=NOT_HELD), NOT_HELD, [], 1, "failed"),
    "not held now, not read before": (entry(), NOT_HELD, [], 1, "failed"),
    "not held now, the first late look": (entry(), NOT_HELD, [], 0, "unknown"),
    "held before, and not now": (entry(before=HELD), NOT_HELD, [], 1, "unknown"),
    "the lead does not show it": (entry(before=NOT_HELD), None, [], 1, "unknown"),
    "taken away": (entry("unassign_tag", HELD), NOT_HELD, [], 0, "succeeded"),
    "not taken away": (entry("unassign_tag", HELD), HELD, [], 1, "failed"),
    "no sequence now": (
        entry("subscribe_lead_to_sequence_at_step", NOT_HELD),
        NOT_HELD,
        [],
        1,
        "unknown",
    ),
    "one of two levels is gone": (
        entry("revoke_membership_access", HeldState(True, levels=("A", "B"))),
        HeldState(True, levels=("B",)),
        [],
        1,
        "unknown",
    ),
    "an opposite write later": (entry(before=NOT_HELD), NOT_HELD, [other()], 1, "unknown"),
    "an opposite write that runs": (
        entry(before=NOT_HELD),
        NOT_HELD,
        [other(state="running", ended_at=None)],
        1,
        "unknown",
    ),
    "an opposite write that failed": (
        entry(before=NOT_HELD),
        NOT_HELD,
        [other(state="failed")],
        1,
        "failed",
    ),
    "an opposite write long before": (
        entry(before=NOT_HELD),
        HELD,
        [other(line=5, at=100.0, ended_at=10_000 - QUARTER - 1)],
        0,
        "succeeded",
    ),
    "an opposite write shortly before": (
        entry(before=NOT_HELD),
        HELD,
        [other(line=5, at=9_000.0, ended_at=9_990.0)],
        0,
        "unknown",
    ),
    "an old write whose outcome is unknown": (
        entry(before=NOT_HELD),
        HELD,
        [other("assign_tag", "unknown", line=5, at=100.0, ended_at=200.0)],
        0,
        "unknown",
    ),
    "a write of another kind": (
        entry(before=NOT_HELD),
        HELD,
        [other("subscribe_lead_to_list")],
        0,
        "succeeded",
    ),
    "a write of another tag": (
        entry(before=NOT_HELD),
        HELD,
        [other(facts={"tag": "Newsletter"})],
        0,
        "succeeded",
    ),
    "a write of the same tag in other letters": (
        entry(before=NOT_HELD),
        HELD,
        [other(facts={"tag": "vip"})],
        0,
        "unknown",
    ),
    "a chain with the same tag": (
        entry(before=NOT_HELD),
        HELD,
        [other("give_points_to_lead+assign_tag", facts={"tag": ["VIP", "Newsletter"]})],
        0,
        "unknown",
    ),
    "an unknown action on the lead": (
        entry(before=NOT_HELD),
        HELD,
        [other("archive_lead", facts={})],
        0,
        "unknown",
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_a_look_at_the_lead_proves(name: str):
    kept, now, others, looks, state = RULES[name]
    found = evaluate_lead(kept, now, others, PastLooks(QUARTER + FIVE, [FIVE] * looks))
    assert found.state == state
    assert found.why
