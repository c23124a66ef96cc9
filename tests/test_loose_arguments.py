"""Arguments in another JSON type than declared, whose meaning is certain (contract, section 3)."""

from __future__ import annotations

import json

import pytest
from harness import action, call, connect, healthy

pytestmark = pytest.mark.anyio

READ, WRITE = "kartra_proxy_read", "kartra_proxy_write"
ADA, POST = 48110, {"method": "POST", "path": "/api"}
GET_ADA = {"get_lead": {"id": ADA}}
FIELDS = [{"field_identifier": "goals", "field_value": "Paint"}]

ACCEPTED = {
    "an id as text": ("kartra_get_lead", {"lead_id": "48110"}),
    "an address that is null": ("kartra_get_lead", {"lead_id": ADA, "email": None}),
    "an id that is empty": ("kartra_get_lead", {"lead_id": "", "email": "ada@example.com"}),
    "an id that is null, in a write": (
        "kartra_assign_tag",
        {"lead_id": None, "email": "ada@example.com", "tag_name": "VIP"},
    ),
    "an empty id, in a write": (
        "kartra_assign_tag",
        {"lead_id": "", "email": "ada@example.com", "tag_name": "VIP"},
    ),
    "a step that is a number": (
        "kartra_subscribe_lead_to_sequence",
        {"lead_id": ADA, "sequence_name": "Welcome", "step": 2},
    ),
    "a list as text": (
        "kartra_edit_lead",
        {"lead_id": ADA, "custom_fields": json.dumps(FIELDS), "confirm": True},
    ),
    "a number as text": ("kartra_ledger", {"count": "5"}),
    "a target that is a number": ("kartra_ledger", {"target": 101}),
    "optional arguments that are null": ("kartra_ledger", {"count": None, "state": None}),
    "an empty number": ("kartra_ledger", {"count": ""}),
    "a raw body as text": (READ, {**POST, "json": json.dumps(GET_ADA)}),
    "a raw form as text": (READ, {**POST, "form": json.dumps(GET_ADA)}),
    "bodies that are null": (READ, {**POST, "json": GET_ADA, "form": None, "raw": None}),
    "an id in the query": (READ, {**POST, "json": GET_ADA, "query": {"trace_id": 7}}),
    "arguments as text": (
        "kartra_run_read",
        {"action": "kartra_get_lead", "arguments": json.dumps({"lead_id": "48110"})},
    ),
    "arguments that are null": (
        "kartra_run_read",
        {"action": "kartra_retrieve_account_tags", "arguments": None},
    ),
}


@pytest.mark.parametrize("case", ACCEPTED)
async def test_what_means_the_same_is_accepted(sandbox, protocol_version, case):
    tool, arguments = ACCEPTED[case]
    if tool == "kartra_run_read":
        sandbox.settings |= {"EXPOSE": "search"}
    async with connect(sandbox, protocol_version) as client:
        await call(client, "kartra_status")
        sandbox.rows("UPDATE leads SET email = 'ada@example.com' WHERE id = ?", ADA)
        answer = await call(client, tool, **arguments)
    assert not answer.failed, answer.text


REFUSED = {
    "an amount that is null": (
        "kartra_refund_transaction",
        {"transaction_id": 101, "refund_amount": None},
    ),
    "an amount that is empty": (
        "kartra_refund_transaction",
        {"transaction_id": 101, "refund_amount": ""},
    ),
    "a field to be written": ("kartra_edit_lead", {"lead_id": ADA, "phone": None}),
    "a level that means all": (
        "kartra_revoke_membership_access",
        {"lead_id": ADA, "membership_name": "Studio Circle", "level_name": None},
    ),
    "a required field": ("kartra_assign_tag", {"lead_id": ADA, "tag_name": None}),
    "a new address": ("kartra_edit_lead", {"lead_id": ADA, "new_email": None}),
    "a text that is not JSON": ("kartra_edit_lead", {"lead_id": ADA, "custom_fields": "[{"}),
    "a text that is another type": ("kartra_edit_lead", {"lead_id": ADA, "custom_fields": "{}"}),
    "a name given twice in a text": (
        "kartra_run_read",
        {"action": "kartra_get_lead", "arguments": '{"lead_id": 1, "lead_id": 2}'},
    ),
    "a required number": ("kartra_reconcile", {"intent": None}),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_could_mean_more_is_refused(sandbox, protocol_version, case):
    tool, arguments = REFUSED[case]
    if tool == "kartra_run_read":
        sandbox.settings |= {"EXPOSE": "search"}
    async with connect(sandbox, protocol_version) as client:
        await call(client, "kartra_status")
        before = sandbox.dump()
        answer = await call(client, tool, **arguments)
    assert (answer.code, answer.executed) == ("invalid_arguments", "no")
    assert sandbox.dump() == before


async def test_null_in_an_unknown_write_is_never_left_out(fake_membrane, protocol_version):
    schema = {"type": "object", "properties": {"lead_id": {"type": "integer"}}}
    plan = healthy(action("reset-leads", inputSchema=schema, type="update-data-record"))
    async with connect(fake_membrane.plan(**plan), protocol_version) as client:
        answer = await call(client, "kartra_reset_leads", lead_id=None, confirm=True)
    assert answer.code == "invalid_arguments"
    assert fake_membrane.runs() == []


NUMBER, TEXT = {"type": "integer"}, {"type": "string"}
NESTED = {
    "an object": ({"type": "object", "properties": {"id": NUMBER}}, {"id": "7"}, {"id": 7}),
    "a list": (
        {"type": "array", "items": {"type": "object", "properties": {"lead_id": NUMBER}}},
        [{"lead_id": "7"}],
        [{"lead_id": 7}],
    ),
    "an open object": (
        {"type": "object", "additionalProperties": NUMBER},
        {"sale_id": "7"},
        {"sale_id": 7},
    ),
    "an object as text": (
        {"type": "object", "properties": {"id": TEXT}},
        '{"id": 7}',
        {"id": "7"},
    ),
    "a text that may be text": ({"type": ["string", "object"]}, '{"id": 7}', '{"id": 7}'),
}


@pytest.mark.parametrize("case", NESTED)
async def test_nested_ids_get_the_declared_type(fake_membrane, protocol_version, case):
    inner, given, sent = NESTED[case]
    schema = {"type": "object", "properties": {"of": inner}}
    plan = healthy(action("find-thing", inputSchema=schema, type="search-data-record"))
    async with connect(fake_membrane.plan(**plan), protocol_version) as client:
        answer = await call(client, "kartra_find_thing", of=given)
    assert not answer.failed, answer.text
    (words,) = fake_membrane.runs()
    assert json.dumps(sent) in " ".join(words) or json.dumps(sent, separators=(",", ":")) in (
        " ".join(words)
    )
