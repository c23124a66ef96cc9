"""The smallest edits of a JSON text: what is not the edited member stays byte for byte."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from kartra_mcp.clients.jsonc import Member, Node, find, members_of, parse, shown

UNIT = "  "
_NEW = "{\n}\n"
_INDENT = re.compile(r"[ \t]*")


def read(text: str) -> Any:
    """The data; an empty text is an empty object."""
    return parse(text).value if text.removeprefix("\ufeff").strip() else {}


def put(text: str, path: Sequence[str], value: Any) -> str:
    """Set the value at `path`; objects on the way that are missing are made.

    Raises:
        UnfitError: it cannot be read, or what stands on the way is no object.
    """
    if not text.removeprefix("\ufeff").strip():
        text = text[: text.startswith("\ufeff")] + _NEW
    root = parse(text)
    made = value
    for depth in range(len(path), 0, -1):
        if find(root, path[:depth]) is not None and depth == len(path):
            return _replaced(text, root, path, value)
        parent = find(root, path[: depth - 1])
        if parent is not None:
            return _inserted(text, root, (parent, path[: depth - 1]), {path[depth - 1]: made})
        made = {path[depth - 1]: made}
    return text


def drop(text: str, path: Sequence[str]) -> str:
    """Remove the member at `path`; its comma and its own lines go with it.

    Raises:
        UnfitError: it cannot be read.
    """
    root = parse(text)
    parent = find(root, path[:-1])
    if parent is None or find(root, path) is None:
        return text
    members = members_of(parent, path[:-1])
    place = next(n for n, member in enumerate(members) if member.name == path[-1])
    start, end = _behind_what_is_before(text, parent, members, place), _end(members[place])
    kept = text[:start] + text[end:]
    if len(members) == 1:
        return _emptied(kept, start, parent.end - (end - start))
    before = members[place - 1]
    if place == len(members) - 1 and members[place].comma is None and before.comma is not None:
        return kept[: before.comma] + kept[before.comma + 1 :]
    return kept


def _end(member: Member) -> int:
    return member.value.end if member.comma is None else member.comma + 1


def _behind_what_is_before(
    text: str, parent: Node, members: Sequence[Member], place: int
) -> int:
    """Where the white space begins that stands before a member: comments before it are kept."""
    floor = _end(members[place - 1]) if place else parent.start + 1
    start = members[place].start
    blank = len(text[floor:start]) - len(text[floor:start].rstrip())
    return start - blank


def _emptied(text: str, start: int, end: int) -> str:
    """An object of which only white space is left is `{}` again."""
    opening = text.rindex("{", 0, start)
    if text[opening + 1 : end - 1].strip():
        return text
    return text[: opening + 1] + text[end - 1 :]


def _replaced(text: str, root: Node, path: Sequence[str], value: Any) -> str:
    node = find(root, path)
    parent = find(root, path[:-1])
    assert node is not None and parent is not None  # noqa: S101, PT018  the caller found them
    newline, indent, unit = _style(text, root, parent)
    return text[: node.start] + shown(value, indent, unit, newline) + text[node.end :]


def _inserted(
    text: str, root: Node, place: tuple[Node, Sequence[str]], member: dict[str, Any]
) -> str:
    """Behind the last member, in the style of the others."""
    parent, path = place
    members = members_of(parent, path)
    newline, indent, unit = _style(text, root, parent)
    written = shown(member, "", unit, "")[1:-1] if not newline else _row(member, indent, unit, newline)
    if not members and parent.inner == parent.start + 1:
        close = indent.removesuffix(unit)
        inside = f"{newline}{indent}{written}{newline}{close}" if newline else written
        return text[: parent.start + 1] + inside + text[parent.end - 1 :]
    gap = newline + indent if newline else " "
    comma = "," if members and members[-1].comma is not None else ""
    after = text[: parent.inner] + gap + written + comma + text[parent.inner :]
    if members and members[-1].comma is None:
        end = members[-1].value.end
        after = after[:end] + "," + after[end:]
    return after


def _row(member: dict[str, Any], indent: str, unit: str, newline: str) -> str:
    """`"name": value` without the braces around it."""
    block = shown(member, indent.removesuffix(unit) if indent.endswith(unit) else indent, unit, newline)
    return block[1:-1].strip()


def _style(text: str, root: Node, parent: Node) -> tuple[str, str, str]:
    """Line ending (empty: one line), indentation of the parent's members, one step of it."""
    newline = "\r\n" if "\r\n" in text else "\n"
    unit = _unit(text, root)
    lines = "\n" in text[root.start : root.end]
    if parent.members:
        first = parent.members[0].start
        lines = "\n" in text[parent.start : first]
        return (newline if lines else ""), _indent(text, first), unit
    return (newline if lines else ""), _indent(text, parent.start) + unit, unit


def _unit(text: str, root: Node) -> str:
    """The indentation of the first member of the whole."""
    first = root.members[0].start if root.members else None
    if first is None or "\n" not in text[root.start : first]:
        return UNIT
    step = _indent(text, first).removeprefix(_indent(text, root.start))
    return step or UNIT


def _indent(text: str, at: int) -> str:
    """The white space at the beginning of the line of this place."""
    found = _INDENT.match(text, text.rfind("\n", 0, at) + 1)
    return found[0] if found else ""
