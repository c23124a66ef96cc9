"""Property names that every client accepts; only here are names changed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any, Final

from kartra_mcp.core.json_types import as_dict, as_list

_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,47}")
_LONGEST: Final = 48


def map_advertised_names(schema: Any) -> dict[str, str]:
    """Return own name to advertised name, for the names at any depth that must be changed.

    A name is changed the same way everywhere, and never to one that exists elsewhere.
    """
    own = frozenset(_iter_declared(schema))
    odd = sorted(name for name in own if not _PLAIN.fullmatch(name))
    wanted = {name: _to_portable_name(name) for name in odd}
    often = Counter(wanted.values())
    taken = {name for name in own if _PLAIN.fullmatch(name)}
    given: dict[str, str] = {}
    for name, plain in wanted.items():
        free = often[plain] == 1 and plain not in taken
        given[name] = plain if free else _add_suffix(plain, name, taken | set(given.values()))
    return given


def _to_portable_name(name: str) -> str:
    kept = re.sub(r"[^A-Za-z0-9_]", "_", name).lstrip("_")
    return (kept if kept[:1].isalpha() else f"field_{kept}".rstrip("_"))[:_LONGEST]


def _add_suffix(plain: str, name: str, taken: set[str]) -> str:
    digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    tries = (f"{plain[: _LONGEST - 1 - size]}_{digest[:size]}" for size in range(6, 33))
    return next(found for found in tries if found not in taken)


def _iter_declared(schema: Any) -> Iterator[str]:
    """Yield the names under `properties` at any depth."""
    if not isinstance(schema, dict):
        return
    found = as_dict(schema)
    yield from as_dict(found.get("properties"))
    for inner in _iter_subschemas(found):
        yield from _iter_declared(inner)


def _iter_subschemas(schema: dict[str, Any]) -> Iterable[Any]:
    for key, value in schema.items():
        if key in {"default", "const", "enum", "examples"}:
            continue
        if key in {"properties", "patternProperties", "dependentSchemas"}:
            yield from as_dict(value).values()
        elif isinstance(value, list):
            yield from as_list(value)
        else:
            yield value
