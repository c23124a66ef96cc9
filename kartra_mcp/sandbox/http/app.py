"""Membrane's REST API as an ASGI application in front of the engine that the program uses.

Each request is journaled, then handled in one transaction, one at a time on one open account:
SQLite allows one writer, and a request takes less time than a thread costs. Only waiting (for a
body, for a delay fault) lets other requests pass. A fault can make a request arrive late, before
its token is judged, or be executed late, after it was accepted.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from email.utils import formatdate

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from kartra_mcp.sandbox.http import auth, summary
from kartra_mcp.sandbox.http.connection_faults import Ended
from kartra_mcp.sandbox.http.proxy import Reply
from kartra_mcp.sandbox.http.request import LARGEST, Call
from kartra_mcp.sandbox.http.routes import ROUTES, Work
from kartra_mcp.sandbox.kartra import fault_injection
from kartra_mcp.sandbox.membrane import engine
from kartra_mcp.sandbox.membrane.errors import Deferred, MembraneError, ProgramEnd
from kartra_mcp.sandbox.store import judging, request_journal
from kartra_mcp.sandbox.store.database import Account

STATUS = {
    "not_authenticated": 401,
    "access_denied": 403,
    "not_found": 404,
    "request_too_large": 413,
    "rate_limit_exceeded": 429,
}
SUCCESSES = range(200, 300)
_JSON = {"content-type": "application/json; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Done:
    """Response to send, the fault applied to it as `(type, message)`, and the time it took.

    `number` is that of the request in the journal. `later` are the seconds until an accepted
    request is executed, if that comes later.
    """

    reply: Reply
    fault: tuple[str, str]
    seconds: float
    number: int
    later: float | None = None


def make_application(account: Account) -> Starlette:
    """Return the API on an open account."""
    account.can_wait = True
    later: set[asyncio.Task[Done]] = set()
    routes: list[Route] = []
    for name, work in ROUTES.items():
        method, _, address = name.partition(" ")
        routes.append(Route(address, _make_endpoint(account, name, work, later), methods=[method]))
    lost = _make_endpoint(account, "", _raise_not_found, later)

    async def unknown(request: Request, _error: Exception) -> Response:
        return await lost(request)

    app = Starlette(routes=routes, exception_handlers={HTTPException: unknown})
    app.router.redirect_slashes = False
    return app


def _make_endpoint(
    account: Account, name: str, work: Work, later: set[asyncio.Task[Done]]
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            body = await _read_body(request)
        except ClientDisconnect:
            return Response()
        call = _call(account, request, body or b"")
        done_by = _raise_too_large if body is None else work
        await _wait_in_network(call, name)
        done = _perform(call, name, done_by)
        if done.later is None:
            return await _make_response(done, request, account)
        executing = _execute_later(call, name, done_by, done)
        if not done.fault[0] and done.reply.status in SUCCESSES:
            return await _make_response(await executing, request, account)
        # The response does not wait for the effect, and the effect not for the client.
        task = asyncio.create_task(executing)
        later.add(task)
        task.add_done_callback(later.discard)
        return await _make_response(done, request, account)

    return answer


async def _wait_in_network(call: Call, name: str) -> None:
    """Wait as long as an injected fault holds the request back: it is not received until then."""
    if not fault_injection.has_delays(call.account):
        return
    with call.account.transaction():
        wait = fault_injection.take_delay(call.account, [name, *summary.list_commands(call), "*"])
    if wait:
        await anyio.sleep(wait)


async def _execute_later(call: Call, name: str, work: Work, accepted: Done) -> Done:
    """Execute an accepted request after its time. Its token is not judged again."""
    await anyio.sleep(accepted.later or 0)
    return _perform(call, name, work, accepted)


async def _read_body(request: Request) -> bytes | None:
    """Read the whole body; None if it is too large, once all of it has arrived."""
    found, length = bytearray(), 0
    async for chunk in request.stream():
        length += len(chunk)
        if length <= LARGEST:
            found += chunk
    return bytes(found) if length <= LARGEST else None


def _call(account: Account, request: Request, body: bytes) -> Call:
    raw: bytes = request.scope["raw_path"]
    question: bytes = request.scope["query_string"]
    return Call(
        account=account,
        method=request.method,
        path=raw.decode("latin-1"),
        parts=request.path_params,
        query=request.query_params,
        question=question.decode("latin-1"),
        headers=request.headers,
        body=body,
    )


def _perform(call: Call, name: str, work: Work, accepted: Done | None = None) -> Done:
    """Receive a request and execute it; with `accepted`, execute one that was received before."""
    account, started = call.account, time.perf_counter()
    account.after, account.is_late, account.effects = None, accepted is not None, []
    try:
        done = _run_in_transaction(call, name, work, accepted)
    except sqlite3.Error as error:
        done = Done(_internal_error_reply(error), ("", ""), 0, 0)
    finally:
        account.is_late = False
    fault = done.fault if done.fault[0] else account.after or ("", "")
    return replace(done, fault=fault, seconds=time.perf_counter() - started)


def _run_in_transaction(call: Call, name: str, work: Work, accepted: Done | None) -> Done:
    """Run in one transaction. An error is a response, so its log entry is kept."""
    account = call.account
    address = f"{call.path}?{call.question}" if call.question else call.path
    if accepted is None:
        account.note([call.method, address, call.read_text()])
    with account.transaction():
        number = accepted.number if accepted else _receive(call)
        reply, kind, later = Reply(200, {}, b""), "", None
        try:
            if accepted is None:
                _authenticate(call, number)
            reply = _make_reply(
                engine.apply_fault(
                    account, fault_injection.take_address_fault(account, name), lambda: work(call)
                )
            )
        except MembraneError as error:
            reply = _error_reply(error)
        except ProgramEnd as end:
            kind = end.kind
        except Deferred as deferred:
            kind, later = deferred.kind, deferred.seconds
            reply = _error_reply(deferred.reply) if deferred.reply else reply
        request_journal.apply(account, number, account.effects)
        return Done(reply, (kind, ""), 0, number, later)


def _receive(call: Call) -> int:
    action, meta = summary.summarize(call)
    return request_journal.receive(call.account, call.method, call.path, action, meta)


def _authenticate(call: Call, number: int) -> None:
    """Authenticate a request and journal the decision."""
    reason = ""
    try:
        auth.authenticate(call.account, call.headers)
    except MembraneError as error:
        reason = error.message
        raise
    finally:
        token = auth.identify_token(call.headers)
        request_journal.decide(call.account, number, token, reason)


def _make_reply(found: object) -> Reply:
    if isinstance(found, Reply):
        return found
    if found is None:
        return Reply(204, {}, b"")
    return Reply(200, _JSON, json.dumps(found).encode())


def _error_reply(error: MembraneError) -> Reply:
    """Return the HTTP status of an error: by the key of a bad request, else 400 or 500."""
    status = STATUS.get(error.key, 400) if error.kind == "bad_request" else 400
    status = 500 if error.kind == "internal" else status
    return Reply(status, _JSON, json.dumps(error.envelope()).encode())


def _internal_error_reply(error: sqlite3.Error) -> Reply:
    number = os.urandom(8).hex()
    print(f"membrane (sandbox): {number}: {error}", file=sys.stderr)
    told = MembraneError("Internal error", kind="internal", key="", data={"errorId": number})
    return _error_reply(told)


def _raise_not_found(call: Call) -> object:
    raise MembraneError(f"Cannot {call.method} {call.path}")


def _raise_too_large(_call: Call) -> object:
    raise MembraneError(f"A request has at most {LARGEST} bytes", key="request_too_large")


async def _make_response(done: Done, request: Request, account: Account) -> Response:
    kind, message = done.fault
    dated = {"date": formatdate(judging.now(account), usegmt=True)}
    if kind == fault_injection.SLOW:
        await anyio.sleep(fault_injection.parse_delay(message))
    elif kind:
        return Ended(kind, request, dated)
    took = {"server-timing": f"sandbox;dur={done.seconds * 1000:.3f}"}
    with account.transaction():
        request_journal.answer(account, done.number, done.reply.status)
    return Response(done.reply.body, done.reply.status, {**done.reply.headers, **took, **dated})
