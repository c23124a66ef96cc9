"""Random sequences of calls: at every step the account equals what answers and ledger claim.

`SOAK=1` runs many more sequences than `make test`, other ones each time.
"""

from __future__ import annotations

from typing import Any
from unittest import TestCase

import pytest
from examples import SOAK, examples
from hypothesis import HealthCheck, Phase, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
)
from truth_account import read_state, write
from truth_calls import ONLY_BY_ACTION, Request, alone, amounts, asked, chain, requests, sales
from truth_effects import NEXT_YEAR
from truth_judge import Shown
from truth_undo import FOR_GOOD
from truth_users import MOODS
from truth_world import World

SERVERS = st.integers(0, 4)
WITHOUT_FORMS = st.integers(0, 2)
LEGACY_WITH_FORMS, NEWER_WITH_FORMS = 4, 3
LATEST = 15 * 60.0
"""Seconds after which no write whose answer was lost has an effect any more."""
RARELY = st.sampled_from([False, False, False, True])

# ── What goes wrong ──

FAULTS: list[tuple[str, bool]] = [
    ("silent", True),
    ("silent", False),
    ("garbage", True),
    ("cut", True),
    ("internal", True),
    ("internal", False),
    ("lock_timeout", True),
    ("access_token_expired", False),
    ("connection_is_defunct", True),
    ("rate_limit_exceeded", False),
    ("429", False),
    ("266", True),
    ("266", False),
    ("262", False),
]
"""Type of a fault, and if the write has its effect all the same."""
LATE_KINDS = frozenset({"silent", "internal"})
READS = ("get_lead", "get_transaction_details", "get_subscription_details")


