"""`kartra-mcp doctor`: check each step from Python to one read, and name cause and fix."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from kartra_mcp.core.display import print_json
from kartra_mcp.core.exit_codes import EXIT_FAILED, EXIT_OK
from kartra_mcp.core.surroundings import surroundings
from kartra_mcp.onboarding.doctor.findings import CheckResult, as_dict, is_healthy
from kartra_mcp.onboarding.doctor.python_check import check_python

if TYPE_CHECKING:
    from pathlib import Path

    from kartra_mcp.onboarding.doctor.launch_settings import LaunchConfig
    from kartra_mcp.onboarding.doctor.probe import Timings
    from kartra_mcp.processes.runner import Run
    from kartra_mcp.settings import Settings

ABOUT = """\
Check each step that the server needs. Name the fault and the command that fixes it.
It reads once from the account and changes nothing. It takes the settings of `serve`. Without
any, as flags or KARTRA_MCP_… variables, it checks the settings of each client's entry.
Exit status: 0 healthy, 1 a check failed, 2 wrong usage.
"""
STYLES = {"warning": "yellow", "failed": "bold red", "skipped": "dim"}
INDENT = " " * 23


class ProbeOptions(TypedDict, total=False):
    """Replacements for tests: the runner of Membrane's program, and the timings."""

    run_program: Run
    timings: Timings


@dataclass(slots=True)
class Report:
    """Findings in order. Each is printed at once, unless the output is JSON."""

    as_json: bool
    given: ProbeOptions = field(default_factory=ProbeOptions)
    found: list[CheckResult] = field(default_factory=list[CheckResult])

    def tell(self, finding: CheckResult) -> None:
        self.found.append(finding)
        if not self.as_json:
            _show(finding)

    def add_heading(self, words: str) -> None:
        """Print a heading above the findings that follow; JSON output has none."""
        if not self.as_json:
            from kartra_mcp.core.display import display_value
            from kartra_mcp.core.terminal import print_line

            print_line(f"\n{display_value(words)}", "bold")

    def add_all(self, found: Sequence[CheckResult]) -> None:
        for finding in found:
            self.tell(finding)


def doctor(words: Sequence[str], **given: Unpack[ProbeOptions]) -> int:
    """Run the checks and return the exit code.

    0: healthy, warnings allowed. 1: a check failed, or the run was stopped. 2: wrong usage.
    `given` replaces the defaults of a normal run.
    """
    here = check_python()
    if here.state == "failed":
        return _report_only(here, as_json="--json" in words)
    from kartra_mcp.argument_parser import CommandParser, add_settings, settings_in
    from kartra_mcp.settings import read_settings

    parser = CommandParser(prog="kartra-mcp doctor", description=ABOUT)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    add_settings(parser)
    parsed = parser.parse_args(words)
    flags = settings_in(parsed)
    report = Report(parsed.json, given)
    report.tell(here)
    try:
        _examine(flags, read_settings(flags), report)
    except KeyboardInterrupt:
        surroundings().stderr.write("\nStopped.\n")
        return EXIT_FAILED
    _print_conclusion(report, read_settings(flags), flags)
    return EXIT_OK if is_healthy(report.found) else EXIT_FAILED


def _report_only(here: CheckResult, *, as_json: bool) -> int:
    """Print one finding without imports that may be missing."""
    if as_json:
        print_json({"healthy": False, "findings": [as_dict(here)], "configuration": None})
    else:
        surroundings().stdout.write(
            f"failed   python        {here.message}\n{INDENT}{here.fix}\n{here.detail}\n"
        )
    return EXIT_FAILED


