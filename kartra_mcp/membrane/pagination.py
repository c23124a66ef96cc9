"""Read Membrane's lists to their end, however the server treats limit and cursor.

The transport is a function: it takes the parameters of one page, `{"limit": …, "cursor": …,
"intent": …}` as text, and returns the parsed response.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.json_types import is_object
from kartra_mcp.membrane.responses import get_cursor, list_items

PAGE = 1000
MAX_PAGES = 50
DEFAULT_PAGE_SIZE = 10
FALLBACK_SEARCHES = (
    "get lead details",
    "create or edit a lead",
    "assign or remove a tag",
    "list tags, lists, sequences, pages and custom fields",
    "subscribe or unsubscribe a lead to a list",
    "subscribe or unsubscribe a lead to a sequence",
    "transactions and payments",
    "refund a transaction",
    "cancel or change a subscription",
    "grant or revoke membership access",
    "products, forms, calendars and points",
    "send, search, update or delete something else",
)
"""Searches that together should find every action if a program ignores the paging."""

_NO_USE_ASKING_AGAIN = frozenset(
    {"not_logged_in", "program_missing", "timed_out", "not_enough_time", "rate_limited"}
)
_NO_MORE_PAGES = frozenset({"not_logged_in", "program_missing"})

FetchPage = Callable[[Mapping[str, str]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class ActionList:
    """Entries of `action list` as received; `complete` unless searches replaced the list.

    `partial`: a page or a search failed, so existing actions may be missing.
    """

    entries: tuple[Any, ...]
    complete: bool = True
    partial: bool = False


@dataclass(frozen=True, slots=True)
class PagedList:
    """Result of reading pages; `complete` unless a page repeated or there was no end.

    `partial`: a page after the first failed.
    """

    entries: tuple[Any, ...]
    complete: bool = False
    partial: bool = False


async def list_actions(ask: FetchPage) -> ActionList:
    """Return every action of a connection that could be read, with any paging of the server.

    Raises:
        KartraMCPError: nothing could be listed.
    """
    limit = {"limit": str(PAGE)}
    try:
        found = await read_pages(ask, limit)
    except KartraMCPError as problem:
        if problem.code in _NO_USE_ASKING_AGAIN:
            raise
        limit = {}
        found = await _list_without_limit(ask)
    if found.complete and len(found.entries) != DEFAULT_PAGE_SIZE:
        return ActionList(found.entries)
    searched = await _search_all(ask, limit, need=not found.entries)
    lost = found.partial or searched.partial
    return ActionList(
        deduplicate([*found.entries, *searched.entries]), complete=False, partial=lost
    )


async def read_pages(ask: FetchPage, parameters: Mapping[str, str]) -> PagedList:
    """Return every page of a list, until there is no cursor or a page has nothing new."""
    entries: list[Any] = []
    seen: set[str] = set()
    at: str | None = None
    for _ in range(MAX_PAGES):
        try:
            value = await ask({**parameters, **({"cursor": at} if at else {})})
            fresh = [entry for entry in list_items(value) if _is_new(entry, seen)]
        except KartraMCPError as problem:
            if at is None or problem.code in _NO_MORE_PAGES:
                raise
            return PagedList(tuple(entries), partial=True)
        entries += fresh
        at = get_cursor(value)
        if at is None:
            return PagedList(tuple(entries), complete=True)
        if not fresh:
            break
    return PagedList(tuple(entries))


async def _list_without_limit(ask: FetchPage) -> PagedList:
    """Return the list of a program that rejects a limit; nothing if it also requires an intent."""
    try:
        return await read_pages(ask, {})
    except KartraMCPError as problem:
        if problem.code in _NO_USE_ASKING_AGAIN:
            raise
        return PagedList(())


async def _search_all(ask: FetchPage, limit: Mapping[str, str], *, need: bool) -> PagedList:
    """Return the results of all intents, requested in parallel; a failed intent adds nothing.

    Raises:
        KartraMCPError: all failed, and nothing else returned any action (`need`).
    """
    answers: list[Any] = []
    failures: list[KartraMCPError] = []

    async def search(intent: str) -> None:
        try:
            answers.extend(list_items(await ask({**limit, "intent": intent})))
        except KartraMCPError as problem:
            failures.append(problem)

    async with anyio.create_task_group() as asking:
        for intent in FALLBACK_SEARCHES:
            asking.start_soon(search, intent)
    if need and len(failures) == len(FALLBACK_SEARCHES):
        raise failures[0]
    return PagedList(tuple(answers), partial=bool(failures))


def deduplicate(entries: Sequence[Any]) -> tuple[Any, ...]:
    """Merge the entries of several lists; of equal actions the first is kept."""
    seen: set[str] = set()
    return tuple(entry for entry in entries if _is_new(entry, seen))


def element_id(entry: Any) -> str:
    """Return the id of a listed element, else its key, else ""."""
    return str(entry.get("id") or entry.get("key") or "") if is_object(entry) else ""


def _is_new(entry: Any, seen: set[str]) -> bool:
    identity = element_id(entry)
    if identity and identity in seen:
        return False
    seen.add(identity)
    return True
