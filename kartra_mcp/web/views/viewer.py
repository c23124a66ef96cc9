"""The user who looks at a page, and what this user may do there."""

from __future__ import annotations

from dataclasses import dataclass

from kartra_mcp.policy.roles import Right


@dataclass(frozen=True, slots=True)
class Viewer:
    """The user of a session, in one account.

    `rights` None: the user of this machine, who may do everything.
    """

    rights: frozenset[Right] | None = None

    def may(self, *rights: str) -> bool:
        """Return True if the user has one of these rights."""
        return self.rights is None or any(Right(right) in self.rights for right in rights)


LOCAL_VIEWER = Viewer()
