"""The command line: `kartra-mcp` serves on stdio; the other commands are for people."""

from __future__ import annotations

import gc
import io
import os
import sys
from contextlib import redirect_stdout, suppress
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kartra_mcp.core.surroundings import Surroundings
    from kartra_mcp.server import stdio

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2
OF_A_PERSON = ("approve", "doctor", "install", "ledger", "page", "setup", "tools", "uninstall")
COMMANDS = ("serve", "demo", "sandbox", *OF_A_PERSON)

HELP = """\
kartra-mcp [serve] [--sandbox] [--SETTING VALUE …]   serve on stdio (what an MCP client starts)
kartra-mcp setup [--sandbox]                         from nothing to a working client, asked in turn
kartra-mcp demo                                      see it work on the embedded account
kartra-mcp sandbox reset                             make the embedded account new
kartra-mcp install [CLIENT] [--SETTING VALUE …]      put it into a client; without CLIENT: list them
kartra-mcp uninstall CLIENT                          take it out again
kartra-mcp doctor [--json] [--SETTING VALUE …]       what is wrong, and the command that mends it
kartra-mcp tools [--json] [--SETTING VALUE …]        tools, their risks, and what each needs
kartra-mcp approve [NUMBER]                          what waits for a person; approve or decline it
kartra-mcp approve --set-pin                         choose the PIN that approves
kartra-mcp page [--no-browser]                       approve, and see what was done, in a browser
kartra-mcp ledger list | show INTENT | export        what was done, by whose consent
kartra-mcp ledger verify | new                       whether the record holds; a new one
kartra-mcp --version

`approve`, `page` and `ledger` take --sandbox and --state-dir, as `serve` does, and --help.
Settings of `serve` are flags of the same name as the KARTRA_MCP_… variables:
"""


