"""Parser for JSON with comments and trailing commas that keeps the position of each part."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from kartra_mcp.client_config.errors import UneditableConfigError
from kartra_mcp.core.json_types import is_array, is_object

MAX_DEPTH = 100
"""Largest nesting of values; real configurations have about five levels."""

MAX_CHARS = 60
"""Length of an untrusted name in a message, in ASCII."""

_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_BARE = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null")
_SPACE = re.compile(r"[ \t\r\n]+")
COMMENT = re.compile(r"//[^\r\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Member:
    """One `"name": value` of an object; `comma` is the position of the comma after it, if any."""

    name: str
    start: int
    value: JsonNode
    comma: int | None


@dataclass(frozen=True, slots=True)
class JsonNode:
    """A value. `start` and `end` are positions, `inner` is the insertion point for a new member.

    `inner` follows the last member, comma or comment, or the opening brace. `members` is None for a
    value that is not an object.
    """

    start: int
    end: int
    value: Any
    members: tuple[Member, ...] | None = None
    inner: int = 0


@lru_cache(maxsize=2)
def parse(text: str) -> JsonNode:
    """Parse a text. The last two results are cached: one edit parses each text several times.

    Raises:
        UneditableConfigError: it is not JSON, even with comments and trailing commas, or an object
            has a duplicate name.
    """
    reader = _Parser(text, len(text) - len(text.removeprefix("\ufeff")))
    reader.skip()
    node = reader.read_value(0)
    reader.skip()
    if reader.at != len(text):
        raise reader.make_error()
    return node


@dataclass(slots=True)
class _Parser:
    text: str
    at: int
    last: int = field(default=0)
    """End of the last skipped comment."""

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

    def read_value(self, depth: int) -> JsonNode:
        if depth > MAX_DEPTH:
            raise UneditableConfigError("is nested too deeply")
        start = self.at
        if self.take("{"):
            return self.read_object(start, depth)
        if self.take("["):
            return self.read_array(start, depth)
        found = _STRING.match(self.text, start) or _BARE.match(self.text, start)
        if found is None:
            raise self.make_error()
        self.at = found.end()
        return JsonNode(start, self.at, self.read(found[0], start))

    def read(self, text: str, start: int) -> Any:
        if text[0] == '"' and "\\" not in text:
            return text[1:-1]
        try:
            return json.loads(text)
        except ValueError:
            self.at = start
            raise self.make_error() from None

    def read_object(self, start: int, depth: int) -> JsonNode:
        members: list[Member] = []
        names: set[str] = set()
        inner = self.skip_gap(self.at)
        while not self.take("}"):
            if members and members[-1].comma is None:
                raise self.make_error()
            members.append(self.read_member(depth))
            names.add(members[-1].name)
            if len(names) < len(members):
                raise UneditableConfigError(f"has {json.dumps(members[-1].name[:MAX_CHARS])} twice")
            inner = self.skip_gap(self.at)
        value = {member.name: member.value.value for member in members}
        return JsonNode(start, self.at, value, tuple(members), inner)

    def read_member(self, depth: int) -> Member:
        start = self.at
        found = _STRING.match(self.text, start)
        if found is None:
            raise self.make_error()
        self.at = found.end()
        name = self.read(found[0], start)
        self.skip()
        if not self.take(":"):
            raise self.make_error()
        self.skip()
        value = self.read_value(depth + 1)
        self.skip_to_comma(value.end)
        comma = self.at - 1 if self.take(",") else None
        return Member(name, start, value, comma)

    def skip_to_comma(self, back: int) -> None:
        """Skip to the comma after a member.

        Without a comma, return to the end of the member: a comment after it then counts as last.
        """
        self.skip()
        if not self.text.startswith(",", self.at):
            self.at = back

    def skip_gap(self, behind: int) -> int:
        """Skip white space and comments; return the end of the last part before them."""
        self.last = behind
        self.skip()
        return self.last

    def read_array(self, start: int, depth: int) -> JsonNode:
        values: list[Any] = []
        comma = True
        self.skip()
        while not self.take("]"):
            if not comma:
                raise self.make_error()
            values.append(self.read_value(depth + 1).value)
            self.skip()
            comma = self.take(",")
            self.skip()
        return JsonNode(start, self.at, values)

    def make_error(self) -> UneditableConfigError:
        line = self.text.count("\n", 0, self.at) + 1
        return UneditableConfigError(f"is not valid JSON (line {line})")


def find(root: JsonNode, path: Sequence[str]) -> JsonNode | None:
    """Return the node at `path`, or None if a name is missing.

    Raises:
        UneditableConfigError: a parent is not an object.
    """
    node = root
    for depth, name in enumerate(path):
        found = {m.name: m.value for m in list_members(node, path[:depth])}
        if name not in found:
            return None
        node = found[name]
    return node


def list_members(node: JsonNode, path: Sequence[str]) -> tuple[Member, ...]:
    if node.members is None:
        where = (
            f"has a `{'.'.join(path)}` that is not an object"
            if path
            else "does not contain an object"
        )
        raise UneditableConfigError(where)
    return node.members


def format_value(value: Any, indent: str, unit: str, newline: str) -> str:
    """Format a value as JSON at this indentation; on one line if `newline` is empty."""
    if not newline:
        return json.dumps(value, ensure_ascii=False)
    if is_object(value) and value:
        rows = [
            f"{json.dumps(n, ensure_ascii=False)}: {format_value(v, indent + unit, unit, newline)}"
            for n, v in value.items()
        ]
        return _format_block("{", rows, "}", indent, unit, newline)
    if is_array(value) and value:
        rows = [format_value(part, indent + unit, unit, newline) for part in value]
        return _format_block("[", rows, "]", indent, unit, newline)
    return json.dumps(value, ensure_ascii=False)


def _format_block(
    first: str, rows: Sequence[str], last: str, indent: str, unit: str, newline: str
) -> str:
    inside = f",{newline}".join(indent + unit + row for row in rows)
    return f"{first}{newline}{inside}{newline}{indent}{last}"
