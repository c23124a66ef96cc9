"""`kartra-mcp approve` on a real terminal: only a human with the PIN decides."""

from __future__ import annotations

import io
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import command_line
import pexpect
import pytest
from forked_terminal import ForkedSpawn
from harness import Answer, Sandbox, call, connect
from page_client import end
from polling import until

from kartra_mcp.core.display import get_os_user
from kartra_mcp.ledger.approval_records import ApprovalRequest
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.records import Binding
from kartra_mcp.ledger.sqlite.store import open_ledger

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

REFUND = "kartra_refund_transaction"
PIN, WRONG = "correct horse", "battery staple"
ROOT = Path(__file__).parent.parent
DAY = 86_400


@pytest.fixture
def sandbox(tmp_path) -> Sandbox:
    """The account behind gate `human`."""
    return Sandbox(tmp_path / "state", {"GATE_IRREVERSIBLE": "human"})


@pytest.fixture
def folder(sandbox: Sandbox) -> Path:
    return sandbox.folder / "sandbox"


@pytest.fixture
def ledger(folder: Path):
    with closing(open_ledger(folder)) as made:
        yield made


@pytest.fixture
def spawn(sandbox: Sandbox):
    """Start `kartra-mcp approve …` on a terminal of its own, by the flags of the sandbox."""
    started: list[Any] = []

    def start(*words: str) -> Any:
        place = ("--sandbox", "--state-dir", str(sandbox.folder))
        command = ["-m", "kartra_mcp", "approve", *words, *place]
        env = {"PATH": os.environ["PATH"], "TERM": "xterm", "LANG": "C.UTF-8", "TZ": "UTC"}
        child = ForkedSpawn(
            sys.executable,
            command,
            cwd=ROOT,
            env=env,
            encoding="utf-8",
            dimensions=(50, 200),
            timeout=60,
        )
        child.delaybeforesend = None
        started.append(child)
        return child

    yield start
    for child in started:
        child.close(force=True)


def decided(child: Any, word: str, reason: str) -> Any:
    for question, answer in (
        ("PIN \\(not shown\\): ", PIN),
        ("approve or decline\\? ", word),
        ("Why\\?", reason),
    ):
        child.expect(question)
        child.sendline(answer)
    return child


def ended(child: Any) -> tuple[int, str]:
    """The exit code, and all that was shown since what was last expected."""
    child.expect(pexpect.EOF)
    child.close()
    shown = plain(child.before)
    assert "Traceback" not in shown
    return child.exitstatus, shown


def plain(shown: str) -> str:
    """Without colours, and with the line breaks that were written."""
    return re.sub(r"\x1b\[[0-9;]*m", "", shown).replace("\r\n", "\n")


def piped(sandbox: Sandbox, *words: str, said: str = "") -> subprocess.CompletedProcess[str]:
    return command_line.run(["approve", *words], env=sandbox.environment, said=said)


async def refund(sandbox: Sandbox, **more: Any) -> Answer:
    async with connect(sandbox, "legacy") as client:
        return await call(client, REFUND, **{"transaction_id": 101, **more})


async def waiting(sandbox: Sandbox, ledger: Ledger) -> int:
    """A refund that waits, and a PIN."""
    answer = await refund(sandbox)
    assert answer.code == "approval_required"
    ledger.pins.set(PIN, "ada")
    assert answer.error["confirmation"]["number"] == 1
    return 1


def state(ledger: Ledger, number: int = 1) -> str:
    found = ledger.approvals.get(number)
    return found.state if found else "not there"


async def test_what_was_approved_goes_through_exactly_once(sandbox, ledger, spawn):
    answer = await refund(sandbox)
    assert (answer.code, answer.executed) == ("approval_required", "no")
    assert "`kartra-mcp approve 1" in answer.error["remedy"]
    before = sandbox.dump()
    ledger.pins.set(PIN, "ada")
    child = decided(spawn("1"), "approve", "")
    code, last = ended(child)
    assert (code, "Approved. Nothing has been done yet" in last) == (0, True)
    approved: Any = ledger.approvals.get(1)
    assert (approved.state, approved.who, approved.reason) == ("approved", get_os_user(), "")
    assert sandbox.dump() == before
    assert not (await refund(sandbox)).failed
    after = sandbox.dump()
    assert after != before
    again = await refund(sandbox)
    assert (again.code, again.executed) == ("already_done", "no")
    assert sandbox.dump() == after
    lines = ledger.list_recent(9)
    assert [(line["state"], line["consent"]) for line in lines] == [("succeeded", "approval")]
    code, said = ended(spawn("1"))
    assert code == 1
    assert "Number 1 is not pending: approved by" in said
    assert f"used by {lines[0]['intent']}" in said


