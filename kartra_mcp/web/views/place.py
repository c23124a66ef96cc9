"""The place that the views show: its paths, its name, its limits."""

from __future__ import annotations

from dataclasses import dataclass, field

from kartra_mcp.policy.limits import Limits

STATIC = "/static"


@dataclass(frozen=True, slots=True)
class Place:
    """Surroundings of the pages of one ledger, as they show them.

    Attributes:
        root: path of these pages, without a slash at its end.
        static: path of style, script and icon.
        limits: caps, as the charts draw them.
        flags: command-line flags that select the same ledger.
        sandbox: nothing here reaches Kartra.
        folder: path of the state folder; "" for a team.
        program: command of this installation, for a terminal; "" if it is not shown.
        title: name of the account of a team; "" for one user.
        home: path of a team's list of accounts.
        again: path of a fresh login of a team.
    """

    root: str = ""
    static: str = STATIC
    limits: Limits = field(default_factory=Limits)
    flags: str = ""
    sandbox: bool = False
    folder: str = ""
    program: str = ""
    title: str = ""
    home: str = ""
    again: str = ""

    @property
    def is_team(self) -> bool:
        return bool(self.title)
