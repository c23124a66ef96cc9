"""Agreement that was not given, or to something else: refused by its own code, nothing done.

Both ways of agreeing: the two calls, and in the newer era a question's sealed state and its answer.
"""

from __future__ import annotations

import json
import time
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from consent_actors import (
    CANCEL,
    REFUND,
    UNHURRIED,
    Person,
    changed,
    confirmed,
    events,
    lines,
    sandbox,
    story,
    twice,
)
from harness import CONNECTION, Answer, Sandbox, StandIn, action, both_eras, call, connect, healthy
from mcp_types import CallToolResult, ElicitResult, InputRequiredResult, TextContent

from kartra_mcp.core.timings import CallTimings, Clocks, read_steady_clock

pytestmark = pytest.mark.anyio

NEWER = "2026-07-28"
SALE = {"transaction_id": 105, "refund_amount": 30}


@pytest.fixture
def place(tmp_path) -> Sandbox:
    return sandbox(tmp_path / "state")


def refunds(place: Sandbox, sale: int = 105) -> list[int]:
    sql = "SELECT cents FROM transactions WHERE parent_id = ? AND type LIKE '%refund' ORDER BY id"
    return [cents for (cents,) in place.rows(sql, sale)]


def refund_aside(place: Sandbox, sale: int, amount: float) -> None:
    """Refund without this server, as another user of the account does."""
    commands = [{"cmd": "refund_transaction", "transaction_id": sale, "refund_amount": amount}]
    connection = place.rows("SELECT id FROM connections ORDER BY rowid LIMIT 1")[0][0]
    body = json.dumps({"actions": commands})
    place.arrange("request", connection, "/api", "--method=POST", f"--data={body}", "--json")


# The second call, made of the first one's answer.
Second = Callable[[Mapping[str, Any]], dict[str, Any]]


def said(**instead: Any) -> Second:
    def second(shown: Mapping[str, Any]) -> dict[str, Any]:
        words = {"confirmation_id": shown["id"], "confirmation_summary": shown["summary"]}
        return {**SALE, "confirm": True, **words, **instead}

    return second


def summary(change: Callable[[str], str]) -> Second:
    return lambda shown: said(confirmation_summary=change(shown["summary"]))(shown)


FALSE: dict[str, tuple[Second, str]] = {
    "an id that was made up": (said(confirmation_id="A" * 24), "confirmation_mismatch"),
    "an id cut short": (
        lambda shown: said(confirmation_id=shown["id"][:-1])(shown),
        "confirmation_mismatch",
    ),
    "another summary": (said(confirmation_summary="REFUND 1.00"), "confirmation_mismatch"),
    "no summary": (said(confirmation_summary=None), "confirmation_mismatch"),
    "a summary in lower case": (summary(str.lower), "confirmation_mismatch"),
    "half a summary": (summary(lambda text: text[:60]), "confirmation_mismatch"),
    "another amount": (said(refund_amount=31), "confirmation_mismatch"),
    "no amount": (
        lambda shown: {n: v for n, v in said()(shown).items() if n != "refund_amount"},
        "confirmation_mismatch",
    ),
    "another sale": (said(transaction_id=101), "confirmation_mismatch"),
    "a field more": (said(note="x"), "invalid_arguments"),
    "confirm is a word": (said(confirm="true"), "confirmation_required"),
    "confirm is 1": (said(confirm=1), "confirmation_required"),
    "confirm is missing": (said(confirm=None), "confirmation_required"),
    "no id": (said(confirmation_id=None), "confirmation_required"),
}


async def test_false_words(place: Sandbox):
    before = place.dump()
    async with connect(place, "legacy") as client:
        shown = (await call(client, REFUND, **SALE)).error["confirmation"]
        for name, (second, code) in FALSE.items():
            answer = await call(client, REFUND, **second(shown))
            assert (name, answer.code, answer.executed) == (name, code, "no")
        assert place.dump() == before
        assert lines(place, "intent") == []
        done = await call(client, REFUND, **said()(shown))
    assert not done.failed, done.text
    assert refunds(place) == [5000, 3000]


