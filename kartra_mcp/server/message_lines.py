"""Messages of JSON-RPC from lines of input, and the errors that answer the others. Pure.

A message is one line. Some clients write a byte order mark first, or a message over several lines.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, TypeGuard

from kartra_mcp.core.input_size import (
    MAX_MESSAGE_BYTES,
    MAX_VALUES,
    has_too_many_values,
    input_too_large,
)
from kartra_mcp.core.json_types import is_object
from kartra_mcp.server.json_prefix import JsonPrefix, Shape

RequestId = int | str

PARSE_ERROR, INVALID_REQUEST = -32700, -32600
"""Codes of JSON-RPC. The SDK's constants are not imported: this module is pure."""

EDGE_BYTES = 1024
"""Bytes kept of each end of a message that is too large, to find its id."""


@dataclass(frozen=True, slots=True)
class OversizedLine:
    """Both ends of a line that is too large. Clients put the id before the arguments or last."""

    head: bytes
    tail: bytes = b""


Line = bytes | OversizedLine


@dataclass(frozen=True, slots=True)
class Rejection:
    """The JSON-RPC error for input that is not passed on.

    `is_large_call`: the input is a tool call with a known id, which gets a tool error instead.
    `failed_question`: the input is an unreadable response to the server's request of this id.
    """

    code: int
    message: str
    request_id: RequestId | None = None
    is_large_call: bool = False
    failed_question: RequestId | None = None


_NOT_JSON = Rejection(
    PARSE_ERROR, "The message is not valid JSON. Nothing was executed. Send one message per line."
)
_BATCH = Rejection(
    INVALID_REQUEST,
    "A batch is not supported. Nothing was executed. Send one message per line.",
)
_NOT_JSON_RPC = "The message is not valid JSON-RPC 2.0. Nothing was executed. Correct the message."


class MessageLines:
    """Assembles texts that may be messages; the caller validates them.

    A line that is a message by itself always is one: a broken message before it cannot consume it.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._size = 0
        self._prefix = JsonPrefix()
        self._skipping = False

    @property
    def is_waiting(self) -> bool:
        """True if the meaning of the next line depends on the lines before."""
        return self._skipping or bool(self._lines)

    def add(self, line: Line) -> list[str | Rejection]:
        """Add a line; return what is complete or cannot become a message."""
        line = bound_values(line)
        if isinstance(line, OversizedLine):
            return [*self.flush(), _reject_oversized(line)]
        text = decode_line(line).removeprefix("\ufeff")
        if not self._lines:
            return self._begin(text, len(line))
        if _is_message(text):
            return [*self.flush(), text]
        return self._continue(text, len(line))

    def flush(self) -> list[str | Rejection]:
        """Give up the incomplete message, because no line follows or another message does."""
        incomplete = bool(self._lines)
        self._reset(skipping=False)
        return [_NOT_JSON] if incomplete else []

    def _reset(self, *, skipping: bool) -> None:
        self._lines, self._size, self._prefix = [], 0, JsonPrefix()
        self._skipping = skipping

    def _begin(self, text: str, size: int) -> list[str | Rejection]:
        if not text.strip() or (self._skipping and not text.startswith("{")):
            return []
        self._reset(skipping=False)
        if self._prefix.take(text) is not Shape.PARTIAL:
            return [text]
        self._lines, self._size = [text], size
        return []

    def _continue(self, text: str, size: int) -> list[str | Rejection]:
        self._size += size + 1
        shape = self._prefix.take(text)
        if shape is Shape.INVALID:
            self._reset(skipping=True)  # the rest of a broken message gets no further errors
            return [_NOT_JSON, *self._begin(text, size)]
        self._lines.append(text)
        if self._size > MAX_MESSAGE_BYTES or self._prefix.values > MAX_VALUES:
            head = "".join(self._lines[:EDGE_BYTES]).encode()[:EDGE_BYTES]
            self._reset(skipping=True)
            return [_reject_oversized(OversizedLine(head))]
        if shape is Shape.PARTIAL:
            return []
        whole = "\n".join(self._lines)
        self._reset(skipping=False)
        return [whole]


def bound_values(line: Line) -> Line:
    """Return only the ends of a line that has too many values to be parsed."""
    if isinstance(line, bytes) and has_too_many_values(line):
        return OversizedLine(line[:EDGE_BYTES], line[-EDGE_BYTES:])
    return line


def reject(text: str) -> Rejection:
    """Return the error for a text that is not a message."""
    try:
        value: Any = json.loads(text)
    except RecursionError:
        return Rejection(INVALID_REQUEST, _NOT_JSON_RPC)
    except ValueError:
        return _NOT_JSON
    if isinstance(value, list):
        return _BATCH
    if not is_object(value) or not _is_request_id(found := value.get("id")):
        return Rejection(INVALID_REQUEST, _NOT_JSON_RPC)
    if "method" not in value and ("result" in value or "error" in value):
        # With its id, the error would answer another request: ids of both sides are independent.
        return Rejection(INVALID_REQUEST, _NOT_JSON_RPC, failed_question=found)
    return Rejection(INVALID_REQUEST, _NOT_JSON_RPC, found)


def has_invalid_id(text: str) -> bool:
    """Return True if a notification has an id, which is then no valid one, such as null."""
    return '"id"' in text and "id" in json.loads(text)


def _is_request_id(value: Any) -> TypeGuard[RequestId]:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _is_message(text: str) -> bool:
    if not text.lstrip().startswith("{") or '"jsonrpc"' not in text:
        return False
    try:
        return json.loads(text).get("jsonrpc") == "2.0"
    except (RecursionError, ValueError):
        return False


# ── Messages that are too large ──

_MEMBER = rb'\s*"(?:jsonrpc|id|method)"\s*:\s*(?:"[^"\\]*+"|-?[0-9]{1,20})\s*'
_LEADING = re.compile(rb"(?:\xef\xbb\xbf)?\s*\{((?:" + _MEMBER + rb",)*+)")
_TRAILING = re.compile(rb"((?:," + _MEMBER + rb")+)\}\s*$")
_NAMED = re.compile(rb'"(id|method)"\s*:\s*("[^"]*"|-?[0-9]+)')


def _reject_oversized(line: OversizedLine) -> Rejection:
    problem = input_too_large()
    message = f"{problem.message} {problem.remedy}"
    members = _find_members(line)
    method, found = members.get("method"), members.get("id")
    if method is None or found is None:  # without a method it may be a response
        return Rejection(INVALID_REQUEST, message)
    return Rejection(INVALID_REQUEST, message, found, is_large_call=method == "tools/call")


def _find_members(line: OversizedLine) -> dict[str, RequestId]:
    """Return id and method of a message, if they precede or follow its params.

    Only members of the message itself match: from its first or up to its last brace, without any
    nested value between.
    """
    edges = [_LEADING.match(line.head), _TRAILING.search(line.tail)]
    found: dict[str, RequestId] = {}
    for edge in filter(None, edges):
        for name, value in _NAMED.findall(edge[1]):
            found[name.decode()] = json.loads(decode_line(value))
    return found


# ── Text of a line ──


def decode_line(line: bytes) -> str:
    """Return the text of a line; invalid bytes and escaped lone surrogates become U+FFFD."""
    return _escape_lone_surrogates(line.decode("utf-8", "replace"))


_ESCAPES = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)


def _escape_lone_surrogates(line: str) -> str:
    """Replace each escaped lone surrogate: the parser would refuse the line."""
    if "\\ud" not in line and "\\uD" not in line:
        return line
    return _ESCAPES.sub(lambda found: "\\ufffd" if found["half"] else found[0], line)
