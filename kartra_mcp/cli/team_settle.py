"""`kartra-mcp team settle` and `team drift`: reads of Kartra and Membrane for each account."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from kartra_mcp.app.team_account import make_account_settings, open_account_tools
from kartra_mcp.cli.runner import print_refusal
from kartra_mcp.cli.team_context import TeamContext
from kartra_mcp.cli.team_ledgers import make_store, open_database
from kartra_mcp.cli.team_statement import state_outcome
from kartra_mcp.core.display import display_value, get_os_user, print_json
from kartra_mcp.core.exit_codes import EXIT_FAILED, EXIT_OK
from kartra_mcp.core.terminal import print_line
from kartra_mcp.team.account_tools import AccountTools
from kartra_mcp.team.drifting import LIMITS, DriftReport, find_drift, find_twins
from kartra_mcp.team.settling import SettleReport, settle_account

if TYPE_CHECKING:
    from kartra_mcp.ledger.postgres.store import PostgresStore

LOG_DAYS = 30
ACTOR = "team job"

T = TypeVar("T")


def settle(given: Namespace, place: TeamContext) -> int:
    """Return 0 if nobody is needed, 1 if something was found that only people settle."""
    if given.intent is not None:
        return state_outcome(given, place)

    async def work(tools: AccountTools, store: PostgresStore) -> SettleReport:
        from kartra_mcp.app.team_jobs import StoreGate

        return await settle_account(
            tools, StoreGate(store, f"team settle, OS user {get_os_user()}")
        )

    reports = _run_each(place, work)
    if given.json:
        print_json({"accounts": {name: _settle_json(one) for name, one in reports.items()}})
    else:
        for name, report in reports.items():
            _print_settle(name, report)
    found = any(report.needs_people for report in reports.values())
    return EXIT_FAILED if found else EXIT_OK


def drift(given: Namespace, place: TeamContext) -> int:
    """Return 0 if every refund that could be seen is explained, else 1."""
    since = given.since if given.since is not None else time.time() - LOG_DAYS * 86_400

    async def work(tools: AccountTools, _: PostgresStore) -> DriftReport:
        return await find_drift(tools, since)

    reports = _run_each(place, work)
    twins = find_twins(reports)
    if given.json:
        accounts = {name: _drift_json(one) for name, one in reports.items()}
        limits = " ".join(LIMITS.split())
        print_json({"accounts": accounts, "one_account": twins, "limits": limits})
    else:
        for name, report in reports.items():
            _print_drift(name, report)
        for one, other in twins:
            print_line(f"{one} and {other} seem to be one Kartra account: each has a ledger.")
            print_line("Stop the writes of one, and remove it from the team file.")
        print_line(f"\n{LIMITS}")
    found = bool(twins) or any(report.found for report in reports.values())
    return EXIT_FAILED if found else EXIT_OK


def _run_each(
    place: TeamContext, work: Callable[[AccountTools, PostgresStore], Awaitable[T]]
) -> dict[str, T]:
    """Run a job on each selected account, one after the other."""

    async def run_all() -> dict[str, T]:
        found: dict[str, T] = {}
        times = place.team.config.writes
        with open_database(place.team) as connections:
            for name in place.accounts:
                account = place.team.config.accounts[name]
                settings = make_account_settings(place.team, account, place.state_dir, ACTOR)
                store = make_store(connections, name, place.team.make_lead_key(account))
                async with open_account_tools(settings, account, store, times) as tools:
                    found[name] = await work(tools, store)
        return found

    return anyio.run(run_all)


def _settle_json(report: SettleReport) -> dict[str, Any]:
    return {
        "overdue": report.overdue,
        "settled": report.settled,
        "waiting": report.waiting,
        "conflicts": report.conflicts,
        "adopted": report.adopted,
        "lost": report.lost,
        "altered": [{"intent": intent, "entry": n} for intent, n in report.altered],
        "runs": report.runs,
        "swept": report.swept,
        **({"error": report.problem.as_dict()} if report.problem is not None else {}),
    }


def _print_settle(name: str, report: SettleReport) -> None:
    for line in _describe_settle(report):
        print_line(f"{name}: {line}")
    if report.problem is not None:
        print_refusal(report.problem, as_json=False)


def _describe_settle(report: SettleReport) -> Iterator[str]:
    for intent in report.overdue:
        yield f"{intent} had no outcome in time; it is unknown now."
    yield from _describe_missing(report)
    for one in (*report.settled, *report.waiting):
        yield f"{one['intent']} is {one['state']}: {_one_line(one)}"
        if "check" in one:
            yield f"  {display_value(one['check'])}"
    for intent in report.conflicts:
        yield f"a late answer contradicts {intent}: all writes are stopped. Two persons run"
        yield f"  `kartra-mcp team settle {intent} failed --by NAME --reason TEXT`, or succeeded."
    rest = "nothing is missing" if report.swept else "writes may stay stopped until this ends well"
    yield f"{report.runs} run logs were compared; {rest}."


def _describe_missing(report: SettleReport) -> Iterator[str]:
    for intent in report.adopted:
        yield f"{intent} was missing, found in the run logs, and recorded."
    for lost in report.lost:
        yield f"{lost['intent']} is missing and not recorded: {_one_line(lost)}"
    for intent, number in report.altered:
        yield f"entry {number} was another one when {intent} was sent."


def _one_line(found: Mapping[str, Any]) -> str:
    return display_value(found["why"])


def _drift_json(report: DriftReport) -> dict[str, Any]:
    return {
        "sales": report.sales,
        "drifts": [
            {
                "kind": one.kind,
                "sale": one.sale,
                "amount": None if one.amount is None else f"{one.amount:.2f}",
                "refund": one.row,
                "intent": one.intent,
            }
            for one in report.drifts
        ],
        "unread": [{"sale": sale, "why": why} for sale, why in report.unread],
        "foreign_runs": report.foreign,
        **({"error": report.problem.as_dict()} if report.problem is not None else {}),
    }


def _print_drift(name: str, report: DriftReport) -> None:
    print_line(f"{name}: {report.sales} sales were compared.")
    for one in report.drifts:
        amount = "" if one.amount is None else f" of {one.amount:.2f}"
        of = f" ({one.row or one.intent})"
        print_line(f"{name}: {one.kind}: a refund{amount} of sale {display_value(one.sale)}{of}")
    for sale, why in report.unread:
        print_line(f"{name}: sale {display_value(sale)} was not read in full: {display_value(why)}")
    for run in report.foreign:
        print_line(f"{name}: the run {display_value(run)} of a refund is of another program.")
    if report.problem is not None:
        print_refusal(report.problem, as_json=False)
