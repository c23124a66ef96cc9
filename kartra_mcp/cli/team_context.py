"""Shared parts of the team commands: the team file, its accounts and their ledgers, refusals."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kartra_mcp.argument_parser import add_settings, settings_in
from kartra_mcp.cli.runner import print_refusal
from kartra_mcp.core.display import print_json
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.exit_codes import EXIT_FAILED
from kartra_mcp.core.surroundings import expand_home, surroundings
from kartra_mcp.core.terminal import print_error, print_line
from kartra_mcp.options import TEAM_VARIABLE
from kartra_mcp.settings import read_settings
from kartra_mcp.team.faults import quote, suggest
from kartra_mcp.team.loading import Team, load_team

TEAM_SETTINGS = ("STATE_DIR",)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TeamContext:
    """The team of a command.

    Attributes:
        team: its loaded file.
        accounts: names of the accounts to work on.
        state_dir: folder in which this machine remembers heads.
    """

    team: Team
    accounts: tuple[str, ...]
    state_dir: Path


TeamCommand = Callable[[Namespace, TeamContext], int]


def add_team_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--team", type=expand_home, metavar="FILE", help=f"the team file; default: {TEAM_VARIABLE}"
    )
    parser.add_argument("--account", metavar="NAME", help="only this account; default: all")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_settings(parser, TEAM_SETTINGS)


def run_team_command(given: Namespace, command: TeamCommand, *, check_secrets: bool) -> int:
    """Load the team file and run a command. A refusal or Ctrl-C is reported without a traceback."""
    settings = read_settings(settings_in(given))
    try:
        if settings.state_dir_error is not None:
            raise _state_error(str(settings.state_dir_error))
        team = load_team(_find_file(given), check_secrets=check_secrets)
        accounts = _select_accounts(team, given.account)
        return command(given, TeamContext(team, accounts, settings.state_dir))
    except KartraMCPError as problem:
        print_refusal(problem, as_json=given.json)
    except (KeyboardInterrupt, EOFError):
        print_error("\nStopped.")
    return EXIT_FAILED


def report_each(
    given: Namespace,
    found: Mapping[str, T | KartraMCPError],
    as_json: Callable[[T], dict[str, Any]],
    describe: Callable[[T], Iterable[str]],
) -> None:
    """Print the result of each account, or why there is none."""
    if given.json:
        accounts = {
            name: {"error": one.as_dict()} if isinstance(one, KartraMCPError) else as_json(one)
            for name, one in found.items()
        }
        print_json({"accounts": accounts})
        return
    for name, one in found.items():
        if isinstance(one, KartraMCPError):
            print_refusal(one, as_json=False)
            continue
        for line in describe(one):
            print_line(f"{name}: {line}")


def _find_file(given: Namespace) -> Path:
    if given.team is not None:
        return given.team
    named = surroundings().environment.get(TEAM_VARIABLE, "")
    if not named:
        raise RefusedError(
            "invalid_arguments",
            "No team file was named. Nothing was done.",
            f"Name it with --team FILE or {TEAM_VARIABLE}.",
        )
    return expand_home(named)


def _select_accounts(team: Team, name: str | None) -> tuple[str, ...]:
    known = tuple(team.config.accounts)
    if name is None:
        return known
    if name not in known:
        raise RefusedError(
            "invalid_arguments",
            f"The team file has no account {quote(name)}. Nothing was done.",
            f"{suggest(name, known)}.".replace("?.", "?"),
        )
    return (name,)


def _state_error(problem: str) -> RefusedError:
    return RefusedError(
        "ledger_unavailable",
        f"{problem}. Nothing was done.",
        "Set KARTRA_MCP_STATE_DIR to an absolute path.",
    )
