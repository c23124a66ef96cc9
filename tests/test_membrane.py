"""The exact words that Membrane's program is started with, and how its lists are read whole."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from anyio import CancelScope

from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.models import Action, ActionResult, Executed, RawRequest
from kartra_mcp.membrane import cli_output
from kartra_mcp.membrane.cli_client import CliClient, parse_version, request_flags
from kartra_mcp.membrane.client import CallOptions
from kartra_mcp.membrane.limiter import CallLimiter
from kartra_mcp.membrane.pagination import FALLBACK_SEARCHES

PROGRAM = '''
"""Logs its words and answers with the first step of the plan whose words it was started with."""
import json, pathlib, sys, time

folder, words = pathlib.Path(__file__).parent, sys.argv[1:]
with (folder / "log").open("a") as log:
    log.write(json.dumps(words) + "\\n")
for step in json.loads((folder / "plan.json").read_text()):
    if all(any(said.startswith(word) for said in words) for word in step["when"]):
        until = time.monotonic() + 20
        while len((folder / "log").read_text().splitlines()) < step.get("company", 0):
            if time.monotonic() > until:
                sys.exit(9)
        out = step.get("out", "")
        sys.stdout.write(out if isinstance(out, str) else json.dumps(out))
        sys.stderr.write(step.get("err", ""))
        sys.exit(step.get("exit", 0))
sys.exit("no step")
'''


@dataclass(frozen=True, slots=True)
class Recorder:
    """A real program in a folder of its own, and the verbs that start it."""

    folder: Path
    cli: CliClient

    def answers(self, *steps: Mapping[str, Any]) -> None:
        (self.folder / "plan.json").write_text(json.dumps(steps))

    @property
    def starts(self) -> list[list[str]]:
        log = self.folder / "log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@pytest.fixture
def program(tmp_path: Path) -> Recorder:
    script = tmp_path / "membrane.py"
    script.write_text(PROGRAM)
    command = (sys.executable, "-S", "-E", str(script))
    return Recorder(tmp_path, CliClient(command, {}, lambda: tmp_path, CallLimiter(4)))


def soon() -> Deadline:
    return Deadline.after(30)


def say(out: Any, *when: str, **more: Any) -> dict[str, Any]:
    return {"when": when, "out": out, **more}


def refuse(*when: str) -> dict[str, Any]:
    return say("", *when, err="unknown option", exit=1)


def rows(*ids: int | str) -> list[dict[str, str]]:
    return [{"id": str(identity), "key": f"get-{identity}"} for identity in ids]


def ids(entries: Sequence[Any]) -> list[str]:
    return [entry["id"] for entry in entries]


LIST = ["action", "list", "--connectionId=c1"]
ACTION = Action(id="650e12", key="get-lead", name="Get Lead")

anyio = pytest.mark.anyio


# ── The words of each verb ──


@anyio
async def test_the_version_is_asked_for_without_json(program: Recorder):
    program.answers(say("1.18.3\n"))
    assert (await program.cli.get_program(soon())).version == "1.18.3"
    assert program.starts == [["--version"]]


@anyio
async def test_the_connections_are_listed(program: Recorder):
    program.answers(say({"items": [{"id": "c1"}, {"name": "without an id"}]}))
    assert [one.id for one in await program.cli.list_connections(soon())] == ["c1"]
    assert program.starts == [["connection", "list", "--json"]]


@anyio
async def test_one_connection_is_read(program: Recorder):
    program.answers(say({"id": "c1", "state": "BUILDING"}))
    found = await program.cli.get_connection("my-kartra", soon())
    assert found is not None
    assert found.state == "BUILDING"
    assert program.starts == [["connection", "get", "my-kartra", "--json"]]


@anyio
async def test_the_actions_of_a_connection_are_listed(program: Recorder):
    program.answers(say({"items": rows(1, 2)}))
    listed = await program.cli.list_actions("c1", soon())
    assert (ids(listed.entries), listed.complete) == (["1", "2"], True)
    assert program.starts == [[*LIST, "--limit=1000", "--json"]]


@anyio
async def test_actions_are_searched_by_intent(program: Recorder):
    program.answers(say({"items": rows(2, 1)}))
    assert await program.cli.search("-5 % off", "c1", soon()) == ["2", "1"]
    assert program.starts == [[*LIST, "--intent=-5 % off", "--json"]]


@anyio
async def test_an_action_runs_with_its_input_in_one_word(program: Recorder):
    program.answers(say({"output": {"ok": 1}, "actionRunId": "r1"}))
    arguments = {"email": "a@b.c", "note": "--json 'é' \"q\"\n$HOME", "n": 97.5}
    reply = await program.cli.run(ACTION, arguments, "c1", CallOptions(soon()))
    assert reply == ActionResult({"ok": 1}, "r1")
    (words,) = program.starts
    assert words[:4] == ["action", "run", "650e12", "--connectionId=c1"]
    assert words[4].startswith("--input={")
    assert json.loads(words[4].removeprefix("--input=")) == arguments
    assert words[5:] == ["--json"]


@anyio
async def test_a_raw_request_has_every_value_in_one_word_with_its_flag(program: Recorder):
    program.answers(say({"status": 200, "headers": {}, "body": {"status": "Success"}}))
    request = RawRequest(
        method="POST",
        path="/api/{what}",
        path_params={"what": "x=y"},
        query=(("a", "1"), ("a", "-2")),
        headers={"Accept": "application/json"},
        body='{"get_lead":{"email":"a@b.c"}}',
        content_type="application/json",
    )
    reply = await program.cli.request(request, "c1", CallOptions(soon()))
    assert (reply.status, reply.body) == (200, {"status": "Success"})
    assert program.starts == [
        [
            "request",
            "c1",
            "/api/{what}",
            "--method=POST",
            "--header=Accept: application/json",
            "--header=Content-Type: application/json",
            "--query=a=1",
            "--query=a=-2",
            "--pathParam=what=x=y",
            '--data={"get_lead":{"email":"a@b.c"}}',
            "--json",
        ]
    ]


def test_a_body_that_is_no_json_is_sent_as_it_is():
    form = "application/x-www-form-urlencoded"
    flags = request_flags(RawRequest("POST", "/api", body="a=b", content_type=form))
    assert flags == [
        "--method=POST",
        f"--header=Content-Type: {form}",
        "--data=a=b",
        "--rawData",
    ]


def test_a_request_without_a_body_has_no_data_and_no_type():
    assert request_flags(RawRequest("GET", "/api", content_type="application/json")) == [
        "--method=GET"
    ]


@pytest.mark.parametrize("word", ["", "-x", "--json"], ids=repr)
@anyio
async def test_an_id_that_would_be_read_as_a_flag_is_refused_before_any_start(
    program: Recorder, word: str
):
    with pytest.raises(RefusedError) as caught:
        await program.cli.run(Action(id=word, key="", name=""), {}, "c1", CallOptions(soon()))
    assert (caught.value.code, caught.value.executed) == ("invalid_arguments", Executed.NO)
    with pytest.raises(RefusedError):
        await program.cli.request(RawRequest("GET", "/api"), word, CallOptions(soon()))
    with pytest.raises(RefusedError):
        await program.cli.get_connection(word, soon())
    assert program.starts == []


@anyio
async def test_a_program_that_was_not_found_is_reported_by_every_verb(tmp_path: Path):
    missing = RefusedError("program_missing", "m", "r")
    cli = CliClient(missing, {}, lambda: tmp_path, CallLimiter(1))
    with pytest.raises(RefusedError) as caught:
        await cli.list_connections(soon())
    assert caught.value is missing


# ── Lists, read whole ──


@anyio
async def test_a_cursor_is_followed_to_the_last_page(program: Recorder):
    program.answers(
        say({"items": rows(4)}, "--cursor=p 3"),
        say({"items": rows(3), "cursor": "p 3"}, "--cursor=p2"),
        say({"items": rows(1, 2), "cursor": "p2"}),
    )
    listed = await program.cli.list_actions("c1", soon())
    assert (ids(listed.entries), listed.complete) == (["1", "2", "3", "4"], True)
    assert program.starts == [
        [*LIST, "--limit=1000", "--json"],
        [*LIST, "--limit=1000", "--cursor=p2", "--json"],
        [*LIST, "--limit=1000", "--cursor=p 3", "--json"],
    ]


@anyio
async def test_the_pages_of_connections_are_followed_too(program: Recorder):
    program.answers(
        say({"items": rows("b")}, "--cursor=2"), say({"items": rows("a"), "cursor": "2"})
    )
    assert [one.id for one in await program.cli.list_connections(soon())] == ["a", "b"]


def intents(starts: list[list[str]]) -> list[str]:
    words = [word for start in starts for word in start if word.startswith("--intent=")]
    return [word.removeprefix("--intent=") for word in words]


@anyio
async def test_a_page_that_repeats_means_that_the_cursor_was_ignored(program: Recorder):
    program.answers(
        say({"items": rows(2, 3)}, "--intent="), say({"items": rows(1, 2), "cursor": "again"})
    )
    listed = await program.cli.list_actions("c1", soon())
    assert (ids(listed.entries), listed.complete) == (["1", "2", "3"], False)
    assert sorted(intents(program.starts)) == sorted(FALLBACK_SEARCHES)
    assert len(program.starts) == 2 + 12


@anyio
async def test_exactly_ten_without_a_cursor_means_that_the_limit_was_ignored(program: Recorder):
    program.answers(say({"items": rows(10, 11)}, "--intent="), say({"items": rows(*range(1, 11))}))
    listed = await program.cli.list_actions("c1", soon())
    assert ids(listed.entries) == [str(number) for number in range(1, 12)]
    assert not listed.complete
    assert len(intents(program.starts)) == 12


@pytest.mark.parametrize("number", [0, 1, 9, 11])
@anyio
async def test_another_number_without_a_cursor_is_the_whole_list(program: Recorder, number: int):
    program.answers(say({"items": rows(*range(number))}))
    assert (await program.cli.list_actions("c1", soon())).complete
    assert len(program.starts) == 1


@anyio
async def test_a_program_that_refuses_the_limit_is_asked_without(program: Recorder):
    program.answers(refuse("--limit"), say({"items": rows(1, 2)}))
    listed = await program.cli.list_actions("c1", soon())
    assert (ids(listed.entries), listed.complete) == (["1", "2"], True)
    assert program.starts == [[*LIST, "--limit=1000", "--json"], [*LIST, "--json"]]


@anyio
async def test_a_program_that_wants_an_intent_is_searched_in_parallel(program: Recorder):
    program.answers(
        refuse("--limit"),
        say({"items": rows("refund", "both")}, "--intent=refund", company=6),
        say({"items": rows("lead", "both")}, "--intent=", company=6),
        refuse("action"),
    )
    listed = await program.cli.list_actions("c1", soon())
    assert sorted(ids(listed.entries)) == ["both", "lead", "refund"]
    assert not listed.complete
    assert program.starts[:2] == [[*LIST, "--limit=1000", "--json"], [*LIST, "--json"]]
    assert all(start[:3] == LIST and start[-1] == "--json" for start in program.starts)
    assert sorted(intents(program.starts)) == sorted(FALLBACK_SEARCHES)


def test_there_are_at_most_12_intents_and_each_fits():
    assert len(FALLBACK_SEARCHES) == len(set(FALLBACK_SEARCHES)) <= 12
    assert all(0 < len(intent) <= 200 for intent in FALLBACK_SEARCHES)


@anyio
async def test_a_search_that_fails_costs_no_other(program: Recorder):
    program.answers(
        refuse("--intent=refund"), say({"items": rows(1)}, "--intent="), refuse("action")
    )
    assert ids((await program.cli.list_actions("c1", soon())).entries) == ["1"]


@anyio
async def test_searches_that_all_fail_leave_what_the_pages_brought(program: Recorder):
    program.answers(refuse("--intent="), say({"items": rows(*range(10))}))
    listed = await program.cli.list_actions("c1", soon())
    assert (len(listed.entries), listed.complete) == (10, False)


@anyio
async def test_a_failed_listing_reports_its_cause(program: Recorder):
    program.answers(refuse("action"))
    with pytest.raises(KartraMCPError) as caught:
        await program.cli.list_actions("c1", soon())
    assert caught.value.code == "membrane_error"


@anyio
async def test_a_lost_login_is_not_asked_again(program: Recorder):
    envelope = {"error": {"type": "bad_request", "key": "not_authenticated", "message": "m"}}
    program.answers(say(envelope, "action", exit=1))
    with pytest.raises(KartraMCPError) as caught:
        await program.cli.list_actions("c1", soon())
    assert caught.value.code == "not_logged_in"
    assert len(program.starts) == 1


@pytest.mark.parametrize(
    "listing",
    [{"items": rows(1)}, {"output": {"items": rows(1)}}, rows(1)],
    ids=["items", "items in an output", "a bare list"],
)
@anyio
async def test_a_list_is_read_in_every_form(program: Recorder, listing: Any):
    program.answers(say("DEPRECATED: x\n" + json.dumps(listing)))
    assert ids((await program.cli.list_actions("c1", soon())).entries) == ["1"]


@anyio
async def test_a_cursor_that_is_refused_costs_no_page_that_came(program: Recorder):
    program.answers(
        refuse("--cursor"),
        say({"items": rows(2, 3)}, "--intent="),
        say({"items": rows(1, 2), "cursor": "p2"}, "action"),
        say({"items": rows("a"), "cursor": "p2"}, "connection"),
    )
    listed = await program.cli.list_actions("c1", soon())
    assert (ids(listed.entries), listed.complete, listed.partial) == (["1", "2", "3"], False, True)
    assert sorted(intents(program.starts)) == sorted(FALLBACK_SEARCHES)
    assert [one.id for one in await program.cli.list_connections(soon())] == ["a"]


@anyio
async def test_a_login_lost_between_two_pages_is_reported(program: Recorder):
    program.answers(
        say("Not logged in", "--cursor", exit=1), say({"items": rows(1), "cursor": "p2"})
    )
    with pytest.raises(KartraMCPError) as caught:
        await program.cli.list_actions("c1", soon())
    assert caught.value.code == "not_logged_in"


@pytest.mark.parametrize("fails", [True, False])
@anyio
async def test_a_list_whose_searches_failed_is_marked_as_incomplete(
    program: Recorder, *, fails: bool
):
    failing = [refuse("--intent=refund")] if fails else []
    program.answers(*failing, say({"items": rows(1)}, "--intent="), refuse("action"))
    assert (await program.cli.list_actions("c1", soon())).partial is fails


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ({"out": {"loggedIn": True}}, True),
        ({"out": {"loggedIn": False}}, False),
        ({"out": "Not logged in"}, False),
        ({"err": "Not logged in", "exit": 1}, False),
        ({"err": "unknown command", "exit": 1}, None),
        ({"out": "hello"}, None),
    ],
    ids=repr,
)
@anyio
async def test_the_status_reports_the_login(
    program: Recorder,
    step: dict[str, Any],
    told: bool | None,  # noqa: FBT001
):
    program.answers({"when": [], **step})
    assert await program.cli.is_logged_in(soon()) is told
    assert program.starts == [["status", "--json"]]


@pytest.mark.parametrize("size", [10, 300_000])
@anyio
async def test_a_large_output_is_parsed_outside_the_event_loop(
    program: Recorder, monkeypatch: pytest.MonkeyPatch, size: int
):
    readers: list[bool] = []
    read = cli_output.parse_output

    def noted(exit_code: int, stdout: bytes, stderr: bytes) -> Any:
        readers.append(threading.current_thread() is threading.main_thread())
        return read(exit_code, stdout, stderr)

    monkeypatch.setattr(cli_output, "parse_output", noted)
    program.answers(say({"output": "x" * size, "actionRunId": "r"}))
    reply = await program.cli.run(ACTION, {}, "c1", CallOptions(soon()))
    assert reply == ActionResult("x" * size, "r")
    assert readers == [size == 10]


# ── What a start leaves behind ──


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ({"out": "Done."}, "unreadable_answer"),
        ({"out": ""}, "unreadable_answer"),
        ({"out": "", "err": "boom", "exit": 1}, "membrane_error"),
        ({"out": {"error": {"type": "internal", "message": "m"}}}, "membrane_error"),
    ],
    ids=["words", "silence", "a bare exit code", "an internal error"],
)
@anyio
async def test_a_write_that_was_started_and_brought_no_success_is_unknown(
    program: Recorder, step: dict[str, Any], code: str
):
    program.answers({"when": [], **step})
    with pytest.raises(KartraMCPError) as caught:
        await program.cli.run(ACTION, {}, "c1", CallOptions(soon(), write=True))
    assert (caught.value.code, caught.value.executed) == (code, Executed.UNKNOWN)


@anyio
async def test_an_input_too_large_for_a_word_is_refused_before_any_start(program: Recorder):
    with pytest.raises(RefusedError) as caught:
        await program.cli.run(
            ACTION, {"note": "x" * 200_000}, "c1", CallOptions(soon(), write=True)
        )
    assert (caught.value.code, caught.value.executed) == ("input_too_large", Executed.NO)
    assert program.starts == []


@anyio
async def test_without_time_nothing_is_started(program: Recorder):
    with pytest.raises(KartraMCPError) as caught:
        await program.cli.run(ACTION, {}, "c1", CallOptions(Deadline.after(0), write=True))
    assert (caught.value.code, caught.value.executed) == ("not_enough_time", Executed.NO)
    assert program.starts == []


# ── Which program it is ──

# Output of `--version`, exit code → is it Membrane's, the version.
VERSIONS: Mapping[str, tuple[str, int, bool | None, str]] = {
    "a version": ("1.18.3\n", 0, True, "1.18.3"),
    "a version with a v": ("v1.0.0", 0, True, "1.0.0"),
    "the package with its version": (
        "@membranehq/cli/1.2.3 linux-x64 node-v22.1.0",
        0,
        True,
        "1.2.3",
    ),
    "a version before a notice": ("1.18.0\nUpdate to 1.18.3", 0, True, "1.18.0"),
    "a version of tomorrow": ("2.0.0-beta.1", 0, True, "2.0.0-beta.1"),
    "a version in colours": ("\x1b[1m1.18.3\x1b[0m", 0, True, "1.18.3"),
    "a version before 1": ("0.1.4", 0, False, "0.1.4"),
    "the vendor's plugin": ("membrane 0.1.7 (plugin)", 0, False, "0.1.7"),
    "a plugin that has come of age": ("membrane plugin 1.4.0", 0, False, "1.4.0"),
    "another tool of the name": ("mctl 3.2.1", 0, False, "3.2.1"),
    "no version": ("hello", 0, None, ""),
    "silence": ("", 0, None, ""),
    "half a version": ("1.18", 0, None, ""),
    "an address": ("10.0.0.1", 0, None, ""),
    "a version with an exit code": ("1.18.3", 1, None, ""),
    "an unknown option": ("unknown option --version", 1, None, ""),
}


@pytest.mark.parametrize("case", VERSIONS)
def test_the_program_is_known_by(case: str):
    said, exit_code, known, version = VERSIONS[case]
    found = parse_version(exit_code, said)
    assert found.is_membrane is known
    assert found.version.removeprefix("v") == version


@anyio
@pytest.mark.parametrize("finish", [False, True])
async def test_no_program_starts_after_all_calls_were_cancelled(program: Recorder, *, finish: bool):
    program.answers(say({"output": {}}))
    program.cli.cancel_all()
    with pytest.raises(KartraMCPError) as caught:
        await program.cli.run(ACTION, {}, "c1", CallOptions(soon(), write=True, shielded=finish))
    assert (caught.value.code, caught.value.executed) == ("timed_out", Executed.NO)
    assert program.starts == []


@anyio
async def test_a_cancelled_call_takes_no_place():
    """After the slot, the record of a write is no longer cancelled."""
    taken: list[str] = []
    with CancelScope() as scope:
        scope.cancel()
        async with CallLimiter(1).slot(Deadline.after(5), write=True):
            taken.append("a place")
    assert taken == []
