"""Bounded requests to an identity provider: JSON in a limited size and time, no redirects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx2

from kartra_mcp.core.json_types import is_object
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.identity.refusals import IssuerUnavailable
from kartra_mcp.team.addresses import is_loopback

MAX_BODY_BYTES = 256 * 1024
TIMEOUT = 5.0
"""Seconds for a whole exchange."""
# Without compression: a small body could become a large one.
_HEADERS = {"Accept": "application/json, application/jwk-set+json", "Accept-Encoding": "identity"}
_OK = 200
_BAD_REQUESTS = range(400, 500)


@dataclass(frozen=True, slots=True)
class JsonResponse:
    """Response of an endpoint: status 200, or 4xx with the error that OAuth defines for it."""

    is_success: bool
    body: dict[str, Any]


@dataclass(slots=True)
class ProviderClient:
    """HTTP client for identity providers. The certificates are loaded once, off the loop."""

    timeout: float = TIMEOUT
    _certificates: list[Any] = field(default_factory=list[Any])

    async def get(self, url: str, what: str, token: str = "") -> dict[str, Any]:
        """Return the JSON object at an address.

        Raises:
            IssuerUnavailable: it cannot be fetched within the limits; `what` names it.
        """
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        response = await self._exchange("GET", url, what, headers)
        if not response.is_success:
            raise IssuerUnavailable(f"{what} is refused")
        return response.body

    async def post(
        self, url: str, what: str, form: Mapping[str, str], headers: Mapping[str, str]
    ) -> JsonResponse:
        """Send a form once; a request that failed is never repeated: a code can be used once."""
        return await self._exchange("POST", url, what, headers, form)

    async def _exchange(
        self,
        method: str,
        url: str,
        what: str,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None = None,
    ) -> JsonResponse:
        # An address on this machine must not be sent to a proxy.
        here = is_loopback(url)
        options: dict[str, Any] = {"timeout": self.timeout, "trust_env": not here}
        try:
            verify = await self._load_certificates()
            with anyio.fail_after(self.timeout):  # httpx2 limits each step, not their sum
                async with (
                    httpx2.AsyncClient(verify=verify, follow_redirects=False, **options) as client,
                    client.stream(
                        method, url, headers={**_HEADERS, **headers}, data=form
                    ) as response,
                ):
                    content = await _read_limited(response, what)
        except TimeoutError:
            raise IssuerUnavailable(f"{what} did not arrive in {self.timeout:g} s") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as problem:
            raise IssuerUnavailable(f"{what} did not arrive: {type(problem).__name__}") from None
        return JsonResponse(response.status_code == _OK, _parse(content, what))

    async def _load_certificates(self) -> Any:
        if not self._certificates:
            self._certificates.append(await run_in_thread(httpx2.create_ssl_context))
        return self._certificates[0]


async def _read_limited(response: httpx2.Response, what: str) -> bytes:
    if response.status_code != _OK and response.status_code not in _BAD_REQUESTS:
        raise IssuerUnavailable(f"{what} was answered with status {response.status_code}")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise IssuerUnavailable(f"{what} is compressed, although that was not asked for")
    content = bytearray()
    async for part in response.aiter_raw():
        content += part
        if len(content) > MAX_BODY_BYTES:
            raise IssuerUnavailable(f"{what} is larger than {MAX_BODY_BYTES // 1024} KiB")
    return bytes(content)


def _parse(content: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise IssuerUnavailable(f"{what} is not JSON") from None
    if not is_object(found):
        raise IssuerUnavailable(f"{what} is not a JSON object")
    return found
