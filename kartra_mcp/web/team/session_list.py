"""The user's own sessions of all browsers, and their end on every replica."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.web.actions import get_form, get_session
from kartra_mcp.web.team.gate import TeamGate, TeamSession
from kartra_mcp.web.team.return_paths import SESSIONS
from kartra_mcp.web.views.flash import FlashMessage
from kartra_mcp.web.views.formatting import Timestamp
from kartra_mcp.web.views.plain_pages import SessionRow

_NONE = FlashMessage("This session had already ended. Nothing was changed.", doubtful=True)


@dataclass(frozen=True, slots=True)
class SessionList:
    """Handlers of the list. A user sees and ends only sessions of the own login."""

    gate: TeamGate

    def make_routes(self) -> list[Route]:
        return [
            Route(SESSIONS, self._show, methods=["GET"]),
            Route(f"{SESSIONS}/end", self._end, methods=["POST"]),
            Route(f"{SESSIONS}/end-others", self._end_others, methods=["POST"]),
            Route(f"{SESSIONS}/{{change}}", self._redirect, methods=["GET"]),
        ]

    async def _show(self, request: Request) -> Response:
        session = _get_session(request)
        found = await run_in_thread(self.gate.list_sessions, session.principal)
        rows = [
            SessionRow(
                key=one.key,
                opened=Timestamp(one.opened_at),
                used=Timestamp(one.used_at),
                is_own=one.key == session.stored.key,
            )
            for one in found
        ]
        page = self.gate.plain.render_sessions
        html = await run_in_thread(page, session.csrf, rows, session.pop_notice())
        return HTMLResponse(html)

    async def _end(self, request: Request) -> Response:
        """End one session by its key: the hash of a cookie, which lets nobody in."""
        session, key = _get_session(request), get_form(request).get("session", "")
        ended = await run_in_thread(self.gate.end_own, session.principal, key)
        session.notice = FlashMessage("The session has ended.") if ended else _NONE
        return await self._redirect(request)

    async def _end_others(self, request: Request) -> Response:
        session = _get_session(request)
        others = await run_in_thread(self.gate.end_others, session.principal, session.stored.key)
        text = f"{others} other session{'s have' if others != 1 else ' has'} ended."
        session.notice = FlashMessage(text)
        return await self._redirect(request)

    async def _redirect(self, _: Request) -> Response:
        return RedirectResponse(SESSIONS, HTTPStatus.SEE_OTHER)


def _get_session(request: Request) -> TeamSession:
    session = get_session(request)
    assert isinstance(session, TeamSession)  # noqa: S101  the middleware requires one
    return session