async def test_at_once_without_a_preview(place: Sandbox, protocol_version):
    before = place.dump()
    async with connect(place, protocol_version) as client:
        made_up = {"confirmation_id": "made-up", "confirmation_summary": "REFUND FULL 97.00"}
        answer = await call(client, REFUND, transaction_id=101, confirm=True, **made_up)
        assert answer.code == "confirmation_mismatch"
        alone = await call(client, REFUND, transaction_id=101, confirm=True)
        assert alone.code == "confirmation_required"
    assert place.dump() == before
    assert story(place) == {}


SPELLED: dict[str, Callable[[str], str]] = {
    "white space": lambda text: "  " + text.replace(" ", "\n ") + "\t",
    "NFD": lambda text: unicodedata.normalize("NFD", text),
    "blanks that do not break": lambda text: text.replace(" ", "\u00a0"),
}


@pytest.mark.parametrize("name", SPELLED)
async def test_the_same_summary_in_another_spelling(place: Sandbox, name):
    async with connect(place, "legacy") as client:
        preview = await call(client, REFUND, **SALE)
        text = preview.error["confirmation"]["summary"]
        words = confirmed(preview, confirmation_summary=SPELLED[name](text))
        answer = await call(client, REFUND, **SALE, **words)
    assert not answer.failed, answer.text


async def test_the_same_arguments_in_another_spelling(place: Sandbox):
    async with connect(place, "legacy") as client:
        preview = await call(client, REFUND, **SALE)
        spelled = {"transaction_id": " 0105 ", "refund_amount": "30.00"}
        answer = await call(client, REFUND, **spelled, **confirmed(preview))
    assert not answer.failed, answer.text
    assert refunds(place) == [5000, 3000]


async def test_another_tool(place: Sandbox):
    before = place.dump()
    async with connect(place, "legacy") as client:
        preview = await call(client, REFUND, transaction_id=102)
        answer = await call(client, CANCEL, transaction_id=102, **confirmed(preview))
    assert answer.code == "confirmation_mismatch"
    assert place.dump() == before


@pytest.mark.parametrize("how", ["ten minutes later", "the clock went back"])
async def test_an_id_whose_time_is_not_now(place: Sandbox, protocol_version, how):
    before = place.dump()
    async with connect(place, protocol_version) as client:
        preview = await call(client, REFUND, **SALE)
        if how == "ten minutes later":
            shift = "expires_at = expires_at - 601, made_at = made_at - 601"
        else:
            shift = "expires_at = expires_at + 3600, made_at = made_at + 3600"
        changed(place, f"UPDATE confirmations SET {shift}")
        answer = await call(client, REFUND, **SALE, **confirmed(preview))
    assert answer.code == "confirmation_expired"
    assert place.dump() == before
    assert story(place) == {}


async def test_an_id_counts_once(place: Sandbox, protocol_version):
    async with connect(place, protocol_version) as client:
        preview = await call(client, REFUND, **SALE)
        assert not (await call(client, REFUND, **SALE, **confirmed(preview))).failed
        again = await call(client, REFUND, **SALE, **confirmed(preview))
    assert again.code == "confirmation_used"
    assert refunds(place) == [5000, 3000]
    assert story(place) == {REFUND: ("two_step", "succeeded")}


async def test_one_id_in_two_calls_at_once(place: Sandbox, protocol_version):
    codes = []

    async def second(client, words):
        answer = await call(client, REFUND, **SALE, **words)
        codes.append(answer.code if answer.failed else "done")

    async with connect(place, protocol_version) as one, connect(place, protocol_version) as other:
        preview = await call(one, REFUND, **SALE)
        async with anyio.create_task_group() as calls:
            for client in (one, other, one, other):
                calls.start_soon(second, client, confirmed(preview))
    assert codes.count("done") == 1, codes
    assert set(codes) <= {"done", "confirmation_used", "in_progress", "already_done"}
    assert refunds(place) == [5000, 3000]
    assert len(lines(place, "intent")) == 1


async def test_an_id_survives_a_restart(place: Sandbox, protocol_version):
    async with connect(place, protocol_version) as client:
        preview = await call(client, REFUND, **SALE)
    async with connect(place, protocol_version) as client:
        answer = await call(client, REFUND, **SALE, **confirmed(preview))
    assert not answer.failed, answer.text
    assert refunds(place) == [5000, 3000]


