"""Caps, the mail limit and repeats through the door: at the preview and at the run."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import Any

import anyio
import pytest
from consent_actors import (
    REFUND,
    Person,
    confirmed,
    decided,
    events,
    lines,
    open_own_ledger,
    sandbox,
    twice,
)
from harness import Sandbox, both_eras, call, connect, sandbox_by

pytestmark = pytest.mark.anyio

GATES = ("allow", "flag", "preview")
SALE = {"transaction_id": 105, "refund_amount": 30}


@pytest.fixture(params=["cli", "api", "team"])
def made(request, tmp_path):
    """Makes the account of a test: behind its program or its API, or with the ledger of a team."""
    with ExitStack() as stack:

        def make(**settings: str) -> Sandbox:
            place = stack.enter_context(sandbox_by(request.param, sandbox(tmp_path, **settings)))
            if request.param == "team":
                place.ledger_place = request.getfixturevalue("team_database").make_empty()
            return place

        yield make


async def agreed(client, gate: str, **arguments: Any):
    """The call as its gate wants it, one way or the other."""
    if gate == "preview":
        first = await call(client, REFUND, **arguments)
        if first.code != "confirmation_required":
            return first
        return await call(client, REFUND, **arguments, **confirmed(first))
    return await call(client, REFUND, **arguments, confirm=True)


CAPS = {
    "one refund": ({"CAP_REFUND": "29.99"}, {}, "KARTRA_MCP_CAP_REFUND"),
    "all that is left": ({"CAP_REFUND": "199"}, {"refund_amount": None}, "KARTRA_MCP_CAP_REFUND"),
    "the sum of a day": ({"CAP_DAY_AMOUNT": "29.99"}, {}, "KARTRA_MCP_CAP_DAY_AMOUNT"),
    "the number of a day": ({"CAP_DAY_COUNT": "0"}, {}, "KARTRA_MCP_CAP_DAY_COUNT"),
}  # fmt: skip


@pytest.mark.parametrize("gate", [*GATES, "human"])
@pytest.mark.parametrize("name", CAPS)
async def test_a_cap_holds_at_the_preview(tmp_path, name, gate):
    settings, instead, cap = CAPS[name]
    place = sandbox(tmp_path, GATE_IRREVERSIBLE=gate, **settings)
    arguments = {n: v for n, v in {**SALE, **instead}.items() if v is not None}
    before = place.dump()
    person = Person(after=0)
    async with connect(place, "legacy", elicitation_callback=person) as client:
        answer = await call(client, REFUND, **arguments, confirm=True)
    assert (answer.code, answer.executed) == ("cap_reached", "no")
    assert answer.error["detail"]["cap"] == cap
    assert person.asked == []
    assert place.dump() == before
    assert lines(place, "intent") == []


async def test_within_the_caps(made):
    settings = {"CAP_REFUND": "30", "CAP_DAY_AMOUNT": "60", "CAP_DAY_COUNT": "2"}
    place = made(**settings)
    async with connect(place, "legacy") as client:
        assert not (await twice(client, REFUND, **SALE)).failed
        assert not (await twice(client, REFUND, transaction_id=101, refund_amount=30)).failed
        third = await call(client, REFUND, transaction_id=107, refund_amount="0.01")
    assert third.code == "cap_reached"


async def test_a_cap_reached_between_preview_and_run(made):
    """Both were previewed while there was room for one; one runs, whichever is first."""
    place = made(CAP_DAY_AMOUNT="50")
    other = {"transaction_id": 101, "refund_amount": 30}
    codes: list[str] = []

    async def second(arguments, words):
        answer = await call(client, REFUND, **arguments, **words)
        codes.append(answer.code if answer.failed else "done")

    async with connect(place, "legacy") as client:
        previews = [(given, await call(client, REFUND, **given)) for given in (SALE, other)]
        async with anyio.create_task_group() as calls:
            for given, preview in previews:
                calls.start_soon(second, given, confirmed(preview))
    assert sorted(codes) == ["cap_reached", "done"]
    assert len(lines(place, "intent")) == 1


async def test_an_amount_that_could_not_be_read_is_over_the_cap(made):
    place = made(CAP_REFUND="1000")
    place.arrange("fault", "set", "get_transaction_details", "access_denied", "--times=9")
    async with connect(place, "legacy") as client:
        answer = await call(client, REFUND, transaction_id=101)
        assert answer.code == "cap_reached"
        assert "could not be read" in answer.error["message"]
        said = await call(client, REFUND, transaction_id=101, refund_amount=5)
    assert said.code == "confirmation_required"


# Mail.

TAG = "kartra_assign_tag"


def tag(name: str) -> dict[str, Any]:
    return {"lead_id": 48129, "tag_name": name}


@both_eras
async def test_the_third_mail_of_an_hour_needs_a_human(made, protocol_version):
    place = made(MAIL_PER_HOUR="2")
    async with connect(place, protocol_version) as client:
        for name in ("VIP", "Newsletter"):
            assert not (await call(client, TAG, **tag(name))).failed
        third = await call(client, TAG, **tag("Affiliate"))
        assert third.code == "approval_required"
        assert "Affiliate" in third.error["confirmation"]["summary"]
        points = {"method": "POST", "path": "/api"}
        command = {"cmd": "give_points_to_lead", "points": 5}
        body = {"lead": {"id": 48129}, "actions": [command]}
        assert not (await call(client, "kartra_proxy_write", **points, json=body)).failed
        mail = {"lead": {"id": 48129}, "actions": [{"cmd": "assign_tag", "tag_name": "Affiliate"}]}
        aside = await call(client, "kartra_proxy_write", **points, json=mail)
        assert aside.code == "approval_required"
    person = Person()
    async with connect(place, protocol_version, elicitation_callback=person) as client:
        asked = await call(client, TAG, **tag("Affiliate"))
    assert not asked.failed, asked.text
    assert person.asked[0].requested_schema["properties"]["id"]["title"].endswith(" 48129")
    found = place.rows("SELECT count(*) FROM lead_tags WHERE lead_id = 48129")
    assert found == [(3,)]
    assert [line["consent"] for line in lines(place, "intent")][-1] == "elicitation"
    assert events(place) == ["approval_asked", "approval_asked"]


async def test_a_chain_counts_every_mail_in_it(made):
    """Bug: one raw request of thirty tags counted as one mail."""
    place = made(MAIL_PER_HOUR="2")
    tags = [{"cmd": "assign_tag", "tag_name": n} for n in ("VIP", "Newsletter", "Affiliate")]
    request = {"method": "POST", "path": "/api"}
    async with connect(place, "legacy") as client:
        body = {"lead": {"id": 48129}, "actions": tags}
        chain = await call(client, "kartra_proxy_write", **request, json=body)
        assert (chain.code, chain.executed) == ("approval_required", "no")
        body = {"lead": {"id": 48129}, "actions": tags[:2]}
        assert not (await call(client, "kartra_proxy_write", **request, json=body)).failed
        assert (await call(client, TAG, **tag("Affiliate"))).code == "approval_required"
    assert place.rows("SELECT count(*) FROM lead_tags WHERE lead_id = 48129") == [(2,)]


async def test_mails_that_race_stay_within_the_limit(made):
    place = made(MAIL_PER_HOUR="2")
    codes: list[str] = []

    async def one(name):
        answer = await call(client, TAG, **tag(name))
        codes.append(answer.code if answer.failed else "done")

    async with connect(place, "legacy") as client, anyio.create_task_group() as calls:
        for name in ("VIP", "Newsletter", "Affiliate", "Customer", "Watercolour"):
            calls.start_soon(one, name)
    assert codes.count("done") == 2
    assert set(codes) <= {"done", "cap_reached", "approval_required"}


# Repeats.


@pytest.mark.parametrize("gate", GATES)
async def test_an_equal_refund_needs_repeat_and_a_preview(made, protocol_version, gate):
    place = made(GATE_IRREVERSIBLE=gate)
    async with connect(place, protocol_version) as client:
        first = await agreed(client, gate, **SALE)
        assert not first.failed, first.text
        again = await agreed(client, gate, **{**SALE, "refund_amount": "30.00"})
        assert (again.code, again.executed) == ("already_done", "no")
        assert again.error["first"]["amount"] == "30.00"
        bare = await call(client, REFUND, **SALE, repeat=True, confirm=True)
        assert bare.code == "confirmation_required"
        assert bare.error["confirmation"]["facts"]["refunded_so_far"] == "80.00"
        unsaid = await call(client, REFUND, **SALE, **confirmed(bare))
        assert unsaid.code == ("confirmation_mismatch" if gate == "preview" else "already_done")
        second = await call(client, REFUND, **SALE, repeat=True, **confirmed(bare))
        assert not second.failed, second.text
        third = await call(client, REFUND, **SALE, repeat=True, **confirmed(bare))
        assert third.code == "confirmation_used"
        other = await agreed(client, gate, **{**SALE, "refund_amount": 29})
        assert not other.failed, other.text
    paid = place.rows("SELECT cents FROM transactions WHERE parent_id = 105 ORDER BY id")
    assert paid == [(5000,), (3000,), (3000,), (2900,)]
    assert [line["repeat"] for line in lines(place, "intent")] == [False, True, False]


@pytest.mark.parametrize("made_with", [False, True])
async def test_a_preview_is_bound_to_repeat(made, made_with):
    """Bug: a preview made without `repeat` was accepted by a call with it: paid twice."""
    place = made()
    given = {"transaction_id": 105, "refund_amount": 29}
    async with connect(place, "legacy") as client:
        preview = await call(client, REFUND, **given, repeat=made_with)
        assert preview.code == "confirmation_required"
        other = await call(client, REFUND, **given, repeat=not made_with, **confirmed(preview))
        assert (other.code, other.executed) == ("confirmation_mismatch", "no")
        assert "repeat" in other.error["message"]
        same = await call(client, REFUND, **given, repeat=made_with, **confirmed(preview))
        assert not same.failed, same.text
    assert len(place.rows("SELECT id FROM transactions WHERE parent_id = 105")) == 2


@pytest.mark.parametrize("made_with", [False, True])
async def test_an_approval_is_bound_to_repeat(made, made_with):
    place = made(GATE_IRREVERSIBLE="human")
    given = {"transaction_id": 105, "refund_amount": 29}
    async with connect(place, "legacy") as client:
        asked = await call(client, REFUND, **given, repeat=made_with)
        assert asked.code == "approval_required"
        with closing(open_own_ledger(place)) as ledger:
            decided(
                ledger, asked.error["confirmation"]["number"], approve=True, reason="", who="ada"
            )
        other = await call(client, REFUND, **given, repeat=not made_with)
        assert (other.code, other.executed) == ("approval_required", "no")
        same = await call(client, REFUND, **given, repeat=made_with)
        assert not same.failed, same.text
    assert len(place.rows("SELECT id FROM transactions WHERE parent_id = 105")) == 2


@pytest.mark.parametrize("gate", GATES)
async def test_a_full_refund_never_repeats(made, gate):
    place = made(GATE_IRREVERSIBLE=gate)
    async with connect(place, "legacy") as client:
        assert not (await agreed(client, gate, transaction_id=101)).failed
        for more in ({}, {"repeat": True}, {"refund_amount": 97}, {"refund_amount": 1}):
            again = await agreed(client, gate, transaction_id=101, **more)
            assert again.code == "already_done"
            assert again.error["first"]
    assert place.rows("SELECT cents FROM transactions WHERE parent_id = 101") == [(9700,)]


@both_eras
async def test_a_human_may_repeat(made, protocol_version):
    place = made()
    async with connect(place, protocol_version, elicitation_callback=Person()) as client:
        assert not (await call(client, REFUND, **SALE)).failed
        assert (await call(client, REFUND, **SALE)).code == "already_done"
        assert not (await call(client, REFUND, **SALE, repeat=True)).failed
    paid = place.rows("SELECT cents FROM transactions WHERE parent_id = 105 ORDER BY id")
    assert paid == [(5000,), (3000,), (3000,)]
