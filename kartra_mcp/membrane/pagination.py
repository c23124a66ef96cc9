"""Read Membrane's lists to their end, however the server treats limit and cursor.

The transport is a function: it takes the parameters of one page, `{"limit": …, "cursor": …,
"intent": …}` as text, and returns the value that came.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.json_types import is_object
from kartra_mcp.membrane.responses import cursor, items

PAGE = 1000
MOST_PAGES = 50
IGNORED_PAGE = 10
INTENTS = (
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
"""Searches that together should find every action where a program ignores our paging."""

_NO_USE_ASKING_AGAIN = frozenset(
    {"not_logged_in", "program_missing", "timed_out", "not_enough_time", "rate_limited"}
)
_NO_MORE_PAGES = frozenset({"not_logged_in", "program_missing"})

Ask = Callable[[Mapping[str, str]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class ActionList:
    """Entries of `action list` as received; `complete` unless searches replaced the list.

    `lost`: a page or a search failed, so existing actions may be missing.
    """

    entries: tuple[Any, ...]
    complete: bool = True
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Pages:
    """Result of reading pages; `whole` unless a page repeated or there was no end.

    `lost`: a page after the first failed.
    """

    entries: tuple[Any, ...]
    whole: bool = False
    lost: bool = False


async def all_actions(ask: Ask) -> ActionList:
    """Return all actions of a connection, however the server pages.

    Raises:
        KartraMCPError: nothing could be listed.
    """
    limit = {"limit": str(PAGE)}
    try:
        found = await pages(ask, limit)
    except KartraMCPError as problem:
        if problem.code in _NO_USE_ASKING_AGAIN:
            raise
        limit = {}
        found = await _unlimited(ask)
    if found.whole and len(found.entries) != IGNORED_PAGE:
        return ActionList(found.entries)
    searched = await _searched(ask, limit, need=not found.entries)
    lost = found.lost or searched.lost
    return ActionList(joined([*found.entries, *searched.entries]), complete=False, lost=lost)


async def pages(ask: Ask, parameters: Mapping[str, str]) -> Pages:
    """Return every page of a list, until there is no cursor or a page has nothing new."""
    entries: list[Any] = []
    seen: set[str] = set()
    at: str | None = None
    for _ in range(MOST_PAGES):
        try:
            value = await ask({**parameters, **({"cursor": at} if at else {})})
            fresh = [entry for entry in items(value) if _is_new(entry, seen)]
        except KartraMCPError as problem:
            if at is None or problem.code in _NO_MORE_PAGES:
                raise
            return Pages(tuple(entries), lost=True)
        entries += fresh
        at = cursor(value)
        if at is None:
            return Pages(tuple(entries), whole=True)
        if not fresh:
            break
    return Pages(tuple(entries))


async def _unlimited(ask: Ask) -> Pages:
    """Return the list of a program that rejects a limit; nothing if it also requires an intent."""
    try:
        return await pages(ask, {})
    except KartraMCPError as problem:
        if problem.code in _NO_USE_ASKING_AGAIN:
            raise
        return Pages(())


async def _searched(ask: Ask, limit: Mapping[str, str], *, need: bool) -> Pages:
    """Return the results of all intents, requested in parallel; a failed intent adds nothing.

    Raises:
        KartraMCPError: all failed, and nothing else returned any action (`need`).
    """
    answers: list[Any] = []
    failures: list[KartraMCPError] = []

    async def search(intent: str) -> None:
        try:
            answers.extend(items(await ask({**limit, "intent": intent})))
        except KartraMCPError as problem:
            failures.append(problem)

    async with anyio.create_task_group() as asking:
        for intent in INTENTS:
            asking.start_soon(search, intent)
    if need and len(failures) == len(INTENTS):
        raise failures[0]
    return Pages(tuple(answers), lost=bool(failures))


def joined(entries: Sequence[Any]) -> tuple[Any, ...]:
    """Merge the entries of several lists, each action once: as it came first."""
    seen: set[str] = set()
    return tuple(entry for entry in entries if _is_new(entry, seen))


def identity_of(entry: Any) -> str:
    """Return the id of a listed element, else its key, else ""."""
    return str(entry.get("id") or entry.get("key") or "") if is_object(entry) else ""


def _is_new(entry: Any, seen: set[str]) -> bool:
    identity = identity_of(entry)
    if identity and identity in seen:
        return False
    seen.add(identity)
    return True
