"""Discovery of the page of a state folder, and the one-time tokens of its login addresses.

`page.json` holds port and secret, readable by this user only (0600): a process that reads it can
make a token. The page's process holds `page.lock` while it serves. Each process that finds,
begins or ends a page first takes `page.turn`, so that no address of an ending or killed page is
given out.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kartra_mcp.core.file_locks import exclusive_lock, try_exclusive_lock
from kartra_mcp.core.json_types import is_object
from kartra_mcp.core.state_dir import StateDir

FILE, LOCK, TURN = "page.json", "page.lock", "page.turn"
WAIT = 1.0
"""Seconds to wait for `page.turn`, which is held only for a short read."""

LIFETIME = 86_400
"""Validity of a token, in seconds. A token is used once."""

_NONCE, _END, _MAC = 8, 4, 16
_ALL = frozenset("abcdefghijklmnop")
_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")
_DIGITS = str.maketrans("abcdefghijklmnop", "0123456789abcdef")


@dataclass(frozen=True, slots=True)
class PageEndpoint:
    """One page process: its id, its port on the loopback interface, its secret."""

    pid: int
    port: int
    secret: bytes

    def make_login_url(self, now: float) -> str:
        """Return an address that admits one browser, once."""
        return f"http://127.0.0.1:{self.port}/open/{make_token(self.secret, now)}"


@dataclass(slots=True)
class PageLock:
    """`page.lock`: while it is held, this process is the page of its folder."""

    descriptor: int | None

    def release(self) -> None:
        """Release once: a second close could hit another file with the same descriptor."""
        descriptor, self.descriptor = self.descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def make_token(secret: bytes, now: float) -> str:
    """Return nonce, expiry and their HMAC as letters: no filter takes it for a card or a key."""
    payload = secrets.token_bytes(_NONCE) + int(now + LIFETIME).to_bytes(_END, "big")
    return (payload + _compute_mac(secret, payload)).hex().translate(_LETTERS)


def token_expiry(secret: bytes, given: str, now: float) -> int | None:
    """Return the expiry time of a token; None if it is expired or not ours."""
    # Accept one spelling only: another spelling of a used token would be a second token.
    if len(given) != 2 * (_NONCE + _END + _MAC) or not _ALL.issuperset(given):
        return None
    whole = bytes.fromhex(given.translate(_DIGITS))
    payload, mac = whole[:-_MAC], whole[-_MAC:]
    until = int.from_bytes(payload[_NONCE:], "big")
    return (
        until if hmac.compare_digest(mac, _compute_mac(secret, payload)) and now < until else None
    )


def _compute_mac(secret: bytes, payload: bytes) -> bytes:
    return hmac.digest(secret, b"open " + payload, hashlib.sha256)[:_MAC]


def find_page(folder: Path) -> PageEndpoint | None:
    """Return the page that serves this folder, and record that a login address was given out."""
    if not (folder / FILE).exists():
        return None
    with exclusive_lock(folder / TURN, WAIT):
        if not _is_held(folder):
            return None
        page = _read(folder)
        if page is not None:
            (folder / FILE).touch()
        return page


def claim_page(folder: Path) -> PageLock | None:
    """Become the one page of this folder; return None if there is one."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with exclusive_lock(folder / TURN, WAIT):
        descriptor = try_exclusive_lock(folder / LOCK)
        if descriptor is None:
            return None
        (folder / FILE).unlink(missing_ok=True)
        return PageLock(descriptor)


def publish(folder: Path, page: PageEndpoint) -> bool:
    """Publish port and secret to this user only."""
    record = {"pid": page.pid, "port": page.port, "secret": page.secret.hex()}
    return StateDir(folder).write(FILE, record)


def is_replaced(folder: Path, page: PageEndpoint) -> bool:
    """Return true if `page.json` is gone or another page's; false if it cannot be read."""
    try:
        (folder / FILE).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    now = _read(folder)
    return now is not None and now != page


def unpublish(folder: Path, held: PageLock, unless_sent_within: float | None = None) -> bool:
    """Give out no more addresses and let another page begin, unless one was just given out.

    A second call does nothing: what is published by then is another page.
    """
    with exclusive_lock(folder / TURN, WAIT):
        if held.descriptor is None:
            return True
        if unless_sent_within is not None and _was_login_sent_within(folder, unless_sent_within):
            return False
        (folder / FILE).unlink(missing_ok=True)
        held.release()
        return True


def _was_login_sent_within(folder: Path, seconds: float) -> bool:
    """Return true if an address was given out; a time in the future only shows a clock set back."""
    with suppress(OSError):
        return 0 <= time.time() - (folder / FILE).stat().st_mtime < seconds
    return False


def _is_held(folder: Path) -> bool:
    held = try_exclusive_lock(folder / LOCK)
    if held is not None:
        os.close(held)
    return held is None


def _read(folder: Path) -> PageEndpoint | None:
    record = StateDir(folder).read(FILE)
    if not is_object(record):
        return None
    pid, port, secret = record.get("pid"), record.get("port"), record.get("secret")
    if not (isinstance(pid, int) and isinstance(port, int) and isinstance(secret, str)):
        return None
    with suppress(ValueError):
        return PageEndpoint(pid, port, bytes.fromhex(secret))
    return None
