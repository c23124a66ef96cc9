"""People at whole replicas: real MCP clients of both eras over HTTP, and an approver's browser.

Each call has an OAuth client of its own, whose name the ledger records with the intent: so the
answer of each call and its intent belong together, however the answer was lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx2
from harness import call
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from kartra_mcp.sandbox.identity.people import OAuthClient
from kartra_mcp.sandbox.team.browser import Browser, BrowserError
from matrix.driver import Told
from matrix.story import REFUND, confirm
from matrix.whole.world import WholeWorld

ERAS = ("2026-07-28", "legacy")
CALL_SECONDS = 25.0
"""Seconds that a client waits for an answer. A lost one shows only by that."""

TRIES = 4
RUN = "kartra_bulk_run"
ASSIGN, UNASSIGN, GIVE = "kartra_assign_tag", "kartra_unassign_tag", "kartra_give_points_to_lead"
NO_ANSWER = (OSError, TimeoutError, MCPError, httpx2.HTTPError, anyio.BrokenResourceError)


@dataclass(frozen=True)
class Person:
    """A test person at the proxy, or at one replica, on one account."""

    world: WholeWorld
    login: str
    account: str
    era: str = ERAS[0]
    address: str = ""

    def call(self, tool: str, /, **arguments: Any) -> Told:
        """Call a tool by a client of its own; the answer is None where none came."""
        name = f"call-{next(self.world.numbers)}"
        self.world.provider.clients[name] = OAuthClient(name)
        told = Told(self.address, name, tool, arguments, time.time())
        try:
            answer = anyio.run(self._call, name, tool, arguments)
        except* NO_ANSWER:
            answer = None
        told.answer, told.ended = answer, time.time()
        self.world.told[self.account].append(told)
        return told

    async def _call(
        self, name: str, tool: str, arguments: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        audience = self.world.endpoint(self.account)
        token = self.world.provider.access_token(self.login, audience, client_id=name)
        headers = {"Authorization": f"Bearer {token}"}
        endpoint = self.world.endpoint(self.account, self.address)
        with anyio.fail_after(CALL_SECONDS):
            async with (
                httpx2.AsyncClient(headers=headers, timeout=CALL_SECONDS) as http,
                Client(streamable_http_client(endpoint, http_client=http), mode=self.era) as client,
            ):
                found = await call(client, tool, **arguments)
        if found.failed:
            return {"ok": False, "error": found.error}
        return {"ok": True, "structured": found.structured or {}}


def agree(person: Person, told: Told) -> Told:
    """Repeat a call as its preview wants it: confirmed, or after another person's approval."""
    if told.code == "confirmation_required":
        return person.call(told.tool, **confirm(told))
    if told.code == "approval_required":
        approve(person.world, person.account, told.error["confirmation"])
        return person.call(told.tool, **told.arguments)
    return told


def approve(world: WholeWorld, account: str, shown: Mapping[str, Any], login: str = "hana") -> bool:
    """Approve a request on the page; a replica that goes away meanwhile is no approval."""
    with suppress(BrowserError, httpx2.HTTPError), Browser(world.balancer.address) as browser:
        browser.log_in(login)
        browser.approve(account, shown["number"], shown["facts"]["this_refund"])
        return True
    return False


def refund(person: Person, sale: str, amount: str) -> Told:
    """Ask for a refund, have it approved, and ask again."""
    return agree(person, person.call(REFUND, transaction_id=sale, refund_amount=amount))


def give(person: Person, lead: str, points: int) -> Told:
    """Give points to a lead: an additive write, which is a raw request."""
    return agree(person, person.call(GIVE, lead_id=lead, points=points))


def tag(person: Person, lead: str) -> Told:
    """Assign a tag, and take it away: the second one is destructive, and has a preview."""
    agree(person, person.call(ASSIGN, lead_id=lead, tag_name="VIP"))
    return agree(person, person.call(UNASSIGN, lead_id=lead, tag_name="VIP"))


@dataclass
class BulkStory:
    """A bulk run that one person plans, agrees to, and continues wherever it is."""

    person: Person
    leads: Sequence[str]
    bulk_id: str = ""
    shown: Mapping[str, Any] = field(default_factory=dict[str, Any])
    is_agreed: bool = False
    is_lost: bool = False

    def begin(self) -> None:
        """Plan it, and agree to it."""
        if self.plan().code == "confirmation_required":
            self.agree()

    def plan(self) -> Told:
        items = [{"lead_id": lead, "tag_name": "VIP"} for lead in self.leads]
        told = self.person.call(RUN, tool=ASSIGN, items=items)
        self.shown = told.error.get("confirmation", {})
        self.bulk_id = str(self.shown.get("bulk_id", ""))
        return told

    def agree(self) -> None:
        shown = self.shown
        consent = {"confirmation_id": shown["id"], "confirmation_summary": shown["summary"]}
        done = self.person.call(RUN, bulk_id=self.bulk_id, confirm=True, **consent)
        self.is_agreed, self.is_lost = done.executed != "no", done.answer is None

    @contextmanager
    def agreeing(self) -> Generator[None]:
        """Agree to it in another thread; it has its answer, or has lost it, after the block."""
        thread = threading.Thread(target=self.agree)
        thread.start()
        try:
            yield
        finally:
            thread.join()

    def finish(self) -> Told | None:
        """Continue the run to its end; None for one that was never agreed to."""
        if not self.is_agreed:
            return None
        told = self.person.call(RUN, bulk_id=self.bulk_id)
        if self.is_lost and told.code == "confirmation_required":
            # No answer came because the call did not arrive: the person is asked, and agrees.
            self.shown = told.error["confirmation"]
            self.agree()
        for _ in range(TRIES):
            if told.code == "done" and told.result["state"] == "done":
                break
            told = self.person.call(RUN, bulk_id=self.bulk_id)
        return told
