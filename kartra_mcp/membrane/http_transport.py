"""One HTTP request and its response on kept connections; the only file that sends them.

Redirects are not followed and cookies are not stored. A write is never sent twice: it uses a
connection of its own, as does a read for a preview. On a kept connection, surplus bytes after an
earlier response would be taken for the response of the write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import anyio.to_thread

from kartra_mcp import __version__

if TYPE_CHECKING:
    import aiohttp

MAX_RESPONSE_BYTES = 32 * 1024 * 1024
"""Largest decompressed response that is read; Membrane documents 30 MB."""

KEEPALIVE_SECONDS = 4.0
"""Seconds that an idle connection is kept. Servers on Node close theirs after 5."""

_TRIES = 5
"""Connections tried after unsolicited data; a server that greets does so on each of them."""

MAX_LINE_BYTES = 64 * 1024
"""Largest header line of a response."""

UNUSABLE = (
    "a proxy (HTTPS_PROXY, ALL_PROXY) or a file of certificates (SSL_CERT_FILE) that the "
    "environment names cannot be used"
)
"""Description without the value: a proxy's address may contain a password."""

HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",
    "Content-Type": "application/json",
    "User-Agent": f"kartra-mcp/{__version__}",
}


class TransportConfigError(Exception):
    """A proxy or certificate file that the environment configures cannot be used."""


class TransportError(Exception):
    """There was no complete response. Its text is the library's own, for `detail`."""


class _UnsolicitedData(Exception):
    """Unsolicited data arrived on a kept connection."""


class ResponseTooLargeError(Exception):
    """The response is larger than `MAX_RESPONSE_BYTES`; the rest was not read."""


