"""`kartra-mcp team settle INTENT OUTCOME`: a person states the outcome of one write.

Two persons must state the same. The name is typed and not proved, so that the user of the operating
system is recorded with it.
"""

from __future__ import annotations

from argparse import Namespace

from kartra_mcp.cli.team_context import TeamContext
from kartra_mcp.cli.team_ledgers import make_store, open_database
from kartra_mcp.core.display import display_value, get_os_user, print_json
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.exit_codes import EXIT_FAILED, EXIT_OK
from kartra_mcp.core.terminal import print_line
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.settlement import SettledState, Statement

OUTCOMES = ("succeeded", "failed")
PERSONS = 2
"""Persons who must state the same outcome."""


def state_outcome(given: Namespace, place: TeamContext) -> int:
    """Return 0 once the outcome is settled, 1 while another person is needed.

    Raises:
        RefusedError: something is missing, or reading can settle it. Nothing was recorded.
    """
    person = " ".join((given.by or "").split())
    if given.outcome is None or not person or not given.reason:
        raise RefusedError(
            "invalid_arguments",
            "An outcome is stated with its person and reason. Nothing was recorded.",
            "Run `kartra-mcp team settle INTENT failed --by NAME --reason TEXT`.",
        )
    reason = f"{given.reason} (typed by the OS user {get_os_user()})"
    statement = Statement(person.casefold(), given.outcome, reason)
    with open_database(place.team) as connections:
        for name in place.accounts:
            ledger = Ledger(make_store(connections, name, b""))
            if ledger.get(given.intent) is not None:
                agreed = ledger.state_outcome(given.intent, statement, persons=PERSONS)
                return _report(given, name, agreed)
    raise RefusedError(
        "invalid_arguments",
        f"No account of the team has the intent {display_value(given.intent, 60)}."
        " Nothing was recorded.",
        "Run `kartra-mcp team settle` to list the intents that need people.",
    )


def _report(given: Namespace, account: str, agreed: SettledState | None) -> int:
    if given.json:
        stated = {"account": account, "intent": given.intent, "stated": given.outcome}
        print_json({**stated, "settled": agreed})
    elif agreed is None:
        print_line(f"{given.intent}: {given.outcome} is stated by {display_value(given.by, 60)}.")
        print_line("It is settled once a second person states the same, under another name.")
    else:
        print_line(f"{given.intent} is settled as {agreed}.")
    return EXIT_OK if agreed else EXIT_FAILED
