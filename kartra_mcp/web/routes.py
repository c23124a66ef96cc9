"""Route table and endpoints of the page. Requests here are already authenticated."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ExceptionHandler, Receive, Scope, Send

from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.policy.roles import Right
from kartra_mcp.web.actions import (
    Actions,
    fragment_context,
    get_session,
    get_viewer,
    page_context,
    parse_number,
)
from kartra_mcp.web.backend import Backend
from kartra_mcp.web.events import PageEvents
from kartra_mcp.web.middleware import http_status, page_internal_error
from kartra_mcp.web.sessions import Session
from kartra_mcp.web.views.pages import Pages
from kartra_mcp.web.views.place import STATIC as STATIC_PATH
from kartra_mcp.web.views.plain_pages import PlainPages

STATIC = Path(__file__).with_name("static")
_TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
Endpoint = Callable[[Request], Awaitable[Response]]
_Guarded = tuple[Right, Endpoint]
"""An endpoint, and the right that it needs."""


@dataclass(frozen=True, slots=True)
class Routes:
    """Every route of one ledger's page; `more` are those that only one kind of page has."""

    views: Pages
    plain: PlainPages
    live: PageEvents
    backend: Backend
    actions: Actions
    more: Sequence[Route] = ()

    def make_app(self) -> Starlette:
        made = Starlette(
            routes=[
                *self.more,
                *self._make_routes("GET", self._page_routes()),
                *self._make_routes("POST", self._action_routes()),
            ],
            exception_handlers=error_handlers(self.plain),
        )
        made.router.redirect_slashes = False  # such a redirect would use the request's Host
        return made

    def _make_routes(self, method: str, table: Mapping[str, _Guarded]) -> Iterator[Route]:
        for path, (right, endpoint) in table.items():
            yield Route(path, require_right(right, endpoint), methods=[method])

    def _page_routes(self) -> Mapping[str, _Guarded]:
        return {
            "/": (Right.READ, self._approvals_page),
            "/cards": (Right.READ, self._cards_fragment),
            "/approvals/{number}": (Right.READ, self._card_page),
            "/approvals/{number}/withdraw": (Right.READ, self._card_page),
            "/events": (Right.READ, self._event_stream),
            "/bulk": (Right.READ, self._bulk_list_page),
            "/bulk/{bulk}": (Right.READ, self._bulk_run_page),
            "/bulk/{bulk}/items": (Right.READ, self._bulk_items_page),
            "/bulk/{bulk}/cancel": (Right.READ, self._bulk_redirect),
            "/live/bulk": (Right.READ, self._bulk_fragment),
            "/live/bulk/{bulk}": (Right.READ, self._bulk_fragment),
            "/done": (Right.LEDGER, self._history_page),
            "/done/{intent}": (Right.LEDGER, self._write_page),
            "/export.csv": (Right.LEDGER, self._export_csv),
            "/export.json": (Right.LEDGER, self._export_json),
            "/charts": (Right.LEDGER, self._charts_page),
            "/charts/{name}.svg": (Right.LEDGER, self._chart_picture),
            "/status": (Right.LEDGER, self._status_page),
        }

    def _action_routes(self) -> Mapping[str, _Guarded]:
        return {
            "/approvals/{number}": (Right.APPROVE, self.actions.decide),
            "/approvals/{number}/withdraw": (Right.READ, self.actions.withdraw),
            "/bulk/{bulk}/cancel": (Right.STOP, self.actions.cancel_bulk_run),
            "/done/{intent}/reconcile": (Right.WRITE, self.actions.reconcile),
            "/chain": (Right.LEDGER, self.actions.verify),
        }

    async def _approvals_page(self, request: Request) -> Response:
        refusal = get_session(request).pop_refusal(f"{self.actions.root}/")
        number = refusal.number if refusal else None
        return HTMLResponse(
            await run_in_thread(self.views.render_approvals, page_context(request, refusal), number)
        )

    async def _card_page(self, request: Request) -> Response:
        """Redirect to the card, for a reload of the address to which a decision was posted."""
        return self.actions.card_path(parse_number(request))

    async def _cards_fragment(self, request: Request) -> Response:
        shown = fragment_context(request)
        return HTMLResponse(await run_in_thread(self.views.render_cards, shown))

    async def _event_stream(self, request: Request) -> Response:
        return _EventResponse(self.live, get_session(request))

    async def _bulk_list_page(self, request: Request) -> Response:
        return HTMLResponse(await run_in_thread(self.views.render_bulk_list, page_context(request)))

    async def _bulk_run_page(self, request: Request) -> Response:
        shown, bulk = page_context(request), request.path_params["bulk"]
        return _page_or_404(await run_in_thread(self.views.render_bulk_run, bulk, shown))

    async def _bulk_items_page(self, request: Request) -> Response:
        shown, bulk = page_context(request), request.path_params["bulk"]
        query = dict(request.query_params)
        return _page_or_404(await run_in_thread(self.views.render_bulk_items, bulk, query, shown))

    async def _bulk_redirect(self, request: Request) -> Response:
        """Redirect to the run, for a reload of the address to which the form was posted."""
        return self.actions.bulk_path(request.path_params["bulk"])

    async def _bulk_fragment(self, request: Request) -> Response:
        shown = fragment_context(request)
        bulk = request.path_params.get("bulk")
        return _page_or_404(await run_in_thread(self.views.render_bulk_live, bulk, shown))

    async def _history_page(self, request: Request) -> Response:
        query = dict(request.query_params)
        return HTMLResponse(
            await run_in_thread(self.views.render_history, query, page_context(request))
        )

    async def _write_page(self, request: Request) -> Response:
        intent = request.path_params["intent"]
        refusal = get_session(request).pop_refusal(f"{self.actions.root}/done/{intent}")
        return _page_or_404(
            await run_in_thread(self.views.render_write, intent, page_context(request, refusal))
        )

    async def _export_csv(self, request: Request) -> Response:
        return await self._export(request, "csv", "text/csv; charset=utf-8")

    async def _export_json(self, request: Request) -> Response:
        return await self._export(request, "json", "application/json")

    async def _export(self, request: Request, form: Literal["csv", "json"], kind: str) -> Response:
        text = await run_in_thread(self.views.render_export, dict(request.query_params), form)
        named = {"content-disposition": f'attachment; filename="kartra-ledger.{form}"'}
        return Response(text, media_type=kind, headers=named)

    async def _charts_page(self, request: Request) -> Response:
        return HTMLResponse(await run_in_thread(self.views.render_charts, page_context(request)))

    async def _chart_picture(self, request: Request) -> Response:
        picture = await run_in_thread(self.views.render_chart, request.path_params["name"])
        if picture is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return Response(picture, media_type=_TYPES[".svg"])

    async def _status_page(self, request: Request) -> Response:
        status = await self.backend.get_status()
        session, own = get_session(request), self.actions.status_page
        chain, refusal = session.pop_verified(own), session.pop_refusal(own)
        shown = page_context(request, refusal)
        page = await run_in_thread(self.views.render_status, status, shown, chain)
        return HTMLResponse(page)


