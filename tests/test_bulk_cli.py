"""`kartra-mcp bulk`: runs from a terminal, and the runs of a ledger."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
import command_line
import in_process
import pexpect
import pytest
from bulk_account import (
    CREATE,
    FIRST_LEAD,
    REFUND,
    TAG,
    VIP,
    add_leads,
    agree,
    bulk,
    bulk_id,
    created,
    emails,
    new_leads,
    only_run,
    plan,
    tagged,
)
from consent_actors import changed, ledger_folder, lines, sandbox
from forked_terminal import ForkedSpawn
from harness import Sandbox, connect
from polling import until

from kartra_mcp.cli.bulk import bulk as bulk_command
from kartra_mcp.core.surroundings import Surroundings, surrounded
from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.processes import runner

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

PIN = "correct horse"
ROOT = Path(__file__).parent.parent


@pytest.fixture
def place(tmp_path: Path) -> Sandbox:
    return sandbox(tmp_path)


def piped(place: Sandbox, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `bulk` between pipes."""
    command = partial(bulk_command, run_program=in_process.run)
    return command_line.run(words, env=place.environment, command=command)


class TerminalStream(io.StringIO):
    """An end of a terminal."""

    def isatty(self) -> bool:
        return True


class Typist:
    """Answers the questions of a terminal in their order, and keeps them."""

    def __init__(self, *answers: str | BaseException) -> None:
        self.answers, self.asked = [*answers], list[str]()

    def __call__(self, question: str) -> str:
        self.asked.append(question)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def typed(
    place: Sandbox,
    typist: Typist,
    *words: str,
    shown: TerminalStream | None = None,
    run_program: runner.Run = in_process.run,
) -> tuple[int, str]:
    """Run `bulk` on a terminal; return its exit status and everything shown."""
    shown = shown or TerminalStream()
    env = {**place.environment, "TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "200"}
    around = Surroundings(env, TerminalStream(), shown, shown, typist, typist)
    with surrounded(around):
        code = bulk_command(words, run_program)
    return code, shown.getvalue()


def write(place: Sandbox, text: str) -> str:
    file = place.folder.parent / "leads.csv"
    file.write_text(text)
    return str(file)


def leads_file(place: Sandbox, count: int) -> tuple[str, list[str]]:
    who = add_leads(place, count)
    return write(place, "".join(f"{line}\n" for line in ("E-Mail", *who))), who


def tag_words(file: str, *more: str) -> tuple[str, ...]:
    return ("run", TAG, "--csv", file, "--set", "tag_name=VIP", *more)


def test_a_run_is_agreed_to_by_its_number_of_items(place: Sandbox):
    file, who = leads_file(place, 3)
    typist = Typist("3")
    code, shown = typed(place, typist, *tag_words(file))
    assert code == 0, shown
    assert len(typist.asked) == 1
    assert "number of items (3)" in typist.asked[0]
    for word in ("SANDBOX", "3 items", "can start mail", "effect", "unassign the tag", who[0]):
        assert word in shown
    assert "3 of 3 succeeded" in shown
    assert f"To undo it: kartra-mcp bulk undo {only_run(place)}" in shown
    assert tagged(place) >= set(who)
    (agreed,) = (line for line in lines(place, "bulk") if line["event"] == "agreed")
    assert (agreed["consent"], agreed["client"]) == ("two_step", "kartra-mcp bulk")


NO_AGREEMENT: dict[str, str | BaseException] = {
    "another number": "2",
    "yes": "yes",
    "nothing": "",
    "Ctrl-C": KeyboardInterrupt(),
    "the end of the input": EOFError(),
}


@pytest.mark.parametrize("name", NO_AGREEMENT)
def test_without_the_number_nothing_runs(place: Sandbox, name: str):
    file, who = leads_file(place, 3)
    before = place.dump()
    code, shown = typed(place, Typist(NO_AGREEMENT[name]), *tag_words(file))
    assert code == 1
    assert "Nothing was done" in shown
    assert f"kartra-mcp bulk continue {only_run(place)}" in shown
    assert place.dump() == before
    assert lines(place, "intent") == []
    code, shown = typed(place, Typist("3"), "continue", only_run(place))
    assert code == 0, shown
    assert tagged(place) >= set(who)


def test_a_dry_run_shows_the_preview_and_needs_no_terminal(place: Sandbox):
    file, _ = leads_file(place, 3)
    before = place.dump()
    shown = piped(place, *tag_words(file, "--dry-run"))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert all(word in shown.stdout for word in ("3 items", "effect", "Nothing was done"))
    told = json.loads(piped(place, *tag_words(file, "--dry-run", "--json")).stdout)
    assert (told["facts"]["count"], told["gate"], told["state"]) == (3, "preview", "planned")
    assert place.dump() == before
    assert lines(place, "intent") == []


def test_without_a_terminal_nothing_is_even_checked(place: Sandbox):
    file, _ = leads_file(place, 1)
    ended = piped(place, *tag_words(file))
    assert ended.returncode == 1
    assert "only on a real terminal" in ended.stderr
    assert "--dry-run" in ended.stderr
    assert changed(place, "SELECT id FROM bulk_runs") == []


def test_wrong_rows_are_shown_with_their_lines_and_left_out_if_wanted(place: Sandbox):
    (who,) = add_leads(place, 1)
    file = write(place, f"E-Mail;Note\nnobody;x\n{who};y\nnobody@example.com;z\n")
    code, shown = typed(place, Typist(), *tag_words(file))
    assert code == 1
    assert "2 of 3 items cannot run" in shown
    assert "--skip-invalid" in shown
    rows = [line.split(maxsplit=1) for line in shown.splitlines() if line[:1].isdigit()]
    assert [row[0] for row in rows] == ["2", "4"]
    code, shown = typed(place, Typist("1"), *tag_words(file, "--skip-invalid"))
    assert code == 0, shown
    assert "columns not used" in shown
    assert "Wrong: 2" in shown
    assert who in tagged(place)


def test_a_refund_needs_the_sum_and_the_pin(place: Sandbox):
    """Under gate human the consent is an approval, as with `kartra-mcp approve`."""
    file = write(place, "transaction_id\n101\n")
    words = ("run", REFUND, "--csv", file)
    before = place.dump()
    code, shown = typed(place, Typist(), *words)
    assert code == 1
    assert "kartra-mcp approve --set-pin" in shown
    with closing(open_ledger(ledger_folder(place))) as ledger:
        ledger.pins.set(PIN, "ada")
    code, shown = typed(place, Typist("97.00", "wrong pin"), *words)
    assert code == 1
    assert "The PIN is wrong" in shown
    code, shown = typed(place, Typist("1"), *words)
    assert (code, place.dump()) == (1, before)
    typist = Typist("97.00", PIN)
    code, shown = typed(place, typist, *words)
    assert code == 0, shown
    assert "sum (97.00)" in typist.asked[0]
    assert PIN not in shown
    (intent,) = lines(place, "intent")
    assert intent["consent"] == "approval"
    assert place.rows("SELECT cents FROM transactions WHERE parent_id = 101") == [(9700,)]


def test_a_read_needs_no_consent_and_no_terminal(place: Sandbox):
    file = write(place, "email\nada@example.com\nnobody@example.com\n")
    ended = piped(place, "run", "kartra_get_lead", "--csv", file, "--json")
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["state"]) == (1, "done")  # one lead does not exist
    assert (told["done"], told["failed"], told["failures"][0]["item"]) == (1, 1, 3)


