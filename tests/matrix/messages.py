"""Bytes of a connection cut into the messages that a fault may wait for.

A splitter takes bytes as they arrive and returns pieces with labels; a piece without one is of no
interest. No byte is changed, held back or lost, but for an HTTP request: it is one piece.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Protocol

BEGIN, COMMIT, LOCK, INTENT, OUTCOME = "BEGIN", "COMMIT", "LOCK", "INTENT", "OUTCOME"
BEGUN, COMMITTED, READY = "BEGUN", "COMMITTED", "READY"
REQUEST, RESPONSE = "REQUEST", "RESPONSE"

Labels = frozenset[str]
NO_LABELS: Labels = frozenset()
_LINE_KINDS = {b"'intent'": INTENT, b"'outcome'": OUTCOME}
_ADD_LINE = re.compile(rb"INSERT INTO lines|EXECUTE insert_lines_\d+")
_BEGIN_CALL = re.compile(rb"begin_transaction(_\d+)?\(")
_FRAME = struct.Struct("!cI")
_LENGTH = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class Piece:
    data: bytes
    labels: Labels = NO_LABELS


class Splitter(Protocol):
    def split(self, data: bytes) -> list[Piece]: ...


@dataclass
class PlainSplitter:
    """Each chunk as it came."""

    label: str = ""

    def split(self, data: bytes) -> list[Piece]:
        return [Piece(data, frozenset({self.label} - {""}))]


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
            labels = self.list_labels(frame[:1], frame[5:]) if self.has_type else NO_LABELS
            pieces.append(Piece(frame, labels))
            self.has_type = True
        return pieces

    def _size(self) -> int:
        if self.has_type:
            return 1 + _FRAME.unpack_from(self.rest)[1] if len(self.rest) >= 5 else 0
        return _LENGTH.unpack_from(self.rest)[0] if len(self.rest) >= 4 else 0

    def list_labels(self, kind: bytes, body: bytes) -> Labels:
        raise NotImplementedError


@dataclass
class FrontendSplitter(_FrameSplitter):
    """Label messages of a replica to PostgreSQL: `BEGIN`, `LOCK`, `INTENT`, `OUTCOME`, `COMMIT`.

    One message can have several: the changes of a transaction are sent with its COMMIT, and the
    lock of the head is taken by the call that begins a write.
    """

    has_type: bool = False

    def list_labels(self, kind: bytes, body: bytes) -> Labels:
        if kind == b"P":
            body = body.partition(b"\0")[2]
        elif kind != b"Q":
            return NO_LABELS
        sql = body.rstrip(b"; \n\0").lstrip()
        found = {label for text, label in _LINE_KINDS.items() if _adds_line(sql, text)}
        upper = sql[:20].upper() + b" " + sql[-20:].upper()
        if upper.startswith((b"BEGIN", b"START TRANSACTION")):
            found.add(BEGIN)
        if upper.endswith(b"COMMIT"):
            found.add(COMMIT)
        if _BEGIN_CALL.search(sql) and b"READ WRITE" in sql[:60].upper():
            found.add(LOCK)
        return frozenset(found)


@dataclass
class BackendSplitter(_FrameSplitter):
    """Label the answers of PostgreSQL: `BEGUN`, `COMMITTED`, and `READY` inside a transaction."""

    has_type: bool = True

    def list_labels(self, kind: bytes, body: bytes) -> Labels:
        if kind == b"Z" and body == b"T":
            return frozenset({READY})
        label = {b"BEGIN\0": BEGUN, b"COMMIT\0": COMMITTED}.get(body) if kind == b"C" else None
        return frozenset({label} if label else ())


def _adds_line(sql: bytes, kind: bytes) -> bool:
    """Return whether a script inserts an entry of this kind, quoted as a literal."""
    return any(kind in sql[found.end() : found.end() + 200] for found in _ADD_LINE.finditer(sql))


_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass
class RequestSplitter:
    """HTTP requests, each one piece with the label `REQUEST`."""

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
            pieces.append(Piece(self.rest[:size], frozenset({REQUEST})))
            self.rest = self.rest[size:]
        return pieces
