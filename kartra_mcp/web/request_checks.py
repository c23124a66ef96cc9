"""Which requests a local web server answers, and with which headers. Pure.

A browser carries any site's requests here, and a hostile name can be made to mean 127.0.0.1 (DNS
rebinding): so the Host must be ours, a change must come from our own page, and nothing but a
person's own navigation may come from elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl

BODY_LIMIT = 16 * 1024
FIELDS = 20
MAX_COOKIES = 8

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
CSP_OF_PICTURES = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

# Not `no-referrer`: under it a browser says `Origin: null` with our own forms.
ALWAYS: Mapping[str, str] = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
NOT_KEPT, KEPT = "no-store", "private, max-age=3600"


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What a request says of itself: names in small letters, in the order that they came in."""

    method: str
    headers: Sequence[tuple[str, str]] = field(default_factory=tuple[tuple[str, str], ...])

    def get_single(self, name: str) -> str | None:
        """A header's value; None where it is missing or there are several."""
        found = [value for named, value in self.headers if named == name]
        return found[0] if len(found) == 1 else None

    def has(self, name: str) -> bool:
        return any(named == name for named, _ in self.headers)


def allowed_hosts(port: int) -> frozenset[str]:
    return frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})


def rejection_status(asked: RequestHead, port: int) -> HTTPStatus | None:
    """Why a request is not even looked at; None where it may be."""
    host = asked.get_single("host")
    if host not in allowed_hosts(port):
        return HTTPStatus.MISDIRECTED_REQUEST
    if asked.method not in {"GET", "HEAD", "POST"}:
        return HTTPStatus.METHOD_NOT_ALLOWED
    ours = _is_ours(asked, host) if asked.method == "POST" else _may_look(asked)
    return None if ours else HTTPStatus.FORBIDDEN


def _is_ours(asked: RequestHead, host: str) -> bool:
    """A change: the browser names our own page as where it comes from."""
    site = asked.get_single("sec-fetch-site")
    fits = site == "same-origin" or not asked.has("sec-fetch-site")
    return fits and asked.get_single("origin") == f"http://{host}"


def _may_look(asked: RequestHead) -> bool:
    """From another place only a person's own step to the page itself, and no loading ahead."""
    if any("prefetch" in value for name, value in asked.headers if name in _AHEAD):
        return False
    if not asked.has("sec-fetch-site") or asked.get_single("sec-fetch-site") in {
        "same-origin",
        "none",
    }:
        return True
    return (
        asked.get_single("sec-fetch-mode") == "navigate"
        and asked.get_single("sec-fetch-dest") == "document"
    )


_AHEAD = frozenset({"purpose", "sec-purpose", "x-moz"})


def make_cookie_name(port: int) -> str:
    """With the port: cookies are shared by all ports of a host."""
    return f"kartra_page_{port}"


def cookie_values(asked: RequestHead, name: str) -> list[str]:
    """The values of a cookie: every port of this host may set one of the same name."""
    said = "; ".join(value for named, value in asked.headers if named == "cookie").split(";")
    pairs = [part.strip().partition("=") for part in said]
    return [value for named, _, value in pairs if named == name][:MAX_COOKIES]


def set_cookie(name: str, value: str) -> str:
    # Lax, because Strict would lose the session of a link that is clicked in a web page.
    return f"{name}={value}; Path=/; HttpOnly; SameSite=Lax"


def parse_form(body: bytes, content_type: str | None) -> dict[str, str] | None:
    """The fields of a posted form; None where it is none, or a field is said twice."""
    if (content_type or "").partition(";")[
        0
    ].strip().lower() != "application/x-www-form-urlencoded":
        return None
    try:
        text = body.decode("ascii")
        fields = parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS, errors="strict")
    except ValueError:
        return None
    return dict(fields) if len(dict(fields)) == len(fields) else None


def response_headers(content_type: str, *, kept: bool = False) -> dict[str, str]:
    """What every answer says of itself. Pictures may style themselves, and load nothing."""
    picture = content_type.startswith("image/svg+xml")
    return {
        **ALWAYS,
        "content-security-policy": CSP_OF_PICTURES if picture else CSP,
        "cache-control": KEPT if kept else NOT_KEPT,
    }
