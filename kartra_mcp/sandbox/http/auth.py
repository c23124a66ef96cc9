"""Authentication: a bearer token of the rehearsal workspace, as Membrane documents tokens.

Accepted are tokens that begin with `TOKEN`, and JWTs signed with the workspace's secret, with the
documented claim names (`workspaceKey`, `tenantKey`) or those of the vendor's JavaScript client
(`iss`, `id`). The values are fixed and printed, and open nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import jwt

from kartra_mcp.sandbox.membrane.errors import MembraneError
from kartra_mcp.sandbox.store import judging
from kartra_mcp.sandbox.store.database import Account

WORKSPACE, TENANT = "sandbox", judging.DEFAULT_TENANT
TOKEN = "pat-sandbox"  # noqa: S105  made up, and of use nowhere
SECRET = "the-secret-of-a-made-up-workspace-which-opens-nothing-but-the-sandbox"  # noqa: S105
SIGNED = ["HS256", "HS384", "HS512"]


def authenticate(account: Account, headers: Mapping[str, str]) -> None:
    """Authenticate a request.

    Raises:
        MembraneError: `not_authenticated`, unless the token names this workspace and its tenant,
            and has not ended.
    """
    token = _get_token(headers)
    if not token:
        raise _unknown_token_error("Access token is not provided")
    _check_token(account, token)
    if account.setting("login") != "yes":
        raise _unknown_token_error("The session has expired")


def identify_token(headers: Mapping[str, str]) -> tuple[str, float | None]:
    """Return id and end of the token of a request, for the journal; the token is not verified.

    The id is its claim `jti`, else the first 16 hexadecimal digits of its SHA-256. A token that is
    not signed has no end.
    """
    token = _get_token(headers)
    try:
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError:
        claims = {}
    ends = claims.get("exp")
    digest = hashlib.sha256(token.encode()).hexdigest()[:16] if token else ""
    return str(claims.get("jti") or digest), ends if isinstance(ends, int | float) else None


def _get_token(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _check_token(account: Account, token: str) -> None:
    if token.startswith("pat-"):
        if not token.startswith(TOKEN):
            raise _unknown_token_error("This access token is not known")
        return
    claims = _parse_claims(token)
    leeway = judging.get_leeway(account)
    if leeway is not None and claims["exp"] + leeway <= judging.now(account):
        raise _unknown_token_error("Access token has expired")
    if WORKSPACE not in {claims.get("workspaceKey"), claims.get("iss")}:
        raise _unknown_token_error("This workspace is not known")
    tenant = claims.get("tenantKey") or claims.get("id")
    if tenant != judging.get_tenant(account) and not (
        tenant is None and claims.get("isAdmin") is True
    ):
        raise _unknown_token_error("This tenant is not known")


def _parse_claims(token: str) -> dict[str, Any]:
    try:
        # The end is judged by the account's own clock and leeway.
        options: Any = {"require": ["exp"], "verify_exp": False}
        claims: dict[str, Any] = jwt.decode(token, SECRET, algorithms=SIGNED, options=options)
    except jwt.PyJWTError as error:
        raise _unknown_token_error("Access token is not valid") from error
    if not isinstance(claims["exp"], int | float):
        raise _unknown_token_error("Access token is not valid")
    return claims


def _unknown_token_error(message: str) -> MembraneError:
    return MembraneError(message, key="not_authenticated")
