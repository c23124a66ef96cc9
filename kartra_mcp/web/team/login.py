"""Login by OIDC: to the issuer and back, once for each login, in the browser that began it."""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.identity.login import Login, LoginClient
from kartra_mcp.identity.login_exchange import LoginOptions
from kartra_mcp.identity.refusals import IssuerUnavailable, LoginRefused
from kartra_mcp.web import request_checks
from kartra_mcp.web.team.addresses import login_cookie
from kartra_mcp.web.team.gate import TeamGate, TeamSession
from kartra_mcp.web.team.records import SESSION_SECONDS, BegunLogin, hash_secret
from kartra_mcp.web.team.return_paths import ROOT, choose_return_path, make_login_path

_BROWSER = re.compile(r"[A-Za-z0-9_-]{43}")
_UNKNOWN = "This login was used before, has expired, or did not begin here"
_REVOKED = "An admin has revoked your access. Ask them"
_OTHER_BROWSER = "This login began in another browser"
_FRESH = LoginOptions(max_age=0, prompt="login")
# An issuer states the time of a login only where an age is asked for.
_ANY = LoginOptions(max_age=SESSION_SECONDS)


@dataclass(frozen=True, slots=True)
class TeamLogin:
    """The endpoints of the login."""

    gate: TeamGate
    client: LoginClient

    async def begin(self, request: Request) -> Response:
        """Send the browser to the issuer."""
        _require_get(request)
        return_path = choose_return_path(request.query_params.get("return", ""))
        fresh = request.query_params.get("fresh") == "1"
        known = self._read_browser(request)
        browser = known or secrets.token_urlsafe(32)
        try:
            start = await self.client.begin(_FRESH if fresh else _ANY)
        except IssuerUnavailable:
            return await self._unavailable_page(return_path)
        begun = BegunLogin(start.attempt, hash_secret(browser), return_path)
        await run_in_thread(self.gate.store.add_login, hash_secret(start.attempt.state), begun)
        answer = RedirectResponse(start.url, HTTPStatus.SEE_OTHER)
        if not known:
            self._set_cookie(answer, login_cookie(self.gate.site), browser)
        return answer

    async def finish(self, request: Request) -> Response:
        """Receive the browser from the issuer; open a session if the user logged in.

        The login is taken from the store before anything else: a response is used once.
        """
        _require_get(request)
        state = request.query_params.get("state", "")
        begun = await run_in_thread(self.gate.store.take_login, hash_secret(state))
        if begun is None:
            return await self._refusal_page(_UNKNOWN)
        if not hmac.compare_digest(begun.browser, hash_secret(self._read_browser(request))):
            return await self._refusal_page(_OTHER_BROWSER)
        query = request.scope["query_string"].decode("latin-1")
        try:
            login = await self.client.finish(begun.attempt, query)
        except LoginRefused as problem:
            return await self._refusal_page(problem.description, begun.return_path)
        except IssuerUnavailable:
            return await self._unavailable_page(begun.return_path)
        if self.gate.is_shut_out(login.principal.key):
            return await self._refusal_page(_REVOKED, begun.return_path)
        return await self._open_session(request, login, begun.return_path)

    async def again(self, request: Request) -> Response:
        """Show a page that leads to a fresh login.

        A redirect would not do: browsers let a form lead, through all redirects, to our own site
        only (`form-action` of the content security policy).
        """
        path = choose_return_path(request.query_params.get("return", ""))
        target = make_login_path(path, fresh=True)
        return HTMLResponse(await run_in_thread(self.gate.plain.render_again, target))

    async def logout(self, request: Request) -> Response:
        """End the session on every replica. The issuer's own session stays."""
        session = request.scope["session"]
        assert isinstance(session, TeamSession)  # noqa: S101  the middleware requires one
        await run_in_thread(self.gate.end, session.stored.key)
        answer = HTMLResponse(await run_in_thread(self.gate.plain.render_logged_out))
        self._set_cookie(answer, self.gate.site.cookie, "", max_age=0)
        return answer

    async def _open_session(self, request: Request, login: Login, return_path: str) -> Response:
        session = request.scope["session"]
        before = session if isinstance(session, TeamSession) else None
        cookie = await run_in_thread(self.gate.open, login, before)
        answer = RedirectResponse(return_path, HTTPStatus.SEE_OTHER)
        self._set_cookie(answer, self.gate.site.cookie, cookie)
        return answer

    def _read_browser(self, request: Request) -> str:
        """Return the value of the cookie that binds a login to its browser; "" for no valid one."""
        found = request.cookies.get(login_cookie(self.gate.site), "")
        return found if _BROWSER.fullmatch(found) else ""

    def _set_cookie(
        self, answer: Response, name: str, value: str, *, max_age: int | None = None
    ) -> None:
        cookie = request_checks.set_cookie(name, value, secure=self.gate.site.secure)
        ends = "" if max_age is None else f"; Max-Age={max_age}"
        answer.headers["set-cookie"] = cookie + ends

    async def _refusal_page(self, why: str, return_path: str = ROOT) -> Response:
        return await self._problem_page(HTTPStatus.BAD_REQUEST, why, return_path)

    async def _unavailable_page(self, return_path: str) -> Response:
        why = "The identity provider cannot be used at this moment"
        return await self._problem_page(HTTPStatus.SERVICE_UNAVAILABLE, why, return_path)

    async def _problem_page(self, status: HTTPStatus, why: str, return_path: str) -> Response:
        again = make_login_path(return_path)
        page = await run_in_thread(self.gate.plain.render_login_problem, why, again)
        return HTMLResponse(page, status)


def _require_get(request: Request) -> None:
    if request.method == "HEAD":  # link previews begin no login and use none up
        raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED)
