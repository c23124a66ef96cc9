"""Faults of a team file: line, key, problem and mend. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from kartra_mcp.core.display import display_value
from kartra_mcp.core.errors import RefusedError

MAX_SHOWN_FAULTS = 20
MAX_KEY = 160
"""Characters of a path of keys: the file names some of them, so that it is untrusted."""


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One fault. `line` counts from 1; `key` is the path of keys, e.g. `accounts.main.title`."""

    line: int
    key: str
    problem: str
    mend: str

    def __str__(self) -> str:
        where = f"{display_value(self.key, MAX_KEY)}: " if self.key else ""
        return f"line {self.line}: {where}{self.problem}. {self.mend}"


@dataclass(slots=True)
class FaultList:
    """Collects faults, so that one run names all of them, and the line of each key."""

    found: list[Fault] = field(default_factory=list[Fault])
    lines: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, line: int, key: str, problem: str, mend: str) -> None:
        self.found.append(Fault(line, key, problem, mend))


class TeamFileError(RefusedError):
    """A team file that cannot be used. Nothing of it is used."""

    def __init__(self, file: str, faults: Iterable[Fault]) -> None:
        self.faults: Sequence[Fault] = sorted(set(faults))
        shown = [str(fault) for fault in self.faults[:MAX_SHOWN_FAULTS]]
        more = len(self.faults) - len(shown)
        rest = [f"{more} more"] if more else []
        count = f"{len(self.faults)} fault{'s' * (len(self.faults) > 1)}"
        super().__init__(
            "invalid_arguments",
            f"The team file {file} has {count}. Nothing was done: " + " | ".join([*shown, *rest]),
            "Correct each named line, then run the command again.",
        )


def suggest(word: str, names: Iterable[str]) -> str:
    """Return the mend for an unknown name: the nearest known one, else all of them."""
    known = sorted(names)
    near = difflib.get_close_matches(word, known, n=1)
    return f"Did you mean {near[0]}?" if near else f"Use one of: {', '.join(known)}"


def quote(text: str) -> str:
    """Return untrusted text of the file as it may be displayed, cut."""
    return display_value(text, 60)


def quote_address(text: str) -> str:
    """Return an address as it may be displayed: without its user part, which can be a password."""
    scheme, mark, rest = text.partition("://")
    return quote(f"{scheme}{mark}…" if "@" in rest or "?" in rest else text)
