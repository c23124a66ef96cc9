"""Clients that show a model both forms of an answer, so that it would be paid for twice. Pure.

Measured with the clients themselves (docs/clients). What a client says of itself changes the form
of an answer only: never its content, nor what is permitted.
"""

from __future__ import annotations

from typing import Final

SHOW_BOTH: Final = frozenset({"codex-mcp-client", "copilot-cli"})
"""Names by which these clients introduce themselves; an unknown client gets both forms."""


def shows_both(client: str) -> bool:
    """Return whether a client of this name and version shows text and structure to its model."""
    return client.partition(" ")[0] in SHOW_BOTH
