"""Who was let in: a token opens one session, once; kept in memory, and only so many."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from kartra_mcp.app.page_discovery import token_expiry
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.web.views.flash import NO_MESSAGE, FlashMessage

MAX_SESSIONS = 32
MAX_USED = 10_000
LIFETIME = 86_400.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a form was refused, for `page` when it is loaded next: a reload must not send it again.

    `number` and `reason` are what was typed into it; the PIN is not kept.
    """

    page: str
    problem: KartraMCPError
    number: int | None = None
    reason: str = ""


@dataclass(slots=True)
class Session:
    """One browser. `csrf` stands in its forms; `notice` and `refusal` are said once."""

    csrf: str
    until: float
    notice: FlashMessage = NO_MESSAGE
    refusal: Refusal | None = None
    streams: list[object] = field(default_factory=list[object])

    def pop_notice(self) -> FlashMessage:
        notice, self.notice = self.notice, NO_MESSAGE
        return notice

    def pop_refusal(self, page: str) -> Refusal | None:
        """What was refused there, once."""
        if self.refusal is None or self.refusal.page != page:
            return None
        refusal, self.refusal = self.refusal, None
        return refusal


@dataclass(slots=True)
class Sessions:
    """The sessions of one page process, the least recently used first."""

    secret: bytes
    _open: dict[str, Session] = field(default_factory=dict[str, Session])
    _used: dict[str, int] = field(default_factory=dict[str, int])
    _floor: int = 0

    def login(self, token: str, now: float) -> str | None:
        """The cookie's value of a new session; None where the token lets nobody in, or no more."""
        if not self.consume_token(token, now):
            return None
        cookie = secrets.token_urlsafe(32)
        while len(self._open) >= MAX_SESSIONS:
            self._open.pop(next(iter(self._open))).streams = []  # which end
        self._open[_hash_cookie(cookie)] = Session(secrets.token_urlsafe(24), now + LIFETIME)
        return cookie

    def consume_token(self, token: str, now: float) -> bool:
        """Whether a token lets somebody in; from now on it does not."""
        until = token_expiry(self.secret, token, now)
        if until is None or until < self._floor or token in self._used:
            return False
        self._remember(token, until, now)
        return True

    def find(self, cookies: Sequence[str], now: float) -> Session | None:
        """The session that one of the cookies belongs to: others of its name are other ports'."""
        return next((found for one in cookies if (found := self._find(one, now))), None)

    def _find(self, cookie: str, now: float) -> Session | None:
        key = _hash_cookie(cookie)
        session = self._open.pop(key, None)
        if session is None or now >= session.until:
            return None
        self._open[key] = session
        return session

    def _remember(self, token: str, until: int, now: float) -> None:
        """That it was used; where too many were, none that ends as early counts any more."""
        self._used = {t: end for t, end in self._used.items() if end > now}
        if len(self._used) >= MAX_USED:
            earliest = min(self._used, key=self._used.__getitem__)
            self._floor = self._used.pop(earliest) + 1
        self._used[token] = until


def _hash_cookie(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).hexdigest()
