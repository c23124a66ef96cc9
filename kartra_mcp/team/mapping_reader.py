"""Typed reading of a mapping of the team file; every fault is collected, none is raised. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from kartra_mcp.team.faults import FaultList, quote, quote_address, suggest
from kartra_mcp.team.yaml_tree import ListNode, MappingNode, Node, Scalar

MAX_TEXT = 2_000
_NUMBER = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,6})?")
_WHOLE = re.compile(r"[0-9]{1,9}")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Check:
    """A check of one text: returns the value, or None and `wanted` describes a right one."""

    wanted: str
    read: Callable[[str], object | None]


@dataclass(frozen=True, slots=True)
class Place:
    """A line of the file and its path of keys."""

    line: int
    key: str

    def below(self, name: str, line: int | None = None) -> Place:
        return Place(line or self.line, f"{self.key}.{name}" if self.key else name)


class MappingReader:
    """Reads one mapping. Unknown, repeated and missing keys are faults.

    Args:
        node: the node of the file; anything but a mapping is a fault.
        place: its line and keys.
        faults: receives the faults.
        known: the keys that it may have.
    """

    def __init__(self, node: Node, place: Place, faults: FaultList, known: Iterable[str]) -> None:
        self.place = place
        self._faults = faults
        self._values: dict[str, Node] = {}
        self._lines: dict[str, int] = {}
        names = frozenset(known)
        for name, value in iterate_mapping(node, place, faults):
            if name.text not in names:
                mend = suggest(name.text, names)
                faults.add(name.line, place.key, f"unknown key {quote(name.text)}", mend)
            else:
                self._values[name.text] = value
                self._lines[name.text] = name.line
                faults.lines[place.below(name.text).key] = name.line

    def has(self, name: str) -> bool:
        return name in self._values

    def get(self, name: str) -> Node | None:
        """Return the node of a key; None if it is absent."""
        return self._values.get(name)

    def locate(self, name: str) -> Place:
        """Return the place of a key, or of the mapping if the key is absent."""
        return self.place.below(name, self._lines.get(name))

    def fault(self, name: str, problem: str, mend: str) -> None:
        """Add a fault at a key; at the mapping itself if `name` is empty."""
        place = self.locate(name) if name else self.place
        self._faults.add(place.line, place.key, problem, mend)

    def require(self, name: str) -> Node | None:
        """Return the node of a key, and report a missing one."""
        node = self._values.get(name)
        if node is None:
            self._faults.add(self.place.line, self.place.key, f"{name} is missing", f"Add {name}:")
        return node

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text; without a default the key is required. "" after a fault."""
        node = self.get(name) if default is not None else self.require(name)
        if node is None:
            return default or ""
        return read_text(node, self.locate(name), self._faults)

    def checked(self, name: str, check: Check, default: str | None = None) -> str:
        """Return a text that passes `check`; "" after a fault."""
        text = self.text(name, default)
        if not text or not self.has(name):
            return text
        found = check.read(text)
        if found is None:
            self.fault(name, f"{quote_address(text)} cannot be used", f"Write {check.wanted}")
            return ""
        return str(found)

    def number(self, name: str, default: float, least: float, most: float) -> float:
        """Return a number within bounds; the default if absent or after a fault."""
        node = self.get(name)
        if node is None:
            return default
        text = read_text(node, self.locate(name), self._faults)
        if not text:
            return default
        if not _NUMBER.fullmatch(text) or not least <= float(text) <= most:
            wanted = f"a number from {least:g} to {most:g}"
            self.fault(name, f"{quote(text)} cannot be used", f"Write {wanted}")
            return default
        return float(text)

    def whole(self, name: str, least: int, most: int) -> int:
        """Return a required whole number within bounds; `most` after a fault."""
        text = self.text(name)
        if not text:
            return most
        if not _WHOLE.fullmatch(text) or not least <= int(text) <= most:
            wanted = f"a whole number from {least} to {most}"
            self.fault(name, f"{quote(text)} cannot be used", f"Write {wanted}")
            return most
        return int(text)

    def amount(self, name: str, read: Callable[[str], Decimal | None]) -> Decimal | None:
        """Return a sum of money; None if absent or after a fault."""
        if not self.has(name):
            return None
        text = self.text(name)
        found = read(text) if text else None
        if text and found is None:
            self.fault(name, f"{quote(text)} is not a sum of money", "Write it as 100 or 99.50")
        return found

    def items(self, name: str) -> Sequence[Node]:
        """Return the items of a list; a fault for anything else, or for an empty one."""
        node = self.get(name)
        if node is None:
            return ()
        if isinstance(node, ListNode) and node.items:
            return node.items
        self.fault(name, "is not a list with an item", "Write [a, b] or lines that begin with -")
        return ()

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts, without those that had faults; a repeated one is a fault."""
        found: list[str] = []
        for node in self.items(name):
            text = read_text(node, self.place.below(name, node.line), self._faults)
            if text in found:
                self._faults.add(
                    node.line, self.locate(name).key, f"{quote(text)} is there twice", "Remove one"
                )
            elif text:
                found.append(text)
        return tuple(found)


def iterate_mapping(node: Node, place: Place, faults: FaultList) -> Iterator[tuple[Scalar, Node]]:
    """Yield the pairs of a mapping, each key once; anything else than a mapping is a fault."""
    if not isinstance(node, MappingNode):
        faults.add(place.line, place.key, "is not a mapping", "Write lines of `name: value` below")
        return
    seen: set[str] = set()
    for name, value in node.pairs:
        if name.text in seen:
            faults.add(name.line, place.key, f"{quote(name.text)} is there twice", "Remove one")
        else:
            seen.add(name.text)
            yield name, value


def read_text(node: Node, place: Place, faults: FaultList) -> str:
    """Return a text as it is written, also one of digits; "" after a fault.

    `true`, `null`, lists and mappings are faults: as text they would be a surprise.
    """
    if not isinstance(node, Scalar):
        faults.add(place.line, place.key, "is not a text", "Write one value")
    elif node.kind in {"switch", "null"} or not node.text.strip():
        found = quote(node.text) if node.text else "empty"
        faults.add(place.line, place.key, f"is {found}, not a text", "Write a value, or quote it")
    elif len(node.text) > MAX_TEXT or not node.text.isprintable():
        faults.add(place.line, place.key, "is too long or has control characters", "Correct it")
    else:
        return node.text
    return ""
