"""Facts that the user sees before money moves or access ends, collected by reads only.

The digest of the facts is bound to the consent, and they are read again immediately before the call
runs. Facts that could not be read are listed with the reason.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from kartra_mcp.core.models import Command, OperationKind, Target
from kartra_mcp.kartra.lead_state import HeldState

Read = Callable[[Command], Awaitable[Any]]
"""Runs one read command and returns Kartra's response."""


@dataclass(frozen=True, slots=True)
class Impossible:
    """Reason why the facts rule a call out, and the remedy: sentences of this server."""

    why: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Change:
    """One field that a call changes; `old` is "" if it was empty or is not known."""

    label: str
    old: str
    new: str

    def __str__(self) -> str:
        after = self.new or "(empty)"
        return f"{self.label} {self.old} -> {after}" if self.old else f"{self.label} -> {after}"


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts read before a call.

    `shown` is displayed to the user; `missing` lists what could not be read, with reasons.
    `remaining` and `amount_moved` are sums (None: could not be read). `already_done`: the account
    shows that the operation was done before. `impossible`: the account shows that it cannot run.
    `changes` are in `shown` too, as text; so is `suppressed`, the reasons against mail to the lead.
    `typed` is what the user types under gate human; "" for the amount or the target's id. `held` is
    the state of the lead's object that the call sets.
    """

    act: OperationKind
    target: Target | None
    shown: Mapping[str, Any] = field(default_factory=dict[str, Any])
    missing: tuple[str, ...] = ()
    amount_moved: Decimal | None = None
    remaining: Decimal | None = None
    full: bool | None = None
    already_done: bool = False
    impossible: Impossible | None = None
    changes: tuple[Change, ...] = ()
    evidence: tuple[str, ...] = ()
    lead: str = ""
    typed: str = ""
    held: HeldState | None = None
    suppressed: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        kept = [
            self.shown,
            self.missing,
            str(self.amount_moved),
            str(self.remaining),
            self.evidence,
        ]
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
