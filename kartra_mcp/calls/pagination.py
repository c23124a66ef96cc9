"""Large results in pages: cut at whole items, continued by `kartra_read_more`. Pure.

A location inside a result is a JSON Pointer (RFC 6901): "" is the whole, `/lead_details/tags/0` the
first tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.core.sanitize import dump_json, json_bytes, strip_control_chars, truncate

MAX_NAMES = 60
"""Names in one error."""
MARK = 160
"""Bytes reserved for the placeholder of an item that is too large to show."""
_INDEX = re.compile(r"0|[1-9][0-9]{0,15}")


@dataclass(frozen=True, slots=True)
class ResultPage:
    """Part of a result. `next_offset` is None on the last page.

    `path` is the location that was cut, `total` its number of items (or characters);
    `has_placeholder`: a placeholder replaces an item.
    """

    shown: Any
    path: str = ""
    total: int = 0
    next_offset: int | None = None
    has_placeholder: bool = False

    @property
    def has_more(self) -> bool:
        """Return whether there is more to read."""
        return self.next_offset is not None or self.has_placeholder


def make_first_page(result: Any, room: int, size: int | None = None) -> ResultPage:
    """Return the whole result if its JSON fits in `room` bytes, else its first page.

    The largest list is cut at whole items (else the largest object or text), the rest stays. `size`
    is that of the whole JSON, if known.
    """
    if (_size(result) if size is None else size) <= room:
        return ResultPage(result)
    path, part = _find_largest(result)
    rest = _size(_with(result, path, _empty_like(part)))
    if rest >= room - MARK and path:
        return _cut(result, "", room)
    page = _cut(part, path, room - rest)
    return replace(page, shown=_with(result, path, page.shown))


def read_page(
    result: Any,
    room: int,
    *,
    path: str,
    offset: int,
    limit: int | None = None,
    fields: Sequence[str] = (),
) -> ResultPage:
    """Return a later page of `path`: items from `offset` on, of objects only `fields`.

    Raises:
        RefusedError: `invalid_arguments` if there is nothing at the path, or no such field.
    """
    part = resolve_pointer(result, path)
    _require_fields(part, fields)
    if fields and is_object(part):
        part = _pick_fields(part, dict.fromkeys(fields))
    if fields and is_items(part):
        part = _PickedItems(part, fields)
        taken, marked = _take_fitting(part, path, room, offset, limit)
        return _make_page(taken, path, len(part), offset + len(taken), marked=marked)
    return _cut(part, path, room, offset, limit)


def is_items(value: Any) -> TypeGuard[Sequence[Any]]:
    """Return whether a value is a list, or rows that are read from disk where they are shown."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def resolve_pointer(result: Any, path: str) -> Any:
    """Return the value at a location; a lone `/` is the whole if there is no empty name.

    Raises:
        RefusedError: `invalid_arguments` if there is nothing.
    """
    found = result
    root = path == "/" and not (is_object(result) and "" in result)
    for step in () if root else _iter_steps(path):
        if is_object(found) and step in found:
            found = found[step]
        elif is_items(found) and _INDEX.fullmatch(step) and int(step) < len(found):
            found = found[int(step)]
        else:
            raise RefusedError(
                "invalid_arguments",
                f"The result has no value at this path: the step {_quote(step)} leads nowhere.",
                "Use a step of `detail.known` there, or leave `path` out to continue where the "
                "result was cut.",
                detail={"known": _list_steps(found)},
            )
    return found


def _quote(step: str) -> str:
    return dump_json(truncate(strip_control_chars(step), 60))


def _list_steps(found: Any) -> list[str]:
    """Return the steps that exist at a location; of a list the first and the last."""
    if is_object(found):
        return list(found)[:MAX_NAMES]
    return sorted({"0", str(len(found) - 1)}) if is_items(found) and found else []


def _cut(part: Any, path: str, room: int, offset: int = 0, limit: int | None = None) -> ResultPage:
    if is_items(part):
        taken, marked = _take_fitting(part, path, room, offset, limit)
        return _make_page(taken, path, len(part), offset + len(taken), marked=marked)
    if is_object(part):
        names = list(part)
        values = [part[name] for name in names]
        taken, marked = _take_fitting(values, path, room, offset, limit, names)
        shown = dict(zip(names[offset:], taken, strict=False))
        return _make_page(shown, path, len(names), offset + len(taken), marked=marked)
    if isinstance(part, str):
        end = offset + min(_fitting_characters(part, offset, room), limit or room)
        return _make_page(part[offset:end], path, len(part), end)
    return ResultPage(part, path, 1)


