"""Minimal edits of a JSON text: every byte outside the edited member is kept."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kartra_mcp.client_config.jsonc import (
    COMMENT,
    JsonNode,
    Member,
    find,
    format_value,
    list_members,
    parse,
)

UNIT = "  "
_NEW = "{\n}\n"
_INDENT = re.compile(r"[ \t]*")
_BLANK = re.compile(r"\s*")


@dataclass(frozen=True, slots=True)
class _Style:
    """Style of an object: line ending (empty: one line), indentation, indentation step."""

    newline: str
    indent: str
    unit: str


def read(text: str) -> Any:
    """Parse the text; an empty text is an empty object.

    Raises:
        UneditableConfigError: it is not JSON.
    """
    return {} if _is_empty(text) else parse(text).value


def set_entry(text: str, path: Sequence[str], value: Any) -> str:
    """Set the value at `path`; missing parent objects are created.

    Raises:
        UneditableConfigError: it cannot be parsed, or a parent is not an object.
    """
    text = text[: text.startswith("\ufeff")] + _NEW if _is_empty(text) else text
    root = parse(text)
    if find(root, path) is not None:
        return _replace_value(text, root, path, value)
    for depth in range(len(path) - 1, -1, -1):
        parent = find(root, path[:depth])
        if parent is not None:
            list_members(parent, path[:depth])
            return _insert_member(text, root, parent, path[depth], value)
        value = {path[depth]: value}
    return text


def remove_entry(text: str, path: Sequence[str]) -> str:
    """Remove the member at `path` with its comma and its own lines.

    Raises:
        UneditableConfigError: it cannot be parsed.
    """
    root = parse(text)
    parent = find(root, path[:-1])
    if parent is None or find(root, path) is None:
        return text
    members = list_members(parent, path[:-1])
    place = next(n for n, member in enumerate(members) if member.name == path[-1])
    start, end = _find_span(text, parent, members, place)
    kept = text[:start] + text[end:]
    if len(members) == 1:
        return _collapse_empty(kept, parent.start, parent.end - (end - start))
    before = members[place - 1]
    if place == len(members) - 1 and members[place].comma is None and before.comma is not None:
        return kept[: before.comma] + kept[before.comma + 1 :]
    return kept


def _is_empty(text: str) -> bool:
    return not text.removeprefix("\ufeff").strip()


def _find_span(
    text: str, parent: JsonNode, members: Sequence[Member], place: int
) -> tuple[int, int]:
    """Return the range from the white space before a member to its comma.

    Comments around it are kept.
    """
    floor = _find_end(members[place - 1]) if place else parent.start + 1
    start, end = members[place].start, _find_end(members[place])
    above = floor + len(text[floor:start].rstrip())
    below = _BLANK.match(text, end)
    rest = below[0] if below else ""
    # Keep the line break after a `//` comment: else the next member becomes part of the comment.
    notes = COMMENT.findall(text[floor:above])
    ends_a_line = "\n" not in rest and notes and notes[-1].startswith("//")
    return (start if ends_a_line else above), end


def _find_end(member: Member) -> int:
    return member.value.end if member.comma is None else member.comma + 1


def _collapse_empty(text: str, start: int, end: int) -> str:
    """Reduce an object that contains only white space to `{}`."""
    inside = text[start + 1 : end - 1]
    return text if inside.strip() else text[: start + 1] + text[end - 1 :]


def _replace_value(text: str, root: JsonNode, path: Sequence[str], value: Any) -> str:
    node, parent = find(root, path), find(root, path[:-1])
    assert node is not None and parent is not None  # noqa: S101, PT018  checked by the caller
    style = _detect_style(text, root, parent)
    return text[: node.start] + _format_value(value, style) + text[node.end :]


def _insert_member(text: str, root: JsonNode, parent: JsonNode, name: str, value: Any) -> str:
    """Insert after the last member, in the style of the others."""
    style = _detect_style(text, root, parent)
    row = f"{json.dumps(name, ensure_ascii=False)}: {_format_value(value, style)}"
    last = parent.members[-1] if parent.members else None
    if last is None and parent.inner == parent.start + 1:
        close = style.newline + _get_indent(text, parent.start) if style.newline else ""
        inside = style.newline + style.indent + row + close
        return text[: parent.inner] + inside + text[parent.end - 1 :]
    behind = text[_find_end(last) if last else parent.start + 1 : parent.inner]
    line = style.newline or ("\n" if "//" in behind else "")
    comma = "," if last and last.comma is not None else ""
    gap = line + style.indent if line else " "
    after = text[: parent.inner] + gap + row + comma + text[parent.inner :]
    if last and last.comma is None:
        after = after[: last.value.end] + "," + after[last.value.end :]
    return after


def _format_value(value: Any, style: _Style) -> str:
    return format_value(value, style.indent, style.unit, style.newline)


def _detect_style(text: str, root: JsonNode, parent: JsonNode) -> _Style:
    newline = "\r\n" if "\r\n" in text else "\n"
    unit = _detect_unit(text, root)
    if parent.members:
        first = parent.members[0].start
        lines = "\n" in text[parent.start : first]
        indent = _get_indent(text, first) if lines else ""
    else:
        lines = "\n" in text[root.start : root.end]
        indent = _get_indent(text, parent.start) + unit if lines else ""
    return _Style(newline if lines else "", indent, unit)


def _detect_unit(text: str, root: JsonNode) -> str:
    """Return the indentation of the first member of the text."""
    first = root.members[0].start if root.members else root.start
    if "\n" not in text[root.start : first]:
        return UNIT
    return _get_indent(text, first).removeprefix(_get_indent(text, root.start)) or UNIT


def _get_indent(text: str, at: int) -> str:
    """Return the white space at the beginning of the line at this position."""
    found = _INDENT.match(text, text.rfind("\n", 0, at) + 1)
    return found[0] if found else ""