@pytest.mark.parametrize(
    "settings",
    [
        {"CAP_REFUND": "5000"},
        {"GATE_DESTRUCTIVE": "preview"},
        {"DENY": "kartra_create_lead"},
        {"REPEAT_WINDOW_DAYS": "31"},
        {"APPROVAL": "outside"},
    ],
    ids=str,
)
async def test_an_id_of_another_policy(place: Sandbox, settings):
    before = place.dump()
    async with connect(place, "legacy") as client:
        preview = await call(client, REFUND, **SALE)
    place.settings |= settings
    async with connect(place, "legacy") as client:
        answer = await call(client, REFUND, **SALE, **confirmed(preview))
    assert answer.code == "confirmation_mismatch"
    assert "another policy" in answer.error["message"]
    assert place.dump() == before


ACTION = action(
    "refund-transaction",
    revision="r1",
    inputSchema={"type": "object", "properties": {"transaction_id": {"type": "integer"}}},
)
OTHERS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "another connection": ({**CONNECTION, "id": "c2"}, ACTION, "another connection"),
    "made anew": ({**CONNECTION, "createdAt": "2026-11-01T00:00:00Z"}, ACTION, "created again"),
    "another revision": (CONNECTION, {**ACTION, "revision": "r2"}, "another revision"),
    "another action": (CONNECTION, {**ACTION, "id": "other"}, "another action"),
}


@pytest.mark.parametrize("name", OTHERS)
async def test_an_id_of_another(tmp_path: Path, name):
    connection, entry, why = OTHERS[name]
    place = StandIn(tmp_path / "stand-in", {"RATE": "0"}).plan(**healthy(ACTION))
    async with connect(place, "legacy") as client:
        preview = await call(client, REFUND, transaction_id=101)
        assert preview.code == "confirmation_required", preview.text
    place.settings["CONNECTION"] = connection["id"]
    lists: dict[str, Any] = {
        "connection_list": {"out": {"items": [connection]}},
        "connection_get": {"out": connection},
        "action_list": {"out": {"items": [entry]}},
    }
    place.plan(**lists)
    async with connect(place, "legacy") as client:
        answer = await call(client, REFUND, transaction_id=101, **confirmed(preview))
    assert answer.code == "confirmation_mismatch", answer.text
    assert why in answer.error["message"]
    assert not [words for words in place.runs() if "id-refund-transaction" in words]
    assert lines(place, "intent") == []


@pytest.mark.parametrize("noticed", ["by a restart", "within the server"])
async def test_an_id_of_before_the_connection_left_ready(place: Sandbox, noticed):
    async with connect(place, "legacy") as client:
        preview = await call(client, REFUND, **SALE)
        identity = place.rows("SELECT id FROM connections ORDER BY n LIMIT 1")[0][0]
        place.arrange("connection", "set-state", identity, "CONFIGURATION_ERROR")
        if noticed == "within the server":
            gone = await call(client, REFUND, **SALE, **confirmed(preview))
            assert (gone.code, gone.executed) == ("connection_not_ready", "no")
    if noticed == "by a restart":
        async with connect(place, "legacy") as client:
            gone = await call(client, REFUND, **SALE, **confirmed(preview))
            assert (gone.code, gone.executed) == ("connection_not_ready", "no")
    place.arrange("connection", "set-state", identity, "READY")
    async with connect(place, "legacy") as client:
        answer = await call(client, REFUND, **SALE, **confirmed(preview))
    assert answer.code == "confirmation_used"
    assert refunds(place) == [5000]
    assert story(place) == {}


async def test_the_account_changed_since_the_preview(place: Sandbox, protocol_version):
    async with connect(place, protocol_version) as client:
        preview = await call(client, REFUND, **SALE)
        refund_aside(place, 105, 10)
        answer = await call(client, REFUND, **SALE, **confirmed(preview))
        assert answer.code == "facts_changed"
        assert answer.error["confirmation"]["facts"]["remaining"] == "190.00"
        assert refunds(place) == [5000, 1000]
        again = await call(client, REFUND, **SALE, **confirmed(preview))
        assert again.code == "facts_changed"
        done = await call(client, REFUND, **SALE, **confirmed(answer))
    assert not done.failed, done.text
    assert refunds(place) == [5000, 1000, 3000]


