"""Addresses of the team's page: its hosts, origin and cookies. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from kartra_mcp.web.site import Site
from kartra_mcp.web.team.return_paths import AGAIN, CALLBACK, LOGIN, ROOT

_OPEN = tuple(path.removeprefix(ROOT) for path in (LOGIN, CALLBACK, AGAIN))


def make_team_site(public_url: str) -> Site:
    """Return the site of a team's page at its public address.

    A browser accepts a cookie `__Host-…` only by https, for this host alone: a page on another
    subdomain cannot set it. On loopback there is no https; the cookie's name contains the port.
    """
    parts = urlsplit(public_url)
    secure = parts.scheme == "https"
    return Site(
        origins={parts.netloc: public_url},
        cookie="__Host-kartra_page" if secure else f"kartra_page_{parts.port or 80}",
        secure=secure,
        root=ROOT,
        open_paths=("/static/", *_OPEN),
    )


def login_cookie(site: Site) -> str:
    """Return the name of the cookie that binds a login to its browser."""
    return f"{site.cookie}_login"


def redirect_uri(public_url: str) -> str:
    return f"{public_url}{CALLBACK}"
