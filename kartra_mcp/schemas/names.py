"""Property names that every client accepts; only here are names changed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any, Final

from kartra_mcp.schemas.keywords import listing, mapping

_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,47}")
_LONGEST: Final = 48


def advertised_names(schema: Any) -> dict[str, str]:
    """Return own name to advertised name, for the names at any depth that must be changed.

    A name is changed the same way everywhere, and never to one that exists elsewhere.
    """
    own = frozenset(_declared(schema))
    odd = sorted(name for name in own if not _PLAIN.fullmatch(name))
    wanted = {name: _plain(name) for name in odd}
    often = Counter(wanted.values())
    taken = {name for name in own if _PLAIN.fullmatch(name)}
    given: dict[str, str] = {}
    for name, plain in wanted.items():
        free = often[plain] == 1 and plain not in taken
        given[name] = plain if free else _suffixed(plain, name, taken | set(given.values()))
    return given


def _plain(name: str) -> str:
    kept = re.sub(r"[^A-Za-z0-9_]", "_", name).lstrip("_")
    return (kept if kept[:1].isalpha() else f"field_{kept}".rstrip("_"))[:_LONGEST]


def _suffixed(plain: str, name: str, taken: set[str]) -> str:
    digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    tries = (f"{plain[: _LONGEST - 1 - size]}_{digest[:size]}" for size in range(6, 33))
    return next(found for found in tries if found not in taken)


def _declared(schema: Any) -> Iterator[str]:
    """Yield the names under `properties` at any depth."""
    if not isinstance(schema, dict):
        return
    found = mapping(schema)
    yield from mapping(found.get("properties"))
    for inner in _inside(found):
        yield from _declared(inner)


def _inside(schema: dict[str, Any]) -> Iterable[Any]:
    for key, value in schema.items():
        if key in {"default", "const", "enum", "examples"}:
            continue
        if key in {"properties", "patternProperties", "dependentSchemas"}:
            yield from mapping(value).values()
        elif isinstance(value, list):
            yield from listing(value)
        else:
            yield value
