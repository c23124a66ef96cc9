"""Sentences of README and docs that no other test holds, by what the server does."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import in_process
import pytest
from consent_actors import REFUND, changed, confirmed, decided, ledger_folder, lines, sandbox
from harness import Sandbox, call, connect

from kartra_mcp.catalogue.builtin_tools import BUILTIN_TOOLS
from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.sandbox.http.server import make_introduction

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[1]
PART: dict[str, Any] = {"transaction_id": 101, "refund_amount": 20}
TAG: dict[str, Any] = {"lead_id": 48129, "tag_name": "VIP"}
RAW = "kartra_proxy_write"


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def raw(*commands: dict[str, Any]) -> dict[str, Any]:
    body = {"lead": {"id": 48129}, "actions": list(commands)}
    return {"method": "POST", "path": "/api", "json": body}


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


# README


async def test_the_preview_in_the_readme_is_the_one_that_is_shown(tmp_path: Path):
    """Bug: the example was of an earlier version."""
    (shown,) = re.findall(r"^(SANDBOX REFUND .*)\n(.*)$", read("README.md"), re.MULTILINE)
    async with connect(sandbox(tmp_path), "legacy") as client:
        preview = (await call(client, REFUND, **PART)).error["confirmation"]
    assert set(preview) == {"id", "summary", "facts", "effect", "undo", "expires_at"}
    day = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert re.sub(day, "", preview["summary"]) == re.sub(day, "", shown[0])
    names = ("amount", "refunded_so_far", "remaining")
    facts = ", ".join(f"{name.replace('_', ' ')} {preview['facts'][name]}" for name in names)
    assert shown[1].startswith(f"{facts}; undo: {preview['undo']}; valid for")


ANSWERS: dict[str, tuple[str, dict[str, Any]]] = {
    "a read": ("kartra_get_lead", {"email": "ada@example.com"}),
    "a write": ("kartra_assign_tag", TAG),
    "a preview": (REFUND, PART),
    "a refusal": ("kartra_unassign_tag", TAG),
    "wrong arguments": ("kartra_get_lead", {"nope": 1}),
    "an unknown tool": ("kartra_nope", {}),
    "an error of Kartra": ("kartra_get_lead", {"email": "nobody@example.org"}),
    "a raw read": ("kartra_proxy_read", raw({"cmd": "retrieve_account_tags"})),
    "a refused raw read": ("kartra_proxy_read", raw({"cmd": "assign_tag"})),
    **{name: (name, {}) for name in BUILTIN_TOOLS},
}


async def test_every_answer_of_the_rehearsal_contains_the_word_sandbox(tmp_path: Path):
    async with connect(sandbox(tmp_path), "legacy") as client:
        texts = {name: (await call(client, *x[:1], **x[1])).text for name, x in ANSWERS.items()}
    assert [name for name, text in texts.items() if "SANDBOX" not in text] == []


# docs/ledger.md


async def test_the_ledgers_files_are_the_documented_ones(tmp_path: Path):
    """Bug: two of its locks were not in the table."""
    place = sandbox(tmp_path)
    async with connect(place, "legacy") as client:
        assert not (await call(client, "kartra_assign_tag", **TAG)).failed
        found = {file.name for file in ledger_folder(place).iterdir()}
    table = read("docs/ledger.md").partition("| File | Content |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`([\w.]+)/?`", table))
    own = {name for name in found if name.startswith("ledger.") or name == "locks"}
    assert own - {"ledger.db-wal", "ledger.db-shm"} == named


BAD_FOLDERS = ["${HOME}/kartra", "$HOME/kartra", "%APPDATA%/kartra", '"/tmp/kartra"', "kartra"]


@pytest.mark.parametrize("value", BAD_FOLDERS)
async def test_with_a_bad_state_folder_reads_run_and_no_write_does(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    place = sandbox(tmp_path / "home")
    place.settings["STATE_DIR"] = value
    async with connect(place, "legacy") as client:
        found = await call(client, "kartra_get_lead", email="ada@example.com")
        refused = await call(client, "kartra_assign_tag", **TAG)
    assert not found.failed, found.text
    assert (refused.code, refused.executed) == ("ledger_unavailable", "no")
    assert names_in(tmp_path) == ["home"]


async def test_a_state_folder_removed_while_no_server_runs_begins_a_new_ledger(tmp_path: Path):
    place = sandbox(tmp_path)
    saved = tmp_path / "account.db"
    async with connect(place, "legacy") as client:
        assert not (await call(client, "kartra_assign_tag", **TAG)).failed
    shutil.copy(place.file, saved)
    shutil.rmtree(ledger_folder(place))
    ledger_folder(place).mkdir(mode=0o700)
    shutil.copy(saved, place.file)
    async with connect(place, "legacy") as client:
        again = await call(client, "kartra_assign_tag", **TAG)
    assert not again.failed or again.code == "kartra_error", again.text
    assert len(lines(place, "intent")) == 1


async def test_a_folder_that_others_can_only_read_is_made_private(tmp_path: Path):
    place = sandbox(tmp_path)
    ledger_folder(place).chmod(0o755)
    async with connect(place, "legacy") as client:
        assert not (await call(client, "kartra_assign_tag", **TAG)).failed
    assert stat.S_IMODE(ledger_folder(place).stat().st_mode) == 0o700


@pytest.mark.parametrize("end", ["used", "declined", "expired"])
async def test_the_facts_of_an_approval_are_deleted_at_its_end(end: str, tmp_path: Path):
    place = sandbox(tmp_path, GATE_IRREVERSIBLE="human")
    async with connect(place, "legacy") as client:
        assert (await call(client, REFUND, **PART)).code == "approval_required"
        ((summary, facts),) = changed(place, "SELECT summary, facts FROM approvals")
        assert "Ada Moreno" in summary + facts
        if end == "expired":
            changed(place, "UPDATE approvals SET expires_at = 1")
        else:
            with closing(open_ledger(ledger_folder(place))) as ledger:
                decided(ledger, 1, approve=end == "used", who="ada", reason="no")
        last = await call(client, REFUND, **PART)
        assert last.failed == (end != "used"), last.text
    kept = changed(place, "SELECT summary, facts FROM approvals WHERE number = 1")
    assert "Ada" not in str(kept)


async def test_repeat_never_lifts_the_unknown_outcome_of_a_refund(tmp_path: Path):
    place = sandbox(tmp_path)
    place.arrange("fault", "set", "refund_transaction", "garbage", "--effect")
    async with connect(place, "legacy") as client:
        preview = await call(client, REFUND, **PART)
        lost = await call(client, REFUND, **PART, **confirmed(preview))
        assert lost.executed == "unknown", lost.text
        before = place.dump()
        second = await call(client, REFUND, **PART, repeat=True)
        if second.code == "confirmation_required":
            second = await call(client, REFUND, **PART, repeat=True, **confirmed(second))
    assert (second.code, second.executed) == ("outcome_unknown", "no")
    assert place.dump() == before


async def test_the_reads_of_a_chain_do_not_make_it_another_write(tmp_path: Path):
    place = sandbox(tmp_path)
    points = {"cmd": "give_points_to_lead", "points": 10}
    async with connect(place, "legacy") as client:
        first = await call(client, RAW, **raw(points))
        assert not first.failed, first.text
        second = await call(client, RAW, **raw(points, {"cmd": "retrieve_account_tags"}))
    assert (second.code, second.executed) == ("already_done", "no")


async def test_the_old_values_of_an_edit_are_in_the_answer_and_not_in_the_ledger(tmp_path: Path):
    place = sandbox(tmp_path)
    async with connect(place, "legacy") as client:
        edit = {"lead_id": 48110, "phone": "5550199", "confirm": True}
        done = await call(client, "kartra_edit_lead", **edit)
    assert done.structured is not None, done.text
    assert done.structured["before"] == {"phone": "5550142"}
    kept = str(changed(place, "SELECT body FROM lines")) + str(lines(place, "intent"))
    assert "kartra_edit_lead" in kept
    assert "5550142" not in kept
    assert "5550199" not in kept


# docs/policy.md


async def test_the_policy_file_is_read_once(tmp_path: Path):
    file = tmp_path / "policy.toml"
    file.write_text('[gates]\ndestructive = "deny"\n')
    place = sandbox(tmp_path / "state", POLICY=str(file))
    async with connect(place, "legacy") as client:
        file.write_text('[gates]\ndestructive = "allow"\n')
        assert (await call(client, "kartra_unassign_tag", **TAG)).code == "not_allowed"


# docs/exposure.md


async def test_the_budget_of_the_list_has_room_for_five_more_actions(tmp_path: Path):
    """Bug: the page promised that the published actions could double."""
    place = sandbox(tmp_path, EXPOSE="all")
    async with connect(place, "legacy") as client:
        tools = (await client.list_tools()).tools
    sizes = {
        tool.name: len(tool.model_dump_json(by_alias=True, exclude_none=True)) for tool in tools
    }
    own = sum(size for name, size in sizes.items() if name in BUILTIN_TOOLS)
    whole = sum(sizes.values())
    each = (whole - own) / (len(sizes) - len(set(sizes) & set(BUILTIN_TOOLS)))
    assert (whole + 5 * each) / 3.75 < 10_000
    assert 7_500 < whole / 3.75 < 9_000


# docs/sandbox.md


def test_the_commands_of_the_sandbox_page_are_understood(tmp_path: Path):
    shown = re.findall(
        r"^python -m kartra_mcp\.sandbox (.*)$", read("docs/sandbox.md"), re.MULTILINE
    )
    words = [line.split("  #")[0].strip() for line in shown]
    once = [line for line in words if " serve " not in line and "many.json" not in line]
    assert len(once) == 5
    for line in once:
        given = line.replace("try.db", str(tmp_path / "try.db"))
        done = in_process.sandbox(*shlex.split(given))
        assert done.exit_code == 0, (line, done)


def test_the_sandbox_reports_the_documented_credentials():
    (shown,) = re.findall(r'^(\{"url".*\})$', read("docs/api.md"), re.MULTILINE)
    assert list(json.loads(shown)) == list(make_introduction("http://127.0.0.1:8080"))


async def test_three_thousand_actions_are_served_as_documented(tmp_path: Path):
    """Bug: the example had no type, so that none of its reads was a read."""
    page = read("docs/sandbox.md")
    (script,) = re.findall(r"python -c '(.*?)' > many\.json", page, re.DOTALL)
    made = re.fullmatch(r"import json; print\((.*)\)", script, re.DOTALL)
    assert made
    many = json.loads(eval(made[1], {"json": json, "range": range}))
    file = tmp_path / "many.json"
    file.write_text(json.dumps(many))
    place = Sandbox(tmp_path / "state").arrange("reset").arrange("actions", "use", str(file))
    async with connect(place, "legacy") as client:
        await call(client, "kartra_status")
        assert len((await client.list_tools()).tools) <= len(BUILTIN_TOOLS)
        found = await call(
            client,
            "kartra_run_read",
            action="kartra_get_lead_2999",
            arguments={"lead_id": 48110},
        )
    assert "ada@example.com" in found.text