def error_handlers(plain: PlainPages) -> dict[Any, ExceptionHandler]:
    """Return the handlers of Starlette that show each error as a page."""

    async def show_http_error(_: Request, problem: Exception) -> Response:
        assert isinstance(problem, HTTPException)  # noqa: S101  the handler is registered for it
        page = await run_in_thread(plain.render_error, problem.status_code, None)
        return HTMLResponse(page, problem.status_code, problem.headers)

    async def show_refusal(_: Request, problem: Exception) -> Response:
        assert isinstance(problem, KartraMCPError)  # noqa: S101  the handler is registered for it
        status = http_status(problem)
        return HTMLResponse(await run_in_thread(plain.render_error, status, problem), status)

    async def show_internal_error(_: Request, __: Exception) -> Response:
        status, problem = HTTPStatus.INTERNAL_SERVER_ERROR, page_internal_error()
        return HTMLResponse(await run_in_thread(plain.render_error, status, problem), status)

    return {
        HTTPException: show_http_error,
        KartraMCPError: show_refusal,
        Exception: show_internal_error,
    }


def require_right(right: Right, endpoint: Endpoint) -> Endpoint:
    """Return an endpoint that refuses users without the right."""

    async def answer(request: Request) -> Response:
        if not get_viewer(request).may(right):
            raise forbidden_error()
        return await endpoint(request)

    return answer


def forbidden_error() -> RefusedError:
    return RefusedError(
        "forbidden_role",
        "Your role in this account does not permit this. Nothing was done.",
        "Ask an admin of your team for the role.",
    )


def make_static_route(root: str = "") -> Route:
    """Return the route of style, script and icon; they are the same for every session."""
    files = {
        file.name: Response(file.read_bytes(), media_type=_TYPES[file.suffix])
        for file in sorted(STATIC.iterdir())
        if file.suffix in _TYPES
    }

    async def send_file(request: Request) -> Response:
        found = files.get(request.path_params["name"])
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return found

    return Route(f"{root}{STATIC_PATH}/{{name}}", send_file, methods=["GET"])


class _EventResponse(Response):
    """Response that streams changes of the ledger as server-sent events."""

    def __init__(self, live: PageEvents, session: Session) -> None:
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


def _page_or_404(page: str | None) -> Response:
    if page is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return HTMLResponse(page)
