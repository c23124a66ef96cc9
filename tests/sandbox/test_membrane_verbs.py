"""Membrane's verbs, in this process: lists and pages, connections, runs, logs and errors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kartra_mcp.sandbox.cli import main
from kartra_mcp.sandbox.store import seed

KARTRA = f"--connectionId={seed.CONNECTION}"
HERE = Path(__file__).parent
Say = Callable[..., Any]


@pytest.fixture
def say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """Run one command line; return its output as JSON."""

    def run(*argv: str, code: int = 0) -> Any:
        assert main([*argv, f"--account={tmp_path / 'a.db'}", "--json"]) == code
        return json.loads(capsys.readouterr().out or "null")

    return run


def run(say: Say, key: str, code: int = 0, **given: Any) -> Any:
    return say("action", "run", key, KARTRA, f"--input={json.dumps(given)}", code=code)


RUNS: list[tuple[str, dict[str, Any], str]] = [
    ("retrieve-account-pages", {}, "account_pages"),
    ("retrieve-account-custom-fields", {}, "custom_fields"),
    ("retrieve-account-sequences", {}, "account_sequences"),
    ("retrieve-account-tags", {}, "account_tags"),
    ("retrieve-account-lists", {}, "account_lists"),
    ("get-lead", {"email": "ada@example.com"}, "lead_details"),
    ("get-transaction-details", {"transaction_id": 101}, "transaction_details"),
    ("retrieve-transactions-from-lead", {"lead_id": 48110}, "transaction_list"),
    ("create-lead", {"email": "a@example.org", "first_name": "A"}, "lead_details"),
    ("edit-lead", {"lead_id": 48110, "company": "None"}, "lead_details"),
    ("assign-tag", {"lead_id": 48129, "tag_name": "VIP"}, "103"),
    ("subscribe-lead-to-list", {"lead_id": 48129, "list_name": "Alumni"}, "101"),
    ("subscribe-lead-to-sequence", {"lead_id": 1, "sequence_name": "W", "step": "1"}, "243"),
    (
        "subscribe-lead-to-sequence",
        {"lead_id": 48129, "sequence_name": "Win-back", "step": "1"},
        "107",
    ),
    ("unsubscribe-lead-from-list", {"lead_id": 48110, "list_name": "Alumni"}, "101"),
    ("unsubscribe-lead-from-sequence", {"lead_id": 48110, "sequence_name": "Welcome"}, "108"),
    ("unassign-tag", {"lead_id": 48110, "tag_name": "VIP"}, "104"),
    ("cancel-subscription", {"subscription_id": 201}, "sub_201sandbox"),
    ("cancel-subscription", {"transaction_id": 102}, "sub_201sandbox"),
    ("refund-transaction", {"transaction_id": 101, "refund_amount": 7}, "transaction_refunded"),
    (
        "grant-membership-access",
        {"lead_id": 48129, "membership_name": "Studio Circle", "level_name": "Gold"},
        "granted",
    ),
    ("revoke-membership-access", {"lead_id": 48110, "membership_name": "Studio Circle"}, "revoked"),
    ("revoke-membership-access", {"lead_id": 48110, "membership_name": "None"}, "262"),
]


@pytest.mark.parametrize(("key", "given", "found"), RUNS)
def test_each_published_action_does_its_work(say: Say, key: str, given: Any, found: str):
    assert found in json.dumps(run(say, key, **given)["output"])


def test_all_twenty_are_run_above_and_listed(say: Say):
    listed = say("action", "list", KARTRA)
    assert {one["key"] for one in listed["items"]} == {key for key, _, _ in RUNS}
    assert len(listed["items"]) == 20
    assert "cursor" not in listed
    assert all("x-sandbox" not in one for one in listed["items"])


def test_pages_follow_a_cursor_to_the_end(say: Say):
    seen: list[str] = []
    cursor = "0"
    while cursor:
        page = say("action", "list", KARTRA, "--limit=7", f"--cursor={cursor}")
        seen += [one["key"] for one in page["items"]]
        cursor = page.get("cursor", "")
    assert len(seen) == len(set(seen)) == 20


@pytest.mark.parametrize("bad", ["--limit=0", "--limit=1001", "--limit=x", "--cursor=zz"])
def test_a_bad_page_is_a_validation_error(say: Say, bad: str):
    assert say("action", "list", KARTRA, bad, code=1)["key"] == "validation_error"


def test_an_intent_finds_ten_at_most_and_only_with_a_connection(say: Say):
    found = say("action", "list", KARTRA, "--intent=refund a transaction")["items"]
    assert found[0]["key"] == "refund-transaction"
    assert len(say("action", "list", KARTRA, "--intent=lead")["items"]) == 10
    assert len(say("action", "list", "--intent=refund")["items"]) == 20
    assert say("action", "list", KARTRA, f"--intent={'x' * 201}", code=1)["type"] == "bad_request"


def test_a_missing_field_is_refused_and_an_unknown_one_is_dropped_in_silence(say: Say):
    error = run(say, "refund-transaction", code=1)
    assert (error["key"], error["data"]["missing"]) == ("validation_error", ["transaction_id"])
    output = run(say, "refund-transaction", transaction_id=101, amount=1)["output"]
    assert output["actions"][0]["refund_transaction"]["status"] == "Success"
    again = run(say, "refund-transaction", transaction_id=101)["output"]
    assert again["actions"][0]["refund_transaction"]["type"] == "251"


def test_a_run_is_logged_with_its_meta_whether_it_worked_or_not(say: Say):
    given = '--input={"transaction_id": 101}'
    number = say("act", "--key=refund-transaction", KARTRA, given, '--meta={"intent":"i1"}')
    log = say("action-run-log", "get", number["actionRunId"], "--details")
    assert (log["status"], log["meta"]) == ("success", {"intent": "i1"})
    assert log["details"]["response"]["actions"]
    failed = run(say, "refund-transaction", code=1)["data"]["actionRunId"]
    assert say("action-run-log", "get", failed)["error"]["key"] == "validation_error"
    assert say("action-run-log", "get", "f" * 24, code=1)["key"] == "not_found"


def test_act_takes_exactly_one_way_and_runs_no_code(say: Say):
    api = '--api={"method":"POST","path":"/api","body":{"get_lead":{"id":48110}}}'
    assert say("act", api, KARTRA)["output"]["status"] == "Success"
    assert say("act", KARTRA, code=1)["key"] == "validation_error"
    assert say("act", "--key=get-lead", api, KARTRA, code=1)["key"] == "validation_error"
    assert say("act", "--code=1", KARTRA, code=1)["key"] == "access_denied"
    missing = say("act", '--api={"method":"GET","path":"/x"}', KARTRA, code=1)
    assert missing["data"]["response"]["status"] == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api", 200), ("/api/", 200), ("/api?x=1", 200), ("/x/%2e%2e/api", 200), ("/%61pi", 200),
        ("https://app.kartra.com/api", 200), ("https://evil.example.com/api", 404),
        ("/apis", 404), ("/", 404), ("/api/v2", 404),
    ],
)  # fmt: skip
def test_only_kartras_own_path_answers(say: Say, path: str, status: int):
    assert say("request", seed.CONNECTION, path)["status"] == status


def test_a_get_is_answered_by_kartras_own_error(say: Say):
    body = say("request", seed.CONNECTION, "/{part}", "--pathParam=part=api")["body"]
    assert (body["status"], body["type"]) == ("Error", "224")


def test_connections_are_made_mended_and_waited_for(say: Say):
    found = say("search", "kartra", "--elementType=Connector")["items"][0]["element"]["id"]
    made = say("connect", f"--connectorId={found}", "--non-interactive")
    assert made["state"] == "CLIENT_ACTION_REQUIRED"
    assert made["clientAction"]["uiUrl"]
    error = say("action", "run", "get-lead", f"--connectionId={made['id']}", code=1)
    assert error["type"] == "connection"
    assert say("connection", "get", made["id"], "--wait")["state"] == "READY"
    say("connection", "set-state", made["id"], "DISCONNECTED")
    assert say("connection", "get", made["id"])["disconnected"] is True
    mended = say("connect", f"--connectionId={made['id']}")
    assert (mended["id"], mended["state"]) == (made["id"], "READY")
    assert len(say("connection", "list")["items"]) == 2


def test_connections_are_arranged(say: Say):
    say("connection", "add", "--key=mail", "--integrationKey=mailer", "--state=BUILDING")
    assert [one["key"] for one in say("connection", "list")["items"]] == ["kartra", "mail"]
    assert len(say("connection", "list", "--integrationKey=kartra")["items"]) == 1
    assert say("connection", "set-state", "mail", "READY", "--disconnected")["connected"] is False
    assert say("connection", "add", "--key=mail", code=1)["key"] == "already_exists"
    assert say("connection", "get", "nobody", code=1)["key"] == "not_found"
    assert say("action", "list", "--connectionId=none", code=1)["key"] == "not_found"
    assert say("action", "list", "--connectionKey=mail")["items"] == []


def test_nothing_but_the_login_works_without_one(say: Say):
    assert say("logout")["loggedIn"] is False
    assert say("connection", "list", code=1)["key"] == "not_authenticated"
    assert say("login", "--tenant")["loggedIn"] is True
    assert say("connection", "list")["items"]


@pytest.mark.parametrize(
    ("kind", "type_"),
    [
        ("internal", "internal"), ("rate_limit_exceeded", "bad_request"),
        ("lock_timeout", "concurrency"), ("access_token_expired", "connection"),
    ],
)  # fmt: skip
def test_a_switch_of_membranes_own_is_an_envelope(say: Say, kind: str, type_: str):
    say("fault", "set", "assign_tag", kind, "--message=Because.")
    error = run(say, "assign-tag", code=1, lead_id=48110, tag_name="VIP")
    assert (error["type"], error["key"], error["message"]) == (type_, kind, "Because.")
    assert run(say, "assign-tag", lead_id=48110, tag_name="VIP")["actionRunId"]


def test_the_rate_limit_reaches_a_run_as_an_error_and_a_request_as_429(say: Say):
    say("fault", "set", "get_lead", "429", "--times=2")
    error = run(say, "get-lead", code=1, lead_id=48110)
    assert (error["type"], error["key"]) == ("connection", "rate_limit_exceeded")
    body = '{"get_lead": {"id": 48110}}'
    assert say("request", seed.CONNECTION, "/api", "-X", "POST", "-d", body)["status"] == 429
    assert say("fault", "list")["items"] == []
    assert say("fault", "set", "get_lead", "999", code=2) is None


def test_awkward_actions_are_listed_as_they_are(say: Say):
    listed = json.loads((HERE / "other_actions.json").read_text("utf-8"))
    say("actions", "use", str(HERE / "other_actions.json"))
    items = say("action", "list", KARTRA, "--limit=1000")["items"]
    assert len(items) == len(listed)
    assert "this is not an action" in items
    assert say("action", "get", "twice", code=1)["key"] == "not_found"
    assert run(say, "still-building", code=1)["type"] == "configuration"
    assert say("actions", "use", "published")["actions"] == 20
    assert say("actions", "use", str(HERE / "conftest.py"), code=2) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"actions": []}', "neither a JSON list nor an object with one as `items`"),
        ('{"items": {}}', "neither a JSON list"),
        ('"get-lead"', "neither a JSON list"),
        ("[", "not JSON"),
        (None, "No such file"),
    ],
)
def test_an_invalid_list_of_actions_is_refused_and_the_previous_one_stays(
    say: Say, tmp_path: Path, capsys: Any, text: str | None, why: str
):
    say("actions", "use", str(HERE / "other_actions.json"))
    before = say("action", "list", KARTRA)
    file = tmp_path / "actions.json"
    if text is not None:
        file.write_text(text)
    assert main(["actions", "use", str(file), f"--account={tmp_path / 'a.db'}"]) == 2
    assert why in capsys.readouterr().err
    assert say("action", "list", KARTRA) == before


def test_a_page_of_actions_is_a_list_of_which_none_can_run(say: Say, tmp_path: Path):
    file = tmp_path / "actions.json"
    file.write_text(json.dumps(say("action", "list", KARTRA)))
    assert say("actions", "use", str(file)) == {"actions": 20, "that_can_run": 0}
    error = run(say, "get-lead", code=1, lead_id=48110)
    assert error["type"] == "action_run"
    assert 'in the sandbox: its entry has no {"x-sandbox": {"cmd": …}}' in error["message"]
    assert say("actions", "use", "published") == {"actions": 20, "that_can_run": 20}


def test_a_missing_list_is_reported_until_another_is_used(say: Say, tmp_path: Path):
    file = tmp_path / "actions.json"
    file.write_text("[]")
    say("actions", "use", str(file))
    file.unlink()
    error = say("action", "list", KARTRA, code=1)
    assert (error["type"], "actions use published" in error["message"]) == ("internal", True)
    assert say("actions", "use", "published")["actions"] == 20


@pytest.mark.parametrize(("habit", "count"), [("ten", 10), ("repeat", 15), ("normal", 5)])
def test_older_programs_ignore_the_flags_of_a_page(say: Say, habit: str, count: int):
    say("actions", "paging", habit)
    cursor = say("action", "list", KARTRA, "--limit=15").get("cursor", "")
    page = say("action", "list", KARTRA, "--limit=15", f"--cursor={cursor}")
    assert len(page["items"]) == count


def test_older_programs_refuse_the_flags_of_a_page(say: Say):
    say("actions", "paging", "refuse")
    assert say("action", "list", KARTRA, "--limit=15", code=2) is None
    assert len(say("action", "list", KARTRA)["items"]) == 20
    assert say("actions", "paging", "never", code=2) is None


def test_half_a_character_is_none(say: Say):
    given = '{"lead_id": 48129, "company": "a\\ud800b"}'
    say("action", "run", "edit-lead", KARTRA, f"--input={given}")
    assert run(say, "get-lead", lead_id=48129)["output"]["lead_details"]["company"] == "a?b"


def test_a_file_other_than_an_account_is_not_changed(tmp_path: Path, capsys: Any):
    (tmp_path / "a.db").write_text("a letter to a friend " * 100)
    assert main(["status", f"--account={tmp_path / 'a.db'}"]) == 1
    assert json.loads(capsys.readouterr().out)["type"] == "internal"
    assert (tmp_path / "a.db").read_text().startswith("a letter")
