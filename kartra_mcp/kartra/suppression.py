"""Reasons why mail to a lead needs an explicit yes, from the lead as Kartra returns it. Pure.

A field that is absent or has an undocumented value is no reason. `gdpr_lead_communications` is
never decided on, because its documentations contradict each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.core.models import Command
from kartra_mcp.kartra.fields import find_values
from kartra_mcp.kartra.listings import LISTINGS
from kartra_mcp.kartra.names import fold_text
from kartra_mcp.kartra.response_search import first_field

CONTRADICTED: Final = "gdpr_lead_communications"
_SOURCES: Final = (
    "0 means agreed in Kartra's article 153000169422, 1 means agreed in API Evangelist's data "
    "model; not decided on"
)
_SUBSCRIBE: Final = "subscribe_lead_to_list"
_LIST_FIELDS: Final = LISTINGS[_SUBSCRIBE].arguments | {"listid"}
_ON: Final = frozenset({"1", "true", "yes"})
_OFF: Final = frozenset({"0", "false", "no"})


class Suppression(StrEnum):
    """State of a lead in which mail to it needs an explicit yes."""

    BLACKLISTED = "blacklisted"
    DELETED = "deleted"
    GDPR_NOT_ACCEPTED = "GDPR not accepted"
    GDPR_PENDING = "GDPR pending"
    UNSUBSCRIBED = "unsubscribed from this list"


_BY_GDPR_STATUS: Final[Mapping[str, Suppression]] = {
    "3": Suppression.GDPR_NOT_ACCEPTED,
    "5": Suppression.GDPR_PENDING,
}


def find_suppressions(
    lead: Mapping[str, Any], lists: Iterable[str] = ()
) -> tuple[Suppression, ...]:
    """Return the reasons against mail to a lead; `lists` are those that it is to be put on."""
    return tuple(_iter_suppressions(lead, frozenset(map(fold_text, lists))))


def _iter_suppressions(lead: Mapping[str, Any], lists: frozenset[str]) -> Iterator[Suppression]:
    if _plain(first_field(lead, "blacklisted")) in _ON:
        yield Suppression.BLACKLISTED
    if _plain(first_field(lead, "lead_deleted")) in _ON:
        yield Suppression.DELETED
    by_gdpr = _BY_GDPR_STATUS.get(_plain(first_field(lead, "gdpr_lead_status")))
    if by_gdpr:
        yield by_gdpr
    if lists and any(_has_left(row, lists) for row in _list_rows(lead)):
        yield Suppression.UNSUBSCRIBED


def find_contradictions(lead: Mapping[str, Any]) -> dict[str, str]:
    """Return the value on which sources contradict each other, and the sources, by its field."""
    value = _plain(first_field(lead, CONTRADICTED))
    return {CONTRADICTED: f"{value}: {_SOURCES}"} if value in _ON | _OFF else {}


def find_requested_lists(commands: Iterable[Command]) -> tuple[str, ...]:
    """Return every list, by name or id, to which these commands subscribe a lead."""
    return tuple(
        str(value)
        for command in commands
        if command.name == _SUBSCRIBE
        for _, value in find_values([command.arguments, command.lead], _LIST_FIELDS)
        if isinstance(value, str | int)
    )


def _list_rows(lead: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rows = first_field(lead, "lists")
    found = rows.values() if is_object(rows) else rows if is_array(rows) else ()
    return [row for row in found if is_object(row)]


def _has_left(row: Mapping[str, Any], lists: frozenset[str]) -> bool:
    """Return whether a lead is not active any more on one of these lists."""
    names = (first_field(row, "list_name", "name"), first_field(row, "list_id", "id"))
    named = any(fold_text(str(name)) in lists for name in names if name is not None)
    return named and _plain(first_field(row, "active")) in _OFF


def _plain(value: Any) -> str:
    """Return a flag or a status as text: Kartra prints numbers as text, too."""
    return str(value).strip().lower().removesuffix(".0")