WRONG_USAGE: dict[str, tuple[tuple[str, ...], int, str]] = {
    "no command": ((), 2, "required"),
    "another command": (("runn",), 2, "did you mean run?"),
    "no file": (("run", TAG), 2, "--csv"),
    "a pair without a value": (("run", TAG, "--csv", "FILE", "--set", "tag_name"), 2, "NAME=VALUE"),
    "an unknown flag": (("run", TAG, "--csv", "FILE", "--dryrun"), 2, "--dry-run"),
    "a state that is none": (("show", "blk_0", "--state", "don"), 2, "don"),
    "a file that does not exist": (("run", TAG, "--csv", "none.csv"), 1, "cannot be read"),
    "a folder": (("run", TAG, "--csv", "."), 1, "cannot be read"),
    "an unknown tool": (("run", "kartra_assign_tags", "--csv", "FILE"), 1, TAG),
    "a tool of the server": (("run", "kartra_status", "--csv", "FILE"), 1, "in bulk"),
    "an unknown column": (("run", TAG, "--csv", "FILE", "--map", "Mail=email"), 1, "'Mail'"),
    "a column twice": (
        ("run", TAG, "--csv", "FILE", "--map", "a=email", "--map", "a=tag_name"),
        1,
        "twice",
    ),
    "an unknown run": (("show", "blk_0"), 1, "kartra-mcp bulk list"),
    "an unknown run to continue": (("continue", "blk_0"), 1, "kartra-mcp bulk list"),
    "a tool with a typo": (
        ("run", "kartra_asign_tag", "--csv", "FILE"),
        1,
        "Did you mean kartra_assign_tag?\nNothing was done. Run `kartra-mcp tools`",
    ),
    "a column that the file does not have": (
        ("run", "kartra_assign_tag", "--csv", "FILE", "--map", "Mail=email"),
        1,
        "Name one of its columns.\nColumns: email\nArguments: email, lead_id, tag_name",
    ),
    "an unknown run to undo": (("undo", "blk_0", "--dry-run"), 1, "kartra-mcp bulk list"),
    "an unknown run to cancel": (("cancel", "blk_0"), 1, "kartra-mcp bulk list"),
    "an unknown run to export": (("export", "blk_0"), 1, "kartra-mcp bulk list"),
}


