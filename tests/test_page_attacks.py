"""Attacks on the page: by other sites, other names of this machine, other users, and input."""

from __future__ import annotations

import http.client
import os
import re
import socket
import sys
import time
from contextlib import closing, suppress
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import pytest
from consent_actors import events, ledger_folder
from consent_actors import sandbox as fresh
from harness import Sandbox
from page_attacks import (
    AHEAD,
    CHARTS,
    FORMS,
    FORWARDED,
    HOSTILE_PART,
    HOSTS,
    METHODS,
    NUMBERS,
    ORIGINS,
    PARTS,
    PATHS_WITH_PARTS,
    SITES,
    list_other_cookies,
)
from page_client import (
    PIN,
    Reply,
    Visitor,
    another_address,
    asked,
    new_address,
    served,
    served_here,
    told,
)

from kartra_mcp.app import page_discovery
from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.web import peers
from kartra_mcp.web import sessions as web_sessions
from kartra_mcp.web.request_checks import CHART_CSP, CSP
from kartra_mcp.web.sessions import MAX_SESSIONS, Sessions
from kartra_mcp.web.timings import PageTimings

PAGES = (
    *("/", "/cards", "/events", "/bulk", "/bulk/x", "/bulk/x/items", "/live/bulk", "/live/bulk/x"),
    *("/done", "/done/x", "/charts", "/status", "/nothing"),
)
FILES = ("/export.csv", "/export.json", "/charts/outcomes.svg")
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}\u202egnp.exe"
OURS = ("Ada Moreno", "transaction 101", "SANDBOX", "kartra_refund", "Decline")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Sandbox:
    """An account with a PIN; its pending approvals contain untrusted input."""
    made = fresh(tmp_path_factory.mktemp("attacked") / "state", GATE_IRREVERSIBLE="human")
    with closing(open_ledger(ledger_folder(made))) as ledger:
        ledger.pins.set(PIN, "ada")
        ledger.approvals.request(asked())
        hostile = {"buyer": HOSTILE, "product": HOSTILE, HOSTILE: HOSTILE, "effect": HOSTILE}
        ledger.approvals.request(asked(hostile, "102", f"REFUND {HOSTILE}"))
    return made


@pytest.fixture(scope="module")
def page(place):
    with served_here(place) as made:
        yield made


@pytest.fixture(scope="module")
def visitor(page) -> Visitor:
    return page.visitor()


@pytest.fixture
def stranger(page) -> Visitor:
    return Visitor(page.port)


@pytest.fixture
def untouched(place):
    """Assert that nothing was decided and no PIN attempt was made."""
    before = events(place)
    yield
    assert events(place) == before
    with closing(open_ledger(ledger_folder(place))) as ledger:
        assert ledger.approvals.pending_numbers() == (1, 2)
        assert ledger.pins.attempts_left() == 5


@pytest.fixture(scope="module")
def mint(place):
    """Return a function that makes login addresses, as any process of this user can."""

    return lambda: new_address(place)


def path_of(link: str) -> str:
    return "/open/" + link.rpartition("/")[2]


def shows_nothing(reply: Reply) -> bool:
    return not any(word in reply.text for word in OURS)


# Names of this machine (DNS rebinding)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("path", ["/", "/static/page.css"])
def test_another_host_is_not_looked_at(visitor, host, path):
    reply = visitor.get(path, [("host", host.format(port=visitor.port))])
    assert (reply.status, reply.text) == (421, "")


def test_no_host_two_hosts_and_another_address_line_are_not_looked_at(visitor):
    ours = f"127.0.0.1:{visitor.port}"
    for headers in ([("host", None)], [("host", ours), ("host", "evil.example")]):
        reply = visitor.get("/", headers)
        assert reply.status in {400, 421}
        assert shows_nothing(reply)
    reply = visitor.get("http://evil.example/", [("host", "evil.example")])
    assert (reply.status, reply.text) == (421, "")


