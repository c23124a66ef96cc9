"""The parts of a call: each writing command with its own target, amount, mail and digest."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from kartra_mcp.core.models import Action, Command, Risk, Target, ValidatedCall, WritePart
from kartra_mcp.kartra.command_identity import digest_fields
from kartra_mcp.kartra.operations import derive_operation
from tests.operation_calls import CANCEL, REFUND, WORST, by_action, raw, raw_request

ADA, BOB = Target("lead", "7"), Target("lead", "8")
SALE, OTHER_SALE = Target("transaction", "101"), Target("transaction", "102")
SUBSCRIPTION = Target("subscription", "201")
TAG = Command("assign_tag", {"tag_name": "VIP"}, {"id": "07"})
PAY_BACK = Command("refund_transaction", {"transaction_id": "0101", "refund_amount": "5"})
PAY_BACK_CENTS = Command("refund_transaction", {"transaction_id": 102, "amount_cents": 250})
RAISE = Command("edit_subscription", {"subscription_id": 201, "subscription_price": "97.5"})
READ = Command("get_lead", {}, {"id": 7})


def unknown(key: str, name: str = "", **given: Any) -> ValidatedCall:
    """Return the call of an action that is not in the table of commands."""
    action = Action("id", key, name or key)
    return ValidatedCall("kartra_x", key, action, WORST, frozenset(), (), given)


def part(name: str, given: dict[str, Any], target: Target | None = None, **more: Any) -> WritePart:
    """Return a part that neither moves money, nor adds, nor mails, unless `more` says so."""
    said: dict[str, Any] = {
        "risk": WORST,
        "amount": None,
        "moves_money": False,
        "additive": False,
        "digest": digest_fields(name, given, target),
    }
    return WritePart(name=name, target=target, **{**said, **more})


TAGGED = part("assign_tag", {"tag_name": "VIP"}, ADA, starts_mail=True, mail_leads=(ADA,))
PAID_BACK = part(
    "refund_transaction",
    {"refund_amount": 5},
    SALE,
    amount=Decimal("5.00"),
    moves_money=True,
)
PAID_BACK_CENTS = part(
    "refund_transaction",
    {"amount_cents": 250},
    OTHER_SALE,
    amount=Decimal("2.50"),
    moves_money=True,
)
RAISED = part(
    "edit_subscription", {"subscription_price": 97.5}, SUBSCRIPTION, amount=Decimal("97.50")
)
PARTS: dict[str, tuple[ValidatedCall, tuple[WritePart, ...]]] = {
    "a refund": (by_action(REFUND, transaction_id=101, refund_amount=5.0), (PAID_BACK,)),
    "a refund, raw": (raw(PAY_BACK), (PAID_BACK,)),
    "a refund, raw, in cents": (raw(PAY_BACK_CENTS), (PAID_BACK_CENTS,)),
    "a refund and a read": (raw(READ, PAY_BACK), (PAID_BACK,)),
    "a read and a tag": (raw(READ, TAG), (TAGGED,)),
    "a tag": (by_action("assign-tag", lead_id=7, tag_name="VIP"), (TAGGED,)),
    "two refunds": (raw(PAY_BACK, PAY_BACK_CENTS), (PAID_BACK, PAID_BACK_CENTS)),
    "a tag and a refund": (raw(TAG, PAY_BACK), (TAGGED, PAID_BACK)),
    "a refund, a read and a change": (raw(PAY_BACK, READ, RAISE), (PAID_BACK, RAISED)),
    "a change": (raw(RAISE), (RAISED,)),
    "two amounts in one command": (
        raw(Command("refund_transaction", {"id": 101, "amount": 5, "refund_amount": 6}), TAG),
        (
            part(
                "refund_transaction",
                {"amount": 5, "refund_amount": 6},
                SALE,
                moves_money=True,
            ),
            TAGGED,
        ),
    ),
    "a cancellation": (
        by_action(CANCEL, subscription_id=201),
        (part("cancel_transaction", {}, SUBSCRIPTION),),
    ),
    "a cancellation by its status, in a chain": (
        raw(TAG, Command("modify_subscription_status", {"id": 201, "status": "cancel"})),
        (TAGGED, part("cancel_transaction", {"status": "cancel"}, SUBSCRIPTION)),
    ),
    "a cancellation by its status": (
        by_action("modify-subscription-status", subscription_id=201, status="cancel"),
        (part("cancel_transaction", {"status": "cancel"}, SUBSCRIPTION),),
    ),
    "a command that mails the lead of a sale, in a chain": (
        raw(TAG, Command("send_email", {"transaction_id": 101, "lead_id": 8})),
        (
            TAGGED,
            part(
                "send_email",
                {"lead_id": 8},
                SALE,
                additive=True,
                starts_mail=True,
                mail_leads=(BOB,),
            ),
        ),
    ),
    "points, of which a second gift counts": (
        raw(Command("give_points_to_lead", {"points": 5}, {"id": 7})),
        (part("give_points_to_lead", {"points": 5}, ADA, additive=True),),
    ),
    "a command that is not known, in a chain": (
        raw(TAG, Command("charge_card", {"id": 9, "total": 5})),
        (
            TAGGED,
            part(
                "charge_card",
                {"total": 5},
                Target("id", "9"),
                amount=Decimal("5.00"),
                moves_money=True,
                additive=True,
            ),
        ),
    ),
    "an unknown action that sets a state": (
        unknown("pause-funnel", id=9, total=5),
        (part("pause-funnel", {"total": 5}, Target("id", "9")),),
    ),
    "an unknown action that charges by its key": (
        unknown("charge-card", "Do it", id=9, total=5),
        (
            part(
                "charge-card",
                {"total": 5},
                Target("id", "9"),
                amount=Decimal("5.00"),
                moves_money=True,
                additive=True,
            ),
        ),
    ),
    "an unknown action that charges by its name": (
        unknown("pause-funnel", "Charge card", id=9),
        (part("pause-funnel", {}, Target("id", "9"), moves_money=True, additive=True),),
    ),
    "an unknown action that mails a lead by its key": (
        unknown("send-email", lead_id=7),
        (part("send-email", {}, ADA, additive=True, starts_mail=True, mail_leads=(ADA,)),),
    ),
    "an unknown action that mails a lead by its name": (
        unknown("pause-funnel", "Notify the lead", lead_id=7),
        (part("pause-funnel", {}, ADA, additive=True, starts_mail=True, mail_leads=(ADA,)),),
    ),
    "an unknown action that mails two leads": (
        unknown("send-email", to=[{"lead_id": "08"}, {"lead_id": 7}, {"lead_id": 8}]),
        (
            part(
                "send-email",
                {"to": [{"lead_id": "08"}, {"lead_id": 7}, {"lead_id": 8}]},
                additive=True,
                starts_mail=True,
                mail_leads=(ADA, BOB),
            ),
        ),
    ),
    "an unknown action that mails the lead of a sale": (
        unknown("send-email", transaction_id=101, lead_id=8),
        (
            part(
                "send-email",
                {"lead_id": 8},
                SALE,
                additive=True,
                starts_mail=True,
                mail_leads=(BOB,),
            ),
        ),
    ),
}


@pytest.mark.parametrize("name", PARTS)
def test_each_writing_command_is_a_part_of_its_own(name: str):
    made, parts = PARTS[name]
    assert derive_operation(made).parts == parts


def test_each_command_of_a_chain_has_its_own_risk():
    chain, risks = raw(TAG, PAY_BACK), {"assign_tag": Risk.WRITE, "refund_transaction": WORST}
    found = derive_operation(chain, lambda command: risks[command.name])
    assert [one.risk for one in found.parts] == [Risk.WRITE, WORST]


def test_a_single_command_has_the_risk_of_the_call():
    found = derive_operation(raw(PAY_BACK), lambda _: Risk.READ)
    assert [one.risk for one in found.parts] == [WORST]


# method, path, body; whether the only part moves money, adds, starts mail
PATHS: dict[str, tuple[str, str, bool, bool, bool]] = {
    "a charge": ("POST", "/customers/5/charge", True, True, False),
    "a new object": ("POST", "/notes", False, True, False),
    "a changed object": ("PUT", "/notes/5", False, False, False),
    "a changed object that is sent": ("PUT", "/notes/5/send", False, True, True),
    "a message": ("POST", "/messages", False, True, True),
}


@pytest.mark.parametrize("name", PATHS)
def test_the_words_of_a_path_are_its_only_part(name: str):
    method, path, money, adds, mails = PATHS[name]
    found = derive_operation(raw_request(method=method, path=path, fields={"lead_id": "07"}))
    (only,) = found.parts
    assert (only.moves_money, only.additive, only.starts_mail) == (money, adds, mails)
    assert (only.target, only.mail_leads) == (ADA, (ADA,) if mails else ())
    assert (found.moves_money, found.email_count) == (money, int(mails))
    assert (only.risk, only.digest) == (WORST, found.digest)
    assert found.arguments == {"lead_id": "07"}


NO_COMMANDS: dict[str, tuple[dict[str, Any], str]] = {
    "method and path": ({"method": "PUT", "path": "/notes/5"}, "update notes 5"),
    "a parameter": ({"path": "/notes/{n}", "path_params": {"n": "5"}}, "create notes 5"),
    "80 characters": ({"path": "/" + "n" * 73}, "create " + "n" * 73),
    "81 characters": ({"path": "/" + "n" * 74}, "create " + "n" * 73),
    "nothing but the endpoint": ({}, "raw request"),
}


@pytest.mark.parametrize("name", NO_COMMANDS)
def test_a_path_names_its_operation(name: str):
    request, wanted = NO_COMMANDS[name]
    found = derive_operation(raw_request(**request))
    assert [found.name, *(one.name for one in found.parts)] == [wanted, wanted]


# call; number of commands that start mail, whether it moves money, whether it is unambiguous
COUNTS: dict[str, tuple[ValidatedCall, int, bool, bool]] = {
    "a tag": (raw(TAG), 1, False, True),
    "two tags": (raw(TAG, TAG), 2, False, True),
    "a tag and a refund": (raw(TAG, PAY_BACK), 1, True, True),
    "a refund": (raw(PAY_BACK), 0, True, True),
    "a change of a price": (raw(RAISE), 0, False, True),
    "a tag, as an action": (by_action("assign-tag", lead_id=7), 1, False, True),
    "a refund without a target": (by_action(REFUND, refund_amount=5), 0, True, False),
    "an unknown action without a target": (unknown("charge-card", total=5), 0, True, True),
    "an unknown action with two amounts": (
        unknown("charge-card", total=5, amount=6),
        0,
        True,
        False,
    ),
    "an unknown command that mails": (raw(Command("send_email", {"id": 7})), 1, False, True),
    "an unknown action that mails": (unknown("send-email", id=7), 1, False, True),
    "an unknown action that reads mail": (unknown("get-email", id=7), 0, False, True),
}


@pytest.mark.parametrize("name", COUNTS)
def test_a_call_counts_its_mail_and_its_money(name: str):
    made, mails, money, plain = COUNTS[name]
    found = derive_operation(made)
    assert (found.email_count, found.moves_money, found.is_unambiguous) == (mails, money, plain)


# call; name of the operation, target, arguments
WHOLES: dict[str, tuple[ValidatedCall, str, Target | None, dict[str, Any]]] = {
    "reads only": (
        raw(READ, Command("search_lead", {"id": 8})),
        "get_lead+search_lead",
        None,
        {"commands": [{"id": 7}, {"id": 8}]},
    ),
    "one read": (raw(READ), "get_lead", Target("id", "7"), {"id": 7}),
    "a read and a write": (raw(READ, TAG), "assign_tag", ADA, {"id": "07", "tag_name": "VIP"}),
    "two writes on one lead": (
        raw(TAG, Command("unassign_tag", {"tag_name": "new"}, {"id": 7})),
        "assign_tag+unassign_tag",
        ADA,
        {"commands": [{"id": "07", "tag_name": "VIP"}, {"id": 7, "tag_name": "new"}]},
    ),
    "two writes on two leads": (
        raw(TAG, Command("unassign_tag", {}, {"id": 8})),
        "assign_tag+unassign_tag",
        None,
        {"commands": [{"id": "07", "tag_name": "VIP"}, {"id": 8}]},
    ),
    "one write twice": (
        raw(TAG, TAG),
        "assign_tag",
        ADA,
        {"commands": [{"id": "07", "tag_name": "VIP"}] * 2},
    ),
    "a lead before a sale that its command names": (
        raw(Command("assign_tag", {"transaction_id": 101}, {"id": 7, "lead_id": 8})),
        "assign_tag",
        BOB,
        {"transaction_id": 101, "id": 7, "lead_id": 8},
    ),
    "an argument before a field of the lead": (
        raw(Command("assign_tag", {"id": 8}, {"id": 7})),
        "assign_tag",
        BOB,
        {"id": 8},
    ),
}


@pytest.mark.parametrize("name", WHOLES)
def test_a_whole_call_is_told_by_its_writes(name: str):
    made, operation, target, given = WHOLES[name]
    found = derive_operation(made)
    assert (found.name, found.target, found.arguments) == (operation, target, given)
