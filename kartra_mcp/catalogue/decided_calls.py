"""The one place where a call gets its operation and its decision. Pure."""

from __future__ import annotations

from dataclasses import replace

from kartra_mcp.core.deferred import Deferred
from kartra_mcp.core.models import Call, Gate, Risk, ValidatedCall, Verdict
from kartra_mcp.kartra.operations import derive_operation
from kartra_mcp.policy.gates import Policy, evaluate_call, strictest
from kartra_mcp.policy.risk import classify_command


def raise_risk(call: Call, risk: Risk, rules: Policy) -> Call:
    """Return the call with a higher risk, as found in the account, and the decision for it."""
    return replace(call, risk=risk, decision=evaluate_call(call, rules, risk))


def raise_gate(call: Call, gate: Gate) -> Call:
    """Return the call under at least this gate, for a reason that was found in the account."""
    decision = call.decision
    higher = strictest(decision.gate, gate)
    verdict = Verdict.CONFIRM if decision.verdict is Verdict.RUN else decision.verdict
    return replace(call, decision=replace(decision, gate=higher, verdict=verdict))


def decide_call(call: ValidatedCall, rules: Policy) -> Call:
    """Return the call with its operation and the decision of these rules."""
    decided = Call(
        tool=call.tool,
        title=call.title,
        request=call.request,
        risk=call.risk,
        policy_names=call.policy_names,
        commands=call.commands,
        arguments=call.arguments,
        consent=call.consent,
        deferred=Deferred(lambda: derive_operation(call, classify_command)),
        decision=evaluate_call(call, rules),
    )
    if decided.is_guarded:  # now, in the thread that large arguments are read in
        decided.deferred.compute()
    return decided
