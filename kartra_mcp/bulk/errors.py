"""Errors of the bulk tools, and the id of a run in a preview. Pure."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.json_types import as_dict
from kartra_mcp.core.models import Executed, Gate
from kartra_mcp.core.principal import Principal
from kartra_mcp.ledger.bulk_records import BulkRun
from kartra_mcp.ledger.errors import explain
from kartra_mcp.policy.gates import Policy
from kartra_mcp.policy.roles import Right, forbidden_role_error


def paused_error(run: BulkRun, told: Mapping[str, Any]) -> KartraMCPError:
    executed = Executed.YES if told["done"] else Executed.NO
    return KartraMCPError(
        "bulk_paused",
        f"The bulk run {run.id} is paused: {run.why}. {told['done']} of {run.total} items are "
        "done; the others did not run, or have the outcome that `detail` names.",
        f'Correct the cause, then call kartra_bulk_run with {{"bulk_id": "{run.id}"}} alone. '
        "Items that ran are not repeated. kartra_reconcile settles unknown ones.",
        executed=Executed.UNKNOWN if told["unknown"] else executed,
        detail=dict(told),
    )


def with_bulk_id(problem: RefusedError, run: BulkRun) -> RefusedError:
    """Add the id of the run to a preview: the run alone is repeated, not its items."""
    if problem.confirmation is not None:
        problem.confirmation = {**problem.confirmation, "bulk_id": run.id}
        problem.message = _describe_suppressed(run) + problem.message
        problem.remedy += (
            f' Instead of tool and items, give {{"bulk_id": "{run.id}"}}: the run is kept.'
        )
    return problem


def require_own_run(run: BulkRun, principal: Principal | None) -> None:
    """Refuse a run that another person of a team planned: its consent is theirs."""
    own = "" if principal is None else principal.key
    if run.binding is not None and run.binding.requester != own:
        raise RefusedError(
            "confirmation_mismatch",
            f"The bulk run {run.id} was planned by another person. Nothing was done.",
            "Plan a run of your own: call kartra_bulk_run with its tool and items.",
        )


def require_cancel_right(run: BulkRun, rules: Policy) -> None:
    """Refuse who may only read, in a team: the end of a run of writes is a decision about them."""
    if rules.rights is not None and not run.is_read and Right.WRITE not in rules.rights:
        raise forbidden_role_error()


@contextmanager
def interrupted_by_ledger(run: BulkRun) -> Generator[None]:
    """Let no error of the ledger claim that nothing was done while items of writes ran."""
    try:
        yield
    except RefusedError as problem:
        if problem.code != "ledger_unavailable" or run.is_read:
            raise
        raise KartraMCPError(
            problem.code,
            f"The ledger could not be used while {run.id} ran: {explain(problem)} Items may have "
            "run in this call.",
            f'Call kartra_bulk_status {{"bulk_id": "{run.id}"}} to see them, then kartra_bulk_run '
            "with the bulk_id alone: no item runs twice.",
            executed=Executed.UNKNOWN,
        ) from problem


def _describe_suppressed(run: BulkRun) -> str:
    """Return how many leads should get no mail, for which reasons, and whether they run; or ""."""
    found = as_dict(run.facts.get("suppressed"))
    if not found:
        return ""
    total, reasons = found["total"], ", ".join(as_dict(found.get("by_reason")))
    who = "1 lead" if total == 1 else f"{total:,} leads"
    runs = "but would run, as demanded" if run.include_suppressed else "and would be left out"
    return f"{who} should get no mail ({reasons}), {runs}. "


def several_sources_error(given: list[str]) -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        f"{' and '.join(given)} cannot be combined. Nothing was done.",
        "Give one of them.",
    )


def no_tool_error() -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        "tool: it is required for a new run. Nothing was done.",
        "Give `tool` and `items`, or `bulk_id` alone to continue a run.",
    )


def gated_read_error(tool: str, gate: Gate) -> RefusedError:
    """Return the refusal of reads that ask the user each time: a run of reads asks nobody."""
    return RefusedError(
        "not_allowed",
        f"The policy file gives {tool}, a read, the gate {gate}; reads in bulk do not ask the "
        "user. Nothing was done.",
        f"Call {tool} for each item alone.",
    )


def no_run_error() -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        "where: it needs the bulk_id of a run. Nothing was done.",
        "Call kartra_bulk_status without arguments to list the runs.",
    )


def other_connection_error() -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        "This run belongs to another connection than the one being served. Nothing was done.",
        "Serve that connection (KARTRA_MCP_CONNECTION), then repeat the call.",
    )
