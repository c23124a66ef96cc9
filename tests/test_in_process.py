"""The runner in this process returns the same as a real process: words, bytes, exit status."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import in_process
import pytest
from consent_actors import sandbox
from harness import CONNECTION, Sandbox, StandIn, action, healthy

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.processes import runner
from kartra_mcp.processes.runner import CompletedProcess, ProcessTimeout, Run
from kartra_mcp.sandbox.program import admin_commands, verbs
from kartra_mcp.sandbox.store import seed
from kartra_mcp.sandbox.store.database import Account

pytestmark = pytest.mark.anyio

KARTRA = f"--connectionId={seed.CONNECTION}"
TAG = '--input={"lead_id": 48129, "tag_name": "VIP"}'
REFUND = '--input={"transaction_id": 101}'
LINES: list[list[str]] = [
    ["--version"],
    ["--help"],
    ["fault", "--help"],
    ["status", "--json"],
    ["status"],
    ["connection", "list"],
    ["connection", "list", "--json"],
    ["connection", "get", "kartra", "--json"],
    ["connection", "get", "nothing", "--json"],
    ["connection", "add", "--id=c2", "--name=Zweitgeschäft", "--json"],
    ["connection", "list"],
    ["connection", "set-state", "c2", "BUILDING"],
    ["connect", f"--connectorId={seed.CONNECTOR}", "--non-interactive", "--json"],
    ["connect", "--json"],
    ["search", "kartra", "--elementType=connector", "--json"],
    ["action", "list", KARTRA, "--json"],
    ["action", "list", KARTRA, "--intent=refund"],
    ["action", "get", "refund-transaction", "--json"],
    ["action", "run", "assign-tag", KARTRA, TAG, "--json"],
    ["action", "run", "refund-transaction", KARTRA, REFUND, "--json"],
    ["action", "run", "refund-transaction", KARTRA, REFUND, "--json"],
    ["action", "run", "get-lead", KARTRA, '--input={"lead_id": 48121}'],
    ["action", "run", "get-lead", "--input={"],
    ["act", "--key=retrieve-account-tags", KARTRA, "--json"],
    ["act", "--json"],
    ["action-run-log", "get", "650000000000000000000000", "--json"],
    ["request", seed.CONNECTION, "/api", "-X", "POST", "-d", '{"get_lead": {"id": 48110}}'],
    ["request", "--json"],
    ["fault", "set", "*", "silent"],
    ["fault", "list", "--json"],
    ["action", "run", "retrieve-account-lists", KARTRA],
    ["fault", "set", "*", "garbage"],
    ["action", "run", "retrieve-account-lists", KARTRA],
    ["fault", "set", "*", "cut"],
    ["action", "run", "retrieve-account-lists", KARTRA],
    ["fault", "set", "*", "internal", "--message=ä"],
    ["action", "run", "retrieve-account-lists", KARTRA],
    ["fault", "clear", "--json"],
    ["actions", "paging", "ten"],
    ["actions", "use", "published"],
    ["actions", "use", "/nowhere"],
    ["address", "ignored"],
    ["digest"],
    ["tokens", "--leeway=5", "--json"],
    ["tokens", "--leeway=soon"],
    ["clock", "--ahead=-3"],
    ["requests", "--json"],
    ["journal", "--json"],
    ["login", "refuse"],
    ["login"],
    ["login", "refuse", "off"],
    ["login", "start", "--json"],
    ["login", "complete", "wrong", "--json"],
    ["login", "code", "--json"],
    ["logout", "--json"],
    ["action", "list", "--json"],
    ["login", "--non-interactive"],
    ["serve", "extra"],
    ["frobnicate"],
    [],
    ["reset", "--json"],
]
"""Every verb of the sandbox, and the ways in which a line of it ends."""

OWN_TO_A_START = re.compile(
    rb"\b[0-9a-f]{12}(?:[0-9a-f]{12})?\b|\b[0-9a-f]{64}\b"
    rb"|\d{4}-\d\d-\d\d(?:[T ][\d:.]+Z?)?|\"duration\": \d+"
)
"""Parts that differ between two starts: ids, digests, times, durations."""


def alike(done: CompletedProcess) -> tuple[int, bytes, bytes, bool]:
    out, err = (OWN_TO_A_START.sub(b"*", text) for text in (done.stdout, done.stderr))
    return done.exit_code, out, err, done.overflow


def stored(place: Sandbox) -> list[bytes]:
    """Return every row of an account, without what differs between two starts."""
    with closing(sqlite3.connect(place.file)) as database:
        return [OWN_TO_A_START.sub(b"*", line.encode()) for line in database.iterdump()]


def digest(place: Sandbox) -> dict[str, str]:
    """Return what `digest` prints: it is of the times in the account too."""
    with closing(Account(str(place.file))) as account:
        return {"digest": account.digest()}


async def finished(run: Run, command: Sequence[str], folder: Path) -> CompletedProcess:
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
    return await run(command, env=env, cwd=folder, deadline=anyio.current_time() + 60)


def test_every_verb_is_compared():
    compared = {" ".join(line[:2]) for line in LINES} | {line[0] for line in LINES if line}
    assert {
        *verbs.OPEN,
        *verbs.VERBS,
        *admin_commands.VERBS,
        *admin_commands.UNRECORDED,
        *("serve", "reset"),
    } <= compared


async def test_the_sandbox_returns_the_same(tmp_path):
    one, other = sandbox(tmp_path / "one"), sandbox(tmp_path / "other")
    program = [sys.executable, "-P", "-m", "kartra_mcp.sandbox"]
    for line in LINES:
        real = await finished(runner.run, [*program, f"--account={one.file}", *line], tmp_path)
        own = await finished(in_process.run, [*program, f"--account={other.file}", *line], tmp_path)
        assert (line, alike(own)) == (line, alike(real))
        assert b"Traceback" not in real.stderr
        assert (line, stored(other)) == (line, stored(one))
        if line == ["digest"]:
            assert [json.loads(x.stdout) for x in (real, own)] == [digest(one), digest(other)]
    assert one.started() == other.started()


async def test_without_an_account_the_file_is_in_the_home_folder(tmp_path):
    command = [sys.executable, "-P", "-m", "kartra_mcp.sandbox", "--json", "digest"]
    for name, run in (("one", runner.run), ("other", in_process.run)):
        folder = tmp_path / name
        folder.mkdir()
        await finished(run, command, folder)
        assert (folder / ".kartra-mcp-sandbox.db").exists()


PLANS: dict[str, Any] = {
    "JSON": {"out": {"items": [CONNECTION]}},
    "text": {"out": "1.18.3\n"},
    "words": {"out": {"said": "$words"}},
    "both streams": {"out": "ä 日本", "err": "warning ä\n", "exit": 3},
    "a lone surrogate": {"out": "\ud800", "err": "\ud800"},
    "a byte that is no text": {"out": "\udcff"},
    "steps": [{"out": "first"}, {"out": "then", "exit": 1}],
    "hang up by a signal": {"signal": 15},
    "a flood": {"flood": True},
}


@pytest.mark.parametrize("name", PLANS)
async def test_the_stand_in_returns_the_same(tmp_path, name):
    told: list[Any] = []
    for run in (runner.run, in_process.run):
        place = StandIn(tmp_path / str(len(told)))
        place.plan(**healthy(action("get-lead")), action_run=PLANS[name])
        program = json.loads(place.environment["KARTRA_MCP_MEMBRANE"])
        lines = [["action", "run", "id-ä", "--json"]] * 3 + [["no", "such", "verb"]]
        done = [await finished(run, [*program, *line], tmp_path) for line in lines]
        told.append(([without_place(one) for one in done], place.started()))
    assert told[0] == told[1]


def without_place(done: CompletedProcess) -> Any:
    """Keep only the last line of a traceback: the frames differ."""
    err = done.stderr
    if b"Traceback" in err:
        err = err.splitlines()[-1]
    return done.exit_code, done.stdout, err, done.overflow


@pytest.mark.parametrize("word", ["x" * 200_000, "a\0b", "\ud800"])
async def test_words_that_no_program_takes_are_refused(tmp_path: Path, word):
    place, refused = sandbox(tmp_path / "state"), []
    command = [sys.executable, "-P", "-m", "kartra_mcp.sandbox", f"--account={place.file}", word]
    for run in (runner.run, in_process.run):
        with pytest.raises(RefusedError) as told:
            await finished(run, command, tmp_path)
        refused.append(str(told.value))
    assert refused[0] == refused[1]
    assert place.started() == [["reset"]]


async def test_nothing_starts_after_the_deadline_and_none_is_waited_for_longer(tmp_path: Path):
    place, started = sandbox(tmp_path / "state"), []
    command = [sys.executable, "-P", "-m", "kartra_mcp.sandbox", f"--account={place.file}"]

    async def start(seconds: float) -> None:
        await in_process.run(
            [*command, "reset"],
            env={},
            cwd=tmp_path,
            deadline=anyio.current_time() + seconds,
            on_start=lambda: started.append(seconds),
        )

    with pytest.raises(ProcessTimeout):
        await start(0)
    assert (started, place.started()) == ([], [["reset"]])
    with locked(place), pytest.raises(ProcessTimeout):
        await start(0.2)
    assert started == [0.2]


def locked(place: Sandbox) -> Any:
    database = sqlite3.connect(place.file, isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    return closing(database)