async def test_everything_that_is_agreed_to_is_shown_and_the_pin_is_not(sandbox, ledger, spawn):
    confirmation = (await refund(sandbox)).error["confirmation"]
    ledger.pins.set(PIN, "ada")
    child = spawn("1")
    child.logfile_read = io.StringIO()
    child.expect("PIN \\(not shown\\): ")
    shown = plain(child.before)
    assert f"\n{confirmation['summary']}\n" in shown
    rows = dict(re.findall(r"^  (\w+(?: \w+)*)  +(\S.*?) *$", shown, re.MULTILINE))
    for name, value in confirmation["facts"].items():
        found = rows[name.replace("_", " ")]
        assert found == (value or "-") if isinstance(value, str) else found
    assert rows["effect"] == confirmation["effect"]
    assert rows["undo"] == confirmation["undo"]
    assert rows["tool"] == REFUND
    assert rows["asked by"]
    for name in ("since", "until"):
        assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC", rows[name])
    child.sendline(PIN)
    child.expect("approve or decline\\? ")
    child.sendline("yes")
    child.expect("Type the word approve")
    child.expect("approve or decline\\? ")
    child.sendline("APPROVE")
    child.expect("Why\\?")
    child.sendline("")
    assert ended(child)[0] == 0
    assert PIN not in child.logfile_read.getvalue()


async def test_what_was_declined_does_not_run(sandbox, ledger, spawn):
    await waiting(sandbox, ledger)
    before = sandbox.dump()
    child = decided(spawn("1"), "decline", "  ")
    child.expect("A decline needs a reason")
    child.expect("Why\\? ")
    child.sendline("wrong sale, pin: 123456")
    code, last = ended(child)
    assert (code, "Declined." in last) == (0, True)
    declined: Any = ledger.approvals.get(1)
    assert (declined.state, declined.who) == ("declined", get_os_user())
    assert declined.reason == "wrong sale, pin: [removed]"
    answer = await refund(sandbox)
    assert answer.failed
    assert answer.executed == "no"
    assert ledger.list_recent(9) == []
    assert sandbox.dump() == before
    code, said = ended(spawn("1"))
    assert code == 1
    assert "is not pending: declined by" in said
    assert "(wrong sale" in said


async def test_wrong_pins_lock_it(sandbox, ledger, spawn):
    await waiting(sandbox, ledger)
    said = []
    for _ in range(6):
        child = spawn("1")
        child.expect("PIN \\(not shown\\): ")
        child.sendline(WRONG)
        code, last = ended(child)
        assert code == 1
        assert WRONG not in last
        said.append(last)
    child = spawn("1")
    child.expect("PIN \\(not shown\\): ")
    child.sendline(PIN)
    code, last = ended(child)
    assert code == 1
    left = [
        "4 attempts are left",
        "3 attempts are left",
        "2 attempts are left",
        "1 attempt is left",
    ]
    for sentence, wanted in zip(
        [*said, last],
        [*left, "locked for 15 minutes now", "is locked until", "is locked until"],
        strict=True,
    ):
        assert wanted in sentence
    assert state(ledger) == "pending"


