"""Caps of an account, a person and a role at their bounds, and the limits of mail.

Over the store of one user alone: `test_ledger.py` and `test_team_caps.py` have both stores.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.people import make_requester
from kartra_mcp.ledger.records import Intent
from kartra_mcp.policy.limits import NO_CAPS, GroupCaps, Limits
from tests.ledger_intents import TAG, begin, intent, refusal_of, run, tag
from tests.team_people import (
    ANN,
    BOB,
    Time,
    approve_as,
    approved_intent,
    binding_of,
    person,
    request_of,
)

DAY, HOUR = 86_400.0, 3_600.0
EVE = person("eve", "requester")
OTTO = person("otto", "operator")


def capped(ledger: Ledger, wanted: Intent, limits: Limits) -> str:
    """The name of the cap that refuses a call, another code, or "runs"."""
    try:
        ledger.begin(wanted, limits)
    except RefusedError as refused:
        detail: Any = refused.detail
        return detail["cap"] if refused.code == "cap_reached" else refused.code
    return "runs"


def people(own: GroupCaps = NO_CAPS, role: GroupCaps = NO_CAPS) -> Limits:
    return Limits(cap_day_count=None, person=own, roles=(("requester", role),))


def by(who: Any, target: str, **more: Any) -> Intent:
    return intent(target, requester=make_requester(who), **more)


def test_only_what_cannot_be_undone_counts_for_the_caps_of_a_day(ledger: Ledger):
    one = Limits(cap_day_count=1, cap_day_amount=Decimal(0), person=GroupCaps(cap_day_count=0))
    for target in "12":
        wanted = tag(target, known_amount=Decimal(50), requester=make_requester(ANN))
        assert begin(ledger, wanted, one) == "runs"
    assert begin(ledger, intent("3", 0), one) == "runs"
    assert capped(ledger, intent("4", 0), one) == "KARTRA_MCP_CAP_DAY_COUNT"


@pytest.mark.parametrize("limit", ["account", "person", "role"])
@pytest.mark.parametrize(("age", "expected"), [(DAY - 1, "refused"), (DAY, "runs")])
@pytest.mark.parametrize("cap", ["day_count", "day_amount"])
def test_a_day_of_a_cap_ends_after_its_last_second(
    ledger: Ledger, clock: Time, limit: str, age: float, expected: str, cap: str
):
    caps: dict[str, Any] = {"cap_day_count": 1} if cap == "day_count" else {}
    caps |= {"cap_day_amount": Decimal(100)} if cap == "day_amount" else {}
    group = GroupCaps(**caps)
    limits, name = {
        "account": (replace(Limits(cap_day_count=None), **caps), f"KARTRA_MCP_CAP_{cap.upper()}"),
        "person": (people(own=group), f"[caps.person] {cap}"),
        "role": (people(role=group), f"[caps.role.requester] {cap}"),
    }[limit]
    assert capped(ledger, by(ANN, "1"), limits) == "runs"
    clock.at += age
    assert capped(ledger, by(ANN, "2"), limits) == (name if expected == "refused" else "runs")


def test_caps_of_people_hold_for_those_they_are_for(ledger: Ledger):
    limits = people(GroupCaps(cap_day_count=2), GroupCaps(cap_day_amount=Decimal(200)))
    assert capped(ledger, by(ANN, "1"), limits) == "runs"
    assert capped(ledger, by(ANN, "2"), limits) == "runs"
    assert capped(ledger, by(ANN, "3", amount=0), limits) == "[caps.person] day_count"
    assert capped(ledger, by(EVE, "3", amount=7), limits) == "[caps.role.requester] day_amount"
    assert capped(ledger, by(EVE, "3", amount=6), limits) == "runs"
    assert capped(ledger, by(OTTO, "4"), limits) == "runs"
    assert capped(ledger, intent("5"), limits) == "runs"


def test_the_cap_of_the_account_is_told_before_that_of_a_person(ledger: Ledger):
    zero = GroupCaps(cap_day_count=0)
    assert capped(ledger, by(ANN, "1"), replace(people(zero), cap_day_count=0)) == (
        "KARTRA_MCP_CAP_DAY_COUNT"
    )
    run(ledger, intent("1"))
    assert capped(ledger, by(ANN, "1"), people(zero)) == "already_done"
    assert capped(ledger, by(ANN, "2"), people(zero)) == "[caps.person] day_count"
    assert capped(ledger, by(ANN, "2"), people(role=zero)) == "[caps.role.requester] day_count"


# Mail


MAIL_CASES = [
    ("person", ANN, "[caps.person] mail_per_hour"),
    ("role", EVE, "[caps.role.requester] mail_per_hour"),
]
REST_CASES = [(3, 1, 0), (4, 2, 1), (2, 1, 0), (0, 1, 0), (5, 3, 2)]
"""A cap of which three were sent, what is wanted, and what is left."""


def mail_limits(which: str, cap: int) -> Limits:
    group = GroupCaps(mail_per_hour=cap)
    return people(own=group) if which == "person" else people(role=group)


@pytest.mark.parametrize(("which", "asker", "name"), MAIL_CASES, ids=["person", "role"])
@pytest.mark.parametrize("case", REST_CASES)
def test_mail_above_the_limit_of_people_is_refused_with_what_is_left(
    ledger: Ledger, which: str, asker: Any, name: str, case: tuple[int, int, int]
):
    cap, mail, left = case
    assert begin(ledger, by(ANN, "1", **{**TAG, "mail": 3})) == "runs"
    wanted = by(asker, "2", **{**TAG, "mail": mail})
    refused = refusal_of(lambda: ledger.begin(wanted, mail_limits(which, cap)))
    assert refused.code == "cap_reached"
    assert refused.detail == {"cap": name, "limit": cap, "left": left}
    assert ledger.get(wanted.id) is None
    assert begin(ledger, wanted, mail_limits(which, 3 + mail)) == "runs"


@pytest.mark.parametrize("which", ["person", "role"])
def test_only_an_approval_lifts_the_limit_of_mail_of_people(ledger: Ledger, which: str):
    limits = mail_limits(which, 0)
    number = ledger.approvals.request(request_of(ANN))
    approve_as(ledger, number, BOB)
    wanted = approved_intent(ANN, number, **{**TAG, "target": "1", "mail": 1})
    for consent in ("none", "flag", "elicitation"):
        one: Any = replace(wanted, consent=consent)
        assert begin(ledger, one, limits, binding_of(ANN)) == "cap_reached"
    assert begin(ledger, replace(wanted, mail=0, consent="flag"), limits) == "runs"
    second = replace(wanted, id="int_second", target="2")
    assert begin(ledger, second, limits, binding_of(ANN)) == "runs"


@pytest.mark.parametrize("limits", [mail_limits("person", 1), mail_limits("role", 1)])
def test_an_hour_of_mail_of_people_ends_after_its_last_second(
    ledger: Ledger, clock: Time, limits: Limits
):
    assert begin(ledger, by(ANN, "1", **TAG, mail=1), limits) == "runs"
    clock.at += HOUR - 1
    assert begin(ledger, by(ANN, "2", **TAG, mail=1), limits) == "cap_reached"
    assert begin(ledger, by(OTTO, "2", **TAG, mail=1), limits) == "runs"
    clock.at += 1
    assert begin(ledger, by(ANN, "3", **TAG, mail=1), limits) == "runs"


def test_the_first_limit_of_mail_that_is_passed_is_told(ledger: Ledger):
    zero = GroupCaps(mail_per_hour=0)
    every = replace(people(zero, zero), mail_per_hour=0)

    def told(limits: Limits, who: Any = ANN) -> str:
        return capped(ledger, by(who, "1", **TAG, mail=1), limits)

    assert told(every) == "KARTRA_MCP_MAIL_PER_HOUR"
    assert told(people(zero, zero)) == "[caps.person] mail_per_hour"
    assert told(people(role=zero)) == "[caps.role.requester] mail_per_hour"
    assert told(people(zero, GroupCaps(mail_per_hour=9))) == "[caps.person] mail_per_hour"
    assert told(people(role=zero), OTTO) == "runs"


def test_the_mails_of_the_last_hour_are_counted(ledger: Ledger, clock: Time):
    run(ledger, tag("1", mail=2))
    run(ledger, tag("2", mail=1), "failed")
    clock.at += HOUR - 1
    assert ledger.emails_last_hour() == 2
    run(ledger, tag("3", mail=3))
    assert ledger.emails_last_hour() == 5
    clock.at += 1
    assert ledger.emails_last_hour() == 3
