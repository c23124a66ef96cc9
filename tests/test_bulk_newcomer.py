"""A task in bulk by a client that sees only the answers: number of calls, their cost, the page."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from bulk_account import RUN, add_leads, emails, tagged
from consent_actors import confirmed, sandbox
from harness import Answer, Sandbox, call, connect

pytestmark = pytest.mark.anyio
PAGE = Path(__file__).parents[1] / "docs" / "bulk.md"
BEGIN, END = "<!-- begin newcomer -->\n", "<!-- end newcomer -->"
UPDATE = os.environ.get("UPDATE_TOOLSNAPS") == "1"
MAX_CALLS, MAX_TOKENS = 6, 6_000
PEOPLE, BUYERS = 40, 12
SHOWN = ("state", "total", "done", "failed", "left", "matches")


@dataclass
class Newcomer:
    """A client that takes every id from an answer, and writes down what it calls and gets."""

    client: Any
    answers: list[Answer] = field(default_factory=list[Answer])
    story: list[str] = field(default_factory=list[str])

    async def __call__(self, **given: Any) -> Answer:
        answer = await call(self.client, RUN, **given)
        self.answers.append(answer)
        self.story += [f"> {RUN} {dump(shorten(given))}", *describe(answer), ""]
        return answer

    @property
    def tokens(self) -> int:
        encoding = tiktoken.get_encoding("o200k_base")
        return sum(len(encoding.encode(answer.text)) for answer in self.answers)

    @property
    def transcript(self) -> str:
        """The story, without what is different each time."""
        text = "\n".join(self.story).rstrip()
        for number, id_ in enumerate(dict.fromkeys(re.findall(r"blk_[0-9a-f]{12}", text)), 1):
            text = text.replace(id_, f"blk_{number}")
        text = re.sub(r"(#)[0-9a-f]{6}\b", r"\1…", text)
        return re.sub(r'("confirmation_id": ")[^"]+', r"\1…", text)


def dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def shorten(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with the first of many items."""
    items = given.get("items", [])
    if len(items) < 3:
        return dict(given)
    return {**given, "items": [items[0], f"… {len(items) - 1} more"]}


def describe(answer: Answer) -> list[str]:
    if answer.failed:
        error = answer.error
        detail = [dump(error["detail"])] if "detail" in error else []
        shown = error.get("confirmation", {}).get("summary")
        lines = [f"{error['code']}: {shown}" if shown else f"{error['code']}: {error['message']}"]
        return [*lines, *detail]
    result = answer.result
    rows = [dump(result["items"][0]), f"… {result['total'] - 1} more"] if "items" in result else []
    return [dump({name: result[name] for name in SHOWN if name in result}), *rows]


def buy(place: Sandbox, who: list[str]) -> None:
    """Add a sale to each of these leads."""
    for email in who:
        place.rows(
            "INSERT INTO transactions (lead_id, lead_email, type, cents, quantity, product_id,"
            " point, at) SELECT id, email, 'sale', 4900, 1, 301, 1, '2026-11-01 00:00:00'"
            " FROM leads WHERE email = ?",
            email,
        )


def on_list(place: Sandbox, name: str) -> set[str]:
    sql = (
        "SELECT l.email FROM lead_lists x JOIN lists t ON t.id = x.list_id"
        " JOIN leads l ON l.id = x.lead_id WHERE t.name = ? AND x.active = 1"
    )
    return {email for (email,) in place.rows(sql, name)}


async def tag_and_list(newcomer: Newcomer, who: list[str]) -> None:
    """Tag these 40 people and put the twelve who bought onto the winter list."""
    tag = {"tool": "kartra_assign_tag", "arguments": {"tag_name": "VIP"}}
    preview = await newcomer(**tag, items=emails(who))
    tag_run = preview.error["confirmation"]["bulk_id"]
    await newcomer(bulk_id=tag_run, **confirmed(preview))
    read = await newcomer(
        tool="kartra_retrieve_transactions_from_lead",
        from_result={"bulk_id": tag_run, "map": {"email": "arguments.email"}},
    )
    subscribe: dict[str, Any] = {
        "tool": "kartra_subscribe_lead_to_list",
        "arguments": {"list_name": "Winter"},
        "from_result": {
            "bulk_id": read.result["bulk_id"],
            "map": {"email": "arguments.email"},
            "where": {"field": "transaction_type", "equals": "sale"},
        },
    }
    wrong = await newcomer(**subscribe)
    subscribe["from_result"]["where"]["field"] = wrong.error["detail"]["nearest"][0]
    preview = await newcomer(**subscribe)
    list_run = preview.error["confirmation"]["bulk_id"]
    await newcomer(bulk_id=list_run, **confirmed(preview))


async def test_a_newcomer_does_a_task_in_six_calls_snapshot_in_the_docs(tmp_path: Path):
    """The page shows this run; UPDATE_TOOLSNAPS=1 (`make fix`) rewrites it."""
    place = sandbox(tmp_path)
    place.rows("INSERT INTO lists (name) VALUES ('Winter')")
    who = add_leads(place, PEOPLE)
    buyers = who[3 : 3 + BUYERS]
    buy(place, buyers)
    async with connect(place, "legacy") as client:
        newcomer = Newcomer(client)
        await tag_and_list(newcomer, who)
    assert newcomer.answers[-1].result["done"] == BUYERS
    assert tagged(place) >= set(who)
    assert on_list(place, "Winter") == set(buyers)
    assert len(newcomer.answers) <= MAX_CALLS
    assert newcomer.tokens < MAX_TOKENS, f"{newcomer.tokens} tokens"

    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    shown, _, tail = rest.partition(END)
    expected = f"```\n{newcomer.transcript}\n```\n"
    if UPDATE and shown != expected:
        PAGE.write_text(f"{head}{BEGIN}{expected}{END}{tail}", encoding="utf-8")
    assert UPDATE or shown == expected