class TruthMachine(RuleBasedStateMachine):
    """Several servers on one account and one ledger; every call is judged by `World`."""

    shown = Bundle("shown")
    gate = "preview"

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.gate)
        self.late: list[tuple[str, Request, float]] = []

    def teardown(self) -> None:
        self.world.close()

    @rule(server=SERVERS, request=requests, repeat=RARELY, undo=st.booleans())
    def write(self, server: int, request: Request, repeat: bool, undo: bool) -> None:  # noqa: FBT001
        before = read_state(self.world.place)
        answer = self.world.perform(server, request, repeat=repeat)
        if undo and not answer.failed and read_state(self.world.place) != before:
            self.world.undo(server, request, before, answer)

    @rule(server=SERVERS, request=requests, fault=st.sampled_from(FAULTS), again=st.booleans())
    def write_with_a_fault(
        self,
        server: int,
        request: Request,
        fault: tuple[str, bool],
        again: bool,  # noqa: FBT001
    ) -> None:
        kind, effect = fault
        known = self.world.judge.intents()
        with self.world.faults([request.writes[0].command], kind, effect=effect):
            self.world.perform(server, request)
        made = {i: s for i, s in self.world.judge.intents().items() if i not in known}
        if kind in LATE_KINDS and not effect and not request.commands & ONLY_BY_ACTION:
            self.late += [(i, request, self.world.now()) for i, s in made.items() if s == "unknown"]
        if again:
            self.world.perform(server, request)

    @precondition(lambda self: self.late)
    @rule()
    def effect_appears(self) -> None:
        """Let an effect appear after its answer was lost; meanwhile it was unknown."""
        intent, request, at = self.late.pop(0)
        unknown = self.world.judge.intents()[intent] == "unknown"
        if unknown and self.world.now() - at < LATEST:
            self.world.appear(intent, request)

    @rule(sale=sales, parts=st.lists(amounts, min_size=2, max_size=4), server=SERVERS)
    def refund_in_steps(self, sale: int, parts: list[Any], server: int) -> None:
        for part in parts:
            given = write("refund_transaction", transaction_id=sale, refund_amount=part)
            self.world.perform(server, alone(given))

    @rule(
        server=st.sampled_from([LEGACY_WITH_FORMS, NEWER_WITH_FORMS]),
        request=asked,
        mood=st.sampled_from(MOODS),
    )
    def answer_a_form(self, server: int, request: Request, mood: str) -> None:
        """Answer a form, decline or close it, let the client answer, or show none."""
        assume(mood != "never" or server == LEGACY_WITH_FORMS)  # the other one waits itself
        self.world.user.feel(mood)
        self.world.judge.told.append(f"form, {mood}:")
        self.world.propose(server, request, repeat=False)
        self.world.user.feel("accept")

    @rule(shown=shown, approve=st.booleans())
    def decide(self, shown: Shown, approve: bool) -> None:  # noqa: FBT001
        """Decide an approval outside the client, before or after the call is repeated."""
        assume(shown.number is not None)
        self.world.judge.told.append(f"decide {shown.request}: {approve}")
        self.world.decide(shown, approve=approve)

    @precondition(lambda self: self.world.last is not None)
    @rule(server=SERVERS, repeat=RARELY)
    def write_again(self, server: int, repeat: bool) -> None:  # noqa: FBT001
        assert self.world.last is not None
        self.world.perform(server, self.world.last, repeat=repeat)

    @rule(server=SERVERS, request=requests, repeat=RARELY)
    def write_though_reads_fail(self, server: int, request: Request, repeat: bool) -> None:  # noqa: FBT001
        with self.world.faults(READS, "internal", times=9):
            self.world.perform(server, request, repeat=repeat)

    @rule(target=shown, server=SERVERS, request=asked, repeat=RARELY)
    def preview(self, server: int, request: Request, repeat: bool) -> Any:  # noqa: FBT001
        shown = self.world.propose(server, request, repeat=repeat)
        return shown if isinstance(shown, Shown) else multiple()

    @rule(server=SERVERS, request=asked, after=st.sampled_from([0.0, 0.01, 0.05]))
    def abandon(self, server: int, request: Request, after: float) -> None:
        self.world.abandon(server, request, after)

    @rule(server=SERVERS, shown=shown)
    def agree(self, server: int, shown: Shown) -> None:
        self.world.agree(server, shown)

    @rule(server=WITHOUT_FORMS, shown=shown, other=asked, how=st.sampled_from("rso"))
    def misuse(self, server: int, shown: Shown, other: Request, how: str) -> None:
        """Use a preview for a call with another `repeat`, summary or arguments."""
        assume(shown.summary and shown.number is None)
        before = read_state(self.world.place)
        if how == "o":
            assume(other.meaning(before) != shown.request.meaning(before))
            assume(other.tool == shown.request.tool)
            shown = Shown(other, shown.repeat, shown.answer)
        wrong = {"r": {"repeat": not shown.repeat}, "s": {"confirmation_summary": "RUN"}}
        self.world.agree(server, shown, **wrong.get(how, {}))
        assert read_state(self.world.place) == before, self.world.judge.say("a misused preview ran")

    @rule(request=requests, repeat=RARELY, servers=st.lists(SERVERS, min_size=2, max_size=4))
    def at_once(self, request: Request, repeat: bool, servers: list[int]) -> None:  # noqa: FBT001
        self.world.at_once(request, servers, repeat=repeat)

    @precondition(lambda self: "unknown" in self.world.judge.intents().values())
    @rule(server=SERVERS, number=st.integers(0, 3), later=st.sampled_from([0.0, 16 * 60.0]))
    def reconcile(self, server: int, number: int, later: float) -> None:
        self.world.ahead += later
        self.world.reconcile(server, number)

    @precondition(
        lambda self: self.world.judge.told and not self.world.judge.told[-1].startswith("then")
    )
    @rule(server=SERVERS, seconds=st.sampled_from([None, 61.0, 16 * 60.0, 2 * 86_400.0]))
    def meanwhile(self, server: int, seconds: float | None) -> None:
        """Restart a server, or let time pass."""
        if seconds is None:
            self.world.judge.told.append(f"then server {server} ends")
            self.world.stop(server)
        else:
            self.world.judge.told.append(f"then {seconds:.0f} s pass")
            self.world.ahead += seconds

    @invariant()
    def everything_claimed_is_so(self) -> None:
        self.world.judge.check_always()


