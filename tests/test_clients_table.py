"""The page of `make clients` matches its results, and its verdicts can fail."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from clients import place, table, trace
from clients.__main__ import CLIENTS
from clients.place import CALLS, WIRE, Place, Said
from clients.record import Run
from clients.roster import LIBRARIES, SMOKE
from harness import Sandbox, both_eras, connect_stdio

import kartra_mcp.sandbox

SANDBOX = Path(kartra_mcp.sandbox.__path__[0])
RUN = Run("c", "1.0", "sdk", "by hand", "2025-11-25", "none", 27, 27, "ok", "ok", "ok", "both")


def test_the_page_is_what_the_kept_results_say():
    assert (table.FOLDER / table.PAGE).read_text("utf-8") == table.page(table.kept_runs())


def test_the_kept_results_name_no_machine():
    kept = (table.FOLDER / table.RESULTS).read_text("utf-8")
    names = [run.client for run in table.kept_runs()]
    assert names == sorted(names)
    assert not re.search(r"/(work|root|home|tmp|usr)\b|https?://", kept)


def test_every_client_is_on_the_page():
    assert CLIENTS.keys() == {run.client for run in table.kept_runs()}
    assert set(SMOKE) <= CLIENTS.keys()


@pytest.mark.parametrize("package", sorted({p for one in LIBRARIES for p in one.packages}))
def test_every_package_is_pinned(package):
    assert re.search(r"(==|@)\d|<\d", package)


def test_a_client_that_could_not_be_had_keeps_what_it_did(tmp_path):
    absent = replace(RUN, tools=0, not_run="npm was not found")
    table.keep([RUN], tmp_path)
    table.keep([absent, replace(absent, client="d")], tmp_path)
    assert [run.not_run for run in table.kept_runs(tmp_path)] == ["", "npm was not found"]
    assert "**d** 1.0: npm was not found" in (tmp_path / table.PAGE).read_text()


TEXT, FOUND = 'one\n{"a": "it\'s"}', {"a": "it's", "b": [1, None]}
SENT = {"content": [{"type": "text", "text": TEXT}], "structuredContent": FOUND}


@pytest.mark.parametrize(
    ("handed", "seen"),
    [
        (TEXT, "text"),
        ([{"type": "text", "text": TEXT}], "text"),
        (json.dumps(FOUND), "structure"),
        (SENT, "both"),
        (str(SENT), "both"),
        ("done", ""),
    ],
)
def test_what_is_seen_is_compared_with_what_was_sent(handed, seen):
    assert place.sees(Said(handed), SENT) == seen


def test_the_account_decides_whether_a_write_was_done(tmp_path):
    here = Place("test", tmp_path / "state")
    told = Said("Tag assigned")
    assert place.judge_write(here, told) == "tag set: 0, sent 0 times"
    assert place.judge_refused(here, Said("paid back")) != "ok"
    given = json.dumps({"email": place.LEAD, "tag_name": place.TAG})
    published = json.loads((SANDBOX / "membrane" / "actions.json").read_text())
    action = next(one["id"] for one in published if one["key"] == "assign-tag")
    connection = here.sandbox.rows("SELECT id FROM connections")[0][0]
    words = ("action", "run", action, f"--connectionId={connection}", f"--input={given}")
    for verdict in ("ok", "tag set: 1, sent 2 times"):
        here.sandbox.arrange(*words)
        assert place.judge_write(here, told) == verdict
    assert place.judge_write(here, Said("Tag assigned", failed=True)) != "ok"


@pytest.mark.anyio
@both_eras
async def test_the_wire_shows_revision_elicitation_starts_and_answers(tmp_path, protocol_version):
    sandbox, log = Sandbox(tmp_path / "state"), tmp_path / "wire.jsonl"
    async with connect_stdio(sandbox, protocol_version) as plain:
        listed = await plain.list_tools()
    lines = await passed_through(sandbox, log, protocol_version)
    assert trace.era(lines) == ("2025-11-25" if protocol_version == "legacy" else protocol_version)
    assert trace.elicitation(lines) == "none"
    assert trace.starts(lines) == 1
    assert "KARTRA_MCP_SANDBOX" in trace.environment(lines)
    _, tool, _ = CALLS[0]
    assert place.SURNAME in trace.answer(lines, tool)["content"][0]["text"]
    assert len(trace.exchanges(lines)[-2].result["tools"]) == len(listed.tools)


async def passed_through(sandbox: Sandbox, log, era: str) -> list[trace.Line]:
    """List and read through the wire's program."""
    from mcp import Client, StdioServerParameters

    words = [str(WIRE), str(log), "0", sys.executable, "-m", "kartra_mcp", "serve"]
    server = StdioServerParameters(command=sys.executable, args=words, env=sandbox.environment)
    async with Client(server, mode=era) as client:
        await client.list_tools()
        await client.call_tool(CALLS[0][1], CALLS[0][2])
    return trace.read(log)


def test_the_wire_ends_with_the_servers_exit_code(tmp_path):
    server = [sys.executable, "-c", "import sys; sys.stdin.read(); sys.exit(3)"]
    line = [sys.executable, str(WIRE), str(tmp_path / "log"), "0", *server]
    ended = subprocess.run(line, input=b"not JSON\n", capture_output=True, check=False)
    said = [(one.source, one.said) for one in trace.read(tmp_path / "log")]
    assert ended.returncode == 3
    assert ("client", "not JSON\n") in said
    assert said[-1] == ("end", 3)
