"""Field paths into rows: their values, and the nearest fields of a wrong one. Pure.

A path is dotted (`lead_details.tags.tag_name`) or a JSON Pointer (RFC 6901). A step into a list
searches all its elements, a number only that one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import islice
from typing import Any

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.json_types import is_array, is_object

ROW_FIELDS = frozenset({"item", "state", "intent", "code", "reason", "arguments", "result"})
"""Fields of an item of a bulk run; every other path begins in its result."""
MAX_NEAREST = 5
MAX_PATHS = 1_000
"""Paths of rows that are compared with a wrong one."""
MAX_DEPTH = 10
MAX_CHARS = 200


class Reach(IntEnum):
    """End of a path in a value: an absent name, something empty, or a found value."""

    LACKING = 0
    EMPTY = 1
    FOUND = 2


@dataclass(frozen=True, slots=True)
class Found:
    """Values at a path; a list there is given by its elements."""

    values: tuple[Any, ...]
    reach: Reach


def parse_path(text: str) -> tuple[str, ...]:
    """Return the steps of a path; "", "." and "/" are the value itself."""
    if text in ("", ".", "/"):
        return ()
    if text.startswith("/"):
        return tuple(s.replace("~1", "/").replace("~0", "~") for s in text[1:].split("/"))
    return tuple(text.split("."))


def find_values(value: Any, steps: Sequence[str]) -> Found:
    """Return every value at a path."""
    if not steps:
        values = tuple(value) if is_array(value) else (value,)
        return Found(values, Reach.FOUND if values else Reach.EMPTY)
    step, rest = steps[0], steps[1:]
    if is_object(value) and step in value:
        return find_values(value[step], rest)
    if is_array(value):
        if step.isdecimal() and int(step) < len(value):
            return find_values(value[int(step)], rest)
        return _combine(find_values(inner, steps) for inner in value)
    is_empty = value is None or value in ("", {})
    return Found((), Reach.EMPTY if is_empty else Reach.LACKING)


def find_row_values(row: Mapping[str, Any], steps: Sequence[str]) -> Found | None:
    """Return every value at a path in an item of a bulk run; None if it has no result yet."""
    if steps and steps[0] in ROW_FIELDS - {"result"}:
        return find_values(row, steps)
    if "result" not in row:
        return None
    return find_values(row if steps and steps[0] == "result" else row["result"], steps)


@dataclass(slots=True)
class FieldLog:
    """Ends of each path in the searched rows, to refuse a path that no row has.

    `known` are the paths of the rows in which one led nowhere.
    """

    reached: dict[str, set[Reach]] = field(default_factory=dict[str, set[Reach]])
    known: dict[str, None] = field(default_factory=dict[str, None])

    def note(self, path: str, found: Found, value: Any) -> None:
        reached = self.reached.setdefault(path, set())
        reached.add(found.reach)
        if found.reach is Reach.LACKING and Reach.FOUND not in reached:
            for known in islice(_iter_paths(value, (), MAX_DEPTH), MAX_PATHS - len(self.known)):
                self.known[known] = None

    def require_known(self) -> None:
        """Raise `invalid_arguments` for a path that no row has; nothing was done."""
        for path, reached in self.reached.items():
            if Reach.FOUND not in reached and Reach.LACKING in reached:
                raise _unknown_field_error(path, self.known)


def has_content(value: Any) -> bool:
    """Return whether a value is there: not null and not empty."""
    return value is not None and value not in ("", [], {})


def _unknown_field_error(path: str, known: Iterable[str]) -> RefusedError:
    """Return the refusal of a path that leads nowhere, with the nearest that do."""
    nearest = find_nearest_paths(path, known)
    return RefusedError(
        "invalid_arguments",
        "No row has the field of `detail.unknown`. Nothing was done.",
        "Use a field of `detail.nearest`; its lists are searched element by element."
        if nearest
        else "Call kartra_bulk_status with the bulk_id to see what the rows have.",
        detail={"unknown": path[:MAX_CHARS], "nearest": nearest},
    )


def find_nearest_paths(path: str, known: Iterable[str]) -> list[str]:
    """Return the known paths that are most like this one: as a whole, and in their last step."""
    from difflib import SequenceMatcher

    wanted = ".".join(parse_path(path[:MAX_CHARS])).lower()
    last = wanted.rpartition(".")[2]

    def measure(one: str) -> float:
        name = one.lower()
        whole = SequenceMatcher(None, wanted, name).ratio()
        return whole + SequenceMatcher(None, last, name.rpartition(".")[2]).ratio()

    found = sorted(known, key=measure, reverse=True)[:MAX_NEAREST]
    return list(map(_shorten, found))


def _shorten(path: str) -> str:
    """Return a path as it begins in the result, unless it would mean a field of the row then."""
    inner = path.removeprefix("result.")
    return path if parse_path(inner)[0] in ROW_FIELDS else inner


def _combine(parts: Iterable[Found]) -> Found:
    """Return what the elements of a list give together; an empty list gives nothing."""
    found = list(parts)
    reach = max((part.reach for part in found), default=Reach.EMPTY)
    if reach is Reach.EMPTY and any(part.reach is Reach.LACKING for part in found):
        reach = Reach.LACKING
    return Found(tuple(value for part in found for value in part.values), reach)


def _iter_paths(value: Any, path: tuple[str, ...], depth: int) -> Iterator[str]:
    if is_object(value) and depth:
        for name, inner in value.items():
            yield from _iter_paths(inner, (*path, name), depth - 1)
    elif is_array(value) and depth:
        for inner in value:
            yield from _iter_paths(inner, path, depth - 1)
    elif path:
        yield ".".join(path)
