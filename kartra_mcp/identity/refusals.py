"""Refusals of tokens and logins. No text of a token, a code or an issuer is part of one. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class TokenFault(StrEnum):
    """Reason for refusing a bearer token; also a label of metrics."""

    REPEATED = "repeated"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    ALGORITHM = "algorithm"
    HEADER = "header"
    NOT_ACCESS_TOKEN = "not_access_token"  # noqa: S105  a label
    ISSUER = "issuer"
    UNKNOWN_KEY = "unknown_key"
    SIGNATURE = "signature"
    CLAIMS = "claims"
    AUDIENCE = "audience"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    TOO_OLD = "too_old"
    SENDER_CONSTRAINED = "sender_constrained"
    REVOKED = "revoked"


DESCRIPTIONS: Mapping[TokenFault, str] = {
    TokenFault.REPEATED: "The request has several Authorization headers",
    TokenFault.MALFORMED: "The token is not a signed JWT",
    TokenFault.TOO_LARGE: "The token is too large",
    TokenFault.ALGORITHM: "The signature algorithm is not accepted for this issuer",
    TokenFault.HEADER: "The token header has a parameter that is not accepted",
    TokenFault.NOT_ACCESS_TOKEN: "The token is not an access token",
    TokenFault.ISSUER: "The issuer is not accepted",
    TokenFault.UNKNOWN_KEY: "The issuer has no such signing key",
    TokenFault.SIGNATURE: "The signature is not valid",
    TokenFault.CLAIMS: "A required claim is missing or not valid",
    TokenFault.AUDIENCE: "The token was issued for another resource",
    TokenFault.EXPIRED: "The token has expired",
    TokenFault.NOT_YET_VALID: "The token is not valid yet",
    TokenFault.TOO_OLD: "The token was issued too long ago or for too long",
    TokenFault.SENDER_CONSTRAINED: "The token is bound to a key that this request did not use",
    TokenFault.REVOKED: "An admin revoked the token",
}


class TokenRefused(Exception):
    """Refusal of a bearer token: 401 with a challenge; 400 for a malformed request.

    Attributes:
        fault: the reason, one of a fixed set.
        error: `error` of RFC 6750.
        description: `error_description` of RFC 6750.
    """

    def __init__(self, fault: TokenFault) -> None:
        super().__init__(DESCRIPTIONS[fault])
        self.fault = fault

    @property
    def error(self) -> str:
        return "invalid_request" if self.fault is TokenFault.REPEATED else "invalid_token"

    @property
    def description(self) -> str:
        return DESCRIPTIONS[self.fault]


class NotAMember(Exception):
    """Refusal of a valid token: 403 without content. The account may not exist at all."""

    def __init__(self) -> None:
        super().__init__("The user is not a member of this account")


class IssuerUnavailable(Exception):
    """Keys or endpoints of an issuer cannot be fetched: 503. The token was not judged.

    Attributes:
        reason: the fault in our words, for logs and `team check`; never the issuer's text.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"The identity provider cannot be used: {reason}")
        self.reason = reason


class LoginFault(StrEnum):
    """Reason for refusing a login on the page; also a label of metrics."""

    RESPONSE = "response"
    STATE = "state"
    EXPIRED = "expired"
    ISSUER = "issuer"
    DENIED = "denied"
    CODE = "code"
    TOKEN = "token"  # noqa: S105  a label
    STALE = "stale"
    ACR = "acr"


LOGIN_DESCRIPTIONS: Mapping[LoginFault, str] = {
    LoginFault.RESPONSE: "The identity provider's response cannot be used",
    LoginFault.STATE: "The response does not belong to this login",
    LoginFault.EXPIRED: "The login took too long",
    LoginFault.ISSUER: "The response is from another identity provider",
    LoginFault.DENIED: "The identity provider did not log you in",
    LoginFault.CODE: "The identity provider did not accept the code of this login",
    LoginFault.TOKEN: "The identity provider's ID token is not valid for this login",
    LoginFault.STALE: "The identity provider did not ask you to log in again",
    LoginFault.ACR: "The login was not as strong as is required",
}


class LoginRefused(Exception):
    """Refusal of a login; no session is made.

    Attributes:
        fault: the reason, one of a fixed set.
        detail: more about it in our words, for logs.
    """

    def __init__(self, fault: LoginFault, detail: str = "") -> None:
        super().__init__(LOGIN_DESCRIPTIONS[fault])
        self.fault = fault
        self.detail = detail

    @property
    def description(self) -> str:
        return LOGIN_DESCRIPTIONS[self.fault]
