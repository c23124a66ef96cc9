"""Client for Membrane's REST API: one request per operation, on kept connections.

The connection is always named: without one Membrane picks a default account. No write is sent
twice, and no redirect is followed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeGuard, TypeVar

import anyio
import anyio.to_thread

from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.json_types import is_object
from kartra_mcp.core.models import Action, ActionResult, Connection, RawRequest
from kartra_mcp.core.sanitize import dump_json
from kartra_mcp.membrane.client import Program, ToDo
from kartra_mcp.membrane.connections import connector_id, read_connection, read_started
from kartra_mcp.membrane.credentials import Credentials, Minted, minted
from kartra_mcp.membrane.errors import UNAUTHORIZED
from kartra_mcp.membrane.http_messages import (
    MARK,
    NOT_FOUND,
    Question,
    broken,
    described,
    not_sent,
    part,
    read_answer,
    timed_out,
    without,
)
from kartra_mcp.membrane.http_transport import HTTP, Broken, Request, TooLarge, Unfit
from kartra_mcp.membrane.limiter import Turns, Unfinished
from kartra_mcp.membrane.pagination import (
    MOST_PAGES,
    ActionList,
    Ask,
    all_actions,
    identity_of,
    pages,
)
from kartra_mcp.membrane.responses import (
    HTTPReply,
    RunLog,
    cursor,
    items,
    read_run_log,
    request_reply,
    run_reply,
    unreadable,
)

LARGE = 256 * 1024
"""Bytes of an answer beyond which it is read in a thread, so that the server goes on meanwhile."""

CLOCKS = timedelta(minutes=15)
"""How far our clock and Membrane's may be apart."""

T = TypeVar("T")

LOGS = "100"
HIDDEN = b"(a secret)"


