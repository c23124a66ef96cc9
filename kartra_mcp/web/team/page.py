"""ASGI application of the team's page: everything at and below `/page`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.principal import Principal
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.core.timings import Clock
from kartra_mcp.identity.login import Login, LoginClient
from kartra_mcp.policy.roles import Right
from kartra_mcp.team.config import DEFAULT_MAX_AGE, TeamConfig
from kartra_mcp.web.actions import get_form, get_session
from kartra_mcp.web.middleware import AuthMiddleware
from kartra_mcp.web.routes import error_handlers, forbidden_error, make_static_route
from kartra_mcp.web.team.accounts import AccountPages, PageAccount, Viewers, make_account_pages
from kartra_mcp.web.team.addresses import make_team_site
from kartra_mcp.web.team.gate import TeamGate, TeamSession
from kartra_mcp.web.team.login import TeamLogin
from kartra_mcp.web.team.records import PageStore
from kartra_mcp.web.team.return_paths import AGAIN, CALLBACK, LOGIN, LOGOUT, ROOT
from kartra_mcp.web.team.session_list import SessionList
from kartra_mcp.web.team.switching import describe_stops, read_stop_reason
from kartra_mcp.web.timings import PageTimings
from kartra_mcp.web.views.place import STATIC
from kartra_mcp.web.views.plain_pages import PlainPages

_ACCOUNTS = f"{ROOT}/a/"


@dataclass(frozen=True, slots=True)
class TeamPage:
    """The page of a team. Send it every request whose path is `/page` or below.

    Run `run` as long as requests are served; `end` ends open event streams, so that a server can
    stop.
    """

    app: AuthMiddleware
    accounts: dict[str, AccountPages]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)

    async def run(self) -> None:
        """Read the ledger of each account while one of its pages is open."""
        async with anyio.create_task_group() as tasks:
            for pages in self.accounts.values():
                tasks.start_soon(pages.live.run)

    def end(self) -> None:
        for pages in self.accounts.values():
            pages.live.end()


def make_team_page(
    config: TeamConfig,
    accounts: Iterable[PageAccount],
    client: LoginClient,
    store: PageStore,
    timings: PageTimings = PageTimings(),  # noqa: B008  immutable
    clock: Clock = time.time,
) -> TeamPage:
    """Return the page.

    Args:
        config: the team file.
        accounts: its accounts, with what the page needs of each.
        client: the code flow at the issuer of the page.
        store: logins and sessions of every replica.
        timings: timeouts and intervals.
        clock: the wall clock.
    """
    plain = PlainPages(home=ROOT, static=f"{ROOT}{STATIC}")
    site = make_team_site(config.public_url)
    served = list(accounts)

    def is_shut_out(principal: str) -> bool:  # not while it is not known: that ends a session
        return all(account.is_revoked(principal) for account in served)

    gate = TeamGate(site, store, plain, is_shut_out, clock)
    max_age = config.page.max_age if config.page else DEFAULT_MAX_AGE
    pages = {
        account.config.name: make_account_pages(account, plain, timings, max_age)
        for account in served
    }
    root = _Root(pages, Viewers(config, max_age, clock), plain)
    app = _RootApp(root, root.make_app(TeamLogin(gate, client), SessionList(gate)))
    return TeamPage(AuthMiddleware(app, site, gate, plain, timings.request_body), pages)


@dataclass(frozen=True, slots=True)
class _Root:
    """Routes outside the accounts."""

    accounts: dict[str, AccountPages]
    viewers: Viewers
    plain: PlainPages

    def make_app(self, login: TeamLogin, sessions: SessionList) -> Starlette:
        made = Starlette(
            routes=[
                Route(ROOT, self._accounts_page, methods=["GET"]),
                Route(f"{ROOT}/", self._accounts_page, methods=["GET"]),
                Route(LOGIN, login.begin, methods=["GET"]),
                Route(CALLBACK, login.finish, methods=["GET"]),
                Route(AGAIN, login.again, methods=["GET"]),
                Route(LOGOUT, login.logout, methods=["POST"]),
                Route(f"{ROOT}/writes/stop", self._stop_all, methods=["POST"]),
                *sessions.make_routes(),
                make_static_route(ROOT),
            ],
            exception_handlers=error_handlers(self.plain),
        )
        made.router.redirect_slashes = False
        return made

    async def _accounts_page(self, request: Request) -> Response:
        """Show the accounts of the user; nothing of the others, not even their number."""
        session, login = get_session(request), get_login(request.scope)
        page = await run_in_thread(
            self.plain.render_accounts,
            login.principal.name,
            session.csrf,
            self.viewers.list_accounts(self.accounts, login),
            stops=[pages.account.config.title for pages, _ in self._list_administered(login)],
            notice=session.pop_notice(),
        )
        return HTMLResponse(page)

    async def _stop_all(self, request: Request) -> Response:
        """Stop the writes of each account in which the user is an admin."""
        administered = self._list_administered(get_login(request.scope))
        if not administered:
            raise forbidden_error()
        reason = read_stop_reason(get_form(request))
        stopped, failed = list[str](), list[str]()
        for pages, principal in administered:
            title = pages.account.config.title
            try:
                await run_in_thread(pages.account.ledger.switch.stop, principal, reason)
            except KartraMCPError as problem:  # the other accounts must be stopped all the same
                failed.append(f"{title}: {problem.message}")
            else:
                stopped.append(title)
        get_session(request).notice = describe_stops(stopped, failed)
        return RedirectResponse(ROOT, HTTPStatus.SEE_OTHER)

    def _list_administered(self, login: Login) -> list[tuple[AccountPages, Principal]]:
        found: list[tuple[AccountPages, Principal]] = []
        for pages in self.accounts.values():
            viewer = self.viewers.make(pages.account, login)
            if viewer is not None and viewer.may(Right.ADMIN):
                found.append((pages, viewer.team_principal))
        return found


@dataclass(frozen=True, slots=True)
class _RootApp:
    """Passes the requests of an account to its pages, and all others to the routes of the root."""

    root: _Root
    app: Starlette

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["path"].startswith(_ACCOUNTS):
            await self.app({**scope, "root_path": ""}, receive, send)
            return
        name = scope["path"].removeprefix(_ACCOUNTS).partition("/")[0]
        pages = self.root.accounts.get(name)
        viewer = self.root.viewers.make(pages.account, get_login(scope)) if pages else None
        if pages is None or viewer is None:
            # An account of others is answered as one that does not exist.
            status = HTTPStatus.NOT_FOUND
            page = await run_in_thread(self.root.plain.render_error, status, None)
            await HTMLResponse(page, status)(scope, receive, send)
        elif scope["path"] == pages.root:
            await RedirectResponse(f"{pages.root}/", HTTPStatus.SEE_OTHER)(scope, receive, send)
        elif scope["path"] == f"{pages.root}/" and not viewer.may(Right.READ):
            path = f"{pages.root}/done"  # the first page of a user who may see no request
            await RedirectResponse(path, HTTPStatus.SEE_OTHER)(scope, receive, send)
        else:
            within = {**scope, "root_path": pages.root, "viewer": viewer}
            await pages.app(within, receive, send)


def get_login(scope: Scope) -> Login:
    session = scope["session"]
    assert isinstance(session, TeamSession)  # noqa: S101  the middleware requires one
    return session.stored.login
