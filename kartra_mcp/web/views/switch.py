"""View models of the switch that stops all writes of an account, and of revocations. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from kartra_mcp.core.display import display_value
from kartra_mcp.ledger.revocations import Revocation
from kartra_mcp.ledger.switch import Stop
from kartra_mcp.web.views.formatting import Timestamp
from kartra_mcp.web.views.viewer import Viewer


@dataclass(frozen=True, slots=True)
class SwitchView:
    """The switch of an account, for one viewer.

    Attributes:
        off_here: this replica runs no write, whatever the switch is.
        stopped_by: who stopped the writes, or "".
        since: when.
        reason: why.
        asked_by: who asked to resume them and waits for a second user, or "".
        viewer_asked: that is the viewer.
    """

    off_here: bool = False
    stopped_by: str = ""
    since: Timestamp | None = None
    reason: str = ""
    asked_by: str = ""
    viewer_asked: bool = False

    @property
    def is_stopped(self) -> bool:
        return self.since is not None


def make_switch_view(stop: Stop | None, viewer: Viewer, *, off_here: bool) -> SwitchView:
    if stop is None:
        return SwitchView(off_here)
    resume = stop.resume
    return SwitchView(
        off_here,
        stopped_by=display_value(stop.who, 80),
        since=Timestamp(stop.at),
        reason=display_value(stop.reason),
        asked_by="" if resume is None else display_value(resume.who, 80),
        viewer_asked=resume is not None and resume.person == viewer.team_principal.key,
    )


@dataclass(frozen=True, slots=True)
class RevokedView:
    """An access that is revoked; `key` is that of its principal or token."""

    key: str
    name: str
    who: str
    since: Timestamp
    reason: str


def make_revoked_view(found: Revocation) -> RevokedView:
    return RevokedView(
        found.key,
        display_value(found.name, 80),
        display_value(found.who, 80),
        Timestamp(found.at),
        display_value(found.reason),
    )
