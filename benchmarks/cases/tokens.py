"""What the tool list costs a model's context, as o200k_base counts."""

from __future__ import annotations

import json
import os

from benchmarks import accounts
from benchmarks.client import Broken, served
from benchmarks.numbers import Row

TITLE = "Tokens of the tool list"
ABOUT = (
    "`tools/list` as JSON, names, descriptions, schemas and annotations, counted by tiktoken's "
    "o200k_base."
)
PROMISED = 7_500


def run() -> list[Row]:
    if not os.environ.get("TIKTOKEN_CACHE_DIR"):
        raise Broken(
            "TIKTOKEN_CACHE_DIR is not set: make the vocabulary by "
            "`python tools/vocabulary.py FOLDER`, or run `make bench`, which does"
        )
    import tiktoken

    with accounts.sandbox() as account, served(account.environment) as client:
        tools = client.tools()
    words = tiktoken.get_encoding("o200k_base").encode(json.dumps(tools))
    return [Row(f"{len(tools)} tools", (len(words),), "tokens", PROMISED)]
