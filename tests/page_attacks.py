"""Attacks that every page must withstand: the page of one user and that of a team. `{port}` in a
text is the port of the page."""

from __future__ import annotations

from typing import Any

HOSTS = (
    *("evil.example", "evil.example:{port}", "127.0.0.1", "localhost", "127.0.0.1:1", ""),
    *("127.0.0.1:{port}.evil.example", "127.0.0.1:{port}@evil.example", "127.0.0.1:0{port}"),
    *("localhost.:{port}", "LOCALHOST:{port}", "0.0.0.0:{port}", "[::1]:{port}", "127.1:{port}"),
    "2130706433:{port}",
)
"""Names of this machine that are none of the page (DNS rebinding)."""

FORWARDED = {
    "x-forwarded-host": "evil.example",
    "x-forwarded-for": "10.0.0.1",
    "x-forwarded-proto": "https",
    "x-host": "evil.example",
    "forwarded": "host=evil.example;proto=https",
}

ORIGINS = (
    *(None, "null", "", "http://evil.example", "https://127.0.0.1:{port}", "http://127.0.0.1"),
    *("http://127.0.0.1:1", "http://127.0.0.1:{port}.evil.example", "http://127.0.0.1:{port}/"),
    "http://localhost:{port}",
)
"""Origins of a form that are not the page's own; None: there is no such header."""

SITES = ("cross-site", "same-site", "none", "", "same-origin, cross-site")
"""Sites by which a browser names a form that is not the page's own."""

FORMS = (
    ("application/json", '{{"csrf": "{csrf}", "decision": "approve", "pin": "{pin}"}}'),
    ("text/plain", "csrf={csrf}&decision=approve&pin={pin}"),
    ("multipart/form-data; boundary=x", '--x\r\nname="csrf"\r\n\r\n{csrf}\r\n--x--'),
    ("application/x-www-form-urlencoded", "csrf={csrf}&csrf={csrf}&decision=approve&pin={pin}"),
    ("application/x-www-form-urlencoded", "csrf={csrf}&" + "a=1&" * 30 + "decision=approve"),
    ("application/x-www-form-urlencoded", "csrf={csrf}&decision=approve&pin=%ff%fe"),
    ("application/x-www-form-urlencoded", ""),
    (None, "csrf={csrf}&decision=approve&pin={pin}"),
)
"""Type and body of what is no form of the page."""

PARTS: tuple[dict[str, str], ...] = (
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
    {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
    {"sec-fetch-site": "same-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "embed"},
    {"sec-fetch-site": "cross-site"},
)
"""Headers with which another site would load a part of a page."""

AHEAD: tuple[tuple[str, dict[str, str]], ...] = (
    ("HEAD", {}),
    ("GET", {"sec-purpose": "prefetch"}),
    ("GET", {"sec-purpose": "prefetch;prerender"}),
    ("GET", {"purpose": "prefetch"}),
    ("POST", {"origin": "http://evil.example"}),
    ("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}),
)
"""Method and headers of a browser, or a chat, that looks at an address before its user does."""

METHODS = ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "X")
NUMBERS = ("0", "-1", "1e0", "01x", "\u0661", "9" * 30, "1/../2")
HOSTILE_PART = (
    "%3Cscript%3Ealert(1)%3C%2Fscript%3E%22%3E%3Cimg%20src%3Dx%3E%00%0d%0aset-cookie:%20a=b"
)
PATHS_WITH_PARTS = (
    "/done?lead={x}",
    "/done?tool={x}&since={x}&until={x}&outcome={x}&risk={x}&consent={x}&transaction={x}",
    *("/done/{x}", "/bulk/{x}", "/bulk/{x}/items?state={x}&from={x}", "/live/bulk/{x}", "/{x}"),
    *("/charts/{x}.svg", "/static/{x}", "/open/{x}"),
)
CHARTS = ("refunds", "outcomes", "tools", "errors", "latency")


def list_other_cookies(cookie: str, csrf: str) -> list[str]:
    """Return cookies that look like that of a session."""
    name, _, value = cookie.rpartition("; ")[2].partition("=")
    others: list[Any] = ["", value[:-1], f"{value}x", csrf, value.swapcase()]
    return [f"{name}={other}" for other in others] + [f"kartra_page_1={value}"]
