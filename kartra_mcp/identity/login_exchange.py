"""Texts of the code flow: authorization request, its response, and the request for tokens. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote_plus, urlencode, urlsplit

from kartra_mcp.identity.discovery import BASIC, POST, ProviderMetadata
from kartra_mcp.identity.refusals import LoginFault, LoginRefused

MAX_QUERY_CHARS = 8_192
MAX_FIELDS = 20
ATTEMPT_SECONDS = 600.0
"""Seconds between the request and the response of a login."""
DEFAULT_SCOPES = ("openid", "profile")


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """State of one login between request and response, kept on the server, used once.

    It is found by its state, and only in the browser that began it: the caller binds it to a
    cookie. `verifier` and `nonce` are never shown to the browser.

    Attributes:
        max_age: seconds before `created_at` that the user may have logged in; None: any.
        acr_values: one of these is required, if there are any.
        created_at: seconds since the epoch.
    """

    state: str
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    created_at: float
    max_age: float | None = None
    acr_values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoginOptions:
    """Wishes for one login.

    Attributes:
        max_age: None does not ask for a fresh login; 0 asks for one now.
        acr_values: the strength that is required, by the issuer's names.
        login_hint: name of the user, for the issuer's form.
        prompt: `login` or `select_account`, or "".
    """

    max_age: float | None = None
    acr_values: tuple[str, ...] = ()
    login_hint: str = ""
    prompt: str = ""


def make_authorization_url(
    metadata: ProviderMetadata,
    attempt: LoginAttempt,
    options: LoginOptions,
    client_id: str,
    redirect_uri: str,
) -> str:
    """Return the address to which the browser is sent."""
    fields = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(DEFAULT_SCOPES),
        "state": attempt.state,
        "nonce": attempt.nonce,
        "code_challenge": make_code_challenge(attempt.verifier),
        "code_challenge_method": "S256",
        "login_hint": options.login_hint,
        "prompt": options.prompt,
        "acr_values": " ".join(attempt.acr_values),
        "max_age": "" if attempt.max_age is None else str(int(attempt.max_age)),
    }
    endpoint = metadata.authorization_endpoint
    query = urlencode({name: value for name, value in fields.items() if value})
    return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{query}"


def make_code_challenge(verifier: str) -> str:
    return _encode(hashlib.sha256(verifier.encode()).digest())


def read_code(query: str, attempt: LoginAttempt, metadata: ProviderMetadata, now: float) -> str:
    """Return the code in the response to an attempt.

    Args:
        query: query string of the callback, as it was sent.
        attempt: the login that it should belong to.
        metadata: of its issuer.
        now: seconds since the epoch.

    Raises:
        LoginRefused: the response is of another login or issuer, an error, late, or malformed.
    """
    fields = _parse_query(query)
    if not hmac.compare_digest(
        fields.get("state", "").encode("utf-8", "replace"), attempt.state.encode()
    ):
        raise LoginRefused(LoginFault.STATE)
    # Before the rest: a response of another issuer would send its code to ours (RFC 9207).
    issuer = fields.get("iss")
    if issuer != metadata.issuer and (issuer is not None or metadata.sends_issuer):
        raise LoginRefused(LoginFault.ISSUER)
    if now - attempt.created_at > ATTEMPT_SECONDS:
        raise LoginRefused(LoginFault.EXPIRED)
    if "error" in fields:
        raise LoginRefused(LoginFault.DENIED)
    code = fields.get("code", "")
    if not code or not code.isprintable():
        raise LoginRefused(LoginFault.RESPONSE, "it has no code")
    return code


def _parse_query(query: str) -> dict[str, str]:
    if len(query) > MAX_QUERY_CHARS:
        raise LoginRefused(LoginFault.RESPONSE, "its query is too long")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError:
        raise LoginRefused(LoginFault.RESPONSE, "its query cannot be read") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise LoginRefused(LoginFault.RESPONSE, "a parameter is there twice")
    return fields


def make_client_authentication(
    client_id: str, secret: str, methods: tuple[str, ...]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the form fields and headers by which a client proves its identity.

    A client without a secret is public: PKCE alone binds the code to it.
    """
    if not secret:
        return {"client_id": client_id}, {}
    if BASIC in methods or POST not in methods:
        pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"  # RFC 6749, 2.3.1
        return {}, {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    return {"client_id": client_id, "client_secret": secret}, {}


def make_token_form(code: str, attempt: LoginAttempt, redirect_uri: str) -> Mapping[str, str]:
    return {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": attempt.verifier,
    }


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
