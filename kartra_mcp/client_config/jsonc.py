"""JSON as clients write it, with comments and trailing commas, and the position of each part."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from kartra_mcp.client_config.errors import UnfitError
from kartra_mcp.core.json_types import is_array, is_object

DEEPEST = 100
"""Objects inside of objects; a configuration has five."""

LONGEST = 60
"""Characters of a stranger's name that a message shows, in ASCII."""

_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_BARE = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null")
_SPACE = re.compile(r"[ \t\r\n]+")
COMMENT = re.compile(r"//[^\r\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Member:
    """One `"name": value` of an object; `comma` is the position of the comma after it, if any."""

    name: str
    start: int
    value: Node
    comma: int | None


@dataclass(frozen=True, slots=True)
class Node:
    """A value; `start` and `end` are its positions, `inner` the insertion point for a new member.

    `inner` follows the last member, comma or comment, or the opening brace. `members` is None for a
    value that is not an object.
    """

    start: int
    end: int
    value: Any
    members: tuple[Member, ...] | None = None
    inner: int = 0


@lru_cache(maxsize=2)
def parse(text: str) -> Node:
    """Parse a whole text. The last two results are cached, since an edit parses each several times.

    Raises:
        UnfitError: it is not JSON, even with comments and trailing commas, or an object has a
            duplicate name.
    """
    reader = _Reader(text, len(text) - len(text.removeprefix("\ufeff")))
    reader.skip()
    node = reader.value(0)
    reader.skip()
    if reader.at != len(text):
        raise reader.wrong()
    return node


@dataclass(slots=True)
class _Reader:
    text: str
    at: int
    last: int = field(default=0)
    """The end of the last comment that was skipped."""

    def skip(self) -> None:
        """Skip white space and comments."""
        while True:
            if found := _SPACE.match(self.text, self.at):
                self.at = found.end()
            elif found := COMMENT.match(self.text, self.at):
                self.at = self.last = found.end()
            else:
                return

    def take(self, sign: str) -> bool:
        taken = self.text.startswith(sign, self.at)
        self.at += taken
        return taken

    def value(self, depth: int) -> Node:
        if depth > DEEPEST:
            raise UnfitError("is nested too deeply")
        start = self.at
        if self.take("{"):
            return self.object(start, depth)
        if self.take("["):
            return self.array(start, depth)
        found = _STRING.match(self.text, start) or _BARE.match(self.text, start)
        if found is None:
            raise self.wrong()
        self.at = found.end()
        return Node(start, self.at, self.read(found[0], start))

    def read(self, text: str, start: int) -> Any:
        if text[0] == '"' and "\\" not in text:
            return text[1:-1]
        try:
            return json.loads(text)
        except ValueError:
            self.at = start
            raise self.wrong() from None

    def object(self, start: int, depth: int) -> Node:
        members: list[Member] = []
        names: set[str] = set()
        inner = self.gap(self.at)
        while not self.take("}"):
            if members and members[-1].comma is None:
                raise self.wrong()
            members.append(self.member(depth))
            names.add(members[-1].name)
            if len(names) < len(members):
                raise UnfitError(f"has {json.dumps(members[-1].name[:LONGEST])} twice")
            inner = self.gap(self.at)
        value = {member.name: member.value.value for member in members}
        return Node(start, self.at, value, tuple(members), inner)

    def member(self, depth: int) -> Member:
        start = self.at
        found = _STRING.match(self.text, start)
        if found is None:
            raise self.wrong()
        self.at = found.end()
        name = self.read(found[0], start)
        self.skip()
        if not self.take(":"):
            raise self.wrong()
        self.skip()
        value = self.value(depth + 1)
        self.skip_to_comma(value.end)
        comma = self.at - 1 if self.take(",") else None
        return Member(name, start, value, comma)

    def skip_to_comma(self, back: int) -> None:
        """Skip to the comma.

        Without one go back, so that a comment after the member counts as last.
        """
        self.skip()
        if not self.text.startswith(",", self.at):
            self.at = back

    def gap(self, behind: int) -> int:
        """Skip white space and comments; return the end of the last part before them."""
        self.last = behind
        self.skip()
        return self.last

    def array(self, start: int, depth: int) -> Node:
        values: list[Any] = []
        comma = True
        self.skip()
        while not self.take("]"):
            if not comma:
                raise self.wrong()
            values.append(self.value(depth + 1).value)
            self.skip()
            comma = self.take(",")
            self.skip()
        return Node(start, self.at, values)

    def wrong(self) -> UnfitError:
        line = self.text.count("\n", 0, self.at) + 1
        return UnfitError(f"is not valid JSON (line {line})")


def find(root: Node, path: Sequence[str]) -> Node | None:
    """Return the node at `path`, or None if a name is missing.

    Raises:
        UnfitError: a parent is not an object.
    """
    node = root
    for depth, name in enumerate(path):
        found = {m.name: m.value for m in members_of(node, path[:depth])}
        if name not in found:
            return None
        node = found[name]
    return node


def members_of(node: Node, path: Sequence[str]) -> tuple[Member, ...]:
    if node.members is None:
        where = (
            f"has something else than an object as `{'.'.join(path)}`" if path else "is no object"
        )
        raise UnfitError(where)
    return node.members


def shown(value: Any, indent: str, unit: str, newline: str) -> str:
    """Return a value as JSON at this indentation; on one line if `newline` is empty."""
    if not newline:
        return json.dumps(value, ensure_ascii=False)
    if is_object(value) and value:
        rows = [
            f"{json.dumps(n, ensure_ascii=False)}: {shown(v, indent + unit, unit, newline)}"
            for n, v in value.items()
        ]
        return _block("{", rows, "}", indent, unit, newline)
    if is_array(value) and value:
        rows = [shown(part, indent + unit, unit, newline) for part in value]
        return _block("[", rows, "]", indent, unit, newline)
    return json.dumps(value, ensure_ascii=False)


def _block(first: str, rows: Sequence[str], last: str, indent: str, unit: str, newline: str) -> str:
    inside = f",{newline}".join(indent + unit + row for row in rows)
    return f"{first}{newline}{inside}{newline}{indent}{last}"
