"""Random stories of three replicas on one ledger in PostgreSQL, each compared with a small model.

A replica begins, sends, is late, or is gone; a look or two persons settle what it left. The model
has what Kartra executed, and predicts each answer of the ledger. `make soak` plays many more.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from examples import examples
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from ledger_intents import BINDING, code, intent
from ledger_stores import TeamDatabase

from kartra_mcp.core.models import Executed
from kartra_mcp.ledger.approvals import ApprovalRequest
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.postgres.send_rights import SendRights
from kartra_mcp.ledger.records import Answer, Binding
from kartra_mcp.ledger.settlement import Statement
from kartra_mcp.policy.limits import Limits

REPLICAS, SALES, CAP = 3, 2, 6
RIGHTS = SendRights(10.0, 5.0)
DAY = 86_400.0
STEPS = (11.393, 0.0, 4.217, 16.129, 90_001.9)
"""Seconds by which the clock goes on before a step; no sum of them meets an end exactly."""

replicas, places = st.integers(0, REPLICAS - 1), st.integers(0, SALES - 1)
steps = st.sampled_from(STEPS)
fates = st.sampled_from(["left", "received", "left", "answered"])


@dataclass
class Clock:
    at: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at


@dataclass
class Write:
    """One intent: its record as the ledger must have it, and its request to Kartra."""

    id: str
    target: str
    at: float
    attempt: str
    owner: Ledger
    state: str = "running"
    was_received: bool = False
    is_executed: bool = False
    was_answered: bool = False
    is_settled: bool = False

    @property
    def send_until(self) -> float:
        return self.at + RIGHTS.send_seconds

    @property
    def expires_at(self) -> float:
        return self.send_until + RIGHTS.answer_seconds


@dataclass
class Model:
    """The story so far, and the answers that the ledger owes."""

    clock: Clock
    writes: list[Write] = field(default_factory=list)
    conflicts: list[Write] = field(default_factory=list)

    def expire(self) -> None:
        for write in self.writes:
            if write.state == "running" and self.clock.at >= write.expires_at:
                write.state = "unknown"

    def predict(self, target: str) -> str:
        """Return the code with which a refund of this target begins now, or is refused."""
        if self.conflicts:
            return "writes_stopped"
        states = {write.state for write in self.writes if write.target == target}
        for state, refusal in (
            ("running", "in_progress"),
            ("unknown", "outcome_unknown"),
            ("succeeded", "already_done"),
        ):
            if state in states:
                return refusal
        since = self.clock.at - DAY
        counted = [w for w in self.writes if w.at > since and w.state != "failed"]
        return "runs" if len(counted) < CAP else "cap_reached"


def is_in(*states: str) -> Callable[[Any], bool]:
    return lambda machine: any(write.state in states for write in machine.model.writes)


class Team(RuleBasedStateMachine):
    database: TeamDatabase

    def __init__(self) -> None:
        super().__init__()
        self.place = self.database.make_empty()
        self.place.rights = RIGHTS
        self.clock = Clock()
        self.model = Model(self.clock)
        self.ledgers = [self.place.open(self.clock) for _ in range(REPLICAS)]
        self.approved: dict[str, int] = {}
        self.numbers = itertools.count(101)
        self.sales = [str(next(self.numbers)) for _ in range(SALES)]

    @rule(by=replicas, place=places, step=steps, fate=fates)
    def begin(self, by: int, place: int, step: float, fate: str) -> None:
        """A refund in full, on the approval of another person if there is one."""
        self._wait(step)
        self.model.expire()
        sale = self.sales[place]
        number = self.approved.get(sale)
        consent: dict[str, Any] = {}
        if number is not None:
            consent = {"consent": "approval", "approval": number, "fresh": True}
        ledger = self.ledgers[by]
        wanted = intent(sale, remainder=97, **consent)
        burns = BINDING if number is None else bind(sale)
        found: list[Any] = []
        limits = Limits(cap_day_count=CAP)
        begun = code(lambda: found.append(ledger.begin(wanted, limits, burns)))
        assert begun == self.model.predict(sale)
        if begun == "runs":
            self.approved.pop(sale, None)
            write = Write(wanted.id, sale, self.clock.at, found[0].attempt, ledger)
            self.model.writes.append(write)
            if fate != "left":
                self._receive(write)
            if fate == "answered":
                self._answer(write)
        elif begun == "already_done":
            self.sales[place] = str(next(self.numbers))  # nothing else can happen to it

    @rule(by=replicas, place=places)
    def approve(self, by: int, place: int) -> None:
        sale = self.sales[place]
        if sale in self.approved:
            return
        approvals = self.ledgers[by].approvals
        asked = ApprovalRequest(bind(sale), "Refund 97", {}, "facts", "client")
        number = approvals.request(asked)
        seen = approvals.get(number)
        assert seen is not None
        approvals.decide(number, approve=True, reason="", who="ada", seen=seen.fingerprint)
        self.approved[sale] = number

    @precondition(is_in("running", "unknown"))
    @rule(data=st.data())
    def receive(self, data: st.DataObject) -> None:
        """Kartra gets the request, however late; its token decides."""
        self._receive(data.draw(st.sampled_from(self.open_writes())))

    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        """The owner reads the answer, perhaps long after the intent was settled."""
        waiting = [
            write
            for write in self.model.writes
            if write.was_received and not write.was_answered and write.owner in self.ledgers
        ]
        if waiting:
            self._answer(data.draw(st.sampled_from(waiting)))

    def _wait(self, seconds: float) -> None:
        self.clock.at = round(self.clock.at + seconds, 3)
        if seconds > DAY:
            self.approved.clear()  # they end after a day

    def _receive(self, write: Write) -> None:
        if not write.was_received:
            write.was_received = True
            write.is_executed = self.clock.at < write.send_until

    def _answer(self, write: Write) -> None:
        write.was_answered = True
        true = "succeeded" if write.is_executed else "failed"
        executed = Executed.YES if write.is_executed else Executed.NO
        answer = Answer(true, executed, attempt=write.attempt)
        arrival = write.owner.finish(write.id, answer)
        if not write.is_settled:
            assert arrival == ("outcome" if write.state == "running" else "late_outcome")
            write.state = true
        elif write.state == true or write in self.model.conflicts:
            assert arrival == "nothing"
        else:
            assert arrival == "conflict"
            self.model.conflicts.append(write)

    @precondition(is_in("running", "unknown"))
    @rule(by=replicas, data=st.data(), step=steps, is_wrong=st.sampled_from([False, False, True]))
    def settle(self, by: int, data: st.DataObject, step: float, *, is_wrong: bool) -> None:
        """Look in Kartra once nothing can come; or be deceived by a refund made by hand."""
        self._wait(step)
        self.model.expire()
        write = data.draw(st.sampled_from(self.open_writes()))
        to = "succeeded" if write.is_executed or is_wrong else "failed"
        settled = code(lambda: self.ledgers[by].reconcile(write.id, to, {"why": "a look"}))
        assert settled == ("in_progress" if write.state == "running" else "runs")
        if settled == "runs":
            write.state, write.is_settled = to, True

    @precondition(lambda machine: machine.model.conflicts)
    @rule(by=replicas)
    def decide(self, by: int) -> None:
        """Two persons decide a contradiction by what is in Kartra."""
        self.model.expire()
        write = self.model.conflicts.pop()
        to = "succeeded" if write.is_executed else "failed"
        first, second = (Statement(who, to, "looked") for who in ("ada", "bob"))
        assert self.ledgers[by].state_outcome(write.id, first, persons=2) is None
        assert self.ledgers[by].state_outcome(write.id, second, persons=2) == to
        write.state = to

    @rule(by=replicas)
    def crash(self, by: int) -> None:
        """The replica is gone; what it sent may still arrive, and nobody reads the answer."""
        self.ledgers[by].close()
        self.ledgers[by] = self.place.open(self.clock)

    @invariant()
    def nothing_is_refunded_twice(self) -> None:
        done = [write.target for write in self.model.writes if write.is_executed]
        assert len(done) == len({*done})

    def open_writes(self) -> list[Write]:
        return [write for write in self.model.writes if write.state in {"running", "unknown"}]

    def teardown(self) -> None:
        self.model.expire()
        expected = [(write.id, write.state) for write in self.model.writes]
        for ledger in self.ledgers:
            ledger.mark_orphans_unknown()
            assert [(line["intent"], line["state"]) for line in ledger.export()] == expected
            assert ledger.verify().why == ""
            ledger.close()


def bind(sale: str) -> Binding:
    return replace(BINDING, arguments=sale)


def test_replicas_agree_with_the_model_in_every_order(team_database: TeamDatabase):
    machine = type("TeamOfThisServer", (Team,), {"database": team_database})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples(25),
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
