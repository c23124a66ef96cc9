"""Authentication and response headers: every request and response of the page passes here."""

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
    """Check origin, peer and session of a request before it reaches the routes.

    `on_used` is called for each request with a session; it postpones the idle shutdown.
    """

    app: ASGIApp
    port: int
    sessions: Sessions
    views: Pages
    on_used: Callable[[], None]
    body_timeout: float = PageTimings().request_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        sender = _HeaderSender(send, cacheable=scope["path"].startswith("/static/"))
        try:
            rejection = await self._check_request(scope, receive)
            await (rejection or self.app)(scope, receive, sender)
        except Exception as error:  # noqa: BLE001  its text may contain untrusted input or a PIN
            log.error("a page could not be shown: %s", type(error).__name__)  # noqa: TRY400
            if not sender.begun:
                await (await self._internal_error_response())(scope, receive, sender)

    async def _check_request(self, scope: Scope, receive: Receive) -> Response | None:
        """Return the response to a request that is refused; None if it may continue."""
        head = _parse_head(scope)
        status = request_checks.rejection_status(head, self.port)
        if status is None and peers.is_foreign_user(scope["client"], self.port):
            status = HTTPStatus.FORBIDDEN
        if status is not None:
            return Response(status_code=status)
        session = self.find_session(head)
        if scope["path"].startswith(("/static/", "/open/")):
            scope["session"] = session
            return None
        if session is None:
            return HTMLResponse(
                await run_in_thread(self.views.render_login_help), HTTPStatus.UNAUTHORIZED
            )
        self.on_used()
        scope["session"] = session
        return await self._check_change(head, scope, receive) if head.method == "POST" else None

    def find_session(self, head: RequestHead) -> Session | None:
        cookies = request_checks.cookie_values(head, request_checks.make_cookie_name(self.port))
        return self.sessions.find(cookies, time.time())

    async def _check_change(
        self, head: RequestHead, scope: Scope, receive: Receive
    ) -> Response | None:
        """Parse the form and compare its anti-forgery token with the session's."""
        try:
            body = await _read_body(receive, self.body_timeout)
            form = request_checks.parse_form(body, head.get_single("content-type"))
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
    """ASGI send function that adds the security headers to every response."""

    send: Send
    cacheable: bool
    begun: bool = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            headers = MutableHeaders(scope=message)
            cacheable = self.cacheable and message["status"] == HTTPStatus.OK
            for name, value in request_checks.response_headers(
                headers.get("content-type", ""), cacheable=cacheable
            ).items():
                headers[name] = value
        await self.send(message)


def http_status(problem: KartraMCPError) -> int:
    """Return the HTTP status of a page that shows this error."""
    if isinstance(problem, UpstreamError):
        return HTTPStatus.BAD_GATEWAY
    return ERROR_CODES[problem.code].http_status


def _parse_head(scope: Scope) -> RequestHead:
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    return RequestHead(scope["method"], pairs)


async def _read_body(receive: Receive, timeout: float) -> bytes:  # noqa: ASYNC109  applied here
    body = bytearray()
    with anyio.move_on_after(timeout):
        more = True
        while more and len(body) <= request_checks.MAX_BODY_BYTES:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _cut_off_error()
            body += message.get("body", b"")
            more = bool(message.get("more_body"))
        if len(body) > request_checks.MAX_BODY_BYTES:
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
    """Build the page's internal error; the requested change may precede the failure."""
    problem = internal_error(Executed.UNKNOWN)
    problem.remedy = (
        "Check Pending approvals and History to see whether it was done. Please report the error."
    )
    return problem


def _too_large_error() -> RefusedError:
    return RefusedError(
        "input_too_large",
        "The form is too large. Nothing was done.",
        "Shorten the text, then send it again.",
    )


def _too_slow_error() -> RefusedError:
    return RefusedError(
        "timed_out", "The form did not arrive in time. Nothing was done.", "Send it again."
    )


def _cut_off_error() -> RefusedError:
    return RefusedError(
        "invalid_arguments", "The form arrived incomplete. Nothing was done.", "Send it again."
    )


def _no_form_error() -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        "The request contains no form of this page. Nothing was done.",
        "Use the buttons on the page.",
    )


def _foreign_form_error() -> RefusedError:
    return RefusedError(
        "forbidden_request",
        "The form does not belong to this session. Nothing was done.",
        "Reload the page, then decide.",
    )
