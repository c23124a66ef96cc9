"""The pages by their addresses; whoever comes here was let in."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Literal

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.web import request_checks
from kartra_mcp.web.actions import Changes, number_in, session_of, shown_to, to_card
from kartra_mcp.web.backend import Beyond
from kartra_mcp.web.events import Live
from kartra_mcp.web.middleware import slipped, status_of
from kartra_mcp.web.sessions import Session, Sessions
from kartra_mcp.web.views.pages import Shown, Views

STATIC = Path(__file__).with_name("static")
_TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Door:
    """Every page of one state folder, and what is sent to it."""

    port: int
    views: Views
    sessions: Sessions
    live: Live
    beyond: Beyond
    changes: Changes
    static: Mapping[str, Response]

    def app(self) -> Starlette:
        made = Starlette(
            routes=[
                *(Route(path, page, methods=["GET"]) for path, page in self._pages().items()),
                *(
                    Route(path, change, methods=["POST"])
                    for path, change in self._changes().items()
                ),
            ],
            exception_handlers={
                HTTPException: self._missing,
                KartraMCPError: self._refused,
                Exception: self._slipped,
            },
        )
        made.router.redirect_slashes = False  # it would lead to whatever the Host said
        return made

    def _pages(self) -> Mapping[str, Endpoint]:
        return {
            "/": self._waiting,
            "/open/{token}": self._open,
            "/cards": self._cards,
            "/approvals/{number}": self._card,
            "/approvals/{number}/withdraw": self._card,
            "/events": self._events,
            "/done": self._done,
            "/done/{intent}": self._story,
            "/export.csv": self._csv,
            "/export.json": self._json,
            "/charts": self._charts,
            "/charts/{name}.svg": self._chart,
            "/status": self._status,
            "/static/{name}": self._static,
        }

    def _changes(self) -> Mapping[str, Endpoint]:
        return {
            "/approvals/{number}": self.changes.decide,
            "/approvals/{number}/withdraw": self.changes.withdraw,
            "/done/{intent}/reconcile": self.changes.reconcile,
            "/chain": self.changes.verify,
        }

    async def _open(self, request: Request) -> Response:
        """A token becomes a session, once; a browser that has one already keeps it.

        Else the forms of its other tabs, with what was typed there, would count no more.
        """
        if request.method == "HEAD":  # who only looks ahead does not use it up
            raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED)
        token, now = request.path_params["token"], time.time()
        inside = request.scope["session"] is not None
        if inside:
            self.sessions.use(token, now)
        cookie = None if inside else self.sessions.enter(token, now)
        if cookie is None and not inside:
            page = await run_in_thread(self.views.stranger)
            return HTMLResponse(page, HTTPStatus.UNAUTHORIZED)
        answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
        if cookie is not None:
            answer.headers["set-cookie"] = request_checks.set_cookie(
                request_checks.cookie_name(self.port), cookie
            )
        return answer

    async def _waiting(self, request: Request) -> Response:
        refusal = session_of(request).refused_on("/")
        number = refusal.number if refusal else None
        return HTMLResponse(
            await run_in_thread(self.views.waiting, shown_to(request, refusal), number)
        )

    async def _card(self, request: Request) -> Response:
        """Where a decision was sent to: whoever loads that is shown what it was about."""
        return to_card(number_in(request))

    async def _cards(self, request: Request) -> Response:
        shown = Shown(session_of(request).csrf)
        return HTMLResponse(await run_in_thread(self.views.cards, shown))

    async def _events(self, request: Request) -> Response:
        return _Stream(self.live, session_of(request))

    async def _done(self, request: Request) -> Response:
        query = dict(request.query_params)
        return HTMLResponse(await run_in_thread(self.views.done, query, shown_to(request)))

    async def _story(self, request: Request) -> Response:
        intent = request.path_params["intent"]
        refusal = session_of(request).refused_on(f"/done/{intent}")
        return _found(await run_in_thread(self.views.story, intent, shown_to(request, refusal)))

    async def _csv(self, request: Request) -> Response:
        return await self._export(request, "csv", "text/csv; charset=utf-8")

    async def _json(self, request: Request) -> Response:
        return await self._export(request, "json", "application/json")

    async def _export(self, request: Request, form: Literal["csv", "json"], kind: str) -> Response:
        text = await run_in_thread(self.views.export, dict(request.query_params), form)
        named = {"content-disposition": f'attachment; filename="kartra-ledger.{form}"'}
        return Response(text, media_type=kind, headers=named)

    async def _charts(self, request: Request) -> Response:
        return HTMLResponse(await run_in_thread(self.views.charts, shown_to(request)))

    async def _chart(self, request: Request) -> Response:
        picture = await run_in_thread(self.views.chart, request.path_params["name"])
        if picture is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return Response(picture, media_type=_TYPES[".svg"])

    async def _status(self, request: Request) -> Response:
        told = await self.beyond.status()
        chain = self.changes.verified_now()
        page = await run_in_thread(self.views.status, told, shown_to(request), chain)
        return HTMLResponse(page)

    async def _static(self, request: Request) -> Response:
        found = self.static.get(request.path_params["name"])
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return found

    async def _missing(self, _: Request, problem: Exception) -> Response:
        assert isinstance(problem, HTTPException)  # noqa: S101  what it is registered for
        page = await run_in_thread(self.views.wrong, problem.status_code, None)
        return HTMLResponse(page, problem.status_code, problem.headers)

    async def _refused(self, _: Request, problem: Exception) -> Response:
        assert isinstance(problem, KartraMCPError)  # noqa: S101  what it is registered for
        status = status_of(problem)
        return HTMLResponse(await run_in_thread(self.views.wrong, status, problem), status)

    async def _slipped(self, _: Request, __: Exception) -> Response:
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        return HTMLResponse(await run_in_thread(self.views.wrong, status, slipped()), status)


def static_files() -> dict[str, Response]:
    """What the pages look and move by; the same for everybody."""
    files = sorted(STATIC.iterdir())
    return {
        file.name: Response(file.read_bytes(), media_type=_TYPES[file.suffix])
        for file in files
        if file.suffix in _TYPES
    }


class _Stream(Response):
    """What waits, as it changes."""

    def __init__(self, live: Live, session: Session) -> None:
        super().__init__(media_type="text/event-stream")
        self._live, self._session = live, session
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body"})
            return
        await self._live.stream(self._session, receive, send)


def _found(page: str | None) -> Response:
    if page is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return HTMLResponse(page)
