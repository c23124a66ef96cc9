"""`kartra-mcp setup`: its flags and its summary."""

from __future__ import annotations

import json
import re
import shlex
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from collections.abc import Iterator, Sequence
from contextlib import suppress

from kartra_mcp.argument_parser import CommandParser, add_settings, settings_in
from kartra_mcp.cli.pin import set_pin
from kartra_mcp.cli.runner import positive_int, print_refusal
from kartra_mcp.client_config.registry import BY_NAME
from kartra_mcp.core.display import display_value, print_json
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from kartra_mcp.core.json_types import as_dict, is_array
from kartra_mcp.core.terminal import is_interactive, print_error, print_line
from kartra_mcp.onboarding.setup.prompts import RERUN_HINT, Prompter
from kartra_mcp.onboarding.setup.report import READY_WITHIN, SetupOptions, SetupReport
from kartra_mcp.onboarding.setup.wizard import run_setup, validate_options
from kartra_mcp.processes import runner
from kartra_mcp.settings import explicit_settings

STOPPED = f"\nStopped. No change is incomplete. {RERUN_HINT}."
_COMMAND = ("kartra-mcp", "setup")
_AGAIN = re.compile(rf"`{' '.join(_COMMAND)}((?: --headless)?)`( without --yes)?")
NEXT = "Then ask it: kartra_status"
RESTART = "Restart the client."


def setup_command(words: Sequence[str], run_program: runner.Run = runner.run) -> int:
    """Return 0: done; 1: stopped or incomplete, a second run continues; 2: wrong usage."""
    parsed = _make_parser().parse_args(words)
    given = _make_options(parsed)
    try:
        validate_options(given)
    except RefusedError as problem:
        print_refusal(problem, as_json=parsed.json)
        return EXIT_USAGE
    person = Prompter(is_interactive(), parsed.yes, parsed.json)
    story = run_setup(given, person, set_pin, run_program)
    # The terminal may be closed.
    with suppress(OSError):
        _print_end(story, words, as_json=parsed.json)
    return EXIT_OK if story.whole else EXIT_FAILED


def _make_parser() -> ArgumentParser:
    parser = CommandParser(
        prog="kartra-mcp setup",
        description="Install Membrane's program, log in, connect and configure. Safe to repeat.",
        epilog="A flag answers its question. --cap-refund and --cap-day-amount also take none.",
    )
    add = parser.add_argument
    add("--yes", action="store_true", help="answer yes, and keep every rule")
    add("--json", action="store_true", help="print the summary as JSON")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--all-clients", action="store_true", help="configure every client that is found"
    )
    which.add_argument(
        "--no-client", action="store_true", help="configure no client; print the entry"
    )
    which.add_argument(
        "--client",
        action="append",
        default=[],
        metavar="NAME",
        choices=tuple(BY_NAME),
        help=", ".join(BY_NAME),
    )
    add("--name", help="name of the entry")
    add("--headless", action=BooleanOptionalAction, help="log in with a code, not a browser")
    add("--code", default="", help="the code of a login in progress")
    add("--no-browser", dest="browser", action="store_false", help="only print addresses")
    add(
        "--wait",
        type=positive_int,
        default=READY_WITHIN,
        metavar="SECONDS",
        help="time limit until READY",
    )
    add_settings(parser)
    return parser


def _make_options(parsed: Namespace) -> SetupOptions:
    explicit = explicit_settings(settings_in(parsed))
    return SetupOptions(
        explicit={name: value for name, value in explicit.items() if name != "SANDBOX"},
        sandbox=explicit.get("SANDBOX") == "on",
        code=parsed.code,
        headless=parsed.headless,
        browser=parsed.browser,
        wait=parsed.wait,
        clients=tuple(dict.fromkeys(parsed.client)),
        all_clients=parsed.all_clients,
        no_client=parsed.no_client,
        name=parsed.name,
    )


def _print_end(story: SetupReport, words: Sequence[str], *, as_json: bool) -> None:
    if story.problem:
        story.problem.remedy = keep_flags(story.problem.remedy, words)
    if story.stopped:
        print_error(keep_flags(STOPPED, words))
    elif story.problem and not as_json:
        _print_problem(story.problem, words)
    if as_json:
        print_json(story.as_dict())
    elif not story.stopped and not story.problem:
        _print_summary(story)


def keep_flags(text: str, words: Sequence[str]) -> str:
    """Return a text whose command `kartra-mcp setup` has the flags of this run.

    Without them the next run sets up something else: the real account instead of the sandbox. A
    code is left out, because it works once.
    """
    kept = list(_drop_codes(words))

    def add(found: re.Match[str]) -> str:
        without = found[2] or ""
        flags = [word for word in kept if not (without and word == "--yes")]
        return f"`{shlex.join((*_COMMAND, *flags))}{found[1]}`{without}"

    return _AGAIN.sub(add, text)


def _drop_codes(words: Sequence[str]) -> Iterator[str]:
    is_code = False
    for word in words:
        if not is_code and word != "--code" and not word.startswith("--code="):
            yield word
        is_code = word == "--code"


def _print_problem(problem: KartraMCPError, words: Sequence[str]) -> None:
    print_refusal(problem, as_json=False)
    detail = as_dict(problem.detail)
    for name, value in detail.items():
        for line in value if is_array(value) else [value]:
            print_error(f"  {name}: {display_value(line)}")
    if "`kartra-mcp setup" not in problem.remedy:
        print_error(f"{keep_flags(RERUN_HINT, words)}.")


def _print_summary(story: SetupReport) -> None:
    print_line("\nDone:" if story.whole else "\nDone so far:", "bold")
    for text in story.done:
        print_line(f"  ✓ {text}")
    if story.left:
        print_line("\nLeft to do:", "bold")
        for what, do in story.left:
            print_line(f"  • {what}: {do}")
    if story.snippet:
        print_line("\n" + json.dumps(story.snippet, indent=2))
    if story.env:
        print_line("\nSettings of the entry:", "bold")
        for name, value in story.env.items():
            print_line(f"  {name}={display_value(value)}")
    _print_next(story)


def _print_next(story: SetupReport) -> None:
    for command in story.removals:
        print_line(f"\nTo remove the rehearsal account later: {command}")
    for then in dict.fromkeys(client.then for client in story.clients) or (RESTART,):
        print_line(f"\n{display_value(then)}")
    print_line(NEXT, "bold")
