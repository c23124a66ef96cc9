"""The hash chain: the hash of each entry covers the entry before it. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

GENESIS_HASH = "0" * 64
"""`prev` of entry 1."""


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=str)
_HASHED = json.JSONEncoder(separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Head:
    """Length of the chain and hash of its newest entry."""

    count: int = 0
    hash: str = GENESIS_HASH


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One entry; `body` is the canonical JSON, exactly as it is stored."""

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
    """The head up to which a chain is valid; number and fault of the first broken entry."""

    head: Head
    broken: int | None = None
    why: str = ""


def dump_canonical(value: Any) -> str:
    """Return one spelling for equal JSON. It is ASCII, so that every text can be stored.

    A lone surrogate in an argument would fail as UTF-8, and the write would go unrecorded.
    """
    return _CANONICAL.encode(value)


def make_entry(head: Head, at: float, kind: str, body: Mapping[str, Any]) -> LedgerEntry:
    """Return the entry that follows `head`."""
    return _make_hashed(head.count + 1, at, kind, dump_canonical(body), head.hash)


def verify_chain(lines: Iterable[LedgerEntry], start: Head | None = None) -> ChainReport:
    """Verify entries that follow `start`; without `start` they must begin the chain."""
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


def format_hashed_text(entry: LedgerEntry) -> str:
    """Return the text whose SHA-256 is the hash of an entry."""
    return _format_hashed(entry.n, entry.at, entry.kind, entry.body, entry.prev)


def _format_hashed(n: int, at: float, kind: str, body: str, prev: str) -> str:
    return _HASHED.encode([n, at, kind, body, prev])


def _make_hashed(n: int, at: float, kind: str, body: str, prev: str) -> LedgerEntry:
    text = _format_hashed(n, at, kind, body, prev)
    return LedgerEntry(n, at, kind, body, prev, hashlib.sha256(text.encode()).hexdigest())
