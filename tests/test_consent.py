"""Every gate with every kind of client, in both eras, for every risk: code, account, ledger.

The time of an answer is part of the rules, so these tests do sleep; all clients wait at once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
from consent_actors import (
    CANCEL,
    REFUND,
    UNHURRIED,
    Person,
    confirmed,
    decided,
    events,
    ledger_folder,
    sandbox,
    story,
)
from harness import ERAS, SHORT, Answer, Sandbox, both_eras, call, connect, sandbox_by
from mcp import MCPError
from mcp.client.session import ClientSession

from kartra_mcp.core.models import Gate
from kartra_mcp.ledger.sqlite.store import open_ledger

pytestmark = pytest.mark.anyio

UNTAG, UNLIST, TAG = (
    "kartra_unassign_tag",
    "kartra_unsubscribe_lead_from_list",
    "kartra_assign_tag",
)
CALLS: dict[str, dict[str, Any]] = {
    REFUND: {"transaction_id": 101},
    CANCEL: {"subscription_id": 205},
    UNTAG: {"lead_id": 48110, "tag_name": "VIP"},
    UNLIST: {"lead_id": 48110, "list_name": "Weekly Letter"},
    TAG: {"lead_id": 48110, "tag_name": "Affiliate"},
}
TAGGED = "SELECT 1 FROM lead_tags JOIN tags ON id = tag_id WHERE lead_id = 48110 AND name = "
LISTED = (
    "SELECT active FROM lead_lists JOIN lists ON id = list_id WHERE lead_id = 48110 AND name = "
)
LOOKS = {
    REFUND: ("SELECT type, cents FROM transactions WHERE parent_id = 101", [("refund", 9700)]),
    CANCEL: ("SELECT 1 FROM subscriptions WHERE id = 205 AND status = 'Cancelled'", [(1,)]),
    UNTAG: (TAGGED + "'VIP'", []),
    UNLIST: (LISTED + "'Weekly Letter'", [(0,)]),
    TAG: (TAGGED + "'Affiliate'", [(1,)]),
}
"""State of the account after exactly one execution."""

NOBODY, BY_URL = "none", "url only"
PERSONS: dict[str, Callable[[], Person]] = {
    "accepts": Person,
    "says yes in words": lambda: Person(confirm="yes"),
    "says 1": lambda: Person(confirm=1),
    "leaves the box empty": lambda: Person(confirm=None),
    "leaves the box off": lambda: Person(confirm=False),
    "declines": lambda: Person("decline"),
    "dismisses": lambda: Person("cancel"),
    "accepts at once": lambda: Person(after=0),
    "declines at once": lambda: Person("decline", after=0),
    "dismisses at once": lambda: Person("cancel", after=0),
    "fails at once": lambda: Person("error", after=0),
    "fails later": lambda: Person("error"),
}
ANSWERS = {
    "accepts": "",
    "says yes in words": "declined",
    "says 1": "declined",
    "leaves the box empty": "declined",
    "leaves the box off": "declined",
    "declines": "declined",
    "dismisses": "dismissed",
    "accepts at once": "answered_by_host",
    "declines at once": "answered_by_host",
    "dismisses at once": "answered_by_host",
}
FAILING = frozenset({"fails at once", "fails later"})
"""Clients that declare forms and return an error: they are asked as one that has no forms."""


@dataclass
class Table:
    """One row of the table: a gate and a client, for every risk at once."""

    place: Sandbox
    gate: str
    era: str
    client: str

    @property
    def settings(self) -> dict[str, Any]:
        """The client and the waits: what answers at once is never a human here."""
        timings = SHORT if self.person and self.person.after else UNHURRIED
        more = {"elicitation_callback": self.person} if self.person else {}
        return {"timings": timings, **more}

    def __post_init__(self):
        found = PERSONS.get(self.client)
        self.person = found() if found else Person() if self.client == BY_URL else None
        if self.client == BY_URL and self.person:
            self.person.url_only = True
        self.before = self.place.dump()

    async def play(self):
        expected = ANSWERS.get(self.client, "") if self.gate in ("preview", "human") else ""
        if self.gate == "deny":
            await self.refused("not_allowed")
        elif self.gate == "allow":
            await self.runs("none")
        elif self.gate == "flag":
            await self.refused("confirmation_required")
            await self.runs("flag", {tool: {"confirm": True} for tool in CALLS})
        elif self.era != "legacy" and self.client in FAILING:
            await self.unanswered()
        elif self.client not in ANSWERS:
            await (self.two_steps() if self.gate == "preview" else self.approval())
        elif expected:
            await self.refused(expected, [expected] * len(CALLS))
            if expected != "answered_by_host":
                await self.still_blocked(expected)
        else:
            await self.runs("elicitation")
            assert len(self.person.asked if self.person else ()) == len(CALLS)

    async def all(self, more: dict[str, dict[str, Any]] | None = None) -> dict[str, Answer]:
        found: dict[str, Answer] = {}

        async def one(tool):
            found[tool] = await call(client, tool, **CALLS[tool], **(more or {}).get(tool, {}))

        async with (
            connect(self.place, self.era, **self.settings) as client,
            anyio.create_task_group() as calls,
        ):
            for tool in CALLS:
                calls.start_soon(one, tool)
        return found

    async def runs(self, consent: str, more: Any = None):
        found = await self.all(more)
        assert {tool: answer.text for tool, answer in found.items() if answer.failed} == {}
        for tool, (sql, after) in LOOKS.items():
            assert (tool, self.place.rows(sql)) == (tool, after)
        assert story(self.place) == dict.fromkeys(CALLS, (consent, "succeeded"))

    async def refused(self, code: str, noted: list[str] | None = None) -> dict[str, Answer]:
        found = await self.all()
        told = {tool: (answer.code, answer.executed) for tool, answer in found.items()}
        assert told == dict.fromkeys(CALLS, (code, "no"))
        self.untouched()
        assert events(self.place) == (noted or [])
        return found

    def untouched(self):
        assert self.place.dump() == self.before
        assert story(self.place) == {}

    async def two_steps(self):
        found = await self.refused("confirmation_required")
        await self.runs("two_step", {tool: confirmed(said) for tool, said in found.items()})

    async def approval(self):
        found = await self.refused("approval_required", ["approval_asked"] * len(CALLS))
        with closing(open_ledger(ledger_folder(self.place))) as ledger:
            for answer in found.values():
                number = answer.error["confirmation"]["number"]
                decided(ledger, number, approve=True, reason="", who="ada")
        await self.runs("approval")

    async def still_blocked(self, why: str):
        """Not by asking again, and not by a client that cannot ask."""
        for person in (self.person, None):
            self.person = person
            await self.refused(why, [why] * len(CALLS))

    async def unanswered(self):
        """In the newer era such a client never comes back."""
        async with connect(self.place, self.era, **self.settings) as client:
            for tool in (REFUND, TAG):
                with pytest.raises(MCPError):
                    await call(client, tool, **CALLS[tool])
        self.untouched()
        assert events(self.place) == []


@pytest.fixture
def url_only(monkeypatch):
    """A client that declares elicitation by URL alone; the SDK's declares both."""
    usual = ClientSession._build_capabilities

    def declared(self, version):
        found = usual(self, version)
        if getattr(self._elicitation_callback, "url_only", False):
            only = types.ElicitationCapability(url=types.UrlElicitationCapability())
            return found.model_copy(update={"elicitation": only})
        return found

    monkeypatch.setattr(ClientSession, "_build_capabilities", declared)