@dataclass(slots=True)
class API:
    """Membrane through its API; one request per operation.

    Args:
        credentials: token or workspace, and address.
        turns: concurrency and rate limits.
        clock: seconds since the epoch, for the expiry of tokens.
    """

    credentials: Credentials
    turns: Turns
    clock: Callable[[], float] = time.time
    _unfinished: Unfinished = field(default_factory=Unfinished)
    _minted: Minted | None = None
    _http: HTTP = field(init=False)

    def __post_init__(self) -> None:
        self._http = HTTP(self.credentials.address, is_here=self.credentials.is_here)

    async def program(self, deadline: Deadline) -> Program:
        """Return a known program: the user configured the address, and TLS authenticates it."""
        del deadline
        return Program(known=True)

    async def logged_in(self, deadline: Deadline) -> bool | None:
        """Return whether these credentials get a list; None if that cannot be decided."""
        try:
            await self._value(Question("GET", "/connections", {"limit": "1"}), ToDo(deadline))
        except KartraMCPError as problem:
            return False if problem.code == "not_logged_in" else None
        return True

    async def connections(self, deadline: Deadline) -> tuple[Connection, ...]:
        found = await pages(self._ask("/connections", {}, deadline), {})
        listed = (read_connection(entry) for entry in found.entries)
        return tuple(connection for connection in listed if connection)

    async def connection(
        self, id_or_key: str, deadline: Deadline, wait: int = 0
    ) -> Connection | None:
        waiting = {"wait": "true", "timeout": str(wait)} if wait else {}
        question = Question("GET", f"/connections/{part(id_or_key)}", waiting)
        return read_connection(await self._value(question, ToDo(deadline)))

    async def connect(
        self, deadline: Deadline, *, connection: str = "", connector: str = ""
    ) -> Connection:
        """Connect through one of the two documented paths.

        The second is tried only after a 404, which means that the first route does not exist and
        nothing was executed.
        """
        first, second = _reconnecting(connection) if connection else _beginning(connector)
        to_do = ToDo(deadline, write=True, finish=True)
        status, raw = await self._answer(first, to_do)
        if status == NOT_FOUND:
            status, raw = await self._answer(second, to_do)
        return read_started(read_answer(status, raw), connection)

    async def connector(self, deadline: Deadline) -> str | None:
        """Return the id of Kartra's connector, from which a connection is made.

        None if not found.
        """
        question = Question("GET", "/search", {"q": "kartra", "elementType": "connector"})
        entries = items(await self._value(question, ToDo(deadline)))
        return next((found for entry in entries if (found := connector_id(entry))), None)

    async def actions(self, connection: str, deadline: Deadline) -> ActionList:
        return await all_actions(self._ask("/actions", {"connectionId": connection}, deadline))

    async def search(self, intent: str, connection: str, deadline: Deadline) -> list[str]:
        """Return the ids of the actions that match a task in plain words, best first."""
        query = {"connectionId": connection, "intent": intent}
        value = await self._value(Question("GET", "/actions", query), ToDo(deadline))
        return [identity_of(entry) for entry in items(value)]

    async def run(
        self, action: Action, arguments: Mapping[str, Any], connection: str, to_do: ToDo
    ) -> ActionResult:
        body = {"id": action.id, "connectionId": connection, "input": arguments}
        question = Question("POST", "/act", body=body, takes_mark=True)
        value = await self._value(question, to_do)
        if to_do.write and not (is_object(value) and value.keys() & {"output", "actionRunId"}):
            raise unreadable(dump_json(value)[:600])  # some other page: it tells of no run
        return run_reply(value)

    async def request(self, request: RawRequest, connection: str, to_do: ToDo) -> HTTPReply:
        path = f"/connections/{part(connection)}/request"
        question = Question("POST", path, body=described(request))
        return request_reply(await self._value(question, to_do))

    async def run_logs(
        self, connection: str, intent: str, since: float, deadline: Deadline
    ) -> tuple[RunLog, ...]:
        began = datetime.fromtimestamp(since, UTC) - CLOCKS
        query = {"from": began.isoformat(timespec="seconds").replace("+00:00", "Z"), "limit": LOGS}
        found: list[RunLog] = []
        for _ in range(MOST_PAGES):
            value = await self._value(Question("GET", "/action-run-logs", query), ToDo(deadline))
            found += [read_run_log(log) for log in items(value) if _is_of(log, connection, intent)]
            at = cursor(value)
            if at is None:
                break
            query = {**query, "cursor": at}
        return tuple(found)

    def end_all(self) -> None:
        self._unfinished.end_all()

    async def close(self) -> None:
        await self._http.close()

    def _ask(self, path: str, query: Mapping[str, str], deadline: Deadline) -> Ask:
        """Return a function that fetches one page of a list."""

        async def ask(parameters: Mapping[str, str]) -> Any:
            return await self._value(Question("GET", path, {**query, **parameters}), ToDo(deadline))

        return ask

    async def _value(self, question: Question, to_do: ToDo) -> Any:
        status, raw = await self._answer(question, to_do)
        return await _aside(partial(read_answer, status, raw), len(raw))

    async def _answer(self, question: Question, to_do: ToDo) -> tuple[int, bytes]:
        """Return status and body, with the token redacted."""
        status, raw, token = await self._sent(question, to_do)
        return status, await _aside(partial(without, raw, token, HIDDEN), len(raw))

    async def _sent(self, question: Question, to_do: ToDo) -> tuple[int, bytes, str]:
        """Return the status, the body as received, and the token that was sent."""
        content = question.content()
        async with self.turns.take(to_do.deadline, write=to_do.write, paced=to_do.paced):
            if to_do.record:
                content = question.content((await to_do.record.begin()).intent)
            token = self._token()
            sending = _Sending(to_do)
            with (
                self._unfinished.kept(to_do.finish),
                anyio.CancelScope(deadline=to_do.deadline.at),
            ):
                status, raw = await self._exchanged(question, content, token, sending)
                if status == UNAUTHORIZED:
                    self._minted = None
                return status, raw, token
        raise timed_out(write=to_do.write and sending.has_begun)

    async def _exchanged(
        self, question: Question, content: bytes | None, token: str, sending: _Sending
    ) -> tuple[int, bytes]:
        alone = sending.to_do.write or sending.to_do.alone
        request = Request(
            question.method, question.path, question.query, content, token, alone, sending.begin
        )
        try:
            return await self._http.exchange(request)
        except TooLarge:
            raise unreadable("(more than 32 MB came; the rest was not read)") from None
        except (Unfit, Broken) as problem:
            why = str(problem).replace(token, HIDDEN.decode())
            if sending.has_begun:
                raise broken(why) from None
            raise not_sent(self.credentials.host, why) from None

    def _token(self) -> str:
        now = self.clock()
        if self._minted is None or not self._minted.good(now):
            self._minted = minted(self.credentials, now)
        return self._minted.token.reveal()


async def _aside(work: Callable[[], T], size: int) -> T:
    """Process a response; a large one in a thread, so that the server stays responsive."""
    return work() if size <= LARGE else await anyio.to_thread.run_sync(work)


@dataclass(slots=True)
class _Sending:
    """Whether the first byte of a request was sent; set immediately before it is."""

    to_do: ToDo
    has_begun: bool = False

    def begin(self) -> None:
        self.has_begun = True
        if self.to_do.record:
            self.to_do.record.started()


def _reconnecting(connection: str) -> tuple[Question, Question]:
    return (
        Question("POST", f"/connections/{part(connection)}/reconnect", body={}),
        Question("POST", "/connect", body={"connectionId": connection}),
    )


def _beginning(connector: str) -> tuple[Question, Question]:
    body = {"connectorId": connector}
    return Question("POST", "/connect", body=body), Question("POST", "/connections", body=body)


def _is_of(entry: Any, connection: str, intent: str) -> TypeGuard[Mapping[str, Any]]:
    """Return whether a run log carries exactly this intent.

    One of another connection never does.
    """
    if not is_object(entry):
        return False
    meta = entry.get("meta")
    marked = is_object(meta) and meta.get(MARK) == intent
    return marked and entry.get("connectionId") in (None, connection)
