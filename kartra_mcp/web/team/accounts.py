"""The pages of one account of a team: the routes of the single user's page, for its members."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.applications import Starlette

from kartra_mcp.core.timings import Clock
from kartra_mcp.identity.login import Login
from kartra_mcp.identity.principals import assign_roles
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.policy.limits import Limits
from kartra_mcp.policy.roles import page_rights
from kartra_mcp.team.config import TeamAccount, TeamConfig
from kartra_mcp.web.actions import Actions
from kartra_mcp.web.backend import Backend
from kartra_mcp.web.events import PageEvents
from kartra_mcp.web.routes import Routes
from kartra_mcp.web.sessions import Session
from kartra_mcp.web.team.decider import TeamDecider
from kartra_mcp.web.team.gate import TeamSession
from kartra_mcp.web.team.return_paths import AGAIN, ROOT
from kartra_mcp.web.team.switching import SwitchActions
from kartra_mcp.web.timings import PageTimings
from kartra_mcp.web.views.pages import Pages
from kartra_mcp.web.views.place import STATIC, Place
from kartra_mcp.web.views.plain_pages import PlainPages
from kartra_mcp.web.views.viewer import Viewer

STREAM_SECONDS = 60.0
"""Seconds after which an event stream ends: its session may have ended on another replica."""


@dataclass(frozen=True, slots=True)
class PageAccount:
    """Parts of an account that its page needs: its ledger, its caps, its server.

    `is_revoked`: an admin revoked the access of the principal with this key; None while that is
    not known.
    """

    config: TeamAccount
    ledger: Ledger
    limits: Limits
    backend: Backend
    is_revoked: Callable[[str], bool | None]

    def admits(self, principal: str) -> bool:
        """Return whether it is known that the access of a principal is not revoked."""
        return self.is_revoked(principal) is False


@dataclass(frozen=True, slots=True)
class AccountPages:
    """The pages of an account, and the events of its ledger."""

    account: PageAccount
    root: str
    app: Starlette
    live: PageEvents


def account_root(name: str) -> str:
    return f"{ROOT}/a/{name}"


def make_account_pages(
    account: PageAccount, plain: PlainPages, timings: PageTimings, max_age: float
) -> AccountPages:
    ledger, root = account.ledger, account_root(account.config.name)
    place = Place(
        root=root,
        static=f"{ROOT}{STATIC}",
        limits=account.limits,
        title=account.config.title,
        home=ROOT,
        again=AGAIN,
    )

    def admits(session: Session) -> bool:
        assert isinstance(session, TeamSession)  # noqa: S101  made by the gate
        return account.admits(session.principal)

    live = PageEvents(ledger, timings.event_poll, STREAM_SECONDS, admits)
    actions = Actions(ledger, account.backend, TeamDecider(ledger, max_age), root, AGAIN)
    switch = SwitchActions(ledger, root).make_routes()
    routes = Routes(Pages(ledger, place), plain, live, account.backend, actions, switch)
    return AccountPages(account, root, routes.make_app(), live)


@dataclass(frozen=True, slots=True)
class Viewers:
    """Makes the viewer of an account from the login of a session."""

    config: TeamConfig
    max_age: float
    clock: Clock = time.time

    def make(self, account: PageAccount, login: Login) -> Viewer | None:
        """Return the viewer; None if the user is no member, is revoked, or has no right there."""
        issuer = next((x for x in self.config.issuers if x.issuer == login.principal.issuer), None)
        if issuer is None:  # the team file has changed since the login
            return None
        principal = assign_roles(login.principal, issuer, account.config)
        if principal is None or not account.admits(principal.key) or not page_rights(principal):
            return None
        auth_time = login.auth_time or 0.0
        is_fresh = self.clock() - auth_time <= self.max_age
        return Viewer(page_rights(principal), principal, auth_time, login.acr, is_fresh)

    def list_accounts(
        self, accounts: Mapping[str, AccountPages], login: Login
    ) -> list[tuple[str, str]]:
        """Return path and title of the accounts in which the user has a right."""
        return [
            (f"{pages.root}/", pages.account.config.title)
            for pages in accounts.values()
            if self.make(pages.account, login) is not None
        ]
