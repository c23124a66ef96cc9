"""Proof by a look at the lead for a lost write of a tag, list, sequence or membership. Pure.

Kartra shows the present state only, and not which call made it. Therefore a write succeeded only if
the lead was read before it, and had another state; it failed only after two late looks that show
the state before it. Nothing is proved where another write of this server changed the same object.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kartra_mcp.calls.reconciliation import (
    LATE_LOOK_DELAY,
    PastLooks,
    ReconcileFinding,
    count_look,
)
from kartra_mcp.core.json_types import is_array
from kartra_mcp.kartra.commands import COMMANDS
from kartra_mcp.kartra.effects import describe_object
from kartra_mcp.kartra.lead_state import SEQUENCE_ENTRY, HeldState, find_object, read_held_before
from kartra_mcp.kartra.names import fold_text

NOTHING_TO_DO = "Nothing has to be done: the lead is as this call would make it."
READ_THE_LEAD = (
    "The ledger keeps only a mask of the lead's address. Read the lead by its address "
    "(kartra_get_lead), then call kartra_reconcile again."
)
_MAY_HAVE_RUN = frozenset({"running", "unknown", "succeeded"})


def evaluate_lead(
    entry: Mapping[str, Any],
    now: HeldState | None,
    others: Iterable[Mapping[str, Any]],
    past: PastLooks,
) -> ReconcileFinding:
    """Return the finding of one more look at the lead of a write.

    Args:
        entry: the intent, with its `facts`: the names of its object, and the state before it.
        now: the state of the object, None if the lead does not show it.
        others: the other writes on this lead, in any state.
        past: time since the intent and since the earlier looks at it.
    """
    operation, facts = str(entry["operation"]), entry["facts"]
    found = find_object(operation)
    if now is None or found is None:
        return ReconcileFinding("unknown", "The lead does not show whether it was done.")
    other = next((row for row in others if _is_related(entry, row)), None)
    if other is not None:
        why = f"Another write ({other['intent']}) may have changed the same about that time."
        return ReconcileFinding("unknown", f"{why} A look cannot tell the two apart.")
    name, adds, before = f"the {describe_object(_names(facts))}", found[1], read_held_before(facts)
    if now.held == adds:
        return _evaluate_reached(name, before, adds=adds)
    if before is not None and (before.held == adds or before.levels != now.levels):
        why = f"The lead's state of {name} changed, but not to what this call would make it."
        return ReconcileFinding("unknown", why)
    if operation == SEQUENCE_ENTRY:
        why = f"The lead is not in {name} now; a short sequence may be over already."
        return ReconcileFinding("unknown", why)
    return count_look(past)


def _evaluate_reached(name: str, before: HeldState | None, *, adds: bool) -> ReconcileFinding:
    """Return the finding if the lead is as the call would make it."""
    now = f"The lead {'has' if adds else 'does not have'} {name} now"
    if before is None:
        why = f"{now}, but it was not read before; so this call is not proved to have done it."
        return ReconcileFinding("unknown", why, check=NOTHING_TO_DO)
    if before.held == adds:
        why = f"{now}, as before the call; so a look cannot show whether it ran."
        return ReconcileFinding("unknown", why, check=NOTHING_TO_DO)
    return ReconcileFinding("succeeded", f"{now}, and {'did not' if adds else 'did'} before.")


def _is_related(entry: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether another write on the lead may have changed the same object meanwhile."""
    if other["state"] not in _MAY_HAVE_RUN:
        return False
    ended = other["ended_at"] if other["state"] == "succeeded" else None
    # Kartra applies some writes later: one that ended shortly before counts too.
    if (
        other["line"] < entry["line"]
        and ended is not None
        and ended < entry["at"] - LATE_LOOK_DELAY
    ):
        return False
    return any(_touches(name, entry, other) for name in str(other["operation"]).split("+"))


def _touches(command: str, entry: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether a command may change the object of the entry; an unknown one may."""
    own, found = find_object(str(entry["operation"])), find_object(command)
    if found is None or own is None:
        return command not in COMMANDS
    if found[0] != own[0]:
        return False
    mine, theirs = (_fold(row["facts"].get(own[0])) for row in (entry, other))
    return not theirs or bool(mine & theirs)


def _fold(names: Any) -> set[str]:
    every = names if is_array(names) else [] if names is None else [names]
    return {fold_text(str(name)) for name in every}


def _names(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name != "step"}