async def test_refunded_meanwhile(place: Sandbox, protocol_version):
    async with connect(place, protocol_version) as client:
        preview = await call(client, REFUND, transaction_id=101)
        refund_aside(place, 101, 97)
        answer = await call(client, REFUND, transaction_id=101, **confirmed(preview))
    assert (answer.code, answer.executed) == ("already_done", "no")
    assert refunds(place, 101) == [9700]
    assert story(place) == {}


async def test_cancelled_already(place: Sandbox, protocol_version):
    before = place.dump()
    async with connect(place, protocol_version) as client:
        answer = await call(client, CANCEL, subscription_id=203)
    assert answer.code == "already_done"
    assert place.dump() == before


# Questions of the older era.


@both_eras
async def test_the_account_changes_while_the_human_thinks(place: Sandbox, protocol_version):
    class Slow(Person):
        async def __call__(self, context: Any, params: Any) -> Any:
            if len(self.asked) == 0:
                refund_aside(place, 105, 10)
            return await super().__call__(context, params)

    person = Slow()
    async with connect(place, protocol_version, elicitation_callback=person) as client:
        answer = await call(client, REFUND, **SALE)
    assert not answer.failed, answer.text
    assert ["remaining: 200.00" in p.message for p in person.asked] == [True, False]
    assert refunds(place) == [5000, 1000, 3000]


@both_eras
async def test_an_account_that_keeps_changing(place: Sandbox, protocol_version):
    class Slow(Person):
        async def __call__(self, context: Any, params: Any) -> Any:
            refund_aside(place, 105, 10 + len(self.asked))
            return await super().__call__(context, params)

    person = Slow()
    async with connect(place, protocol_version, elicitation_callback=person) as client:
        answer = await call(client, REFUND, **SALE)
    assert answer.code == "facts_changed"
    assert len(person.asked) == 2
    assert refunds(place) == [5000, 1000, 1100]
    assert story(place) == {}


@both_eras
async def test_refunded_while_the_human_thinks(place: Sandbox, protocol_version):
    class Slow(Person):
        async def __call__(self, context: Any, params: Any) -> Any:
            refund_aside(place, 101, 97)
            return await super().__call__(context, params)

    async with connect(place, protocol_version, elicitation_callback=Slow()) as client:
        answer = await call(client, REFUND, transaction_id=101)
    assert answer.code == "already_done"
    assert refunds(place, 101) == [9700]
    assert story(place) == {}


TYPED = {
    "97.00": "",
    " 97 ": "",
    "97.0": "",
    "96.00": "declined",
    "": "declined",
    "yes": "declined",
    "97,00": "declined",
    "197.00": "declined",
}


@pytest.mark.parametrize("typed", TYPED)
async def test_the_amount_typed(tmp_path, typed):
    place = sandbox(tmp_path, GATE_IRREVERSIBLE="human")
    before = place.dump()
    person = Person(amount=typed)
    async with connect(place, "legacy", elicitation_callback=person) as client:
        answer = await call(client, REFUND, transaction_id=101)
    assert (answer.code if answer.failed else "") == TYPED[typed]
    assert (place.dump() == before) == bool(TYPED[typed])


@both_eras
async def test_the_typed_text_is_compared_with_the_shown_facts(tmp_path, protocol_version):
    """The remaining amount changed during the typing: a new question, and no decline."""
    place = sandbox(tmp_path, GATE_IRREVERSIBLE="human")

    class Slow(Person):
        async def __call__(self, context: Any, params: Any) -> Any:
            if not self.asked:
                refund_aside(place, 105, 10)
            return await super().__call__(context, params)

    person = Slow()
    async with connect(place, protocol_version, elicitation_callback=person) as client:
        answer = await call(client, REFUND, transaction_id=105)
    assert not answer.failed, answer.text
    assert len(person.asked) == 2
    assert refunds(place) == [5000, 1000, 19000]