def run_many(gate: str, number: int) -> type[TestCase]:
    """Return the test of the machine behind one gate."""
    machine = type(f"Behind{gate.title()}", (TruthMachine,), {"gate": gate})
    machine.TestCase.settings = settings(
        max_examples=examples(number),
        stateful_step_count=40 if SOAK else 12,
        derandomize=not SOAK,
        deadline=None,
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much),
        phases=tuple(Phase) if SOAK else (Phase.generate,),  # to shrink takes minutes
    )
    return machine.TestCase


TestBehindPreview = run_many("preview", 4)
TestBehindFlag = run_many("flag", 2)
TestBehindAllow = run_many("allow", 2)
TestBehindHuman = run_many("human", 3)

TERM_EXAMPLES: dict[str, Any] = {
    "amount": 39.0,
    "product_quantity": 3,
    "recurrence": {"recurring_period_1": "yearly"},
    "installments_left": 3,
    "tax_percent": 25,
    "next_payment_date": f"{NEXT_YEAR}-06-01 00:00:00",
}
EXAMPLES: list[Request] = [
    chain(
        [
            write(
                "modify_subscription_status",
                subscription_id=number,
                subscription_status_modification="pause",
            )
            for number in (201, 206)
        ]
    ),
    *map(
        alone,
        [
            write("create_lead", email="nina@example.org", city="Oslo"),
            write("edit_lead", lead_id=48110, city="Oslo", phone="5550143"),
            write("edit_lead", lead_id=48110, new_email="other@example.net"),
            write("assign_tag", email="new@example.net", tag_name="VIP"),
            write("unassign_tag", lead_id=48110, tag_name="VIP"),
            write("subscribe_lead_to_list", lead_id=48110, list_name="Workshop Updates"),
            write("unsubscribe_lead_from_list", lead_id=48110, list_name="Weekly Letter"),
            write(
                "subscribe_lead_to_sequence_at_step",
                lead_id=48117,
                sequence_name="Win-back",
                step="3",
            ),
            write("unsubscribe_lead_from_sequence", lead_id=48129, sequence_name="Welcome"),
            write(
                "grant_membership_access",
                lead_id=48129,
                membership_name="Studio Circle",
                level_name="Gold",
            ),
            write(
                "revoke_membership_access",
                lead_id=48110,
                membership_name="Studio Circle",
                level_name="Gold",
            ),
            write("revoke_membership_access", lead_id=48110, membership_name="Studio Circle"),
            write("give_points_to_lead", lead_id=48110, points=10),
            write("remove_points_from_lead", lead_id=48110, points=10),
            write(
                "calendar_subscribe",
                lead_id=48129,
                calendar_name="Consultation",
                class_name="Intro call",
                starting_date=f"01 Jun {NEXT_YEAR}",
                starting_hour="10:00",
            ),
            write("refund_transaction", transaction_id=101),
            write("refund_transaction", transaction_id=105, refund_amount=10.5),
            write("cancel_transaction", subscription_id=201),
            *(
                write(
                    "modify_subscription_status",
                    subscription_id=number,
                    subscription_status_modification=wanted,
                )
                for number, wanted in ((202, "unpause"), (201, "pause"))
            ),
            *(
                write("edit_subscription", subscription_id=201, **{f"subscription_{name}": value})
                for name, value in TERM_EXAMPLES.items()
            ),
        ],
    ),
    chain(
        [
            write("edit_lead", lead_id=48110, city="Oslo"),
            write("assign_tag", tag_name="VIP"),
            write("give_points_to_lead", points=10),
        ]
    ),
]


@pytest.mark.parametrize(("number", "request_"), [*enumerate(EXAMPLES)], ids=str)
def test_every_write_of_the_machine_changes_the_account_and_can_be_undone(
    number: int, request_: Request
):
    """Otherwise the machine could hold because nothing ever ran."""
    server = (0, NEWER_WITH_FORMS, LEGACY_WITH_FORMS)[number % 3]
    world = World("preview")
    try:
        before = read_state(world.place)
        answer = world.perform(server, request_)
        assert not answer.failed, answer.text
        assert read_state(world.place) != before
        assert world.undo(server, request_, before, answer) or request_.kinds & FOR_GOOD
    finally:
        world.close()
