"""Names in the account (custom fields, tags, lists), read from Kartra and cached briefly."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from kartra_mcp.core.models import Command, Connection

if TYPE_CHECKING:
    from kartra_mcp.consent.facts import Read

MAX_AGE: Final = 60.0
"""Seconds for which a name that was found counts as existing; a missing one is read again."""


@dataclass(frozen=True, slots=True)
class AccountNames:
    """Responses to commands that list names, by connection and command."""

    clock: Callable[[], float] = time.monotonic
    kept: dict[tuple[str, str], tuple[float, Any]] = field(
        default_factory=dict[tuple[str, str], tuple[float, Any]]
    )

    def peek(self, connection: Connection, command: str) -> Any:
        """Return the cached response, or None."""
        at, answer = self.kept.get((connection.id, command), (0.0, None))
        return answer if answer is not None and self.clock() - at <= MAX_AGE else None

    async def read(self, connection: Connection, command: str, read: Read) -> Any:
        """Return Kartra's current response, and cache it."""
        answer = await read(Command(command))
        self.kept[connection.id, command] = (self.clock(), answer)
        return answer