def test_a_forwarded_host_is_no_host(visitor):
    reply = visitor.get("/", FORWARDED)
    assert reply.status == 200
    assert "evil.example" not in reply.text


def test_localhost_is_a_name_of_ours(page, mint):
    visitor = Visitor(page.port)
    ours = {"host": f"localhost:{page.port}"}
    reply = visitor.get(path_of(mint()), ours)
    visitor.cookie = reply.headers["set-cookie"].partition(";")[0]
    assert visitor.get("/", ours).status == 200


# Who was not let in


@pytest.mark.parametrize("path", [*PAGES, *FILES])
def test_without_a_session_nothing_is_shown(stranger, place, path):
    """Bug: for the rehearsal account, the suggested command did not lead back to this page."""
    reply = stranger.get(path)
    assert reply.status == 401
    assert shows_nothing(reply)
    assert "kartra-mcp page --sandbox<" in reply.text
    assert str(place.folder) not in reply.text


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    "path", ["/approvals/1", "/approvals/1/withdraw", "/done/x/reconcile", "/chain"]
)
def test_without_a_session_nothing_is_changed(stranger, visitor, path):
    stranger.own["csrf"] = visitor.csrf()
    reply = stranger.post(path, decision="approve", pin=PIN)
    assert reply.status == 401
    assert shows_nothing(reply)


def test_an_address_lets_in_one_browser_once(page, stranger, visitor):
    used = path_of(page.address)
    reply = stranger.get(used)
    assert (reply.status, "set-cookie" in reply.headers) == (401, False)
    assert shows_nothing(reply)
    # Who has a session may load the same address again.
    assert visitor.get(used).status == 303


def test_no_other_spelling_of_a_used_token_is_a_token(stranger, page):
    token = page.address.rpartition("/")[2]
    for spelled in (
        token.upper(),
        token.replace("k", "A"),
        f"{token[:10]}%20{token[10:]}",
        f"{token}/",
        f"./{token}",
        token.translate(str.maketrans("abcdefghijklmnop", "0123456789abcdef")),
    ):
        assert stranger.get(f"/open/{spelled}").status in {401, 404}, spelled


def test_no_changed_token_is_a_token(stranger, mint):
    token = mint().rpartition("/")[2]
    for place in range(0, len(token), 5):
        other = "b" if token[place] == "a" else "a"
        changed = token[:place] + other + token[place + 1 :]
        assert stranger.get(f"/open/{changed}").status == 401
    assert stranger.get("/open/").status in {401, 404}
    assert stranger.get(f"/open/{token}").status == 303


def test_an_old_token_is_rejected(stranger, place):
    found = page_discovery.find_page(ledger_folder(place))
    assert found
    old = found.make_login_url(time.time() - page_discovery.LIFETIME - 1)
    assert stranger.get(path_of(old)).status == 401


def test_a_token_of_another_secret_is_rejected(stranger, page):
    other = page_discovery.PageEndpoint(0, page.port, b"x" * 32)
    assert stranger.get(path_of(other.make_login_url(time.time()))).status == 401


@pytest.mark.parametrize(("method", "headers"), AHEAD)
def test_who_only_looks_ahead_does_not_use_a_token_up(stranger, mint, method, headers):
    link = path_of(mint())
    assert stranger.ask(method, link, headers).status in {403, 405}
    assert stranger.get(link).status == 303


def test_the_cookie_is_for_this_page_alone(stranger, mint):
    said = stranger.get(path_of(mint())).headers["set-cookie"]
    name, *more = said.split("; ")
    assert name.startswith(f"kartra_page_{stranger.port}=")
    assert set(more) == {"Path=/", "HttpOnly", "SameSite=Lax"}


def test_no_other_cookie_lets_in(visitor, page):
    for cookie in list_other_cookies(visitor.cookie, visitor.csrf()):
        assert Visitor(page.port, cookie).get("/").status == 401, cookie


