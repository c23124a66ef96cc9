"""Verification of bearer tokens: a token and an account to a principal, or a typed refusal."""

from __future__ import annotations

import hashlib
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from kartra_mcp.core.principal import Principal
from kartra_mcp.identity.principals import assign_roles, make_principal
from kartra_mcp.identity.providers import Providers
from kartra_mcp.identity.refusals import NotAMember, TokenFault, TokenRefused
from kartra_mcp.identity.signatures import parse_token, verify_signature
from kartra_mcp.identity.token_rules import (
    MAX_TOKEN_CHARS,
    check_claims,
    check_header,
    check_type,
)
from kartra_mcp.team.config import TeamAccount, TeamConfig, make_endpoint

CACHE_SECONDS = 300.0
"""Seconds until a token is verified again: a key that its issuer withdrew counts for so long."""
MAX_CACHED_TOKENS = 4_096


@dataclass(frozen=True, slots=True)
class _Verified:
    principal: Principal
    until: float


@dataclass(slots=True)
class TokenVerifier:
    """Verifies access tokens for the accounts of a team.

    Attributes:
        config: the team file.
        providers: its issuers.
        clock: seconds since the epoch.
    """

    config: TeamConfig
    providers: Providers
    clock: Callable[[], float] = time.time
    _verified: OrderedDict[tuple[bytes, str], _Verified] = field(
        default_factory=OrderedDict[tuple[bytes, str], _Verified]
    )

    @classmethod
    def of(cls, config: TeamConfig) -> TokenVerifier:
        """Return a verifier with providers of its own."""
        return cls(config, Providers.of(config.issuers))

    async def verify(self, token: str, account: str) -> Principal:
        """Return the principal of a token, with its roles in an account.

        Args:
            token: as it was sent.
            account: name in the path of the request; it may not exist.

        Raises:
            TokenRefused: the token is not accepted here (401).
            NotAMember: it is, but its user does not belong to the account (403).
            IssuerUnavailable: the issuer's keys cannot be fetched now (503).
        """
        if len(token) > MAX_TOKEN_CHARS or not token.isascii():
            raise TokenRefused(TokenFault.TOO_LARGE if token.isascii() else TokenFault.MALFORMED)
        key = (hashlib.sha256(token.encode()).digest(), account)
        now = self.clock()
        known = self._verified.get(key)
        if known is not None and now < known.until:
            self._verified.move_to_end(key)
            return known.principal
        verified = await self._verify(token, account)
        self._verified[key] = verified
        self._verified.move_to_end(key)
        while len(self._verified) > MAX_CACHED_TOKENS:
            self._verified.popitem(last=False)
        return verified.principal

    async def _verify(self, text: str, name: str) -> _Verified:
        token = parse_token(text)
        provider = self.providers.get(token.claims.get("iss"))
        if provider is None:
            raise TokenRefused(TokenFault.ISSUER)
        algorithm, key_id = check_header(token.header, provider.issuer.algorithms)
        verify_signature(token, await provider.find_key(key_id, algorithm), algorithm)
        now = self.clock()
        check_type(token.header, token.claims)
        until = check_claims(token.claims, accepted_audiences(self.config, name), now)
        principal = make_principal(token.claims, provider.issuer)
        account = self.config.accounts.get(name)
        member = None if account is None else assign_roles(principal, provider.issuer, account)
        if member is None:
            raise NotAMember
        return _Verified(member, min(until, now + CACHE_SECONDS))


def accepted_audiences(config: TeamConfig, name: str) -> Collection[str]:
    """Return the exact audiences of an account.

    An account that does not exist has those that it could have, so that a token is answered alike
    for it and for an account of others: its own address, and audiences that accounts share.
    """
    account = config.accounts.get(name)
    if account is not None:
        return account.audiences
    return {make_endpoint(config.public_url, name), *_shared_audiences(config.accounts)}


def _shared_audiences(accounts: Mapping[str, TeamAccount]) -> set[str]:
    used = Counter(one for account in accounts.values() for one in set(account.audiences))
    return {audience for audience, times in used.items() if times > 1}