@both_eras
async def test_the_host_blocks_nothing(place: Sandbox, protocol_version):
    host, person = Person(after=0), Person()
    async with connect(
        place, protocol_version, timings=UNHURRIED, elicitation_callback=host
    ) as client:
        assert (await call(client, REFUND, **SALE)).code == "answered_by_host"
    async with connect(place, protocol_version, elicitation_callback=person) as client:
        assert not (await call(client, REFUND, **SALE)).failed
    assert events(place) == ["answered_by_host"]


@both_eras
async def test_a_decline_holds_for_ten_minutes_for_every_client(place: Sandbox, protocol_version):
    async with connect(place, protocol_version) as client:
        preview = await call(client, REFUND, **SALE)
    async with connect(place, protocol_version, elicitation_callback=Person("decline")) as client:
        assert (await call(client, REFUND, **SALE)).code == "declined"
    clocks = MovedClocks()
    async with connect(place, protocol_version, clocks=clocks.both) as client:
        assert (await call(client, REFUND, **SALE, **confirmed(preview))).code == "declined"
        assert (await call(client, REFUND, transaction_id=105)).code == "declined"
        other = await call(client, REFUND, transaction_id=101)
        assert other.code == "confirmation_required"
        clocks.ahead = 600
        assert not (await twice(client, REFUND, **SALE)).failed


async def test_a_no_holds_under_a_looser_gate(place: Sandbox):
    async with connect(place, "legacy", elicitation_callback=Person("cancel")) as client:
        assert (await call(client, REFUND, **SALE)).code == "dismissed"
    for gate in ("allow", "flag"):
        place.settings["GATE_IRREVERSIBLE"] = gate
        async with connect(place, "legacy") as client:
            assert (await call(client, REFUND, **SALE, confirm=True)).code == "dismissed"
    assert refunds(place) == [5000]


# Questions of the newer era, with the answers made by hand.

Asked = CallToolResult | InputRequiredResult


