"""The policy file, its digest and the report of a looser one; unreadable means strictest."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from consent_actors import confirmed, lines, sandbox, story
from harness import call, connect
from hypothesis import given
from hypothesis import strategies as st

from kartra_mcp.core.models import Gate, Risk
from kartra_mcp.policy.fingerprint import policy_as_dict, policy_digest, relaxations
from kartra_mcp.policy.gates import Policy
from kartra_mcp.policy.limits import Limits
from kartra_mcp.policy.policy_file import parse_policy_file
from kartra_mcp.settings import read_settings

WRITE, DESTRUCTIVE, IRREVERSIBLE = Risk.WRITE, Risk.DESTRUCTIVE, Risk.IRREVERSIBLE
NOTHING_WRITES = {WRITE: Gate.DENY, DESTRUCTIVE: Gate.DENY, IRREVERSIBLE: Gate.DENY}
GOOD = """
[gates]
destructive = "preview"
irreversible = "HUMAN"

[tools."kartra_assign_tag"]
gate = "flag"

[tools]
"kartra_*_membership_access" = "deny"

[caps]
refund = 250
day_amount = "999.50"
day_count = 5
mail_per_hour = 20
"""


def test_a_good_file():
    found = parse_policy_file(GOOD)
    assert found.errors == ()
    assert found.gates == {DESTRUCTIVE: Gate.PREVIEW, IRREVERSIBLE: Gate.HUMAN}
    assert dict(found.tools) == {
        "kartra_assign_tag": Gate.FLAG,
        "kartra_*_membership_access": Gate.DENY,
    }
    assert found.caps == {
        "cap_refund": Decimal(250),
        "cap_day_amount": Decimal("999.50"),
        "cap_day_count": 5,
        "mail_per_hour": 20,
    }


def test_an_empty_file():
    found = parse_policy_file("")
    assert (found.gates, found.tools, found.caps, found.errors) == ({}, (), {}, ())


BAD = {
    "could not be read": (None, "readable"),
    "no TOML": ("[gates", "readable"),
    "a name of many parts": ("a." * 20_000 + "a = 1", "readable"),
    "an unknown table": ('[tool."kartra_assign_tag"]\ngate = "human"', "tool"),
    "an unknown risk": ('[gates]\nwrite = "deny"', "[gates] write"),
    "an unknown cap": ("[caps]\nrefunds = 5", "[caps] refunds"),
    "gates are no table": ('gates = "deny"', "[gates]"),
    "tools are no table": ("tools = 5", "[tools]"),
    "a gate that is none": ('[gates]\ndestructive = "ask"', "[gates] destructive"),
    "a gate that is no text": ("[gates]\nirreversible = true", "[gates] irreversible"),
    "a tool's gate that is none": ('[tools]\nkartra_x = "ask"', "[tools] kartra_x"),
    "a tool without a gate": ('[tools."kartra_x"]\ngates = "deny"', "[tools] kartra_x"),
    "more than a gate": ('[tools."kartra_x"]\ngate = "deny"\nwhy = ""', "[tools] kartra_x"),
    "a name that no tool has": ('[tools]\nrefund-transaction = "human"', "refund-transaction"),
    "a negative cap": ("[caps]\nrefund = -5", "[caps] refund"),
    "a cap that is no number": ('[caps]\nday_count = "many"', "[caps] day_count"),
    "a cap that is true": ("[caps]\nday_count = true", "[caps] day_count"),
    "a cap finer than a cent": ("[caps]\nrefund = 0.001", "[caps] refund"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_the_strictest_and_named(name):
    text, named = BAD[name]
    found = parse_policy_file(text)
    assert found.gates == NOTHING_WRITES
    assert any(named in why for why, _ in found.errors), found.errors
    assert all(gate is Gate.DENY for pattern, gate in found.tools if pattern == "kartra_x")
    assert all(value == 0 for value in found.caps.values())


@given(st.text(max_size=200))
def test_no_text_stops_it(text):
    found = parse_policy_file(text)
    assert found.errors == () or found.gates == NOTHING_WRITES


def settings(tmp_path, text: str | None, **more: str) -> Any:
    file = tmp_path / "policy.toml"
    if text is not None:
        file.write_text(text)
    own = {f"KARTRA_MCP_{name}": value for name, value in more.items()}
    return read_settings({}, {"HOME": str(tmp_path), "KARTRA_MCP_POLICY": str(file), **own})


def test_the_stricter_of_file_and_environment(tmp_path):
    stricter = settings(tmp_path, GOOD, GATE_DESTRUCTIVE="human", CAP_REFUND="100")
    assert stricter.gates[DESTRUCTIVE] is Gate.HUMAN
    assert stricter.limits.cap_refund == 100
    looser = settings(tmp_path, GOOD, GATE_IRREVERSIBLE="allow", CAP_REFUND="1000")
    assert looser.gates[IRREVERSIBLE] is Gate.HUMAN
    assert looser.limits.cap_refund == 250
    assert looser.limits.mail_per_hour == 20
    assert looser.limits.cap_day_count == 5


def test_a_value_that_only_one_of_them_sets_applies_even_if_it_is_looser(tmp_path):
    looser = '[gates]\nirreversible = "allow"\n[caps]\nday_count = 1000\n'
    by_file = settings(tmp_path, looser)
    assert (by_file.gates[IRREVERSIBLE], by_file.limits.cap_day_count) == (Gate.ALLOW, 1000)
    by_environment = settings(tmp_path, "", GATE_IRREVERSIBLE="allow", CAP_DAY_COUNT="1000")
    assert by_environment.gates[IRREVERSIBLE] is Gate.ALLOW
    assert by_environment.limits.cap_day_count == 1000


def test_a_file_that_is_not_there(tmp_path):
    found = settings(tmp_path, None)
    assert {risk: found.gates[risk] for risk in NOTHING_WRITES} == NOTHING_WRITES
    assert found.gates[Risk.READ] is Gate.ALLOW
    assert "KARTRA_MCP_POLICY" in str(found.errors[0])


# Gates of single tools, through the door.

pytest_async = pytest.mark.anyio
TAG = {"lead_id": 48110, "tag_name": "Affiliate"}


def raw(*commands: dict[str, Any], **lead: Any) -> dict[str, Any]:
    body = {"lead": lead, "actions": list(commands)}
    return {"method": "POST", "path": "/api", "json": body}


RAW_TAG = raw({"cmd": "assign_tag", "tag_name": "Affiliate"}, id=48110)
BOTH = [("kartra_assign_tag", TAG), ("kartra_proxy_write", RAW_TAG)]


def gated(tmp_path, **gates: str):
    file = tmp_path / "policy.toml"
    file.write_text("".join(f'[tools."kartra_{n}"]\ngate = "{g}"\n' for n, g in gates.items()))
    return sandbox(tmp_path / "state", POLICY=str(file))


@pytest_async
@pytest.mark.parametrize(("tool", "arguments"), BOTH, ids=["action", "raw"])
@pytest.mark.parametrize("gate", ["flag", "preview", "human", "deny"])
async def test_a_gate_holds_for_the_action_and_its_raw_form(tmp_path, gate, tool, arguments):
    place = gated(tmp_path, assign_tag=gate)
    before = place.dump()
    async with connect(place, "legacy") as client:
        listed = {t.name: t.input_schema["properties"] for t in (await client.list_tools()).tools}
        assert ("kartra_assign_tag" in listed) == (gate != "deny")
        assert "confirm" in listed.get(tool, {"confirm": 1})
        first = await call(client, tool, **arguments)
        codes = {"deny": "not_allowed", "human": "approval_required"}
        assert first.code == codes.get(gate, "confirmation_required")
        assert place.dump() == before
        if gate in ("flag", "preview"):
            more = {"confirm": True} if gate == "flag" else confirmed(first)
            second = await call(client, tool, **arguments, **more)
            assert not second.failed, second.text
            assert place.dump() != before
            assert story(place)[tool][0] == {"flag": "flag", "preview": "two_step"}[gate]


@pytest_async
async def test_a_preview_of_a_write_shows_the_agreed_change(tmp_path):
    place = gated(tmp_path, assign_tag="preview")
    async with connect(place, "legacy") as client:
        for tool, arguments in BOTH:
            shown = (await call(client, tool, **arguments)).error["confirmation"]
            for word in ("48110", '"Affiliate"'):
                assert word in shown["summary"]
            assert "Affiliate" in str(shown["facts"])
            assert "ssign" in shown["summary"]


RAW_READ = {"method": "POST", "path": "/api", "json": {"get_lead": {"email": "ada@example.com"}}}
READS = [("kartra_get_lead", {"email": "ada@example.com"}), ("kartra_proxy_read", RAW_READ)]


@pytest_async
@pytest.mark.parametrize(("tool", "arguments"), READS, ids=["action", "raw"])
@pytest.mark.parametrize("gate", ["flag", "preview", "human"])
async def test_a_gate_holds_for_a_read_too(tmp_path, gate, tool, arguments):
    place = gated(tmp_path, get_lead=gate)
    async with connect(place, "legacy") as client:
        first = await call(client, tool, **arguments)
        code = "approval_required" if gate == "human" else "confirmation_required"
        assert (first.code, first.executed) == (code, "no")
        assert place.runs() == []
        if gate != "human":
            more = {"confirm": True} if gate == "flag" else confirmed(first)
            second = await call(client, tool, **arguments, **more)
            assert "ada@example.com" in str(second.result)


@pytest_async
async def test_what_shows_the_way_stays(tmp_path):
    place = gated(tmp_path, **{"*": "deny"})
    async with connect(place, "legacy") as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert names == {"kartra_status", "kartra_read_more"}
        status = (await call(client, "kartra_status")).result
    assert status["rules"]["tools"] == {"kartra_*": "deny"}


@pytest_async
async def test_a_bad_file_through_the_door(tmp_path):
    place = gated(tmp_path)
    (tmp_path / "policy.toml").write_text("[gates")
    async with connect(place, "legacy") as client:
        assert (await call(client, "kartra_assign_tag", **TAG)).code == "not_allowed"
        assert not (await call(client, "kartra_get_lead", email="ada@example.com")).failed
        status = (await call(client, "kartra_status")).result
    assert "KARTRA_MCP_POLICY is not a readable TOML file" in status["settings_not_usable"][0]


# The policy in force.


def policy(limits: Limits | None = None, *, outside: bool = False, **rules: Any) -> dict[str, Any]:
    gates = {
        Risk.READ: Gate.ALLOW,
        WRITE: Gate.ALLOW,
        DESTRUCTIVE: Gate.FLAG,
        IRREVERSIBLE: Gate.PREVIEW,
        **rules.pop("gates", {}),
    }
    tools = tuple((name, Gate(gate)) for name, gate in rules.pop("tools", {}).items())
    made = Policy(gates, tools=tools, **rules)
    return policy_as_dict(made, limits or Limits(), outside=outside)


USUAL = policy()
LOOSER: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "a gate": (
        policy(gates={IRREVERSIBLE: Gate.HUMAN}),
        USUAL,
        ["gate of irreversible: human to preview"],
    ),
    "a tool's gate is gone": (
        policy(tools={"kartra_unassign_tag": "preview"}),
        USUAL,
        ["gate of kartra_unassign_tag (destructive): preview to flag"],
    ),
    "a write's gate is gone": (
        policy(tools={"kartra_assign_tag": "flag"}),
        USUAL,
        ["gate of kartra_assign_tag (write): flag to allow"],
    ),
    "a tool's gate is new, and looser": (
        USUAL,
        policy(tools={"kartra_refund-transaction": "allow"}),
        ["gate of kartra_refund_transaction (irreversible): preview to allow"],
    ),
    "a tool that is not known": (
        USUAL,
        policy(tools={"kartra_charge_card": "flag"}),
        ["gate of kartra_charge_card (irreversible): preview to flag"],
    ),
    "read-only": (policy(read_only=True), USUAL, ["read-only is off"]),
    "allow": (policy(allow=("a",)), policy(allow=("a", "b")), ["the allow list is wider"]),
    "allow all": (policy(allow=("a",)), USUAL, ["the allow list is wider"]),
    "deny": (policy(deny=("a", "b")), policy(deny=("a",)), ["the deny list is shorter"]),
    "a cap": (
        policy(Limits(cap_refund=Decimal(50))),
        policy(Limits(cap_refund=Decimal("50.01"))),
        ["cap_refund is higher"],
    ),
    "no cap": (policy(Limits(cap_day_count=5)), policy(Limits(cap_day_count=None)), [
        "cap_day_count is higher"
    ]),
    "mail": (policy(Limits(mail_per_hour=1)), USUAL, ["mail_per_hour is higher"]),
    "the window": (
        policy(Limits(repeat_window_days=31)),
        USUAL,
        ["the repeat window is shorter"],
    ),
    "approval": (
        policy(outside=True),
        USUAL,
        ["approval outside the client is not required any more"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOSER)
def test_a_looser_policy(name):
    before, now, told = LOOSER[name]
    assert relaxations(before, now) == told
    assert relaxations(before, before) == relaxations(now, now) == []
    assert policy_digest(before) != policy_digest(now)


@pytest.mark.parametrize("name", sorted(set(LOOSER) - {"a tool's gate is new, and looser"}))
def test_a_stricter_policy_is_no_looser_one(name):
    before, now, _ = LOOSER[name]
    if name != "a tool that is not known":
        assert relaxations(now, before) == []


def test_a_pattern_together_with_a_name():
    """The strictest matching rule applies, so a further looser one changes nothing."""
    before = policy(tools={"kartra_*": "human"})
    assert (
        relaxations(before, policy(tools={"kartra_*": "human", "kartra_assign_tag": "flag"})) == []
    )
    fewer = relaxations(before, policy(tools={"kartra_*_tag": "human"}))
    assert "gate of kartra_refund_transaction (irreversible): human to preview" in fewer
    assert not any("assign_tag" in line for line in fewer)


@pytest_async
async def test_a_loosening_is_reported(tmp_path):
    place = sandbox(tmp_path, GATE_IRREVERSIBLE="human")
    told = []
    for settings_now in ({}, {}, {"GATE_IRREVERSIBLE": "preview"}, {"CAP_REFUND": "10"}):
        place.settings |= settings_now
        async with connect(place, "legacy") as client:
            told.append((await call(client, "kartra_status")).result["ledger"])
    assert [status["loosened"] for status in told] == [
        [],
        [],
        ["gate of irreversible: human to preview"],
        [],
    ]
    noted = lines(place, "policy")
    assert [line["loosened"] for line in noted] == [
        [],
        ["gate of irreversible: human to preview"],
        [],
    ]
    assert [line["digest"] for line in noted] == list(dict.fromkeys(t["policy"] for t in told))
