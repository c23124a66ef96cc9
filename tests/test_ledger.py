"""The ledger on disk: several processes, kills, full disks, damage, and a clock that goes back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fork_server import forked
from hypothesis import given, settings
from hypothesis import strategies as st

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Executed, Risk
from kartra_mcp.ledger import projection
from kartra_mcp.ledger.derived import rebuild_all
from kartra_mcp.ledger.hash_chain import Head, LedgerEntry, make_entry, verify_chain
from kartra_mcp.ledger.integrity import LINE
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.pseudonyms import mask_email
from kartra_mcp.ledger.records import Answer, Binding, Filters
from kartra_mcp.ledger.sqlite import schema
from kartra_mcp.ledger.sqlite.head_file import SLOT, HeadFile
from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.policy.limits import Limits
from tests.ledger_intents import (
    BINDING,
    LIMITS,
    attempt,
    code,
    intent,
    raw,
    rewritten,
    run,
    two_step,
)
from tests.ledger_stores import Place
from tests.polling import gone, until

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals, limits and descriptors")
ROOT = Path(__file__).parent.parent
START = 1_800_000_000.0

CHILD = """
import os, signal, subprocess, sys
from decimal import Decimal
from pathlib import Path
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.ledger.records import Answer, Intent, make_intent_id
from kartra_mcp.policy.limits import Limits
from kartra_mcp.core.models import Executed, Risk
from tests.ledger_stores import open_place

def intent(target="101", amount=Decimal(97), **more):
    return Intent(id=make_intent_id(), tool="kartra_refund_transaction",
        operation="refund_transaction", risk=Risk.IRREVERSIBLE, connection="c",
        target_kind="transaction", target=target, amount=amount, known_amount=amount, **more)

def say(*words):
    print(*words, flush=True)