def test_a_cookie_of_another_port_with_our_name_does_no_harm(visitor, page):
    """Bug: a second cookie of our name, set by another port of the host, meant 401."""
    name = visitor.cookie.partition("=")[0]
    for cookie in (f"{visitor.cookie}; {name}=x", f"{name}=x; {visitor.cookie}"):
        assert Visitor(page.port, cookie).get("/").status == 200


def test_a_second_address_in_a_browser_leaves_its_first_tab_as_it_was(visitor, mint):
    """Bug: it opened another session, and the form in the first tab was refused."""
    link = path_of(mint())
    reply = visitor.get(link)
    assert (reply.status, "set-cookie" in reply.headers) == (303, False)
    assert visitor.post("/chain").status == 303
    assert Visitor(visitor.port).get(link).status == 401  # it is used up all the same


def test_a_form_that_was_cut_off_does_nothing(tmp_path):
    """Bug: the part that had arrived counted as the whole form."""
    place = fresh(tmp_path / "state")
    with closing(open_ledger(ledger_folder(place))) as ledger:
        ledger.pins.set(PIN, "ada")
        number = ledger.approvals.request(asked())
        with served_here(place) as page:
            visitor = page.visitor()
            fields = {"decision": "approve", "pin": PIN, "seen": visitor.seen(number)}
            body = urlencode({"csrf": visitor.csrf(), **fields})
            head = (
                f"POST /approvals/{number} HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\n"
                f"Cookie: {visitor.cookie}\r\nOrigin: http://127.0.0.1:{page.port}\r\n"
                "Content-Type: application/x-www-form-urlencoded\r\n"
                f"Content-Length: {len(body) + 50}\r\n\r\n"
            )
            with closing(socket.create_connection(("127.0.0.1", page.port))) as wire:
                wire.sendall((head + body).encode())
                wire.shutdown(socket.SHUT_WR)
                while wire.recv(1024):
                    pass
        assert ledger.approvals.list_pending()[0].number == number
    assert "pin_right" not in events(place)


def test_a_card_of_a_replaced_ledger_approves_nothing(tmp_path):
    """Bug: numbers restart in a new ledger, and an old form approved another request."""
    place = fresh(tmp_path / "state")
    folder = ledger_folder(place)
    with closing(open_ledger(folder)) as ledger:
        ledger.pins.set(PIN, "ada")
        number = ledger.approvals.request(asked())
    with served(place) as page:
        visitor = page.visitor()
        before, _ = visitor.seen(number), visitor.csrf()
        for file in folder.glob("ledger*"):
            file.unlink()
        with closing(open_ledger(folder)) as ledger:
            ledger.pins.set(PIN, "ada")
            assert (
                ledger.approvals.request(asked(of="105", summary="REFUND FULL 9999.00")) == number
            )
            for seen in (before, "", "x"):
                fields = {"decision": "approve", "pin": PIN, "reason": "", "seen": seen}
                assert visitor.post(f"/approvals/{number}", **fields).status in {303, 503}
                assert len(ledger.approvals.list_pending()) == 1
            # Until it is started again, the page refuses a ledger that is not the one it knows.
            assert "is not the ledger that this server used" in visitor.get("/").text


def test_an_intact_chain_is_reported_only_after_a_verification(visitor):
    assert visitor.post("/chain").status == 303
    told, later = visitor.get("/status").text, visitor.get("/status").text
    assert "Intact." in told
    assert "Intact." not in later


def test_a_session_of_another_process_is_rejected(visitor, tmp_path):
    with served_here(fresh(tmp_path / "state", PAGE="on")) as other:
        _, _, value = visitor.cookie.partition("=")
        known = Visitor(other.port, f"kartra_page_{other.port}={value}")
        assert known.get("/").status == 401


