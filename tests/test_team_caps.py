"""Caps of a person and of a role, on both stores, counted in the commit of the intent."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Gate, Risk
from kartra_mcp.core.principal import Principal
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.people import make_requester
from kartra_mcp.policy.limits import NO_CAPS, GroupCaps, Limits
from kartra_mcp.policy.policy_file import parse_policy_file
from tests.ledger_intents import intent
from tests.ledger_stores import Place
from tests.team_people import ANN, person

EVE = person("eve", "requester")
OPERATOR = person("otto", "operator")


@pytest.fixture
def ledger(ledger_place: Place) -> Generator[Ledger]:
    with closing(ledger_place.open()) as made:
        yield made


def limits(person: GroupCaps = NO_CAPS, requester: GroupCaps = NO_CAPS) -> Limits:
    return Limits(cap_day_count=None, person=person, roles=(("requester", requester),))


def attempt(ledger: Ledger, caps: Limits, who: Principal | None, **more: Any) -> str:
    """The cap that refuses a call, another code, or "runs"."""
    requester = None if who is None else make_requester(who)
    try:
        ledger.begin(intent(requester=requester, **more), caps)
    except RefusedError as refused:
        detail: Any = refused.detail
        return detail["cap"] if refused.code == "cap_reached" else refused.code
    return "runs"


def test_the_largest_refund_of_a_person_holds_for_each_alone(ledger: Ledger):
    caps = limits(GroupCaps(cap_refund=Decimal(50)))
    assert attempt(ledger, caps, ANN, target="1") == "[caps.person] refund"
    assert attempt(ledger, caps, None, target="1") == "runs"


def test_the_sum_of_a_day_is_counted_by_person(ledger: Ledger):
    caps = limits(GroupCaps(cap_day_amount=Decimal(100)))
    assert attempt(ledger, caps, ANN, target="1") == "runs"
    assert attempt(ledger, caps, ANN, target="2") == "[caps.person] day_amount"
    assert attempt(ledger, caps, EVE, target="2") == "runs"


def test_the_number_of_a_day_is_counted_by_role(ledger: Ledger):
    caps = limits(requester=GroupCaps(cap_day_count=1))
    assert attempt(ledger, caps, ANN, target="1") == "runs"
    assert attempt(ledger, caps, EVE, target="2") == "[caps.role.requester] day_count"
    assert attempt(ledger, caps, OPERATOR, target="2") == "runs"
    assert attempt(ledger, caps, None, target="3") == "runs"


def test_mail_is_counted_by_person_and_a_form_does_not_lift_it(ledger: Ledger):
    caps = limits(GroupCaps(mail_per_hour=1))
    mail: dict[str, Any] = {"risk": Risk.WRITE, "mail": 1, "equality": "x"}
    assert attempt(ledger, caps, ANN, target="1", **mail) == "runs"
    named = "[caps.person] mail_per_hour"
    assert attempt(ledger, caps, ANN, target="2", **mail) == named
    assert attempt(ledger, caps, ANN, target="2", consent="elicitation", **mail) == named
    assert attempt(ledger, caps, EVE, target="2", **mail) == "runs"


def test_the_caps_of_the_account_hold_too(ledger: Ledger):
    caps = Limits(cap_refund=Decimal(10), person=GroupCaps(cap_refund=Decimal(500)))
    assert attempt(ledger, caps, ANN) == "KARTRA_MCP_CAP_REFUND"


FILE = """
[caps]
refund = 250
[caps.person]
refund = 100.00
mail_per_hour = 5
[caps.role.requester]
day_amount = 500
day_count = 3
"""


def test_the_policy_file_sets_them():
    found = parse_policy_file(FILE)
    assert found.errors == ()
    assert found.caps == {"cap_refund": Decimal(250)}
    assert found.person == GroupCaps(cap_refund=Decimal("100.00"), mail_per_hour=5)
    assert found.roles == (("requester", GroupCaps(cap_day_amount=Decimal(500), cap_day_count=3)),)


@pytest.mark.parametrize(
    "text",
    [
        "[caps]\nperson = 5",
        "[caps]\nrole = 5",
        "[caps.person]\nrefunds = 5",
        "[caps.person]\nrefund = 'much'",
        "[caps.role]\nrequester = 5",
        "[caps.role.boss]\nrefund = 5",
        "[caps.role.requester]\nday_count = 1.5",
        "[caps.people]\nrefund = 5",
    ],
)
def test_a_bad_value_closes_all_writes(text: str):
    found = parse_policy_file(text)
    assert found.errors
    assert found.gates[Risk.WRITE] is Gate.DENY


def test_a_bad_limit_becomes_the_strictest():
    found = parse_policy_file("[caps.person]\nrefund = 'much'\nday_count = -1")
    assert found.person == GroupCaps(cap_refund=Decimal(0), cap_day_count=0)
