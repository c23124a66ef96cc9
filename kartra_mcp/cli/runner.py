"""Shared parts of the ledger commands: selection of the ledger, argument types, refusals."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from kartra_mcp.argument_parser import settings_in
from kartra_mcp.core.display import add_ledger_flags, display_value, print_json
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.exit_codes import EXIT_FAILED
from kartra_mcp.core.terminal import print_error
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.settings import read_settings

_DIGITS = 9


@dataclass(frozen=True, slots=True)
class LedgerContext:
    """The ledger of a command, its folder, and the flags that select it again."""

    ledger: Ledger
    folder: Path
    flags: str

    @property
    def is_missing(self) -> bool:
        """Return true if no ledger was begun in the folder. A command that reads begins none."""
        return not any(self.folder.glob("ledger.*"))

    @property
    def empty_text(self) -> str:
        return f"The ledger of {self.folder} has no entries yet."


Command = Callable[[Namespace, LedgerContext], int]


LEDGER_SETTINGS = ("SANDBOX", "STATE_DIR")
"""The settings that select a ledger."""


def run(given: Namespace, command: Command) -> int:
    """Run a command on its ledger. A refusal or Ctrl-C is reported without a traceback."""
    flags = settings_in(given)
    settings = read_settings(flags)
    with closing(
        open_ledger(settings.state_dir, fault=settings.ledger_fault, account=settings.account_kind)
    ) as ledger:
        place = LedgerContext(ledger, settings.state_dir, read_settings(flags, {}).cli_flags)
        try:
            ledger.require_certain()
            return command(given, place)
        except KartraMCPError as problem:
            problem.remedy = add_ledger_flags(problem.remedy, place.flags)
            print_refusal(problem, as_json=getattr(given, "json", False))
        except (KeyboardInterrupt, EOFError):
            print_error("\nStopped.")
    return EXIT_FAILED


def positive_int(text: str) -> int:
    """Parse a whole number of at least 1, for argparse."""
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS and int(text)):
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def timestamp(text: str) -> float:
    """Parse a day or a time, for argparse; local time if no zone is given."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ArgumentTypeError(f"{text!r} is not a day such as 2026-11-01") from None


def print_refusal(problem: KartraMCPError, *, as_json: bool) -> None:
    if as_json:
        print_json({"error": problem.as_dict()})
    else:
        print_error(f"kartra-mcp: {_print_whole(problem.message)}\n{_print_whole(problem.remedy)}")


def _print_whole(text: str) -> str:
    """Return a text uncut but sanitized: ids and paths in it are untrusted input."""
    return display_value(text, len(text)) if text else ""
