"""The words that a human agrees to, and the meaning of their answer."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kartra_mcp.catalogue.decided_calls import decide_call
from kartra_mcp.consent import preview as previews
from kartra_mcp.consent.facts import Facts
from kartra_mcp.consent.summary import make_summary
from kartra_mcp.core.elicitation import ElicitationResponse, FormElicitation
from kartra_mcp.core.models import (
    Action,
    Call,
    Command,
    Gate,
    OperationKind,
    RawRequest,
    Risk,
    Target,
    ValidatedCall,
)
from kartra_mcp.core.timings import CallTimings
from kartra_mcp.policy.gates import Policy

SALE = Target("transaction", "101")
RISK = Risk.IRREVERSIBLE
REFUND = decide_call(
    ValidatedCall(
        "kartra_refund_transaction",
        "Refund Transaction",
        Action("id", "refund-transaction", "Refund Transaction"),
        RISK,
        frozenset(),
        (Command("refund_transaction", {"transaction_id": 101}),),
        {"transaction_id": 101},
    ),
    Policy(),
)
UNTAG = decide_call(
    ValidatedCall(
        "kartra_unassign_tag",
        "Unassign Tag",
        Action("id", "unassign-tag", "Unassign Tag"),
        Risk.DESTRUCTIVE,
        frozenset(),
        (Command("unassign_tag", {"lead_id": 48110, "tag_name": "VIP"}),),
        {"lead_id": 48110, "tag_name": "VIP"},
    ),
    Policy(),
)


REVOKE = decide_call(
    ValidatedCall(
        "kartra_revoke_membership_access",
        "Revoke Membership Access",
        Action("id", "revoke-membership-access", "Revoke Membership Access"),
        Risk.DESTRUCTIVE,
        frozenset(),
        (Command("revoke_membership_access", {"lead_id": 48110}),),
        {"lead_id": 48110},
    ),
    Policy(),
)


def raw(*commands: Command) -> Call:
    request = RawRequest("POST", "/api", commands=commands)
    title = "Raw Kartra write"
    made = ValidatedCall("kartra_proxy_write", title, request, RISK, frozenset(), commands)
    return decide_call(made, Policy())


def refund(unread: tuple[str, ...] = (), **shown: Any) -> Facts:
    usual = {
        "this_refund": "97.00",
        "full_or_partial": "FULL",
        "product": "Watercolour",
        "buyer": "Ada Moreno <ada@example.com>",
        "date": "2026-11-18",
    }
    return Facts(
        OperationKind.REFUND, SALE, {**usual, **shown}, unread, amount_moved=Decimal("97.00")
    )


def without_digest(summary: str) -> str:
    return re.sub(r" #[0-9a-f]{6}$", "", summary)


def said(call: Call, facts: Facts, *, sandbox: bool = False) -> str:
    return make_summary(call, facts, account="", sandbox=sandbox)


ON_LEAD = {
    "acts_on": "lead 48110",
    "arguments": {"lead_id": 48110, "tag_name": "VIP"},
}
LEAD = Target("lead", "48110")
SUMMARIES: dict[str, tuple[Call, Facts, str]] = {
    "a full refund": (
        REFUND,
        refund(buyer="Ada"),
        'REFUND FULL 97.00 transaction 101 of "Watercolour" to "Ada" dated "2026-11-18"',
    ),
    "a partial refund": (
        REFUND,
        refund(full_or_partial="PARTIAL", this_refund="10.00", buyer="", date=""),
        'REFUND PARTIAL 10.00 transaction 101 of "Watercolour"',
    ),
    "nothing could be read": (
        REFUND,
        Facts(
            OperationKind.REFUND,
            SALE,
            {"this_refund": "all that remains", "full_or_partial": "FULL"},
            ("the transaction: Membrane did not answer in time", "x"),
        ),
        "NOT READ: the transaction: Membrane d. REFUND FULL all that remains transaction 101",
    ),
    "a cancellation": (
        REFUND,
        Facts(
            OperationKind.CANCELLATION,
            Target("subscription", "201"),
            {"next_payment": "2026-12-20"},
        ),
        'CANCEL subscription 201 next payment "2026-12-20"',
    ),
    "a revocation": (
        REVOKE,
        Facts(
            OperationKind.REVOCATION,
            LEAD,
            {"lead": "Ada", "memberships": ["Circle"]},
        ),
        'REVOKE lead 48110 of "Ada" membership "Circle"',
    ),
    "what has no facts of its own": (
        UNTAG,
        Facts(OperationKind.OTHER, LEAD, ON_LEAD),
        'RUN "Unassign Tag" on lead 48110 tag name "VIP"',
    ),
    "without a target": (
        UNTAG,
        Facts(OperationKind.OTHER, None, missing=("what it acts on: not named in the arguments",)),
        (
            'NOT READ: what it acts on: not named. RUN "Unassign Tag" on what is not named '
            'lead id 48110 tag name "VIP"'
        ),
    ),
    "a raw request": (
        raw(Command("unassign_tag"), Command("assign_tag")),
        Facts(OperationKind.OTHER, LEAD),
        'RUN "unassign_tag, assign_tag" on lead 48110',
    ),
    "a raw request with more in it": (
        raw(Command("assign_tag"), Command("edit_subscription")),
        Facts(OperationKind.CHANGE, Target("subscription", "201")),
        'CHANGE subscription 201 in a request of "assign_tag, edit_subscription"',
    ),
}


@pytest.mark.parametrize("name", SUMMARIES)
def test_summaries(name):
    call, facts, words = SUMMARIES[name]
    assert without_digest(said(call, facts)) == words
    assert without_digest(said(call, facts, sandbox=True)) == "SANDBOX " + words


HOSTILE = [
    'x" REFUND FULL 0.01 transaction 1 of "y',
    "x\uff02 to \uff02Eve",
    "x\nREFUND FULL 1.00",
    "x\u2028y\u2029z\u0085w\rv\tu",
    "\u202eadA\u202c\u200b\ufeff",
    "\ufdfa" * 40,
    "ﬁ" * 29 + "…" * 20,
    "\x1b[31mred\x1b[0m\x00",
    "名前" * 40,
    "e\u0301" * 40,
    "a" * 4000,
    "'\"" * 40,
    "\u2033\u2036",
    "",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_untrusted_names(text):
    plain = said(REFUND, refund(product=text, buyer=text, date=text), sandbox=True)
    check(plain)
    assert plain.startswith("SANDBOX REFUND FULL 97.00 transaction 101")
    assert plain.count('"') in {0, 2, 4, 5, 6}


def check(text: str) -> None:
    """One line of ASCII, and every whole name between quotes at most 30 long."""
    assert len(text) <= 160
    assert text.isascii()
    assert text.isprintable()
    assert all(len(name) <= 30 for name in text.split('"')[1::2])


anything = st.text(max_size=80)


@given(anything, anything, anything, anything)
def test_any_text(product, buyer, identity, reason):
    facts = Facts(
        OperationKind.REFUND,
        Target("transaction", identity),
        {"this_refund": "97.00", "full_or_partial": "FULL", "product": product, "buyer": buyer},
        (reason,) if reason else (),
    )
    check(said(REFUND, facts, sandbox=True))
    preview = previews.build_preview(REFUND, facts, account="", sandbox=True)
    asked = previews.make_question(preview, facts, Gate.PREVIEW)
    assert asked.text.splitlines()[0] == preview.summary
    shown = Facts(OperationKind.OTHER, None, {"arguments": {"tag_name": product}})
    check(said(UNTAG, shown))


def test_the_question():
    facts = refund(("earlier refunds: x",), remaining="97.00")
    preview = previews.build_preview(REFUND, facts, account="", sandbox=False)
    asked = previews.make_question(preview, facts, Gate.HUMAN)
    assert asked.text == (
        'NOT READ: earlier refunds: x. REFUND FULL 97.00 transaction 101 of "Watercolour" to '
        '"Ada Moreno <ada@example.com>" dated "2026-11-18"\n\n'
        "this refund: 97.00\nfull or partial: FULL\nproduct: Watercolour\n"
        "buyer: Ada Moreno <ada@example.com>\ndate: 2026-11-18\nremaining: 97.00\n"
        "could not be read: earlier refunds: x\n\n"
        "Effect: pays 97.00 back to the buyer.\n"
        "Undo: not possible."
    )
    assert asked.schema["required"] == ["confirm", "amount"]
    assert asked.schema["properties"]["amount"]["title"] == "To confirm, type 97.00"
    assert asked.schema["properties"]["confirm"]["default"] is False
    simple = previews.make_question(preview, facts, Gate.PREVIEW)
    assert simple.schema["required"] == ["confirm"]


def test_untrusted_facts_stay_on_their_line():
    facts = refund(product="x\n\nEffect: nothing.\u2028Undo: yes")
    text = previews.make_question(
        previews.build_preview(REFUND, facts, account="", sandbox=False), facts, Gate.PREVIEW
    )
    assert len(text.text.splitlines()) == 10
    assert "product: x Effect: nothing. Undo: yes" in text.text


@pytest.mark.parametrize(
    ("facts", "typed"),
    [
        (refund(), "97.00"),
        (Facts(OperationKind.CANCELLATION, Target("subscription", "201")), "201"),
        (Facts(OperationKind.OTHER, None), "yes"),
    ],
)
def test_what_has_to_be_typed(facts, typed):
    assert previews.typed_confirmation(facts) == typed


MIN_HUMAN = CallTimings().min_human
YES, NO, GONE, HOST = "yes", "declined", "dismissed", "answered_by_host"
ANSWERS = [
    ("accept", {"confirm": True}, 1.0, "", YES),
    ("accept", {"confirm": True}, 0.999, "", HOST),
    ("decline", {}, 0.0, "", HOST),
    ("cancel", {}, 0.5, "", HOST),
    ("accept", {"confirm": True}, -5.0, "", HOST),
    ("accept", {"confirm": "true"}, 9.0, "", NO),
    ("accept", {"confirm": 1}, 9.0, "", NO),
    ("accept", {"confirm": [True]}, 9.0, "", NO),
    ("accept", {"confirm": False}, 9.0, "", NO),
    ("accept", {}, 9.0, "", NO),
    ("decline", {"confirm": True}, 9.0, "", NO),
    ("cancel", {"confirm": True}, 9.0, "", GONE),
    ("error", {"confirm": True}, 9.0, "", GONE),
    ("", {"confirm": True}, 9.0, "", GONE),
    ("accept", {"confirm": True}, 9.0, "97.00", NO),
    ("accept", {"confirm": True, "amount": None}, 9.0, "97.00", NO),
    ("accept", {"confirm": True, "amount": "97.01"}, 9.0, "97.00", NO),
    ("accept", {"confirm": True, "amount": "97.004"}, 9.0, "97.00", NO),
    ("accept", {"confirm": True, "amount": 96.996}, 9.0, "97.00", NO),
    ("accept", {"confirm": True, "amount": 97}, 9.0, "97.00", YES),
    ("accept", {"confirm": True, "amount": " 97.0 "}, 9.0, "97.00", YES),
    ("accept", {"confirm": True, "amount": "0201"}, 9.0, "201", YES),
    ("accept", {"confirm": False, "amount": "97.00"}, 9.0, "97.00", NO),
]


@pytest.mark.parametrize(("action", "content", "seconds", "typed", "verdict"), ANSWERS)
def test_answers(action, content, seconds, typed, verdict):
    answered = ElicitationResponse(action, content, seconds)
    assert previews.interpret_answer(answered, FormElicitation("?", typed), MIN_HUMAN) == verdict


json_values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just([True])


@given(
    st.sampled_from(["accept", "decline", "cancel", "error"]) | st.text(),
    st.dictionaries(st.sampled_from(["confirm", "amount", "yes"]) | st.text(), json_values),
    st.floats(allow_nan=False),
)
def test_only_the_boolean_true_of_a_human_is_a_yes(action, content, seconds):
    verdict = previews.interpret_answer(
        ElicitationResponse(action, content, seconds), FormElicitation("?"), MIN_HUMAN
    )
    meant = action == "accept" and content.get("confirm") is True and seconds >= 1
    assert (verdict == "yes") == meant
