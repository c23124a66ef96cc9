"""Check of a JSON text that arrives line by line. Pure."""

from __future__ import annotations

import re
from enum import Enum, auto

_TOKEN = re.compile(
    r"[ \t\r\n]*+(?:(?P<sign>[{}\[\],:])"
    r'|(?P<text>"(?:[^"\\\x00-\x1f]|\\.)*+")'
    r"|(?P<value>-?[0-9]++(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+|true|false|null))"
)
_KEY, _TEXT, _VALUE = "k", '"', "0"
_VALUES = "{[" + _TEXT + _VALUE


class Shape(Enum):
    """State of a JSON text after some of its lines."""

    PARTIAL = auto()
    COMPLETE = auto()
    INVALID = auto()


class JsonPrefix:
    """The JSON text so far: which tokens may follow, and how many values it has.

    Each line is read once. Parsing all lines again after each one would take quadratic time.
    """

    def __init__(self) -> None:
        self._closers: list[str] = []
        self._expected = _VALUES
        self.values = 0

    def take(self, line: str) -> Shape:
        """Add a line. A token never continues on the next line. No line follows an invalid one."""
        at, end = 0, len(line.rstrip(" \t\r\n"))
        while at < end:
            found = _TOKEN.match(line, at)
            if not found or not self._accept(self._classify(found)):
                return Shape.INVALID
            at = found.end()
        return Shape.PARTIAL if self._expected else Shape.COMPLETE

    def _classify(self, found: re.Match[str]) -> str:
        if found["sign"]:
            return found["sign"]
        if found["value"]:
            return _VALUE
        return _KEY if _KEY in self._expected else _TEXT

    def _accept(self, kind: str) -> bool:
        if kind not in self._expected:
            return False
        if kind in ",{[":
            self.values += 1
        if kind == "{":
            self._closers.append("}")
            self._expected = _KEY + "}"
        elif kind == "[":
            self._closers.append("]")
            self._expected = _VALUES + "]"
        elif kind == _KEY:
            self._expected = ":"
        elif kind == ":":
            self._expected = _VALUES
        elif kind == ",":
            self._expected = _KEY if self._closers[-1] == "}" else _VALUES
        else:
            self._end_value(kind)
        return True

    def _end_value(self, kind: str) -> None:
        if kind in "}]":
            self._closers.pop()
        self._expected = "," + self._closers[-1] if self._closers else ""
