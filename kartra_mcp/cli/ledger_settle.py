"""`kartra-mcp ledger settle`: the user states an outcome that reading cannot settle."""

from __future__ import annotations

from argparse import Namespace

from kartra_mcp.cli.pin import prompt_pin
from kartra_mcp.cli.runner import LedgerContext
from kartra_mcp.consent.decisions import require_pin
from kartra_mcp.core.display import display_value, get_os_user
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.exit_codes import EXIT_FAILED, EXIT_OK
from kartra_mcp.core.terminal import print_line, prompt, require_interactive
from kartra_mcp.ledger.settlement import Statement

SETTLE = "settle"
OUTCOMES = ("succeeded", "failed")

_MEANING = {
    "succeeded": "The ledger will record that this write was executed.",
    "failed": (
        "The ledger will record that this write was not executed, so that it can be done again. If "
        "it was executed, or still is, it happens twice."
    ),
}


def settle(given: Namespace, place: LedgerContext) -> int:
    """Return 0 once the outcome is settled, 1 if the user stopped.

    Raises:
        RefusedError: it can be settled by reading, or it is too early; nothing was recorded.
    """
    if place.is_missing or place.ledger.get(given.intent) is None:
        raise RefusedError(
            "invalid_arguments",
            f"The intent {display_value(given.intent, 60)} is not in the ledger of {place.folder}.",
            f"Run `kartra-mcp ledger list{place.flags}` to list them.",
        )
    require_interactive("An outcome is stated")
    place.ledger.require_statable(given.intent, given.outcome)
    print_line(f"Intent {given.intent}: {given.outcome}.", "bold")
    print_line(f"{_MEANING[given.outcome]} Check in Kartra before you state it.")
    if prompt(f"Type {given.outcome} to state it: ") != given.outcome:
        print_line("Nothing was recorded.")
        return EXIT_FAILED
    reason = ""
    while not reason:
        reason = prompt("What did you see in Kartra? ")
    if place.ledger.pins.is_set():
        require_pin(place.ledger.pins, prompt_pin())
    statement = Statement(get_os_user(), given.outcome, reason)
    place.ledger.state_outcome(given.intent, statement)
    print_line(f"The intent {given.intent} is settled as {given.outcome}.")
    return EXIT_OK