class SendRightEndedError(Exception):
    """The right to send this request ended before its first byte was sent."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """Request to send. `fresh`: on its own connection, which is closed afterwards.

    `on_sending` is called once, immediately before the first byte is sent. If it raises, nothing
    is sent.
    """

    method: str
    path: str
    query: Mapping[str, str]
    content: bytes | None
    token: str
    fresh: bool
    on_sending: Callable[[], None]


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """Response: its decoded body, and its header `Date`, or "" without one."""

    status: int
    body: bytes
    date: str = ""


@dataclass(slots=True)
class HttpTransport:
    """Connections to one address.

    Args:
        address: with its scheme, without its last slash.
        is_here: True for an address on this machine: no proxy and no certificate file is used.
    """

    address: str
    is_here: bool
    _sessions: dict[bool, aiohttp.ClientSession] = field(
        default_factory=dict[bool, "aiohttp.ClientSession"]
    )

    async def exchange(self, request: HttpRequest) -> HttpResponse:
        """Return the response.

        `on_sending` of the request reports if anything was sent.

        Raises:
            TransportConfigError: a proxy or certificate file cannot be used.
            TransportError: there was no complete response.
            SendRightEndedError: `on_sending` raised it; nothing was sent.
            ResponseTooLargeError: the response is larger than `MAX_RESPONSE_BYTES`.
        """
        if not self._sessions:
            # Measured: a fifth of a second, which would delay the first tools/list on the loop.
            await anyio.to_thread.run_sync(import_module, "aiohttp")
        for _ in range(_TRIES):
            with suppress(_UnsolicitedData):  # nothing was sent, and that connection is gone
                return await self._exchange(request)
        raise TransportError(
            "every connection received unsolicited data: this is not an HTTP server"
        )

    async def _exchange(self, request: HttpRequest) -> HttpResponse:
        from aiohttp import ClientConnectorCertificateError, ClientError

        try:
            sent = self._get_session(fresh=request.fresh).request(
                request.method,
                self._make_url(request),
                data=request.content,
                headers={"Authorization": f"Bearer {request.token}"},
                allow_redirects=False,
                proxy=None if self.is_here else find_proxy(self.address),
            )
            hook = _ON_SENDING.set(request.on_sending)
            try:
                async with sent as answer:
                    date = answer.headers.get("Date", "")
                    return HttpResponse(answer.status, await _read_body(answer), date)
            finally:
                _ON_SENDING.reset(hook)
        except ClientConnectorCertificateError as problem:  # a ValueError too
            raise TransportError(_describe_cause(problem)) from None
        except ValueError as problem:  # aiohttp's InvalidURL too: the proxy's address is invalid
            raise TransportConfigError(f"{type(problem).__name__}: {UNUSABLE}") from None
        except (ClientError, OSError) as problem:
            raise TransportError(_describe_cause(problem)) from None

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()

    def _make_url(self, request: HttpRequest) -> Any:
        from yarl import URL

        question = f"?{urlencode(request.query)}" if request.query else ""
        return URL(f"{self.address}{request.path}{question}", encoded=True)

    def _get_session(self, *, fresh: bool) -> aiohttp.ClientSession:
        """Return the session, created on first use in the event loop that it lives in."""
        if fresh not in self._sessions:
            self._sessions[fresh] = self._make_session(fresh=fresh)
        return self._sessions[fresh]

    def _make_session(self, *, fresh: bool) -> aiohttp.ClientSession:
        import aiohttp

        return aiohttp.ClientSession(
            request_class=_request_class(),
            connector=aiohttp.TCPConnector(
                limit=0,  # `turns` limits concurrency
                ssl=True if self.is_here else _load_certificates(),
                force_close=fresh,
                keepalive_timeout=None if fresh else KEEPALIVE_SECONDS,
            ),
            headers=HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # the deadline is used
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
        )


def find_proxy(address: str) -> str | None:
    """Return the proxy that the environment configures for an address, including ALL_PROXY.

    Raises:
        TransportConfigError: its scheme is not supported, such as SOCKS.
    """
    place = urlsplit(address)
    named = getproxies()
    found = named.get(place.scheme) or named.get("all")
    if not found or proxy_bypass(place.netloc):
        return None
    scheme, mark, _ = found.partition("://")
    if not mark:
        return f"http://{found}"
    if scheme.lower() not in {"http", "https"}:
        known = scheme if scheme.isalnum() else "unreadable"
        raise TransportConfigError(
            f"unsupported proxy scheme: {known} (HTTPS_PROXY, ALL_PROXY); use http or https"
        )
    return found


def _describe_cause(problem: Exception) -> str:
    """Return the cause of a failure; for a proxy only its status, as its address has a password."""
    from aiohttp import ClientHttpProxyError

    if isinstance(problem, ClientHttpProxyError):
        return f"the proxy answered with the HTTP status {problem.status}"
    return f"{type(problem).__name__}: {problem}"


def _load_certificates() -> Any:
    """Return the authorities configured on this machine, else the bundled ones."""
    import httpx2

    try:
        return httpx2.create_ssl_context()
    except Exception as problem:  # noqa: BLE001  SSL_CERT_FILE may hold anything
        raise TransportConfigError(f"{type(problem).__name__}: {UNUSABLE}") from None


_ON_SENDING: ContextVar[Callable[[], None]] = ContextVar("on_sending")
"""`on_sending` of the request of this task: aiohttp's requests take no parameter of ours."""


def _request_class() -> type[aiohttp.ClientRequest]:
    """Return a request class that reports immediately before it is sent; not a proxy's CONNECT.

    It refuses a kept connection with unsolicited data. aiohttp's own traces would report each
    request, too, with the cost of all their other events.
    """
    from aiohttp import ClientRequest, ClientResponse

    class Asking(ClientRequest):
        async def send(self, conn: Any) -> ClientResponse:
            if conn.protocol is None or conn.protocol.should_close:
                conn.close()
                raise _UnsolicitedData
            _ON_SENDING.get()()
            return await super().send(conn)

    return Asking


async def _read_body(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > MAX_RESPONSE_BYTES:
            raise ResponseTooLargeError
    return bytes(body)
