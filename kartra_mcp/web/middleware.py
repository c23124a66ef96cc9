"""Authentication and response headers: every request and response of the page passes here."""

from __future__ import annotations

import hmac
import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

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
from kartra_mcp.web.sessions import Session
from kartra_mcp.web.site import Site
from kartra_mcp.web.timings import PageTimings
from kartra_mcp.web.views.plain_pages import PlainPages

log = logging.getLogger(__name__)


class Gate(Protocol):
    """Admission to the page: the session of a request, or the answer to one that has none."""

    async def find(self, head: RequestHead, scope: Scope) -> Session | None: ...

    async def save(self, session: Session) -> None:
        """Keep what the session shows once, before the response is sent."""
        ...

    async def refuse(self, head: RequestHead, scope: Scope) -> Response:
        """Return the answer to a request that needs a session and has none."""
        ...


@dataclass(frozen=True, slots=True)
class AuthMiddleware:
    """Check origin, peer and session of a request before it reaches the routes."""

    app: ASGIApp
    site: Site
    gate: Gate
    plain: PlainPages
    body_timeout: float = PageTimings().request_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        sender = _HeaderSender(send, self.gate, scope, self.site.is_static(scope["path"]))
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
        status = request_checks.rejection_status(head, self.site)
        port = self.site.peer_port
        if status is None and port is not None and peers.is_foreign_user(scope["client"], port):
            status = HTTPStatus.FORBIDDEN
        if status is not None:
            return Response(status_code=status)
        if self.site.is_static(scope["path"]):
            return None
        try:
            return await self._check_session(head, scope, receive)
        except KartraMCPError as problem:
            status = http_status(problem)
            return HTMLResponse(
                await run_in_thread(self.plain.render_error, status, problem), status
            )

    async def _check_session(
        self, head: RequestHead, scope: Scope, receive: Receive
    ) -> Response | None:
        """Find the session, and compare the anti-forgery token of a form with the session's."""
        session = scope["session"] = await self.gate.find(head, scope)
        if session is None:
            return None if self.site.is_open(scope["path"]) else await self.gate.refuse(head, scope)
        if head.method == "POST":
            body = await _read_body(receive, self.body_timeout)
            form = request_checks.parse_form(body, head.get_single("content-type"))
            scope["form"] = _require_form(form, session)
        return None

    async def _internal_error_response(self) -> Response:
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        return HTMLResponse(
            await run_in_thread(self.plain.render_error, status, page_internal_error()), status
        )


@dataclass(slots=True)
class _HeaderSender:
    """ASGI send function that adds the security headers to every response."""

    send: Send
    gate: Gate
    scope: Scope
    cacheable: bool
    begun: bool = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            session: Session | None = self.scope.get("session")
            if session is not None and not self.begun:
                # The browser may send the next request before this response ends.
                await self.gate.save(session)
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
