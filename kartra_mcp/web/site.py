"""Address of a page: its hosts, the origin of its forms, its cookie, its paths. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Site:
    """The address at which a page is served.

    Attributes:
        origins: each `Host` that is ours, with the origin that our own forms send.
        cookie: name of the cookie of a session.
        secure: browsers may send the cookie by https only.
        root: path below which the page is, without a slash at its end.
        open_paths: beginnings of the paths below `root` that need no session.
        peer_port: port whose connections must be of this user; None: of any.
    """

    origins: Mapping[str, str]
    cookie: str
    secure: bool = False
    root: str = ""
    open_paths: tuple[str, ...] = ("/static/",)
    peer_port: int | None = None

    def relative_path(self, path: str) -> str:
        return path.removeprefix(self.root)

    def is_open(self, path: str) -> bool:
        return self.relative_path(path).startswith(self.open_paths)

    def is_static(self, path: str) -> bool:
        return self.relative_path(path).startswith("/static/")


def make_local_site(port: int) -> Site:
    """Return the site of one user's page, on the loopback interface.

    The cookie's name contains the port: cookies are shared by all ports of a host.
    """
    hosts = (f"127.0.0.1:{port}", f"localhost:{port}")
    return Site(
        origins={host: f"http://{host}" for host in hosts},
        cookie=f"kartra_page_{port}",
        open_paths=("/static/", "/open/"),
        peer_port=port,
    )