@pytest.mark.parametrize("name", WRONG_USAGE)
def test_a_mistake_is_named_and_runs_nothing(place: Sandbox, name: str):
    words, status, wanted = WRONG_USAGE[name]
    file = write(place, "email\nada@example.com\n")
    dry = ("--dry-run",) if words[:1] == ("run",) and "--dryrun" not in words else ()
    given = [file if word == "FILE" else word for word in words]
    ended = piped(place, *given, *dry)
    assert ended.returncode == status, ended.stderr
    assert wanted in ended.stderr
    assert "Traceback" not in ended.stderr
    assert changed(place, "SELECT id FROM bulk_runs") == []


async def in_thread(place: Sandbox, *words: str) -> subprocess.CompletedProcess[str]:
    return await anyio.to_thread.run_sync(lambda: piped(place, *words))


async def two_runs(place: Sandbox, who: list[str]) -> tuple[str, str]:
    """A run of a client that is done, and a plan with a formula in a name."""
    async with connect(place, "legacy") as client:
        preview = await plan(client, TAG, emails(who), arguments=VIP)
        await agree(client, preview)
        made = new_leads(2)
        made[1]["first_name"] = "\t=HYPERLINK(1)\r"
        return bulk_id(preview), bulk_id(await plan(client, CREATE, made))


async def test_runs_of_a_client_are_listed_and_shown(place: Sandbox):
    who = add_leads(place, 2)
    done, waiting = await two_runs(place, who)
    listed = json.loads((await in_thread(place, "list", "--json")).stdout)["runs"]
    found = [(told["bulk_id"], told["state"]) for told in listed]
    assert found == [(waiting, "planned"), (done, "done")]
    assert done in (await in_thread(place, "list")).stdout
    shown = await in_thread(place, "show", done, "--json", "--state", "succeeded")
    assert [item["arguments"]["email"] for item in json.loads(shown.stdout)["items"]] == who
    text = (await in_thread(place, "show", done)).stdout
    assert all(word in text for word in (*who, "two_step", "succeeded"))


