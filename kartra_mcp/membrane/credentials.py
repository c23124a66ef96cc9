"""Credentials for Membrane's API, found in variables, and tokens minted from them. Pure.

The variables are those that Membrane documents for its own tools. A secret is wrapped so that no
repr, log, error or answer contains it; it is unwrapped only to send it or to sign.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from kartra_mcp.core.models import FENCED, UNFENCED, Fence

ADDRESS = "https://api.getmembrane.com"
LIFETIME, REFRESH_MARGIN = 300, 60
"""Lifetime of a token for reads in seconds, and the rest of it at which the next one is minted."""

TOKENS = ("MEMBRANE_ACCESS_TOKEN", "MEMBRANE_TOKEN")
WORKSPACE, SECRET = "MEMBRANE_WORKSPACE_KEY", "MEMBRANE_WORKSPACE_SECRET"
TENANTS = ("MEMBRANE_TENANT_KEY", "MEMBRANE_TEST_CUSTOMER_ID")
ADDRESSES = ("MEMBRANE_API_URI", "MEMBRANE_API_URL")

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SECRET = re.compile(r"[\x21-\x7e]{8,8192}")
_PATH = re.compile(r"(?:/[\w.~-]+)*")


class Secret:
    """A text that is never displayed; `reveal` is for sending it and for signing."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __reduce__(self) -> str:
        raise TypeError("a secret cannot be pickled or copied")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Address without its last slash, and a token or the workspace secret that mints one."""

    address: str
    token: Secret | None = None
    workspace: str = ""
    secret: Secret | None = None
    tenant: str = ""

    @property
    def host(self) -> str:
        return urlsplit(self.address).netloc

    @property
    def fence(self) -> Fence:
        """Fence of each write: a token that ends with its right to be sent, or none."""
        return UNFENCED if self.secret is None else FENCED

    @property
    def is_loopback(self) -> bool:
        """True if the address is on this machine."""
        return urlsplit(self.address).hostname in _LOOPBACK


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token and its expiry in seconds since the epoch; 0 if unknown."""

    token: Secret
    ends: float = 0.0

    def is_valid(self, now: float) -> bool:
        return not self.ends or self.ends - now > REFRESH_MARGIN


def credentials_from_env(environment: Mapping[str, str]) -> tuple[Credentials | None, str]:
    """Return the credentials and "", or None and the reason.

    The reason is "" if no credentials are set, and names the variable that is missing or unusable
    otherwise.
    """
    token = _first_set(environment, TOKENS)
    workspace, secret = _first_set(environment, (WORKSPACE,)), _first_set(environment, (SECRET,))
    if not (token or workspace or secret):
        return None, ""
    tenant = _first_set(environment, TENANTS)
    address = _parse_address(_first_set(environment, ADDRESSES) or ADDRESS)
    wrong = _describe_missing(
        {} if token else {WORKSPACE: workspace, SECRET: secret, TENANTS[0]: tenant}
    )
    wrong = wrong or _find_unfit({TOKENS[0]: token} if token else {SECRET: secret})
    if not wrong and address is None:
        wrong = f"{ADDRESSES[0]} is not an https address"
    if wrong or address is None:
        return None, wrong
    if token:
        return Credentials(address, Secret(token)), ""
    return Credentials(address, None, workspace, Secret(secret), tenant), ""


def access_token(credentials: Credentials, now: float) -> AccessToken:
    """Return a token for reads from now on: the given one, or a new one for five minutes."""
    if credentials.token is not None:
        return AccessToken(credentials.token)
    return mint_token(credentials, int(now) + LIFETIME)


def mint_token(credentials: Credentials, ends: float, id_: str = "") -> AccessToken:
    """Return a new token that ends then.

    It is a JWT under HS256 with the claims that Membrane documents. `id_` is its registered claim
    `jti`, so that no two writes are sent under one token.
    """
    assert credentials.secret is not None  # noqa: S101  the caller checks
    claims = {"workspaceKey": credentials.workspace, "tenantKey": credentials.tenant, "exp": ends}
    claims |= {"jti": id_} if id_ else {}
    signed = f"{_encode_part({'alg': 'HS256', 'typ': 'JWT'})}.{_encode_part(claims)}"
    key = credentials.secret.reveal().encode()
    signature = hmac.digest(key, signed.encode(), hashlib.sha256)
    return AccessToken(Secret(f"{signed}.{_encode_base64(signature)}"), ends)


def _first_set(environment: Mapping[str, str], names: tuple[str, ...]) -> str:
    """Return the first variable that is set, else "".

    A placeholder that a client left unfilled counts as unset.
    """
    texts = (environment.get(name, "").strip() for name in names)
    return next((text for text in texts if text and not text.startswith("${")), "")


def _describe_missing(values: Mapping[str, str]) -> str:
    missing = [name for name, text in values.items() if not text]
    return f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} not set" * bool(missing)


def _find_unfit(values: Mapping[str, str]) -> str:
    """Return why a secret is unusable: a header would fail, or it would match any text."""
    unfit = [name for name, text in values.items() if not _SECRET.fullmatch(text)]
    return f"{unfit[0]} is too short, or contains a blank or a non-ASCII character" if unfit else ""


def _parse_address(text: str) -> str | None:
    """Return the address if it is https, or http on loopback; nothing else gets a secret."""
    try:
        parts = urlsplit(text)
        host, port, user = parts.hostname, parts.port, parts.username
    except ValueError:
        return None
    safe = parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)
    plain = text.isascii() and user is None and not parts.query and not parts.fragment
    path = parts.path.rstrip("/")
    if not (safe and plain and host and port != 0 and _PATH.fullmatch(path)):
        return None
    return f"{parts.scheme}://{parts.netloc}{path}"


def _encode_part(value: Mapping[str, object]) -> str:
    return _encode_base64(json.dumps(value, separators=(",", ":")).encode())


def _encode_base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
