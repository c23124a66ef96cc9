"""`team drift`: refunds in Kartra, and runs in Membrane, that no entry explains."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kartra_mcp.consent.collect import facts_for_entry
from kartra_mcp.consent.facts import Read
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.json_types import as_list
from kartra_mcp.core.models import Command, Connection
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.kartra.response_search import first_field
from kartra_mcp.ledger.hash_chain import dump_canonical
from kartra_mcp.team.account_tools import AccountTools, incomplete_error
from kartra_mcp.team.refund_drift import Drift, compare_refunds, parse_evidence, parse_ledger_refund
from kartra_mcp.team.run_log_sweep import get_intent

REFUND = "refund_transaction"
_NAMES: Mapping[str, str] = {
    "retrieve_account_tags": "account_tags",
    "retrieve_account_lists": "account_lists",
    "retrieve_account_sequences": "account_sequences",
    "retrieve_custom_fields": "custom_fields",
}
"""Commands that list the names of an account, and the field of each response."""
MIN_NAMES = 5
LIMITS = """\
Kartra lists the transactions of one lead, not all refunds: a refund of a sale that this ledger
never named is not seen. Raw requests and command tools leave no run log, and Membrane keeps its
logs for a limited time."""


@dataclass(slots=True)
class DriftReport:
    """Result of one account.

    Attributes:
        sales: number of sales that were read.
        drifts: the differences.
        unread: sales that could not be read, with the reason.
        foreign: runs of refunds in Membrane's log that carry no intent of this ledger.
        connection: id of the connection; "" if it could not be read.
        fingerprint: digest of the names of the account's fields, lists and tags; "" for none.
        problem: why run logs or account could not be read; None if they could.
    """

    sales: int = 0
    drifts: list[Drift] = field(default_factory=list[Drift])
    unread: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    foreign: list[str] = field(default_factory=list[str])
    connection: str = ""
    fingerprint: str = ""
    problem: KartraMCPError | None = None

    @property
    def found(self) -> bool:
        kinds = {drift.kind for drift in self.drifts} - {"before"}
        return bool(kinds or self.foreign or self.unread) or self.problem is not None


async def find_drift(tools: AccountTools, since: float) -> DriftReport:
    """Compare every sale that the ledger knows with Kartra; nothing is changed.

    Args:
        tools: the account.
        since: run logs are read from this time on, in seconds since the epoch.
    """
    report = DriftReport()
    try:
        connection = await tools.find_connection()
        report.connection, read = connection.id, tools.reader(connection)
        report.fingerprint = await _read_fingerprint(read)
        for sale, found in _by_sale(await run_in_thread(tools.ledger.export)).items():
            await _compare_sale(sale, found, read, report)
        await _find_foreign(tools, connection, since, report)
    except KartraMCPError as problem:
        report.problem = problem
    return report


async def _read_fingerprint(read: Read) -> str:
    """Return a digest of the account's names: two connections to one account have the same.

    It is "" for an account with so few names that another one may have them too.
    """
    names = [as_list(first_field(await read(Command(one)), name)) for one, name in _NAMES.items()]
    if sum(map(len, names)) < MIN_NAMES:
        return ""
    return hashlib.sha256(dump_canonical(names).encode()).hexdigest()


def find_twins(reports: Mapping[str, DriftReport]) -> list[tuple[str, str]]:
    """Return the accounts that are, or seem to be, one Kartra account."""
    seen: dict[str, str] = {}
    twins: list[tuple[str, str]] = []
    for name, report in reports.items():
        for mark in (report.connection, report.fingerprint):
            other = seen.setdefault(mark, name) if mark else name
            if other != name and (other, name) not in twins:
                twins.append((other, name))
    return twins


def _by_sale(entries: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the refunds of each transaction that the ledger names; commands of a chain too."""
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        for part in entry.get("parts") or [entry]:
            if part["target_kind"] == "transaction" and part["target"]:
                refunds = found.setdefault(str(part["target"]), [])
                if part["operation"] == REFUND:
                    refunds.append({**entry, **part})
    return found


async def _compare_sale(
    sale: str, entries: list[dict[str, Any]], read: Read, report: DriftReport
) -> None:
    asked: Mapping[str, Any] = {"target_kind": "transaction", "target": sale}
    try:
        facts = await facts_for_entry(REFUND, asked, read)
    except KartraMCPError as problem:
        report.unread.append((sale, problem.message))
        return
    report.sales += 1
    if facts.missing:
        report.unread.append((sale, facts.missing[0]))
    rows = parse_evidence(sale, facts.evidence)
    found = compare_refunds(rows, map(parse_ledger_refund, entries))
    # Rows that were not read may be those that the ledger has.
    report.drifts += [one for one in found if one.kind != "absent" or not facts.missing]


async def _find_foreign(
    tools: AccountTools, connection: Connection, since: float, report: DriftReport
) -> None:
    """Find runs of refund actions that carry no intent of this ledger."""
    logged = await tools.list_runs(connection, since)
    if not logged.complete:
        raise incomplete_error("there are too many")
    intents = {intent for run in logged.runs if (intent := get_intent(run))}
    known = await run_in_thread(tools.lost.list_known, intents)
    catalogue = tools.gateway.account.snapshot.catalogue.entries.values()
    refunds = {
        name
        for one in catalogue
        if one.is_action and one.command == REFUND
        for name in (one.action.id, one.action.key)
    }
    report.foreign += [
        run.id for run in logged.runs if run.action in refunds and get_intent(run) not in known
    ]