# Other sites


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("origin", ORIGINS)
def test_a_change_from_elsewhere_is_refused(visitor, origin):
    """It is refused even with the session's own token and the PIN."""
    said = None if origin is None else origin.format(port=visitor.port)
    reply = visitor.post("/approvals/1", [("origin", said)], decision="approve", pin=PIN)
    assert (reply.status, reply.text) == (403, "")


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("site", SITES)
def test_a_change_that_the_browser_calls_foreign_is_refused(visitor, site):
    ours = {"origin": f"http://127.0.0.1:{visitor.port}", "sec-fetch-site": site}
    reply = visitor.post("/approvals/1", ours, decision="approve", pin=PIN)
    assert (reply.status, reply.text) == (403, "")


@pytest.mark.usefixtures("untouched")
def test_a_change_without_the_sessions_own_token_is_refused(visitor, page, mint):
    other = page.visitor(mint())
    assert other.csrf() != visitor.csrf()
    for csrf in ("", "x", other.csrf(), visitor.csrf()[:-1], visitor.csrf() + "x", "\u20ac"):
        reply = visitor.post("/approvals/1", csrf=csrf, decision="approve", pin=PIN)
        assert reply.status == 403
        assert "Nothing was done" in reply.text


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(("kind", "form"), FORMS, ids=range(len(FORMS)))
def test_what_is_no_form_of_ours_is_refused(visitor, kind, form):
    said = [("origin", f"http://127.0.0.1:{visitor.port}"), ("content-type", kind)]
    body = form.format(csrf=visitor.csrf(), pin="correct+horse")
    reply = visitor.ask("POST", "/approvals/1", said, body)
    assert reply.status in {400, 403}
    assert "Nothing was done" in reply.text


