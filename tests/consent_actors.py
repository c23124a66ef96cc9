"""Humans and hosts that answer questions, and the ledger's record; for tests of consent."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
from harness import SHORT, Answer, Sandbox, StandIn, call
from mcp_types import ElicitResult, ErrorData

from kartra_mcp.ledger.approval_records import Approval
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.sqlite.store import open_ledger

REFUND, CANCEL = "kartra_refund_transaction", "kartra_cancel_subscription"
A_PERSON = SHORT.min_human + 0.01
"""Seconds of a human's answer, which these tests measure."""
UNHURRIED = replace(SHORT, min_human=30.0)
"""Waits by which no answer of these tests is a human's, however slow the machine is."""


def sandbox(folder: Path, **settings: str) -> Sandbox:
    """An account of its own, without a throttle."""
    return Sandbox(folder, {"RATE": "0", **settings}).arrange("reset")


def ledger_folder(place: Sandbox | StandIn) -> Path:
    return place.folder / ("sandbox" if isinstance(place, Sandbox) else "state")


def open_own_ledger(place: Sandbox) -> Ledger:
    """Open the ledger of a server as another process."""
    if place.ledger_place is not None:
        return place.ledger_place.open()
    return open_ledger(ledger_folder(place))


def lines(place: Sandbox | StandIn, kind: str) -> list[dict[str, Any]]:
    """The bodies of the ledger's lines of a kind, oldest first."""
    return [json.loads(body) for (body,) in rows(place, "kind = ? ORDER BY n", kind)]


def rows(place: Sandbox | StandIn, where: str, *values: Any) -> list[tuple[Any, ...]]:
    return changed(place, f"SELECT body FROM lines WHERE {where}", *values)


def changed(place: Sandbox | StandIn, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """Run SQL on the ledger; return no rows if there is no ledger."""
    if isinstance(place, Sandbox) and place.ledger_place is not None:
        return place.ledger_place.fetch(sql, *values)
    file = ledger_folder(place) / "ledger.db"
    if not file.exists():
        return []
    with closing(sqlite3.connect(file)) as database, database:
        return database.execute(sql, values).fetchall()


def story(place: Sandbox | StandIn) -> dict[str, tuple[str, str]]:
    """Return consent and outcome of every tool that ran. Each has one intent and one outcome."""
    ended = {line["intent"]: line["state"] for line in lines(place, "outcome")}
    told = [(x["tool"], (x["consent"], ended[x["intent"]])) for x in lines(place, "intent")]
    assert len(dict(told)) == len(told) == len(ended)
    return dict(told)


def events(place: Sandbox | StandIn) -> list[str]:
    return [line["event"] for line in lines(place, "consent")]


def decided(ledger: Ledger, number: int, **words: Any) -> Approval:
    """A decision on what waits under a number now."""
    shown = ledger.approvals.get(number)
    return ledger.approvals.decide(number, **words, seen=shown.fingerprint if shown else "")


def confirmed(preview: Answer, **instead: Any) -> dict[str, Any]:
    """The arguments that a second call adds to those of the first."""
    shown = preview.error["confirmation"]
    words = {"confirmation_id": shown["id"], "confirmation_summary": shown["summary"]}
    return {"confirm": True, **words, **instead}


async def twice(client: Any, tool: str, **arguments: Any) -> Answer:
    """Get the preview, then repeat the call with its confirmation."""
    preview = await call(client, tool, **arguments)
    assert preview.code == "confirmation_required", preview.text
    return await call(client, tool, **arguments, **confirmed(preview))


def wanted(params: Any) -> dict[str, str]:
    """Return the text that a form requires."""
    start = "To confirm, type "
    fields = params.requested_schema["properties"].items()
    typed = {name: field["title"] for name, field in fields if field["title"].startswith(start)}
    return {name: title.removeprefix(start) for name, title in typed.items()}


class Person:
    """Answers every question after a while, and keeps what was asked."""

    def __init__(
        self,
        action: Any = "accept",
        *,
        confirm: Any = True,
        after: float = A_PERSON,
        **content: Any,
    ) -> None:
        self.action, self.confirm, self.after, self.content = action, confirm, after, content
        self.url_only = False
        self.asked: list[Any] = []

    async def __call__(self, context: Any, params: Any) -> ElicitResult | ErrorData:
        self.asked.append(params)
        await anyio.sleep(self.after)
        if self.action == "error":
            return ErrorData(code=-32600, message="Elicitation not supported")
        if self.action != "accept":
            return ElicitResult(action=self.action)
        said = {} if self.confirm is None else {"confirm": self.confirm}
        return ElicitResult(action="accept", content={**said, **wanted(params), **self.content})
