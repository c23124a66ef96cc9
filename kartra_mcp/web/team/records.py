"""Logins that have begun and sessions of the team's page, and the store that keeps them.

Every replica serves every session, so that the store is shared. It keeps hashes of what a browser
holds: who reads its tables cannot log in.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

from kartra_mcp.identity.login import Login
from kartra_mcp.identity.login_exchange import LoginAttempt

SESSION_SECONDS = 28_800.0
"""Seconds after which a session ends, used or not: roles are read at its login."""
IDLE_SECONDS = 1_800.0
"""Seconds without a request of the user after which a session ends."""
TOUCH_SECONDS = 30.0
"""Seconds between two records of the use of a session."""


@dataclass(frozen=True, slots=True)
class BegunLogin:
    """A login that has begun; used once.

    Attributes:
        attempt: secrets and times of the login.
        browser: hash of a cookie: a login ends in the browser in which it began.
        return_path: path of ours to return to.
    """

    attempt: LoginAttempt
    browser: str
    return_path: str


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session; `key` is the hash of its cookie, `flash` what it shows once."""

    key: str
    login: Login
    opened_at: float
    used_at: float
    flash: str = ""

    def is_over(self, now: float) -> bool:
        return now >= min(self.opened_at + SESSION_SECONDS, self.used_at + IDLE_SECONDS)


class PageStore(Protocol):
    """Logins and sessions of all replicas. Synchronous: call it from a worker thread."""

    def add_login(self, key: str, begun: BegunLogin) -> None:
        """Keep a login that has begun; `key` is the hash of its state."""
        ...

    def take_login(self, key: str) -> BegunLogin | None:
        """Return and remove a login: of two that take it, one gets it."""
        ...

    def open_session(self, session: StoredSession, replaces: str = "") -> None:
        """Add a session, and end the one whose key is `replaces`."""
        ...

    def find_session(self, key: str) -> StoredSession | None: ...

    def list_sessions(self, principal: str) -> list[StoredSession]:
        """List the sessions of a principal by its key, the newest first."""
        ...

    def touch_session(self, key: str, now: float) -> None: ...

    def set_flash(self, key: str, flash: str) -> None: ...

    def end_session(self, key: str) -> None: ...


def hash_secret(secret: str) -> str:
    """Return the hash by which the store knows a random value that a browser holds."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
