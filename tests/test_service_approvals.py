"""Approval by a second person over MCP: who asks, who decides, and what runs once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from harness import APISandbox
from service_world import LEGACY, MODERN, Caller, TeamWorld, team_world

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.principal import Role
from kartra_mcp.ledger.approval_records import Approval
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.people import ApproverLogin, TeamDecision

REFUND, BULK, BULK_STATUS = "kartra_refund_transaction", "kartra_bulk_run", "kartra_bulk_status"
NUMBERS = count(1)


@dataclass
class Shop:
    """One account of the world, and what its people do there."""

    world: TeamWorld
    account: str

    @property
    def place(self) -> APISandbox:
        return self.world.sandboxes[self.account]

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.world.replicas[0].replica.stores[self.account])

    def person(self, *roles: Role, era: str = MODERN, is_user: bool = True) -> Caller:
        name = f"person-{next(NUMBERS)}"
        return self.world.caller(name, self.account, *roles, era=era, is_user=is_user)

    def decide(self, number: int, who: Caller, typed: str, reason: str = "") -> Approval:
        """Decide as the page does after a login; a reason declines."""
        asked: Any = self.ledger.approvals.get(number)
        login = ApproverLogin(self.world.people.known[who.token][1], time.time())
        decision = TeamDecision(not reason, asked.fingerprint, typed, reason)
        return self.ledger.approvals.decide_as(number, login, decision)

    def refunds(self, transaction: int) -> list[Any]:
        return self.place.rows(
            "SELECT cents FROM transactions WHERE parent_id = ? AND type LIKE '%refund'",
            transaction,
        )


@pytest.fixture(scope="module")
def shop(team_database: Any) -> Iterator[Shop]:
    with TemporaryDirectory() as folder, team_world(Path(folder), team_database) as world:
        account = world.add_account("Main shop")
        for _ in range(2):
            world.start_replica()
        yield Shop(world, account)


def other(shop: Shop, caller: Caller) -> Caller:
    """Return the same person at the other replica."""
    return caller.at(shop.world.replicas[1])


def ask(caller: Caller, transaction: int, amount: str) -> dict[str, Any]:
    return caller.call(REFUND, transaction_id=transaction, refund_amount=amount).tool_error


@pytest.mark.parametrize(("era", "transaction"), [(MODERN, 101), (LEGACY, 145)])
def test_a_refund_waits_for_another_person_and_runs_once(shop: Shop, era: str, transaction: int):
    ann, head = shop.person("requester", era=era), shop.person("approver", era=era)
    asked = ask(ann, transaction, "5")
    assert (asked["code"], asked["executed"]) == ("approval_required", "no")
    shown = asked["confirmation"]
    assert shown["approvers"] == {"roles": ["approver"], "needed": 1, "given": 0}
    assert "not the requester" in asked["remedy"]
    assert ask(other(shop, ann), transaction, "5")["confirmation"]["number"] == shown["number"]
    assert ask(head, transaction, "5")["code"] == "forbidden_role"
    assert shop.decide(shown["number"], head, "5").state == "approved"
    assert not shop.refunds(transaction)

    def repeat(caller: Caller) -> str:
        return caller.call(REFUND, transaction_id=transaction, refund_amount="5").code

    with ThreadPoolExecutor(4) as pool:
        codes = sorted(pool.map(repeat, [ann, other(shop, ann)] * 2))
    assert codes.count("done") == 1
    refused = {"in_progress", "already_done", "approval_required", "confirmation_used"}
    assert set(codes) <= {"done", *refused}
    assert repeat(ann) != "done"
    assert len(shop.refunds(transaction)) == 1


def test_a_requester_who_is_an_approver_too_cannot_approve_its_own_call(shop: Shop):
    both = shop.person("requester", "approver")
    number = ask(both, 141, "3")["confirmation"]["number"]
    with pytest.raises(RefusedError, match="requested number"):
        shop.decide(number, both, "3")
    assert ask(both, 141, "3")["code"] == "approval_required"
    assert not shop.refunds(141)


def test_an_approval_is_of_no_use_to_another_person(shop: Shop):
    ann, bob, head = shop.person("requester"), shop.person("requester"), shop.person("approver")
    number = ask(ann, 142, "4")["confirmation"]["number"]
    shop.decide(number, head, "4")
    theirs = ask(bob, 142, "4")
    assert theirs["code"] == "approval_required"
    assert theirs["confirmation"]["number"] != number
    assert not shop.refunds(142)
    assert ann.call(REFUND, transaction_id=142, refund_amount="4").code == "done"


def test_a_decline_reaches_its_requester_with_the_reason(shop: Shop):
    ann, head = shop.person("requester"), shop.person("approver")
    number = ask(ann, 137, "6")["confirmation"]["number"]
    shop.decide(number, head, "", reason="The buyer paid by mistake twice")
    told = ask(other(shop, ann), 137, "6")
    assert (told["code"], told["executed"]) == ("declined", "no")
    assert "The buyer paid by mistake twice" in str(told)
    assert not shop.refunds(137)


def test_an_approval_ends_when_the_facts_change(shop: Shop):
    ann, bob, head = shop.person("requester"), shop.person("requester"), shop.person("approver")
    first = ask(ann, 136, "7")["confirmation"]["number"]
    shop.decide(first, head, "7")
    second = ask(bob, 136, "8")["confirmation"]["number"]
    shop.decide(second, head, "8")
    assert bob.call(REFUND, transaction_id=136, refund_amount="8").code == "done"
    told = ask(ann, 136, "7")
    assert told["code"] == "approval_required"
    assert told["confirmation"]["number"] != first
    assert getattr(shop.ledger.approvals.get(first), "state", "") == "superseded"
    assert shop.refunds(136) == [(800,)]


def test_an_agent_of_no_person_asks_and_never_approves(shop: Shop):
    agent = shop.person("requester", "approver", is_user=False)
    ann, head = shop.person("requester"), shop.person("approver")
    number = ask(ann, 107, "2")["confirmation"]["number"]
    with pytest.raises(RefusedError, match="roles do not permit"):
        shop.decide(number, agent, "2")
    own = ask(agent, 111, "2")
    assert own["code"] == "approval_required"
    shop.decide(own["confirmation"]["number"], head, "2")
    assert agent.call(REFUND, transaction_id=111, refund_amount="2").code == "done"
    assert not shop.refunds(107)


def plan_refunds(caller: Caller, *transactions: int, amount: str) -> dict[str, Any]:
    items = [{"transaction_id": number, "refund_amount": amount} for number in transactions]
    asked = caller.call(BULK, tool=REFUND, items=items).tool_error
    assert asked["code"] == "approval_required", asked
    return asked["confirmation"]


def test_a_bulk_run_of_a_team_runs_on_its_own_requesters_approval_alone(shop: Shop):
    ann, bob, head = shop.person("requester"), shop.person("requester"), shop.person("approver")
    shown = plan_refunds(ann, 102, 127, amount="1")
    run = {"bulk_id": shown["bulk_id"]}
    asked: Any = shop.ledger.approvals.get(shown["number"])
    shop.decide(shown["number"], head, asked.typed)
    for stranger in (bob, other(shop, bob)):
        refused = stranger.call(BULK, **run).tool_error
        assert (refused["code"], refused["executed"]) == ("confirmation_mismatch", "no")
    assert head.call(BULK, **run).code == "forbidden_role"
    assert not shop.refunds(102)
    done = other(shop, ann).call(BULK, **run).structured["result"]
    assert (done["state"], done["done"]) == ("done", 2)
    assert (len(shop.refunds(102)), len(shop.refunds(127))) == (1, 1)


def test_a_viewer_cancels_its_own_bulk_run_of_reads(shop: Shop):
    viewer = shop.person("viewer")
    items = [{"lead_id": 48110}]
    found = viewer.call(BULK, tool="kartra_get_lead", items=items).structured["result"]
    cancelled = viewer.call(BULK_STATUS, bulk_id=found["bulk_id"], cancel=True)
    assert cancelled.code != "forbidden_role"
