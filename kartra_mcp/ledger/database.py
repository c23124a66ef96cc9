"""Database of one transaction, as the rules of the ledger use it.

SQL is shared by all stores. It keeps to what SQLite 3.24 and PostgreSQL 13 both run: `ON CONFLICT`
instead of `OR REPLACE`, no rowid, no empty `IN ()`, no negative `LIMIT`, and `json_extract`, which
a PostgreSQL ledger defines as a function of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

NO_LIMIT = 2**62
"""`LIMIT` of a query that returns every row: PostgreSQL accepts no negative one."""

Values = Sequence[Any] | Mapping[str, Any]
"""Values of `?` in their order, or of `:name` by name."""


class Query(NamedTuple):
    """A read, as it is passed to `execute`."""

    sql: str
    values: tuple[Any, ...] = ()


class Rows(Protocol):
    """Result of a statement. A row has its values by index and by name of the column."""

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Database(Protocol):
    """Statements inside the transaction that is open; `sqlite3.Connection` is one."""

    def execute(self, sql: str, values: Values = (), /) -> Rows: ...

    def executemany(self, sql: str, values: Iterable[Values], /) -> object: ...


def make_in_list(count: int) -> str:
    """Return the part in parentheses of `IN (?, …)` for `count` values; it matches none for 0."""
    return ", ".join("?" * count) or "NULL"
