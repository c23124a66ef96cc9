"""Paths to return to after a login. Pure.

Anybody can send a user to our login with a path of theirs: only pages of ours are accepted, so that
a login never ends on another site (open redirect) or on an address that changes something.
"""

from __future__ import annotations

import re
from urllib.parse import urlencode

ROOT = "/page"
LOGIN, CALLBACK, LOGOUT, AGAIN, SESSIONS = (
    *(f"{ROOT}/login", f"{ROOT}/callback"),
    *(f"{ROOT}/logout", f"{ROOT}/again", f"{ROOT}/sessions"),
)
MAX_PATH_CHARS = 600
_OURS = re.compile(
    r"/page(?:/|/sessions|/a/[a-z0-9][a-z0-9_-]{0,39}(?:/[A-Za-z0-9_./-]*)?)?"
    r"(?:\?[A-Za-z0-9_.=&%+-]*)?(?:#[A-Za-z0-9-]{0,60})?"
)


def is_return_path(path: str) -> bool:
    """Return True for the path of a page that a login may lead to."""
    return (
        len(path) <= MAX_PATH_CHARS
        and _OURS.fullmatch(path) is not None
        and "//" not in path
        and "/." not in path
    )


def choose_return_path(path: str) -> str:
    """Return the path if a login may lead to it, else that of the first page."""
    return path if is_return_path(path) else ROOT


def make_login_path(return_path: str, *, fresh: bool = False) -> str:
    """Return the path of a login that leads back; `fresh`: an earlier login does not count."""
    query = {"return": choose_return_path(return_path), **({"fresh": "1"} if fresh else {})}
    return f"{LOGIN}?{urlencode(query)}"


def make_again_path(return_path: str) -> str:
    """Return the path of the page that leads to a fresh login."""
    return f"{AGAIN}?{urlencode({'return': choose_return_path(return_path)})}"
