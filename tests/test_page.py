"""The page's process: one per state folder, started for an approval, ended when idle."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from consent_actors import REFUND, decided, events, ledger_folder, lines
from consent_actors import sandbox as fresh
from harness import call, connect, connect_stdio
from page_client import (
    PIN,
    ROOT,
    WITHIN,
    WRONG,
    Visitor,
    another_address,
    asked,
    command,
    end,
    new_address,
    pages,
    served,
    served_here,
    told,
)
from polling import gone, until, wait_for

from kartra_mcp.app.page_discovery import (
    FILE,
    LOCK,
    TURN,
    PageEndpoint,
    claim_page,
    find_page,
    publish,
    unpublish,
)
from kartra_mcp.app.page_launcher import PageLauncher
from kartra_mcp.cli.page import page as page_command
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.sanitize import redact_secrets
from kartra_mcp.ledger.sqlite.intent_locks import IntentLocks
from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.processes.detached import start_detached
from kartra_mcp.settings import read_settings
from kartra_mcp.web.timings import PageTimings

pytestmark = pytest.mark.anyio


@pytest.fixture
def place(tmp_path):
    """An account with gate `human` and a page; pages are ended after each test."""
    made = fresh(tmp_path / "state", GATE_IRREVERSIBLE="human", PAGE="on")
    yield made
    end(made)
    assert pages(made) == []


@pytest.fixture
def ledger(place):
    with closing(open_ledger(ledger_folder(place))) as made:
        made.pins.set(PIN, "ada")
        yield made


async def refund(client: Any, sale: int = 101) -> Any:
    return await call(client, REFUND, transaction_id=sale)


def at(address: str) -> tuple[int, str]:
    """Return the port and the token of an address."""
    start, _, token = address.rpartition("/open/")
    return int(start.rpartition(":")[2]), token


# What the server does


async def test_who_has_to_approve_gets_the_address_of_a_page_that_outlives_the_chat(place, ledger):
    async with connect_stdio(place, "legacy") as client:
        answer = await refund(client)
        assert (answer.code, answer.executed) == ("approval_required", "no")
        address = answer.error["confirmation"]["address"]
        assert address in answer.error["remedy"]
        assert "`kartra-mcp approve 1" in answer.error["remedy"]
        before = place.dump()
        visitor = Visitor(at(address)[0]).enter(address)
        assert 'data-number="1"' in visitor.get("/").text
    # The chat is over, the server gone.
    assert not gone(told(place)["pid"])
    reply = visitor.decide(1, "approve")
    assert (reply.status, reply.headers["location"]) == (303, "/")
    assert "Nothing has been done yet" in visitor.get("/").text
    assert place.dump() == before
    async with connect_stdio(place, "legacy") as client:
        assert not (await refund(client)).failed
        after = place.dump()
        assert after != before
        assert (await refund(client)).code == "already_done"
    assert place.dump() == after
    assert events(place)[-2:] == ["pin_right", "approval_approved"]
    assert [x["consent"] for x in lines(place, "intent")] == ["approval"]


@pytest.mark.parametrize("words", [("--page", "off"), ("--page=off",), ("--no-page",)])
async def test_a_server_whose_page_is_off_starts_none(place, ledger, words):
    async with connect_stdio(place, "legacy", *words) as client:
        answer = await refund(client)
    assert answer.code == "approval_required"
    assert "address" not in answer.error["confirmation"]
    assert "`kartra-mcp approve 1" in answer.error["remedy"]
    assert pages(place) == []
    assert not (ledger_folder(place) / FILE).exists()


async def test_what_was_declined_on_the_page_does_not_run(place, ledger):
    async with connect_stdio(place, "legacy") as client:
        address = (await refund(client)).error["confirmation"]["address"]
        before = place.dump()
        visitor = Visitor(at(address)[0]).enter(address)
        assert visitor.decide(1, "decline", reason="wrong sale").status == 303
        answer = await refund(client)
    assert (answer.code, answer.executed) == ("declined", "no")
    assert answer.error["detail"] == {"reason": "wrong sale"}
    assert place.dump() == before


def _raw(*commands: dict[str, Any]) -> dict[str, Any]:
    body = {"lead": {"id": 48129}, "actions": list(commands)}
    return {"method": "POST", "path": "/api", "json": body}


async def test_a_chain_declined_on_the_page_blocks_each_of_its_commands(tmp_path):
    """Each command alone, in another chain and as an action; other commands are asked for."""
    place = fresh(tmp_path / "state", GATE_IRREVERSIBLE="human", GATE_DESTRUCTIVE="allow")
    tag = {"cmd": "assign_tag", "tag_name": "VIP"}
    edit = {"cmd": "edit_subscription", "subscription_id": 201, "subscription_amount": "29.00"}
    look = {"cmd": "get_subscription_details", "subscription_id": 201}
    with closing(open_ledger(ledger_folder(place))) as made:
        made.pins.set(PIN, "ada")
    before = place.dump()
    raw = "kartra_proxy_write"
    async with connect(place, "legacy") as client:
        asked_for = await call(client, raw, **_raw(tag, edit))
        assert asked_for.code == "approval_required", asked_for.text
        with served_here(place) as page:
            reply = page.visitor().decide(1, "decline", reason="not this one")
            assert reply.status == 303
        for chain in (_raw(tag, edit), _raw(edit), _raw(tag), _raw(look, edit)):
            answer = await call(client, raw, **chain)
            assert (answer.code, answer.executed) == ("declined", "no"), answer.text
        action = await call(client, "kartra_assign_tag", lead_id=48129, tag_name="Other")
        assert (action.code, action.executed) == ("declined", "no")
        assert place.dump() == before
        other = await call(client, raw, **_raw({**edit, "subscription_id": 202}))
        assert other.code == "approval_required", other.text
    assert lines(place, "intent") == []


async def test_the_page_inherits_nothing_of_the_server(place):
    async with connect_stdio(place, "legacy") as client:
        address = (await refund(client)).error["confirmation"]["address"]
        Visitor(at(address)[0]).enter(address)  # it has begun, whole
        process = told(place)["pid"]
        links = _opened_by(process)
    assert {links[number] for number in (0, 1, 2)} == {os.devnull}
    files = [Path(where).name for where in links.values() if where.startswith(str(place.folder))]
    assert set(files) <= {LOCK, "ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.open"}
    assert [where for where in links.values() if where.startswith("pipe:")] == []
    assert os.getsid(process) == process


def _opened_by(process: int) -> dict[int, str]:
    found: dict[int, str] = {}
    for fd in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found[int(fd.name)] = str(fd.readlink())
    return found


async def test_no_lock_of_a_running_intent_gets_into_a_program_that_outlives_us(tmp_path):
    locks = IntentLocks(tmp_path)
    running = locks.lock("int_1")
    os.set_inheritable(running.lock_fd, True)
    ready = tmp_path / "ready"
    line = f"import pathlib, signal; pathlib.Path({str(ready)!r}).touch(); signal.pause()"
    runs = start_detached([sys.executable, "-c", line], env=dict(os.environ), cwd=tmp_path)
    try:
        await until(ready.exists)
        assert locks.is_locked("int_1")
        running.close()
        assert not locks.is_locked("int_1")
        assert runs()
    finally:
        for process in _started_with(line):
            os.kill(process, signal.SIGKILL)
    await until(lambda: not runs())


def _started_with(line: str) -> list[int]:
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            if line.encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


async def test_the_address_is_shown_and_recorded_nowhere(place):
    async with connect(place, "legacy") as client:
        address = (await refund(client)).error["confirmation"]["address"]
    _, token = at(address)
    assert redact_secrets(address) == address
    kept = [file for file in ledger_folder(place).rglob("*") if file.is_file()]
    assert [file.name for file in kept if token.encode() in file.read_bytes()] == []


async def test_two_servers_send_people_to_one_page(place):
    addresses: list[str] = []

    async def ask(sale: int) -> None:
        async with connect_stdio(place, "legacy") as client:
            addresses.append((await refund(client, sale)).error["confirmation"]["address"])

    async with anyio.create_task_group() as both:
        both.start_soon(ask, 101)
        both.start_soon(ask, 102)
    (one, first), (other, second) = map(at, addresses)
    assert one == other == told(place)["port"]
    assert first != second
    await until(lambda: pages(place) == [told(place)["pid"]])


async def test_no_page_is_started_where_it_is_off(tmp_path):
    place = fresh(tmp_path / "state", GATE_IRREVERSIBLE="human", PAGE="off")
    async with connect(place, "legacy") as client:
        answer = await refund(client)
    assert answer.code == "approval_required"
    assert "address" not in answer.error["confirmation"]
    assert "http" not in answer.error["remedy"]
    assert (told(place), pages(place)) == (None, [])


async def test_a_page_that_cannot_be_started_costs_the_call_nothing(place):
    (ledger_folder(place) / TURN).mkdir()
    async with connect(place, "legacy") as client:
        answer = await refund(client)
    assert answer.code == "approval_required"
    assert "address" not in answer.error["confirmation"]
    assert "`kartra-mcp approve 1" in answer.error["remedy"]
    assert "first run `kartra-mcp approve --set-pin --sandbox" in answer.error["remedy"]
    assert pages(place) == []


async def test_the_page_has_the_settings_of_the_server_that_started_it(place):
    settings = read_settings({"ACTOR": "the shop", "CAP_REFUND": "12.5"}, place.environment)
    address = PageLauncher(settings).get_url(20.0)
    visitor = Visitor(at(address)[0]).enter(address)
    assert "12.5" in visitor.get("/status").text


# One process for each folder


def test_a_second_command_prints_an_address_of_the_first(place):
    with served(place) as page:
        address = another_address(place)
        assert at(address)[0] == page.port
        assert at(address)[1] != at(page.address)[1]
        assert pages(place) == [page.process.pid]
        page.visitor()
        page.visitor(address)


def test_what_a_killed_page_left_is_no_address(place):
    with served(place) as page:
        page.process.kill()
        wait_for(partial(gone, told(place)["pid"]))
        assert told(place)["port"] == page.port
        assert find_page(ledger_folder(place)) is None
        with served(place) as other:
            assert other.port == told(place)["port"]
            assert Visitor(other.port).get(_path(page.address)).status == 401
            other.visitor()


def _path(address: str) -> str:
    return f"/open/{at(address)[1]}"


def test_the_file_with_the_address_is_private_to_this_user(place):
    with served_here(place):
        assert (ledger_folder(place) / FILE).stat().st_mode & 0o777 == 0o600
        assert ledger_folder(place).stat().st_mode & 0o777 == 0o700


def test_only_one_process_serves_the_page(place):
    with served_here(place):
        assert claim_page(ledger_folder(place)) is None
        assert told(place)["pid"] == os.getpid()


# Its end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_despite_an_open_page(place, number):
    with served(place) as page, page.visitor().listening() as stream:
        assert next(iter(stream))["count"] == 0
        page.process.send_signal(number)
        assert list(stream) == []
        assert page.process.wait(WITHIN) == 0
        assert page.process.communicate() == ("", "")
    assert told(place) is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_further_signals_change_nothing_about_its_end(place, number):
    """Bug: a second Ctrl-C closed everything twice: a traceback and exit status 1."""
    with served(place) as page:
        while page.process.poll() is None:
            page.process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                page.process.wait(0.002)
        assert page.process.returncode == 0
        assert page.process.communicate() == ("", "")
    assert told(place) is None


def test_a_page_that_ended_once_does_not_end_the_next_one(tmp_path):
    """Bug: ending twice could have removed the files of the next page."""
    first = claim_page(tmp_path)
    assert first
    unpublish(tmp_path, first)
    next_, page = claim_page(tmp_path), PageEndpoint(1, 2, b"x" * 32)
    assert next_
    publish(tmp_path, page)
    assert unpublish(tmp_path, first)
    assert find_page(tmp_path) == page
    assert claim_page(tmp_path) is None
    unpublish(tmp_path, next_)
    assert find_page(tmp_path) is None


def test_it_ends_without_viewers_and_waiting_approvals(place):
    with served(place, "--idle", "0.3") as page:
        assert page.process.wait(WITHIN) == 0
    assert told(place) is None


def test_it_stays_while_something_waits(place, ledger):
    number = ledger.approvals.request(asked())
    with served_here(place, PageTimings(idle=0.1)) as page:
        assert not page.ends_within(0.5)
        decided(ledger, number, approve=False, reason="no", who="ada")
        assert page.ends_within(WITHIN)


def test_it_stays_while_it_is_open_in_a_browser(place):
    with served_here(place, PageTimings(idle=1.0)) as page:
        with page.visitor().listening() as stream:
            assert next(iter(stream))["count"] == 0
            assert not page.ends_within(2.5)
        assert page.ends_within(WITHIN)


def test_unauthenticated_requests_do_not_keep_it_alive(place):
    with served_here(place, PageTimings(idle=0.3)) as page:
        try:
            while not page.ends_within(0):
                assert Visitor(page.port).get("/").status == 401
        except OSError:  # it ended meanwhile
            pass
        assert page.ends_within(WITHIN)


def test_who_was_sent_to_it_just_now_still_finds_it(place):
    """A new address counts as use: the page must not end before it is opened."""
    with served_here(place, PageTimings(idle=1.0)) as page:
        for _ in range(40):
            assert find_page(ledger_folder(place)) is not None
            assert not page.ends_within(0.05)
        assert page.ends_within(WITHIN)


def test_it_ends_with_its_state_folder(place):
    with served(place, "--idle", "2") as page:
        page.visitor()
        shutil.rmtree(ledger_folder(place))
        assert page.process.wait(WITHIN) == 0


async def test_it_outlives_the_end_of_whatever_group_the_client_ends(place):
    async with connect_stdio(place, "2026-07-28") as client:
        address = (await refund(client)).error["confirmation"]["address"]
    Visitor(at(address)[0]).enter(address)
    assert pages(place) == [told(place)["pid"]]


# What is live


def test_new_and_changed_approvals_are_reported_at_once(place, ledger):
    with served_here(place) as page, page.visitor().listening() as stream:
        heard = iter(stream)
        assert next(heard) == {"count": 0, "numbers": [], "newest": None}
        ledger.approvals.request(asked(of="101"))
        assert next(heard) == {"count": 1, "numbers": [1], "newest": 1}
        ledger.approvals.request(asked(of="102"))
        assert next(heard) == {"count": 2, "numbers": [1, 2], "newest": 2}
        decided(ledger, 1, approve=True, reason="", who="ada")
        assert next(heard) == {"count": 1, "numbers": [2], "newest": 2}


def test_of_too_many_streams_of_one_browser_the_oldest_ends(place):
    with served_here(place) as page:
        visitor = page.visitor()
        with visitor.listening() as first:
            assert next(iter(first))["count"] == 0
            others = [visitor.listening() for _ in range(4)]
            streams = [other.__enter__() for other in others]
            assert list(first) == []
            assert [next(iter(stream))["count"] for stream in streams] == [0, 0, 0, 0]
            for other in others:
                other.__exit__(None, None, None)


# What it can do


def test_status_and_chain_are_looked_at_when_asked_for(place, ledger):
    ledger.approvals.request(asked())
    with served_here(place) as page:
        visitor = page.visitor()
        assert "SANDBOX" in visitor.get("/status").text
        reply = visitor.post("/chain")
        assert (reply.status, reply.headers["location"]) == (303, "/status")
    assert lines(place, "policy") == []  # a status request must not record a policy


@pytest.mark.parametrize(
    ("intent", "status"), [("int_0000000000000000", 400), ("nothing", 400), ("<b>", 400)]
)
def test_what_is_not_unknown_is_not_settled(place, ledger, intent, status):
    with served_here(place) as page:
        reply = page.visitor().post(f"/done/{intent}/reconcile")
    assert reply.status == status
    assert "is not in the ledger" in reply.text


# The command


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--help",), 0, "usage: kartra-mcp page"),
        (("--nothing",), 2, "not understood: --nothing"),
        (("101",), 2, "not understood: 101"),
        (("--idle",), 2, "not understood"),
        (("--idle", "soon"), 2, "not understood"),
        (("--idle", "-1"), 2, "not understood"),
    ],
)
def test_its_words_are_understood_or_named(capsys, words, code, said):
    with pytest.raises(SystemExit) as ended:
        page_command(["--no-browser", *words])
    assert ended.value.code == code
    out, error = capsys.readouterr()
    assert said in out + error


def test_a_state_folder_that_cannot_be_used_is_refused(place):
    (ledger_folder(place) / TURN).mkdir()
    process = command(place, "--json")
    out, error = process.communicate(timeout=WITHIN)
    assert (process.returncode, error) == (1, "")
    assert json.loads(out)["error"]["code"] == "ledger_unavailable"


@pytest.mark.parametrize("words", [(), ("--end",)])
def test_a_page_whose_turn_another_process_holds_is_refused(place, words):
    folder = ledger_folder(place)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text("{}")
    hold = (
        "import sys, fcntl; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX);"
        " print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(folder / TURN)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        process = command(place, "--json", *words)
        out, error = process.communicate(timeout=WITHIN)
    (folder / FILE).unlink()
    assert (process.returncode, error) == (1, "")
    told_error = json.loads(out)["error"]
    assert "page.turn" in told_error["message"]
    assert "Nothing was started" in told_error["message"]
    assert pages(place) == []


def test_the_address_is_printed_for_the_user_in_words(place):
    with served(place):
        process = command(place)
        out, _ = process.communicate(timeout=WITHIN)
    assert process.returncode == 0
    assert out.startswith("Already running: http://127.0.0.1:")


def test_the_serving_process_reports_itself_and_how_to_end_it(place):
    """Bug: starting a page and finding a running one printed the same text."""
    with command(place, "--idle", "0.2") as process:
        out, said = process.communicate(timeout=WITHIN)
    assert (process.returncode, said) == (0, "")
    assert out.startswith("Serving http://127.0.0.1:")
    assert "Ctrl-C ends the page" in out


async def test_a_browser_that_waits_for_the_page_is_not_waited_for(place, tmp_path):
    """Bug: a browser in the terminal (lynx) and the page waited for each other."""
    program, got = tmp_path / "browser", tmp_path / "got"
    load = (
        "import sys; from http.client import HTTPConnection as C;"
        " from urllib.parse import urlsplit; u = urlsplit(sys.argv[1]);"
        " c = C(u.netloc, timeout=60); c.request('GET', u.path);"
        " print(c.getresponse().status)"
    )
    program.write_text(
        f'#!/bin/sh\n{sys.executable} -c "{load}" "$1" > {got}.new\nmv {got}.new {got}\n'
    )
    program.chmod(0o755)
    env = {**place.environment, "BROWSER": str(program)}
    line = [sys.executable, "-m", "kartra_mcp", "page"]
    async with await anyio.open_process(line, env=env, cwd=ROOT) as process:
        try:
            await until(got.exists)
        finally:
            process.terminate()
    assert got.read_text() == "303\n"


def test_a_page_is_ended_by_the_command_and_frees_the_ledger(place, ledger):
    """Bug: an idle page blocked `ledger new`."""
    with served(place) as page:
        page.visitor().get("/")
        line = [sys.executable, "-m", "kartra_mcp", "page", "--end"]
        for said in ("has ended", "No page serves"):
            done = subprocess.run(
                line, env=place.environment, cwd=ROOT, capture_output=True, check=True, text=True
            )
            assert said in done.stdout
        assert page.process.wait(WITHIN) == 0
    assert told(place) is None


def test_without_a_browser_the_user_gets_the_address_to_open(place):
    with served(place):
        env = {**place.environment, "BROWSER": "/nothing/there", "PATH": "/nothing"}
        line = [sys.executable, "-m", "kartra_mcp", "page"]
        done = subprocess.run(
            line, env=env, cwd=ROOT, capture_output=True, check=False, text=True, timeout=WITHIN
        )
    address = done.stdout.split()[2]
    assert done.returncode == 0
    assert done.stderr == f"No browser could be opened; open it yourself: {address}\n"


def test_a_bad_setting_is_reported_and_the_page_starts(place):
    """Bug: `--gate-irreversible bogus` and `--timeout never` were ignored silently."""
    words = ("--idle", "0.2", "--gate-irreversible", "bogus", "--timeout=never")
    with command(place, *words) as process:
        out, said = process.communicate(timeout=WITHIN)
    assert process.returncode == 0
    assert out.startswith("Serving http://127.0.0.1:")
    assert "KARTRA_MCP_TIMEOUT is not " in said
    assert "KARTRA_MCP_GATE_IRREVERSIBLE is not " in said
    assert len(said.splitlines()) == 2


def test_the_browser_is_opened_at_an_address_that_works(place, tmp_path):
    """The browser is a test program that records its arguments."""
    noted = tmp_path / "noted"
    program = tmp_path / "browser"
    program.write_text(f'#!/bin/sh\necho "$1" > {noted}\n')
    program.chmod(0o755)
    with served(place) as page:
        env = {**place.environment, "BROWSER": str(program)}
        line = [sys.executable, "-m", "kartra_mcp", "page"]
        done = subprocess.run(line, env=env, cwd=ROOT, capture_output=True, check=False)
        assert done.returncode == 0
        page.visitor(noted.read_text().strip())


def _refused(work: Callable[[], Any]) -> str:
    with pytest.raises(RefusedError) as caught:
        work()
    return caught.value.code


def test_wrong_pins_lock_the_page_and_the_terminal_together(place, ledger: Any):
    ledger.approvals.request(asked())
    with served_here(place) as page:
        visitor = page.visitor()
        said = [visitor.decided(1, "approve", pin=WRONG) for _ in range(6)]
        said.append(visitor.decided(1, "approve"))
    wanted = ["4 attempts are left", "3 attempts", "2 attempts", "1 attempt is left"]
    wanted += ["locked for 15 minutes now", "is locked until", "is locked until"]
    for reply, sentence in zip(said, wanted, strict=True):
        assert sentence in reply.text
        assert WRONG not in reply.text
    assert ledger.approvals.get(1).state == "pending"
    assert _refused(lambda: ledger.pins.check(PIN, "ada")) == "not_allowed"
    tries = [event for event in events(place) if event.startswith("pin_")]
    assert tries == ["pin_set", *["pin_wrong"] * 5, *["pin_locked"] * 3]


async def test_many_wrong_pins_at_once_are_no_more_attempts(place, ledger):
    ledger.approvals.request(asked())
    with served_here(place) as page:
        visitor = page.visitor()
        visitor.csrf()
        statuses: list[int] = []

        def attempt() -> None:
            statuses.append(visitor.decide(1, "approve", pin=WRONG).status)

        async with anyio.create_task_group() as crowd:
            for _ in range(12):
                crowd.start_soon(anyio.to_thread.run_sync, attempt)
    assert set(statuses) == {303}
    assert events(place).count("pin_wrong") == 5
    assert ledger.approvals.get(1).state == "pending"


def test_a_decision_counts_once_and_reports_its_result(place, ledger):
    ledger.approvals.request(asked())
    with served_here(place) as page:
        visitor, other = page.visitor(), page.visitor(new_address(place))
        assert visitor.decide(1, "approve").status == 303
        again = other.decided(1, "decline", reason="no")
        assert "is not pending: approved by" in again.text
        assert "Number 7 does not exist" in visitor.decided(7, "approve").text
    assert ledger.approvals.get(1).state == "approved"
    assert events(place).count("pin_right") == 1


def test_what_lacks_something_costs_no_attempt_and_keeps_what_was_typed(place, ledger):
    ledger.approvals.request(asked())
    with served_here(place) as page:
        visitor = page.visitor()
        text = visitor.decided(1, "decline", pin=WRONG, reason="  ").text
        assert "A decline needs a reason" in text
        text = visitor.decided(1, "perhaps", pin=WRONG, reason="my reason").text
        assert "neither approve nor decline" in text
        assert "my reason" in text
        text = visitor.decided(1, "approve", pin=WRONG, reason='"><b>why').text
        assert "<b>why" not in text
        assert "&lt;b&gt;why" in text
    assert events(place).count("pin_wrong") == 1


def test_reloading_a_refusal_does_not_count_as_an_attempt(place, ledger):
    """Bug: the error was the response to the POST, and a reload sent the wrong PIN again."""
    ledger.approvals.request(asked())
    with served_here(place) as page:
        visitor, other = page.visitor(), page.visitor(new_address(place))
        reply = visitor.decide(1, "approve", pin=WRONG, reason="he was kind")
        assert (reply.status, reply.headers["location"]) == (303, "/#approval-1")
        for elsewhere in (visitor.get("/done"), visitor.get("/cards"), other.get("/")):
            assert "The PIN is wrong" not in elsewhere.text
        text = visitor.get("/").text
        assert "4 attempts are left" in text
        assert "he was kind" in text
        assert WRONG not in text
        text = visitor.get("/").text
        assert "The PIN is wrong" not in text
        assert "he was kind" not in text
        for path in ("/approvals/1", "/approvals/1/withdraw"):
            reply = visitor.get(path)
            assert (reply.status, reply.headers["location"]) == (303, "/#approval-1")
    assert events(place).count("pin_wrong") == 1


def test_what_was_approved_is_taken_back_with_the_pin(place, ledger):
    number = ledger.approvals.request(asked())
    path = f"/approvals/{number}/withdraw"
    with served_here(place) as page:
        visitor = page.visitor()
        early = visitor.after(visitor.post(path, pin=PIN))
        assert "it is still pending" in early.text
        visitor.decide(number, "approve")
        assert "The PIN is wrong" in visitor.after(visitor.post(path, pin=WRONG)).text
        assert ledger.approvals.get(number).state == "approved"
        assert (
            "an equal call requests a new approval"
            in visitor.after(visitor.post(path, pin=PIN)).text
        )
        assert "withdrawn by" in visitor.after(visitor.post(path, pin=PIN)).text
        assert "withdrawn by" in visitor.decided(number, "decline", reason="no").text
    assert ledger.approvals.get(number).state == "withdrawn"
    tries = [event for event in events(place) if event.startswith("pin_")]
    assert tries == ["pin_set", "pin_right", "pin_wrong", "pin_right"]


async def test_of_the_chats_call_and_taking_it_back_at_once_exactly_one_wins(place, ledger):
    async with connect_stdio(place, "legacy") as client:
        waiting = (await refund(client)).error["confirmation"]
        visitor = Visitor(at(waiting["address"])[0]).enter(waiting["address"])
        visitor.decide(waiting["number"], "approve")
        before = place.dump()
        answers: list[Any] = []

        async def ask() -> None:
            answers.append(await refund(client))

        async with anyio.create_task_group() as both:
            both.start_soon(ask)
            path = f"/approvals/{waiting['number']}/withdraw"
            both.start_soon(anyio.to_thread.run_sync, lambda: visitor.post(path, pin=PIN))
    found = ledger.approvals.get(waiting["number"])
    taken_back = found.state == "withdrawn"
    assert taken_back is (found.used_by is None)
    assert answers[0].code == "approval_required" if taken_back else not answers[0].failed
    assert (place.dump() == before) is taken_back
    assert ("approval_withdrawn" in events(place)) is taken_back


def test_without_a_pin_the_page_explains_how_to_set_one(place):
    with closing(open_ledger(ledger_folder(place))) as ledger:
        ledger.approvals.request(asked())
    with served_here(place) as page:
        reply = page.visitor().decided(1, "approve")
    assert "kartra-mcp approve --set-pin --sandbox --state-dir" in reply.text
