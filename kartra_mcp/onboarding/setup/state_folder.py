"""State folder step of setup: every account has its own, with its ledger and its PIN."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kartra_mcp.core.display import display_value
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Connection
from kartra_mcp.onboarding.accounts.entries import ClientEntry, names_of
from kartra_mcp.onboarding.accounts.state_folders import find_folder
from kartra_mcp.onboarding.setup.report import SetupContext
from kartra_mcp.settings import read_settings

VARIABLE = "KARTRA_MCP_STATE_DIR"


def set_state_folder(setup: SetupContext, name: str) -> SetupContext:
    """Return a context with the folder of the chosen account; a folder that was given stays.

    Args:
        setup: with the chosen connection in its report.
        name: of the entry.

    Raises:
        RefusedError: the entry serves another account, and the user keeps that.
    """
    connection = setup.story.connection
    if connection is None:
        return setup
    folder, others = find_folder(name, connection, setup.settings)
    if others and "CONNECTION" in setup.given.explicit:
        _confirm_other_account(setup, connection, others)
    if folder is None or VARIABLE in setup.story.env:
        return setup
    setup.story.env[VARIABLE] = str(folder)
    setup.record_done(f"The account has a state folder of its own: {display_value(folder)}")
    flags = read_settings({"STATE_DIR": str(folder)}, {}).cli_flags
    return replace(setup, settings=replace(setup.settings, state_dir=folder, cli_flags=flags))


def _confirm_other_account(
    setup: SetupContext, connection: Connection, others: Sequence[ClientEntry]
) -> None:
    """Ask before an entry changes to another account: a second account needs another name."""
    (name, *_), now = names_of(others), others[0].settings.connection
    title = display_value(connection.name or connection.id, 60)
    question = f"The entry {name} serves the connection {display_value(now)}. Change it to {title}?"
    setup.person.print(
        f"A second account needs an entry of its own, with another --name than {name}."
    )
    if not setup.person.confirm(question):
        raise RefusedError(
            "not_allowed",
            f"{name} still serves {display_value(now)}. Nothing was written.",
            "Run `kartra-mcp setup --name NAME --connection ID` for a second account.",
        )
