"""`kartra-mcp page`: the approval page in the browser; one process per state folder."""

from __future__ import annotations

import json
import math
import threading
import time
from argparse import SUPPRESS, ArgumentTypeError
from collections.abc import Sequence
from dataclasses import dataclass

from kartra_mcp.app import page_discovery
from kartra_mcp.app.page_discovery import PageLock
from kartra_mcp.argument_parser import CommandParser, add_settings, settings_in
from kartra_mcp.cli.runner import print_refusal
from kartra_mcp.client_config.command import format_public_command, own_command_if_known
from kartra_mcp.core.display import format_command
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.exit_codes import EXIT_FAILED, EXIT_OK
from kartra_mcp.core.surroundings import surroundings
from kartra_mcp.core.terminal import print_error, print_line
from kartra_mcp.processes.detached import stop_detached
from kartra_mcp.processes.interactive import open_in_browser
from kartra_mcp.settings import Settings, read_settings

ABOUT = """\
Approve pending calls and view the ledger, in a browser on this machine. Each state folder has one
page: this opens it if it runs; else it serves until Ctrl-C, or until an hour without a visitor and
without a pending approval. Exit status: 0 served, 1 refused, 2 wrong usage.
"""
WAIT_TIMEOUT, POLL_INTERVAL = 20.0, 0.05
"""Seconds to wait for a page that is starting or ending: more than a server waits for one."""


@dataclass(frozen=True, slots=True)
class _Given:
    """The command's own arguments, without the settings."""

    browser: bool
    as_json: bool
    ends: bool
    idle: float | None

    def on_serving(self, link: str) -> None:
        self._print(link, f"Serving {link}\nIt admits one browser, once. Ctrl-C ends the page.")
        # In a thread: a text browser in this terminal would block the page that it loads.
        threading.Thread(target=self._open, args=(link,), daemon=True).start()

    def on_already_running(self, link: str) -> None:
        self._print(link, f"Already running: {link}\nIt admits one browser, once.")
        self._open(link)

    def _print(self, link: str, words: str) -> None:
        """Print the address and flush: stdout may be a pipe, and the page ends much later."""
        if self.as_json:
            surroundings().stdout.write(json.dumps({"address": link}) + "\n")
        else:
            print_line(words)
        surroundings().stdout.flush()

    def _open(self, link: str) -> None:
        if self.browser and not open_in_browser(link):
            print_error(f"No browser could be opened; open it yourself: {link}")


def page(words: Sequence[str]) -> int:
    """Return 0: served to its end, or another page serves; 1: refused."""
    parsed = _make_parser().parse_args(words)
    browser = parsed.browser and not parsed.json
    given = _Given(browser, parsed.json, parsed.end, parsed.idle)
    try:
        settings = read_settings(settings_in(parsed))
        for problem in settings.errors:
            print_error(f"{problem}.")
        if settings.ledger_fault:
            raise _uncertain_error(settings)
        return _run(given, settings)
    except KartraMCPError as problem:
        print_refusal(problem, as_json=given.as_json)
    except KeyboardInterrupt:  # before the page serves
        print_error("\nStopped.")
    return EXIT_FAILED


def _run(given: _Given, settings: Settings) -> int:
    try:
        return _end(settings) if given.ends else _open_or_serve(given, settings)
    except TimeoutError:
        raise _lock_error(settings) from None


def _make_parser() -> CommandParser:
    parser = CommandParser(prog="kartra-mcp page", description=ABOUT)
    parser.add_argument(
        "--no-browser",
        dest="browser",
        action="store_false",
        help="only print the address",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the address as JSON; open no browser"
    )
    parser.add_argument("--end", action="store_true", help="end the page of this state folder")
    # For tests, which cannot wait an hour.
    parser.add_argument("--idle", type=_parse_seconds, help=SUPPRESS)
    add_settings(parser)
    return parser


def _parse_seconds(text: str) -> float:
    """Parse a duration, for argparse."""
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def _end(settings: Settings) -> int:
    """End the page and wait until it is gone, so that its locks are free."""
    if end_page(settings):
        print_line(f"The page of {settings.state_dir} has ended.")
    else:
        print_line(f"No page serves {settings.state_dir}.")
    return EXIT_OK


def end_page(settings: Settings) -> bool:
    """End the page and wait until it is gone; return False if none served.

    Raises:
        RefusedError: it did not end in time.
        TimeoutError: another process held the lock of the pages.
    """
    serving = page_discovery.find_page(settings.state_dir)
    if serving is None:
        return False
    stop_detached(serving.pid)
    until = time.monotonic() + WAIT_TIMEOUT
    while time.monotonic() < until:
        if page_discovery.find_page(settings.state_dir) is None:
            return True
        time.sleep(POLL_INTERVAL)
    raise RefusedError(
        "internal_error",
        f"The page of {settings.state_dir} (process {serving.pid}) did not end in time.",
        "Try again; if this persists, end that process.",
    )


def _open_or_serve(given: _Given, settings: Settings) -> int:
    """Open the page that serves, or serve; wait for one that is starting or ending."""
    until = time.monotonic() + WAIT_TIMEOUT
    while time.monotonic() < until:
        serving = page_discovery.find_page(settings.state_dir)
        if serving is not None:
            given.on_already_running(serving.make_login_url(time.time()))
            return EXIT_OK
        held = _claim(settings)
        if held is not None:
            return _serve(given, settings, held)
        time.sleep(POLL_INTERVAL)
    raise RefusedError(
        "internal_error",
        "Another page holds the state folder but publishes no address. Nothing was started.",
        "Try again; if this persists, end the other `kartra-mcp page`.",
    )


def _claim(settings: Settings) -> PageLock | None:
    try:
        return page_discovery.claim_page(settings.state_dir)
    except TimeoutError:
        raise
    except OSError as problem:
        raise _unwritable_error(settings, problem.strerror or "unknown") from problem


def _serve(given: _Given, settings: Settings, held: PageLock) -> int:
    from kartra_mcp.web.server import OwnCommand, serve
    from kartra_mcp.web.timings import PageTimings

    timings = PageTimings(idle=given.idle) if given.idle else PageTimings()
    words = own_command_if_known()
    command = OwnCommand()
    if words:
        command = OwnCommand(
            format_command(words, settings.platform),
            format_public_command(words, settings.home, settings.platform),
        )
    if not serve(settings, held, given.on_serving, timings, command=command):
        raise _unwritable_error(settings, "page.json cannot be written")
    return EXIT_OK


def _lock_error(settings: Settings) -> RefusedError:
    return RefusedError(
        "internal_error",
        f"Another process has held page.turn in {settings.state_dir} for too long. "
        "Nothing was started.",
        "Try again; if this persists, end the other `kartra-mcp page`.",
    )


def _uncertain_error(settings: Settings) -> RefusedError:
    return RefusedError(
        "ledger_unavailable",
        f"{settings.ledger_fault}. Nothing was started.",
        "Correct that setting, or name the folder with --state-dir.",
    )


def _unwritable_error(settings: Settings, why: str) -> RefusedError:
    return RefusedError(
        "ledger_unavailable",
        f"The state folder {settings.state_dir} cannot be used ({why}).",
        "Make it writable, or name another one with --state-dir.",
    )