def _fitting_characters(text: str, offset: int, room: int) -> int:
    """Return how many characters from `offset` on fit as JSON; at least one."""
    count = max(room // 2, 1)
    while count > 1 and (size := _size(text[offset : offset + count])) > room:
        count = max(min(count - 1, count * room // size), 1)
    return count


def _size(value: Any) -> int:
    return json_bytes(dump_json(value))


def _make_page(shown: Any, path: str, total: int, end: int, *, marked: bool = False) -> ResultPage:
    return ResultPage(shown, path, total, end if end < total else None, marked)


def _take_fitting(
    items: Sequence[Any],
    path: str,
    room: int,
    offset: int,
    limit: int | None,
    names: Sequence[str] | None = None,
) -> tuple[list[Any], bool]:
    """Return the items from `offset` on that fit, and whether one of them is a placeholder.

    An item that never fits is replaced by a placeholder with the path at which it can be read.
    """
    taken: list[Any] = []
    marked = False
    whole = room
    for number in range(offset, min(len(items), offset + (limit or len(items)))):
        name = names[number] if names else str(number)
        item, size = items[number], _size(items[number]) + (json_bytes(name) + 4 if names else 1)
        too_large = size > whole
        if too_large:
            item, size = _mark(path, name, size), MARK
        if size > room and taken:
            break
        taken.append(item)
        marked = marked or too_large
        room -= size
    return taken, marked


def _mark(path: str, step: str, size: int) -> dict[str, Any]:
    return {"too_large_to_show": True, "bytes": size, "path": f"{path}/{_escape(step)}"}


def _find_largest(result: Any) -> tuple[str, Any]:
    """Return the location of the largest list; without one the whole."""
    lists = [(path, part) for path, part in _iter_places(result, "", 6) if is_array(part)]
    if not lists:
        return "", result
    return lists[0] if len(lists) == 1 else max(lists, key=lambda found: _size(found[1]))


def _iter_places(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    yield path, value
    if is_object(value) and depth:
        for name, inner in value.items():
            yield from _iter_places(inner, f"{path}/{_escape(name)}", depth - 1)


def _with(result: Any, path: str, part: Any) -> Any:
    """Return a copy of the result with another part at a location."""
    steps = list(_iter_steps(path))
    if not steps:
        return part
    first, rest = steps[0], "/".join(["", *map(_escape, steps[1:])])
    return {**result, first: _with(result[first], rest, part)}


def _empty_like(part: Any) -> Any:
    return [] if is_array(part) else {} if is_object(part) else ""


def _require_fields(part: Any, fields: Sequence[str]) -> None:
    """Refuse fields that no object has: empty objects would look like an empty account."""
    missing, known = dict.fromkeys(fields), dict[str, None]()
    items = part if is_items(part) else [part]
    for item in _iter_items(items):
        for name in item:
            known[name] = None
            missing.pop(name, None)
        if not missing:
            return
    if missing and items:
        raise _unknown_fields_error(list(missing), list(known))


def _iter_items(items: Sequence[Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a list, and of the lists in it, as `_pick_fields` reaches them."""
    for item in items:
        if is_object(item):
            yield item
        elif is_array(item):
            yield from _iter_items(item)


def _unknown_fields_error(missing: list[str], known: list[str]) -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        f"No item has the fields of `detail.unknown`: {len(missing)} of them. Nothing was read.",
        "Use names of `detail.known` in `fields`, or leave `fields` out."
        if known
        else "Leave `fields` out: the items have no fields.",
        detail={"unknown": missing[:MAX_NAMES], "known": known[:MAX_NAMES]},
    )


class _PickedItems(Sequence[Any]):
    """Items of a list with only some fields, picked where an item is shown.

    A list may have many items, and a caller may give many fields.
    """

    def __init__(self, items: Sequence[Any], fields: Sequence[str]) -> None:
        self._items, self._fields = items, dict.fromkeys(fields)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> Any:
        return _pick_fields(self._items[index], self._fields)


def _pick_fields(part: Any, fields: Mapping[str, None]) -> Any:
    if is_array(part):
        return [_pick_fields(item, fields) for item in part]
    if not is_object(part):
        return part
    if len(fields) > len(part):
        return {name: value for name, value in part.items() if name in fields}
    return {name: part[name] for name in fields if name in part}


def _iter_steps(path: str) -> Iterator[str]:
    if not path:
        return
    if not path.startswith("/"):
        path = "/" + path
    for step in path[1:].split("/"):
        yield step.replace("~1", "/").replace("~0", "~")


def _escape(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")
