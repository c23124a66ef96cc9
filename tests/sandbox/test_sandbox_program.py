"""The sandbox as a program: real processes, real exit codes, the content of stdout."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kartra_mcp.sandbox.program import admin_commands, help_text
from kartra_mcp.sandbox.store import seed
from kartra_mcp.sandbox.store.database import Account

ROOT = Path(__file__).parents[2]
OTHERS = Path(__file__).parent / "other_actions.json"
PUBLISHED = ROOT / "kartra_mcp" / "sandbox" / "membrane" / "actions.json"
KARTRA = f"--connectionId={seed.CONNECTION}"
Program = Callable[..., tuple[int, Any]]


def start(file: Path, *argv: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "kartra_mcp.sandbox", f"--account={file}", *argv]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    out, _ = process.communicate(timeout=60)
    return process.returncode, out


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "account.db"


@pytest.fixture
def program(file: Path) -> Program:
    """Run it; return the exit code and the printed JSON."""

    def run(*argv: str) -> tuple[int, Any]:
        code, out = ended(start(file, *argv))
        return code, json.loads(out) if out else None

    return run


def action(key: str) -> str:
    return next(one["id"] for one in json.loads(PUBLISHED.read_text("utf-8")) if one["key"] == key)


def refund(output: dict[str, Any]) -> dict[str, Any]:
    return output["actions"][0]["refund_transaction"]


def test_both_published_orders_of_the_arguments_run_an_action(program: Program):
    tag = '{"lead_id": 48129, "tag_name": "VIP", "no_such_field": 1}'
    one = program("action", "run", action("assign-tag"), KARTRA, f"--input={tag}", "--json")
    two = program("action", "run", KARTRA, action("assign-tag"), "--json", "--input", tag)
    for code, answer in (one, two):
        assert code == 0
        assert answer["output"]["actions"][0]["assign_tag"]["type"] == "103"
        assert answer["actionRunId"]


def test_every_invocation_is_written_down_first_and_a_reset_makes_all_new(program: Program):
    _, fresh = program("digest", "--json")
    program("action", "run", action("refund-transaction"), '--input={"transaction_id":101}')
    program("no", "such", "verb")
    _, journal = program("journal", "--json")
    assert [line["argv"][0] for line in journal["items"]] == ["action", "no"]
    assert program("digest", "--json")[1] != fresh
    program("reset", "--json")
    _, journal = program("journal", "--json")
    assert [line["argv"] for line in journal["items"]] == [["reset", "--json"]]
    assert program("connection", "get", "kartra", "--json")[1]["state"] == "READY"


def test_usage_errors_end_with_2_and_errors_of_membrane_with_1(program: Program):
    assert program("frobnicate") == (2, None)
    assert program("action", "run") == (2, None)
    assert program("action", "run", action("get-lead"), "--input={") == (2, None)
    code, envelope = program("action", "run", "650000000000000000000000", KARTRA, "--json")
    assert (code, envelope["type"], envelope["key"]) == (1, "bad_request", "not_found")


OWN = "usage: python -m kartra_mcp.sandbox [--account=FILE]"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--help", "The sandbox's own:"),
        ("-h", "The sandbox's own:"),
        ("serve --help", "serve [--host"),
        ("fault --help", "fault clear"),
        ("--help actions use", "actions use FILE"),
        ("action run --help", "action run,"),
    ],
)
def test_help_prints_the_usage_and_creates_no_account(file: Path, words: str, told: str):
    code, out = ended(start(file, *words.split()))
    assert (code, out.startswith(OWN)) == (0, True)
    assert told in out
    assert not file.exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("", "no verb is given"),
        ("help", "unknown command 'help'"),
        ("fault", "unknown command 'fault'"),
        ("serve --no-such-flag", "serve has no flag --no-such-flag"),
        ("serve extra", "'extra' is one word too many for serve"),
        ("serve --port", "--port takes a number"),
        ("fault set get_lead silent --efect", "fault set has no flag --efect"),
        ("actions use", "missing <file>"),
    ],
)
def test_wrong_usage_of_its_own_verbs_names_the_right_one(file: Path, words: str, why: str):
    process = start(file, *words.split())
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert said.startswith(f"membrane (sandbox): {why}\n\n{OWN}")


def test_every_own_verb_has_its_usage():
    assert set(help_text.OWN) == {
        *admin_commands.VERBS,
        *admin_commands.UNRECORDED,
        "serve",
        "reset",
    }


def test_without_json_it_speaks_to_people(file: Path):
    assert ended(start(file, "--version")) == (0, "1.18.3\n")
    assert ended(start(file, "status")) == (0, "Logged in\n")
    assert "kartra" in ended(start(file, "connection", "list"))[1]


def test_eight_processes_race_for_one_refund_and_one_wins(file: Path):
    line = ["action", "run", action("refund-transaction"), KARTRA, '--input={"transaction_id":101}']
    racers = [start(file, *line, "--json") for _ in range(8)]
    answers = [refund(json.loads(ended(racer)[1])["output"]) for racer in racers]
    assert sorted(answer["status"] for answer in answers) == ["Error"] * 7 + ["Success"]
    assert {answer.get("type") for answer in answers} == {None, "251"}
    account = Account(str(file))
    assert account.number("SELECT count(*) FROM transactions WHERE parent_id = 101") == 1
    assert len(account.journal()) == 8
    account.close()


def test_a_request_goes_as_json_and_as_a_form(program: Program):
    to = ("request", seed.CONNECTION)
    body = '{"app_id": "mine", "get_lead": {"id": 48110}}'
    code, answer = program(*to, "/api", "-X", "POST", "-d", body, "--json")
    assert (code, answer["status"]) == (0, 200)
    assert answer["body"]["lead_details"]["first_name"] == "Ada"
    form = "actions[0][cmd]=refund_transaction&actions[0][transaction_id]=101"
    header = "Content-Type: application/x-www-form-urlencoded"
    for expected in ("Success", "Error"):
        line = ("--method=POST", f"--header={header}", f"--data={form}", "--rawData", "--json")
        _, answer = program(*to, "/api/", *line)
        assert refund(answer["body"])["status"] == expected


def test_a_program_may_die_after_the_deed(program: Program, file: Path):
    program("fault", "set", "refund_transaction", "silent", "--effect")
    line = ("action", "run", action("refund-transaction"), '--input={"transaction_id":101}')
    assert program(*line, "--json") == (1, None)
    assert refund(program(*line, "--json")[1]["output"])["type"] == "251"
    program("fault", "set", "refund_transaction", "garbage")
    code, out = ended(start(file, *line))
    assert code == 0
    assert "502" in out


def test_an_answer_may_be_half_or_late(program: Program, file: Path):
    line = ("action", "run", action("refund-transaction"), '--input={"transaction_id":101}')
    assert program("fault", "set", "refund_transaction", "slow", "--message=soon") == (2, None)
    program("fault", "set", "refund_transaction", "cut")
    code, out = ended(start(file, *line, "--json"))
    with pytest.raises(json.JSONDecodeError, match="Unterminated string"):
        json.loads(out)
    program("fault", "set", "refund_transaction", "slow", "--message=0.7")
    began = time.monotonic()
    code, answer = program(*line, "--json")
    assert time.monotonic() - began >= 0.7
    assert (code, refund(answer["output"])["status"]) == (0, "Success")


def test_membrane_has_logged_a_deed_whose_answer_was_lost(program: Program, file: Path):
    line = ("action", "run", action("refund-transaction"), '--input={"transaction_id":101}')
    for effect in ([], ["--effect"]):
        program("fault", "set", "refund_transaction", "killed", *effect)
        assert program(*line) == (137, None)
    account = Account(str(file))
    (log,) = [json.loads(text) for text in account.column("SELECT log FROM run_logs")]
    account.close()
    assert (log["status"], refund(log["output"])["status"]) == ("success", "Success")


def test_a_program_may_hang(file: Path):
    assert ended(start(file, "fault", "set", "*", "hang"))[0] == 0
    process = start(file, "action", "run", action("retrieve-account-tags"), KARTRA, "--json")
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(timeout=0.5)
    process.kill()
    process.communicate()


def test_another_list_of_actions_moves_the_same_money(program: Program):
    program("actions", "use", str(OTHERS))
    given = '{"transaction": {"id": 105}, "amount": {"value": 20}}'
    code, answer = program("action", "run", "process_refund", KARTRA, f"--input={given}", "--json")
    assert code == 0
    assert refund(answer["output"]["data"]["refund"])["status"] == "Success"
    given = '{"transactionId": 105, "refundAmount": 180.01}'
    _, answer = program("action", "run", "refundTransaction", f"--input={given}", "--json")
    assert refund(answer["output"]["data"])["type"] == "268"
    code, envelope = program("action", "run", "process_refund", '--input={"transaction":{}}')
    assert (code, envelope["data"]["missing"]) == (1, ["transaction.id"])