def reads(pid: int) -> bool:
    """Return true if it waits for input: an earlier key would be lost."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


@pytest.mark.parametrize("question", ["PIN \\(not shown\\): ", "approve or decline\\? ", "Why\\?"])
@pytest.mark.parametrize("key", ["\x03", "\x04"], ids=["ctrl-c", "ctrl-d"])
async def test_stopping_at_any_question_decides_nothing(sandbox, ledger, spawn, question, key):
    await waiting(sandbox, ledger)
    child = spawn("1")
    for asked, answer in (
        ("PIN \\(not shown\\): ", PIN),
        ("approve or decline\\? ", "decline"),
        ("Why\\?", "x"),
    ):
        child.expect(asked)
        if asked == question:
            await until(lambda: reads(child.pid))
            child.send(key)
            break
        child.sendline(answer)
    code, last = ended(child)
    assert code == 1
    assert "Stopped. Nothing was decided." in last
    assert state(ledger) == "pending"


async def test_without_a_terminal_nothing_is_decided_and_no_pin_is_taken(sandbox, ledger):
    await waiting(sandbox, ledger)
    for words, said in ((("1",), f"{PIN}\napprove\n\n"), (("--set-pin",), f"{PIN}\nnew pin\n" * 2)):
        done = piped(sandbox, *words, said=said)
        assert done.returncode == 1
        assert "only on a real terminal" in done.stderr
        assert done.stdout == ""
    assert state(ledger) == "pending"
    assert ledger.pins.check(PIN, "ada")


async def test_an_output_that_is_no_terminal_is_refused_too(sandbox, ledger, tmp_path):
    await waiting(sandbox, ledger)
    out = tmp_path / "out"
    line = f"'{sys.executable}' -m kartra_mcp approve 1 >'{out}'"
    env = {**sandbox.environment, "TERM": "xterm"}
    child = pexpect.spawn("/bin/sh", ["-c", line], cwd=ROOT, env=env, encoding="utf-8", timeout=60)
    code, said = ended(child)
    assert code == 1
    assert "only on a real terminal" in said
    assert out.read_text() == ""


async def test_the_list_is_for_people_and_for_programs(sandbox, ledger):
    empty = piped(sandbox)
    assert (empty.returncode, "Nothing waits" in empty.stdout) == (0, True)
    answer = await refund(sandbox)
    shown = piped(sandbox)
    assert shown.returncode == 0
    assert answer.error["confirmation"]["summary"][:30] in shown.stdout
    assert "\x1b" not in shown.stdout
    told = json.loads(piped(sandbox, "--json").stdout)["waiting"]
    assert [(x["number"], x["tool"]) for x in told] == [(1, REFUND)]
    facts = answer.error["confirmation"]["facts"]
    assert told[0]["facts"].items() >= facts.items()
    assert piped(sandbox, "--sandbox").stdout.endswith("kartra-mcp approve NUMBER --sandbox\n")


async def test_a_pin_has_to_be_chosen_first(sandbox, ledger, spawn):
    await refund(sandbox)
    code, said = ended(spawn("1"))
    assert code == 1
    assert "No PIN is set" in said
    assert "kartra-mcp approve --set-pin --sandbox" in said


async def test_the_remedy_for_an_unknown_number_keeps_the_flags_of_the_ledger(
    sandbox, ledger, spawn
):
    """The command of the remedy listed the approvals of the real account."""
    await waiting(sandbox, ledger)
    code, said = ended(spawn("2"))
    assert code == 1
    assert f"`kartra-mcp approve --sandbox --state-dir {sandbox.folder}`" in said


async def test_another_pin_needs_the_old_one(ledger, spawn):
    def chosen(*typed: str) -> tuple[int, str]:
        child = spawn("--set-pin")
        for answer in typed:
            child.expect("(Current|[Nn]ew) PIN.*: ")
            child.sendline(answer)
        return ended(child)

    assert chosen("short")[0] == 1
    code, said = chosen("long enough", "something else")
    assert (code, "The two PINs differ" in said) == (1, True)
    assert not ledger.pins.is_set()
    assert chosen(PIN, PIN)[0] == 0
    code, said = chosen(WRONG)
    assert (code, "4 attempts are left" in said) == (1, True)
    assert chosen(PIN, "another one", "another one")[0] == 0
    assert ledger.pins.check("another one", "ada")
    child = spawn("--set-pin")
    child.expect("Current PIN .*: ")
    child.sendeof()
    code, said = ended(child)
    assert (code, "The PIN was not changed" in said) == (1, True)


async def test_who_forgot_the_pin_is_told_the_way_of_the_rehearsal(sandbox, ledger, spawn):
    ledger.pins.set(PIN, "ada")
    child = spawn("--set-pin")
    child.expect(r"Current PIN \(not shown\): ")
    way = f"begin the rehearsal again: kartra-mcp sandbox reset --state-dir {sandbox.folder}"
    assert way in plain(child.before)
    child.sendintr()
    assert ended(child)[0] == 1


def test_a_forgotten_pin_is_removed_by_the_owner_of_the_file_as_documented(folder, ledger, spawn):
    """docs/consent.md: the PIN is no entry, so that the ledger stays valid without it."""
    ledger.pins.set(PIN, "ada")
    ledger.close()
    documented = (ROOT / "docs" / "consent.md").read_text()
    statement = re.findall(r'ledger\.db "(DELETE [^"]*)"', documented)
    with closing(sqlite3.connect(folder / "ledger.db")) as db, db:
        db.execute(*statement)
    assert not ledger.pins.is_set()
    child = spawn("--set-pin")
    for _ in range(2):
        child.expect("[Nn]ew PIN.*: ")
        child.sendline("another one")
    assert ended(child)[0] == 0
    assert ledger.pins.check("another one", "ada")
    assert ledger.verify().ok


async def test_after_the_pin_is_set_the_user_is_sent_back_to_the_page(sandbox, spawn):
    sandbox.settings["PAGE"] = "on"
    try:
        await refund(sandbox)
        child = spawn("--set-pin")
        for _ in range(2):
            child.expect(r"[Nn]ew PIN.*\(not shown\): ")
            child.sendline(PIN)
        code, said = ended(child)
    finally:
        end(sandbox)
    assert code == 0
    assert "Go back to the approval page in your browser, reload it, and approve there." in said


BINDING = Binding(REFUND, "digest", "c", "2026", "a", "r1", "p")


def test_an_approval_that_no_longer_waits_names_the_reason(folder, ledger, spawn):
    begun = time.time() - DAY - 60
    with closing(open_ledger(folder, lambda: begun)) as earlier:
        earlier.approvals.request(ApprovalRequest(BINDING, "Refund 97", {}, "facts1", "claude 1"))
        earlier.approvals.request(ApprovalRequest(BINDING, "Refund 97", {}, "facts2", "claude 1"))
    for number, why in (
        ("1", "a newer number replaced it"),
        ("2", "it expired on 20"),
        ("3", "Number 3 does not exist"),
    ):
        code, said = ended(spawn(number))
        assert code == 1
        assert why in said


def test_untrusted_text_cannot_pose_as_something_else(ledger, spawn):
    ledger.pins.set(PIN, "ada")
    facts = {
        "buyer": "Ada\x1b[2J\x1b]0;x\x07\u202e\n  this refund  1.00",
        "memberships": [{"level": "[red]Gold[/red]", "active": True}],
        "product": " ".join(["this refund 1.00"] * 30),
        "seen": None,
    }
    request = ApprovalRequest(
        BINDING, "REFUND \x1b[31m97\r\n", facts, "facts", "evil\x1b[1A\x08\nx"
    )
    ledger.approvals.request(request)
    child = spawn("1")
    child.expect("PIN \\(not shown\\): ")
    codes = set(re.findall(r"\x1b\[[0-9;]*[A-Za-z]", child.before))
    assert codes <= {"\x1b[0m", "\x1b[1m", "\x1b[2m"}
    shown = plain(child.before)
    assert not set(shown) & set("\x1b\x07\x08\r\u202e")
    assert [line for line in shown.splitlines() if line.lstrip().startswith("REFUND")]
    rows = dict(re.findall(r"^  (\w+(?: \w+)*)  +(\S.*?) *$", shown, re.MULTILINE))
    assert rows["buyer"] == "Ada this refund 1.00"
    assert rows["memberships"] == "active: yes; level: [red]Gold[/red]"
    assert rows["seen"] == "-"
    assert rows["asked by"] == "evil x"
    # What is too long for a line goes on in the column of the values.
    wrapped = [x for x in shown.splitlines() if "this refund" in x and not x.startswith("  buyer")]
    column = wrapped[0].index("this")
    assert len(wrapped) > 1
    assert all(line[:column].strip() in {"product", ""} for line in wrapped)
    child.sendeof()
    assert ended(child)[0] == 1


@pytest.mark.parametrize(
    "words",
    [("x",), ("0",), ("1", "2"), ("1", "--json"), ("1", "--set-pin"), ("--sand",), ("--rate", "5")],
)
def test_wrong_usage_prints_one_line_that_names_help(sandbox, words):
    done = piped(sandbox, *words)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "--help`" in done.stderr
