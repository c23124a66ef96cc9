"""Each published action does its work through its tool; ids as number and as text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from harness import Sandbox, call, connect

from kartra_mcp.kartra.commands import PUBLISHED_KEYS

pytestmark = pytest.mark.anyio

ADA = 48110
TAGS = (
    "SELECT name FROM tags JOIN lead_tags ON tag_id = id WHERE lead_id = 48110 ORDER BY name",
    [("Customer",), ("Studio Circle",), ("VIP",), ("Watercolour",)],
)


@dataclass
class Read:
    """Answer of a read, and the SQL that returns the same from the account."""

    arguments: dict[str, Any]
    said: Callable[[Any], list[Any]]
    sql: str


@dataclass
class Write:
    """Result of the SQL on the account, before and after."""

    arguments: dict[str, Any]
    sql: str
    before: list[tuple[Any, ...]]
    after: list[tuple[Any, ...]]
    gated: bool = False


def names(key: str) -> Callable[[Any], list[Any]]:
    def said(result: Any) -> list[Any]:
        return [(name,) for name in result[key]]

    return said


READS = {
    "retrieve-account-pages": Read(
        {}, names("account_pages"), "SELECT name FROM pages ORDER BY id"
    ),
    "retrieve-account-custom-fields": Read(
        {},
        lambda r: [(f["field_identifier"], f["field_type"]) for f in r["custom_fields"]],
        "SELECT identifier, type FROM custom_fields ORDER BY id",
    ),
    "retrieve-account-sequences": Read(
        {}, names("account_sequences"), "SELECT name FROM sequences ORDER BY id"
    ),
    "retrieve-account-tags": Read({}, names("account_tags"), "SELECT name FROM tags ORDER BY id"),
    "retrieve-account-lists": Read(
        {}, names("account_lists"), "SELECT name FROM lists ORDER BY id"
    ),
    "get-lead": Read(
        {"lead_id": ADA},
        lambda r: [tuple(r["lead_details"][name] for name in ("email", "first_name", "zip"))],
        "SELECT email, first_name, zip FROM leads WHERE id = 48110",
    ),
    "get-transaction-details": Read(
        {"transaction_id": 101},
        lambda r: [
            (
                int(r["transaction_details"]["transaction_id"]),
                round(r["transaction_details"]["transaction_full_amount"] * 100),
                r["transaction_details"]["transaction_type"],
            )
        ],
        "SELECT id, cents, type FROM transactions WHERE id = 101",
    ),
    "retrieve-transactions-from-lead": Read(
        {"lead_id": ADA},
        lambda r: [
            (int(t["transaction_id"]), t["transaction_type"]) for t in r["transaction_list"]
        ],
        "SELECT id, type FROM transactions WHERE lead_id = 48110 ORDER BY id",
    ),
}

ON_LIST = "SELECT active FROM lead_lists JOIN lists ON list_id = id WHERE lead_id = 48110 AND name"
IN_SEQUENCE = (
    "SELECT step, status FROM lead_sequences JOIN sequences ON sequence_id = id"
    " WHERE lead_id = 48110 AND name"
)
LEVELS = "SELECT level_id, active FROM lead_memberships WHERE lead_id = 48110 ORDER BY level_id"

WRITES = {
    "create-lead": Write(
        {"email": "made@example.com", "first_name": "Made"},
        "SELECT first_name FROM leads WHERE email = 'made@example.com'",
        [],
        [("Made",)],
    ),
    "edit-lead": Write(
        {"lead_id": ADA, "company": "Kiln & Co"},
        "SELECT company, first_name FROM leads WHERE id = 48110",
        [("Moreno Ceramics", "Ada")],
        [("Kiln & Co", "Ada")],
    ),
    "assign-tag": Write(
        {"lead_id": ADA, "tag_name": "Très actif"},
        *TAGS,
        [*TAGS[1][:2], ("Très actif",), *TAGS[1][2:]],
    ),
    "unassign-tag": Write(
        {"lead_id": ADA, "tag_name": "VIP"}, *TAGS, [*TAGS[1][:2], *TAGS[1][3:]], gated=True
    ),
    "subscribe-lead-to-list": Write(
        {"lead_id": ADA, "list_name": "Alumni"}, f"{ON_LIST} = 'Alumni'", [], [(1,)]
    ),
    "unsubscribe-lead-from-list": Write(
        {"lead_id": ADA, "list_name": "Studio Circle Members"},
        f"{ON_LIST} = 'Studio Circle Members'",
        [(1,)],
        [(0,)],
        gated=True,
    ),
    "subscribe-lead-to-sequence": Write(
        {"lead_id": ADA, "sequence_name": "Win-back", "step": "2"},
        f"{IN_SEQUENCE} = 'Win-back'",
        [],
        [("2", "active")],
    ),
    "unsubscribe-lead-from-sequence": Write(
        {"lead_id": ADA, "sequence_name": "Studio Circle onboarding"},
        f"{IN_SEQUENCE} = 'Studio Circle onboarding'",
        [("3a", "active")],
        [("3a", "unsubscribed")],
        gated=True,
    ),
    "cancel-subscription": Write(
        {"subscription_id": 201},
        "SELECT id, status FROM subscriptions WHERE id IN (201, 207) ORDER BY id",
        [(201, "Active"), (207, "Active")],
        [(201, "Cancelled"), (207, "Active")],
        gated=True,
    ),
    "refund-transaction": Write(
        {"transaction_id": 101},
        "SELECT type, cents FROM transactions WHERE parent_id = 101",
        [],
        [("refund", 9700)],
        gated=True,
    ),
    "grant-membership-access": Write(
        {"lead_id": ADA, "membership_name": "Teacher Portal", "level_name": "Assistant"},
        LEVELS,
        [(802, 1), (811, 1)],
        [(802, 1), (811, 1), (821, 1)],
    ),
    "revoke-membership-access": Write(
        {"lead_id": ADA, "membership_name": "Studio Circle", "level_name": "Gold"},
        LEVELS,
        [(802, 1), (811, 1)],
        [(802, 0), (811, 1)],
        gated=True,
    ),
}

MAILS = {
    "assign-tag",
    "unassign-tag",
    "subscribe-lead-to-list",
    "subscribe-lead-to-sequence",
    "grant-membership-access",
}
"""Writes that can start mail: the lead is read first."""

FORMS = {"number": int, "text": str}


def tool_of(key: str) -> str:
    return "kartra_" + key.replace("-", "_")


def given(arguments, form):
    numbers = {name: FORMS[form](v) for name, v in arguments.items() if isinstance(v, int)}
    return {**arguments, **numbers}


def test_every_published_action_is_tried():
    assert sorted({**READS, **WRITES}) == sorted(PUBLISHED_KEYS)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("key", READS)
async def test_a_read_answers_what_the_account_holds(sandbox: Sandbox, key, form):
    read = READS[key]
    era = {"number": "legacy", "text": "2026-07-28"}[form]
    async with connect(sandbox, era) as client:
        await client.list_tools()
        before = sandbox.dump()
        answer = await call(client, tool_of(key), **given(read.arguments, form))
        found = sandbox.rows(read.sql)
        assert found
        assert flat(read.said, answer.result) == found
        assert len(sandbox.runs()) == 1
        assert sandbox.dump() == before


def flat(said, result):
    """Commands stand in `actions[0].<command>` or at the top, by Kartra's own two shapes."""
    try:
        return said(result)
    except KeyError:
        return said(next(iter(result["actions"][0].values())))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("key", WRITES)
