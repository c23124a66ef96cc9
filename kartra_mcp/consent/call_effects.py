"""Effect of a call in words, with the lead and the object that it names. Pure."""

from __future__ import annotations

from kartra_mcp.core.models import Call, OperationKind
from kartra_mcp.kartra import fields
from kartra_mcp.kartra.effects import Effect, describe_effect
from kartra_mcp.kartra.lead_state import HeldState


def call_effect(call: Call, *, mask: bool = False, held: HeldState | None = None) -> Effect:
    """Return the effect of a call.

    `mask` hides addresses, for the ledger; `held` is the state of its object before it.
    """
    target = call.operation.target
    is_lead = target is not None and target.kind == "lead"
    who = _describe_lead(call, str(target) if is_lead else "")
    what = str(target) if target else "it"
    if call.operation.kind is OperationKind.CANCELLATION and what.startswith("transaction "):
        what = f"the subscription of {what}"  # the sale itself is not cancelled
    return describe_effect(call.commands, call.title, who=who, what=what, mask=mask, held=held)


def _describe_lead(call: Call, target: str) -> str:
    """Return the address or id of the lead that a call names."""
    email = find_email(call)
    numbers = [str(c.lead["id"]) for c in call.commands if c.lead.get("id")]
    return email or target or (f"lead {numbers[0]}" if numbers else "the lead")


def find_email(call: Call) -> str:
    found = fields.find_values(call.operation.arguments, frozenset({"email", "leademail"}))
    return next((value for _, value in found if isinstance(value, str) and "@" in value), "")
