"""A pattern of the policy that matches no tool is reported with the nearest name.

Bug: a typo in KARTRA_MCP_DENY denied nothing, and no command or tool showed it.
"""

from __future__ import annotations

from pathlib import Path

import command_line
import pytest
from consent_actors import sandbox
from harness import call, connect

from kartra_mcp.core.models import Gate
from kartra_mcp.policy.gates import Policy
from kartra_mcp.policy.unmatched import find_unmatched

NAMES = {"kartra_assign_tag", "kartra_refund_transaction", "kartra_status", "kartra_my_action"}
PATTERNS = [
    (Policy(deny=("kartra_refnd_transaction",)), "KARTRA_MCP_DENY", "kartra_refund_transaction"),
    (Policy(deny=("asign_tag",)), "KARTRA_MCP_DENY", "kartra_assign_tag"),
    (Policy(allow=("kartra_get_leed",)), "KARTRA_MCP_ALLOW", "kartra_get_lead"),
    (Policy(deny=("zzzzzz*",)), "KARTRA_MCP_DENY", ""),
    (
        Policy(tools=(("kartra_my_acton", Gate.DENY),)),
        "KARTRA_MCP_POLICY",
        "kartra_my_action",
    ),
]


@pytest.mark.parametrize(("rules", "setting", "nearest"), PATTERNS)
def test_a_pattern_without_a_match_has_a_nearest_name(rules, setting, nearest):
    (found,) = find_unmatched(rules, NAMES)
    assert (found.setting, found.nearest) == (setting, nearest)


MATCHING = ["kartra_assign_tag", "assign-tag", "*refund*", "kartra_edit_subscription", "*", "my_*"]


@pytest.mark.parametrize("pattern", MATCHING)
def test_a_pattern_that_matches_a_tool_or_a_command_is_not_reported(pattern):
    assert find_unmatched(Policy(deny=(pattern,)), NAMES) == ()


@pytest.mark.anyio
async def test_status_reports_a_pattern_without_a_match(tmp_path: Path):
    place = sandbox(tmp_path / "state", DENY="kartra_refnd_transaction")
    async with connect(place, "legacy") as client:
        problems = (await call(client, "kartra_status")).result["problems"]
    (found,) = [p for p in problems if "kartra_refnd_transaction" in p["message"]]
    assert "KARTRA_MCP_DENY" in found["message"]
    assert "kartra_refund_transaction" in found["remedy"]


@pytest.mark.parametrize("words", [("tools",), ("doctor", "--sandbox")])
def test_commands_report_a_pattern_without_a_match(tmp_path: Path, words):
    place = sandbox(tmp_path / "state", DENY="kartra_refnd_transaction")
    ended = command_line.run(words, env=place.environment)
    shown = " ".join(ended.stdout.split())
    assert "kartra_refnd_transaction" in shown
    assert "did you mean kartra_refund_transaction?" in shown