def main(argv: Sequence[str] | None = None) -> None:
    """The console script. Exit codes: 0 done, 1 something was refused, 2 wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    if is_serve(words):
        # Imports, and a large answer, are many objects and none of them a circle: collect less.
        gc.set_threshold(100_000, 20, 100)
        # The first thing that happens: from here on nothing else can write to the client.
        from kartra_mcp.server import stdio

        claimed = stdio.claim_stdio()
        sys.exit(serve(claimed, words))
    sys.exit(until_unread(words))


def until_unread(words: Sequence[str]) -> int:
    """Run a command; where the reader of its output has gone (`| head`), end silently with 1."""
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
    # Python writes what is left at its end: nobody reads it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_FAILED


def wrong_words(words: Sequence[str], prog: str = "kartra-mcp") -> int:
    """Tell wrong usage in one line, with the nearest name of a command or a flag."""
    from kartra_mcp.cli.arguments import nearest, not_understood
    from kartra_mcp.options import OPTIONS

    word = words[0].partition("=")[0]
    flags = [flag for s in OPTIONS for flag in (s.flag, s.negation)[: 1 + s.is_switch]]
    names = ("--help", "--version", *flags) if word.startswith("--") else COMMANDS
    show(not_understood(prog, " ".join(words), nearest(word, names)).rstrip("\n"), errors=True)
    return EXIT_USAGE


def is_serve(words: Sequence[str]) -> bool:
    """Whether these words start the server: none, `serve`, or its flags alone."""
    asks = any(word in ("--help", "-h", "--version") for word in words)
    return not asks and (not words or words[0] == "serve" or words[0].startswith("--"))


def serve(claimed: stdio.StdioTransport, words: Sequence[str]) -> int:
    """Serve until the client is gone; wrong usage is told on stderr before anything starts."""
    from kartra_mcp.options import parse_flags
    from kartra_mcp.settings import read_settings

    if claimed.on_terminal:
        print("Waiting for an MCP client; a person may like `kartra-mcp demo`.", file=sys.stderr)
    flags, unknown = parse_flags([word for word in words if word != "serve"])
    if unknown:
        return wrong_words(unknown)
    import anyio

    from kartra_mcp.app.composition import build_app
    from kartra_mcp.server import stdio

    made = build_app(read_settings(flags))
    server = made.mcp
    ends = {"on_stop": made.membrane.cancel_all, "on_end": made.close}
    anyio.run(partial(stdio.serve, claimed, server.server, server.make_options(), **ends))
    return EXIT_OK


def run_command(words: Sequence[str], around: Surroundings | None = None) -> int:
    """Run a command; the exit code. Without `around`: environment and streams of this process."""
    from kartra_mcp.core.surroundings import surrounded

    with surrounded(around):
        return run_named_command(words)


def run_named_command(words: Sequence[str]) -> int:
    """Run the command that the first word names."""
    match list(words):
        case ["--version"]:
            from kartra_mcp import __version__

            show(f"kartra-mcp {__version__}")
            return EXIT_OK
        case ["demo"]:
            from kartra_mcp.cli.demo import run_demo

            return run_demo()
        case ["sandbox", "reset", *flags]:
            return reset_sandbox(flags)
        case [name, *rest] if name in OF_A_PERSON:
            return of_a_person(name, rest)
        case ["--help" | "-h" | "help", *_] | ["serve", *_]:
            show(make_help())
            return EXIT_OK
        case _:
            return wrong_words(words)


def looked_into(name: str, words: Sequence[str]) -> int:
    """What this server is and lacks. The doctor imports no more than is proven to be there."""
    if name == "doctor":
        from kartra_mcp.onboarding.doctor.command import doctor

        return doctor(words)
    from kartra_mcp.cli.tools import tools

    return tools(words)


def of_a_person(name: str, words: Sequence[str]) -> int:
    """What a person does outside the client: decide, look at what was done, set clients up."""
    if name in ("doctor", "tools"):
        return looked_into(name, words)
    if name in ("install", "uninstall"):
        from kartra_mcp.cli.install import install_command, uninstall_command

        return install_command(words) if name == "install" else uninstall_command(words)
    if name == "setup":
        from kartra_mcp.cli.setup import setup_command

        return setup_command(words)
    return decided_or_read(name, words)


def decided_or_read(name: str, words: Sequence[str]) -> int:
    """What is about the ledger: approvals, the page, the ledger itself."""
    if name == "page":
        from kartra_mcp.cli.page import page

        return page(words)
    if name == "approve":
        from kartra_mcp.cli.approve import approve

        return approve(words)
    from kartra_mcp.cli.ledger import ledger

    return ledger(words)


def reset_sandbox(words: Sequence[str]) -> int:
    """Make the embedded account new."""
    from kartra_mcp.options import parse_flags
    from kartra_mcp.sandbox.cli import main as sandbox
    from kartra_mcp.settings import read_settings, sandbox_db

    flags, unknown = parse_flags(words)
    if unknown:
        return wrong_words(unknown)
    file = sandbox_db(read_settings({**flags, "SANDBOX": "on"}))
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.unlink(missing_ok=True)  # it may be damaged
    except OSError as problem:
        why = f"kartra-mcp: {file.parent} cannot be written ({problem.strerror})."
        show(f"{why}\nNothing was done. Name another folder with --state-dir.", errors=True)
        return EXIT_FAILED
    with redirect_stdout(io.StringIO()) as said:
        ended = sandbox([f"--account={file}", "reset"])
    show(f"The sandbox account is new: {file}" if ended == EXIT_OK else said.getvalue())
    return ended


def show(text: str, *, errors: bool = False) -> None:
    from kartra_mcp.core.surroundings import surroundings

    around = surroundings()
    print(text, file=around.stderr if errors else around.stdout)


def make_help() -> str:
    from kartra_mcp.settings import OPTIONS

    width = max(len(setting.flag) for setting in OPTIONS)
    return HELP + "\n".join(f"  {s.flag:<{width}}  {s.help}" for s in OPTIONS)
