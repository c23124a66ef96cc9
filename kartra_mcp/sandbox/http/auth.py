"""Authentication: a bearer token of the rehearsal workspace, as Membrane documents tokens.

Accepted are tokens that begin with `TOKEN`, and JWTs signed with the workspace's secret, with the
documented claim names (`workspaceKey`, `tenantKey`) or those of the vendor's JavaScript client
(`iss`, `id`). The values are fixed and printed, and open nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jwt

from kartra_mcp.sandbox.membrane.errors import MembraneError
from kartra_mcp.sandbox.store.database import Account

WORKSPACE = TENANT = "sandbox"
TOKEN = "pat-sandbox"  # noqa: S105  made up, and of use nowhere
SECRET = "the-secret-of-a-made-up-workspace-which-opens-nothing-but-the-sandbox"  # noqa: S105
SIGNED = ["HS256", "HS384", "HS512"]


def authenticate(account: Account, headers: Mapping[str, str]) -> None:
    """Authenticate a request.

    Raises:
        MembraneError: `not_authenticated`, unless the token names this workspace and its tenant.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise _unknown_token_error("Access token is not provided")
    _check_token(token.strip())
    if account.setting("login") != "yes":
        raise _unknown_token_error("The session has expired")


def _check_token(token: str) -> None:
    if token.startswith("pat-"):
        if not token.startswith(TOKEN):
            raise _unknown_token_error("This access token is not known")
        return
    claims = _parse_claims(token)
    if WORKSPACE not in {claims.get("workspaceKey"), claims.get("iss")}:
        raise _unknown_token_error("This workspace is not known")
    tenant = claims.get("tenantKey") or claims.get("id")
    if tenant != TENANT and not (tenant is None and claims.get("isAdmin") is True):
        raise _unknown_token_error("This tenant is not known")


def _parse_claims(token: str) -> dict[str, Any]:
    try:
        return jwt.decode(token, SECRET, algorithms=SIGNED, options={"require": ["exp"]})
    except jwt.ExpiredSignatureError as error:
        raise _unknown_token_error("Access token has expired") from error
    except jwt.PyJWTError as error:
        raise _unknown_token_error("Access token is not valid") from error


def _unknown_token_error(message: str) -> MembraneError:
    return MembraneError(message, key="not_authenticated")
