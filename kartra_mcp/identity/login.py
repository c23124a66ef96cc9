"""Login of the page: authorization code flow with PKCE, as an OpenID Connect client."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kartra_mcp.core.json_types import is_object
from kartra_mcp.core.principal import Principal
from kartra_mcp.identity.discovery import ProviderMetadata
from kartra_mcp.identity.id_token_rules import (
    Authentication,
    Expected,
    check_access_token_hash,
    check_id_token,
)
from kartra_mcp.identity.login_exchange import (
    LoginAttempt,
    LoginOptions,
    make_authorization_url,
    make_client_authentication,
    make_token_form,
    read_code,
)
from kartra_mcp.identity.principals import has_role_values, make_principal
from kartra_mcp.identity.providers import Provider, Providers
from kartra_mcp.identity.refusals import (
    IssuerUnavailable,
    LoginFault,
    LoginRefused,
    TokenRefused,
)
from kartra_mcp.identity.signatures import UnverifiedToken, parse_token, verify_signature
from kartra_mcp.identity.token_rules import MAX_TOKEN_CHARS, check_header
from kartra_mcp.membrane.credentials import Secret
from kartra_mcp.team.config import PageLogin

_TOKENS = "its token response"
NO_SUBJECT = (
    "it gives a user another `sub` for each client, and subject_claims names no claim that is the "
    "same for all"
)
"""Without such a claim the requester of a call could be its approver, and would not be noticed."""


@dataclass(frozen=True, slots=True)
class LoginStart:
    """A login that began: `url` for the browser, `attempt` for the database."""

    url: str
    attempt: LoginAttempt


@dataclass(frozen=True, slots=True)
class Login:
    """A verified login.

    Attributes:
        principal: without roles; `assign_roles` gives those of an account. It has no client.
        auth_time: seconds since the epoch at which the user logged in; None: not stated.
        acr: strength of the login, by the issuer's name, or "".
    """

    principal: Principal
    auth_time: float | None
    acr: str


@dataclass(frozen=True, slots=True)
class LoginClient:
    """The page as a client of its issuer. It keeps nothing between `begin` and `finish`.

    Attributes:
        page: client id and issuer, of the team file.
        providers: the team's issuers.
        redirect_uri: exact address of the callback, as it is registered at the issuer.
        secret: of the client; None for a public one.
        clock: seconds since the epoch.
    """

    page: PageLogin
    providers: Providers
    redirect_uri: str
    secret: Secret | None = None
    clock: Callable[[], float] = time.time

    async def begin(self, options: LoginOptions = LoginOptions()) -> LoginStart:  # noqa: B008  immutable
        """Start a login.

        Raises:
            IssuerUnavailable: the issuer's endpoints cannot be fetched, or it has no login.
        """
        metadata = await self._metadata(self._provider())
        attempt = LoginAttempt(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            created_at=self.clock(),
            max_age=options.max_age,
            acr_values=options.acr_values,
        )
        url = make_authorization_url(
            metadata, attempt, options, self.page.client_id, self.redirect_uri
        )
        return LoginStart(url, attempt)

    async def finish(self, attempt: LoginAttempt, query: str) -> Login:
        """End a login by the query string of its callback.

        The caller removes the attempt first, so that a response is used once.

        Raises:
            LoginRefused: the response, the code or the ID token is not accepted.
            IssuerUnavailable: the issuer did not answer; the login has to begin again.
        """
        provider = self._provider()
        metadata = await self._metadata(provider)
        code = read_code(query, attempt, metadata, self.clock())
        tokens = await self._redeem(provider, metadata, code, attempt)
        token, authentication = await self._verify(provider, tokens, attempt)
        claims = token.claims
        principal = self._make_principal(provider, claims)
        if metadata.userinfo_endpoint and not has_role_values(claims, provider.issuer.roles_claim):
            claims = await self._add_user_info(provider, metadata, tokens, claims)
            # Who logged in is what the signed token shows, whatever is added to it.
            added = self._make_principal(provider, claims)
            principal = replace(added, subject=principal.subject)
        return Login(principal, authentication.auth_time, authentication.acr)

    def _make_principal(self, provider: Provider, claims: Mapping[str, Any]) -> Principal:
        try:
            made = make_principal(claims, provider.issuer)
        except TokenRefused as problem:
            raise LoginRefused(LoginFault.TOKEN, problem.description) from None
        return replace(made, client_id="")

    def _provider(self) -> Provider:
        provider = self.providers.get(self.page.issuer)
        if provider is None:  # the team file is checked for it
            raise IssuerUnavailable("the page's issuer is not one of the team's")
        return provider

    async def _metadata(self, provider: Provider) -> ProviderMetadata:
        metadata = await provider.metadata()
        if not (metadata.authorization_endpoint and metadata.token_endpoint):
            raise IssuerUnavailable("its discovery document has no endpoints for a login")
        if not metadata.has_one_subject and not provider.issuer.subject_claims:
            raise IssuerUnavailable(NO_SUBJECT)
        return metadata

    async def _redeem(
        self, provider: Provider, metadata: ProviderMetadata, code: str, attempt: LoginAttempt
    ) -> dict[str, Any]:
        secret = "" if self.secret is None else self.secret.reveal()
        fields, headers = make_client_authentication(
            self.page.client_id, secret, metadata.token_auth_methods
        )
        form = {**make_token_form(code, attempt, self.redirect_uri), **fields}
        found = await provider.client.post(metadata.token_endpoint, _TOKENS, form, headers)
        if found.is_success:
            return found.body
        if found.body.get("error") == "invalid_client":
            raise IssuerUnavailable("it does not accept the page's client id or secret")
        raise LoginRefused(LoginFault.CODE)

    async def _verify(
        self, provider: Provider, tokens: Mapping[str, Any], attempt: LoginAttempt
    ) -> tuple[UnverifiedToken, Authentication]:
        text, access = tokens.get("id_token"), tokens.get("access_token")
        if not isinstance(text, str) or len(text) > MAX_TOKEN_CHARS or not text.isascii():
            raise LoginRefused(LoginFault.TOKEN, "there is none")
        try:
            token = parse_token(text)
            if token.claims.get("iss") != provider.issuer.issuer:
                raise LoginRefused(LoginFault.ISSUER, "the ID token's")
            algorithm, key_id = check_header(token.header, provider.issuer.algorithms)
            verify_signature(token, await provider.find_key(key_id, algorithm), algorithm)
        except TokenRefused as problem:
            raise LoginRefused(LoginFault.TOKEN, problem.description) from None
        expected = Expected(
            client_id=self.page.client_id,
            nonce=attempt.nonce,
            asked_at=attempt.created_at,
            max_age=attempt.max_age,
            acr_values=attempt.acr_values,
        )
        found = check_id_token(token.header, token.claims, expected, self.clock())
        if isinstance(access, str):
            check_access_token_hash(token.claims, algorithm, access)
        return token, found

    async def _add_user_info(
        self,
        provider: Provider,
        metadata: ProviderMetadata,
        tokens: Mapping[str, Any],
        claims: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        """Return the claims with those of the userinfo endpoint.

        Some issuers put groups and names only there. What the ID token has is not replaced.
        """
        access = tokens.get("access_token")
        if not isinstance(access, str) or not access:
            return claims
        found = await provider.client.get(
            metadata.userinfo_endpoint, "its userinfo response", access
        )
        if not is_object(found) or found.get("sub") != claims["sub"]:
            raise LoginRefused(LoginFault.TOKEN, "the userinfo response is of another user")
        return {**found, **claims}
