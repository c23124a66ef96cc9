"""Scripts of SQL: several statements with their values, sent as one message.

A trip to the server costs as much as a statement, and planning one costs more than running it.
A script is one trip, and a statement of it that the connection ran before is only executed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import psycopg

from kartra_mcp.ledger.database import Values

_PARTS = re.compile(r"'(?:[^']|'')*'|\?|(?<!:):([a-z_]+)")
_NAMED = re.compile(r"\b(INTO|UPDATE|FROM)\s+(?:\"?[\w-]+\"?\.)?(\w+)")
_MAX_NAME = 40
_ALL_COLUMNS = re.compile(r"\bSELECT \*|\.\*")
_PLANNED = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")

Statement = tuple[str, Values]
"""SQL, and its values."""

MAX_PREPARED = 200
"""Statements that a connection keeps prepared; others are planned each time."""


@dataclass(frozen=True, slots=True)
class _Template:
    """A statement around its values.

    Attributes:
        texts: the texts before, between and after the values.
        places: for each value between two texts, its number in `keys`.
        keys: the keys of the values: `$1` is the first.
        are_numbered: the keys are 0, 1, 2 …
    """

    texts: tuple[str, ...]
    places: tuple[int, ...]
    keys: tuple[int | str, ...]
    are_numbered: bool

    def list_literals(self, values: Values) -> list[str]:
        """List the values as literals, in the order of their keys."""
        if self.are_numbered:
            return [quote(value) for value in values]
        found: Any = values
        return [quote(found[key]) for key in self.keys]

    def fill(self, marks: Sequence[str]) -> str:
        """Return the statement with a text for each of its keys."""
        places = [marks[place] for place in self.places]
        return self.texts[0] + "".join(map("".join, zip(places, self.texts[1:], strict=True)))

    def number(self) -> str:
        """Return the statement with `$1`, `$2` … for its values."""
        return self.fill([f"${place + 1}" for place in range(len(self.keys))])


@lru_cache(maxsize=512)
def _parse(sql: str) -> _Template:
    """Return a statement whose values are `?` or `:name`; a name counts once."""
    texts, found, end = [""], list[int | str](), 0
    for part in _PARTS.finditer(sql):
        if part[0].startswith("'"):
            continue
        texts[-1] += sql[end : part.start()]
        texts.append("")
        found.append(part[1] or len(found))
        end = part.end()
    texts[-1] += sql[end:]
    keys = tuple(dict.fromkeys(found))
    places = tuple(keys.index(key) for key in found)
    return _Template(tuple(texts), places, keys, keys == tuple(range(len(keys))))


def quote(value: Any) -> str:
    """Return a value as a literal. Its type is that of its place, so that numbers are quoted, too.

    Raises:
        psycopg.DataError: no text of PostgreSQL can hold it.
        TypeError: a value of this type is not stored.
    """
    if isinstance(value, str):
        if "\0" in value:
            raise psycopg.DataError("PostgreSQL text cannot contain NUL (0x00)")
        text = value.replace("'", "''")
        # Without a backslash it is the same text, whatever `standard_conforming_strings` is.
        return f"'{text}'" if "\\" not in text else " E'" + text.replace("\\", "\\\\") + "'"
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return f"'{int(value)}'"  # a truth value is 0 or 1: the columns are numbers, as in SQLite
    if isinstance(value, float):
        return f"'{float(value)!r}'"
    raise TypeError(f"a {type(value).__name__} cannot be stored")


class Statements:
    """The statements that one connection has prepared.

    Attributes:
        are_kept: no pooler gives each transaction another server.
    """

    def __init__(self) -> None:
        self.are_kept = False
        self._names: dict[str, str] = {}
        self._new: list[str] = []
        self._count = 0

    def bind(self, statements: Sequence[Statement]) -> str:
        """Return the script of some statements. `confirm` or `forget` has to follow."""
        return ";".join([self._bind(statement) for statement in statements])

    def confirm(self) -> None:
        """Note that the newest script ran to its end."""
        self._new.clear()

    def forget(self) -> None:
        """Note that the newest script did not run to its end: it may have prepared nothing."""
        for sql in self._new:
            del self._names[sql]
        self._new.clear()

    def _bind(self, statement: Statement) -> str:
        sql, values = statement
        template = _parse(sql)
        literals = template.list_literals(values)
        name, prepare = self._names.get(sql), ""
        if name is None:
            if not (self.are_kept and len(self._names) < MAX_PREPARED and _can_be_prepared(sql)):
                return template.fill(literals)
            self._count += 1  # never a name again: a script that failed may have prepared it
            self._names[sql] = name = f"{_describe(sql)}_{self._count}"
            self._new.append(sql)
            prepare = f"PREPARE {name} AS {template.number()};"
        return f"{prepare}EXECUTE {name}" + (f"({', '.join(literals)})" if literals else "")


@lru_cache(maxsize=512)
def _can_be_prepared(sql: str) -> bool:
    """Return whether a statement may be prepared.

    One with every column of a table fails if another version's migration added one meanwhile.
    """
    return sql.lstrip().startswith(_PLANNED) and not _ALL_COLUMNS.search(sql)


def _describe(sql: str) -> str:
    """Return a name that shows in the server's log what a prepared statement is about."""
    verb, found = sql.split(None, 1)[0].lower(), _NAMED.search(sql)
    return f"{verb}_{found[2]}"[:_MAX_NAME] if found else verb