async def test_a_write_changes_what_it_says_and_only_once(sandbox: Sandbox, key, form):
    write = WRITES[key]
    era = {"number": "legacy", "text": "2026-07-28"}[form]
    reads = key == "edit-lead" or key in MAILS  # what it overwrites, or whom it mails
    consent = {"confirm": True} if write.gated or key == "edit-lead" else {}
    async with connect(sandbox, era) as client:
        await client.list_tools()
        assert sandbox.rows(write.sql) == write.before
        answer = await call(client, tool_of(key), **given(write.arguments, form), **consent)
        assert answer.result["status"] == "Success"
        assert sandbox.rows(write.sql) == write.after
        assert len(sandbox.runs()) == 1 + reads
        assert len(sandbox.writes()) == 1


@pytest.mark.parametrize("key", [key for key, write in WRITES.items() if write.gated])
async def test_a_gated_write_without_its_flag_changes_nothing(sandbox: Sandbox, key):
    async with connect(sandbox, "legacy") as client:
        await client.list_tools()
        before, started = sandbox.dump(), sandbox.started()
        answer = await call(client, tool_of(key), **WRITES[key].arguments)
        assert (answer.code, answer.executed) == ("confirmation_required", "no")
        assert "Nothing was done." in answer.error["message"]
        assert (sandbox.dump(), sandbox.started()) == (before, started)


async def test_a_write_can_be_read_back_through_another_tool(sandbox: Sandbox, protocol_version):
    async with connect(sandbox, protocol_version) as client:
        await call(client, "kartra_assign_tag", email="new@example.net", tag_name="VIP")
        lead = (await call(client, "kartra_get_lead", email="new@example.net")).result
    assert [tag["tag_name"] for tag in lead["lead_details"]["tags"]] == ["VIP"]


@pytest.mark.parametrize("amount", [9.99, "9.99"], ids=FORMS)
async def test_a_part_of_a_transaction_is_refunded(sandbox: Sandbox, amount):
    async with connect(sandbox, "legacy") as client:
        answer = await call(
            client,
            "kartra_refund_transaction",
            transaction_id="101",
            refund_amount=amount,
            confirm=True,
        )
    assert answer.result["status"] == "Success"
    sql = "SELECT type, cents FROM transactions WHERE parent_id = 101"
    assert sandbox.rows(sql) == [("partial_refund", 999)]


async def test_changing_an_address_asks_first(sandbox: Sandbox):
    async with connect(sandbox, "legacy") as client:
        edit = {"lead_id": ADA, "new_email": "moved@example.com"}
        asked = await call(client, "kartra_edit_lead", **edit)
        assert asked.code == "confirmation_required"
        await call(client, "kartra_edit_lead", **edit, confirm=True)
    assert sandbox.rows("SELECT email FROM leads WHERE id = ?", ADA) == [("moved@example.com",)]
