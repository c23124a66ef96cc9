"""`kartra-mcp serve --http`: the service of a team, one replica of it."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from kartra_mcp.argument_parser import PROGRAM, CommandParser, add_settings, settings_in
from kartra_mcp.cli.runner import print_refusal
from kartra_mcp.cli.team_ledgers import open_database
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.exit_codes import EXIT_FAILED, EXIT_OK
from kartra_mcp.core.surroundings import expand_home
from kartra_mcp.options import ACCOUNT_SETTINGS, OPTIONS, SERVICE_OPTIONS, TEAM_VARIABLE
from kartra_mcp.settings import (
    SettingError,
    Settings,
    explicit_settings,
    read_service_settings,
    read_settings,
)
from kartra_mcp.team.loading import Team, load_team
from kartra_mcp.team.timestamp_client import not_installed_error


def serve_http(words: Sequence[str]) -> int:
    """Serve until a signal. A refusal is one line on stderr, and exit status 1."""
    given = _make_parser().parse_args(words)
    values, problems = read_service_settings(_service_flags(given))
    settings = read_settings(settings_in(given))
    try:
        team = load_team(expand_home(_require_team(values["TEAM"])))
        _serve(team, values, settings, settings_in(given), problems)
    except KartraMCPError as problem:
        print_refusal(problem, as_json=False)
        return EXIT_FAILED
    except OSError as problem:
        print_refusal(_listen_error(problem), as_json=False)
        return EXIT_FAILED
    return EXIT_OK


def _make_parser() -> CommandParser:
    parser = CommandParser(
        prog=f"{PROGRAM} serve --http",
        description="Serve the accounts of a team file over HTTP. The settings of serve that are "
        "listed here hold for every account.",
    )
    parser.keep_bad_values = True
    for option in SERVICE_OPTIONS:
        more: dict[str, Any] = {"nargs": "?", "const": ""} if option.name == "HTTP" else {}
        metavar = {"TEXT": "FILE"}.get(option.kind.upper(), option.kind.upper())
        parser.add_argument(
            option.flag, dest=option.name, metavar=metavar, help=option.help, **more
        )
    add_settings(parser, [one.name for one in OPTIONS if one.name in ACCOUNT_SETTINGS])
    return parser


def _service_flags(given: Namespace) -> dict[str, str]:
    found = {option.name: getattr(given, option.name) for option in SERVICE_OPTIONS}
    return {name: text for name, text in found.items() if text}


def _serve(
    team: Team,
    values: dict[str, Any],
    settings: Settings,
    flags: dict[str, str],
    problems: Sequence[SettingError],
) -> None:
    try:
        from kartra_mcp.app.team_service import ServiceOptions
        from kartra_mcp.identity.verifier import TokenVerifier
        from kartra_mcp.service import logs
        from kartra_mcp.service.approval_page import make_page
        from kartra_mcp.service.jobs import ServiceJobs
        from kartra_mcp.service.ledger_figures import read_figures
        from kartra_mcp.service.metrics import ServiceMetrics
        from kartra_mcp.service.server import Replica, listen, run_replica
        from kartra_mcp.service.tracing import TraceSink
    except ImportError as problem:
        raise not_installed_error() from problem
    _begin_log((*problems, *settings.errors))
    metrics = ServiceMetrics()
    options = ServiceOptions(settings.state_dir, explicit_settings(flags))
    with open_database(team) as connections, ExitStack() as ending:
        replica = Replica(
            team,
            connections,
            TokenVerifier.of(team.config),
            options,
            sinks=(logs.LogSink(), metrics, TraceSink()),
            make_page=partial(make_page, login=team.config.page) if team.config.page else None,
            jobs=lambda running: ServiceJobs.of(running).run(),
        )
        if values["METRICS"] is not None:
            metrics.watch(replica.process, replica.is_ending, lambda: read_figures(replica.stores))
            port = ending.enter_context(metrics.served(*values["METRICS"]))
            logs.write_event("metrics", address=f"{values['METRICS'][0]}:{port}")
        listening = ending.enter_context(listen(*values["HTTP"]))
        host, port = listening.getsockname()[:2]
        run_replica(
            replica, listening, lambda: logs.write_event("serving", address=f"{host}:{port}")
        )
        logs.write_event("ended")


def _begin_log(problems: Sequence[SettingError]) -> None:
    from kartra_mcp.service import logs

    logs.log_to()
    for problem in problems:
        logs.write_event("bad_setting", variable=problem.variable, used=problem.fallback)


def _require_team(named: str | None) -> str:
    if named is None:
        raise RefusedError(
            "invalid_arguments",
            "No team file was named. Nothing was started.",
            f"Name it with --team FILE or {TEAM_VARIABLE}.",
        )
    return named


def _listen_error(problem: OSError) -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        f"The service cannot listen: {problem.strerror}. Nothing was started.",
        "Choose a free address of this machine with KARTRA_MCP_HTTP and KARTRA_MCP_METRICS.",
    )
