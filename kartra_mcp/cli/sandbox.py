"""`kartra-mcp sandbox reset` replaces the embedded account by a new one."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout

from kartra_mcp.argument_parser import CommandParser, add_settings, settings_in
from kartra_mcp.core.exit_codes import EXIT_FAILED, EXIT_OK
from kartra_mcp.core.surroundings import surroundings
from kartra_mcp.sandbox.cli import main as run_sandbox
from kartra_mcp.settings import read_settings, sandbox_db


def reset_sandbox(words: Sequence[str]) -> int:
    """Replace the embedded account by a new one."""
    parser = CommandParser(
        prog="kartra-mcp sandbox reset",
        description="Replace the embedded rehearsal account by a new one.",
    )
    add_settings(parser)
    given = settings_in(parser.parse_args(words))
    around = surroundings()
    settings = read_settings({**given, "SANDBOX": "on"})
    if settings.ledger_fault:
        around.stderr.write(
            f"kartra-mcp: {settings.ledger_fault}.\n"
            "Nothing was done. Name the folder with --state-dir.\n"
        )
        return EXIT_FAILED
    file = sandbox_db(settings)
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.unlink(missing_ok=True)  # a damaged file cannot be reset
    except OSError as problem:
        around.stderr.write(
            f"kartra-mcp: {file.parent} cannot be written ({problem.strerror}).\n"
            "Nothing was done. Name another folder with --state-dir.\n"
        )
        return EXIT_FAILED
    with redirect_stdout(io.StringIO()) as printed:
        ended = run_sandbox([f"--account={file}", "reset"])
    text = f"The sandbox account is new: {file}" if ended == EXIT_OK else printed.getvalue()
    around.stdout.write(f"{text}\n")
    return ended