@pytest.mark.usefixtures("untouched")
def test_a_change_is_no_matter_of_an_address(visitor):
    query = f"?csrf={visitor.csrf()}&decision=approve&pin=correct+horse"
    assert visitor.get(f"/approvals/1{query}").headers["location"] == "/#approval-1"
    reply = visitor.after(visitor.post(f"/approvals/1{query}", decision=""))
    assert "neither approve nor decline" in reply.text


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("length", [17 * 1024, 2**31])
def test_a_body_is_bounded(visitor, length):
    said = [
        ("origin", f"http://127.0.0.1:{visitor.port}"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-length", str(length)),
    ]
    reply = visitor.ask("POST", "/approvals/1", said, "csrf=" + "x" * 17 * 1024)
    assert reply.status == 413


@pytest.mark.parametrize("path", ["/", "/cards", "/events", "/export.json", "/charts/outcomes.svg"])
@pytest.mark.parametrize("asked_as", PARTS, ids=range(len(PARTS)))
def test_no_other_site_loads_a_part_of_it(visitor, path, asked_as):
    reply = visitor.get(path, asked_as)
    assert (reply.status, reply.text) == (403, "")


def test_another_site_may_link_to_it(visitor):
    step = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert visitor.get("/", {"sec-fetch-site": "cross-site", **step}).status == 200
    assert visitor.get("/", {"sec-fetch-site": "none", **step}).status == 200


def test_no_answer_lets_another_site_read_it(visitor):
    for headers in ({"origin": "http://evil.example"}, {"origin": "null"}):
        reply = visitor.get("/", headers)
        assert not [name for name in reply.headers if name.startswith("access-control")]
    assert visitor.ask("OPTIONS", "/approvals/1", headers).status == 405


# Headers of every response


def answers(visitor: Visitor, stranger: Visitor) -> dict[str, Reply]:
    paths = (
        "/",
        "/cards",
        "/bulk",
        "/live/bulk",
        "/done",
        "/charts",
        "/status",
        "/nothing",
        *FILES,
    )
    found = {path: visitor.get(path) for path in (*paths, "/static/page.css", "/static/page.js")}
    found["redirect"] = visitor.get("/open/x")
    found["stranger"] = stranger.get("/")
    found["elsewhere"] = visitor.get("/", {"host": "evil.example"})
    found["refused"] = visitor.post("/approvals/1", csrf="x")
    return found


def test_every_answer_carries_the_headers(visitor, stranger):
    for path, reply in answers(visitor, stranger).items():
        said = reply.headers
        wanted = CHART_CSP if path.endswith(".svg") else CSP
        assert said["content-security-policy"] == wanted, path
        assert "'unsafe" not in CSP
        assert "*" not in CSP + CHART_CSP
        assert said["x-content-type-options"] == "nosniff"
        assert said["cross-origin-opener-policy"] == "same-origin"
        assert said["cross-origin-resource-policy"] == "same-origin"
        assert said["x-frame-options"] == "DENY"
        assert said["referrer-policy"] == "same-origin"
        kept = "private, max-age=3600" if path.startswith("/static/") else "no-store"
        assert said["cache-control"] == kept, path
        assert "server" not in said


class Loaded(HTMLParser):
    """Parser that collects inline code, and every address that a page loads or links to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.leads: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        named = dict(attrs)
        if tag == "style" or (tag == "script" and "src" not in named):
            self.inline.append(tag)
        self.inline += [name for name in named if name.startswith("on") or name == "style"]
        self.leads += [named[n] for n in ("src", "href", "action", "srcset") if named.get(n)]


@pytest.mark.parametrize(
    "path", ["/", "/cards", "/bulk", "/done", "/done?lead=%3Cscript%3E", "/charts", "/status"]
)
def test_nothing_is_inline_and_nothing_leads_elsewhere(visitor, stranger, path):
    for text in (visitor.get(path).text, stranger.get(path).text):
        loaded = Loaded(text)
        assert loaded.inline == []
        assert [where for where in loaded.leads if not re.match(r"/(?!/)|#|\?", where)] == []


@pytest.mark.parametrize("name", CHARTS)
def test_pictures_hold_no_script_and_nothing_from_elsewhere(visitor, name):
    reply = visitor.get(f"/charts/{name}.svg")
    assert (reply.status, reply.headers["content-type"]) == (200, "image/svg+xml")
    assert "<script" not in reply.text
    assert not re.findall(r"""(?:href|src)=["'](?!#)""", reply.text)


def test_untrusted_input_is_shown_as_text(visitor):
    text = visitor.get("/").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "49" not in re.sub(r"<[^>]+>", "", text).partition("REFUND")[2][:200]
    assert "\u202e" not in text
    loaded = Loaded(text)
    assert loaded.inline == []
    assert "img" not in loaded.tags


@pytest.mark.parametrize("path", PATHS_WITH_PARTS)
def test_parts_of_an_address_are_shown_as_text(visitor, path):
    reply = visitor.get(path.format(x=HOSTILE_PART))
    assert reply.status < 500
    assert "<script>alert" not in reply.text
    assert "<img src=x" not in reply.text
    assert "a=b" not in reply.headers.get("set-cookie", "")


# Paths, methods, and slips of ours


@pytest.mark.parametrize(
    "path",
    [
        "/static/../page.json",
        "/static/..%2f..%2fpage.json",
        "/static/%2e%2e/views.py",
        "/static/page.css%00",
        "/static//etc/passwd",
        "/static/",
        "/charts/..%2f..%2fpage.json",
        "/page.json",
        "//evil.example",
        "/approvals/" + "9" * 400,
        "/done/" + "%f0%9f" * 200,
        "/%ff",
    ],
)
def test_no_path_leads_out(visitor, path):
    reply = visitor.get(path)
    assert reply.status in {401, 404, 405}
    assert "secret" not in reply.text
    assert "location" not in reply.headers


@pytest.mark.parametrize("method", METHODS)
def test_other_methods_are_answered_without_content(visitor, method):
    reply = visitor.ask(method, "/approvals/1", {"origin": f"http://127.0.0.1:{visitor.port}"})
    assert (reply.status, reply.text) == (405, "")


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_is_a_number(visitor, number):
    path = f"/approvals/{number.encode().hex() if not number.isascii() else number}"
    reply = visitor.post(path, decision="approve", pin="")
    if reply.status == 303:  # a number, under which nothing waits
        assert "does not exist" in visitor.after(reply).text
    else:
        assert reply.status in {400, 404}


def test_a_damaged_ledger_is_reported_in_our_words(tmp_path):
    place = fresh(tmp_path / "state", PAGE="on")
    with served(place) as page:
        visitor = page.visitor()
        assert visitor.get("/").status == 200
        for file in ledger_folder(place).glob("ledger.db*"):
            file.write_bytes(b"canary of a traceback" * 200)
        for path in ("/", "/cards", "/done", "/export.json"):
            reply = visitor.get(path)
            assert reply.status == 503
            assert "canary" not in reply.text
            assert "Traceback" not in reply.text
            assert "kartra_mcp/" not in reply.text
        page.process.terminate()
        assert page.process.communicate(timeout=60) == ("", "")


# The network, and other users of the machine


def test_it_listens_on_the_loopback_interface_only(page):
    """A server on all interfaces would also answer at these addresses."""
    socket.create_connection(("127.0.0.1", page.port)).close()
    for other in ("127.0.0.2", "::1"):
        with pytest.raises(OSError, match=r"refused|assign|unreachable|not supported"):
            socket.create_connection((other, page.port), timeout=5)


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.getuid() != 0,
    reason="only Linux tells whose a connection is, and only root may make it another user's",
)
def test_another_user_sees_nothing_even_with_valid_secrets(page, visitor, mint):
    """The other user stole the cookie through a port of their own, or read a command line."""
    link = path_of(mint())
    for path, cookie in (("/", visitor.cookie), (link, ""), ("/static/page.css", "")):
        with closing(http.client.HTTPConnection("127.0.0.1", page.port)) as wire:
            wire.connect()
            os.fchown(wire.sock.fileno(), 65534, -1)  # as if another user had made it
            with suppress(ConnectionResetError):  # it came before the page looked
                wire.request("GET", path, headers={"cookie": cookie})
                answer = wire.getresponse()
                assert (answer.status, answer.read()) == (403, b"")
    assert visitor.get("/").status == 200
    assert visitor.get(link).status == 303


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: "], ids=["nothing", "half"])
def test_who_says_no_whole_request_loses_its_place(tmp_path, said):
    """Bug: silent connections could occupy all connections for as long as they liked."""
    place = fresh(tmp_path / "state")
    with served_here(place, PageTimings(request_head=0.3)) as page:
        wire = socket.create_connection(("127.0.0.1", page.port), timeout=60)
        with closing(wire), suppress(ConnectionResetError):
            wire.sendall(said)
            assert wire.recv(1024) == b""