@pytest.mark.parametrize(
    ("protocol_version", "gate", "way"),
    [*((era, gate, "cli") for era in ERAS for gate in Gate), (ERAS[-1], Gate.PREVIEW, "api")],
)
async def test_the_table(tmp_path: Path, protocol_version, gate, way, url_only):
    asks = gate in (Gate.PREVIEW, Gate.HUMAN)
    clients = [NOBODY, BY_URL, *PERSONS] if asks else [NOBODY, "accepts"]
    limiter = anyio.CapacityLimiter(4)

    async def row(client, place):
        async with limiter:
            try:
                await Table(place, gate, protocol_version, client).play()
            except AssertionError as slip:
                wrong[client] = str(slip)

    wrong: dict[str, str] = {}
    with (
        ExitStack() as stack
    ):  # before the first question: a delay here would look like a human's time
        accounts = [
            sandbox(tmp_path / client, **gates(tmp_path, gate), TIMEOUT="12") for client in clients
        ]
        places = [stack.enter_context(sandbox_by(way, account)) for account in accounts]
        async with anyio.create_task_group() as group:
            for client, place in zip(clients, places, strict=True):
                group.start_soon(row, client, place)
    assert wrong == {}


@pytest.mark.parametrize("gate", [Gate.PREVIEW, Gate.HUMAN])
@both_eras
async def test_the_humans_time_is_none_of_the_calls(tmp_path: Path, protocol_version, gate):
    place = sandbox(tmp_path / "state", GATE_IRREVERSIBLE=gate, TIMEOUT="3")
    human = Person(after=3.2)
    async with connect(place, protocol_version, elicitation_callback=human) as client:
        answer = await call(client, REFUND, **CALLS[REFUND])
    assert not answer.failed, answer.text
    sql, after = LOOKS[REFUND]
    assert place.rows(sql) == after
    assert story(place) == {REFUND: ("elicitation", "succeeded")}
    assert len(human.asked) == 1


def gates(folder: Path, gate: str) -> dict[str, str]:
    """The gate for every risk; for a write by the policy file, which gates single tools."""
    file = folder / "policy.toml"
    file.write_text(f'[tools."{TAG}"]\ngate = "{gate}"\n')
    return {"GATE_DESTRUCTIVE": gate, "GATE_IRREVERSIBLE": gate, "POLICY": str(file)}
