"""Browser sessions of the page: a one-time token opens one, and they live in memory only."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from kartra_mcp.app.page_discovery import token_expiry
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.ledger.records import VerificationReport
from kartra_mcp.web.views.flash import NO_MESSAGE, FlashMessage

MAX_SESSIONS = 32
MAX_USED = 10_000
SESSION_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Error of a form, shown by `page` on its next load: a reload must not send the form again.

    `number` and `reason` repeat the user's input. The PIN is not stored.
    """

    page: str
    problem: KartraMCPError
    number: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Verified:
    """Result of a verification of the ledger, shown by `page` on its next load.

    It is shown once, because the chain may be broken a moment later.
    """

    page: str
    report: VerificationReport


class Streams(list[object]):
    """Open event streams of a session, the oldest first; one that is removed ends."""


@dataclass(slots=True)
class Session:
    """Session of one browser. `notice`, `refusal` and `verified` are shown once.

    `csrf` is the anti-forgery token in its forms; `until` is the expiry time.
    """

    csrf: str
    until: float
    notice: FlashMessage = NO_MESSAGE
    refusal: Refusal | None = None
    verified: Verified | None = None
    streams: Streams = field(default_factory=Streams)

    def pop_notice(self) -> FlashMessage:
        notice, self.notice = self.notice, NO_MESSAGE
        return notice

    def pop_refusal(self, page: str) -> Refusal | None:
        """Return and clear the refusal that belongs to this page."""
        if self.refusal is None or self.refusal.page != page:
            return None
        refusal, self.refusal = self.refusal, None
        return refusal

    def pop_verified(self, page: str) -> VerificationReport | None:
        """Return and clear the verification that belongs to this page."""
        if self.verified is None or self.verified.page != page:
            return None
        verified, self.verified = self.verified, None
        return verified.report


@dataclass(slots=True)
class Sessions:
    """The sessions of one page process, the least recently used first."""

    secret: bytes
    _open: dict[str, Session] = field(default_factory=dict[str, Session])
    _used: dict[str, int] = field(default_factory=dict[str, int])
    _floor: int = 0

    def login(self, token: str, now: float) -> str | None:
        """Open a session and return its cookie value; None if the token is invalid or used."""
        if not self.consume_token(token, now):
            return None
        cookie = secrets.token_urlsafe(32)
        while len(self._open) >= MAX_SESSIONS:
            self._open.pop(next(iter(self._open))).streams.clear()  # ends them
        self._open[_hash_cookie(cookie)] = Session(secrets.token_urlsafe(24), now + SESSION_SECONDS)
        return cookie

    def consume_token(self, token: str, now: float) -> bool:
        """Mark a token as used; return True if it was valid and unused."""
        until = token_expiry(self.secret, token, now)
        if until is None or until < self._floor or token in self._used:
            return False
        self._remember(token, until, now)
        return True

    def find(self, cookies: Sequence[str], now: float) -> Session | None:
        """Return the session that one of the cookies opens.

        Several cookies may carry our name, because cookies are shared by all ports of a host.
        """
        return next((found for one in cookies if (found := self._find(one, now))), None)

    def _find(self, cookie: str, now: float) -> Session | None:
        key = _hash_cookie(cookie)
        session = self._open.pop(key, None)
        if session is None or now >= session.until:
            return None
        self._open[key] = session
        return session

    def _remember(self, token: str, until: int, now: float) -> None:
        """Record a token as used.

        When the record is full, the token that expires first is dropped. From then on every token
        that expires as early is rejected, so that a dropped one cannot be used again.
        """
        self._used = {t: end for t, end in self._used.items() if end > now}
        if len(self._used) >= MAX_USED:
            earliest = min(self._used, key=self._used.__getitem__)
            self._floor = self._used.pop(earliest) + 1
        self._used[token] = until


def _hash_cookie(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).hexdigest()
