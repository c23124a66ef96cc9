"""Bytes of a connection cut into the messages that a fault may wait for.

A splitter takes bytes as they arrive and returns pieces with a label; a piece without a label is
of no interest. No byte is changed, held back or lost, but for an HTTP request: it is one piece.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import Protocol

BEGIN, COMMIT, LOCK, INTENT, OUTCOME = "BEGIN", "COMMIT", "LOCK", "INTENT", "OUTCOME"
BEGUN, COMMITTED, ROWS, WARNING = "BEGUN", "COMMITTED", "ROWS", "WARNING"
REQUEST, RESPONSE = "REQUEST", "RESPONSE"

_LINE_KINDS = {b"intent": INTENT, b"outcome": OUTCOME}
_FRAME = struct.Struct("!cI")
_LENGTH = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class Piece:
    data: bytes
    label: str = ""
    detail: str = ""


class Splitter(Protocol):
    def split(self, data: bytes) -> list[Piece]: ...


@dataclass
class PlainSplitter:
    """Each chunk as it came."""

    label: str = ""

    def split(self, data: bytes) -> list[Piece]:
        return [Piece(data, self.label)]


@dataclass
class _FrameSplitter:
    """PostgreSQL's frames: one byte of type, four of length. `has_type`: past the first packet."""

    has_type: bool
    rest: bytes = b""

    def split(self, data: bytes) -> list[Piece]:
        self.rest += data
        pieces: list[Piece] = []
        while (size := self._size()) and len(self.rest) >= size:
            frame, self.rest = self.rest[:size], self.rest[size:]
            label = self.label_of(frame[:1], frame[5:]) if self.has_type else ""
            pieces.append(Piece(frame, label))
            self.has_type = True
        return pieces

    def _size(self) -> int:
        if self.has_type:
            return 1 + _FRAME.unpack_from(self.rest)[1] if len(self.rest) >= 5 else 0
        return _LENGTH.unpack_from(self.rest)[0] if len(self.rest) >= 4 else 0

    def label_of(self, kind: bytes, body: bytes) -> str:
        raise NotImplementedError


@dataclass
class FrontendSplitter(_FrameSplitter):
    """What a replica sends to PostgreSQL: `BEGIN`, `LOCK`, `INTENT`, `OUTCOME`, `COMMIT`."""

    has_type: bool = False
    prepared: dict[bytes, str] = field(default_factory=dict)

    def label_of(self, kind: bytes, body: bytes) -> str:
        if kind == b"Q":
            return _label_sql(body)
        if kind == b"P":
            name, _, sql = body.partition(b"\0")
            self.prepared[name] = _label_sql(sql)
            return ""
        if kind == b"B":
            name = body.split(b"\0", 2)[1]
            return _label_line(body) or self.prepared.get(name, "")
        return ""


@dataclass
class BackendSplitter(_FrameSplitter):
    """What PostgreSQL answers: `BEGUN`, `COMMITTED`, `ROWS`, `WARNING`."""

    has_type: bool = True

    def label_of(self, kind: bytes, body: bytes) -> str:
        if kind == b"N" and b"SWARNING\0" in body:
            return WARNING
        if kind != b"C":
            return ""
        tag = body.partition(b" ")[0].rstrip(b"\0")
        return {b"BEGIN": BEGUN, b"COMMIT": COMMITTED, b"SELECT": ROWS}.get(tag, "")


def _label_sql(sql: bytes) -> str:
    words = sql.strip(b" \n;\0").upper()
    if words.startswith((b"BEGIN", b"START TRANSACTION")):
        return BEGIN
    if words == b"COMMIT":
        return COMMIT
    return LOCK if words.endswith(b"FOR UPDATE") else ""


def _label_line(parameters: bytes) -> str:
    """Return the kind of ledger entry that a Bind inserts: its kind is a parameter by itself."""
    for kind, label in _LINE_KINDS.items():
        if _LENGTH.pack(len(kind)) + kind in parameters:
            return label
    return ""


_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass
class RequestSplitter:
    """HTTP requests, each one piece with the label `REQUEST` and its first line as the detail."""

    rest: bytes = b""

    def split(self, data: bytes) -> list[Piece]:
        self.rest += data
        pieces: list[Piece] = []
        while b"\r\n\r\n" in self.rest:
            head, _, body = self.rest.partition(b"\r\n\r\n")
            found = _CONTENT_LENGTH.search(head)
            length = int(found[1]) if found else 0
            if len(body) < length:
                break
            size = len(head) + 4 + length
            line = head.partition(b"\r\n")[0].decode("latin-1")
            pieces.append(Piece(self.rest[:size], REQUEST, line.rpartition(" ")[0]))
            self.rest = self.rest[size:]
        return pieces
