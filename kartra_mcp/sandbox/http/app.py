"""Membrane's REST API as an ASGI application in front of the engine that the program uses.

Each request is journaled, then handled in one transaction, one at a time on one open account:
SQLite allows one writer, and a request takes less time than a thread costs. Only waiting (for a
body, for a delay fault) lets other requests pass.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from kartra_mcp.sandbox.http import auth
from kartra_mcp.sandbox.http.connection_faults import Ended
from kartra_mcp.sandbox.http.proxy import Reply
from kartra_mcp.sandbox.http.request import LARGEST, Call
from kartra_mcp.sandbox.http.routes import ROUTES, Work
from kartra_mcp.sandbox.kartra import fault_injection
from kartra_mcp.sandbox.membrane import engine
from kartra_mcp.sandbox.membrane.errors import MembraneError, ProgramEnd
from kartra_mcp.sandbox.store.database import Account

STATUS = {
    "not_authenticated": 401,
    "access_denied": 403,
    "not_found": 404,
    "request_too_large": 413,
    "rate_limit_exceeded": 429,
}
_JSON = {"content-type": "application/json; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Done:
    """Response to send, the fault applied to it as `(type, message)`, and the time it took."""

    reply: Reply
    fault: tuple[str, str]
    seconds: float


def make_application(account: Account) -> Starlette:
    """Return the API on an open account."""
    routes: list[Route] = []
    for name, work in ROUTES.items():
        method, _, address = name.partition(" ")
        routes.append(Route(address, _make_endpoint(account, name, work), methods=[method]))
    lost = _make_endpoint(account, "", _raise_not_found)

    async def unknown(request: Request, _error: Exception) -> Response:
        return await lost(request)

    app = Starlette(routes=routes, exception_handlers={HTTPException: unknown})
    app.router.redirect_slashes = False
    return app


def _make_endpoint(
    account: Account, name: str, work: Work
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            body = await _read_body(request)
        except ClientDisconnect:
            return Response()
        call = _call(account, request, body or b"")
        return await _make_response(
            _perform(call, name, _raise_too_large if body is None else work), request
        )

    return answer


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


def _perform(call: Call, name: str, work: Work) -> Done:
    started = time.perf_counter()
    call.account.after = None
    try:
        reply, ended = _run_in_transaction(call, name, work)
    except sqlite3.Error as error:
        reply, ended = _internal_error_reply(error), ""
    fault = (ended, "") if ended else call.account.after or ("", "")
    return Done(reply, fault, time.perf_counter() - started)


def _run_in_transaction(call: Call, name: str, work: Work) -> tuple[Reply, str]:
    """Run in one transaction. An error is a response, so its log entry is kept."""
    account = call.account
    address = f"{call.path}?{call.question}" if call.question else call.path
    account.note([call.method, address, call.read_text()])
    with account.transaction():
        try:
            auth.authenticate(account, call.headers)
            found = engine.apply_fault(
                account, fault_injection.take_address_fault(account, name), lambda: work(call)
            )
        except MembraneError as error:
            return _error_reply(error), ""
        except ProgramEnd as end:
            return Reply(200, {}, b""), end.kind
    return _make_reply(found), ""


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


async def _make_response(done: Done, request: Request) -> Response:
    kind, message = done.fault
    if kind == fault_injection.SLOW:
        await anyio.sleep(fault_injection.parse_delay(message))
    elif kind:
        return Ended(kind, request)
    took = {"server-timing": f"sandbox;dur={done.seconds * 1000:.3f}"}
    return Response(done.reply.body, done.reply.status, {**done.reply.headers, **took})
