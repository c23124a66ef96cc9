"""Test people and OAuth clients of the stand-in. All of them are made up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Person:
    """A test person; `login` is its name at the form and in `login_hint`, and its `sub`."""

    login: str
    name: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """A registered client.

    Attributes:
        secret: "" for a public client.
        redirect_uris: exact addresses; None: any on loopback or https.
        groups: of the client itself, for client credentials; None: it may not use them.
    """

    id: str
    secret: str = ""
    redirect_uris: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None


PEOPLE = (
    Person("sam", "Sam Support", ("support",)),
    Person("bea", "Bea Billing", ("billing",)),
    Person("ben", "Ben Billing", ("billing",)),
    Person("hana", "Hana Head", ("heads",)),
    Person("hugo", "Hugo Head", ("heads",)),
    Person("ada", "Ada Audit", ("audit",)),
    Person("ida", "Ida IT", ("it",)),
    Person("noah", "Noah Nobody", ()),
)
PAGE = OAuthClient("kartra-page", "page-secret")
TERMINAL = OAuthClient("kartra-cli")
AGENT = OAuthClient("kartra-agent", "agent-secret", groups=("support",))
CLIENTS = (PAGE, TERMINAL, AGENT)
