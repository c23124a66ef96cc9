"""Writes that the ledger admits or refuses: each reason alone, their order, what is consumed.

Over the store of one user alone: `test_ledger.py` and the tests of a team have both stores.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kartra_mcp.core.models import Executed, Risk
from kartra_mcp.core.principal import make_token_key
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.people import make_requester
from kartra_mcp.ledger.pseudonyms import mask_lead
from kartra_mcp.ledger.records import Answer, Intent, IntentPart
from kartra_mcp.ledger.revocations import Admin
from kartra_mcp.policy.limits import Limits
from tests.ledger_intents import BINDING, LIMITS, begin, code, decline, intent, refusal_of, run, tag
from tests.team_people import (
    ANN,
    BOB,
    ISSUER,
    Time,
    approve_as,
    approved_intent,
    binding_of,
    person,
    request_of,
)

DAY = 86_400.0
IDA = Admin("Ida IT")
EVE = person("eve", "requester")
ADA = "ada@example.com"
NONE = Limits(cap_day_count=0)


# The order of the reasons


def with_all_reasons(ledger: Ledger) -> Intent:
    """A refund that every check refuses: each test lifts some of the reasons."""
    run(ledger, intent())
    decline(ledger, intent())
    ledger.revocations.revoke(ANN.key, IDA, "stolen")
    return intent(consent="two_step", requester=make_requester(ANN), mail=200)


LIFTED: list[tuple[tuple[str, ...], str]] = [
    ((), "forbidden_role"),
    (("access",), "confirmation_mismatch"),
    (("access", "consent"), "declined"),
    (("access", "consent", "decline"), "already_done"),
    (("access", "consent", "decline", "repeat"), "cap_reached"),
    (("access", "consent", "decline", "repeat", "cap"), "cap_reached"),
    (("access", "consent", "decline", "repeat", "cap", "mail"), "runs"),
]


@pytest.mark.parametrize(("lifted", "expected"), LIFTED, ids=[str(len(x)) for x, _ in LIFTED])
def test_the_first_reason_is_told_and_the_next_once_it_is_lifted(
    ledger: Ledger, clock: Time, lifted: tuple[str, ...], expected: str
):
    wanted = with_all_reasons(ledger)
    limits = LIMITS if "cap" in lifted else NONE
    if "access" in lifted:
        ledger.revocations.release(ANN.key, IDA, "found")
    if "consent" in lifted:
        wanted = replace(wanted, consent="none")
    if "decline" in lifted:
        clock.at += 600
    if "repeat" in lifted:
        wanted = replace(wanted, target="102")
    if "mail" in lifted:
        wanted = replace(wanted, mail=100)
    before = ledger.entry_count()
    assert begin(ledger, wanted, limits) == expected
    assert (ledger.get(wanted.id) is not None) is (expected == "runs")
    assert ledger.entry_count() == before + (expected == "runs")


def test_a_preflight_tells_what_no_consent_lifts(ledger: Ledger, clock: Time):
    wanted = with_all_reasons(ledger)

    def preflight(one: Intent, limits: Limits) -> str:
        return code(lambda: ledger.preflight(one, limits))

    assert preflight(wanted, NONE) == "forbidden_role"
    ledger.revocations.release(ANN.key, IDA, "found")
    assert preflight(wanted, NONE) == "declined"
    clock.at += 600
    assert preflight(wanted, NONE) == "already_done"
    other = replace(wanted, target="102")
    assert preflight(other, NONE) == "cap_reached"
    assert preflight(other, LIMITS) == "runs"


def test_repeats_are_found_whatever_the_caps_are(ledger: Ledger, clock: Time):
    run(ledger, intent("1"))
    decline(ledger, intent("2"))
    wanted = [intent("3"), intent(" 1 "), intent("2")]

    def codes(limits: Limits) -> list[str]:
        found = ledger.find_repeats(wanted, limits)
        return ["" if one is None else one.code for one in found]

    assert codes(NONE) == ["", "already_done", "declined"]
    clock.at += 600
    assert codes(NONE) == ["", "already_done", ""]
    clock.at += DAY
    limits = Limits(repeat_window_days=1)
    assert codes(limits) == ["", "", ""]
    assert codes(replace(limits, repeat_window_days=2)) == ["", "already_done", ""]


@pytest.mark.parametrize("revoked", ["person", "token"])
def test_a_revoked_person_or_token_begins_nothing(ledger: Ledger, revoked: str):
    token = make_token_key(ISSUER, "stolen")
    ledger.revocations.revoke(ANN.key if revoked == "person" else token, IDA, "stolen")
    by_token = make_requester(replace(ANN, token_key=token))
    assert begin(ledger, intent(requester=by_token)) == "forbidden_role"
    plain = begin(ledger, intent(requester=make_requester(ANN)))
    assert plain == ("forbidden_role" if revoked == "person" else "runs")
    assert begin(ledger, intent("2", requester=make_requester(EVE))) == "runs"
    assert begin(ledger, intent("3")) == "runs"


@pytest.mark.parametrize(
    ("asker", "bound_to", "expected"),
    [
        (None, "", "runs"),
        (ANN, ANN.key, "runs"),
        (None, ANN.key, "confirmation_mismatch"),
        (ANN, "", "confirmation_mismatch"),
        (ANN, EVE.key, "confirmation_mismatch"),
        (ANN, None, "runs"),
    ],
    ids=["user", "own", "user with a person's", "person with a user's", "another", "no binding"],
)
def test_a_consent_serves_the_person_that_asked_for_it(ledger: Ledger, asker, bound_to, expected):
    wanted = intent(consent="flag", requester=make_requester(asker))
    burns = None if bound_to is None else replace(BINDING, requester=bound_to)
    assert begin(ledger, wanted, burns=burns) == expected


# What is consumed


def test_an_approval_is_consumed_and_an_id_beside_it_is_not(ledger: Ledger):
    number = ledger.approvals.request(request_of(ANN))
    approve_as(ledger, number, BOB)
    id_ = ledger.consents.issue(binding_of(ANN), "Refund", "facts").id
    wanted = approved_intent(ANN, number, confirmation_id=id_)
    assert begin(ledger, wanted, burns=binding_of(ANN)) == "runs"
    found: Any = ledger.approvals.get(number)
    assert (found.used_by, found.facts, found.summary) == (wanted.id, {}, "")
    assert ledger.consents.validate(id_, binding_of(ANN), "Refund") == "facts"


def test_an_id_is_consumed_and_an_approval_beside_it_is_not(ledger: Ledger):
    number = ledger.approvals.request(request_of(ANN))
    approve_as(ledger, number, BOB)
    id_ = ledger.consents.issue(binding_of(ANN), "Refund", "facts").id
    wanted = replace(approved_intent(ANN, number, confirmation_id=id_), consent="two_step")
    assert begin(ledger, wanted, burns=binding_of(ANN)) == "runs"
    found: Any = ledger.approvals.get(number)
    assert (found.state, found.used_by) == ("approved", None)
    check = code(lambda: ledger.consents.validate(id_, binding_of(ANN), "Refund"))
    assert check == "confirmation_used"


# Declines


def test_a_decline_holds_under_every_name_of_a_lead(ledger: Ledger):
    ledger.leads.remember("c", ADA, "7")
    decline(ledger, tag("7"))
    assert begin(ledger, tag(mask_lead(ADA, ledger.leads.hash(ADA)))) == "declined"
    assert begin(ledger, tag("7")) == "declined"
    assert begin(ledger, tag(mask_lead(ADA, ledger.leads.hash("eve@example.com")))) == "runs"
    assert begin(ledger, tag("7", connection="d")) == "runs"


def test_a_decline_of_a_call_without_a_target_is_that_of_its_arguments(ledger: Ledger):
    bare: dict[str, Any] = {"target": None, "risk": Risk.WRITE, "operation": "create_lead"}
    decline(ledger, intent(**bare, arguments_digest="one"))
    assert begin(ledger, intent(**bare, arguments_digest="one")) == "declined"
    assert begin(ledger, intent(**bare, arguments_digest="two")) == "runs"


def parts(*targets: str) -> tuple[IntentPart, ...]:
    refund: dict[str, Any] = {"operation": "refund_transaction", "target_kind": "transaction"}
    return tuple(IntentPart(risk=Risk.IRREVERSIBLE, target=one, **refund) for one in targets)


def test_a_chain_is_refused_for_each_of_its_commands(ledger: Ledger):
    run(ledger, intent("1"))
    decline(ledger, intent("2"))

    def chain(*targets: str) -> str:
        return begin(ledger, intent(targets[0], None, parts=parts(*targets)))

    assert chain("3", "1") == "already_done"
    assert chain("1", "3") == "already_done"
    assert chain("3", "2") == "declined"
    assert chain("2", "3") == "declined"
    assert chain("3", "4") == "runs"


# Outcomes


def test_a_write_whose_owner_let_go_is_unknown_and_says_so(ledger: Ledger):
    wanted = intent(undo="undo it")
    ledger.begin(wanted, LIMITS).close()
    assert ledger.mark_orphans_unknown() == [wanted.id]
    entry: Any = ledger.get(wanted.id)
    assert entry["state"] == entry["executed"] == "unknown"
    assert entry["action_run_id"] is None
    assert entry["detail"] == {"settled": "its server and its program have ended"}
    outcome = entry["lines"][-1]
    assert (outcome["intent"], outcome["undo"]) == (wanted.id, "")


def test_an_answer_to_a_write_that_has_one_names_write_and_state(ledger: Ledger):
    answer = Answer("succeeded", Executed.YES)
    done = run(ledger, intent())
    for id_, state in ((done, "succeeded"), ("int_none", "not in the ledger")):
        refused = refusal_of(lambda id_=id_: ledger.finish(id_, answer))
        assert refused.code == "internal_error"
        assert f"{id_} is {state};" in refused.message


def test_only_an_unknown_outcome_is_reconciled(ledger: Ledger):
    states = {state: run(ledger, intent(state), state) for state in ("succeeded", "failed")}
    running = intent("running")
    ledger.begin(running, LIMITS)
    for id_, expected, words in (
        (states["succeeded"], "invalid_arguments", "is succeeded"),
        (states["failed"], "invalid_arguments", "is failed"),
        ("int_none", "invalid_arguments", "is not in the ledger"),
        (running.id, "in_progress", "is still running"),
    ):
        refused = refusal_of(lambda id_=id_: ledger.reconcile(id_, "failed", {}))
        assert (refused.code, id_ in refused.message) == (expected, True)
        assert words in refused.message
    unknown = run(ledger, intent("unknown"), "unknown")
    ledger.reconcile(unknown, "succeeded", {"seen": "yes"})
    entry: Any = ledger.get(unknown)
    assert (entry["state"], entry["evidence"]) == ("succeeded", {"seen": "yes"})
