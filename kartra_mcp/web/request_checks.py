"""Request checks and response headers of the page. Pure.

Any site can make a browser send requests here, and a hostile name can resolve to our address (DNS
rebinding). Therefore the Host must be ours, a change must come from our own page, and other sites
can only navigate to the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl

from kartra_mcp.web.site import Site

MAX_BODY_BYTES = 16 * 1024
MAX_FIELDS = 20
MAX_COOKIES = 8

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
CHART_CSP = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

# Not `no-referrer`: browsers would then send `Origin: null` with our own forms.
COMMON_HEADERS: Mapping[str, str] = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
NO_STORE, CACHED = "no-store", "private, max-age=3600"


@dataclass(frozen=True, slots=True)
class RequestHead:
    """Method and headers of a request; names in lower case, in the order received."""

    method: str
    headers: Sequence[tuple[str, str]] = field(default_factory=tuple[tuple[str, str], ...])

    def get_single(self, name: str) -> str | None:
        """Return a header's value; None if it is missing or repeated."""
        found = [value for named, value in self.headers if named == name]
        return found[0] if len(found) == 1 else None

    def has(self, name: str) -> bool:
        return any(named == name for named, _ in self.headers)


def rejection_status(head: RequestHead, site: Site) -> HTTPStatus | None:
    """Return the status that rejects a request unread; None if it may be read."""
    origin = site.origins.get(head.get_single("host") or "")
    if origin is None:
        return HTTPStatus.MISDIRECTED_REQUEST
    if head.method not in {"GET", "HEAD", "POST"}:
        return HTTPStatus.METHOD_NOT_ALLOWED
    allowed = _is_ours(head, origin) if head.method == "POST" else _may_read(head)
    return None if allowed else HTTPStatus.FORBIDDEN


def _is_ours(head: RequestHead, origin: str) -> bool:
    """Return True if the browser names our own page as the origin of a change."""
    site = head.get_single("sec-fetch-site")
    fits = site == "same-origin" or not head.has("sec-fetch-site")
    return fits and head.get_single("origin") == origin


def _may_read(head: RequestHead) -> bool:
    """Return True for a read from our page, and for a navigation from another site.

    Another site can neither load parts of the page nor prefetch it.
    """
    if any("prefetch" in value for name, value in head.headers if name in _PREFETCH_HEADERS):
        return False
    if not head.has("sec-fetch-site") or head.get_single("sec-fetch-site") in {
        "same-origin",
        "none",
    }:
        return True
    return (
        head.get_single("sec-fetch-mode") == "navigate"
        and head.get_single("sec-fetch-dest") == "document"
    )


_PREFETCH_HEADERS = frozenset({"purpose", "sec-purpose", "x-moz"})


def cookie_values(head: RequestHead, name: str) -> list[str]:
    """Return all values of a cookie: another port of this host may set one of the same name."""
    parts = "; ".join(value for named, value in head.headers if named == "cookie").split(";")
    pairs = [part.strip().partition("=") for part in parts]
    return [value for named, _, value in pairs if named == name][:MAX_COOKIES]


def set_cookie(name: str, value: str, *, secure: bool = False) -> str:
    # Lax: with Strict, a link clicked in the client's web page would arrive without the session.
    return f"{name}={value}; Path=/; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"


def parse_form(body: bytes, content_type: str | None) -> dict[str, str] | None:
    """Parse a posted form; None if the body is not a form or repeats a field."""
    if (content_type or "").partition(";")[
        0
    ].strip().lower() != "application/x-www-form-urlencoded":
        return None
    try:
        text = body.decode("ascii")
        fields = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError:
        return None
    return dict(fields) if len(dict(fields)) == len(fields) else None


def response_headers(content_type: str, *, cacheable: bool = False) -> dict[str, str]:
    """Return the headers of a response. Charts may contain styles, and load nothing."""
    is_chart = content_type.startswith("image/svg+xml")
    return {
        **COMMON_HEADERS,
        "content-security-policy": CHART_CSP if is_chart else CSP,
        "cache-control": CACHED if cacheable else NO_STORE,
    }
