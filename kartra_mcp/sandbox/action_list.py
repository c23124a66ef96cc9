"""The actions that are served: read from a file, found, searched and paged."""

from __future__ import annotations

import json
import os
from typing import Any

from kartra_mcp.sandbox import php
from kartra_mcp.sandbox.account import Account
from kartra_mcp.sandbox.membrane_errors import MembraneError

Map = dict[str, Any]
PUBLISHED = os.path.join(os.path.dirname(__file__), "actions.json")  # noqa: PTH118, PTH120
OURS = "x-sandbox"
_PAGE = 100
_PAGE_OF_A_SEARCH = 10


def load(account: Account) -> list[Any]:
    path = account.setting("actions") or PUBLISHED
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        return json.load(file)


def served(action: object) -> object:
    """An entry without what is only for us."""
    if not php.is_map(action):
        return action
    return {name: value for name, value in action.items() if name != OURS}


def find(account: Account, selector: str) -> Map:
    """By id, else by a key that only one action has."""
    actions = [one for one in load(account) if php.is_map(one)]
    found = [one for one in actions if one.get("id") == selector]
    found = found or [one for one in actions if selector and one.get("key") == selector]
    if len(found) != 1:
        raise MembraneError(f'Action "{selector}" not found')
    return found[0]


def search(actions: list[Any], intent: str) -> list[Any]:
    """The actions that share a word with the intent, the closest first."""
    if len(intent) > 200:
        raise MembraneError("The intent is too long", key="validation_error")
    words = {_stem(word) for word in intent.lower().replace("-", " ").replace("_", " ").split()}
    scored = [(_score(action, words), at) for at, action in enumerate(actions)]
    return [actions[at] for score, at in sorted(scored, key=lambda one: (-one[0], one[1])) if score]


def _score(action: object, words: set[str]) -> int:
    entry = php.fields(action)
    score = 0
    for name, weight in (("key", 3), ("name", 3), ("description", 1)):
        text = php.text(entry.get(name)).lower().replace("-", " ").replace("_", " ")
        score += weight * len(words & {_stem(word.strip(".,'()")) for word in text.split()})
    return score


def _stem(word: str) -> str:
    return word[:-1] if word.endswith("s") and len(word) > 3 else word


def page(items: list[Any], limit: str, cursor: str, *, searched: bool = False) -> Map:
    """One page; the cursor says nothing to anybody else, and is absent on the last page."""
    size = _size(limit, _PAGE_OF_A_SEARCH if searched else _PAGE)
    start = _start(cursor)
    found: Map = {"items": items[start : start + size]}
    if start + size < len(items):
        found["cursor"] = f"{(start + size) * 7919 + 4242:x}"
    return found


def _size(limit: str, default: int) -> int:
    if not limit:
        return default
    size = php.integer(limit)
    if size is None or not 1 <= size <= 1000:
        raise MembraneError("limit has to be from 1 to 1000", key="validation_error")
    return size


def _start(cursor: str) -> int:
    if cursor in {"", "0"}:
        return 0
    try:
        start, rest = divmod(int(cursor, 16) - 4242, 7919)
    except ValueError:
        start, rest = 0, 1
    if rest or start < 0:
        raise MembraneError("The cursor is not valid", key="validation_error")
    return start
