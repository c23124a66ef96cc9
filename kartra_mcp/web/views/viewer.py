"""The user who looks at a page, and what this user may do there."""

from __future__ import annotations

from dataclasses import dataclass

from kartra_mcp.core.principal import Principal
from kartra_mcp.policy.roles import Right


@dataclass(frozen=True, slots=True)
class Viewer:
    """The user of a session, in one account.

    Attributes:
        rights: None for the user of this machine, who may do everything.
        principal: the user of a team; None for the user of this machine.
        auth_time: time of the login in seconds since the epoch.
        acr: class of the login, or "".
        is_fresh: the login is recent enough for a decision.
    """

    rights: frozenset[Right] | None = None
    principal: Principal | None = None
    auth_time: float = 0.0
    acr: str = ""
    is_fresh: bool = True

    @property
    def team_principal(self) -> Principal:
        assert self.principal is not None  # noqa: S101  made by the team's page
        return self.principal

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(sorted(self.principal.roles)) if self.principal else ()

    def may(self, *rights: str) -> bool:
        """Return True if the user has one of these rights."""
        return self.rights is None or any(Right(right) in self.rights for right in rights)


LOCAL_VIEWER = Viewer()
