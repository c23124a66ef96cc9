"""Admission of the user of this machine: a one-time token in an address opens a session."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Scope

from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.web import request_checks
from kartra_mcp.web.request_checks import RequestHead
from kartra_mcp.web.sessions import Session, Sessions
from kartra_mcp.web.site import Site
from kartra_mcp.web.views.plain_pages import PlainPages

LOGIN_PATH = "/open/{token}"


@dataclass(frozen=True, slots=True)
class LocalGate:
    """Sessions in memory.

    `on_used` is called for each request with a session; it postpones the idle shutdown.
    """

    site: Site
    sessions: Sessions
    plain: PlainPages
    on_used: Callable[[], None]

    async def find(self, head: RequestHead, scope: Scope) -> Session | None:
        cookies = request_checks.cookie_values(head, self.site.cookie)
        session = self.sessions.find(cookies, time.time())
        if session is not None and not self.site.is_open(scope["path"]):
            self.on_used()
        return session

    async def save(self, session: Session) -> None:
        """Do nothing: a session lives in memory."""

    async def refuse(self, head: RequestHead, scope: Scope) -> Response:
        del head, scope  # the answer is the same for every request
        return await self._login_help()

    async def login(self, request: Request) -> Response:
        """Exchange a token for a session, once. A browser with a session keeps it.

        A new session would invalidate the forms in the browser's other tabs.
        """
        if request.method == "HEAD":  # link previews must not use up the token
            raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED)
        token, now = request.path_params["token"], time.time()
        has_session = request.scope["session"] is not None
        if has_session:
            self.sessions.consume_token(token, now)
        cookie = None if has_session else self.sessions.login(token, now)
        if cookie is None and not has_session:
            return await self._login_help()
        answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
        if cookie is not None:
            answer.headers["set-cookie"] = request_checks.set_cookie(self.site.cookie, cookie)
        return answer

    async def _login_help(self) -> Response:
        page = await run_in_thread(self.plain.render_login_help)
        return HTMLResponse(page, HTTPStatus.UNAUTHORIZED)
