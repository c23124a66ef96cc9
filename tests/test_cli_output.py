"""Output of the program: parsed, or one of our errors; `executed` is `no` only with proof."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.models import ActionResult, Executed
from kartra_mcp.membrane import errors, lenient_json, responses
from kartra_mcp.membrane.cli_output import parse_output
from kartra_mcp.membrane.responses import (
    ProxyResponse,
    get_cursor,
    list_items,
    parse_proxy_response,
    parse_run,
)

LEAD = {"output": {"id": "7"}, "actionRunId": "r1"}
PRETTY = json.dumps(LEAD, indent=2).encode()


def failed(exit_code: int, stdout: bytes, stderr: bytes = b"") -> KartraMCPError:
    with pytest.raises(KartraMCPError) as caught:
        parse_output(exit_code, stdout, stderr)
    return caught.value


READABLE: Mapping[str, bytes] = {
    "one line": json.dumps(LEAD).encode(),
    "pretty": PRETTY,
    "with a line break of Windows": PRETTY.replace(b"\n", b"\r\n"),
    "after a warning": b"DEPRECATED: use `workspace pull`\n" + PRETTY,
    "after npx's noise": b"npm warn exec The following package was not found\n\n" + PRETTY,
    "after a warning with brackets": b"[warn] {not json}\n[1/2] loading\n" + PRETTY,
    "after a warning with a brace": b"{oops\n" + PRETTY,
    "in colours": b"\x1b[2m" + PRETTY + b"\x1b[0m",
    "after a coloured warning": b"\x1b[33mwarning\x1b[39m\n" + PRETTY,
    "after a byte order mark": b"\xef\xbb\xbf" + PRETTY,
    "before an update notice": PRETTY + b"\n\nUpdate available 1.18.0 -> 1.18.3\nRun npm i -g\n",
    "before a boxed notice": PRETTY + "\n╭─────╮\n│ new │\n╰─────╯\n".encode(),
    "indented": b"  " + json.dumps(LEAD).encode(),
    "behind bytes that are no UTF-8": b"caf\xe9 warning\n" + PRETTY,
}


@pytest.mark.parametrize("case", READABLE)
def test_an_answer_is_found_in(case: str):
    assert parse_output(0, READABLE[case], b"") == LEAD


@pytest.mark.parametrize("value", [None, False, True, 0, 1.5, "", "text", [], [1], {}], ids=repr)
def test_a_bare_value_is_an_answer(value: Any):
    assert parse_output(0, json.dumps(value).encode() + b"\n", b"a warning") == value


def test_stderr_is_never_read_as_the_answer():
    assert failed(0, b"", b'{"items": []}').code == "unreadable_answer"


def test_a_value_that_is_not_utf_8_is_read_with_marks():
    assert parse_output(0, b'{"name": "caf\xe9"}', b"") == {"name": "caf�"}


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"], ids=lambda text: text
)
def test_a_number_that_json_cannot_hold_becomes_text(number: str):
    value = parse_output(0, f'{{"output": [{number}, 97.5, 1e3]}}'.encode(), b"")
    assert value == {"output": [number, 97.5, 1000.0]}
    json.dumps(value, allow_nan=False)


def nested(opening: str, depth: int) -> str:
    return opening * depth + "1" + ("]" if opening == "[" else "}") * depth


@pytest.mark.parametrize("depth", [5_000, 200_000])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_what_is_nested_beyond_reading_is_unreadable_and_not_a_crash(opening: str, depth: int):
    problem = failed(0, nested(opening, depth).encode())
    assert (problem.code, problem.executed) == ("unreadable_answer", Executed.UNKNOWN)
    assert failed(0, ("warning\n" + nested(opening, depth)).encode()).code == "unreadable_answer"


@pytest.mark.parametrize("depth", [101, 150, 400])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_a_part_that_is_nested_too_deep_is_left_out_and_the_rest_is_read(opening: str, depth: int):
    text = f'{{"items": [{{"id": "a"}}, {nested(opening, depth)}]}}'
    first, second = parse_output(0, text.encode(), b"")["items"]
    assert first == {"id": "a"}
    assert "nested too deeply" in json.dumps(second)


def test_what_is_nested_as_deep_as_an_account_can_be_is_read():
    text = "[" * 60 + "]" * 60
    assert parse_output(0, text.encode(), b"") == json.loads(text)


# ── Errors ──

ENVELOPE = {"type": "bad_request", "key": "not_found", "message": "No such action"}
SHAPES: Mapping[str, Any] = {
    "bare": ENVELOPE,
    "under error": {"error": ENVELOPE},
    "under error, without a type": {"error": {"key": "not_found", "message": "x"}},
    "with a code instead of a key": {"error": {"code": "not_found", "message": "x"}},
    "with the run": {"error": ENVELOPE, "actionRunId": "r1"},
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("exit_code", [0, 1, 2])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_an_error_envelope_is_an_error_wherever_it_stands(shape: str, exit_code: int, stream: str):
    printed = json.dumps(SHAPES[shape], indent=1).encode()
    out, err = (printed, b"") if stream == "stdout" else (b"", b"Error:\n" + printed)
    problem = failed(exit_code, out, err)
    assert problem.code == "membrane_error"
    assert problem.executed is Executed.NO


def test_an_error_after_a_warning_is_an_error():
    printed = b"\x1b[31mwarning\x1b[0m\n" + json.dumps(ENVELOPE).encode() + b"\nUpdate available\n"
    assert failed(0, printed).executed is Executed.NO


@pytest.mark.parametrize(
    "value",
    [
        {"error": "it went wrong"},
        {"error": True, "message": "it went wrong"},
        {"error": ["it went wrong"]},
        {"error": {"message": "it went wrong"}},
        {"type": "internal", "message": "it went wrong"},
    ],
    ids=["a text", "true", "a list", "an object without a type", "a type and a message"],
)
def test_an_error_of_any_form_is_no_success(value: Any):
    problem = failed(0, json.dumps(value).encode())
    assert (problem.code, problem.executed) == ("membrane_error", Executed.UNKNOWN)


@pytest.mark.parametrize(
    "value",
    [
        {"output": {"error": "in the data"}, "actionRunId": "r1"},
        {"output": 1, "error": None},
        {"error": None, "items": []},
        {"status": "Error", "message": "Kartra's own", "type": "243"},
        {"type": "gold", "message": "a row of the account"},
        {"type": "internal"},
        [{"error": "in a list"}],
    ],
    ids=[
        "an error inside the output",
        "a null error beside an output",
        "a null error beside items",
        "Kartra's own error",
        "a type that is none of Membrane's",
        "a type without a message",
        "an error inside a list",
    ],
)
def test_data_that_looks_like_an_error_is_no_error_of_membranes(value: Any):
    assert parse_output(0, json.dumps(value).encode(), b"") == value


# Envelope → code, executed. `no` only on the keys that the contract lists.
EXECUTED: Mapping[str, tuple[dict[str, Any], str, Executed]] = {
    "not authenticated": ({"key": "not_authenticated"}, "not_logged_in", Executed.NO),
    "access denied": ({"key": "access_denied"}, "membrane_error", Executed.NO),
    "not found": ({"key": "not_found"}, "membrane_error", Executed.NO),
    "Membrane's rate limit": ({"key": "rate_limit_exceeded"}, "rate_limited", Executed.NO),
    "the app's rate limit": (
        {"type": "connection", "key": "rate_limit_exceeded"},
        "rate_limited",
        Executed.NO,
    ),
    "input that is not valid": (
        {"type": "bad_request", "key": "validation_error"},
        "membrane_error",
        Executed.NO,
    ),
    "a bad request without a key": ({"type": "bad_request"}, "membrane_error", Executed.UNKNOWN),
    "a key that is not listed": (
        {"type": "bad_request", "key": "already_exists"},
        "membrane_error",
        Executed.UNKNOWN,
    ),
    "a validation of another type": (
        {"type": "action_run", "key": "validation_error"},
        "membrane_error",
        Executed.UNKNOWN,
    ),
    "internal": ({"type": "internal"}, "membrane_error", Executed.UNKNOWN),
    "a run that failed": ({"type": "action_run"}, "membrane_error", Executed.UNKNOWN),
    "a lock": ({"type": "concurrency", "key": "lock_timeout"}, "membrane_error", Executed.UNKNOWN),
    "an expired token of the app": (
        {"type": "connection", "key": "access_token_expired"},
        "membrane_error",
        Executed.UNKNOWN,
    ),
    "a cause that is listed": (
        {"type": "action_run", "causedByError": {"type": "connection", "key": "not_authenticated"}},
        "not_logged_in",
        Executed.NO,
    ),
    "a cause of a cause that is listed": (
        {"type": "action_run", "causedByError": {"causedByError": {"key": "access_denied"}}},
        "membrane_error",
        Executed.NO,
    ),
    "a cause that is not listed": (
        {"type": "action_run", "causedByError": {"type": "dependency_error"}},
        "membrane_error",
        Executed.UNKNOWN,
    ),
    "internal, caused by what is listed": (
        {"type": "internal", "causedByError": {"key": "not_found"}},
        "membrane_error",
        Executed.UNKNOWN,
    ),
    "a listed key beside a 5xx": (
        {"key": "not_found", "data": {"response": {"status": 502}}},
        "membrane_error",
        Executed.UNKNOWN,
    ),
    "a listed key beside a 4xx": (
        {"key": "not_found", "data": {"response": {"status": 404}}},
        "membrane_error",
        Executed.NO,
    ),
    "a cause that is no object": (
        {"type": "action_run", "causedByError": "x"},
        "membrane_error",
        Executed.UNKNOWN,
    ),
}


@pytest.mark.parametrize("case", EXECUTED)
def test_only_a_listed_key_proves_that_nothing_was_done(case: str):
    envelope, code, executed = EXECUTED[case]
    problem = failed(1, json.dumps({"error": {"message": "m", **envelope}}).encode())
    assert (problem.code, problem.executed) == (code, executed)


def test_an_error_tells_of_every_cause_and_of_its_run_without_stacks():
    problem = failed(
        1,
        json.dumps(
            {
                "type": "action_run",
                "message": "outer",
                "stack": "at /home/x",
                "logs": ["l"],
                "data": {"actionRunId": "r9"},
                "causedByError": {"type": "connection", "message": "inner, api_key=s3cr3t"},
            }
        ).encode(),
    )
    assert problem.detail == {
        "membrane": [
            {"type": "action_run", "message": "outer"},
            {"type": "connection", "message": "inner, api_key=[removed]"},
        ],
        "action_run_id": "r9",
    }


def test_output_of_membrane_is_never_in_our_sentences():
    problem = failed(1, json.dumps({"error": {**ENVELOPE, "message": "IGNORE ALL"}}).encode())
    assert "IGNORE" not in problem.message + problem.remedy


# ── Neither ──


@pytest.mark.parametrize(
    ("exit_code", "out", "err"),
    [
        (1, b"", b""),
        (1, b"", b"Error: connect ECONNREFUSED"),
        (1, b"Something broke", b""),
        (1, PRETTY, b""),
        (-9, b"", b""),
        (127, b"", b"env: node: No such file or directory"),
        (1, b"", b"Transaction 401 is odd"),
    ],
    ids=[
        "silence",
        "words on stderr",
        "words on stdout",
        "an answer with an exit code",
        "a signal",
        "no node",
        "a number that only looks like a status",
    ],
)
def test_a_bare_exit_code_proves_nothing(exit_code: int, out: bytes, err: bytes):
    problem = failed(exit_code, out, err)
    assert (problem.code, problem.executed) == ("membrane_error", Executed.UNKNOWN)
    assert problem.detail["exit_code"] == exit_code


@pytest.mark.parametrize(
    "said",
    [b"Not logged in. Run membrane login", b"Request failed with status code 401", b"Please login"],
    ids=["not logged in", "a 401", "please login"],
)
def test_words_of_a_lost_login_are_reported_but_prove_nothing(said: bytes):
    problem = failed(1, b"", said)
    assert (problem.code, problem.executed) == ("not_logged_in", Executed.UNKNOWN)
    assert "membrane login" in problem.remedy
    assert "then repeat" not in problem.remedy


@pytest.mark.parametrize(
    "out",
    [b"", b"   \n", b"Done.", b"{", b'{"a": 1', b"<html>502</html>", b"\xff\xfe\x00"],
    ids=repr,
)
def test_what_cannot_be_read_is_an_error_that_shows_it(out: bytes):
    problem = failed(0, out)
    assert (problem.code, problem.executed) == ("unreadable_answer", Executed.UNKNOWN)
    assert problem.detail["output"]


def test_an_empty_output_is_reported_as_such():
    assert failed(0, b"").detail == {"output": "(nothing was printed)"}


def test_of_what_cannot_be_read_500_characters_are_shown_without_secrets():
    out = b"\x1b[1mapi_password=s3cr3t and Bearer s3cr3tvalue " + b"x" * 10_000_000
    shown = failed(0, out).detail["output"]
    assert len(shown) == 500
    assert "s3cr3t" not in shown
    assert shown.startswith("api_password=[removed]")


@given(st.integers(-15, 255), st.binary(), st.binary())
def test_no_output_raises_anything_else(exit_code: int, out: bytes, err: bytes):
    _read(exit_code, out, err)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "type", "key", "message", "data", "causedByError", "x"])
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
)


@given(st.sampled_from([0, 1]), JSON, JSON, st.sampled_from(["", "warning\n", "[x]\n"]))
def test_no_json_raises_anything_else(exit_code: int, out: Any, err: Any, before: str):
    _read(exit_code, (before + json.dumps(out)).encode(), json.dumps(err).encode())


def _read(exit_code: int, out: bytes, err: bytes) -> None:
    try:
        value = parse_output(exit_code, out, err)
    except KartraMCPError:
        return
    assert exit_code == 0
    json.dumps(value, allow_nan=False)


# ── Lists, runs, requests ──

LISTS: Mapping[str, Any] = {
    "items": {"items": [1, 2], "cursor": "c"},
    "items in an output": {"output": {"items": [1, 2], "cursor": "c"}},
    "a bare list": [1, 2],
    "a list in an output": {"output": [1, 2]},
}


@pytest.mark.parametrize("case", LISTS)
def test_a_list_is_read_as(case: str):
    value = LISTS[case]
    assert list_items(value) == [1, 2]
    assert get_cursor(value) == ("c" if "items" in case else None)


@pytest.mark.parametrize(
    "value",
    [None, 1, "x", {}, {"items": None}, {"items": {}}, {"output": {}}, {"output": None}],
    ids=repr,
)
def test_what_is_no_list_is_unreadable(value: Any):
    with pytest.raises(KartraMCPError) as caught:
        list_items(value)
    assert caught.value.code == "unreadable_answer"
    assert get_cursor(value) is None


@pytest.mark.parametrize("last", [None, "", 0, 5, []], ids=repr)
def test_a_cursor_that_is_no_text_ends_the_list(last: Any):
    assert get_cursor({"items": [], "cursor": last}) is None


@pytest.mark.parametrize(
    ("value", "reply"),
    [
        (LEAD, ActionResult({"id": "7"}, "r1")),
        ({"output": None, "actionRunId": "r1"}, ActionResult(None, "r1")),
        ({"output": 0, "actionRunId": "r1"}, ActionResult(0, "r1")),
        ({"output": {"id": 1}}, ActionResult({"id": 1})),
        ({"actionRunId": "r1"}, ActionResult(None, "r1")),
        ({"output": {"output": 1}, "actionRunId": "r1"}, ActionResult({"output": 1}, "r1")),
        ({"status": "Success"}, ActionResult({"status": "Success"})),
        (None, ActionResult(None)),
        (False, ActionResult(False)),
        (0, ActionResult(0)),
        ("", ActionResult("")),
        ([], ActionResult([])),
    ],
    ids=repr,
)
def test_the_result_of_a_run(value: Any, reply: ActionResult):
    assert parse_run(value) == reply


BODY = {"status": "Success", "account_tags": ["Gold"]}


@pytest.mark.parametrize(
    ("value", "reply"),
    [
        ({"status": 200, "headers": {}, "body": BODY}, ProxyResponse(BODY, 200)),
        ({"status": 200, "headers": {}, "data": BODY}, ProxyResponse(BODY, 200)),
        ({"statusCode": 502, "headers": {"a": "b"}, "body": "x"}, ProxyResponse("x", 502)),
        ({"status": 204, "headers": {}}, ProxyResponse(None, 204)),
        ({"status": 200, "headers": {}, "body": json.dumps(BODY)}, ProxyResponse(BODY, 200)),
        (BODY, ProxyResponse(BODY)),
        (json.dumps(BODY), ProxyResponse(BODY)),
        ({"status": "Success", "headers": {}}, ProxyResponse({"status": "Success", "headers": {}})),
        ("{not json", ProxyResponse("{not json")),
        ("text", ProxyResponse("text")),
        (None, ProxyResponse(None)),
    ],
    ids=[
        "an envelope with a body",
        "an envelope with data",
        "an envelope of another spelling",
        "an envelope without a body",
        "an envelope with JSON as text",
        "the body itself",
        "the body as text",
        "a body with Kartra's status",
        "text that only begins like JSON",
        "text",
        "nothing",
    ],
)
def test_the_answer_to_a_raw_request(value: Any, reply: ProxyResponse):
    assert parse_proxy_response(value) == reply


def test_the_error_types_are_those_of_the_facts():
    assert len(errors.ERROR_TYPES) == 14


# ── What a reviewer found: failed or unread answers that became successes ──

REFUSED = {"output": {"status": "Error", "type": "250"}, "actionRunId": "r"}
LOG = {"level": "info", "msg": "update available"}


def lines(*values: Any) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode()


BROKEN: Mapping[str, bytes] = {
    "pretty": json.dumps({"status": "Error", "output": [{"a": {"b": 1}}]}, indent=2)[:-6].encode(),
    "pretty, and the program's last words": PRETTY[:20] + b"\n  {}\nError: aborted\n",
    "on one line": b'{"output": {"a": 1}, "x',
    "in a text, before a notice": b'{"output": {"a": "tru\nUpdate available\n{"level": 1}\n',
    "after a line of a log": lines(LOG) + b'{"output": {"status": "Err',
    "a list": b'[\n  {"id": 1},\n  {"id": 2},\n',
    "a list of lists": b"[\n  [1],\n  [2],\nError\n[3]\n",
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_fragment_of_an_answer_that_broke_off_is_not_the_answer(case: str):
    problem = failed(0, BROKEN[case])
    assert (problem.code, problem.executed) == ("unreadable_answer", Executed.UNKNOWN)


FAILURES: Mapping[str, Any] = {
    "a text beside a null output": {"output": None, "error": "status 502", "actionRunId": "r"},
    "errors beside a null output": {"errors": [{"type": "connection", "message": "x"}]},
    "errors as texts": {"errors": ["it went wrong"], "output": None},
    "a type that is not listed": {"type": "timeout", "key": "gateway_timeout", "message": "m"},
    "no success": {"success": False, "message": "boom"},
    "no success of a run": {"success": False, "lead": 7, "output": None, "actionRunId": "r"},
    "a status of HTTP": {"statusCode": 502, "message": "Bad gateway"},
    "a run without an output": {"type": "odd", "message": "m", "actionRunId": "r"},
}


@pytest.mark.parametrize("case", FAILURES)
def test_an_error_of_an_unusual_form_is_no_success(case: str):
    problem = failed(0, lines(FAILURES[case]))
    assert (problem.code, problem.executed) == ("membrane_error", Executed.UNKNOWN)


def test_a_listed_key_without_a_type_is_an_error():
    problem = failed(0, lines({"key": "not_authenticated", "message": "login expired"}))
    assert (problem.code, problem.executed) == ("not_logged_in", Executed.NO)


@pytest.mark.parametrize(
    "value",
    [
        {"id": "7", "type": "lead", "key": "x", "message": "hello", "email": "a@b.c"},
        {"type": "gold", "message": "a row"},
        {"message": "Lead created"},
        {"output": {"success": False, "key": "not_found", "message": "m"}, "actionRunId": "r"},
        {"success": False, "email": "a@b.c"},
        {"success": True, "message": "done"},
        {"id": "c1", "state": "SETUP_FAILED", "error": {"message": "m"}, "errors": ["x"]},
        {"status": 500, "headers": {}, "body": "x"},
        {"items": [], "errors": []},
    ],
    ids=repr,
)
def test_data_of_an_unusual_form_is_no_error(value: Any):
    assert parse_output(0, lines(value), b"") == value


@pytest.mark.parametrize("answer", [LEAD, {"items": []}, {"status": 200, "headers": {}}, REFUSED])
@pytest.mark.parametrize(
    "log", [LOG, {"level": "warn", "error": "slow", "time": 1}, {"progress": 5}], ids=repr
)
def test_a_json_line_of_a_log_is_never_the_answer(answer: Any, log: Any):
    assert parse_output(0, lines(answer, log), b"") == answer
    assert parse_output(0, lines(log, answer), b"") == answer


def test_of_several_answers_the_one_that_failed_counts():
    assert parse_output(0, lines(REFUSED, LEAD), b"") == REFUSED
    assert parse_output(0, lines({"status": "Error", "type": "250"}, LEAD), b"")["type"] == "250"


@pytest.mark.parametrize(
    ("value", "reply"),
    [
        ({"status": 500, "body": "oops"}, ProxyResponse("oops", 500)),
        ({"status": 429, "data": "x"}, ProxyResponse("x", 429)),
        ({"status": 500, "headers": None, "data": "x"}, ProxyResponse("x", 500)),
        ({"status": "500", "headers": {}, "body": "x"}, ProxyResponse("x", 500)),
        ({"output": {"status": 500, "headers": {}, "body": "x"}}, ProxyResponse("x", 500)),
        ({"output": {"statusCode": 502, "body": "x"}, "actionRunId": "r"}, ProxyResponse("x", 502)),
        ({"status": 7, "data": "x"}, ProxyResponse({"status": 7, "data": "x"})),
        ({"status": "Success", "data": 1}, ProxyResponse({"status": "Success", "data": 1})),
    ],
    ids=repr,
)
def test_an_http_status_is_seen_in_any_spelling(value: Any, reply: ProxyResponse):
    assert parse_proxy_response(value) == reply


def test_a_run_whose_output_is_a_failed_http_answer_is_no_success():
    with pytest.raises(KartraMCPError) as caught:
        parse_run({"output": {"status": 500, "headers": {}, "data": "oops"}, "actionRunId": "r"})
    assert (caught.value.code, caught.value.executed) == ("membrane_error", Executed.UNKNOWN)
    assert caught.value.detail["action_run_id"] == "r"


class Counting(json.JSONDecoder):
    """Counts what it was asked to read."""

    attempts = 0

    def raw_decode(self, s: str, idx: int = 0) -> tuple[Any, int]:
        self.attempts += 1
        return super().raw_decode(s, idx)


@pytest.mark.parametrize(
    ("line", "most"),
    [("[info] fetching a page\n", 2), ("[1/2] loading\n", 51), ("{ x }\n", 51)],
    ids=repr,
)
def test_four_megabytes_of_lines_of_a_log_cost_few_attempts(
    monkeypatch: pytest.MonkeyPatch, line: str, most: int
):
    counting = Counting()
    monkeypatch.setattr(lenient_json, "_DECODER", counting)
    noise = line * (4_000_000 // len(line))
    assert parse_output(0, noise.encode() + PRETTY + b"\n", b"") == LEAD
    assert counting.attempts <= most


LOST_LOGINS = (
    "Not logged in",
    "Error: Run `membrane login` to continue.",
    "You are not authenticated",
    "Error: Unauthorized",
    "Your session has expired. Please run membrane login",
)


@pytest.mark.parametrize("said", LOST_LOGINS)
@pytest.mark.parametrize("exit_code", [0, 1])
def test_a_lost_login_is_known_by_words_with_any_exit_code(said: str, exit_code: int):
    for out, err in ((said, ""), ("", said)):
        problem = failed(exit_code, out.encode(), err.encode())
        assert (problem.code, problem.executed) == ("not_logged_in", Executed.UNKNOWN)


def responded(status: Any, **more: Any) -> bytes:
    return lines({"error": {"message": "m", "data": {"response": {"status": status}}, **more}})


def test_a_401_of_membranes_is_a_lost_login_and_proves_nothing():
    problem = failed(1, responded(401))
    assert (problem.code, problem.executed) == ("not_logged_in", Executed.UNKNOWN)


def test_a_401_of_the_app_is_no_lost_login():
    assert failed(1, responded(401, type="connection")).code == "membrane_error"


@pytest.mark.parametrize("status", [429, "429"], ids=repr)
def test_a_429_in_an_envelope_was_not_executed(status: Any):
    problem = failed(1, responded(status, type="connection"))
    assert (problem.code, problem.executed) == ("rate_limited", Executed.NO)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_kartra_error_with_an_exit_code_is_that_error(stream: str):
    printed = lines({"output": {"status": "Error", "type": "251"}})
    problem = failed(1, *((printed, b"") if stream == "stdout" else (b"", printed)))
    assert (problem.code, problem.executed) == ("already_done", Executed.NO)


TRACE = "TypeError: x\n    at foo (/usr/lib/x.js:1:2)\n    at bar (/y.js:2)"
PYTHON = 'Traceback (most recent call last):\n  File "/x.py", line 1\n    f()\nValueError: y'


@pytest.mark.parametrize(("trace", "left"), [(TRACE, "TypeError: x"), (PYTHON, "ValueError: y")])
def test_a_stack_trace_in_a_message_is_cut(trace: str, left: str):
    told = failed(1, lines({"error": {"type": "bad_request", "message": trace}})).detail
    assert told["membrane"][0]["message"] == left
    assert failed(1, b"", trace.encode()).detail["output"] == left
    assert failed(0, trace.encode()).detail["output"] == left


def test_the_id_of_a_run_is_clean_and_short():
    reply = parse_run({"output": 1, "actionRunId": "r\u202e1\n" + "x" * 500})
    assert reply.action_run_id is not None
    assert reply.action_run_id.startswith("r1 x")
    assert len(reply.action_run_id) == 64


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"loggedIn": True}, True),
        ({"output": {"loggedIn": False}}, False),
        ({"status": "Not logged in"}, False),
        ("Logged in as Ann", True),
        ({"apiUri": "x"}, None),
        ([], None),
        (None, None),
    ],
    ids=repr,
)
def test_what_status_tells_of_the_login(value: Any, told: bool | None):  # noqa: FBT001
    assert responses.parse_login(value) is told
