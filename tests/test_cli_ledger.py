"""`kartra-mcp ledger`: show, export, verify, and replace a damaged ledger."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import command_line
import pexpect
import pytest
from bulk_account import CREATE, bulk, new_leads
from harness import Sandbox, call, connect

from kartra_mcp.core.models import Executed, Risk
from kartra_mcp.ledger.pseudonyms import mask_email
from kartra_mcp.ledger.records import CONSENT_MEANINGS, Answer, Intent, make_intent_id
from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.policy.limits import Limits

ROOT = Path(__file__).parent.parent
FIRST_DAY = 1_793_880_000.0  # 2026-11-05T12:00:00Z
DAY = 86_400
LEAD = "ada@example.com"


class Clock:
    def __init__(self) -> None:
        self.at = FIRST_DAY

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def ids(folder) -> list[str]:
    """Three writes on three days: a refund by two steps, an unknown one, a tag that failed."""
    clock = Clock()
    refund = Intent(
        id=make_intent_id(),
        tool="kartra_refund_transaction",
        operation="refund_transaction",
        risk=Risk.IRREVERSIBLE,
        connection="c",
        target_kind="transaction",
        target="101",
        known_amount=Decimal(97),
        consent="flag",
        actor="=1+1",
        client="@evil",
        facts={"product": "-2+3"},
        lead=mask_email(LEAD),
        undo="none: money is paid back",
    )
    with closing(open_ledger(folder, clock, steady=clock)) as ledger:
        refund = replace(refund, lead_hash=ledger.leads.hash(LEAD))
        second = replace(refund, id=make_intent_id(), target="102", lead_hash="", consent="none")
        tag = replace(second, id=make_intent_id(), tool="kartra_assign_tag", operation="assign_tag")
        tag = replace(tag, risk=Risk.WRITE, target_kind="lead", target="7", known_amount=None)
        states: tuple[Any, ...] = ("succeeded", "unknown", "failed")
        for intent, state in zip((refund, second, tag), states, strict=True):
            ledger.begin(intent, Limits())
            ledger.finish(intent.id, Answer(state, Executed.UNKNOWN, detail={"code": "x"}))
            clock.at += DAY
    return [refund.id, second.id, tag.id]


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return command_line.run(
        ["ledger", *words, "--state-dir", str(folder)],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"},
    )


def listed(folder: Path, *words: str) -> list[str]:
    done = run(folder, "list", "--json", *words)
    assert done.returncode == 0
    return [line["intent"] for line in json.loads(done.stdout)["lines"]]


def broken(folder: Path) -> None:
    """Change line 2, as an attacker who drops the triggers does."""
    with closing(sqlite3.connect(folder / "ledger.db")) as db, db:
        db.execute("DROP TRIGGER lines_stay")
        db.execute("UPDATE lines SET body = replace(body, 'succeeded', 'failed') WHERE n = 2")


def test_the_list_reads_as_a_table(folder, ids):
    # The time zone is the process's own.
    words = ["ledger", "list", "--state-dir", str(folder)]
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "TZ": "Europe/Lisbon"}
    done = command_line.run_process(words, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    shown = done.stdout
    assert "\x1b" not in shown
    assert [shown.index(id_) for id_ in reversed(ids)] == sorted(map(shown.index, ids))
    assert re.search(r"2026-11-05 12:00:00 WET +refund_transaction transaction 101 +97\.00 ", shown)
    assert "undo: none: money is paid back" in shown
    for name in ("flag", "none"):  # spelled as in the table and --json
        assert f"  {name}: {CONSENT_MEANINGS[name]}" in shown
    assert "unknown: settle it with kartra_reconcile" in shown
    assert run(folder, "list", "--tool", "other").stdout.startswith("No such write")


def test_the_list_is_filtered(folder, ids):
    first, second, third = ids
    assert listed(folder) == [third, second, first]
    for words, found in (
        (("--count", "1"), [third]),
        (("--state", "unknown"), [second]),
        (("--tool", "kartra_assign_tag"), [third]),
        (("--lead", "ADA@example.com"), [first]),
        (("--target", "0102"), [second]),
        (("--since", "2026-11-06"), [third, second]),
        (("--since", "2026-11-06T13:00:00+00:00"), [third]),
        (("--state", "succeeded", "--target", "102"), []),
    ):
        assert listed(folder, *words) == found


def test_what_lost_its_owner_is_settled_before_it_is_listed(folder, ids):
    code = "import sys; from test_cli_ledger import left_running; left_running(sys.argv[1])"
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, env=env)
    lines = json.loads(run(folder, "list", "--json", "--count", "1").stdout)["lines"]
    assert (lines[0]["target"], lines[0]["state"]) == ("9", "unknown")


def left_running(folder: str) -> None:
    """Begin a write and end without an outcome."""
    wanted = Intent(
        id=make_intent_id(),
        tool="t",
        operation="o",
        risk=Risk.WRITE,
        connection="c",
        target_kind="lead",
        target="9",
    )
    open_ledger(Path(folder)).begin(wanted, Limits())
    os._exit(0)


def test_one_intent_is_shown_whole(folder, ids):
    shown = run(folder, "show", ids[0]).stdout
    for wanted in (
        r"intent +int_[0-9a-f]{16}",
        r"outcome +succeeded \(executed: unknown\)",
        r"consent +flag: the caller set a flag",
        r"amount moved +97",
        r"lead +a\*\*@e\*\*\*\*\*\*\.com",
        r"fact: product +-2\+3",
        r"undo +none: money is paid back",
        r"1 +2026-11-05 12:00:00 UTC +intent +[0-9a-f]{16}\b",
        r"2 +2026-11-05 12:00:00 UTC +outcome +[0-9a-f]{16}\b",
    ):
        assert re.search(wanted, shown), wanted
    told = json.loads(run(folder, "show", ids[0], "--json").stdout)
    assert [line["kind"] for line in told["lines"]] == ["intent", "outcome"]
    unknown = run(folder, "show", "int_0")
    assert unknown.returncode == 1
    assert "int_0 is not in the ledger" in unknown.stderr
    assert f"`kartra-mcp ledger list --state-dir {folder}`" in unknown.stderr
    told = json.loads(run(folder, "show", "int_0", "--json").stdout)
    assert told["error"]["code"] == "invalid_arguments"


def test_an_export_has_every_write_and_no_formula(folder, ids, tmp_path):
    done = run(folder, "export")
    assert done.returncode == 0
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["intent"] for row in rows] == ids
    assert (rows[0]["actor"], rows[0]["client"]) == ("'=1+1", "'@evil")
    assert (rows[0]["known_amount"], rows[0]["consent"]) == ("97.00", "flag")
    assert json.loads(rows[0]["facts"]) == {"product": "-2+3"}
    assert rows[0]["time"] == rows[0]["ended"] == "2026-11-05T12:00:00Z"
    assert not any(cell[:1] in tuple("=+-@") for row in rows for cell in row.values() if cell)
    told = json.loads(run(folder, "export", "--format", "json").stdout)["lines"]
    assert [line["intent"] for line in told] == ids
    assert told[0]["actor"] == "=1+1"


def test_an_exported_file_is_this_users_alone_and_never_overwritten(folder, ids, tmp_path):
    file = tmp_path / "out.csv"
    words = ("export", "--output", str(file))
    done = run(folder, *words)
    assert (done.returncode, done.stdout[:13]) == (0, "3 writes are ")
    assert file.stat().st_mode & 0o777 == 0o600
    content = file.read_bytes()
    assert content.decode().count("\r\n") == 4
    file.write_text("mine")
    file.chmod(0o644)
    refused = run(folder, *words)
    assert (refused.returncode, "--force" in refused.stderr) == (1, True)
    assert file.read_text() == "mine"
    assert run(folder, *words, "--force").returncode == 0
    assert file.read_bytes() == content
    assert file.stat().st_mode & 0o777 == 0o600
    assert [x.name for x in tmp_path.iterdir() if x.name.startswith(".")] == []


def test_an_export_never_stands_among_the_ledgers_own_files(folder, ids, tmp_path):
    before = (folder / "ledger.db").read_bytes()
    done = run(folder, "export", "--force", "--output", str(folder / "ledger.db"))
    assert (done.returncode, "in the ledger's own folder" in done.stderr) == (1, True)
    assert (folder / "ledger.db").read_bytes() == before
    missing = run(folder, "export", "--output", str(tmp_path / "no" / "out.csv"))
    assert (missing.returncode, "was not written" in missing.stderr) == (1, True)


def test_a_sound_ledger_holds_and_is_kept(folder, ids):
    done = run(folder, "verify")
    assert (done.returncode, "is valid: 6 entries" in done.stdout) == (0, True)
    told = json.loads(run(folder, "verify", "--json").stdout)
    assert told == {"count": 6, "ok": True, "broken": None, "why": "", "refused": ""}
    refused = run(folder, "new", "--yes")
    assert (refused.returncode, "The ledger is valid" in refused.stderr) == (1, True)
    assert len(listed(folder)) == 3


def test_a_damaged_ledger_is_named_and_only_the_user_replaces_it(folder, ids):
    broken(folder)
    done = run(folder, "verify")
    assert done.returncode == 1
    assert "broken at line 2: line 2 was altered" in done.stdout
    replace = f"`kartra-mcp ledger new --state-dir {folder}`"
    assert replace in done.stdout
    told = json.loads(run(folder, "verify", "--json").stdout)
    assert (told["ok"], told["broken"]) == (False, 2)
    for command in ("list", "export"):
        refused = run(folder, command)
        assert refused.returncode == 1
        assert "The ledger is damaged" in refused.stderr
        assert replace in refused.stderr
    told = json.loads(run(folder, "list", "--json").stdout)
    assert told["error"]["code"] == "ledger_unavailable"
    refused = run(folder, "new")
    assert (refused.returncode, "only on a real terminal" in refused.stderr) == (1, True)
    assert list(folder.glob("ledger-*")) == []
    done = run(folder, "new", "--yes")
    assert done.returncode == 0
    assert "lacks earlier refunds, unknown outcomes" in " ".join(done.stdout.split())
    old = [file.name for file in folder.glob("ledger-*.db")]
    assert len(old) == 1
    assert old[0] in done.stdout
    assert listed(folder) == []
    assert run(folder, "verify").returncode == 0


@pytest.mark.parametrize(("typed", "code"), [("new\n", 0), ("yes\n", 1), ("\x04", 1)])
def test_a_new_ledger_is_agreed_to_by_a_typed_word(folder, ids, typed, code):
    broken(folder)
    words = ["-m", "kartra_mcp", "ledger", "new", "--state-dir", str(folder)]
    env = {"PATH": os.environ["PATH"], "TERM": "xterm", "NO_COLOR": "1", "LANG": "C.UTF-8"}
    child = pexpect.spawn(sys.executable, words, cwd=ROOT, env=env, encoding="utf-8", timeout=60)
    child.expect("Type new to continue: ")
    child.send(typed)
    shown = child.read()
    child.close()
    assert child.exitstatus == code
    assert "Traceback" not in shown
    assert bool(list(folder.glob("ledger-*.db"))) == (code == 0)


@pytest.mark.parametrize(("more", "styled"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_styles_are_for_terminals_that_want_them(folder, ids, more, styled):
    words = ["-m", "kartra_mcp", "ledger", "show", ids[0], "--state-dir", str(folder)]
    env = {"PATH": os.environ["PATH"], "TERM": "xterm", "LANG": "C.UTF-8", **more}
    child = pexpect.spawn(sys.executable, words, cwd=ROOT, env=env, encoding="utf-8", timeout=60)
    shown = child.read()
    child.close()
    assert child.exitstatus == 0
    assert ("\x1b[" in shown) == styled


@pytest.mark.anyio
async def test_the_embedded_account_has_a_ledger_of_its_own(sandbox: Sandbox):
    async with connect(sandbox, "legacy") as client:
        await call(client, "kartra_refund_transaction", transaction_id=101, confirm=True)
    assert len(listed(sandbox.folder, "--sandbox")) == 1
    assert listed(sandbox.folder) == []
    shown = run(sandbox.folder, "list", "--sandbox").stdout
    assert re.search(r"refund_transaction transaction 101 +- +succeeded +flag", shown)


@pytest.mark.anyio
async def test_a_write_of_a_bulk_run_names_it(sandbox: Sandbox):
    async with connect(sandbox, "legacy") as client:
        done = await bulk(client, CREATE, new_leads(2))
        await call(client, CREATE, email="alone@example.com")
    named = f"bulk run: {done.result['bulk_id']}"
    assert run(sandbox.folder, "list", "--sandbox").stdout.count(named) == 2
    last, first, _ = listed(sandbox.folder, "--sandbox")
    shown = run(sandbox.folder, "show", first, "--sandbox").stdout
    assert re.search(rf"bulk run +{done.result['bulk_id']}", shown)
    assert re.search(r"bulk run +-", run(sandbox.folder, "show", last, "--sandbox").stdout)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("all",),
        ("list", "--count", "0"),
        ("list", "--state", "lost"),
        ("list", "--since", "soon"),
        ("list", "--rate", "5"),
        ("show",),
        ("export", "--format", "xml"),
        ("verify", "now"),
    ],
)
def test_wrong_usage_prints_one_line_that_names_help(folder, words):
    done = run(folder, *words)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "--help`" in done.stderr
    assert not folder.exists()


def test_help_names_the_commands():
    shown = subprocess.run(
        [sys.executable, "-m", "kartra_mcp", "--help"], capture_output=True, text=True, check=True
    ).stdout
    for name in ("approve", "--set-pin", "ledger", "list", "show", "export", "verify", "new"):
        assert name in shown