class MovedClocks:
    """The real clocks, and so many seconds more."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.both = Clocks(
            lambda: time.time() + self.ahead, lambda: read_steady_clock() + self.ahead
        )


class ByHand:
    """A client of the newer era that answers what it likes, when it likes."""

    def __init__(self, client: Any, clocks: MovedClocks):
        self.session = client.session
        self.clocks = clocks

    def later(self, seconds: float) -> None:
        """Let so many seconds pass, by both clocks."""
        self.clocks.ahead += seconds

    async def send(
        self, answer: ElicitResult | None = None, state: str | None = None, **given: Any
    ) -> Asked:
        return await self.session.call_tool(
            REFUND,
            {**SALE, **given},
            input_responses=None if answer is None else {"consent": answer},
            request_state=state,
            allow_input_required=True,
        )

    async def ask(self, **given: Any) -> str:
        question = await self.send(**given)
        assert isinstance(question, InputRequiredResult)
        assert question.request_state
        return question.request_state

    async def code(self, *said: Any, **given: Any) -> str:
        result = await self.send(*said, **given)
        assert isinstance(result, CallToolResult), result
        assert isinstance(result.content[0], TextContent)
        answer = Answer(bool(result.is_error), result.content[0].text, result.structured_content)
        return answer.code if answer.failed else "done"


YES = ElicitResult(action="accept", content={"confirm": True})
NO = ElicitResult(action="decline")


@pytest.fixture
async def by_hand(place: Sandbox):
    real, clocks = CallTimings(), MovedClocks()
    async with connect(
        place, NEWER, timings=real, clocks=clocks.both, elicitation_callback=Person()
    ) as client:
        yield ByHand(client, clocks)


@pytest.mark.parametrize("asked_with", [False, True])
async def test_a_question_is_bound_to_repeat(place: Sandbox, by_hand: ByHand, asked_with):
    """Bug: a question asked without `repeat` was answered by a call with it: paid twice."""
    before = place.dump()
    state = await by_hand.ask(repeat=asked_with)
    by_hand.later(2)
    assert await by_hand.code(YES, state, repeat=not asked_with) == "confirmation_mismatch"
    assert place.dump() == before
    assert await by_hand.code(YES, state, repeat=asked_with) == "done"


async def test_answers_that_were_not_asked_for(place: Sandbox, by_hand: ByHand):
    before = place.dump()
    assert await by_hand.code(YES) == "confirmation_mismatch"
    assert await by_hand.code(YES, "made-up") == "confirmation_mismatch"
    state = await by_hand.ask()
    assert await by_hand.code(YES) == "confirmation_mismatch"
    assert await by_hand.code(None, state) == "confirmation_mismatch"
    by_hand.later(2)
    assert await by_hand.code(YES, state + "A") == "confirmation_mismatch"
    assert await by_hand.code(YES, state.swapcase()) == "confirmation_mismatch"
    assert await by_hand.code(YES, state, refund_amount=31) == "confirmation_mismatch"
    assert await by_hand.code(YES, state, transaction_id=101) == "confirmation_mismatch"
    assert place.dump() == before
    assert lines(place, "intent") == []
    assert await by_hand.code(YES, state) == "done"


async def test_an_answer_replayed(place: Sandbox, by_hand: ByHand):
    state = await by_hand.ask()
    by_hand.later(2)
    assert await by_hand.code(YES, state) == "done"
    assert await by_hand.code(YES, state) == "confirmation_used"
    assert refunds(place) == [5000, 3000]


@pytest.mark.parametrize(
    ("first", "code", "age"),
    [(YES, "answered_by_host", 0), (NO, "answered_by_host", 0), (NO, "declined", 2)],
)
async def test_a_second_answer_to_one_question(place: Sandbox, by_hand: ByHand, first, code, age):
    state = await by_hand.ask()
    by_hand.later(age)
    assert await by_hand.code(first, state) == code
    by_hand.later(2)
    assert await by_hand.code(YES, state) == "confirmation_used"
    assert refunds(place) == [5000]
    assert events(place) == [code]


async def test_a_no_counts_though_something_else_stands_in_the_way(place: Sandbox, by_hand: ByHand):
    """A cap reached meanwhile does not leave the question open for another answer."""
    state = await by_hand.ask()
    by_hand.later(2)
    refund_aside(place, 105, 200)
    assert await by_hand.code(NO, state) == "declined"
    assert await by_hand.code(YES, state) == "confirmation_used"


async def test_an_answer_that_comes_too_late(place: Sandbox, by_hand: ByHand):
    state = await by_hand.ask()
    by_hand.later(241)
    assert await by_hand.code(YES, state) == "confirmation_expired"
    assert refunds(place) == [5000]


async def test_a_state_is_not_accepted_as_a_confirmation_id(place: Sandbox, by_hand: ByHand):
    state = await by_hand.ask()
    async with connect(place, NEWER) as client:
        words = {"confirmation_id": state, "confirmation_summary": "a question to the person"}
        answer = await call(client, REFUND, **SALE, confirm=True, **words)
        assert answer.code == "confirmation_mismatch"
        preview = await call(client, REFUND, **SALE)
    given = preview.error["confirmation"]["id"]
    by_hand.later(2)
    assert await by_hand.code(YES, given) == "confirmation_mismatch"
    assert refunds(place) == [5000]


async def test_one_state_in_two_calls_at_once(place: Sandbox, by_hand: ByHand):
    codes: list[str] = []

    async def answer():
        codes.append(await by_hand.code(YES, state))

    state = await by_hand.ask()
    by_hand.later(2)
    async with anyio.create_task_group() as calls:
        for _ in range(3):
            calls.start_soon(answer)
    assert codes.count("done") == 1, codes
    assert refunds(place) == [5000, 3000]


async def test_a_client_that_declares_nothing_cannot_answer(place: Sandbox):
    clocks = MovedClocks()
    async with connect(place, NEWER, elicitation_callback=Person()) as client:
        state = await ByHand(client, clocks).ask()
    clocks.ahead = 2
    async with connect(place, NEWER, clocks=clocks.both) as client:
        assert await ByHand(client, clocks).code(YES, state) == "confirmation_required"
    assert refunds(place) == [5000]
