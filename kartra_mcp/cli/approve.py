"""`kartra-mcp approve`: pending approvals, and the user's decision with the PIN."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any

from kartra_mcp.app import page_discovery
from kartra_mcp.argument_parser import CommandParser, add_settings
from kartra_mcp.cli.pin import prompt_pin, set_pin
from kartra_mcp.cli.runner import (
    LEDGER_SETTINGS,
    LedgerContext,
    positive_int,
    run,
)
from kartra_mcp.consent.decisions import (
    ApprovalDecision,
    decide,
    outcome_text,
    reason_required_error,
    require_pending,
    require_pin_set,
)
from kartra_mcp.core.display import display_value, format_local_time, print_json
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.exit_codes import EXIT_FAILED, EXIT_OK
from kartra_mcp.core.terminal import (
    is_interactive,
    print_error,
    print_fields,
    print_line,
    print_table,
    prompt,
    require_interactive,
)
from kartra_mcp.ledger.approval_records import Approval
from kartra_mcp.ledger.records import format_utc


def approve(words: Sequence[str]) -> int:
    """Return 0: listed, decided or set; 1: refused or stopped, nothing was decided."""
    given = _make_parser().parse_args(words)
    if given.set_pin:
        return run(given, _set_pin)
    return run(given, _list if given.number is None else _decide)


def _make_parser() -> ArgumentParser:
    parser = CommandParser(
        prog="kartra-mcp approve",
        description="Without NUMBER: list pending approvals. With NUMBER: show and decide one.",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "number", nargs="?", type=positive_int, metavar="NUMBER", help="the approval to decide"
    )
    which.add_argument("--set-pin", action="store_true", help="choose the PIN that approves")
    which.add_argument("--json", action="store_true", help="print the list as JSON")
    add_settings(parser, LEDGER_SETTINGS)
    return parser


def _list(given: Namespace, place: LedgerContext) -> int:
    waiting = () if place.is_missing else place.ledger.approvals.list_pending()
    if given.json:
        print_json({"waiting": [_approval_payload(asked) for asked in waiting]})
        return EXIT_OK
    if not waiting:
        print_line(f"Nothing waits for approval in {place.folder}.")
        return EXIT_OK
    titles = ("No.", "What", "Asked by", "Since", "Until")
    print_table(titles, [_format_row(asked) for asked in waiting])
    print_line(f"\nTo see one in full and decide: kartra-mcp approve NUMBER{place.flags}")
    return EXIT_OK


def _format_row(asked: Approval) -> tuple[str, ...]:
    return (
        str(asked.number),
        display_value(asked.summary),
        display_value(asked.asked_by, 60),
        format_local_time(asked.asked_at),
        format_local_time(asked.expires_at),
    )


def _approval_payload(asked: Approval) -> dict[str, Any]:
    return {
        "number": asked.number,
        "tool": asked.binding.tool,
        "summary": asked.summary,
        "facts": dict(asked.facts),
        "asked_by": asked.asked_by,
        "asked_at": format_utc(asked.asked_at),
        "expires_at": format_utc(asked.expires_at),
    }


def _set_pin(_: Namespace, place: LedgerContext) -> int:
    if is_interactive() and place.ledger.pins.is_set():
        print_line(_forgotten_text(place.flags))
    try:
        set_pin(place.ledger.pins)
    except (KeyboardInterrupt, EOFError):
        print_error("\nStopped. The PIN was not changed.")
        return EXIT_FAILED
    if _is_page_open(place):
        print_line("Go back to the approval page in your browser, reload it, and approve there.")
    return EXIT_OK


def _forgotten_text(flags: str) -> str:
    """Return the way for a user who forgot the PIN.

    No command replaces a PIN without the old one: an assistant with a shell would run it.
    """
    if flags.startswith(" --sandbox"):
        reset = f"kartra-mcp sandbox reset{flags.removeprefix(' --sandbox')}"
        return f"If you forgot it, press Ctrl-C, then begin the rehearsal again: {reset}"
    return 'If you forgot it, press Ctrl-C, and see "A forgotten PIN" in docs/consent.md.'


def _is_page_open(place: LedgerContext) -> bool:
    try:
        return page_discovery.find_page(place.folder) is not None
    except (TimeoutError, OSError):  # only a hint depends on it
        return False


def _decide(given: Namespace, place: LedgerContext) -> int:
    if place.is_missing:
        raise RefusedError(
            "invalid_arguments",
            f"Approval {given.number} does not exist: {place.empty_text}",
            f"Run `kartra-mcp approve{place.flags}` to list pending approvals.",
        )
    require_interactive("A decision is made")
    asked = require_pending(place.ledger.approvals, given.number, f" in {place.folder}")
    require_pin_set(place.ledger.pins, place.flags)
    _show(asked)
    try:
        decided = decide(
            place.ledger,
            given.number,
            seen=asked.fingerprint,
            ask_pin=prompt_pin,
            decision=_ask_decision,
        )
    except (KeyboardInterrupt, EOFError):
        print_error("\nStopped. Nothing was decided.")
        return EXIT_FAILED
    print_line(outcome_text(decided, format_local_time(decided.expires_at)), "bold")
    return EXIT_OK


def _show(asked: Approval) -> None:
    """Print everything that an approval covers: summary, facts, effect, undo, requester, times."""
    facts = dict(asked.facts)
    effect, undo = facts.pop("effect", ""), facts.pop("undo", "")
    print_line(f"\n{display_value(asked.summary)}\n", "bold")
    print_fields(sorted(facts.items()))
    print_line("")
    print_fields(
        (
            ("effect", effect),
            ("undo", undo),
            ("tool", asked.binding.tool),
            ("asked by", asked.asked_by),
            ("since", format_local_time(asked.asked_at)),
            ("until", format_local_time(asked.expires_at)),
        )
    )
    print_line("")


def _ask_decision() -> ApprovalDecision:
    approve = _ask_choice()
    question = "Why? (Enter: no reason) " if approve else "Why? "
    while True:
        decision = ApprovalDecision(approve, prompt(question))
        if not decision.lacks_reason:
            return decision
        print_line(reason_required_error().message)


def _ask_choice() -> bool:
    while True:
        word = prompt("approve or decline? ").lower()
        if word in {"approve", "decline"}:
            return word == "approve"
        print_line("Type the word approve or the word decline; Ctrl-C leaves it undecided.")