def test_a_page_gives_ten_seconds_for_a_request():
    timings = PageTimings()
    assert (timings.request_head, timings.request_body, timings.idle) == (10, 10, 3600)


@pytest.mark.parametrize(
    ("stands", "replaced"),
    [("ours", False), ("nothing", True), ("another's", True), ("a folder", False), ("{", False)],
)
def test_a_page_ends_only_where_it_surely_was_replaced(tmp_path, stands, replaced):
    """Bug: without a free file descriptor the page could not read its file, and ended."""
    ours, file = page_discovery.PageEndpoint(1, 2, b"secret"), tmp_path / page_discovery.FILE
    page_discovery.publish(
        tmp_path, ours if stands == "ours" else page_discovery.PageEndpoint(1, 3, b"other")
    )
    if stands in {"nothing", "a folder", "{"}:
        file.unlink()
    if stands == "a folder":
        file.mkdir()
    if stands == "{":
        file.write_text("{")
    assert page_discovery.is_replaced(tmp_path, ours) is replaced


LITTLE = sys.byteorder == "little"
HERE = "0100007F" if LITTLE else "7F000001"
MAPPED = ("0" * 16 + "FFFF0000" if LITTLE else "0" * 16 + "0000FFFF") + HERE
"""This machine, and it as IPv6 has it: the system writes four bytes in its own order."""

