"""Rights of the roles of a team: every role, scope and risk in one table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kartra_mcp.catalogue.builder import build_catalogue
from kartra_mcp.catalogue.builtin_tools import BUILTIN_TOOLS
from kartra_mcp.core.models import Gate, Risk, Verdict
from kartra_mcp.core.principal import ROLES, SCOPES, Principal, make_principal_key
from kartra_mcp.policy.gates import Policy, evaluate, hidden_reason, resolve_gate
from kartra_mcp.policy.roles import TOOL_RIGHTS, Right, call_rights, page_rights

GATES = {
    Risk.READ: Gate.ALLOW,
    Risk.WRITE: Gate.ALLOW,
    Risk.DESTRUCTIVE: Gate.FLAG,
    Risk.IRREVERSIBLE: Gate.PREVIEW,
}
MEMBER = Principal("https://login.example.com", "u1", "Ada")

PERMITTED = {
    "viewer": {Risk.READ},
    "operator": {Risk.READ, Risk.WRITE, Risk.DESTRUCTIVE},
    "requester": {Risk.READ, Risk.WRITE, Risk.DESTRUCTIVE, Risk.IRREVERSIBLE},
    "approver": {Risk.READ},
    "auditor": set[Risk](),
    "admin": set[Risk](),
}
LET_THROUGH = {
    "kartra:read": {Risk.READ},
    "kartra:write": {Risk.WRITE, Risk.DESTRUCTIVE},
    "kartra:money": {Risk.WRITE, Risk.DESTRUCTIVE, Risk.IRREVERSIBLE},
}


@pytest.mark.parametrize("risk", Risk)
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("role", ROLES)
def test_role_and_scope_both_permit_a_call(role, scope, risk):
    rights = call_rights(replace(MEMBER, roles=frozenset({role}), scopes=frozenset({scope})))
    verdict = evaluate(risk, {"kartra_tool"}, Policy(GATES, rights=rights))
    permitted = risk in PERMITTED[role] and risk in LET_THROUGH[scope]
    assert (verdict is not Verdict.FORBIDDEN_ROLE) == permitted


def test_the_status_needs_no_role():
    rules = Policy(GATES, rights=frozenset())
    assert evaluate(Risk.READ, {"kartra_status"}, rules) is Verdict.RUN


@pytest.mark.parametrize("role", ROLES)
def test_every_role_but_none_reads_the_ledger(role):
    rules = Policy(GATES, rights=call_rights(replace(MEMBER, roles=frozenset({role}))))
    assert evaluate(Risk.READ, {"kartra_ledger"}, rules) is Verdict.RUN


@pytest.mark.parametrize("tool", TOOL_RIGHTS)
def test_an_action_that_has_the_name_of_a_built_in_tool_needs_the_right_of_its_risk(tool):
    key = tool.removeprefix("kartra_")
    raw = {"id": "1", "key": key, "name": key, "type": "custom"}
    (entry,) = build_catalogue([raw], frozenset(BUILTIN_TOOLS)).entries.values()
    assert tool in entry.names
    rules = Policy(GATES, rights=frozenset({TOOL_RIGHTS[tool]}) - {Right.WRITE, Right.MONEY})
    assert hidden_reason(entry.min_risk, entry.names, rules) is Verdict.FORBIDDEN_ROLE
    may_write = replace(rules, rights=frozenset({Right.WRITE, Right.MONEY}))
    assert hidden_reason(entry.min_risk, entry.names, may_write) is None


def test_an_irreversible_call_of_a_team_needs_an_approver_whatever_the_policy_file_permits():
    rules = Policy(GATES, tools=(("kartra_refund_transaction", Gate.ALLOW),), rights=frozenset())
    assert resolve_gate(Risk.IRREVERSIBLE, {"kartra_refund_transaction"}, rules) is Gate.HUMAN
    single = replace(rules, rights=None)
    assert resolve_gate(Risk.IRREVERSIBLE, {"kartra_refund_transaction"}, single) is Gate.ALLOW


def test_an_approver_of_a_team_opens_no_gate_that_denies():
    rules = Policy({**GATES, Risk.IRREVERSIBLE: Gate.DENY}, rights=frozenset(Right))
    assert resolve_gate(Risk.IRREVERSIBLE, {"kartra_refund_transaction"}, rules) is Gate.DENY
    assert evaluate(Risk.IRREVERSIBLE, {"kartra_x"}, rules) is Verdict.NOT_ALLOWED


@pytest.mark.parametrize("role", ROLES)
def test_an_agent_of_no_user_has_no_rights_on_the_page(role):
    agent = replace(MEMBER, roles=frozenset({role}), is_user=False)
    assert not page_rights(agent)
    user = replace(agent, is_user=True)
    assert (Right.APPROVE in page_rights(user)) == (role == "approver")


def test_no_scope_lets_an_approval_through_a_call():
    approver = replace(MEMBER, roles=frozenset(ROLES))
    assert Right.APPROVE not in call_rights(approver)


def test_two_identities_never_share_a_key():
    assert make_principal_key("https://a", "bc") != make_principal_key("https://ab", "c")
