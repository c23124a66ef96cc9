"""The chain of lines: each line's hash covers the line before it. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

FIRST = "0" * 64
"""What stands as `prev` in line 1."""


@dataclass(frozen=True, slots=True)
class Head:
    """How far the chain goes: the number of lines and the hash of the newest."""

    count: int = 0
    hash: str = FIRST


@dataclass(frozen=True, slots=True)
class Line:
    """One line; `body` is the canonical JSON, exactly as it is stored."""

    n: int
    at: float
    kind: str
    body: str
    prev: str
    hash: str

    @property
    def said(self) -> dict[str, Any]:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Walk:
    """How far a chain holds, and the first line that does not, with why."""

    head: Head
    broken: int | None = None
    why: str = ""


def canonical(value: Any) -> str:
    """One spelling for equal JSON. ASCII, so that no text from elsewhere fails to be stored."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def next_line(head: Head, at: float, kind: str, body: Mapping[str, Any]) -> Line:
    return _hashed(head.count + 1, at, kind, canonical(body), head.hash)


def walk(lines: Iterable[Line], start: Head | None = None) -> Walk:
    """Follow the lines from `start`, whose next line is the first of them."""
    head = start or Head()
    for line in lines:
        why = _fault(line, head)
        if why:
            return Walk(head, line.n, why)
        head = Head(line.n, line.hash)
    return Walk(head)


def _fault(line: Line, head: Head) -> str:
    if line.n != head.count + 1:
        return f"line {head.count + 1} is missing"
    if line.prev != head.hash:
        return f"line {line.n} does not follow the line before it"
    if line != _hashed(line.n, line.at, line.kind, line.body, line.prev):
        return f"line {line.n} was altered"
    return ""


def _hashed(n: int, at: float, kind: str, body: str, prev: str) -> Line:
    told = json.dumps([n, at, kind, body, prev], separators=(",", ":"))
    return Line(n, at, kind, body, prev, hashlib.sha256(told.encode()).hexdigest())