TABLE = f"""\
   0: {HERE}:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 1 1 0
   1: {HERE}:C001 {HERE}:1F90 01 00000000:00000000 00:00000000 00000000  1001 0 2 1 0
   2: {HERE}:1F90 {HERE}:C001 01 00000000:00000000 00:00000000 00000000  1000 0 3 1 0
   3: {MAPPED}:C002 {MAPPED}:1F90 01 0:0 0:0 0 7 0 4 1 0
   4: {HERE}:C005 {HERE}:1F90 06 00000000:00000000 00:00000000 00000000 0 0 0 1 0
   5: 000000000000000000000000_100007F:C003 {HERE}:1F90 01 0:0 0:0 0 8 0 5 1 0
"""


@pytest.mark.parametrize(
    ("port", "uid"),
    [(0xC001, 1001), (0xC002, 7), (0xC003, None), (0xC004, None), (0x1F90, None), (0xC005, -1)],
)
def test_the_other_end_of_a_connection_is_found_in_the_systems_table(port, uid):
    assert peers.find_uid(("127.0.0.1", port), 0x1F90, TABLE.splitlines()) == uid


@pytest.mark.parametrize(
    ("table", "strange"), [(None, False), ("", True), (TABLE, True), (TABLE + "OURS", False)]
)
def test_whom_nothing_tells_of_is_let_in_only_where_nothing_ever_tells(
    tmp_path, monkeypatch, table, strange
):
    """Bug: without a free file descriptor the page accepted every peer as its own user."""
    ours = f"6: {HERE}:C009 {HERE}:1F90 01 0:0 0:0 0 {os.getuid()} 0 6 1 0"
    file = tmp_path / "tcp"
    if table is not None:
        file.write_text("titles\n" + table.replace("OURS", ours))
    monkeypatch.setattr(peers, "TABLES", (file, tmp_path / "tcp6"))
    assert peers.is_foreign_user(("127.0.0.1", 0xC009), 0x1F90) is strange
    assert peers.is_foreign_user(None, 0x1F90) is (table is not None)


# Bounds


def test_sessions_are_bounded_and_the_least_used_goes_first():
    sessions = Sessions(b"secret" * 6)
    first, *others = [_enter(sessions) for _ in range(MAX_SESSIONS)]
    assert sessions.find([first], 0.0)  # it was used just now
    _enter(sessions)
    assert sessions.find([first], 0.0)
    assert sessions.find([others[0]], 0.0) is None
    assert all(sessions.find([cookie], 0.0) for cookie in others[1:])


def _enter(sessions: Sessions) -> str:
    cookie = sessions.login(page_discovery.make_token(sessions.secret, 0.0), 0.0)
    assert cookie
    return cookie


def test_a_session_ends_after_a_day():
    sessions = Sessions(b"secret" * 6)
    cookie = _enter(sessions)
    assert sessions.find([cookie], 86_399.0)
    assert sessions.find([cookie], 86_400.0) is None
    assert sessions.find([cookie], 0.0) is None


def test_a_token_that_was_used_stays_used_however_many_are(monkeypatch):
    most = 200  # with the real bound, each login looks at thousands of tokens
    monkeypatch.setattr(web_sessions, "MAX_USED", most)
    sessions = Sessions(b"secret" * 6)
    used = [page_discovery.make_token(sessions.secret, at * 0.4) for at in range(most + 50)]
    for token in used:
        sessions.login(token, 0.0)
    assert not any(sessions.login(token, 0.0) for token in (*used[:60], *used[-60:]))
    assert sessions.login(page_discovery.make_token(sessions.secret, 100_000.0), 0.0)


def test_it_prints_nothing_but_the_address(tmp_path):
    place = fresh(tmp_path / "state", PAGE="on")
    with served(place) as page:
        visitor = page.visitor(another_address(place))
        visitor.get("/")
        visitor.get("/", {"host": "evil.example"})
        visitor.get("/nothing")
        page.process.terminate()
        assert page.process.communicate(timeout=60) == ("", "")
    assert told(place) is None