ledger, limits = open_place(sys.argv[1]), Limits(cap_day_count=None)
say("ready")
"""


class Clock:
    def __init__(self, at: float = START) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def ledger(ledger_place, clock):
    """The ledger in each store, for a rule."""
    with closing(ledger_place.open(clock, wait=0.2)) as made:
        yield made


@pytest.fixture
def file_ledger(folder, clock):
    """The ledger in a file, for the promises of files, locks and processes."""
    with closing(again(folder, clock)) as made:
        yield made


def again(folder: Path, clock: Clock | None = None) -> Ledger:
    clock = clock or Clock()
    return open_ledger(folder, clock, wait=0.2, steady=clock)


def child(
    code_: str, address: Path | str, *more: str, is_killed: bool = False
) -> subprocess.Popen[str]:
    words = ("-c", CHILD + code_, str(address), *more)
    process = subprocess.Popen(
        [sys.executable, *words] if is_killed else forked(*words),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
    )
    assert told(process) == "ready"
    return process


def told(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


# A story


def test_an_intent_is_on_disk_before_it_runs_and_gets_its_outcome(ledger: Any, clock, ledger_place):
    wanted = intent("0101", "97.00", lead="a**@e******.com", lead_hash="ab", undo="none")
    running = ledger.begin(wanted, LIMITS)
    with closing(ledger_place.open(clock)) as other:
        shown = other.get(wanted.id)
    assert shown is not None
    assert (shown["state"], shown["held"], shown["target"]) == ("running", True, "101")
    clock.at += 2
    ledger.finish(wanted.id, Answer("succeeded", Executed.YES, action_run_id="r1", undo="none"))
    shown = ledger.get(wanted.id)
    assert (shown["state"], shown["executed"], shown["held"]) == ("succeeded", "yes", False)
    assert (shown["amount"], shown["action_run_id"], shown["ended_at"]) == ("97.00", "r1", clock.at)
    assert [line["kind"] for line in shown["lines"]] == ["intent", "outcome"]
    assert running.lock_fd == -1
    assert ledger.verify().ok


def test_no_lock_is_left_of_what_ended_or_was_refused(file_ledger: Any, folder):
    run(file_ledger, intent())
    assert attempt(file_ledger) == "already_done"
    assert not list((folder / "locks").iterdir())


def test_a_second_outcome_is_refused(ledger: Any):
    done = run(ledger, intent())
    again_ = code(lambda: ledger.finish(done, Answer("failed", Executed.NO)))
    assert again_ == "internal_error"
    assert code(lambda: ledger.finish("int_0", Answer("failed", Executed.NO))) == "internal_error"
    assert ledger.get(done)["state"] == "succeeded"


def test_a_refused_call_leaves_nothing(ledger: Any):
    run(ledger, intent())
    assert attempt(ledger) == "already_done"
    assert attempt(ledger, target=None) == "invalid_arguments"
    assert len(ledger.export()) == 1


def test_everything_is_for_this_user_only(file_ledger: Any, folder):
    run(file_ledger, intent())
    file_ledger.leads.hash("ada@example.com")
    if sys.platform != "win32":
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir() if p.is_file()}
        assert set(modes.values()) == {0o600}, modes


def test_reads_are_filtered_newest_first(ledger: Any, clock):
    first = run(ledger, intent("1", lead_hash="ab"))
    clock.at += 10
    second = run(ledger, intent("2"), "unknown")
    assert [e["intent"] for e in ledger.list_recent(5)] == [second, first]
    assert [e["intent"] for e in ledger.list_recent(1)] == [second]
    assert [e["intent"] for e in ledger.export()] == [first, second]
    for filters, found in (
        (Filters(tool="kartra_refund_transaction"), [second, first]),
        (Filters(tool="kartra_assign_tag"), []),
        (Filters(since=START + 5), [second]),
        (Filters(lead_hash="ab"), [first]),
        (Filters(target="002"), [second]),
        (Filters(state="unknown"), [second]),
    ):
        assert [e["intent"] for e in ledger.list_recent(5, filters)] == found
    assert ledger.get("int_nothing") is None
    assert ledger.latest_at() == START + 10


def test_notes_and_mails(ledger: Any, clock):
    assert ledger.latest("policy") is None
    ledger.append_note("policy", {"digest": "d1", "loosened": False})
    ledger.append_note("policy", {"digest": "d2", "loosened": True})
    assert ledger.latest("policy") == {"digest": "d2", "loosened": True, "at": START}
    tag = {"operation": "assign_tag", "risk": Risk.WRITE, "mail": True}
    for state in ("succeeded", "unknown", "failed"):
        run(ledger, intent("1", **tag), state)
    assert ledger.emails_last_hour() == 2
    clock.at += 3600
    assert ledger.emails_last_hour() == 0


def test_leads_are_found_without_their_address(ledger: Any, ledger_place):
    key = ledger.leads.hash("Ada@Example.com ")
    with closing(ledger_place.open()) as other:
        assert other.leads.hash("ada@example.com") == key
    assert ledger.leads.hash("eve@example.com") != key
    assert mask_email("ada@example.com") == "a**@e******.com"
    assert mask_email("ádám@bücher.de") == "***@b******.de"
    assert mask_email("nonsense").isascii()


# Unknown, and what settles it


def test_unknown_blocks_until_it_is_reconciled(ledger: Any):
    lost = run(ledger, intent(), "unknown")
    assert attempt(ledger, amount=5) == "outcome_unknown"
    assert code(lambda: ledger.reconcile("int_0", "failed", {})) == "invalid_arguments"
    ledger.reconcile(lost, "failed", {"run_log": "not started"})
    shown = ledger.get(lost)
    assert (shown["state"], shown["executed"]) == ("failed", "no")
    assert shown["evidence"] == {"run_log": "not started"}
    assert [line["kind"] for line in shown["lines"]] == ["intent", "outcome", "reconcile"]
    assert code(lambda: ledger.reconcile(lost, "succeeded", {})) == "invalid_arguments"
    done = run(ledger, intent(), "unknown")
    ledger.reconcile(done, "succeeded", {"row": 7})
    assert attempt(ledger) == "already_done"
    assert ledger.verify().ok


def test_what_its_owner_let_go_of_is_unknown(ledger: Any, ledger_place, clock):
    wanted = intent()
    ledger_place.let_go(ledger.begin(wanted, LIMITS), clock)
    assert ledger.mark_orphans_unknown() == [wanted.id]
    assert ledger.mark_orphans_unknown() == []
    shown = ledger.get(wanted.id)
    assert (shown["state"], shown["executed"], shown["undo"]) == ("unknown", "unknown", "")
    assert list(shown["detail"]) == ["settled"]


def test_a_running_intent_is_not_reconciled(ledger: Any):
    wanted = intent()
    ledger.begin(wanted, LIMITS)
    with pytest.raises(RefusedError, match=wanted.id) as refused:
        ledger.reconcile(wanted.id, "failed", {})
    assert refused.value.code == "in_progress"
    assert code(lambda: ledger.require_ended(wanted.id)) == "in_progress"
    assert ledger.get(wanted.id)["state"] == "running"


def test_settling_is_kept_though_the_call_is_refused(ledger: Any, ledger_place, clock):
    wanted = intent()
    ledger_place.let_go(ledger.begin(wanted, LIMITS), clock)
    assert attempt(ledger) == "outcome_unknown"
    assert ledger.list_recent(1)[0]["state"] == "unknown"


@posix
def test_a_killed_owner_leaves_unknown(file_ledger: Any, folder):
    process = child(
        "r = ledger.begin(intent(), limits); say('begun'); signal.pause()", folder, is_killed=True
    )
    assert told(process) == "begun"
    assert attempt(file_ledger, amount="5") == "in_progress"
    process.kill()
    process.communicate()
    assert attempt(file_ledger, amount="5") == "outcome_unknown"
    assert len(file_ledger.export()) == 1


@posix
@pytest.mark.anyio
async def test_a_program_that_outlives_its_server_keeps_it_running(file_ledger: Any, folder):
    process = child(
        """
