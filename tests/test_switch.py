"""The switch of writes, on both stores: who pulls it, how two people resume, what still runs."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from kartra_mcp.core.models import Executed, Risk
from kartra_mcp.core.principal import Role
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.records import Answer
from tests.harness import Sandbox, call, connect
from tests.ledger_intents import LIMITS, attempt, code, intent
from tests.ledger_stores import Place
from tests.team_people import (
    ANN,
    BOB,
    CARL,
    Time,
    approve_as,
    approved_intent,
    binding_of,
    person,
    request_of,
)

ADMIN = person("it", "admin")
DAY = 86_400.0


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def ledger(ledger_place: Place, clock: Time) -> Generator[Ledger]:
    with closing(ledger_place.open(clock)) as made:
        yield made


def test_a_stop_refuses_every_write_and_names_who_pulled_it(ledger: Ledger):
    ledger.switch.stop(ANN, "wrong refunds")
    wanted = intent(risk=Risk.WRITE)
    for refused in (
        lambda: ledger.begin(wanted, LIMITS),
        lambda: ledger.preflight(wanted, LIMITS),
        ledger.switch.require_running,
    ):
        assert code(refused) == "writes_stopped"
    found: Any = ledger.switch.find_stop()
    assert (found.who, found.person, found.reason) == ("Ann", ANN.key, "wrong refunds")
    refusal: Any = None
    with ledger._store.read_transaction() as transaction:
        refusal = ledger.switch.find_refusal(transaction)
    assert refusal.executed is Executed.NO
    assert refusal.message.startswith("Ann stopped all writes of this account at 2027-")
    assert refusal.detail["reason"] == "wrong refunds"
    assert ledger.verify().ok


def test_a_stop_between_approval_and_call_refuses_the_call(ledger: Ledger):
    number = ledger.approvals.request(request_of(ANN))
    approve_as(ledger, number, BOB)
    ledger.switch.stop(CARL, "audit")
    wanted = approved_intent(ANN, number)
    assert code(lambda: ledger.begin(wanted, LIMITS, binding_of(ANN))) == "writes_stopped"
    ledger.switch.resume(BOB)
    ledger.switch.resume(CARL)
    assert code(lambda: ledger.begin(wanted, LIMITS, binding_of(ANN))) == "runs"


def test_a_running_write_still_records_its_outcome(ledger: Ledger):
    wanted = intent()
    ledger.begin(wanted, LIMITS)
    ledger.switch.stop(ANN, "audit")
    ledger.finish(wanted.id, Answer("succeeded", Executed.YES))
    assert ledger.export()[0]["state"] == "succeeded"


def test_two_different_people_resume(ledger: Ledger):
    ledger.switch.stop(ANN, "audit")
    waiting: Any = ledger.switch.resume(BOB)
    assert waiting.resume.who == "Bob"
    renamed = replace(BOB, name="Robert")
    assert code(lambda: ledger.switch.resume(renamed)) == "confirmation_used"
    assert attempt(ledger) == "writes_stopped"
    assert ledger.switch.resume(ADMIN) is None
    assert attempt(ledger) == "runs"
    assert ledger.verify().ok


def test_a_new_stop_resets_a_request_to_resume(ledger: Ledger):
    ledger.switch.stop(ANN, "audit")
    ledger.switch.resume(BOB)
    ledger.switch.stop(CARL, "again")
    waiting: Any = ledger.switch.resume(ADMIN)
    assert waiting.resume.who == "It"
    assert attempt(ledger) == "writes_stopped"


def test_a_request_to_resume_ends_after_a_day(ledger: Ledger, clock: Time):
    ledger.switch.stop(ANN, "audit")
    ledger.switch.resume(BOB)
    clock.at += DAY
    waiting: Any = ledger.switch.resume(CARL)
    assert waiting.resume.who == "Carl"


ROLES: dict[Role, tuple[str, str]] = {
    "viewer": ("forbidden_role", "forbidden_role"),
    "auditor": ("forbidden_role", "forbidden_role"),
    "operator": ("runs", "forbidden_role"),
    "requester": ("runs", "forbidden_role"),
    "approver": ("runs", "runs"),
    "admin": ("runs", "runs"),
}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_stops_or_resumes_as_its_rights_permit(ledger: Ledger, role: Role):
    stops, resumes = ROLES[role]
    assert code(lambda: ledger.switch.stop(person("eve", role), "x")) == stops
    ledger.switch.stop(ANN, "audit")
    assert code(lambda: ledger.switch.resume(person("eve", role))) == resumes


def test_a_machine_pulls_nothing_and_a_stop_needs_a_reason(ledger: Ledger):
    machine = person("nightly", "admin", is_user=False)
    assert code(lambda: ledger.switch.stop(machine, "x")) == "forbidden_role"
    assert code(lambda: ledger.switch.stop(ADMIN, " \n ")) == "invalid_arguments"
    assert code(lambda: ledger.switch.resume(ADMIN)) == "invalid_arguments"
    assert attempt(ledger) == "runs"


def test_another_process_sees_a_stop_at_once(ledger: Ledger, ledger_place: Place, clock: Time):
    with closing(ledger_place.open(clock)) as other:
        assert other.switch.find_stop() is None
        ledger.switch.stop(ANN, "audit")
        assert attempt(other) == "writes_stopped"


@pytest.mark.anyio
async def test_writes_off_refuses_each_write_of_a_single_user(sandbox: Sandbox, protocol_version):
    sandbox.settings["WRITES"] = "off"
    async with connect(sandbox, protocol_version) as client:
        read = await call(client, "kartra_get_lead", email="ada@example.com")
        assert read.result["lead_details"]["id"] == "48110"
        before = sandbox.dump()
        tagged = await call(
            client, "kartra_assign_tag", email="ada@example.com", tag_name="VIP", confirm=True
        )
        refund = await call(client, "kartra_refund_transaction", transaction_id=101, confirm=True)
        assert {(one.code, one.executed) for one in (tagged, refund)} == {("writes_stopped", "no")}
        assert "KARTRA_MCP_WRITES" in str(tagged.error)
        assert sandbox.dump() == before
        status = await call(client, "kartra_status")
        assert status.result["ledger"]["usable"] is False
