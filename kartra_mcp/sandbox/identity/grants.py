"""The token endpoint: codes with PKCE, refresh tokens, and client credentials; and userinfo."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kartra_mcp.sandbox.identity.people import OAuthClient
from kartra_mcp.sandbox.identity.provider import (
    ACCESS_SECONDS,
    Grant,
    IdentityProvider,
    make_profile,
)

_NO_STORE = {"Cache-Control": "no-store"}


class GrantError(Exception):
    """An error of RFC 6749, by its code."""


async def issue_tokens(provider: IdentityProvider, request: Request) -> Response:
    if provider.faults.token:
        return Response(status_code=503)
    form = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
    try:
        client = _authenticate(provider, form, request.headers.get("authorization", ""))
        grant = _grant(provider, client, form)
    except GrantError as problem:
        error = str(problem)
        return JSONResponse({"error": error}, 401 if error == "invalid_client" else 400, _NO_STORE)
    return JSONResponse(_make_response(provider, grant, form), headers=_NO_STORE)


async def show_user(provider: IdentityProvider, request: Request) -> Response:
    """Handle userinfo: the profile of the person whose access token is sent."""
    _, _, token = request.headers.get("authorization", "").partition(" ")
    grant = provider.access_tokens.get(token)
    if grant is None:
        return JSONResponse({"error": "invalid_token"}, 401)
    profile = {"sub": grant.person.login, **make_profile(grant.person)}
    return JSONResponse({**profile, **provider.faults.userinfo})


def _authenticate(
    provider: IdentityProvider, form: dict[str, str], authorization: str
) -> OAuthClient:
    number, secret = form.get("client_id", ""), form.get("client_secret", "")
    if authorization.startswith("Basic "):
        try:
            pair = base64.b64decode(authorization[6:], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise GrantError("invalid_client") from None
        number, _, secret = (unquote_plus(part) for part in pair.partition(":"))
    client = provider.clients.get(number)
    if client is None or not secrets.compare_digest(client.secret, secret):
        raise GrantError("invalid_client")
    return client


def _grant(provider: IdentityProvider, client: OAuthClient, form: dict[str, str]) -> Grant:
    kind = form.get("grant_type")
    if kind == "authorization_code":
        return _redeem_code(provider, client, form)
    if kind == "refresh_token":
        grant = provider.refresh_tokens.pop(form.get("refresh_token", ""), None)
        if grant is None or grant.client != client:
            raise GrantError("invalid_grant")
        return grant
    if kind == "client_credentials":
        if client.groups is None:
            raise GrantError("unauthorized_client")
        scopes = tuple(form.get("scope", "").split())
        return Grant(provider.machine(client), client, scopes, "", int(provider.clock()))
    raise GrantError("unsupported_grant_type")


def _redeem_code(provider: IdentityProvider, client: OAuthClient, form: dict[str, str]) -> Grant:
    grant = provider.codes.pop(form.get("code", ""), None)
    if grant is None or grant.client != client or grant.ends < provider.clock():
        raise GrantError("invalid_grant")
    if grant.redirect_uri != form.get("redirect_uri"):
        raise GrantError("invalid_grant")
    digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
    if (
        not provider.faults.any_verifier
        and base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != grant.challenge
    ):
        raise GrantError("invalid_grant")
    return grant


def _make_response(
    provider: IdentityProvider, grant: Grant, form: dict[str, str]
) -> dict[str, Any]:
    audience = form.get("resource", form.get("audience", grant.audience)) or grant.client.id
    kept = replace(grant, audience=audience)
    found: dict[str, Any] = {
        "access_token": provider.sign_access(kept),
        "token_type": "Bearer",
        "expires_in": ACCESS_SECONDS,
        "scope": " ".join(grant.scopes),
    }
    if form["grant_type"] == "client_credentials":
        return found
    found["refresh_token"] = secrets.token_urlsafe(24)
    provider.refresh_tokens[found["refresh_token"]] = kept
    if "openid" in grant.scopes:
        found["id_token"] = provider.sign_id(kept, found["access_token"])
    return found