running = ledger.begin(intent(), limits)
program = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"],
                           pass_fds=[running.lock_fd])
say(running.intent_id, program.pid)
signal.pause()
""",
        folder,
        is_killed=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    intent_id, pid = told(process).split()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert attempt(file_ledger) == "in_progress"
    assert file_ledger.is_running(intent_id)
    assert code(lambda: file_ledger.reconcile(intent_id, "succeeded", {})) == "in_progress"
    process.stdin.close()
    await until(lambda: gone(int(pid)))
    process.stdout.close()
    assert not file_ledger.is_running(intent_id)
    assert attempt(file_ledger) == "outcome_unknown"


@posix
def test_unknown_is_not_called_undone_while_its_program_lives(file_ledger: Any):
    wanted = intent()
    running = file_ledger.begin(wanted, LIMITS)
    code_ = "import sys; sys.stdin.read()"
    program = subprocess.Popen(
        [sys.executable, "-c", code_], stdin=subprocess.PIPE, pass_fds=[running.lock_fd]
    )
    file_ledger.finish(wanted.id, Answer("unknown", Executed.UNKNOWN))
    assert file_ledger.is_running(wanted.id)
    assert code(lambda: file_ledger.reconcile(wanted.id, "failed", {})) == "in_progress"
    program.communicate()
    file_ledger.reconcile(wanted.id, "failed", {})
    assert not file_ledger.is_running(wanted.id)


# Many processes


def test_of_many_equal_refunds_exactly_one_runs(ledger_place):
    code_ = """
forms = [Decimal(97), Decimal("97.00"), Decimal("9.7E1"), None, Decimal("97.0")]
targets = ["101", " 101", "0101", "101.0"]
sys.stdin.readline()
for turn in range(20):
    wanted = intent(targets[turn % 4], forms[(turn + int(sys.argv[2])) % 5], remainder=Decimal(97))
    try:
        ledger.begin(wanted, limits)
    except RefusedError as refused:
        say(refused.code)
    else:
        say("runs")
        ledger.finish(wanted.id, Answer("succeeded", Executed.YES))
"""
    processes = [child(code_, ledger_place.address, str(number)) for number in range(8)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [line for p in processes for line in p.communicate()[0].split()]
    assert len(answers) == 160
    assert answers.count("runs") == 1
    assert set(answers) <= {"runs", "in_progress", "already_done"}
    with closing(ledger_place.open()) as ledger:
        assert [e["state"] for e in ledger.export()] == ["succeeded"]
        assert ledger.verify().ok


def test_processes_that_open_it_at_once_share_one_chain(ledger_place):
    code_ = """
sys.stdin.readline()
for turn in range(5):
    wanted = intent(f"{sys.argv[2]}{turn}")
    ledger.begin(wanted, limits)
    ledger.finish(wanted.id, Answer("succeeded", Executed.YES))
"""
    processes = [child(code_, ledger_place.address, str(number)) for number in range(1, 7)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    with closing(ledger_place.open()) as ledger:
        assert len(ledger.export()) == 30
        report = ledger.verify()
    assert (report.ok, report.count) == (True, 60)


# It cannot be written


def test_locked_by_another_program(file_ledger: Any, folder):
    file_ledger.latest_at()
    with closing(sqlite3.connect(folder / "ledger.db", isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        assert attempt(file_ledger) == "ledger_unavailable"
    assert attempt(file_ledger) == "runs"


def test_locked_by_another_process_of_ours(ledger: Any, ledger_place):
    ledger.latest_at()
    with ledger_place.hold_turn():
        assert attempt(ledger) == "ledger_unavailable"
    assert attempt(ledger) == "runs"


def test_a_file_stands_where_the_folder_should_be(tmp_path):
    (tmp_path / "state").write_text("")
    with pytest.raises(RefusedError) as refused:
        again(tmp_path / "state").begin(intent(), LIMITS)
    assert refused.value.code == "ledger_unavailable"
    assert "its folder's path is a file" in refused.value.message
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "locks").write_text("")
    with closing(again(tmp_path / "other")) as ledger:
        assert attempt(ledger) == "ledger_unavailable"
        assert ledger.export() == []


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is a folder that nobody may write")
def test_a_folder_that_cannot_be_written():
    assert attempt(again(Path("/proc/self/state"))) == "ledger_unavailable"


@posix
@pytest.mark.parametrize("room", [0, 90_000, 200_000, 400_000])
def test_a_full_disk(folder, room):
    code_ = """
