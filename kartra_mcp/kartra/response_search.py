"""Tolerant lookup in Kartra's responses, whose nesting and spelling vary. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.kartra.fields import find_values, normalize_name

_NEXT_PAGE = frozenset({"cursor", "nextcursor", "nextpage", "hasmore"})


def find_object(answer: Any, name: str, marks: tuple[str, ...]) -> Mapping[str, Any]:
    """Return the object of this name, or one with one of these fields, at any depth."""
    named = next((v for _, v in find_values(answer, frozenset({normalize_name(name)}))), None)
    if is_object(named):
        return named
    found = (found for found in _iter_objects(answer, 6) if any(m in found for m in marks))
    return next(found, dict[str, Any]())


def find_named_object(answer: Any, name: str) -> Mapping[str, Any]:
    """Return the object of this name at any depth, else an empty one."""
    named = (v for _, v in find_values(answer, frozenset({normalize_name(name)})))
    return next((found for found in named if is_object(found)), dict[str, Any]())


def find_rows(answer: Any, name: str) -> list[Mapping[str, Any]]:
    """Return the list of this name, else the first list of objects, at any depth."""
    names = frozenset({normalize_name(name), normalize_name(name).removesuffix("list") + "s"})
    named = next((v for _, v in find_values(answer, names)), None)
    found = named if is_array(named) else _find_first_list(answer, 6)
    if not found and is_object(named):
        found = list(named.values())  # a list that is keyed by id
    return [row for row in found if is_object(row)]


def _find_first_list(value: Any, depth: int) -> list[Any]:
    if is_array(value) and any(is_object(v) and len(v) > 1 for v in value):
        return value
    inner = value.values() if is_object(value) else value if is_array(value) else ()
    lists = (_find_first_list(v, depth - 1) for v in inner if depth)
    return next((found for found in lists if found), list[Any]())


def _iter_objects(value: Any, depth: int) -> list[dict[str, Any]]:
    if not depth:
        return []
    if is_object(value):
        return [value, *(o for v in value.values() for o in _iter_objects(v, depth - 1))]
    return [o for v in value for o in _iter_objects(v, depth - 1)] if is_array(value) else []


def first_field(found: Mapping[str, Any], *names: str) -> Any:
    """Return the first of these fields that exists, in any spelling."""
    as_named = found.get(names[0])
    if as_named is not None:
        return as_named
    by_plain = {normalize_name(name): value for name, value in found.items()}
    return next(
        (by_plain[normalize_name(n)] for n in names if by_plain.get(normalize_name(n)) is not None),
        None,
    )


def is_empty_list(answer: Any, name: str) -> bool:
    """Return True if the response is, or contains under this name, a list without rows."""
    names = frozenset({normalize_name(name)})
    return answer == [] or any(value == [] for _, value in find_values(answer, names))


def has_more_pages(answer: Any) -> bool:
    """Return True if the response refers to a further page."""
    return any(value for _, value in find_values(answer, _NEXT_PAGE))
