"""Admission of a logged-in user: sessions in the store of the team, which every replica shares."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from weakref import WeakValueDictionary

from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Scope

from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.core.timings import Clock
from kartra_mcp.identity.login import Login
from kartra_mcp.web import request_checks
from kartra_mcp.web.request_checks import RequestHead
from kartra_mcp.web.sessions import Session, Streams
from kartra_mcp.web.site import Site
from kartra_mcp.web.team.flash_record import dump_flash, parse_flash
from kartra_mcp.web.team.records import (
    SESSION_SECONDS,
    TOUCH_SECONDS,
    PageStore,
    StoredSession,
    hash_secret,
)
from kartra_mcp.web.team.return_paths import make_login_path
from kartra_mcp.web.views.plain_pages import PlainPages

_BACKGROUND = ("/events", "/cards", "/live/")
"""Paths that an open page requests by itself: they do not count as use of a session."""


@dataclass(slots=True, kw_only=True)
class TeamSession(Session):
    """A session of the store; `stored` is as it was read."""

    stored: StoredSession

    @property
    def principal(self) -> str:
        """Return the key of the user."""
        return self.stored.login.principal.key


@dataclass(frozen=True, slots=True)
class TeamGate:
    """Sessions of the store. `_streams` are the open event streams of this replica.

    `is_shut_out`: an admin revoked every access of the principal with this key.
    """

    site: Site
    store: PageStore
    plain: PlainPages
    is_shut_out: Callable[[str], bool]
    clock: Clock = time.time
    _streams: WeakValueDictionary[str, Streams] = field(
        default_factory=WeakValueDictionary[str, Streams]
    )

    async def find(self, head: RequestHead, scope: Scope) -> Session | None:
        for cookie in request_checks.cookie_values(head, self.site.cookie):
            stored = await run_in_thread(self._find, cookie, scope["path"])
            if stored is not None:
                return self._make_session(cookie, stored)
        return None

    async def save(self, session: Session) -> None:
        assert isinstance(session, TeamSession)  # noqa: S101  made by `find`
        flash = dump_flash(session)
        if flash != session.stored.flash:
            await run_in_thread(self.store.set_flash, session.stored.key, flash)

    async def refuse(self, head: RequestHead, scope: Scope) -> Response:
        """Send a navigation to the login; answer what a script or a form sent without it."""
        is_navigation = head.get_single("sec-fetch-mode") in {None, "navigate"}
        if head.method == "GET" and is_navigation and not _is_background(scope["path"]):
            query = scope["query_string"].decode("latin-1")
            path = make_login_path(f"{scope['path']}{'?' if query else ''}{query}")
            return RedirectResponse(path, HTTPStatus.SEE_OTHER)
        page = await run_in_thread(self.plain.render_ended_session)
        return HTMLResponse(page, HTTPStatus.UNAUTHORIZED)

    def open(self, login: Login, replaces: TeamSession | None) -> str:
        """Open a session and return its cookie. Synchronous.

        The id is new at each login, so that nobody else knows it. What the same user was about to
        be shown is kept; the session before it ends.
        """
        cookie, now = secrets.token_urlsafe(32), self.clock()
        before = replaces.stored if replaces else None
        is_same = replaces is not None and replaces.principal == login.principal.key
        flash = before.flash if before is not None and is_same else ""
        session = StoredSession(hash_secret(cookie), login, now, now, flash)
        self.store.open_session(session, before.key if before else "")
        return cookie

    def list_sessions(self, principal: str) -> list[StoredSession]:
        """List the sessions of a user that are not over, the newest first. Synchronous."""
        now = self.clock()
        return [one for one in self.store.list_sessions(principal) if not one.is_over(now)]

    def end_own(self, principal: str, key: str) -> bool:
        """End a session if it is one of this user; return whether it was. Synchronous."""
        if key not in {one.key for one in self.list_sessions(principal)}:
            return False
        self.end(key)
        return True

    def end_others(self, principal: str, key: str) -> int:
        """End every session of a user but one; return their number. Synchronous."""
        others = [one.key for one in self.list_sessions(principal) if one.key != key]
        for other in others:
            self.end(other)
        return len(others)

    def end(self, key: str) -> None:
        """End a session on every replica, and its event streams on this one. Synchronous.

        Those of other replicas end with their next turn, within a minute.
        """
        self.store.end_session(key)
        streams = self._streams.get(key)
        if streams is not None:
            streams.clear()

    def _find(self, cookie: str, path: str) -> StoredSession | None:
        stored, now = self.store.find_session(hash_secret(cookie)), self.clock()
        if stored is None:
            return None
        if stored.is_over(now) or self.is_shut_out(stored.login.principal.key):
            self.store.end_session(stored.key)
            return None
        if now - stored.used_at >= TOUCH_SECONDS and not _is_background(path):
            self.store.touch_session(stored.key, now)
        return stored

    def _make_session(self, cookie: str, stored: StoredSession) -> TeamSession:
        notice, refusal, verified = parse_flash(stored.flash)
        streams = self._streams.setdefault(stored.key, Streams())
        until = stored.opened_at + SESSION_SECONDS
        return TeamSession(
            _make_csrf(cookie), until, notice, refusal, verified, streams, stored=stored
        )


def _make_csrf(cookie: str) -> str:
    """Return the anti-forgery token of a session: its cookie does not follow from it."""
    return hmac.digest(cookie.encode(), b"form", hashlib.sha256).hex()


def _is_background(path: str) -> bool:
    parts = path.split("/", 4)  # "", "page", "a", account, rest
    return len(parts) > 4 and f"/{parts[4]}".startswith(_BACKGROUND)  # noqa: PLR2004  as above