async def test_an_export_runs_nothing_in_a_spreadsheet_and_replaces_no_file(place: Sandbox):
    done, waiting = await two_runs(place, add_leads(place, 2))
    text = (await in_thread(place, "export", waiting)).stdout
    exported = list(csv.DictReader(io.StringIO(text)))
    assert [row["email"] for row in exported] == ["made0@example.com", "made1@example.com"]
    assert exported[1]["first_name"] == "'=HYPERLINK(1)"
    file = place.folder.parent / "out.csv"
    words = ("export", done, "--output", str(file))
    assert (await in_thread(place, *words)).returncode == 0
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_bytes()
    again = await in_thread(place, *words, "--state", "failed")
    assert (again.returncode, file.read_bytes()) == (1, before)


async def test_a_cancelled_run_does_not_run(place: Sandbox):
    _, waiting = await two_runs(place, add_leads(place, 2))
    assert (await in_thread(place, "cancel", waiting)).returncode == 0
    again = await in_thread(place, "cancel", waiting)
    assert (again.returncode, "ended before" in again.stderr) == (1, True)
    resume = ("continue", waiting)
    code, shown = await anyio.to_thread.run_sync(lambda: typed(place, Typist(), *resume))
    assert code == 1
    assert "Cancelled" in shown
    assert created(place) == 0


def test_a_run_is_undone_by_its_number_of_items(place: Sandbox):
    file, who = leads_file(place, 3)
    place.rows("INSERT INTO lead_tags VALUES (?, 502)", FIRST_LEAD)
    before = place.dump()
    assert typed(place, Typist("2"), *tag_words(file))[0] == 0
    id_ = only_run(place)
    refused = piped(place, "undo", id_)
    assert (refused.returncode, "--dry-run" in refused.stderr) == (1, True)
    dry = json.loads(piped(place, "undo", id_, "--dry-run", "--json").stdout)
    assert (dry["facts"]["count"], dry["facts"]["undoes"]) == (2, id_)
    typist = Typist("2")
    code, shown = typed(place, typist, "undo", id_)
    assert code == 0, shown
    assert f"UNDO {id_}" in shown
    assert "2 of 2 succeeded" in shown
    assert (place.dump(), tagged(place) & set(who)) == (before, {who[0]})
    code, shown = typed(place, Typist(), "undo", id_)
    assert code == 1
    assert f"{id_} was undone by {dry['bulk_id']}" in shown


def test_what_cannot_be_undone_is_shown_with_its_reason(place: Sandbox):
    file = write(place, "email\nmade0@example.com\n")
    assert typed(place, Typist("1"), "run", CREATE, "--csv", file)[0] == 0
    code, shown = typed(place, Typist(), "undo", only_run(place))
    assert code == 1
    assert "can be undone" in shown
    assert "deletes a lead" in shown


async def test_what_was_exported_can_be_run_again(place: Sandbox):
    async with connect(place, "legacy") as client:
        items = [{"email": "made1@example.com", "first_name": "-Ada"}]
        done = await bulk(client, CREATE, items)
    words = ("export", done.result["bulk_id"])
    exported = await anyio.to_thread.run_sync(lambda: piped(place, *words))
    file = write(place, exported.stdout)
    again = ("run", CREATE, "--csv", file, "--dry-run", "--json")
    ended = await anyio.to_thread.run_sync(lambda: piped(place, *again))
    # The same item: it was done a moment ago.
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["error"]["detail"]["blocked"]["total"] == 1