def _examine(flags: dict[str, str], shell: Settings, report: Report) -> None:
    """Diagnose each launch configuration, each state folder once, and then the clients."""
    from kartra_mcp.client_config.install import check_clients
    from kartra_mcp.onboarding.doctor import checks
    from kartra_mcp.onboarding.doctor.api_explanations import variables_to_hand_over
    from kartra_mcp.onboarding.doctor.launch_settings import has_explicit_settings, launch_configs

    entries = check_clients(shell)
    walks, beyond = launch_configs(flags, shell, entries)
    folders: set[Path] = set()
    for start in walks:
        _walk(start, report)
        if start.settings.state_dir not in folders:
            _look_at_folder(start, report)
        folders.add(start.settings.state_dir)
    if walks[0].whose:
        report.add_heading("This machine's clients:")
    by_shell, names = has_explicit_settings(flags, shell), variables_to_hand_over(shell)
    report.add_all(checks.check_clients(entries, beyond, by_shell=by_shell, credentials=names))


def _walk(start: LaunchConfig, report: Report) -> None:
    from kartra_mcp.onboarding.doctor import checks
    from kartra_mcp.onboarding.doctor.launch_settings import check_words, missing_env
    from kartra_mcp.onboarding.doctor.probe import ProgressSink, run_checks

    if start.whose:
        report.add_heading(f"With the settings of {start.whose}:")
    unknown = check_words(start)
    read = unknown or [*checks.check_settings(start.settings), *missing_env(start)]
    report.add_all([start.attribute(one) for one in read])
    with _show_progress() as busy:
        sink = ProgressSink(lambda one: report.tell(start.attribute(one)), busy, **report.given)
        run_checks(start.settings, sink)


def _look_at_folder(start: LaunchConfig, report: Report) -> None:
    from kartra_mcp.onboarding.doctor import checks

    settings = start.settings
    folder = checks.check_state_folder(settings.state_dir)
    kept = checks.check_ledger_and_clock(settings, time.time(), usable=folder.state != "failed")
    found = [checks.check_disk(settings.state_dir), folder, *kept]
    report.add_all([start.attribute(finding) for finding in found])


def _show_progress() -> AbstractContextManager[Callable[[str], None]]:
    """Return a spinner on a terminal, else a no-op."""
    from kartra_mcp.core.terminal import console, spinner

    if not console(errors=True).is_terminal:
        return nullcontext(lambda _: None)
    return spinner("Looking", errors=True)


def _show(finding: CheckResult) -> None:
    from kartra_mcp.core.display import display_value
    from kartra_mcp.core.terminal import print_line

    style = STYLES.get(finding.state, "")
    print_line(f"{finding.state:<9}{finding.step:<14}{display_value(finding.message)}", style)
    if finding.fix:
        print_line(f"{INDENT}{display_value(finding.fix)}")
    if finding.detail:
        print_line(f"{INDENT}output: {display_value(finding.detail)}")


def _print_conclusion(report: Report, settings: Settings, flags: dict[str, str]) -> None:
    paste = _make_snippet(settings, flags) if _is_not_installed(report) else None
    if report.as_json:
        findings = [as_dict(finding) for finding in report.found]
        healthy = is_healthy(report.found)
        print_json({"healthy": healthy, "findings": findings, "configuration": paste})
        return
    from kartra_mcp.core.terminal import print_line

    wrong = sum(finding.state == "failed" for finding in report.found)
    print_line(f"\n{wrong} failed. Fix the first one first." if wrong else "\nHealthy.", "bold")
    if paste:
        print_line("\nFor a client's configuration:")
        print_json(paste)


def _is_not_installed(report: Report) -> bool:
    """Return true if no client starts this server."""
    return any(f.step == "clients" and f.message.startswith("No client") for f in report.found)


def _make_snippet(settings: Settings, flags: dict[str, str]) -> dict[str, Any]:
    from kartra_mcp.client_config.command import own_entry
    from kartra_mcp.settings import explicit_settings

    explicit = explicit_settings(flags, settings.environment)
    explicit.pop("SANDBOX", None)
    env = {f"KARTRA_MCP_{name}": value for name, value in explicit.items()}
    entry = own_entry(env, sandbox=settings.sandbox)
    server: dict[str, Any] = {"command": entry.command, "args": list(entry.args)}
    return {"mcpServers": {entry.name: server | ({"env": dict(entry.env)} if entry.env else {})}}
