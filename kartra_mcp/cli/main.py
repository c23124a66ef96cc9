"""Entry point of `kartra-mcp`: the table of commands and their dispatch."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from kartra_mcp.core.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kartra_mcp.core.surroundings import Surroundings


@dataclass(frozen=True, slots=True)
class CliCommand:
    """One command: its name, its line in `--help`, and the function that runs it.

    Attributes:
        function: `module:function`, imported only when the command runs. It takes the words after
            the name and returns the exit status.
    """

    name: str
    help: str
    function: str


COMMANDS = (
    CliCommand(
        "serve",
        "serve on stdio; an MCP client starts this. --http: serve a team over HTTP",
        "kartra_mcp.cli.serve:serve",
    ),
    CliCommand(
        "setup", "install, log in, connect and configure", "kartra_mcp.cli.setup:setup_command"
    ),
    CliCommand("demo", "see it work on the embedded account", "kartra_mcp.cli.demo:demo_command"),
    CliCommand(
        "sandbox reset",
        "reset the embedded account and its ledger",
        "kartra_mcp.cli.sandbox:reset_sandbox",
    ),
    CliCommand(
        "install",
        "add the server to a client's configuration, or list the clients",
        "kartra_mcp.cli.install:install_command",
    ),
    CliCommand(
        "uninstall",
        "remove the server from a client's configuration",
        "kartra_mcp.cli.install:uninstall_command",
    ),
    CliCommand(
        "doctor",
        "find problems, and the command that fixes each",
        "kartra_mcp.onboarding.doctor.command:doctor",
    ),
    CliCommand(
        "accounts",
        "list the accounts of this machine's clients, their state and last use",
        "kartra_mcp.cli.accounts:accounts",
    ),
    CliCommand("tools", "list tools, their risks and their gates", "kartra_mcp.cli.tools:tools"),
    CliCommand(
        "bulk",
        "run one tool for the rows of a file; list, show, continue, cancel, undo or export runs",
        "kartra_mcp.cli.bulk:bulk",
    ),
    CliCommand(
        "approve",
        "list pending approvals, decide one, or choose the PIN (--set-pin)",
        "kartra_mcp.cli.approve:approve",
    ),
    CliCommand(
        "page", "approve calls and view the ledger in a browser", "kartra_mcp.cli.page:page"
    ),
    CliCommand(
        "ledger",
        "list, show, export or verify past writes; new: replace a damaged ledger",
        "kartra_mcp.cli.ledger:ledger",
    ),
    CliCommand(
        "team",
        "a team's file and ledgers: init, check, migrate, settle, drift, anchor, verify, evidence",
        "kartra_mcp.cli.team:team",
    ),
)
"""Every command, in the order of `--help`."""

_HELP_FLAGS = frozenset({"--help", "-h", "--version"})


def main(argv: Sequence[str] | None = None) -> None:
    """Run the console script."""
    # Imports and large responses make many objects and hardly a cycle: collect less often.
    gc.set_threshold(100_000, 20, 100)
    words = list(sys.argv[1:] if argv is None else argv)
    if is_serve(words):
        from kartra_mcp.cli.serve import start_server

        sys.exit(start_server(words))
    sys.exit(until_unread(words))


def is_serve(words: Sequence[str]) -> bool:
    """Return true if these words start the server: none, `serve`, or its flags alone."""
    return not _HELP_FLAGS & set(words) and (
        not words or words[0] == "serve" or words[0].startswith("--")
    )


def until_unread(words: Sequence[str]) -> int:
    """Run a command; if the reader of its output is gone (`| head`), end silently with 1."""
    try:
        ended = run_command(words)
        sys.stdout.flush()
    except SystemExit as end:
        ended = end.code if isinstance(end.code, int) else EXIT_OK
        with suppress(BrokenPipeError):
            sys.stdout.flush()
            return ended
    except BrokenPipeError:
        ended = EXIT_FAILED
    else:
        return ended
    # Python flushes what is left when it exits, and would print an error for the closed pipe.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_FAILED


def run_command(words: Sequence[str], around: Surroundings | None = None) -> int:
    """Run a command and return its exit status.

    Args:
        words: after the program's name.
        around: environment and streams; those of this process by default.
    """
    from kartra_mcp.core.surroundings import surrounded

    with surrounded(around):
        return run_named_command(words)


def run_named_command(words: Sequence[str]) -> int:
    """Run the command that the first words name."""
    for command in COMMANDS:
        name = command.name.split()
        if list(words[: len(name)]) == name:
            module, _, function = command.function.partition(":")
            return getattr(import_module(module), function)(words[len(name) :])
    match list(words):
        case ["--version"]:
            from kartra_mcp import __version__

            _print(f"kartra-mcp {__version__}")
        case ["sandbox", "--help" | "-h", *_]:
            return run_named_command(["sandbox", "reset", "--help"])
        case ["--help" | "-h" | "help", *_]:
            _print(make_help())
        case [flag, *_] if flag.startswith("--"):  # `--help` of the flags of `serve`
            return run_named_command(["serve", *words])
        case _:
            return _reject(words)
    return EXIT_OK


def _reject(words: Sequence[str]) -> int:
    from kartra_mcp.argument_parser import PROGRAM, format_usage_error, nearest
    from kartra_mcp.core.surroundings import surroundings

    near = nearest(words[0], ["--help", "--version", *(command.name for command in COMMANDS)])
    surroundings().stderr.write(format_usage_error(PROGRAM, " ".join(words), near))
    return EXIT_USAGE


def make_help() -> str:
    """Return the text of `kartra-mcp --help`."""
    width = max(len(command.name) for command in COMMANDS)
    rows = (f"  {command.name:<{width}}  {command.help}" for command in COMMANDS)
    return "\n".join(
        (
            "usage: kartra-mcp [COMMAND] [--help] [ARGUMENT …]",
            "",
            "An MCP server for Kartra. Without a command it serves on stdio.",
            "",
            *rows,
            "",
            "`kartra-mcp COMMAND --help` lists the arguments of a command; `kartra-mcp serve",
            "--help` lists every setting. `kartra-mcp --version` prints the version.",
        )
    )


def _print(text: str) -> None:
    from kartra_mcp.core.surroundings import surroundings

    print(text, file=surroundings().stdout)
