"""Metadata and keys of the issuers, fetched when they are needed and kept.

A token can name any key id, so that an unknown one causes at most one fetch in 30 seconds, and
only a successful fetch replaces the keys.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import anyio

from kartra_mcp.identity.discovery import ProviderMetadata, parse_metadata
from kartra_mcp.identity.endpoints import make_discovery_url
from kartra_mcp.identity.provider_client import ProviderClient
from kartra_mcp.identity.refusals import IssuerUnavailable, TokenFault, TokenRefused
from kartra_mcp.identity.signatures import KeySet, PublicKey, parse_key_set
from kartra_mcp.team.config import Issuer

REFRESH_SECONDS = 600.0
"""Age of keys at which they are fetched again."""
MIN_REFRESH_SECONDS = 30.0
"""Seconds between two fetches while there are keys."""
RETRY_SECONDS = 5.0
"""Seconds between two fetches while there are none."""
MAX_KEY_AGE = 86_400.0
"""Age at which keys are not used any more, if no fetch succeeded since."""
METADATA_SECONDS = 3_600.0


@dataclass(slots=True)
class Provider:
    """One issuer. Concurrent callers share one fetch.

    Attributes:
        issuer: with the algorithms that its keys may be used for.
        client: for the requests.
        monotonic: clock of ages and intervals.
    """

    issuer: Issuer
    client: ProviderClient
    monotonic: Callable[[], float] = time.monotonic
    _lock: anyio.Lock = field(default_factory=anyio.Lock)
    _metadata: ProviderMetadata | None = None
    _metadata_at: float = 0.0
    _keys: KeySet | None = None
    _keys_at: float = 0.0
    _tried_at: float | None = None
    _fault: str = ""

    async def metadata(self) -> ProviderMetadata:
        """Return the endpoints.

        Raises:
            IssuerUnavailable: they were never fetched, and cannot be now.
        """
        if self._metadata is None:
            async with self._lock:
                if self._metadata is None:
                    await self._require_fetch()
        if self._metadata is None:
            raise IssuerUnavailable(self._fault)
        return self._metadata

    async def require_keys(self) -> ProviderMetadata:
        """Return the endpoints of an issuer whose keys can be used.

        Raises:
            IssuerUnavailable: endpoints or keys cannot be fetched, or no key is usable.
        """
        async with self._lock:
            await self._require_fetch()
        return await self.metadata()

    async def find_key(self, key_id: str | None, algorithm: str) -> PublicKey:
        """Return the public key that a token names.

        Raises:
            TokenRefused: the issuer has no such key.
            IssuerUnavailable: its keys cannot be fetched now, so that this is not known.
        """
        if self._age() >= MAX_KEY_AGE:
            async with self._lock:
                if self._age() >= MAX_KEY_AGE:
                    await self._require_fetch()
        elif self._age() >= REFRESH_SECONDS and not self._lock.locked():
            async with self._lock:
                await self._fetch_if_due(MIN_REFRESH_SECONDS)
        key = self._find(key_id, algorithm)
        if key is None:
            async with self._lock:  # a fetch that is under way may bring it
                key = self._find(key_id, algorithm)
                if key is None:
                    await self._fetch_if_due(MIN_REFRESH_SECONDS)
                    key = self._find(key_id, algorithm)
        if key is not None:
            return key
        if self._fault:
            raise IssuerUnavailable(self._fault)
        raise TokenRefused(TokenFault.UNKNOWN_KEY)

    def _find(self, key_id: str | None, algorithm: str) -> PublicKey | None:
        return None if self._keys is None else self._keys.find(key_id, algorithm)

    def _age(self) -> float:
        return MAX_KEY_AGE if self._keys is None else self.monotonic() - self._keys_at

    async def _require_fetch(self) -> None:
        await self._fetch_if_due(RETRY_SECONDS)
        if self._age() >= MAX_KEY_AGE:
            self._keys = None
            raise IssuerUnavailable(self._fault)

    async def _fetch_if_due(self, interval: float) -> None:
        now = self.monotonic()
        if self._tried_at is not None and now - self._tried_at < interval:
            return
        # Shielded: who sends a token and hangs up could otherwise end each fetch before its end.
        with anyio.CancelScope(shield=True):
            self._tried_at = now
            try:
                await self._fetch()
                self._fault = ""
            except IssuerUnavailable as problem:
                self._fault = problem.reason

    async def _fetch(self) -> None:
        now = self.monotonic()
        if self._metadata is None or now - self._metadata_at >= METADATA_SECONDS:
            issuer = self.issuer.issuer
            document = await self.client.get(make_discovery_url(issuer), "its discovery document")
            self._metadata = parse_metadata(issuer, document)
            self._metadata_at = now
        keys = parse_key_set(
            await self.client.get(self._metadata.jwks_uri, "its key set"), self.issuer.algorithms
        )
        if not keys.keys:
            allowed = ", ".join(self.issuer.algorithms)
            raise IssuerUnavailable(f"its key set has no usable key for {allowed}")
        self._keys, self._keys_at = keys, now


@dataclass(frozen=True, slots=True)
class Providers:
    """The issuers of a team by their exact names; shared by the verifier and the login."""

    by_issuer: Mapping[str, Provider]

    @classmethod
    def of(
        cls,
        issuers: Iterable[Issuer],
        client: ProviderClient | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> Providers:
        shared = client or ProviderClient()
        return cls({one.issuer: Provider(one, shared, monotonic) for one in issuers})

    def get(self, issuer: object) -> Provider | None:
        return self.by_issuer.get(issuer) if isinstance(issuer, str) else None
