"""Every refusal in one table: its code, nothing executed, no program started, no change.

A case runs against an account whose list is on disk already, so that any start would be one of the
call itself; `lists` marks the few that ask Membrane for the list or the connection first.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from harness import Sandbox, StandIn, action, call, connect, healthy
from hostile_requests import HOSTILE

from kartra_mcp.core.error_codes import ERROR_CODES

pytestmark = pytest.mark.anyio

READ, WRITE = "kartra_proxy_read", "kartra_proxy_write"
REFUND, CANCEL = "kartra_refund_transaction", "kartra_cancel_subscription"
LISTING = {"--version", "connection list", "connection get", "action list", "search kartra"}
YES = {"confirm": True}
BAD, NO = "invalid_arguments", "forbidden_request"


@dataclass
class Case:
    code: str
    tool: str
    arguments: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    lists: bool = False


def body(*commands, **lead):
    return {"method": "POST", "path": "/api", "json": {"lead": lead, "actions": list(commands)}}


def cmd(name, **arguments):
    return {"cmd": name, **arguments}


def refund(amount):
    return Case(BAD, REFUND, {"transaction_id": 101, "refund_amount": amount, **YES})


def raw_price(amount):
    command = cmd("edit_subscription", subscription_id=201, subscription_amount=amount)
    return Case(BAD, WRITE, {**body(command), **YES})


TAG = {"lead_id": 48110, "tag_name": "Alumni"}
LEAD = {"email": "ada@example.com"}
RAW_REFUND = cmd("refund_transaction", transaction_id=101)
RAW_TAG = cmd("assign_tag", tag_name="VIP")
RAW_UNTAG = cmd("unassign_tag", tag_name="VIP")

NO_JSON = {"a number without end"}
"""Hostile samples that no client can encode as JSON."""

CASES = {
    # arguments
    "a field is missing": Case(BAD, "kartra_assign_tag", {"lead_id": 48110}),
    "a field is of another type": Case(BAD, "kartra_assign_tag", {**TAG, "tag_name": 5}),
    "a field is null": Case(BAD, "kartra_assign_tag", {**TAG, "tag_name": None}),
    "a field is a list": Case(BAD, "kartra_get_lead", {"email": ["ada@example.com"]}),
    "an id is no number": Case(BAD, "kartra_get_lead", {"lead_id": "forty"}),
    "an id is a fraction": Case(BAD, REFUND, {"transaction_id": 101.5, **YES}),
    "an id is true": Case(BAD, REFUND, {"transaction_id": True, **YES}),
    "an id has a sign": Case(BAD, REFUND, {"transaction_id": "-101", **YES}),
    "an id has an exponent": Case(BAD, REFUND, {"transaction_id": "1e2", **YES}),
    "an id is empty": Case(BAD, REFUND, {"transaction_id": "", **YES}),
    "a nested field is missing": Case(
        BAD, "kartra_create_lead", {"email": "a@example.com", "custom_fields": [{}]}
    ),
    "a nested field is of another type": Case(
        BAD, "kartra_create_lead", {"email": "a@example.com", "custom_fields": "x"}
    ),
    "a read has a field that is not declared": Case(BAD, "kartra_get_lead", {**LEAD, "id": 1}),
    "a write has a field that is not declared": Case(BAD, "kartra_assign_tag", {**TAG, "x": 1}),
    "a refund has a field that is not declared": Case(
        BAD, REFUND, {"transaction_id": 101, "amount": 5, **YES}
    ),
    "a cancellation has a field that is not declared": Case(
        BAD, CANCEL, {"subscription_id": 201, "pause": True, **YES}
    ),
    "status has an argument": Case(BAD, "kartra_status", {"verbose": True}),
    "a read has the flag of gated tools": Case(BAD, "kartra_get_lead", {**LEAD, **YES}),
    "a character that no program can be given": Case(
        BAD, "kartra_create_lead", {"email": "a\ud800@example.com"}
    ),
    # amounts
    "an amount of 0": refund(0),
    "an amount of 0 as text": refund("0.00"),
    "an amount that is empty": refund(""),
    "an amount that is blank": refund("  "),
    "an amount that is null": refund(None),
    "an amount that is negative": refund(-5),
    "an amount that is negative, as text": refund("-5"),
    "an amount that is not finite": refund("Infinity"),
    "an amount that is not a number": refund("NaN"),
    "an amount finer than a cent": refund(10.001),
    "an amount finer than a cent, as text": refund("10.001"),
    "an amount with a currency": refund("10 USD"),
    "an amount with a comma": refund("10,00"),
    "an amount with an exponent": refund("1e3"),
    "an amount that is true": refund(True),
    "an amount in a list": refund([10]),
    # consent
    "a refund without its flag": Case("confirmation_required", REFUND, {"transaction_id": 101}),
    "a refund whose flag is a text": Case(
        "confirmation_required", REFUND, {"transaction_id": 101, "confirm": "true"}
    ),
    "a cancellation without its flag": Case(
        "confirmation_required", CANCEL, {"subscription_id": 201}
    ),
    "a removal without its flag": Case("confirmation_required", "kartra_unassign_tag", TAG),
    "a new address without the flag": Case(
        "confirmation_required", "kartra_edit_lead", {**LEAD, "new_email": "b@example.com"}
    ),
    "an emptied field without the flag": Case(
        "confirmation_required", "kartra_edit_lead", {**LEAD, "company": ""}
    ),
    "a raw removal without its flag": Case("confirmation_required", WRITE, body(RAW_UNTAG, **LEAD)),
    "a raw command that nobody knows, without the flag": Case(
        "confirmation_required", WRITE, body(cmd("melt_lead"), **LEAD)
    ),
    "a raw delete without the flag": Case(
        "confirmation_required", WRITE, {"method": "DELETE", "path": "/api/leads/1"}
    ),
    # read-only, allow, deny, gates
    "a write under read-only": Case("read_only", "kartra_assign_tag", TAG, {"READ_ONLY": "on"}),
    "a refund under read-only": Case(
        "read_only", REFUND, {"transaction_id": 101, **YES}, {"READ_ONLY": "on"}
    ),
    "a raw write under read-only": Case(
        "read_only", WRITE, {**body(RAW_TAG, **LEAD), **YES}, {"READ_ONLY": "on"}
    ),
    "a read-only setting that is not understood": Case(
        "read_only", "kartra_assign_tag", TAG, {"READ_ONLY": "maybe"}
    ),
    "a tool that deny names": Case(
        "not_allowed", "kartra_get_lead", LEAD, {"DENY": "kartra_get_lead"}
    ),
    "a tool that a pattern of deny matches": Case(
        "not_allowed", REFUND, {"transaction_id": 101, **YES}, {"DENY": "kartra_*fund*"}
    ),
    "a tool that deny names by its command": Case(
        "not_allowed",
        CANCEL,
        {"subscription_id": 201, **YES},
        {"DENY": "kartra_cancel_transaction"},
    ),
    "a tool that deny names by its key": Case(
        "not_allowed", "kartra_assign_tag", TAG, {"DENY": "kartra_assign-tag"}
    ),
    "a tool that both lists name": Case(
        "not_allowed",
        "kartra_assign_tag",
        TAG,
        {"ALLOW": "kartra_assign_tag", "DENY": "kartra_assign_tag"},
    ),
    "a tool that allow does not name": Case(
        "not_allowed", "kartra_assign_tag", TAG, {"ALLOW": "kartra_get_*"}
    ),
    "a raw read that allow does not name": Case(
        "not_allowed",
        READ,
        {"method": "POST", "path": "/api", "json": {"get_lead": LEAD}},
        {"ALLOW": "kartra_get_lead"},
    ),
    "a raw read of a command that deny names": Case(
        "not_allowed",
        READ,
        {"method": "POST", "path": "/api", "json": {"get_lead": LEAD}},
        {"DENY": "kartra_get_lead"},
    ),
    "a raw write of a command that deny names": Case(
        "not_allowed",
        WRITE,
        {**body(RAW_TAG, **LEAD), **YES},
        {"DENY": "kartra_assign_tag"},
    ),
    "a raw write where one command of two is denied": Case(
        "not_allowed",
        WRITE,
        {**body(cmd("give_points_to_lead", points=1), RAW_TAG, **LEAD), **YES},
        {"DENY": "kartra_assign_tag"},
    ),
    "a destructive tool whose gate is deny": Case(
        "not_allowed", "kartra_unassign_tag", {**TAG, **YES}, {"GATE_DESTRUCTIVE": "deny"}
    ),
    "a raw destructive command whose gate is deny": Case(
        "not_allowed",
        WRITE,
        {**body(RAW_UNTAG, **LEAD), **YES},
        {"GATE_DESTRUCTIVE": "deny"},
    ),
    "an edit that empties, where the gate is deny": Case(
        "not_allowed",
        "kartra_edit_lead",
        {**LEAD, "company": "", **YES},
        {"GATE_DESTRUCTIVE": "deny"},
    ),
    "an irreversible tool whose gate is deny": Case(
        "not_allowed", REFUND, {"transaction_id": 101, **YES}, {"GATE_IRREVERSIBLE": "deny"}
    ),
    "a gate that is not understood": Case(
        "not_allowed", REFUND, {"transaction_id": 101, **YES}, {"GATE_IRREVERSIBLE": "ask"}
    ),
    # raw requests
    "a write through the raw read": Case(NO, READ, body(RAW_TAG, **LEAD)),
    "a mixture through the raw read": Case(NO, READ, body(cmd("search_lead"), RAW_TAG, **LEAD)),
    "an unknown command through the raw read": Case(NO, READ, body(cmd("peek"), **LEAD)),
    "a put through the raw read": Case(NO, READ, {"method": "PUT", "path": "/api"}),
    "a post of nothing through the raw read": Case(NO, READ, {"method": "POST", "path": "/api"}),
    "a get with a body through the raw read": Case(
        NO, READ, {"path": "/api", "json": {"get_lead": LEAD}}
    ),
    "a refund through the raw read": Case(NO, READ, body(RAW_REFUND)),
    "a refund through the raw write": Case(NO, WRITE, {**body(RAW_REFUND), **YES}),
    "a refund as a form": Case(
        NO,
        WRITE,
        {
            "method": "POST",
            "path": "/api",
            "raw": "actions[0][cmd]=refund_transaction&actions[0][transaction_id]=101",
            **YES,
        },
    ),
    "a refund behind another command": Case(
        NO, WRITE, {**body(RAW_TAG, RAW_REFUND, **LEAD), **YES}
    ),
    "a cancellation through the raw write": Case(
        NO, WRITE, {**body(cmd("cancel_transaction", transaction_id=102)), **YES}
    ),
    "a cancellation by status through the raw write": Case(
        NO,
        WRITE,
        {
            **body(
                cmd(
                    "modify_subscription_status",
                    subscription_id=201,
                    subscription_status_modification="cancel",
                )
            ),
            **YES,
        },
    ),
    "the raw read with the flag of the other": Case(BAD, READ, {"path": "/api", **YES}),
    "an unknown refund through the raw write": Case(
        NO, WRITE, {**body(cmd("refundOrder", transaction_id=101)), **YES}
    ),
    "an unknown cancellation through the raw write": Case(
        NO, WRITE, {**body(cmd("cancel_subscription_now", subscription_id=201)), **YES}
    ),
    "an unknown charge where the irreversible gate is deny": Case(
        "not_allowed",
        WRITE,
        {**body(cmd("chargeLead", amount=5), **LEAD), **YES},
        {"GATE_IRREVERSIBLE": "deny"},
    ),
    "a raw command that deny names in another spelling": Case(
        "not_allowed",
        WRITE,
        {**body(cmd("giveBonus"), **LEAD), **YES},
        {"DENY": "kartra_give_bonus"},
    ),
    "a tool that deny names without the prefix": Case(
        "not_allowed", REFUND, {"transaction_id": 101, **YES}, {"DENY": "refund_transaction"}
    ),
    "a raw amount of 0": raw_price(0),
    "a raw amount that is negative": raw_price("-5"),
    "a raw amount finer than a cent": raw_price(10.001),
    "a raw amount that is empty": raw_price(""),
    "a raw amount that is null": raw_price(None),
    "a raw amount of 0 of a command that nobody knows": Case(
        BAD, WRITE, {**body(cmd("charge_lead", amount=0), **LEAD), **YES}
    ),
    # size
    "a raw body that is too large": Case(
        "input_too_large", WRITE, {"method": "POST", "path": "/api", "raw": "a=" + "x" * 100_000}
    ),
    "an input that is too large": Case(
        "input_too_large",
        "kartra_create_lead",
        {"email": "a@example.com", "address": "x" * 200_000},
        lists=True,
    ),
    # names
    "a tool that does not exist": Case("unknown_tool", "kartra_refund", YES, lists=True),
    "a tool without our prefix": Case("unknown_tool", "get_lead", lists=True),
    "a tool with an empty name": Case("unknown_tool", "", lists=True),
    "a tool whose name is no name": Case("unknown_tool", "kartra_\u202e\x00" * 99, lists=True),
}


@pytest.fixture(scope="module")
def listed(tmp_path_factory) -> Sandbox:
    """An account whose list is on disk."""
    made = Sandbox(tmp_path_factory.mktemp("listed") / "state")

    async def list_tools():
        async with connect(made, "legacy") as client:
            await client.list_tools()

    anyio.run(list_tools)
    return made


@pytest.fixture
def sandbox(listed, tmp_path) -> Sandbox:
    shutil.copytree(listed.folder, tmp_path / "state")
    return Sandbox(tmp_path / "state", {"GATE_IRREVERSIBLE": "flag"})


def assert_refused(answer, code):
    error = answer.error
    assert code in ERROR_CODES
    assert (error["code"], error["executed"]) == (code, "no")
    assert error["message"].strip()
    assert error["remedy"].strip()
    assert answer.structured is None


def listing_only(words):
    return words[0] in LISTING or " ".join(words[:2]) in LISTING


@pytest.mark.parametrize("name", CASES)
async def test_refused_and_nothing_started(sandbox: Sandbox, name, protocol_version):
    case = CASES[name]
    sandbox.settings = {"GATE_IRREVERSIBLE": "flag", **case.settings}
    before, started = sandbox.dump(), sandbox.started()
    async with connect(sandbox, protocol_version) as client:
        answer = await call(client, case.tool, **case.arguments)
    assert_refused(answer, case.code)
    fresh = sandbox.started()[len(started) :]
    assert all(map(listing_only, fresh)), fresh
    assert case.lists or not fresh
    assert sandbox.dump() == before


@pytest.mark.parametrize("tool", [READ, WRITE])
async def test_every_hostile_raw_request_is_refused_and_nothing_started(
    sandbox, tool, protocol_version
):
    before, started = sandbox.dump(), sandbox.started()
    consent = YES if tool == WRITE else {}
    wrong = {}
    async with connect(sandbox, protocol_version) as client:
        for name, (arguments, code) in HOSTILE.items():
            if name in NO_JSON:
                continue
            try:
                assert_refused(await call(client, tool, **arguments, **consent), code)
            except Exception as slip:  # noqa: BLE001  all of them, then reported together
                wrong[name] = str(slip)
    assert wrong == {}
    assert (sandbox.dump(), sandbox.started()) == (before, started)


async def test_a_hidden_tool_is_not_listed_and_a_shown_one_is(sandbox):
    sandbox.settings = {"READ_ONLY": "on", "DENY": "kartra_get_lead"}
    async with connect(sandbox, "legacy") as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
    assert "kartra_status" in names
    assert "kartra_retrieve_account_tags" in names
    assert not names & {"kartra_get_lead", "kartra_assign_tag", REFUND, WRITE}


async def test_status_always_stays(sandbox):
    always = {"kartra_status", "kartra_read_more"}
    sandbox.settings = {"DENY": "*", "ALLOW": "nothing"}
    async with connect(sandbox, "legacy") as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert "kartra_status" in names
        assert names <= always
        assert not (await call(client, "kartra_status")).failed


# ── Refusals that Membrane's own state makes ──

SITUATIONS = {
    "wrong program": ("wrong_program", {"--version": {"out": "membrane agency 0.1.4\n"}}),
    "wrong version": ("wrong_program", {"--version": {"out": "0.1.4\n"}}),
    "no connection": ("no_connection", {"connection list": {"out": {"items": []}}}),
    "not logged in": (
        "not_logged_in",
        {
            verb: {
                "out": {"type": "bad_request", "key": "not_authenticated", "message": "no"},
                "exit": 1,
            }
            for verb in ("connection list", "action list", "connection get")
        },
    ),
    "not logged in, told only in words": (
        "not_logged_in",
        {
            verb: {"err": "\x1b[31mNot logged in\x1b[0m\n", "exit": 1}
            for verb in ("connection list", "action list")
        },
    ),
}


def connection(identity, **more):
    return {"id": identity, "name": "Kartra", "integration": {"key": "kartra"}, **more}


for state in ("BUILDING", "CLIENT_ACTION_REQUIRED", "SETUP_FAILED", "DISCONNECTED", "SOMETHING"):
    SITUATIONS[f"a connection that is {state}"] = (
        "connection_not_ready",
        {"connection list": {"out": {"items": [connection("c1", state=state)]}}},
    )
SITUATIONS["a connection that is disconnected"] = (
    "connection_not_ready",
    {"connection list": {"out": {"items": [connection("c1", state="READY", disconnected=True)]}}},
)
SITUATIONS["several connections"] = (
    "several_connections",
    {
        "connection list": {
            "out": {"items": [connection("c1", state="READY"), connection("c2", state="READY")]}
        }
    },
)

CALLS = {
    "kartra_get_lead": LEAD,
    "kartra_assign_tag": TAG,
    REFUND: {"transaction_id": 101, **YES},
    READ: {"method": "POST", "path": "/api", "json": {"get_lead": LEAD}},
    WRITE: {**body(RAW_TAG, **LEAD), **YES},
}


@pytest.mark.parametrize("name", SITUATIONS)
async def test_what_membrane_lacks_is_refused_before_anything_runs(fake_membrane: StandIn, name):
    code, plan = SITUATIONS[name]
    actions = [action("get-lead"), action("assign-tag"), action("refund-transaction")]
    fake_membrane.plan(**(healthy(*actions) | plan))
    async with connect(fake_membrane, "2026-07-28") as client:
        for tool, arguments in CALLS.items():
            if code == "wrong_program" and tool in ("kartra_get_lead", READ):
                continue
            given = {} if tool in ("kartra_get_lead", "kartra_assign_tag") else arguments
            given = YES if tool == REFUND else given
            assert_refused(await call(client, tool, **given), code)
    assert fake_membrane.runs() == []
    assert all(map(listing_only, fake_membrane.started()))


@pytest.mark.parametrize("tool", CALLS)
async def test_without_the_program_every_call_reports_so(tmp_path, protocol_version, tool):
    nowhere = StandIn(tmp_path, {"MEMBRANE": str(tmp_path / "membrane")})
    async with connect(nowhere, protocol_version) as client:
        assert_refused(await call(client, tool, **CALLS[tool]), "program_missing")
        status = (await call(client, "kartra_status")).result
    assert status["problems"][0]["code"] == "program_missing"
    assert json.dumps(status["problems"]).count("KARTRA_MCP_MEMBRANE")


@pytest.mark.parametrize(
    ("setting", "value", "tool", "code", "used"),
    [
        ("GATE_IRREVERSIBLE", "Humann", REFUND, "not_allowed", "deny"),
        ("READ_ONLY", "onn", "kartra_assign_tag", "read_only", "on"),
    ],
)
async def test_a_mistyped_restriction_is_named_by_the_refusal_that_it_causes(
    setting: str, value: str, tool: str, code: str, used: str, tmp_path
):
    """The remedy named the lists and the gates, and not the typo, as `kartra_status` does."""
    place = Sandbox(tmp_path / "state", {setting: value}).arrange("reset")
    async with connect(place, "legacy") as client:
        refused = await call(client, tool, transaction_id=101)
        (known,) = (await call(client, "kartra_status")).result["settings_not_usable"]
    assert refused.code == code
    assert known.startswith(f"KARTRA_MCP_{setting} is not ")
    assert known.endswith(f"; {used} is used instead")
    assert refused.error["remedy"].startswith(f"{known}. The user should correct the setting")
