"""POST of a notice to the webhook of the team file: once, in bounded time, without redirects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import anyio

from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.membrane.credentials import Secret
from kartra_mcp.team.addresses import is_loopback
from kartra_mcp.team.loading import Team
from kartra_mcp.team.notice import Notice, make_message

TIMEOUT = 10.0
"""Seconds for a whole exchange."""
_SUCCESS = range(200, 300)


class NoticeFailed(Exception):
    """A notice was not accepted, or perhaps not.

    Attributes:
        reason: in our words, without the address: it may contain a secret.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Webhook:
    """The webhook of a team."""

    url: Secret
    format: str
    timeout: float = TIMEOUT

    @classmethod
    def of(cls, team: Team) -> Webhook | None:
        """Return the webhook of a team file; None if it names none."""
        url, target = team.read_webhook(), team.config.notify
        return None if url is None or target is None else cls(url, target.format)

    async def send(self, notice: Notice) -> None:
        """Send a notice once. What failed is not repeated: it may have arrived.

        Raises:
            NoticeFailed: it was not accepted in time.
        """
        import httpx2

        try:
            with anyio.fail_after(self.timeout):  # httpx2 limits each step, not their sum
                status = await self._post(make_message(notice, self.format))
        except TimeoutError:
            raise NoticeFailed(f"no answer in {self.timeout:g} s") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as problem:
            raise NoticeFailed(type(problem).__name__) from None
        if status not in _SUCCESS:
            raise NoticeFailed(f"status {status}")

    async def _post(self, message: dict[str, Any]) -> int:
        """Return the status; the answer itself is not read."""
        import httpx2

        url = self.url.reveal()
        # An address on this machine must not be sent to a proxy.
        options: dict[str, Any] = {"timeout": self.timeout, "trust_env": not is_loopback(url)}
        verify = await run_in_thread(httpx2.create_ssl_context)
        async with (
            httpx2.AsyncClient(verify=verify, follow_redirects=False, **options) as client,
            client.stream("POST", url, json=message) as response,
        ):
            return response.status_code
