"""Content of a team file, checked. Secrets are named by their files, not read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from kartra_mcp.core.principal import Role
from kartra_mcp.membrane.credentials import ADDRESS as MEMBRANE_ADDRESS

ALGORITHMS = (
    *("RS256", "RS384", "RS512", "ES256", "ES384", "ES512"),
    *("PS256", "PS384", "PS512", "EdDSA"),
)
"""Signatures with a public key. HS* would let the holder of a shared secret mint tokens."""

DEFAULT_ALGORITHMS = ("RS256",)
DEFAULT_ROLES_CLAIM = "groups"
DEFAULT_MAX_AGE = 300
DEFAULT_APPROVERS = 1
NOTICE_FORMATS = ("json", "slack", "teams")
"""Forms of a notice; the first is the default."""


@dataclass(frozen=True, slots=True)
class PageLogin:
    """Login of the approval page by OIDC. `max_age`: seconds since the login of an approver."""

    issuer: str
    client_id: str
    client_secret_file: str = ""
    max_age: float = DEFAULT_MAX_AGE


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer of tokens; `roles` maps a value of the claim to a role.

    `subject_claims`: claims that name a user, the first that a token has; () is `sub`, as long as
    the issuer does not give each application another one.
    """

    issuer: str
    algorithms: tuple[str, ...]
    roles_claim: str
    roles: Mapping[str, Role]
    subject_claims: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MembraneAccess:
    """Access to one Kartra account through Membrane.

    Either a workspace with its secret, from which a token for each write is minted, or a fixed
    token (`access_token_file`), with which only two persons can call an unknown write failed.
    """

    api: str = MEMBRANE_ADDRESS
    workspace_key: str = ""
    workspace_secret_file: str = ""
    tenant_key: str = ""
    access_token_file: str = ""
    connection: str = ""

    @property
    def mints_tokens(self) -> bool:
        return not self.access_token_file


@dataclass(frozen=True, slots=True)
class ApprovalBand:
    """Approvers that an amount needs; `up_to` None is the last band, without a limit."""

    up_to: Decimal | None
    approvers: int


@dataclass(frozen=True, slots=True)
class TeamAccount:
    """One Kartra account. `members` are claim values; None: all that have a role."""

    name: str
    title: str
    audiences: tuple[str, ...]
    membrane: MembraneAccess
    members: tuple[str, ...] | None = None
    policy: str = ""
    approvals: tuple[ApprovalBand, ...] = (ApprovalBand(None, DEFAULT_APPROVERS),)


@dataclass(frozen=True, slots=True)
class WriteTimes:
    """Seconds: the right to send, the wait before a look settles as failed, the clock skew."""

    send_seconds: float = 30
    settle_seconds: float = 900
    skew_seconds: float = 10


@dataclass(frozen=True, slots=True)
class AnchorPlaces:
    """Places that anchor heads of the ledger: a timestamp authority, a growing folder, or both.

    `root_certificate` names a PEM file; without it the authority's signature is not checked.
    """

    every_seconds: float = 900
    url: str = ""
    directory: str = ""
    root_certificate: str = ""


@dataclass(frozen=True, slots=True)
class NoticeTarget:
    """Webhook to which requests for approval are announced; `url` or `url_file` is set.

    `format`: one of `NOTICE_FORMATS`.
    """

    url: str = ""
    url_file: str = ""
    format: str = NOTICE_FORMATS[0]


@dataclass(frozen=True, slots=True)
class TeamConfig:
    """A whole team file. `database` and `database_file`: one of them is set.

    `lead_key_file` names the key by which addresses of leads are hashed; without it the key is
    derived from the secret of each account's Membrane access.

    `lines` has the line of each key by its path, e.g. `accounts.main.policy`, for later faults.
    """

    public_url: str
    database: str
    database_file: str
    issuers: tuple[Issuer, ...]
    accounts: Mapping[str, TeamAccount]
    lead_key_file: str = ""
    page: PageLogin | None = None
    writes: WriteTimes = field(default_factory=WriteTimes)
    anchor: AnchorPlaces | None = None
    notify: NoticeTarget | None = None
    lines: Mapping[str, int] = field(default_factory=dict[str, int], repr=False, compare=False)

    def endpoint(self, account: str) -> str:
        """Return the address of an account's MCP endpoint."""
        return make_endpoint(self.public_url, account)


def make_endpoint(public_url: str, account: str) -> str:
    return f"{public_url}/a/{account}/mcp"
