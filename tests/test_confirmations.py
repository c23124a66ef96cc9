"""Confirmations, questions and declines in the ledger: what counts, until when, and what is left.

Over the store of one user alone: `test_ledger.py` has the promises that both stores keep.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Executed, Risk
from kartra_mcp.ledger import confirmations
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.records import Answer, Binding, StoredQuestion
from kartra_mcp.ledger.rules import make_identity_key
from kartra_mcp.ledger.sqlite.store import open_ledger
from tests.ledger_intents import BINDING, LIMITS, code, intent
from tests.team_people import Time

START = Time.at
QUESTION = StoredQuestion("facts", START - 1.5, 2, "97.00")


class Clocks:
    """A wall clock and a steady clock; `step` sets the wall clock alone."""

    def __init__(self) -> None:
        self.wall, self.steady = START, 50.0

    def wait(self, seconds: float) -> None:
        self.wall, self.steady = self.wall + seconds, self.steady + seconds

    def step(self, seconds: float) -> None:
        self.wall += seconds


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def ledger(tmp_path: Path, clocks: Clocks) -> Generator[Ledger]:
    state = tmp_path / "state"
    with closing(open_ledger(state, lambda: clocks.wall, steady=lambda: clocks.steady)) as made:
        yield made


def rows(ledger: Ledger, sql: str, *values: Any) -> list[dict[str, Any]]:
    with ledger._store.read_transaction() as transaction:
        return [dict(row) for row in transaction.fetch_all(sql, *values)]


def change(ledger: Ledger, sql: str, *values: Any) -> None:
    with ledger._store.write_transaction() as transaction:
        transaction.run(sql, *values)


def refusal_of(check: Any) -> RefusedError:
    with pytest.raises(RefusedError) as refused:
        check()
    return refused.value


# Questions


def test_a_question_returns_with_the_values_that_judge_its_answer(ledger: Ledger):
    asked = ledger.consents.issue_question(BINDING, QUESTION, 60.0)
    other = replace(QUESTION, facts_digest="other", number=1, typed_confirmation="")
    second = ledger.consents.issue_question(BINDING, other, 90.0)
    assert (asked.expires_at, second.expires_at) == (START + 60, START + 90)
    assert ledger.consents.validate_question(asked.id, BINDING) == QUESTION
    assert ledger.consents.validate_question(second.id, BINDING) == other
    assert ledger.consents.validate(asked.id, BINDING, "", "question") == "facts"
    (row,) = rows(
        ledger, "SELECT * FROM confirmations WHERE hash = ?", confirmations.hash_text(asked.id)
    )
    assert (row["kind"], row["made_at"], row["expires_at"]) == ("question", START, START + 60)


def test_a_question_ends_with_its_time(ledger: Ledger, clocks: Clocks):
    asked = ledger.consents.issue_question(BINDING, QUESTION, 60.0)
    clocks.wait(59)
    assert ledger.consents.validate_question(asked.id, BINDING) == QUESTION
    clocks.wait(1)
    check = code(lambda: ledger.consents.validate_question(asked.id, BINDING))
    assert check == "confirmation_expired"


@pytest.mark.parametrize("name", ["asked_at", "question_number", "typed_confirmation"])
def test_a_question_without_one_of_its_values_has_expired(ledger: Ledger, name: str):
    asked = ledger.consents.issue_question(BINDING, QUESTION, 60.0)
    change(ledger, f"UPDATE confirmations SET {name} = NULL")
    check = code(lambda: ledger.consents.validate_question(asked.id, BINDING))
    assert check == "confirmation_expired"


def test_a_question_counts_for_its_call_and_kind_and_once(ledger: Ledger):
    asked = ledger.consents.issue_question(BINDING, QUESTION, 60.0)
    preview = ledger.consents.issue(BINDING, "Refund 97", "facts")

    def check(id_: str, binding: Binding = BINDING) -> str:
        return code(lambda: ledger.consents.validate_question(id_, binding))

    assert check(asked.id, replace(BINDING, arguments="other")) == "confirmation_mismatch"
    assert check(preview.id) == "confirmation_mismatch"
    assert check("made-up") == "confirmation_mismatch"
    wanted = intent(consent="elicitation", confirmation_id=asked.id)
    ledger.begin(wanted, LIMITS, BINDING)
    assert check(asked.id) == "confirmation_used"
    used = rows(ledger, "SELECT hash FROM confirmations WHERE used_by = ?", wanted.id)
    assert used == [{"hash": confirmations.hash_text(asked.id)}]
    entry: Any = ledger.get(wanted.id)
    assert entry["confirmation"] == confirmations.hash_text(asked.id)


# What a confirmation is bound to


FIELDS = {
    "tool": "another tool",
    "arguments": "other arguments",
    "connection": "another connection",
    "connection_created": "created again",
    "action": "another action",
    "revision": "another revision",
    "policy": "another policy",
    "repeat": "`repeat`",
    "requester": "another person",
}


@pytest.mark.parametrize("name", FIELDS)
def test_each_field_of_a_binding_is_compared_and_named_alone(name: str):
    other = replace(BINDING, **{name: True if name == "repeat" else "else"})
    for one, two in ((BINDING, other), (other, BINDING)):
        (words,) = confirmations.describe_differences(one, two)
        assert FIELDS[name] in words
    assert confirmations.describe_differences(other, other) == []


def test_a_refusal_names_every_difference(ledger: Ledger):
    id_ = ledger.consents.issue(BINDING, "Refund 97", "facts").id
    other = replace(BINDING, tool="else", policy="else")
    refused = refusal_of(lambda: ledger.consents.validate(id_, other, "Refund 97", "question"))
    assert refused.code == "confirmation_mismatch"
    for words in ("a preview and ", "another tool and ", "another policy"):
        assert words in refused.message
    assert "arguments" not in refused.message


def test_a_binding_is_stored_in_the_spelling_of_the_first_version():
    stored = confirmations.serialize_binding
    assert "repeat" not in stored(BINDING)
    assert "requester" not in stored(BINDING)
    assert '"repeat":true' in stored(replace(BINDING, repeat=True))
    assert "requester" not in stored(replace(BINDING, repeat=True))
    assert '"requester":"ann"' in stored(replace(BINDING, requester="ann"))
    assert "repeat" not in stored(replace(BINDING, requester="ann"))


@pytest.mark.parametrize("binding", [replace(BINDING, repeat=True), BINDING])
@pytest.mark.parametrize("requester", ["", "ann"])
def test_a_stored_binding_is_read_as_it_was_written(ledger: Ledger, binding, requester):
    bound = replace(binding, requester=requester)
    ledger.consents.issue(bound, "Refund 97", "facts")
    with ledger._store.read_transaction() as transaction:
        row = transaction.fetch_one("SELECT binding FROM confirmations")
        assert confirmations.binding_of_row(row) == bound


# The summary and the id


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        ("Caf\u00e9 97", True),
        ("Cafe\u0301 97", True),
        (" Caf\u00e9\n\t97 ", True),
        ("Caf\u00e997", False),
        ("caf\u00e9 97", False),
        ("Cafe 97", False),
        ("", False),
    ],
    ids=["same", "composed", "white space", "joined", "small", "no accent", "empty"],
)
def test_a_summary_is_compared_by_its_words(ledger: Ledger, said: str, *, counts: bool):
    id_ = ledger.consents.issue(BINDING, "Caf\u00e9  97", "facts").id
    check = code(lambda: ledger.consents.validate(id_, BINDING, said))
    assert check == ("runs" if counts else "confirmation_mismatch")


def test_words_of_a_summary_stay_apart():
    assert confirmations.normalize_summary(" a\n b\u00a0c ") == "a b c"


def test_a_lone_surrogate_of_a_client_is_a_text_like_another(ledger: Ledger):
    id_ = ledger.consents.issue(BINDING, "Refund \ud800", "facts").id
    assert ledger.consents.validate(id_, BINDING, "Refund \ud800") == "facts"
    check = code(lambda: ledger.consents.validate(id_, BINDING, "Refund \ud801"))
    assert check == "confirmation_mismatch"
    assert code(lambda: ledger.consents.validate("\ud800", BINDING, "")) == "confirmation_mismatch"


def test_an_id_is_random_and_its_hash_alone_is_kept(ledger: Ledger):
    issued = ledger.consents.issue(BINDING, " Refund\n97", "facts", ttl=60.0)
    assert len(issued.id) == 24
    assert rows(ledger, "SELECT * FROM confirmations") == [
        {
            "hash": confirmations.hash_text(issued.id),
            "kind": "two_step",
            "binding": confirmations.serialize_binding(BINDING),
            "summary": confirmations.hash_text("Refund 97"),
            "facts": "facts",
            "made_at": START,
            "expires_at": START + 60,
            "used_by": None,
            "asked_at": None,
            "question_number": None,
            "typed_confirmation": None,
        }
    ]


def test_an_id_without_another_time_is_valid_for_ten_minutes(ledger: Ledger):
    assert ledger.consents.issue(BINDING, "Refund 97", "facts").expires_at == START + 600


def test_old_ids_are_deleted_when_one_is_issued(ledger: Ledger, clocks: Clocks):
    for kept in (60.0, 61.0):
        ledger.consents.issue(BINDING, "Refund 97", "facts", ttl=kept)
    clocks.wait(60 + 30 * 86_400)
    ledger.consents.issue(BINDING, "Refund 97", "facts")
    assert len(rows(ledger, "SELECT hash FROM confirmations")) == 3
    clocks.wait(0.5)
    ledger.consents.issue(BINDING, "Refund 97", "facts")
    ended = [row["expires_at"] for row in rows(ledger, "SELECT expires_at FROM confirmations")]
    assert START + 60 not in ended
    assert START + 61 in ended


# What invalidates an id


def test_an_id_that_a_write_used_stays_that_of_the_write(ledger: Ledger):
    used = ledger.consents.issue(BINDING, "Refund 97", "facts")
    free = ledger.consents.issue(BINDING, "Refund 97", "facts")
    kept = ledger.consents.issue(BINDING, "Refund 97", "facts")
    wanted = intent(consent="two_step", confirmation_id=used.id)
    ledger.begin(wanted, LIMITS, BINDING)
    for id_ in (used.id, free.id):
        ledger.consents.revoke(id_)
    sql = "SELECT used_by FROM confirmations WHERE hash = ?"

    def user_of(id_: str) -> Any:
        return rows(ledger, sql, confirmations.hash_text(id_))[0]["used_by"]

    assert [user_of(one.id) for one in (used, free, kept)] == [wanted.id, "void", None]
    ledger.consents.revoke_all("other")
    assert user_of(kept.id) is None
    ledger.consents.revoke_all("c")
    assert [user_of(one.id) for one in (used, free, kept)] == [wanted.id, "void", "void"]


# Which consent needs which id

PREVIEW, ASKED, UNKNOWN = "preview", "question", "unknown"
CONSENTS = [
    ("none", None, "runs"),
    ("none", UNKNOWN, "runs"),
    ("flag", None, "runs"),
    ("flag", UNKNOWN, "runs"),
    ("two_step", None, "confirmation_mismatch"),
    ("two_step", UNKNOWN, "confirmation_mismatch"),
    ("two_step", ASKED, "confirmation_mismatch"),
    ("two_step", PREVIEW, "runs"),
    ("elicitation", None, "runs"),
    ("elicitation", UNKNOWN, "confirmation_mismatch"),
    ("elicitation", PREVIEW, "confirmation_mismatch"),
    ("elicitation", ASKED, "runs"),
]


@pytest.mark.parametrize(("consent", "which", "expected"), CONSENTS)
def test_each_consent_needs_an_id_of_its_kind(ledger: Ledger, consent, which, expected):
    ids = {
        None: None,
        UNKNOWN: "made-up",
        PREVIEW: ledger.consents.issue(BINDING, "Refund 97", "facts").id,
        ASKED: ledger.consents.issue_question(BINDING, QUESTION, 60.0).id,
    }
    wanted = intent(consent=consent, confirmation_id=ids[which])
    assert code(lambda: ledger.begin(wanted, LIMITS, BINDING)) == expected
    used = rows(ledger, "SELECT kind FROM confirmations WHERE used_by IS NOT NULL")
    is_used = expected == "runs" and which in (PREVIEW, ASKED)
    kind = {PREVIEW: "two_step", ASKED: "question"}
    assert used == ([{"kind": kind[which]}] if is_used else [])


@pytest.mark.parametrize("consent", ["two_step", "elicitation"])
def test_an_id_without_a_binding_of_the_call_does_not_count(ledger: Ledger, consent):
    kind = confirmations.KIND_OF[consent]
    id_ = ledger.consents.issue(BINDING, "", "facts", kind).id
    wanted = intent(consent=consent, confirmation_id=id_)
    assert code(lambda: ledger.begin(wanted, LIMITS)) == "confirmation_mismatch"
    assert code(lambda: ledger.begin(wanted, LIMITS, BINDING)) == "runs"


# Declines


def test_a_decline_records_its_key_as_a_hash_its_reason_and_its_end(ledger: Ledger, clocks: Clocks):
    about = {"tool": "kartra_refund_transaction", "target": "101"}
    ledger.consents.block(["one", "two"], "declined", 60.0, about)
    found = rows(ledger, "SELECT key, why, until FROM blocks ORDER BY until, why, key")
    hashes = sorted(confirmations.hash_text(key) for key in ("one", "two"))
    assert found == [{"key": key, "why": "declined", "until": START + 60} for key in hashes]
    entry: Any = ledger.latest("consent")
    wanted = {**about, "event": "declined", "key": confirmations.hash_text("two")}
    assert entry == {**wanted, "until": START + 60, "at": START}
    clocks.wait(10)
    ledger.consents.block("two", "dismissed")
    until = {row["why"]: row["until"] for row in rows(ledger, "SELECT why, until FROM blocks")}
    assert until == {"declined": START + 60, "dismissed": START + 610}


def test_a_decline_has_one_of_two_reasons(ledger: Ledger):
    wrong: Any = "refused"
    with pytest.raises(AssertionError, match="refused"):
        ledger.consents.block("one", wrong)
    assert rows(ledger, "SELECT key FROM blocks") == []


def test_a_step_of_the_wall_clock_does_not_end_a_decline(ledger: Ledger, clocks: Clocks):
    ledger.consents.block(make_identity_key(intent()), "declined")
    clocks.step(10_000)
    refused = refusal_of(lambda: ledger.begin(intent(), LIMITS))
    assert refused.code == "declined"
    assert " for 11 min" in refused.message
    clocks.wait(599)
    assert code(lambda: ledger.begin(intent(), LIMITS)) == "declined"
    clocks.wait(1)
    assert code(lambda: ledger.begin(intent(), LIMITS)) == "runs"


def test_an_id_ends_by_the_clock_by_which_more_time_has_passed(ledger: Ledger, clocks: Clocks):
    id_ = ledger.consents.issue(BINDING, "Refund 97", "facts").id
    ledger.append_note("start", {})
    clocks.step(600)
    check = code(lambda: ledger.consents.validate(id_, BINDING, "Refund 97"))
    assert check == "confirmation_expired"


def test_a_confirmation_that_is_used_serves_no_second_write_of_any_outcome(ledger: Ledger):
    id_ = ledger.consents.issue(BINDING, "Assign", "facts").id
    first = intent("1", consent="two_step", confirmation_id=id_, risk=Risk.WRITE)
    ledger.begin(first, LIMITS, BINDING)
    ledger.finish(first.id, Answer("refused", Executed.NO))
    second = intent("2", consent="two_step", confirmation_id=id_, risk=Risk.WRITE)
    assert code(lambda: ledger.begin(second, LIMITS, BINDING)) == "confirmation_used"
    assert ledger.get(second.id) is None
