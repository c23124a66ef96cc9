"""YAML text to a tree of nodes with lines. Aliases, tags and `${NAME}` are faults."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from kartra_mcp.core.yaml_depth import limit_depth
from kartra_mcp.team.faults import Fault, FaultList, TeamFileError, quote

MAX_NODES = 20_000
MAX_DEPTH = 20
_PLACEHOLDER = re.compile(r"\$\{[^}]{0,40}\}?")
_TAG = "tag:yaml.org,2002:"

_COLLECTIONS = frozenset({f"{_TAG}map", f"{_TAG}seq"})

Kind = Literal["text", "number", "switch", "null"]
_KINDS: dict[str, Kind] = {
    "str": "text",
    "int": "number",
    "float": "number",
    "bool": "switch",
    "null": "null",
    "timestamp": "text",
}


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value as it is written. A quoted number is a text."""

    line: int
    text: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class ListNode:
    """A list."""

    line: int
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class MappingNode:
    """A mapping in the order of the file. Keys may repeat; the reader reports that."""

    line: int
    pairs: tuple[tuple[Scalar, Node], ...]


Node = Scalar | ListNode | MappingNode


def parse_yaml(text: str, file: str) -> tuple[Node, FaultList]:
    """Parse one document.

    Returns:
        The root, and faults that do not prevent further checks.

    Raises:
        TeamFileError: it is not YAML, or contains an alias, a tag, or far too much.
    """
    faults = FaultList()
    root = _compose(text, file)
    if root is None:
        raise TeamFileError(file, [Fault(1, "", "the file is empty", "See docs/team/ledger.md")])
    return _Converter(file, faults).convert(root, 0), faults


def _compose(text: str, file: str) -> Any:
    """Return ruamel's node tree. Aliases are refused first, as they could multiply it.

    So are their anchors: ruamel prints a warning with a part of the file for each repeated one.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError
    from ruamel.yaml.events import AliasEvent

    try:
        for event in limit_depth(YAML(typ="safe", pure=True).parse(text)):  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
            if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
                line = _line_of(event.start_mark)  # pyright: ignore[reportUnknownMemberType]
                word = "an alias" if isinstance(event, AliasEvent) else "an anchor"
                raise TeamFileError(file, [Fault(line, "", word, "Write the value out")])
        return YAML(typ="safe", pure=True).compose(text)  # pyright: ignore[reportUnknownMemberType]
    except (YAMLError, ValueError, RecursionError) as problem:
        mark: Any = getattr(problem, "problem_mark", None)
        line = 1 if mark is None else _line_of(mark)
        fault = Fault(line, "", "not valid YAML", "Check indents, colons and quotes there")
        raise TeamFileError(file, [fault]) from None


def _line_of(mark: Any) -> int:
    return int(mark.line) + 1


class _Converter:
    """Converts ruamel's nodes, and reports what a team file must not contain."""

    def __init__(self, file: str, faults: FaultList) -> None:
        self._file = file
        self._faults = faults
        self._count = 0

    def convert(self, node: Any, depth: int) -> Node:
        line = _line_of(node.start_mark)
        self._count += 1
        if self._count > MAX_NODES or depth > MAX_DEPTH:
            raise TeamFileError(self._file, [Fault(line, "", "too much content", "Shorten it")])
        if node.id != "scalar" and str(node.tag) not in _COLLECTIONS:
            self._add_tag(line, str(node.tag))
        if node.id == "mapping":
            return MappingNode(line, tuple(self._iter_pairs(node, depth)))
        if node.id == "sequence":
            return ListNode(line, tuple(self.convert(part, depth + 1) for part in node.value))
        return self._convert_scalar(node, line)

    def _iter_pairs(self, node: Any, depth: int) -> Iterator[tuple[Scalar, Node]]:
        for key, value in node.value:
            name = self.convert(key, depth + 1)
            if isinstance(name, Scalar):
                yield name, self.convert(value, depth + 1)
            else:
                self._faults.add(name.line, "", "a key is not a text", "Write a plain name")

    def _add_tag(self, line: int, tag: str) -> None:
        self._faults.add(line, "", f"the tag {quote(tag)}", "Write a plain value")

    def _convert_scalar(self, node: Any, line: int) -> Scalar:
        tag = str(node.tag)
        kind = _KINDS.get(tag.removeprefix(_TAG)) if tag.startswith(_TAG) else None
        if kind is None:
            self._add_tag(line, tag)
        text = str(node.value)
        if found := _PLACEHOLDER.search(text):
            self._faults.add(
                line,
                "",
                f"{quote(found[0])} is not filled in: variables are not read",
                "Write the value itself; name a file for a secret (…_file)",
            )
        return Scalar(line, text, kind or "text")
