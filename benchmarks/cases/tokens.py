"""Size of the tool list in a model's context, counted with o200k_base."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from benchmarks import accounts
from benchmarks.cases.many import actions
from benchmarks.client import Broken, served
from benchmarks.plots import Lines
from benchmarks.stats import Row

TITLE = "Tokens of the tool list"
ABOUT = (
    "`tools/list` as JSON, names, descriptions, schemas and annotations, counted by tiktoken's "
    "o200k_base: of the sandbox account, and of accounts with so many actions."
)
ACCOUNT, SEARCH = 9_000, 2_500
COUNTS = (20, 200, 2_000, 10_000)
WAYS = ("all", "search")


def run() -> list[Row]:
    require_vocabulary()
    with accounts.sandbox() as account, served(account.environment(EXPOSE="all")) as client:
        tools = client.tools()
    row = Row(f"the sandbox, {len(tools)} tools", (tokens(tools),), "tokens", ACCOUNT)
    return [row, *(found for count in COUNTS for found in _listed(count))]


def require_vocabulary() -> None:
    """Raise `Broken` if the vocabulary of o200k_base is missing."""
    if not os.environ.get("TIKTOKEN_CACHE_DIR"):
        raise Broken(
            "TIKTOKEN_CACHE_DIR is not set: make the vocabulary by "
            "`python tools/vocabulary.py FOLDER`, or run `make bench`, which does"
        )


def tokens(tools: list[dict[str, Any]]) -> int:
    import tiktoken

    return len(tiktoken.get_encoding("o200k_base").encode(json.dumps(tools)))


def plots(rows: Mapping[str, Row]) -> list[Lines]:
    found = {way: [rows[_name(count, way)].figure for count in COUNTS] for way in WAYS}
    return [Lines("tokens", "Tokens of tools/list", "actions", COUNTS, found)]


def _listed(count: int) -> list[Row]:
    rows: list[Row] = []
    with accounts.folder() as folder:
        account = accounts.Printed(folder)
        account.answers(actions(count), run={})
        for way, most in zip(WAYS, (None, SEARCH), strict=True):
            with served(account.environment(EXPOSE=way)) as client:
                size = tokens(client.tools())
            rows.append(Row(_name(count, way), (size,), "tokens", most))
    return rows


def _name(count: int, way: str) -> str:
    return f"{count:,} actions, `{way}`"
