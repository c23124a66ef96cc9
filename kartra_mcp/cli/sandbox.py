"""`kartra-mcp sandbox reset` replaces the embedded account and its ledger by new ones."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from contextlib import closing, redirect_stdout

from kartra_mcp.argument_parser import CommandParser, add_settings, settings_in
from kartra_mcp.cli.page import POLL_INTERVAL, end_page
from kartra_mcp.cli.runner import print_refusal
from kartra_mcp.core.display import add_ledger_flags
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.exit_codes import EXIT_FAILED, EXIT_OK
from kartra_mcp.core.terminal import print_line
from kartra_mcp.ledger.records import ReplacedLedger
from kartra_mcp.ledger.sqlite.store import SQLiteStore, open_rehearsal_store
from kartra_mcp.sandbox.cli import main as run_sandbox
from kartra_mcp.settings import Settings, read_settings, sandbox_db

ABOUT = """\
Replace the embedded rehearsal account and its ledger by new ones. The old ledger is kept under a
dated name in the same folder. The ledger of a real account is never touched.
"""
CLOSE_TIMEOUT = 5.0
"""Seconds to wait for a page that was ended to close the ledger."""


def reset_sandbox(words: Sequence[str]) -> int:
    """Replace the embedded account and its ledger by new ones."""
    parser = CommandParser(prog="kartra-mcp sandbox reset", description=ABOUT)
    add_settings(parser)
    given = {**settings_in(parser.parse_args(words)), "SANDBOX": "on"}
    settings = read_settings(given)
    try:
        _require_folder(settings)
        print_line(_begin_ledger(settings))  # at once: the account may fail after it
        print_line(_begin_account(settings))
    except KartraMCPError as problem:
        problem.remedy = _add_flags(problem.remedy, read_settings(given, {}).cli_flags)
        print_refusal(problem, as_json=False)
        return EXIT_FAILED
    return EXIT_OK


def _add_flags(remedy: str, flags: str) -> str:
    """Return a remedy whose commands act on this sandbox."""
    reset = f"`kartra-mcp sandbox reset{flags.replace(' --sandbox', '')}`"
    return add_ledger_flags(remedy, flags).replace("`kartra-mcp sandbox reset`", reset)


def _require_folder(settings: Settings) -> None:
    """Raise unless the folder is certain and can be written, before anything is replaced."""
    if settings.ledger_fault:
        raise RefusedError(
            "ledger_unavailable",
            f"{settings.ledger_fault}.",
            "Nothing was done. Name the folder with --state-dir.",
        )
    try:
        settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as problem:
        raise _unwritable_error(settings, problem) from problem


def _begin_ledger(settings: Settings) -> str:
    """Replace the ledger, and describe what that removed.

    The page holds the ledger open for an hour after the last chat, so that it is ended first.
    """
    with closing(open_rehearsal_store(settings.state_dir)) as store:
        store.require_rehearsal()
        try:
            ended = end_page(settings)
        except TimeoutError:  # a page is just starting: the lock of the ledger decides
            ended = False
        replaced = _replace(store, CLOSE_TIMEOUT if ended else 0.0)
    if replaced is None:
        return "There was no ledger yet: no writes, approvals or PIN."
    kept = f" The old one is kept as {replaced.old_file}." if replaced.old_file else ""
    page = " The page was ended." if ended else ""
    return (
        "The ledger is new: no writes, bulk runs or pending approvals, and no PIN. Choose a PIN "
        f"again before the next approval.{kept}{page}"
    )


def _replace(store: SQLiteStore, wait: float) -> ReplacedLedger | None:
    """Replace the ledger; `wait` is for a page that has ended, and closes it last."""
    until = time.monotonic() + wait
    while True:
        try:
            return store.replace_rehearsal()
        except RefusedError as problem:
            if problem.code != "in_progress" or time.monotonic() >= until:
                raise
        time.sleep(POLL_INTERVAL)


def _begin_account(settings: Settings) -> str:
    file = sandbox_db(settings)
    try:
        file.unlink(missing_ok=True)  # a damaged file cannot be reset
    except OSError as problem:
        raise _unwritable_error(settings, problem) from problem
    with redirect_stdout(io.StringIO()) as printed:
        ended = run_sandbox([f"--account={file}", "reset"])
    if ended != EXIT_OK:
        raise RefusedError(
            "internal_error",
            f"The sandbox account could not be made: {printed.getvalue().strip()}",
            "Run `kartra-mcp sandbox reset` again, or name another folder with --state-dir.",
        )
    return f"The sandbox account is new: {file}"


def _unwritable_error(settings: Settings, problem: OSError) -> RefusedError:
    return RefusedError(
        "ledger_unavailable",
        f"{settings.state_dir} cannot be written ({problem.strerror}).",
        "The account was not reset. Name another folder with --state-dir.",
    )