import resource
def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
limit(int(sys.argv[2]))
ran = 0
try:
    for turn in range(200):
        wanted = intent(str(turn))
        ledger.begin(wanted, limits)
        ran += 1
        ledger.finish(wanted.id, Answer("succeeded", Executed.YES))
except RefusedError as refused:
    say(refused.code, ran)
limit(resource.RLIM_INFINITY)
last = intent("last")
ledger.begin(last, limits)
ledger.finish(last.id, Answer("succeeded", Executed.YES))
say(ledger.verify().ok)
say(len([e for e in ledger.export() if e["state"] in {"succeeded", "running", "unknown"}]))
"""
    process = child(code_, folder, str(room))
    refused, ran = told(process).split()
    assert refused == "ledger_unavailable"
    assert (int(ran) > 0) == (room > 150_000)
    assert told(process) == "True"
    assert told(process) == str(int(ran) + 1)
    process.communicate()


# Damage


def filled(folder: Path, lines: int = 6, first: int = 0) -> None:
    with closing(again(folder)) as ledger:
        for number in range(first, first + lines // 2):
            run(ledger, intent(str(number)))


def head_of(folder: Path) -> Head:
    head = HeadFile(folder / "ledger.head").read()
    assert head is not None
    return head


def refused_as_damaged(folder: Path) -> bool:
    before = sorted(p.name for p in folder.iterdir() if p.name.endswith((".db", ".head")))
    with closing(again(folder)) as ledger:
        first, second = attempt(ledger), attempt(ledger)
        damaged = {first, second} == {"ledger_unavailable"} and not ledger.verify().ok
    after = sorted(p.name for p in folder.iterdir() if p.name.endswith((".db", ".head")))
    return damaged and before == after


def test_lines_cannot_be_changed_or_removed(folder):
    filled(folder)
    line = "VALUES (3, 0, 'start', '{}', '', '')"
    with raw(folder) as db:
        for statement in (
            "UPDATE lines SET body = '{}' WHERE n = 2",
            "DELETE FROM lines WHERE n = 6",
            f"INSERT OR REPLACE INTO lines {line}",
            f"INSERT INTO lines {line.replace('3', '9')}",
        ):
            with pytest.raises(sqlite3.IntegrityError):
                db.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM lines WHERE n = 6",
        "DELETE FROM lines WHERE n > 4",
        "DELETE FROM lines",
        "UPDATE lines SET body = replace(body, 'c', 'd') WHERE n = 5",
        "UPDATE lines SET at = at - 1 WHERE n = 6",
        "UPDATE lines SET body = CAST(x'ff00' AS TEXT) WHERE n = 3",
        "DROP TABLE approvals",
        "CREATE TRIGGER more AFTER INSERT ON intents BEGIN DELETE FROM intents; END",
        "PRAGMA application_id = 7",
    ],
)
def test_what_is_seen_when_it_is_opened(folder, statement):
    filled(folder)
    rewritten(folder, statement)
    assert refused_as_damaged(folder)


def test_an_older_line_is_found_by_verify(folder):
    filled(folder, 200)
    rewritten(folder, "UPDATE lines SET body = replace(body, 'Course', 'Coarse') WHERE n = 11")
    with closing(again(folder)) as ledger:
        report = ledger.verify()
    assert (report.ok, report.broken, report.count) == (False, 11, 200)


def test_a_changed_index_is_found_by_verify(folder):
    filled(folder)
    rewritten(folder, "UPDATE intents SET state = 'failed'")
    with closing(again(folder)) as ledger:
        assert ledger.verify().why == "the table of intents does not match the lines"


def test_a_ledger_of_another_version(folder):
    filled(folder)
    newer = schema.VERSION + 1
    rewritten(folder, f"PRAGMA user_version = {newer}")
    with closing(again(folder)) as ledger:
        with pytest.raises(RefusedError, match=f"version {newer}") as refused:
            ledger.begin(intent(), LIMITS)
        assert refused.value.code == "ledger_unavailable"
        assert refused.value.remedy.startswith("Update kartra-mcp")
        assert code(ledger.replace_damaged) == "ledger_unavailable"


@pytest.mark.parametrize("how", ["gone", "empty", "text", "short", "zeroed", "head"])
def test_bytes_of_the_files(folder, how):
    filled(folder, 200)
    file = folder / "ledger.db"
    content = file.read_bytes()
    if how == "gone":
        file.unlink()
    elif how == "head":
        (folder / "ledger.head").write_text("nothing")
    else:
        file.write_bytes(
            {
                "empty": b"",
                "text": b"this is no database" * 1000,
                "short": content[: len(content) // 2],
                "zeroed": content[:4096] + bytes(len(content) - 4096),
            }[how]
        )
    assert refused_as_damaged(folder)


def test_an_older_copy_put_back(folder, tmp_path):
    filled(folder)
    shutil.copy(folder / "ledger.db", tmp_path / "copy")
    filled(folder, first=50)
    for name in ("ledger.db-wal", "ledger.db-shm"):
        (folder / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "copy", folder / "ledger.db")
    assert refused_as_damaged(folder)


def test_a_cut_while_it_is_open(folder):
    with closing(again(folder)) as ledger:
        run(ledger, intent("1"))
        head = (folder / "ledger.head").read_bytes()
        run(ledger, intent("2"))
        (folder / "ledger.head").write_bytes(head)
        assert attempt(ledger, "3") == "ledger_unavailable"


def test_a_crash_between_commit_and_head_is_mended(folder):
    with closing(again(folder)) as ledger:
        run(ledger, intent("1"))
        wanted = intent("2")
        ledger.begin(wanted, LIMITS)
        head = (folder / "ledger.head").read_bytes()
        ledger.finish(wanted.id, Answer("succeeded", Executed.YES))
    (folder / "ledger.head").write_bytes(head)
    with closing(again(folder)) as ledger:
        assert attempt(ledger, "2") == "already_done"
        assert ledger.verify().ok
    assert head_of(folder).count == 4


def test_a_crash_before_the_first_head(folder):
    with closing(again(folder)) as ledger:
        ledger.append_note("start", {})
    (folder / "ledger.head").unlink()
    with closing(again(folder)) as ledger:
        ledger.append_note("start", {})
        assert ledger.verify().ok
    (folder / "ledger.head").unlink()
    assert refused_as_damaged(folder)


def test_a_new_chain_names_the_old_one(folder, clock):
    filled(folder)
    known = head_of(folder)
    rewritten(folder, "DELETE FROM lines WHERE n = 6")
    damaged = (folder / "ledger.db").read_bytes()
    with closing(again(folder, clock)) as ledger:
        done = ledger.replace_damaged()
        assert done.old_hash == known.hash
        assert done.old_file == "ledger-20270115T080000Z.db"
        said: Any = ledger.latest("start")
        assert said["after"]["file"] == done.old_file
        assert (said["after"]["count"], said["after"]["hash"]) == (6, known.hash)
        assert attempt(ledger) == "runs"
        assert ledger.verify().ok
        assert code(ledger.replace_damaged) == "not_allowed"
    assert (folder / done.old_file).read_bytes() == damaged


@pytest.mark.parametrize("how", ["gone", "text", "middle"])
def test_a_new_chain_after_any_damage(folder, how):
    filled(folder)
    if how == "gone":
        (folder / "ledger.db").unlink()
    elif how == "text":
        (folder / "ledger.db").write_text("this is no database" * 100)
    else:
        rewritten(folder, "UPDATE lines SET kind = 'start' WHERE n = 2")
    with closing(again(folder)) as ledger:
        ledger.replace_damaged()
        assert ledger.verify().ok
        assert attempt(ledger) == "runs"


@posix
def test_a_ledger_in_use_is_not_replaced(folder):
    filled(folder, 200)
    with closing(again(folder)) as user, closing(again(folder)) as ledger:
        running = user.begin(intent("900"), LIMITS)
        rewritten(folder, "UPDATE lines SET kind = 'start' WHERE n = 2")
        assert code(ledger.replace_damaged) == "in_progress"
        user.close()
        assert code(ledger.replace_damaged) == "in_progress"
        running.close()
        assert ledger.replace_damaged().old_file is not None


def test_a_rebuilt_index_is_the_same(ledger: Any, clock):
    for number, state in enumerate(("succeeded", "failed", "refused", "unknown")):
        clock.at += 1
        run(ledger, intent(str(number), None if number % 2 else "5.10", mail=True), state)
    ledger.reconcile(run(ledger, intent("9"), "unknown"), "failed", {})
    ledger.begin(intent("10"), LIMITS)
    ledger.append_note("start", {})
    with ledger._store.read_transaction() as transaction:
        lines = [LedgerEntry(*row) for row in transaction.fetch_all(LINE + "ORDER BY n")]
        kept = projection.list_all_rows(transaction.db)
    assert rebuild_all(lines) == kept
    assert [len(rows) for rows in kept] == [6, 6, 0]


# The chain and the head


bodies = st.lists(
    st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3), min_size=1, max_size=12
)


def chain(said) -> list[LedgerEntry]:
    lines, head = [], Head()
    for number, body in enumerate(said):
        lines.append(make_entry(head, START + number, "outcome", body))
        head = Head(lines[-1].n, lines[-1].hash)
    return lines


@given(bodies)
def test_a_chain_holds(said):
    lines = chain(said)
    assert verify_chain(lines).head == Head(len(lines), lines[-1].hash)
    assert verify_chain(lines).broken is None


@given(bodies, st.data())
def test_any_flipped_byte_is_found(said, data):
    lines = chain(said)
    at = data.draw(st.integers(0, len(lines) - 1))
    field = data.draw(st.sampled_from(["kind", "body", "prev", "hash"]))
    line = lines[at]
    content = bytearray(getattr(line, field).encode())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    changed = {f: getattr(line, f) for f in ("n", "at", "kind", "body", "prev", "hash")}
    changed[field] = content.decode("utf-8", "surrogateescape")
    lines[at] = LedgerEntry(**changed)
    assert verify_chain(lines).broken == at + 1


@given(bodies, st.data())
def test_a_removed_line_is_found(said, data):
    lines = chain(said)
    at = data.draw(st.integers(0, len(lines) - 1))
    rest = lines[:at] + lines[at + 1 :]
    if at == len(lines) - 1:
        assert verify_chain(rest).head != Head(len(lines), lines[-1].hash)
    else:
        assert verify_chain(rest).broken == at + 2


@given(bodies, st.data())
def test_an_inserted_line_is_found(said, data):
    lines = chain(said)
    at = data.draw(st.integers(0, len(lines) - 1))
    assert verify_chain([*lines[: at + 1], *lines[at:]]).broken is not None


@settings(deadline=None)  # it waits for the disk
@given(st.integers(0, 5), st.integers(0, 2 * SLOT - 1), st.integers(1, 255))
def test_a_torn_head_is_at_most_one_commit_behind(tmp_path_factory, count, place, bits):
    file = HeadFile(tmp_path_factory.mktemp("head") / "ledger.head")
    for number in range(count + 2):
        file.write(Head(number, f"{number:064x}"))
    content = bytearray(file.path.read_bytes())
    content[place] ^= bits
    file.path.write_bytes(content)
    assert file.read() in {Head(n, f"{n:064x}") for n in (count, count + 1)}


# Time, confirmations, blocks


def test_time_never_runs_behind_the_newest_line(ledger: Any, clock):
    run(ledger, intent("1"))
    clock.at -= 60
    assert ledger.current_time() == START
    done = run(ledger, intent("2"))
    assert ledger.get(done)["at"] == START
    assert ledger.verify().ok


def test_an_intent_records_the_hash_of_its_confirmation(ledger: Any):
    wanted = two_step(ledger)
    ledger.begin(wanted, LIMITS, BINDING)
    digest = hashlib.sha256(wanted.confirmation_id.encode()).hexdigest()
    assert ledger.get(wanted.id)["confirmation"] == digest


def test_a_confirmation_reports_when_it_ends(ledger: Any):
    assert ledger.consents.issue(BINDING, "Refund 97", "facts", ttl=60.0).expires_at == START + 60


def test_other_confirmations_are_kept_for_thirty_days_after_their_end(ledger: Any, clock):
    first = two_step(ledger)
    assert two_step(ledger).confirmation_id != first.confirmation_id
    ledger.begin(first, LIMITS, BINDING)
    ledger.finish(first.id, Answer("failed", Executed.NO))

    def check() -> str:
        return code(lambda: ledger.consents.validate(first.confirmation_id, BINDING, "Refund 97"))

    clock.at += 600 + 30 * 86_400
    two_step(ledger)
    assert check() == "confirmation_used"
    clock.at += 1
    two_step(ledger)
    assert check() == "confirmation_mismatch"


@pytest.mark.parametrize(
    ("minted", "checked", "words"),
    [
        ("two_step", "question", "belongs to a preview"),
        ("question", "two_step", "belongs to a question to the user"),
    ],
)
def test_a_confirmation_of_another_kind_is_named(ledger: Any, minted, checked, words):
    id_ = ledger.consents.issue(BINDING, "Refund 97", "facts", minted).id
    with pytest.raises(RefusedError, match=words):
        ledger.consents.validate(id_, BINDING, "Refund 97", checked)


def test_a_question_answered_at_once_has_no_confirmation_id(ledger: Any):
    ledger.begin(intent(consent="elicitation"), LIMITS)


def test_voiding_all_confirmations_of_a_connection_leaves_those_of_others(ledger: Any):
    ours = two_step(ledger)
    other = replace(BINDING, connection="d")
    kept = ledger.consents.issue(other, "Refund 97", "facts")
    used = two_step(ledger)
    ledger.begin(used, LIMITS, BINDING)
    ledger.finish(used.id, Answer("failed", Executed.NO))
    ledger.consents.revoke_all("c")
    assert code(lambda: ledger.begin(ours, LIMITS, BINDING)) == "confirmation_used"
    assert ledger.consents.validate(kept.id, other, "Refund 97") == "facts"


def test_a_confirmation_counts_once(ledger: Any, ledger_place):
    wanted = two_step(ledger)
    with closing(ledger_place.open(Clock())) as restarted:
        assert (
            restarted.consents.validate(wanted.confirmation_id, BINDING, " Refund\n97") == "facts"
        )
        restarted.begin(wanted, LIMITS, BINDING)
        restarted.finish(wanted.id, Answer("failed", Executed.NO))
    second = intent(consent="two_step", confirmation_id=wanted.confirmation_id)
    assert code(lambda: ledger.begin(second, LIMITS, BINDING)) == "confirmation_used"
    check = code(lambda: ledger.consents.validate(wanted.confirmation_id, BINDING, "Refund 97"))
    assert check == "confirmation_used"


def test_only_the_hash_of_a_confirmation_is_kept(file_ledger: Any, folder):
    wanted = two_step(file_ledger)
    file_ledger.begin(wanted, LIMITS, BINDING)
    assert len(wanted.confirmation_id) >= 20
    for file in folder.iterdir():
        assert file.is_dir() or wanted.confirmation_id.encode() not in file.read_bytes()
    assert b"Refund 97" not in (folder / "ledger.db").read_bytes()


def test_a_voided_confirmation_counts_no_more(ledger: Any):
    wanted = two_step(ledger)
    ledger.consents.revoke(wanted.confirmation_id)
    ledger.consents.revoke("made-up")
    assert code(lambda: ledger.begin(wanted, LIMITS, BINDING)) == "confirmation_used"


def test_a_refused_call_does_not_burn_its_confirmation(ledger: Any):
    wanted = two_step(ledger)
    none = Limits(cap_day_count=0)
    assert code(lambda: ledger.begin(wanted, none, BINDING)) == "cap_reached"
    ledger.begin(wanted, LIMITS, BINDING)


def test_a_confirmation_ends(ledger: Any, clock):
    wanted = two_step(ledger)
    clock.at += 599
    assert ledger.consents.validate(wanted.confirmation_id, BINDING, "Refund 97") == "facts"
    clock.at += 1
    check = code(lambda: ledger.consents.validate(wanted.confirmation_id, BINDING, "Refund 97"))
    assert check == "confirmation_expired"
    assert code(lambda: ledger.begin(wanted, LIMITS, BINDING)) == "confirmation_expired"


def test_a_clock_that_went_back_makes_no_confirmation_younger(ledger: Any, clock):
    clock.at += 60
    wanted = two_step(ledger)
    clock.at -= 60
    assert code(lambda: ledger.begin(wanted, LIMITS, BINDING)) == "confirmation_expired"
    clock.at += 60 + 700
    ledger.append_note("start", {})
    clock.at -= 60
    assert code(lambda: ledger.begin(wanted, LIMITS, BINDING)) == "confirmation_expired"


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("tool", "another tool"),
        ("arguments", "other arguments"),
        ("connection", "another connection"),
        ("connection_created", "a connection that was created again"),
        ("action", "another action"),
        ("revision", "another revision of the action"),
        ("policy", "another policy"),
        ("repeat", "a call with another `repeat`"),
    ],
)
def test_a_confirmation_for_another_call_names_the_difference(ledger: Any, field, words):
    wanted = two_step(ledger)
    told_: dict[str, Any] = {f: getattr(BINDING, f) for f in BINDING.__slots__}
    told_[field] = "else"
    with pytest.raises(RefusedError, match=words) as refused:
        ledger.begin(wanted, LIMITS, Binding(**told_))
    assert refused.value.code == "confirmation_mismatch"
    ledger.begin(wanted, LIMITS, BINDING)


def test_other_confirmations_that_do_not_count(ledger: Any):
    wanted = two_step(ledger)
    for check in (
        lambda: ledger.consents.validate("made-up", BINDING, "Refund 97"),
        lambda: ledger.consents.validate(wanted.confirmation_id, BINDING, "Refund 98"),
        lambda: ledger.consents.validate(wanted.confirmation_id, BINDING, "Refund 97", "question"),
        lambda: ledger.begin(wanted, LIMITS),
        lambda: ledger.begin(intent(consent="two_step"), LIMITS, BINDING),
    ):
        assert code(check) == "confirmation_mismatch"
    assert ledger.export() == []


def test_a_decline_blocks_for_ten_minutes(ledger: Any, clock, ledger_place: Place):
    from kartra_mcp.ledger.rules import make_identity_key

    ledger.consents.block(
        make_identity_key(intent()), "declined", about={"tool": "kartra_refund_transaction"}
    )
    assert ledger.latest("consent")["event"] == "declined"
    clock.at += 599
    assert attempt(ledger, amount=5) == "declined"
    assert attempt(ledger, "102") == "runs"
    with closing(ledger_place.open(clock)) as other:
        assert code(lambda: other.preflight(intent(), LIMITS)) == "declined"
    clock.at += 1
    assert attempt(ledger, amount=5) == "runs"
    ledger.consents.block(make_identity_key(intent("7")), "dismissed")
    assert attempt(ledger, "7") == "dismissed"


@pytest.mark.parametrize(
    ("why", "words"),
    [("declined", "The user declined this."), ("dismissed", "The user dismissed the question")],
)
def test_a_block_reports_its_reason_and_the_minutes_that_are_left(ledger: Any, clock, why, words):
    from kartra_mcp.ledger.rules import make_identity_key

    ledger.consents.block(make_identity_key(intent()), why)
    for age, minutes in ((0, 11), (1, 10), (60, 10), (61, 9), (599, 1)):
        clock.at = START + age
        with pytest.raises(RefusedError, match=f"^{why}: {words}.* for {minutes} min"):
            ledger.begin(intent(), LIMITS)


def test_caps_hold_in_the_ledger(ledger: Any, clock):
    limits = Limits(cap_day_amount=Decimal(100), cap_day_count=3)
    ledger.begin(intent("1", 60), limits)
    run(ledger, intent("2", 30), "failed")
    run(ledger, intent("3", 30), "unknown")
    assert code(lambda: ledger.begin(intent("4", 11), limits)) == "cap_reached"
    assert code(lambda: ledger.begin(intent("4", 10), limits)) == "runs"
    assert code(lambda: ledger.begin(intent("5", 0), limits)) == "cap_reached"
    clock.at += 86_400
    assert code(lambda: ledger.begin(intent("5", 100), limits)) == "runs"


def test_the_daily_amount_counts_every_write_of_the_day(ledger: Any):
    """Without a cap on their number, too, whatever their number is."""
    limits = Limits(cap_day_amount=Decimal(100), cap_day_count=None)
    for target in "1234":
        ledger.begin(intent(target, 25), limits)
    assert code(lambda: ledger.begin(intent("5", 1), limits)) == "cap_reached"
    few = Limits(cap_day_amount=Decimal(100), cap_day_count=9)
    assert code(lambda: ledger.begin(intent("5", 1), few)) == "cap_reached"
    assert code(lambda: ledger.begin(intent("5", 1), Limits(cap_day_count=4))) == "cap_reached"
    assert code(lambda: ledger.begin(intent("5", 1), Limits(cap_day_count=5))) == "runs"


def test_the_hourly_number_of_mails_holds_in_the_ledger(ledger: Any, clock):
    limits = Limits(mail_per_hour=2)
    tag: dict[str, Any] = {"operation": "assign_tag", "risk": Risk.WRITE, "mail": True}
    ledger.begin(intent("1", **tag), limits)
    assert code(lambda: ledger.begin(intent("2", **tag), limits)) == "runs"
    assert code(lambda: ledger.begin(intent("3", **tag), limits)) == "cap_reached"
    assert code(lambda: ledger.begin(intent("3", **{**tag, "mail": False}), limits)) == "runs"
    clock.at += 3600
    assert code(lambda: ledger.begin(intent("3", **tag), limits)) == "runs"


def test_lines_are_canonical_json(ledger: Any):
    run(ledger, intent(facts={"product": "Kurs für \ud800", "a": 1}))
    with ledger._store.read_transaction() as transaction:
        for (body,) in transaction.fetch_all("SELECT body FROM lines"):
            assert body.isascii()
            assert json.dumps(json.loads(body), sort_keys=True, separators=(",", ":")) == body
