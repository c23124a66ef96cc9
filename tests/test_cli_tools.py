"""`kartra-mcp tools`: on the sandbox and the stand-in, and what they print."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from typing import Any

import anyio.to_thread
import command_line
import in_process
import pytest
from harness import Sandbox, StandIn, action, connect_stdio, healthy

from kartra_mcp.catalogue.builtin_tools import BUILTIN_TOOLS
from kartra_mcp.cli.tools import tools


def run(place: Sandbox | StandIn, *words: str) -> subprocess.CompletedProcess[str]:
    command = partial(tools, run_program=in_process.run)
    return command_line.run(words, env=place.environment, command=command)


def told(place: Sandbox | StandIn, *words: str) -> dict[str, dict[str, Any]]:
    ended = run(place, "--json", *words)
    assert (ended.returncode, ended.stderr) == (0, "")
    return {row["tool"]: row for row in json.loads(ended.stdout)["tools"]}


@pytest.mark.anyio
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"READ_ONLY": "on"},
        {"DENY": "kartra_*_tag"},
        {"ALLOW": "kartra_get_lead"},
        {"EXPOSE": "search"},
    ],
)
async def test_what_is_not_hidden_is_what_a_client_is_given(
    sandbox: Sandbox, settings: dict[str, str]
) -> None:
    sandbox.settings |= settings
    async with connect_stdio(sandbox, "2026-07-28") as client:
        given = [tool.name for tool in (await client.list_tools()).tools]
    rows = await anyio.to_thread.run_sync(told, sandbox)
    assert [name for name, row in rows.items() if not row["hidden"]] == given
    assert list(rows)[: len(BUILTIN_TOOLS)] == list(BUILTIN_TOOLS)


@pytest.mark.parametrize(
    ("tool", "calls"),
    [
        ("kartra_get_lead", [("read", "allow", "nothing")]),
        ("kartra_assign_tag", [("write", "allow", "nothing")]),
        (
            "kartra_edit_lead",
            [("write", "allow", "nothing"), ("destructive", "flag", "confirm: true")],
        ),
        ("kartra_refund_transaction", [("irreversible", "preview", "a preview first")]),
        ("kartra_cancel_subscription", [("irreversible", "human", "the user's yes")]),
        ("kartra_unassign_tag", [("destructive", "deny", "is refused")]),
    ],
)
def test_each_risk_is_described_with_its_gate_and_its_requirements(
    sandbox: Sandbox, tool: str, calls: list[tuple[str, str, str]]
) -> None:
    policy = sandbox.folder.parent / "policy.toml"
    policy.write_text(
        '[tools.kartra_cancel_subscription]\ngate = "human"\n[tools.kartra_unassign_tag]\n'
        'gate = "deny"\n'
    )
    row = told(sandbox, "--gate-irreversible", "preview", "--policy", str(policy))[tool]
    assert [(call["risk"], call["gate"], call["needs"]) for call in row["calls"]] == calls
    assert bool(row["hidden"]) is (calls[-1][1] == "deny")


@pytest.mark.parametrize(
    ("flags", "tool", "because"),
    [
        (["--read-only"], "kartra_create_lead", "read-only"),
        (["--deny", "kartra_create_*"], "kartra_create_lead", "in KARTRA_MCP_DENY"),
        (["--allow", "kartra_get_lead"], "kartra_create_lead", "not in KARTRA_MCP_ALLOW"),
        (["--gate-destructive", "deny"], "kartra_unassign_tag", "is deny"),
        (["--gate-irreversible", "deny"], "kartra_refund_transaction", "is deny"),
        (["--expose", "search"], "kartra_get_lead", "run by its name"),
        (["--expose", "all"], "kartra_run_read", "only where KARTRA_MCP_EXPOSE is search"),
    ],
)
def test_a_hidden_tool_is_reported_with_the_rule_that_hides_it(
    sandbox: Sandbox, flags: list[str], tool: str, because: str
) -> None:
    assert because in told(sandbox, *flags)[tool]["hidden"]
    shown = run(sandbox, *flags).stdout
    listed, _, hidden = shown.partition("Not listed:")
    assert tool not in listed
    assert any(tool in line and because in line for line in hidden.splitlines())


def test_people_get_a_table_of_plain_text(sandbox: Sandbox) -> None:
    ended = command_line.run_process(["tools"], env=sandbox.environment)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert run(sandbox).stdout == ended.stdout
    lines = [line.split() for line in ended.stdout.splitlines()]
    assert lines[0] == ["Tool", "Risk", "Gate", "A", "call", "needs"]
    assert ["kartra_get_lead", "read", "allow", "nothing"] in lines
    at = lines.index(["kartra_edit_lead", "write", "allow", "nothing"])
    assert lines[at + 1] == ["destructive", "flag", "confirm:", "true"]
    assert "tools of the sandbox" in ended.stdout
    assert "\x1b" not in ended.stdout


def test_the_kept_list_is_shown_without_starting_anything(fake_membrane: StandIn) -> None:
    fake_membrane.plan(**healthy(action("get-lead")))
    first = run(fake_membrane)
    assert "kartra_get_lead" in first.stdout
    started = fake_membrane.started()
    assert started
    assert run(fake_membrane).stdout == first.stdout
    assert fake_membrane.started() == started


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"out": {"items": []}}, "no_connection"),
        ({"err": "Error: not logged in\n", "exit": 1}, "not_logged_in"),
    ],
)
def test_without_a_list_the_cause_is_reported(
    fake_membrane: StandIn, answer: Any, code: str
) -> None:
    fake_membrane.plan(**healthy(), search={"out": {"items": []}}).plan(connection_list=answer)
    ended = run(fake_membrane, "--json")
    assert ended.returncode == 1
    error = json.loads(ended.stdout)["error"]
    assert error["code"] == code
    assert error["remedy"]
    shown = run(fake_membrane)
    assert (shown.returncode, shown.stdout) == (1, "")
    assert error["message"] in shown.stderr
    assert error["remedy"] in shown.stderr


@pytest.mark.parametrize("words", [["--nothing"], ["more"]])
def test_wrong_usage(fake_membrane: StandIn, words: list[str]) -> None:
    fake_membrane.plan(**healthy())
    ended = run(fake_membrane, *words)
    assert ended.returncode == 2
    assert "not understood" in ended.stderr
    assert fake_membrane.started() == []
