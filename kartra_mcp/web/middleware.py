"""The one way in and out: a request is guarded before it is looked at, an answer as it leaves."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

import anyio
from starlette.datastructures import MutableHeaders
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kartra_mcp.core.error_codes import ERROR_CODES
from kartra_mcp.core.errors import KartraMCPError, RefusedError, UpstreamError, internal_error
from kartra_mcp.core.models import Executed
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.web import peers, request_checks
from kartra_mcp.web.request_checks import RequestHead
from kartra_mcp.web.sessions import Session, Sessions
from kartra_mcp.web.timings import PageTimings
from kartra_mcp.web.views.pages import Pages

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AuthMiddleware:
    """In front of the pages: whose request it is, from where, with which session.

    `used` is called for whoever was let in.
    """

    inside: ASGIApp
    port: int
    sessions: Sessions
    views: Pages
    used: Callable[[], None]
    body_timeout: float = PageTimings().request_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        leaving = _HeaderSender(send, kept=scope["path"].startswith("/static/"))
        try:
            answer = await self._check_request(scope, receive)
            await (answer or self.inside)(scope, receive, leaving)
        except Exception as slip:  # noqa: BLE001  nothing of it may reach the browser
            log.error("a page could not be shown: %s", type(slip).__name__)  # noqa: TRY400
            if not leaving.begun:
                await (await self._internal_error_response())(scope, receive, leaving)

    async def _check_request(self, scope: Scope, receive: Receive) -> Response | None:
        """The answer to whoever does not come in; None for whoever does."""
        asked = _parse_head(scope)
        away = request_checks.rejection_status(asked, self.port)
        if away is None and peers.is_foreign_user(scope["client"], self.port):
            away = HTTPStatus.FORBIDDEN
        if away is not None:
            return Response(status_code=away)
        session = self.find_session(asked)
        if scope["path"].startswith(("/static/", "/open/")):
            scope["session"] = session
            return None
        if session is None:
            return HTMLResponse(
                await run_in_thread(self.views.render_stranger), HTTPStatus.UNAUTHORIZED
            )
        self.used()
        scope["session"] = session
        return await self._check_change(asked, scope, receive) if asked.method == "POST" else None

    def find_session(self, asked: RequestHead) -> Session | None:
        cookies = request_checks.cookie_values(asked, request_checks.make_cookie_name(self.port))
        return self.sessions.find(cookies, time.time())

    async def _check_change(
        self, asked: RequestHead, scope: Scope, receive: Receive
    ) -> Response | None:
        """Read the form, which has to say the session's own token."""
        try:
            body = await _read_body(receive, self.body_timeout)
            form = request_checks.parse_form(body, asked.get_single("content-type"))
            scope["form"] = _require_form(form, scope["session"])
        except KartraMCPError as problem:
            status = http_status(problem)
            return HTMLResponse(
                await run_in_thread(self.views.render_error, status, problem), status
            )
        return None

    async def _internal_error_response(self) -> Response:
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        return HTMLResponse(
            await run_in_thread(self.views.render_error, status, page_internal_error()), status
        )


@dataclass(slots=True)
class _HeaderSender:
    """The way out, where every answer gets our headers."""

    send: Send
    kept: bool
    begun: bool = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            told = MutableHeaders(scope=message)
            kept = self.kept and message["status"] == HTTPStatus.OK
            for name, value in request_checks.response_headers(
                told.get("content-type", ""), kept=kept
            ).items():
                told[name] = value
        await self.send(message)


def http_status(problem: KartraMCPError) -> int:
    """Return the HTTP status of a page that shows this error."""
    if isinstance(problem, UpstreamError):
        return HTTPStatus.BAD_GATEWAY
    return ERROR_CODES[problem.code].http_status


def _parse_head(scope: Scope) -> RequestHead:
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    return RequestHead(scope["method"], pairs)


async def _read_body(receive: Receive, timeout: float) -> bytes:  # noqa: ASYNC109  asked for below
    body = bytearray()
    with anyio.move_on_after(timeout):
        more = True
        while more and len(body) <= request_checks.BODY_LIMIT:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _cut_off_error()
            body += message.get("body", b"")
            more = bool(message.get("more_body"))
        if len(body) > request_checks.BODY_LIMIT:
            raise _too_large_error()
        return bytes(body)
    raise _too_slow_error()


def _require_form(form: dict[str, str] | None, session: Session) -> dict[str, str]:
    if form is None:
        raise _no_form_error()
    given = form.get("csrf", "").encode("utf-8", "replace")
    if not hmac.compare_digest(given, session.csrf.encode()):
        raise _foreign_form_error()
    return form


def page_internal_error() -> KartraMCPError:
    """An error of this page's own: what the request asked for may have been done before it."""
    problem = internal_error(Executed.UNKNOWN)
    problem.remedy = "Whether it was done, Waiting and Done tell; please report the error."
    return problem


def _too_large_error() -> RefusedError:
    return RefusedError(
        "input_too_large",
        "More was sent than a form of this page holds. Nothing was done.",
        "Write less.",
    )


def _too_slow_error() -> RefusedError:
    return RefusedError(
        "timed_out", "The form did not arrive in time. Nothing was done.", "Send it again."
    )


def _cut_off_error() -> RefusedError:
    return RefusedError(
        "invalid_arguments", "The form did not arrive whole. Nothing was done.", "Send it again."
    )


def _no_form_error() -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        "What was sent is not one of the forms of this page. Nothing was done.",
        "Use the buttons of the page.",
    )


def _foreign_form_error() -> RefusedError:
    return RefusedError(
        "forbidden_request",
        "The form is not one that this session was given. Nothing was done.",
        "Load the page again, then decide.",
    )
