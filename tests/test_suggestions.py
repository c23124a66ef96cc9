"""Nearest tool names: never from a reading word to a write, nor from a lower risk to a higher."""

from __future__ import annotations

import pytest
from consent_actors import sandbox
from harness import call, connect
from published import ENTRIES

from kartra_mcp.catalogue.builder import build_catalogue
from kartra_mcp.catalogue.suggestions import estimate_risk, suggest_tools
from kartra_mcp.core.models import Risk

RISKS = {tool.tool: tool.risk for tool in ENTRIES}
NEAR = {
    "refund_transactoin": "refund_transaction",
    "refnd_transaction": "refund_transaction",
    "cancl_subscription": "cancel_subscription",
    "gte_lead": "get_lead",
    "find_lead": "get_lead",
    "asign_tag": "assign_tag",
    "add_tag": "assign_tag",
    "update_lead": "edit_lead",
    "unsubscribe_lead_from_lists": "unsubscribe_lead_from_list",
}
HIGHEST = {
    "get_subscription": Risk.READ,
    "get_refund": Risk.READ,
    "list_cancel_subscription": Risk.READ,
    "find_unassign_tag": Risk.READ,
    "show_edit_lead": Risk.READ,
    "gte_edit_lead": Risk.READ,
    "create_edit_lead": Risk.WRITE,
    "asign_unassign_tag": Risk.WRITE,
    "pause_subscription": Risk.DESTRUCTIVE,
    "resume_subscription": Risk.DESTRUCTIVE,
    "cansel_subscriptoin": Risk.IRREVERSIBLE,
    "charge_transaction": Risk.IRREVERSIBLE,
}


@pytest.mark.parametrize(("name", "near"), NEAR.items())
def test_a_name_suggests_the_nearest_tool(name, near):
    assert f"kartra_{near}" in suggest_tools(f"kartra_{name}", ENTRIES)


@pytest.mark.parametrize(("name", "highest"), HIGHEST.items())
def test_a_suggestion_is_never_above_the_risk_that_a_name_shows(name, highest):
    assert estimate_risk(f"kartra_{name}") <= highest
    assert all(RISKS[tool] <= highest for tool in suggest_tools(f"kartra_{name}", ENTRIES))


@pytest.mark.parametrize("name", ["nope", "hello", "foo_bar", "tool", "remove", "x", "magic_wand"])
def test_a_name_like_none_suggests_nothing(name):
    """`kartra_nope` suggested kartra_get_lead: the prefix alone made them alike."""
    assert suggest_tools(f"kartra_{name}", ENTRIES) == []


IRREVERSIBLE_OF_ANOTHER_VERB = ("charge_transaction", "pause_subscription", "delete_subscription")


@pytest.mark.parametrize("name", IRREVERSIBLE_OF_ANOTHER_VERB)
def test_what_cannot_be_undone_is_suggested_for_its_own_verb_only(name):
    found = suggest_tools(f"kartra_{name}", ENTRIES)

    assert all(RISKS[tool] < Risk.IRREVERSIBLE for tool in found)


def test_every_tool_with_a_typo_suggests_nothing_above_its_own_risk():
    for tool, risk in RISKS.items():
        for at in range(len("kartra_") + 1, len(tool)):
            found = suggest_tools(tool[:at] + tool[at + 1 :], ENTRIES)
            assert all(RISKS[near] <= max(risk, Risk.WRITE) for near in found), tool


@pytest.mark.parametrize("name", ["", "kartra_", "x" * 10_000, "\u202e", "___"])
def test_a_name_that_is_none_suggests_nothing(name):
    assert suggest_tools(name, build_catalogue([]).entries.values()) == []
    assert suggest_tools(name, ENTRIES) == []


@pytest.mark.anyio
async def test_an_unknown_read_does_not_lead_to_a_cancellation(tmp_path, protocol_version):
    place = sandbox(tmp_path / "state")
    async with connect(place, protocol_version) as client:
        answer = await call(client, "kartra_get_subscription")

    assert answer.code == "unknown_tool"
    assert "cancel" not in answer.text
