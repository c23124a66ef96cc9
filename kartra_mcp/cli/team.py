"""`kartra-mcp team`: jobs on the ledgers of a team."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from kartra_mcp.argument_parser import CommandParser
from kartra_mcp.cli.runner import print_refusal, timestamp
from kartra_mcp.cli.team_check import check
from kartra_mcp.cli.team_context import (
    TeamCommand,
    TeamContext,
    add_team_arguments,
    report_each,
    run_team_command,
)
from kartra_mcp.cli.team_init import add_init
from kartra_mcp.cli.team_ledgers import migrate_database, open_database
from kartra_mcp.cli.team_revoke import add_subject, release, revoke
from kartra_mcp.cli.team_settle import drift, settle
from kartra_mcp.cli.team_statement import OUTCOMES
from kartra_mcp.core.display import display_value, print_json
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.exit_codes import EXIT_FAILED, EXIT_OK
from kartra_mcp.core.terminal import print_line
from kartra_mcp.team.ledger_jobs import (
    TABLES,
    AnchorResult,
    LedgerJobs,
    TeamVerification,
    make_jobs,
    write_evidence,
)

T = TypeVar("T")


def team(words: Sequence[str]) -> int:
    """Return 0: done and sound; 1: refused, or something was found."""
    given = _make_parser().parse_args(words)
    return given.command(given)


def _make_parser() -> ArgumentParser:
    parser = CommandParser(
        prog="kartra-mcp team", description="The ledgers of a team: docs/team/ledger.md."
    )
    commands: Any = parser.add_subparsers(
        metavar="init|check|migrate|settle|drift|revoke|release|anchor|verify|evidence",
        required=True,
    )
    about = "write a commented team file to edit"
    add_init(commands.add_parser("init", help=about, description=about))
    about = "check the file, its database, its login and its accounts"
    checking = _add(commands, "check", check, about)
    checking.add_argument("--notify", action="store_true", help="send a test notice, too")
    _add(commands, "migrate", _migrate, "create or update the tables of every account")
    _add_settle(commands)
    drifting = _add(commands, "drift", drift, "compare refunds in Kartra with the ledger")
    drifting.add_argument(
        "--since", type=timestamp, metavar="2026-11-01", help="read run logs from this day on"
    )
    about = "revoke the access of a person or a token; without one, list what is revoked"
    add_subject(_add(commands, "revoke", revoke, about))
    add_subject(_add(commands, "release", release, "release a revoked access"))
    _add(commands, "anchor", _anchor, "anchor the newest entry outside the database")
    _add(commands, "verify", _verify, "check every entry, the tables, the anchors")
    evidence = _add(commands, "evidence", _write_evidence, "write a bundle for an auditor")
    evidence.add_argument("--output", type=Path, required=True, metavar="DIR", help="a new folder")
    return parser


def _add(commands: Any, name: str, command: TeamCommand, about: str) -> ArgumentParser:
    parser: ArgumentParser = commands.add_parser(name, help=about, description=about)
    reads_membrane = command in (check, settle, drift)
    parser.set_defaults(
        command=partial(run_team_command, command=command, check_secrets=reads_membrane)
    )
    add_team_arguments(parser)
    return parser


def _add_settle(commands: Any) -> None:
    about = "settle unknown writes; find writes that the ledger lacks"
    parser = _add(commands, "settle", settle, about)
    parser.add_argument("intent", nargs="?", metavar="INTENT", help="state the outcome of this one")
    parser.add_argument("outcome", nargs="?", choices=OUTCOMES)
    parser.add_argument("--by", metavar="NAME", help="the person who states it")
    parser.add_argument("--reason", metavar="TEXT", help="what was seen in Kartra")


def _migrate(given: Namespace, place: TeamContext) -> int:
    applied = migrate_database(place.team)
    if given.json:
        print_json({"accounts": applied})
        return EXIT_OK
    for name, numbers in applied.items():
        done = f"migrations {', '.join(map(str, numbers))} applied" if numbers else "up to date"
        print_line(f"{name}: {done}.")
    return EXIT_OK


@contextmanager
def _open_jobs(place: TeamContext) -> Generator[list[LedgerJobs]]:
    """Open the ledger of each selected account."""
    with open_database(place.team) as connections:
        from kartra_mcp.app.team_jobs import AccountEntries

        yield [
            make_jobs(place.team, name, AccountEntries(connections, name), place.state_dir)
            for name in place.accounts
        ]


def _run_each(place: TeamContext, work: Callable[[LedgerJobs], T]) -> dict[str, T | KartraMCPError]:
    """Run a job on each account; one that cannot be read does not keep the others from it."""
    found: dict[str, T | KartraMCPError] = {}
    with _open_jobs(place) as every:
        for jobs in every:
            try:
                found[jobs.account] = work(jobs)
            except KartraMCPError as problem:
                found[jobs.account] = problem
    return found


def _verify(given: Namespace, place: TeamContext) -> int:
    found = _run_each(place, LedgerJobs.verify)
    report_each(given, found, _as_json, _describe)
    sound = all(isinstance(one, TeamVerification) and one.ok for one in found.values())
    return EXIT_OK if sound else EXIT_FAILED


def _as_json(report: TeamVerification) -> dict[str, Any]:
    fault = report.fault
    return {
        "ok": report.ok,
        "count": report.count,
        "head": report.head.hash,
        "anchors": report.anchors,
        "anchored": report.anchored,
        "broken": fault.n if fault is not None and fault.n != TABLES else None,
        "why": "" if fault is None else fault.why,
        "refused": report.refused,
        "remembered": report.remembered,
    }


def _describe(report: TeamVerification) -> Iterator[str]:
    if report.fault is not None:
        where = f" at entry {report.fault.n}" if report.fault.n != TABLES else ""
        yield f"the ledger is broken{where}: {display_value(report.fault.why)}."
        yield "Stop the writes, keep the database and the anchors, and find out who changed it."
        return
    entries = "1 entry" if report.count == 1 else f"{report.count} entries"
    yield f"the ledger is valid: {entries}, each hash matches."
    if report.anchors:
        left = report.count - report.anchored
        newest = f"the newest at entry {report.anchored}; {left} entries are newer"
        yield f"{report.anchors} anchors match, {newest}."
    else:
        yield "There is no anchor yet: an end that was cut off before now is not noticed."
    if not report.remembered:
        yield "The state folder cannot be written: this machine will not notice a rollback."
    if report.refused:
        yield f"Writes are refused: {display_value(report.refused)}."


def _anchor(given: Namespace, place: TeamContext) -> int:
    at = time.time()
    found = _run_each(place, lambda jobs: jobs.anchor(at))
    report_each(given, found, _anchor_json, _describe_anchor)
    for one in found.values():
        if isinstance(one, AnchorResult) and one.problem is not None and not given.json:
            print_refusal(one.problem, as_json=False)
    done = all(isinstance(one, AnchorResult) and one.problem is None for one in found.values())
    return EXIT_OK if done else EXIT_FAILED


def _anchor_json(result: AnchorResult) -> dict[str, Any]:
    problem = result.problem
    return {
        "n": result.head.count,
        "hash": result.head.hash,
        "added": result.added,
        "timestamp": result.timestamp,
        "signature_checked": result.signature_checked,
        **({"error": problem.as_dict()} if problem is not None else {}),
    }


def _describe_anchor(result: AnchorResult) -> Iterator[str]:
    if not result.head.count:
        yield "there is no entry yet, and nothing to anchor."
        return
    done = "is anchored" if result.added else "was anchored before"
    stamped = " with a timestamp" if result.timestamp else ""
    yield f"entry {result.head.count} {done}{stamped}."
    if result.timestamp and not result.signature_checked:
        yield "Its signature was not checked: name the root in anchor.root_certificate."


def _write_evidence(given: Namespace, place: TeamContext) -> int:
    with _open_jobs(place) as every:
        made = write_evidence(place.team, every, given.output, time.time())
    if given.json:
        counts = {name: head.count for name, head in made.ledgers.items()}
        about = {"accounts": counts, "anchors": made.anchors, "manifest_sha256": made.digest}
        print_json({"folder": str(made.folder), **about})
        return EXIT_OK
    entries = sum(head.count for head in made.ledgers.values())
    print_line(f"{entries} entries and {made.anchors} anchors are in {made.folder}.")
    print_line(f"SHA-256 of manifest.json, to be kept elsewhere: {made.digest}")
    print_line(f"To verify it, offline: python3 {made.folder / 'verify.py'}")
    return EXIT_OK
