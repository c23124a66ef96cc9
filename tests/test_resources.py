"""Resources show the guide, what is listed and the rules in force; nothing secret."""

import json
from pathlib import Path

import pytest

import kartra_mcp
from kartra_mcp.catalogue.builder import build_catalogue
from kartra_mcp.catalogue.builtin_tools import BUILTIN_TOOLS
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Gate, Risk
from kartra_mcp.ledger.records import CONSENT_PROOFS
from kartra_mcp.policy.gates import ALWAYS_ALLOWED, GATE_TEXTS, Policy
from kartra_mcp.server.guide import render_guide
from kartra_mcp.server.resources import (
    JSON,
    SHOWN_LIMITS,
    list_resource_definitions,
    read_resource,
    select_limits,
)
from kartra_mcp.settings import read_settings

ACTIONS = json.loads(
    (Path(kartra_mcp.__file__).parent / "sandbox/membrane/actions.json").read_text()
)
CATALOGUE = build_catalogue(ACTIONS, BUILTIN_TOOLS, commands=True)
OWN = tuple(BUILTIN_TOOLS.values())
GATED = {
    Risk.READ: Gate.ALLOW,
    Risk.WRITE: Gate.ALLOW,
    Risk.DESTRUCTIVE: Gate.FLAG,
    Risk.IRREVERSIBLE: Gate.PREVIEW,
}
RULES = Policy(GATED)


def read(uri, rules=RULES, limits=None):
    mime, text = read_resource(uri, CATALOGUE, OWN, rules, limits or {})
    assert mime == JSON
    return json.loads(text)


def tools(rules=RULES):
    return {tool["tool"]: tool for tool in read("kartra://catalogue", rules)["tools"]}


def test_every_resource_listed_can_be_read_with_its_type():
    defined = {d["uri"]: d["mimeType"] for d in list_resource_definitions()}

    assert list(defined) == ["kartra://guide", "kartra://catalogue", "kartra://policy"]
    for uri, mime in defined.items():
        assert read_resource(uri, CATALOGUE, OWN, RULES, {})[0] == mime
    assert all(d["name"] and d["title"] and d["description"] for d in list_resource_definitions())


def test_the_guide_is_markdown():
    assert read_resource("kartra://guide", CATALOGUE, (), RULES, {}) == (
        "text/markdown",
        render_guide(),
    )


def test_the_catalogue_has_every_tool_with_its_action_risk_and_gate():
    found = tools()

    assert set(found) == set(CATALOGUE.entries) | set(BUILTIN_TOOLS)
    assert found["kartra_refund_transaction"] == {
        "tool": "kartra_refund_transaction",
        "title": "Refund Transaction",
        "action": "refund-transaction",
        "risk": "irreversible",
        "gate": "preview",
    }
    assert found["kartra_edit_lead"] == {
        "tool": "kartra_edit_lead",
        "title": "Edit Lead",
        "action": "edit-lead",
        "risk": "destructive",
        "gate": "flag",
        "least_risk": "write",
        "least_gate": "allow",
    }
    assert found["kartra_status"]["action"] is None


def test_the_catalogue_shows_the_gate_of_a_tools_own():
    own = (("kartra_refund_*", Gate.HUMAN), ("kartra_edit_lead", Gate.PREVIEW))
    found = tools(Policy(GATED, tools=own))

    assert found["kartra_refund_transaction"]["gate"] == "human"
    assert found["kartra_edit_lead"]["gate"] == "preview"
    assert found["kartra_edit_lead"]["least_gate"] == "preview"
    assert found["kartra_cancel_subscription"]["gate"] == "preview"


def test_the_catalogue_leaves_out_what_the_rules_hide():
    assert "kartra_assign_tag" not in tools(Policy(GATED, read_only=True))
    assert "kartra_proxy_write" not in tools(Policy(GATED, read_only=True))
    assert "kartra_refund_transaction" not in tools(Policy(GATED, deny=("*refund*",)))
    assert "kartra_refund_transaction" not in tools(Policy({**GATED, Risk.IRREVERSIBLE: Gate.DENY}))
    allowed = Policy(GATED, allow=("kartra_get_lead",))
    assert set(tools(allowed)) == {"kartra_get_lead"} | ALWAYS_ALLOWED


def test_the_policy_shows_rules_limits_and_the_meaning_of_consent():
    own = (("kartra_refund_*", Gate.HUMAN),)
    rules = Policy(GATED, allow=("kartra_get_*",), deny=("*page*",), tools=own)
    found = read("kartra://policy", rules, {"timeout": 50.0, "cap_refund": None})

    assert found == {
        "gates": {
            "read": "allow",
            "write": "allow",
            "destructive": "flag",
            "irreversible": "preview",
        },
        "gates_of_tools": {"kartra_refund_*": "human"},
        "gate_meanings": {str(gate): texts.meaning for gate, texts in GATE_TEXTS.items()},
        "read_only": False,
        "check_lead": True,
        "allow": ["kartra_get_*"],
        "deny": ["*page*"],
        "limits": {"timeout": 50.0, "cap_refund": None},
        "consent": dict(CONSENT_PROOFS),
    }
    assert set(found["gate_meanings"]) == set(Gate)
    assert set(found["consent"]) == {"flag", "two_step", "elicitation", "approval"}


def test_a_risk_without_a_gate_and_writes_under_read_only_are_denied_in_the_policy():
    assert read("kartra://policy", Policy())["gates"]["read"] == "deny"
    assert read("kartra://policy")["allow"] == "all"
    gates = read("kartra://policy", Policy(GATED, read_only=True))["gates"]
    assert gates == {
        "read": "allow",
        "write": "deny",
        "destructive": "deny",
        "irreversible": "deny",
    }


def test_limits_are_those_that_the_settings_have_and_nothing_secret():
    said = {"KARTRA_MCP_TIMEOUT": "7", "KARTRA_MCP_CAP_REFUND": "250.50"}
    settings = read_settings({}, {**said, "HOME": "/nowhere", "TOKEN": "canary"})
    limits = select_limits(settings)

    assert limits["timeout"] == 7.0
    assert limits["cap_refund"] == "250.50"
    assert limits["cap_day_amount"] is None
    assert limits["cap_day_count"] == 20
    assert set(limits) == set(SHOWN_LIMITS)
    assert read("kartra://policy", limits=limits)["limits"] == limits
    assert limits["max_children"] == settings.max_children
    assert "canary" not in json.dumps(limits)
    assert "environment" not in limits
    assert "cap_refund" not in select_limits(object())


def test_names_from_membrane_are_cleaned():
    said = read_resource("kartra://policy", CATALOGUE, OWN, Policy(GATED, deny=("a\u202eb",)), {})[
        1
    ]

    assert "\u202e" not in said


@pytest.mark.parametrize("uri", ["", "kartra://", "kartra://guide/", "KARTRA://GUIDE", "file:///"])
def test_any_other_uri_is_refused(uri):
    with pytest.raises(RefusedError) as refused:
        read_resource(uri, CATALOGUE, OWN, RULES, {})

    assert refused.value.code == "invalid_arguments"
