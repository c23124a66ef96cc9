"""Items of bulk runs in the ledger: what a declined run blocks, and what an agreed one admits.

Over the store of one user alone: `test_ledger.py` and the tests of a team have both stores.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kartra_mcp.core.models import Risk
from kartra_mcp.ledger.bulk_records import (
    BulkItem,
    BulkRun,
    ItemCheck,
    identify_item,
    identify_run,
    make_bulk_id,
)
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.records import Intent
from tests.ledger_intents import BINDING, LIMITS, TAG, begin, decline, run, tag
from tests.team_people import (
    ANN,
    BOB,
    Time,
    approve_as,
    approved_intent,
    binding_of,
    request_of,
)

DAY = 86_400.0


def planned(ledger: Ledger, *digests: str, request: str = "r" * 64) -> BulkRun:
    plan = BulkRun(
        *(make_bulk_id(), "kartra_assign_tag", "assign_tag", Risk.WRITE, "c", request),
        state="planned",
        made_at=0.0,
    )
    items = [BulkItem(number, number, {"id": number}) for number in range(len(digests))]
    checks = [
        ItemCheck(number=number, state="waiting", digest=digest, risk=Risk.WRITE)
        for number, digest in enumerate(digests)
    ]
    ledger.bulk.create(plan, items, checks)
    return ledger.bulk.seal_plan(plan.id, risk=Risk.WRITE, facts={}, binding=BINDING)


def decline_names(ledger: Ledger, names: Any) -> None:
    decline(ledger, tag(**names._asdict()))


def test_the_items_of_a_declined_run_do_not_run_one_by_one(ledger: Ledger, clock: Time):
    plan = planned(ledger, "one", "two")
    decline_names(ledger, identify_run(plan))
    for digest in ("one", "two"):
        assert begin(ledger, tag(arguments_digest=digest)) == "declined"
    assert begin(ledger, tag("8", arguments_digest="three")) == "runs"
    assert begin(ledger, tag("8", arguments_digest="one", connection="d")) == "runs"
    clock.at += 600
    assert begin(ledger, tag(arguments_digest="one")) == "runs"


def test_a_declined_item_does_not_run_and_the_others_do(ledger: Ledger):
    plan = planned(ledger, "one", "two")
    decline_names(ledger, identify_item(plan, 1))
    assert begin(ledger, tag("1", arguments_digest="one")) == "runs"
    assert begin(ledger, tag("2", arguments_digest="two")) == "declined"


def test_of_several_runs_with_a_call_one_that_was_declined_is_enough(ledger: Ledger):
    planned(ledger, "one", request="s" * 64)
    decline_names(ledger, identify_run(planned(ledger, "one", request="t" * 64)))
    planned(ledger, "one", request="u" * 64)
    assert begin(ledger, tag(arguments_digest="one")) == "declined"


@pytest.mark.parametrize("consent", ["elicitation", "approval", "two_step", "flag", "none"])
def test_a_person_who_agrees_to_one_item_may_run_it(ledger: Ledger, consent: Any):
    plan = planned(ledger, "one")
    decline_names(ledger, identify_run(plan))
    number = ledger.approvals.request(request_of(ANN))
    approve_as(ledger, number, BOB)
    wanted = approved_intent(ANN, number, **{**TAG, "target": "7", "arguments_digest": "one"})
    if consent == "two_step":
        id_ = ledger.consents.issue(binding_of(ANN), "Assign", "facts").id
        wanted = replace(wanted, confirmation_id=id_)
    by_person = consent in ("elicitation", "approval")
    done = begin(ledger, replace(wanted, consent=consent), burns=binding_of(ANN))
    assert done == ("runs" if by_person else "declined")


@pytest.mark.parametrize(("age", "expected"), [(DAY - 1, "declined"), (DAY, "runs")])
def test_a_plan_of_the_last_day_counts(ledger: Ledger, clock: Time, age: float, expected: str):
    plan = planned(ledger, "one")
    clock.at += age
    decline_names(ledger, identify_run(plan))
    assert begin(ledger, tag(arguments_digest="one")) == expected


def agreed(ledger: Ledger, plan: BulkRun) -> None:
    whole = tag(**identify_run(plan)._asdict(), consent="flag")
    ledger.bulk.agree(plan.id, whole, LIMITS)


def item(plan: BulkRun, number: int, digest: str, **more: Any) -> Intent:
    return tag(str(number), bulk=plan.id, item=number, arguments_digest=digest, **more)


def test_an_item_of_an_agreed_run_rests_on_the_consent_of_the_run(ledger: Ledger):
    plan = planned(ledger, "one", "two")
    decline_names(ledger, identify_run(planned(ledger, "one", request="s" * 64)))
    assert begin(ledger, item(plan, 0, "one"), burns=BINDING) == "bulk_paused"
    agreed(ledger, plan)
    id_ = ledger.consents.issue(BINDING, "Assign", "facts").id
    first = item(plan, 0, "one", consent="two_step", confirmation_id=id_)
    assert begin(ledger, first, burns=BINDING) == "runs"
    assert ledger.consents.validate(id_, BINDING, "Assign") == "facts"
    assert begin(ledger, item(plan, 1, "other"), burns=BINDING) == "bulk_paused"
    second = item(plan, 1, "two", consent="two_step", confirmation_id="made-up")
    assert begin(ledger, second, burns=BINDING) == "runs"


def test_an_additive_item_is_no_repeat_of_a_write_before_the_plan(ledger: Ledger, clock: Time):
    points: dict[str, Any] = {"operation": "give_points", "additive": True, "equality": "5"}

    def done(target: str) -> None:
        run(ledger, tag(target, **points))

    done("0")
    clock.at += 100
    plan = planned(ledger, "one", "two", "three")
    agreed(ledger, plan)
    clock.at += 10
    done("1")
    clock.at += 100
    assert begin(ledger, item(plan, 0, "one", **points), burns=BINDING) == "runs"
    assert begin(ledger, item(plan, 1, "two", **points), burns=BINDING) == "already_done"
    assert begin(ledger, tag("1", **points)) == "runs"
