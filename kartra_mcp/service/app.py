"""The ASGI app of one replica: routes by `scope["path"]`, checks, and endpoints of accounts."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kartra_mcp.core.principal import Principal
from kartra_mcp.identity.challenges import list_authorization_servers, make_resource_metadata
from kartra_mcp.server.http_endpoint import MAX_BODY_BYTES
from kartra_mcp.service.accounts import AccountService
from kartra_mcp.service.authentication import (
    RequestRefused,
    Verifier,
    authenticate,
    check_access,
)
from kartra_mcp.service.bodies import BodyRefused, read_body
from kartra_mcp.service.observer import REQUEST_ID_KEY, ServiceObserver
from kartra_mcp.service.readiness import Readiness
from kartra_mcp.service.request_checks import (
    AllowedHosts,
    find_mcp_account,
    find_metadata_account,
    has_two_lengths,
)
from kartra_mcp.service.responses import send_empty, send_json
from kartra_mcp.service.revocation_watch import RevocationWatch
from kartra_mcp.service.timings import ServiceTimings
from kartra_mcp.team.config import TeamConfig

PAGE_PREFIX = "/page"


@dataclass(slots=True)
class ServiceApp:
    """Routes of one replica.

    Args:
        config: the team file.
        accounts: the endpoint of each account.
        verifier: of tokens.
        revocations: people and tokens that admins keep out.
        readiness: answers `/readyz`.
        observer: metrics and logs.
        timings: limits of slow clients.
        page: the approval page, below `/page`; None for a service without one.
    """

    config: TeamConfig
    accounts: Mapping[str, AccountService]
    verifier: Verifier
    revocations: RevocationWatch
    readiness: Readiness
    observer: ServiceObserver
    timings: ServiceTimings
    page: ASGIApp | None = None
    _hosts: AllowedHosts = field(init=False)

    def __post_init__(self) -> None:
        self._hosts = AllowedHosts.of(self.config.public_url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        scope = {**scope, REQUEST_ID_KEY: secrets.token_hex(8)}
        began, status = time.monotonic(), 0

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        reason = ""
        try:
            await self._route(scope, receive, send_observed)
        except RequestRefused as refused:
            reason = refused.reason
            await send_empty(send_observed, refused.status, refused.headers)
        finally:
            self.observer.note_request(scope, status, reason, time.monotonic() - began)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if has_two_lengths(scope):  # RFC 9112, 6.3: a proxy may have read another end
            raise RequestRefused(HTTPStatus.BAD_REQUEST, "length", {"connection": "close"})
        if path in ("/healthz", "/readyz"):  # a probe names the address of the replica as host
            ready = path == "/healthz" or await self.readiness.is_ready()
            await send_empty(send, HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)
            return
        self._check_source(scope)
        if (account := find_mcp_account(path)) is not None:
            await self._handle_mcp(account, scope, receive, send)
        elif (account := find_metadata_account(path)) is not None:
            await self._send_metadata(account, scope, send)
        elif self.page is not None and _is_below(path, PAGE_PREFIX):
            await self.page(scope, receive, send)
        else:
            raise RequestRefused(HTTPStatus.NOT_FOUND, "path")

    def _check_source(self, scope: Scope) -> None:
        if not self._hosts.accepts_host(scope):
            raise RequestRefused(HTTPStatus.MISDIRECTED_REQUEST, "host")
        if not self._hosts.accepts_origin(scope):
            raise RequestRefused(HTTPStatus.FORBIDDEN, "origin")

    async def _send_metadata(self, account: str, scope: Scope, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            raise RequestRefused(HTTPStatus.METHOD_NOT_ALLOWED, "method", {"allow": "GET, HEAD"})
        # Web clients read it from their own origin; it is public.
        headers = {"access-control-allow-origin": "*"}
        servers = list_authorization_servers(self.config)
        found = make_resource_metadata(self.config.public_url, account, servers)
        await send_json(send, HTTPStatus.OK, found, headers)

    async def _handle_mcp(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        principal = await authenticate(scope, name, self.config, self.verifier, self.revocations)
        account = self.accounts.get(name)
        if account is None:
            raise RequestRefused(HTTPStatus.FORBIDDEN, "not_a_member")
        if scope["method"] != "POST":  # no session, so no stream of one and none to end
            raise RequestRefused(HTTPStatus.METHOD_NOT_ALLOWED, "method", {"allow": "POST"})
        await self._handle_call(account, principal, scope, receive, send)

    async def _handle_call(
        self,
        account: AccountService,
        principal: Principal,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        try:
            whole = await read_body(scope, receive, MAX_BODY_BYTES, self.timings.request_body)
        except BodyRefused as refused:
            if refused.status:
                headers = {"connection": "close"}
                raise RequestRefused(refused.status, "body", headers) from None
            return
        # Again: a body may come seconds after its head.
        check_access(principal, account.name, self.config, self.revocations)
        await account.handle(principal, _without_credentials(scope), whole, send)


def _is_below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")


def _without_credentials(scope: Scope) -> dict[str, Any]:
    """Return the scope without the token, which nothing behind it needs or may record."""
    left = [(name, value) for name, value in scope["headers"] if name not in _SECRET_HEADERS]
    return {**scope, "headers": left}


_SECRET_HEADERS = frozenset(
    {b"authorization", b"cookie", b"proxy-authorization", b"mcp-session-id"}
)
