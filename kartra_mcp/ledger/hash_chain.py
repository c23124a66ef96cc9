"""The chain of lines: each line's hash covers the line before it. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

GENESIS_HASH = "0" * 64
"""What stands as `prev` in line 1."""


@dataclass(frozen=True, slots=True)
class Head:
    """How far the chain goes: the number of lines and the hash of the newest."""

    count: int = 0
    hash: str = GENESIS_HASH


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One line; `body` is the canonical JSON, exactly as it is stored."""

    n: int
    at: float
    kind: str
    body: str
    prev: str
    hash: str

    @property
    def payload(self) -> dict[str, Any]:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class ChainReport:
    """How far a chain holds, and the first line that does not, with why."""

    head: Head
    broken: int | None = None
    why: str = ""


def dump_canonical(value: Any) -> str:
    """One spelling for equal JSON. ASCII, so that no text from elsewhere fails to be stored."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def make_entry(head: Head, at: float, kind: str, body: Mapping[str, Any]) -> LedgerEntry:
    return _make_hashed(head.count + 1, at, kind, dump_canonical(body), head.hash)


def verify_chain(lines: Iterable[LedgerEntry], start: Head | None = None) -> ChainReport:
    """Follow the lines from `start`, whose next line is the first of them."""
    head = start or Head()
    for line in lines:
        why = _find_fault(line, head)
        if why:
            return ChainReport(head, line.n, why)
        head = Head(line.n, line.hash)
    return ChainReport(head)


def _find_fault(line: LedgerEntry, head: Head) -> str:
    if line.n != head.count + 1:
        return f"line {head.count + 1} is missing"
    if line.prev != head.hash:
        return f"line {line.n} does not follow the line before it"
    if line != _make_hashed(line.n, line.at, line.kind, line.body, line.prev):
        return f"line {line.n} was altered"
    return ""


def _make_hashed(n: int, at: float, kind: str, body: str, prev: str) -> LedgerEntry:
    told = json.dumps([n, at, kind, body, prev], separators=(",", ":"))
    return LedgerEntry(n, at, kind, body, prev, hashlib.sha256(told.encode()).hexdigest())