def spawn(place: Sandbox, *words: str) -> Any:
    """Start `bulk` as a process on a terminal of its own."""
    flags = ("--sandbox", "--state-dir", str(place.folder), "--max-children", "1", "--rate", "0")
    return ForkedSpawn(
        sys.executable,
        ["-m", "kartra_mcp", "bulk", *words, *flags],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "TERM": "xterm", "LANG": "C.UTF-8"},
        encoding="utf-8",
        dimensions=(50, 160),
        timeout=120,
    )


async def test_ctrl_c_pauses_and_nothing_is_lost(tmp_path: Path):
    place = sandbox(tmp_path, MAX_CHILDREN="1")
    file, who = leads_file(place, 6)
    place.arrange("fault", "set", "assign_tag", "slow", "--times=6", "--message=0.5")
    child = spawn(place, *tag_words(file))
    child.expect("number of items \\(6\\)")
    child.sendline("6")
    await until(lambda: bool(lines(place, "outcome")), within=60)
    child.kill(signal.SIGINT)
    child.expect("Pausing")
    child.expect("Paused.*of 6 succeeded")
    child.expect("kartra-mcp bulk continue (blk_[0-9a-f]+)")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 1
    states = [line["state"] for line in lines(place, "outcome")]
    assert set(states) == {"succeeded"}
    assert len(states) == len(lines(place, "intent")) < 6
    place.arrange("fault", "clear")
    resume = ("continue", only_run(place))
    code, shown = await anyio.to_thread.run_sync(lambda: typed(place, Typist(), *resume))
    assert code == 0, shown
    assert tagged(place) >= set(who)
    assert len(lines(place, "intent")) == 6


async def test_a_second_ctrl_c_ends_at_once_and_leaves_an_unknown_item(tmp_path: Path):
    place = sandbox(tmp_path, MAX_CHILDREN="1")
    file, who = leads_file(place, 3)
    place.arrange("fault", "set", "assign_tag", "slow", "--times=3", "--message=60")
    child = spawn(place, *tag_words(file))
    child.expect("number of items \\(3\\)")
    child.sendline("3")
    tag = '"tag_name"'
    await until(lambda: any(tag in str(words) for words in place.runs()), within=60)
    child.kill(signal.SIGINT)
    child.expect("Pausing")
    child.kill(signal.SIGINT)
    child.expect("kartra-mcp bulk show blk_")
    child.expect(pexpect.EOF, timeout=30)  # long before the program of the item ends
    child.close()
    assert child.exitstatus == 1
    place.arrange("fault", "clear")
    resume = ("continue", only_run(place))
    code, shown = await anyio.to_thread.run_sync(lambda: typed(place, Typist(), *resume))
    assert (code, "1 unknown" in shown) == (1, True), shown
    assert len(lines(place, "intent")) == 3
    assert len(tagged(place) & set(who)) >= 2


class InterruptedStream(TerminalStream):
    """A terminal whose user presses Ctrl-C while a text is being shown."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def write(self, s: str, /) -> int:
        written = super().write(s)
        if self.text in s:
            signal.raise_signal(signal.SIGINT)
        return written


def test_a_second_ctrl_c_before_the_first_is_answered_ends_the_item(tmp_path: Path):
    place = sandbox(tmp_path, MAX_CHILDREN="1")
    file, _ = leads_file(place, 3)
    place.arrange("fault", "set", "assign_tag", "slow", "--times=3", "--message=20")

    async def run_program(
        command: Sequence[str], *, on_start: Callable[[], None] | None = None, **given: Any
    ) -> runner.CompletedProcess:
        def interrupt() -> None:
            if on_start is not None:
                on_start()
            if '"tag_name"' in str(command):
                os.kill(os.getpid(), signal.SIGINT)

        return await in_process.run(command, on_start=interrupt, **given)

    terminal = InterruptedStream("Pausing")
    run = tag_words(file)
    code, shown = typed(place, Typist("3"), *run, shown=terminal, run_program=run_program)
    assert (code, "kartra-mcp bulk show blk_" in shown) == (1, True), shown
    assert [line["state"] for line in lines(place, "outcome")] == ["unknown"]
