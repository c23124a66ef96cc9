"""The actions that are served: loaded from a file, found, searched and paged."""

from __future__ import annotations

import functools
import json
import os
from typing import Any, cast

from kartra_mcp.sandbox.membrane.errors import MembraneError, UsageError
from kartra_mcp.sandbox.store import php_values
from kartra_mcp.sandbox.store.database import Account

Map = dict[str, Any]
PUBLISHED = os.path.join(os.path.dirname(__file__), "actions.json")  # noqa: PTH118, PTH120
OURS = "x-sandbox"
_PAGE = 100
_PAGE_OF_A_SEARCH = 10


def load(account: Account) -> list[Any]:
    """Load the served actions; an entry may be any JSON value, so that its reader can be tested."""
    return _read(*_stat_file(account))


def can_run(action: object) -> bool:
    """Return whether the sandbox can run an entry."""
    return php_values.is_map(action) and bool(php_values.fields(action.get(OURS)).get("cmd"))


def _stat_file(account: Account) -> tuple[str, int, int]:
    path = account.setting("actions") or PUBLISHED
    try:
        now = os.stat(path)  # noqa: PTH116
    except OSError as error:
        raise _invalid_list_error(path, error.strerror or "it cannot be read") from error
    return path, now.st_mtime_ns, now.st_size


@functools.lru_cache(maxsize=1)
def _read(path: str, _at: int, _size: int) -> list[Any]:
    """Read a file; the arguments make the cache miss after a change.

    A process that serves many requests reads a long list once.
    """
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            found = json.load(file)
    except OSError as error:
        raise _invalid_list_error(path, error.strerror or "it cannot be read") from error
    except (ValueError, RecursionError) as error:
        raise _invalid_list_error(path, "it is not JSON") from error
    items = found.get("items") if php_values.is_map(found) else found
    if not isinstance(items, list):
        raise _invalid_list_error(
            path, "it is neither a JSON list nor an object with one as `items`"
        )
    return cast("list[Any]", items)


def _invalid_list_error(path: str, why: str) -> MembraneError:
    back = "`actions use published` goes back"
    return MembraneError(f"{path} is not a list of actions: {why}; {back}", kind="internal", key="")


@functools.lru_cache(maxsize=1)
def _index_actions(
    path: str, at: int, size: int
) -> tuple[dict[str, list[Map]], dict[str, list[Map]]]:
    """Return the actions of a file by id and by key."""
    ids: dict[str, list[Map]] = {}
    keys: dict[str, list[Map]] = {}
    for one in _read(path, at, size):
        for name, index in (("id", ids), ("key", keys)):
            if php_values.is_map(one) and isinstance(one.get(name), str):
                index.setdefault(one[name], []).append(one)
    return ids, keys


def public_view(action: object) -> object:
    """Return an entry without the sandbox's own fields."""
    if not php_values.is_map(action):
        return action
    return {name: value for name, value in action.items() if name != OURS}


def find(account: Account, selector: str) -> Map:
    """Find an action by id, else by a key that only one action has."""
    ids, keys = _index_actions(*_stat_file(account))
    found = ids.get(selector) or keys.get(selector, [])
    if not selector or len(found) != 1:
        raise MembraneError(f'Action "{selector}" not found')
    return found[0]


def search(actions: list[Any], intent: str) -> list[Any]:
    """Return the actions that share a word with the intent, best match first."""
    if len(intent) > 200:
        raise MembraneError("The intent is too long", key="validation_error")
    words = {
        _stem_word(word) for word in intent.lower().replace("-", " ").replace("_", " ").split()
    }
    scored = [(_score_action(action, words), at) for at, action in enumerate(actions)]
    return [actions[at] for score, at in sorted(scored, key=lambda one: (-one[0], one[1])) if score]


def _score_action(action: object, words: set[str]) -> int:
    entry = php_values.fields(action)
    score = 0
    for name, weight in (("key", 3), ("name", 3), ("description", 1)):
        text = php_values.text(entry.get(name)).lower().replace("-", " ").replace("_", " ")
        score += weight * len(words & {_stem_word(word.strip(".,'()")) for word in text.split()})
    return score


def _stem_word(word: str) -> str:
    return word[:-1] if word.endswith("s") and len(word) > 3 else word


def make_page(
    account: Account, items: list[Any], limit: str, cursor: str, *, searched: bool
) -> Map:
    """Return a page. `actions paging` selects the limits and cursors of an older program."""
    habit = account.setting("paging")
    if habit == "refuse" and (limit or cursor):
        raise UsageError("unknown option --limit or --cursor")
    if habit == "ten":
        return {"items": items[:10]}
    return paginate(items, limit, "" if habit == "repeat" else cursor, searched=searched)


def paginate(items: list[Any], limit: str, cursor: str, *, searched: bool = False) -> Map:
    """Return one page; the cursor is opaque, and absent on the last page."""
    size = _parse_size(limit, _PAGE_OF_A_SEARCH if searched else _PAGE)
    start = _start(cursor)
    found: Map = {"items": items[start : start + size]}
    if start + size < len(items):
        found["cursor"] = f"{(start + size) * 7919 + 4242:x}"
    return found


def _parse_size(limit: str, default: int) -> int:
    if not limit:
        return default
    size = php_values.integer(limit)
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
