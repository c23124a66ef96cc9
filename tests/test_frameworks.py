"""The programs of `examples/` and their page; `make examples` runs them with each framework."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from clients.drive import pinned
from clients.model_apis import Completions
from consent_actors import REFUND, Person, sandbox
from evals.account import Reach
from frameworks import report
from frameworks.model import QUOTED, ScriptedModel
from frameworks.plays import (
    ALONE,
    MAIL,
    NO,
    NOTHING,
    PAIR,
    REFUNDED,
    TAGGED,
    YES,
    confirm,
    find_confirmation,
    make_play,
    play_names,
)
from frameworks.roster import EXAMPLES, PROGRAMS, SMOKE, Example
from frameworks.user import FORM, NUMBER
from frameworks.verdicts import ENDED, Evidence, judge
from harness import call, connect

ROOT = Path(__file__).parents[1]
PAGE = report.PAGE.read_text("utf-8")
LINES = range(11, 14)
"""Lines of an example besides imports, constants, blank lines, comments and its docstring."""
each_program = pytest.mark.parametrize("example", PROGRAMS, ids=lambda example: example.name)
BY_NAME = {example.name: example for example in PROGRAMS}


# The files and the page


def test_every_program_is_run():
    assert {path.name for path in EXAMPLES.iterdir()} == {example.file for example in PROGRAMS}
    assert set(SMOKE) <= set(BY_NAME)


def test_the_page_has_each_program_to_the_letter():
    blocks = re.findall(r"(?ms)^```python\n(.*?)^```", PAGE)
    assert blocks == [example.path.read_text("utf-8") for example in PROGRAMS]


@each_program
def test_a_program_is_short_and_compiles(example: Example):
    tree = ast.parse(example.path.read_text("utf-8"), feature_version=(3, 11))
    compile(tree, example.file, "exec")
    parts = [node for node in tree.body if not isinstance(node, (ast.Import, ast.ImportFrom))]
    parts = [node for node in parts[1:] if not isinstance(node, ast.Assign)]
    lines = example.path.read_text("utf-8").splitlines()
    own = [line for node in parts for line in lines[node.lineno - 1 : node.end_lineno]]
    kept = [line for line in own if line.strip() and not line.strip().startswith("#")]
    assert len(kept) in LINES
    assert "each of eleven to thirteen lines besides imports and constants" in PAGE


@each_program
def test_a_program_serves_the_sandbox_with_a_human_at_both_gates(example: Example):
    (flags,) = re.findall(r'(?m)^SERVE = "(.*)"$', example.path.read_text("utf-8"))
    assert flags.startswith("serve --sandbox ")
    assert flags.endswith("--gate-destructive human --gate-irreversible human")
    assert ("--no-page" in flags) == (example.consent == "approval")


@each_program
def test_the_page_has_the_result_of_the_versions_in_use(example: Example):
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{example.file}` |")]
    for package in example.packages:
        assert f"{package.partition('==')[0]} {pinned(package)}" in row
    assert f"one refund, `{example.consent}`" in row


def test_the_examples_are_in_the_sdist_and_not_in_the_wheel():
    built = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]
    assert "examples" in built["targets"]["sdist"]["include"]
    assert built["targets"]["wheel"]["packages"] == ["kartra_mcp"]


@pytest.mark.anyio
async def test_the_page_shows_the_form_as_the_server_writes_it(tmp_path: Path):
    place, user = sandbox(tmp_path, GATE_IRREVERSIBLE="human"), Person("decline")
    async with connect(place, "legacy", elicitation_callback=user) as client:
        await call(client, REFUND, transaction_id=101)
    (question,) = user.asked
    title = question.requested_schema["properties"]["amount"]["title"]
    shown = f"{question.message}\n\n{title} (Enter: no):"
    dated = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "…", shown)
    assert f"```text\n{dated}\n```" in PAGE


# The table


def test_a_row_replaces_that_of_its_program_alone(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}{report.END}\nafter\n", "utf-8")
    found = {"revision": "2026-07-28", "date": "2026-11-30"}
    rows = {example.file: report.make_row(example, found) for example in PROGRAMS}
    report.write(rows, page)
    once = page.read_text("utf-8")
    assert once.count("2026-11-30") == len(PROGRAMS)
    report.write({PROGRAMS[1].file: rows[PROGRAMS[1].file].replace("11-30", "12-01")}, page)
    assert page.read_text("utf-8").count("2026-11-30") == len(PROGRAMS) - 1
    assert page.read_text("utf-8").replace("2026-12-01", "2026-11-30") == once


# The verdict


FACTS = {"amount": "97.00"}
CONFIRMATION = {"number": 1, "summary": "REFUND 97.00", "facts": FACTS, "effect": "e", "undo": "u"}
HELD = (
    '{"error":{"code":"approval_required","executed":"no","confirmation":{"number":1,'
    '"summary":"REFUND 97.00","facts":{"amount":"97.00"},"effect":"e","undo":"u"}}}'
)
DECLINED = '{"error":{"code":"declined","executed":"no"}}'
DONE = '{"receipt":{"done":"refunded transaction 101, 97.00"}}'
LEAD = "Moreno"
FORM_SHOWN = f"REFUND 97.00\r\namount: 97.00\r\n(Enter: no): {QUOTED} declined\n{ENDED}"
PIN_SHOWN = f"REFUND 97.00\r\namount 97.00 e u\r\nPIN (not shown): {QUOTED} declined\n{ENDED}"
PREVIEW, OTHER = "REFUND 97.00\namount: 97.00", "REFUND 49.00\namount: 49.00"
TWO_SHOWN = f"REFUND 49.00\namount: 49.00 (Enter: no): {FORM_SHOWN}"
MIXED = FORM_SHOWN.replace("REFUND 97.00", f"{OTHER} REFUND 97.00")
GOOD = {
    ("langchain", YES): Evidence(
        *(REFUNDED, ["elicitation"], ["succeeded"], [PREVIEW], [LEAD, DONE], FORM_SHOWN)
    ),
    ("langchain", NO): Evidence(NOTHING, [], [], [PREVIEW], [LEAD, DECLINED], FORM_SHOWN),
    ("langchain", ALONE): Evidence(NOTHING, [], [], [PREVIEW], [LEAD, DECLINED], FORM_SHOWN),
    ("langchain", MAIL): Evidence(
        *(TAGGED, ["elicitation"], ["succeeded"], [PREVIEW, OTHER]),
        *([LEAD, DECLINED, "Tag assigned"], TWO_SHOWN),
    ),
    ("langchain", PAIR): Evidence(
        *(REFUNDED, ["elicitation"], ["succeeded"], [PREVIEW, OTHER]),
        *([LEAD, DONE, DECLINED], TWO_SHOWN),
    ),
    ("openai-agents", YES): Evidence(
        *(REFUNDED, ["approval"], ["succeeded"], [], [LEAD, HELD, DONE], PIN_SHOWN)
    ),
    ("openai-agents", NO): Evidence(NOTHING, [], [], [], [LEAD, HELD, DECLINED], PIN_SHOWN),
    ("openai-agents", ALONE): Evidence(NOTHING, [], [], [], [LEAD, HELD], ENDED),
}


@pytest.mark.parametrize(("name", "play"), GOOD)
def test_what_the_page_promises_is_no_problem(name: str, play: str):
    assert judge(BY_NAME[name], play, GOOD[name, play]) == []


FAULTS = [
    ("langchain", YES, {"reach": NOTHING}, "the account changed"),
    ("langchain", YES, {"reach": Reach(REFUNDED.refunds * 2, 0, 0, 0)}, "the account changed"),
    ("langchain", YES, {"reach": replace(REFUNDED, written=1)}, "the account changed"),
    ("langchain", YES, {"consents": ["two_step"]}, "consents in the ledger: ['two_step']"),
    ("langchain", YES, {"outcomes": ["unknown"]}, "outcomes in the ledger"),
    (
        "langchain",
        YES,
        {"answers": [LEAD, DECLINED]},
        "the last answers to the model have no",
    ),
    ("langchain", YES, {"answers": []}, "the lead did not reach the model"),
    ("langchain", YES, {"previews": []}, "the user was asked 0 times"),
    ("langchain", YES, {"previews": [PREVIEW, PREVIEW]}, "the user was asked 2 times"),
    (
        "langchain",
        YES,
        {"previews": [PREVIEW + "\nundo: u"]},
        "not shown whole before the question",
    ),
    ("langchain", YES, {"shown": FORM_SHOWN + "1"}, "the program failed"),
    ("langchain", YES, {"faults": ["no such tool"]}, "no such tool"),
    ("langchain", NO, {"reach": REFUNDED}, "the account changed"),
    ("langchain", NO, {"consents": ["elicitation"]}, "consents in the ledger"),
    ("langchain", NO, {"answers": [LEAD, HELD]}, "the last answers to the model have no"),
    ("langchain", NO, {"answers": [LEAD, '{"error":""}']}, "that nothing was executed"),
    ("langchain", NO, {"shown": FORM_SHOWN.replace("declined", "")}, "the user was not told"),
    ("langchain", ALONE, {"reach": REFUNDED}, "the account changed"),
    ("langchain", ALONE, {"previews": []}, "the user was asked 0 times"),
    ("langchain", MAIL, {"reach": replace(TAGGED, written=2)}, "the account changed"),
    ("langchain", MAIL, {"shown": FORM_SHOWN}, "not shown whole before the question"),
    ("langchain", PAIR, {"answers": [LEAD, DONE, DONE]}, "the last answers to the model have no"),
    ("langchain", PAIR, {"shown": MIXED}, "two questions were on the terminal at once"),
    ("langchain", MAIL, {"previews": [PREVIEW]}, "the user was asked 1 times"),
    ("openai-agents", YES, {"consents": ["two_step"]}, "consents in the ledger"),
    (
        "openai-agents",
        YES,
        {"answers": [LEAD, DONE]},
        "not shown whole before the question: ['a number",
    ),
    (
        "openai-agents",
        YES,
        {"shown": f"97.00 PIN (not shown): {ENDED}"},
        "not shown whole before the question",
    ),
    ("openai-agents", YES, {"previews": [PREVIEW]}, "which no form shows"),
    ("openai-agents", ALONE, {"reach": REFUNDED}, "the account changed"),
]


@pytest.mark.parametrize(("name", "play", "instead", "problem"), FAULTS)
def test_what_breaks_a_promise_is_a_problem(name, play, instead, problem):
    found = judge(BY_NAME[name], play, replace(GOOD[name, play], **instead))
    assert any(problem in one for one in found), found


# The scripted model and user


@pytest.mark.parametrize("answer", [HELD, f"Data:\nx1\n{HELD}\nx1", json.dumps({"error": HELD})])
def test_the_confirmation_is_found_in_any_wrapping(answer: str):
    assert find_confirmation(answer) == CONFIRMATION


def test_a_model_without_a_preview_forges_one():
    assert confirm("done") == {
        "transaction_id": 101,
        "confirm": True,
        "confirmation_id": "A" * 24,
        "confirmation_summary": "REFUND FULL 97.00",
    }
    assert confirm(HELD)["confirmation_summary"] == "REFUND 97.00"


def test_the_model_keeps_its_place_and_reports_a_missing_tool():
    script = make_play(BY_NAME["openai-agents"], YES).script
    model = ScriptedModel(script[:2])
    offered = [{"function": {"name": "kartra_get_lead"}}]
    first = model.next_reply(Completions(), {"messages": [], "tools": offered})
    (made,) = first["choices"][0]["message"]["tool_calls"]
    assert made["function"]["name"] == "kartra_get_lead"
    assert not model.is_done()
    answered = {"messages": [{"role": "tool", "tool_call_id": "x", "content": LEAD}]}
    model.next_reply(Completions(), {**answered, "tools": offered})
    assert model.faults == [f"{REFUND} was not offered to the model"]
    last = model.next_reply(Completions(), answered)
    assert last["choices"][0]["message"]["content"] == f"{QUOTED} {LEAD}"


@each_program
def test_nobody_agrees_but_in_the_play_of_the_yes(example: Example):
    agreeing = {"97.00", "approve", "yes"}
    for name in play_names(example):
        given = {
            answer for answers in make_play(example, name).answers.values() for answer in answers
        }
        assert bool(agreeing & given) == (name in {YES, MAIL, PAIR})
    assert make_play(example, ALONE).answers.keys() == {FORM, NUMBER}
