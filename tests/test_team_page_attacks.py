"""Attacks on the page of a team: by other sites, other users, other accounts, and input."""

from __future__ import annotations

import http.client
import re
import socket
from contextlib import closing
from urllib.parse import unquote, urlencode, urlsplit

import pytest
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
from page_html import HIDDEN, HOSTILE, Parsed
from team_page import PEOPLE, Member, serving_team

from kartra_mcp.web.request_checks import CHART_CSP, CSP

ROOT = "/page/a/main"
PAGES = (
    *("/", "/cards", "/events", "/bulk", "/bulk/x", "/bulk/x/items", "/live/bulk", "/live/bulk/x"),
    *("/done", "/done/x", "/charts", "/status", "/nothing"),
)
FILES = ("/export.csv", "/export.json", "/charts/outcomes.svg")
CHANGES = (
    *("/approvals/1", "/approvals/1/withdraw", "/chain", "/done/x/reconcile", "/bulk/x/cancel"),
    *("/writes/stop", "/writes/resume"),
)
ROOT_CHANGES = (
    *("/page/logout", "/page/writes/stop"),
    *("/page/sessions/end", "/page/sessions/end-others"),
)
OURS = ("Ada Moreno", "transaction 101", "kartra_refund", "Decline", "main shop", "second shop")


@pytest.fixture(scope="module")
def team(team_database):
    with serving_team(team_database) as made:
        made.ask()
        hostile = {"buyer": HOSTILE[0], "product": HIDDEN, HOSTILE[1]: HOSTILE[2]}
        made.ask(hostile, "102", f"REFUND {HOSTILE[0]}")
        made.ask({"buyer": "Zoe Second"}, "900", "SECRET", account="second")
        yield made


@pytest.fixture(scope="module")
def member(team) -> Member:
    made = team.login("hana")
    made.own["csrf"] = made.csrf()
    return made


@pytest.fixture
def untouched(team):
    """Assert that nothing was recorded in any account."""
    before = {name: ledger.entry_count() for name, ledger in team.ledgers.items()}
    yield
    assert {name: ledger.entry_count() for name, ledger in team.ledgers.items()} == before


def form(member: Member, **fields: str) -> str:
    return urlencode({"csrf": member.own["csrf"], "decision": "approve", "typed": "101", **fields})


def origin(team) -> dict[str, str]:
    return {"origin": team.public_url, "sec-fetch-site": "same-origin"}


# Addresses


@pytest.mark.parametrize("host", [*HOSTS, "localhost:{port}", "kartra.evil.example"])
@pytest.mark.parametrize("path", ["/page", f"{ROOT}/", "/page/login", "/page/static/page.css"])
def test_another_host_is_not_looked_at(member, host, path):
    reply = member.get(path, {"host": host.format(port=member.port)})
    assert (reply.status, reply.text) == (421, "")


def test_no_host_two_hosts_and_another_address_line_are_not_looked_at(team, member):
    ours = urlsplit(team.public_url).netloc
    for headers in ([("host", None)], [("host", ours), ("host", "evil.example")]):
        reply = member.get(f"{ROOT}/", headers)
        assert reply.status in {400, 421}
        assert not [text for text in OURS if text in reply.text]
    reply = member.get(f"http://evil.example{ROOT}/", [("host", "evil.example")])
    assert (reply.status, reply.text) == (421, "")


def test_a_forwarded_host_is_no_host(team, member):
    reply = member.get("/page/login", FORWARDED)
    assert "evil.example" not in reply.headers["location"]
    assert "https" not in unquote(reply.headers["location"])
    assert "Secure" not in reply.headers.get("set-cookie", "")
    assert "evil.example" not in member.get("/page", FORWARDED).text


@pytest.mark.parametrize("method", METHODS)
def test_other_methods_are_answered_without_content(member, method):
    for path in ("/page", f"{ROOT}/approvals/1", "/page/callback"):
        reply = member.ask(method, path)
        assert (reply.status, reply.text) == (405, "")


@pytest.mark.parametrize("path", [*PAGES, *FILES])
def test_without_a_session_nothing_is_shown(team, path):
    reply = team.visitor().get(f"{ROOT}{path}")
    assert reply.status in {303, 401}
    assert not [text for text in OURS if text in reply.text]


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("path", [*(f"{ROOT}{path}" for path in CHANGES), *ROOT_CHANGES])
def test_without_a_session_nothing_is_changed(team, member, path):
    reply = team.visitor().ask("POST", path, origin(team), form(member))
    assert reply.status == 401
    assert not [text for text in OURS if text in reply.text]


def test_no_other_cookie_lets_in(team, member):
    value = member.cookie.rpartition("=")[2]
    others = list_other_cookies(member.cookie, member.own["csrf"])
    for cookie in (*others, f"a={value}", f"__Host-kartra_page={value}"):
        assert team.visitor().get("/page", {"cookie": cookie}).status == 303, cookie


def test_a_cookie_of_another_port_with_our_name_does_no_harm(team, member):
    """A page on another port of the host can set it; not where the page has https."""
    ours = member.cookie.rpartition("; ")[2]
    name = ours.partition("=")[0]
    for cookie in (f"{ours}; {name}=x", f"{name}=x; {ours}"):
        assert team.visitor().get("/page", {"cookie": cookie}).status == 200


@pytest.mark.parametrize(("method", "headers"), AHEAD)
def test_who_only_looks_ahead_does_not_use_a_login_up(team, method, headers):
    who = team.visitor()
    callback = team.log_in_at_issuer(who.begin("/page/a/main/"), "hana")
    assert who.ask(method, callback, headers).status in {403, 405}
    assert who.get(callback).headers["location"] == "/page/a/main/"


# Other sites


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("path", [*(f"{ROOT}{path}" for path in CHANGES), *ROOT_CHANGES])
def test_a_change_from_elsewhere_is_refused(member, origin, path):
    said = None if origin is None else origin.format(port=member.port)
    reply = member.ask("POST", path, [("origin", said)], form(member))
    assert (reply.status, reply.text) == (403, "")


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("site", SITES)
def test_a_change_that_the_browser_calls_foreign_is_refused(team, member, site):
    said = {"origin": team.public_url, "sec-fetch-site": site}
    assert member.ask("POST", f"{ROOT}/approvals/1", said, form(member)).status == 403


@pytest.mark.usefixtures("untouched")
def test_a_change_without_the_sessions_own_token_is_refused(team, member):
    other = team.login("hugo").csrf()
    own = member.own["csrf"]
    cookie = member.cookie.rpartition("=")[2]
    for given in ("", "x", other, cookie, own[:-1], own + "x", "\u20ac"):
        for path in (*(f"{ROOT}{path}" for path in CHANGES), *ROOT_CHANGES):
            body = form(member, csrf=given, seen=member.seen(1))
            assert member.ask("POST", path, origin(team), body).status == 403
    assert member.get("/page").status == 200


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(("kind", "body"), FORMS, ids=range(len(FORMS)))
def test_what_is_no_form_of_ours_is_refused(team, member, kind, body):
    said = [("origin", team.public_url), ("content-type", kind)]
    given = body.format(csrf=member.own["csrf"], pin="101")
    reply = member.ask("POST", f"{ROOT}/approvals/1", said, given)
    assert reply.status in {400, 403}
    assert "Nothing was done" in reply.text


@pytest.mark.usefixtures("untouched")
def test_a_form_that_was_cut_off_does_nothing(team, member):
    body = form(member, seen=member.seen(1))
    head = (
        f"POST {ROOT}/approvals/1 HTTP/1.1\r\nHost: {urlsplit(team.public_url).netloc}\r\n"
        f"Cookie: {member.cookie}\r\nOrigin: {team.public_url}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body) + 50}\r\n\r\n"
    )
    with closing(socket.create_connection(("127.0.0.1", member.port))) as wire:
        wire.sendall((head + body).encode())
        wire.shutdown(socket.SHUT_WR)
        while wire.recv(1024):
            pass
    assert team.state(1) == "pending"


@pytest.mark.usefixtures("untouched")
def test_a_change_is_no_matter_of_an_address(member):
    for path in CHANGES:
        reply = member.get(f"{ROOT}{path}?{form(member)}")
        assert reply.status in {303, 405, 404}
    assert member.get("/page/logout").status == 405


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("length", [17 * 1024, 2**31])
def test_a_body_is_bounded(team, member, length):
    said = {**origin(team), "content-length": str(length)}
    body = form(member, reason="x" * 17_000)
    if length > len(body):
        with closing(http.client.HTTPConnection("127.0.0.1", member.port, timeout=60)) as wire:
            member.send(wire, "POST", f"{ROOT}/approvals/1", said, body)
            assert wire.getresponse().status == 413
    else:
        assert member.ask("POST", f"{ROOT}/approvals/1", origin(team), body).status == 413


@pytest.mark.parametrize("path", ["/page", f"{ROOT}/", f"{ROOT}/events", f"{ROOT}/export.json"])
@pytest.mark.parametrize("said", [*PARTS, {"sec-purpose": "prefetch"}])
def test_no_other_site_loads_a_part_of_it(member, path, said):
    reply = member.get(path, said)
    assert (reply.status, reply.text) == (403, "")


def test_no_answer_lets_another_site_read_it(member):
    for headers in ({"origin": "http://evil.example"}, {"origin": "null"}):
        for path in ("/page", f"{ROOT}/", f"{ROOT}/export.json"):
            reply = member.get(path, headers)
            assert not [name for name in reply.headers if name.startswith("access-control")]


def test_the_issuer_may_lead_back_to_us(member):
    said = {
        "sec-fetch-site": "cross-site",
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "document",
    }
    assert member.get("/page", said).status == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/page", "/page/login", "/page/callback", "/page/again", "/page/nothing"),
        *("/page/sessions", *PAGES),
    ],
)
def test_every_answer_carries_the_headers(team, member, path):
    full = path if path.startswith("/page") else f"{ROOT}{path}"
    method = "HEAD" if path == "/events" else "GET"
    for who in (member, team.visitor()):
        headers = who.get(full, method=method).headers
        assert headers["content-security-policy"] in {CSP, CHART_CSP}
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "path", ["/page", "/page/again", "/page/callback", "/page/sessions", f"{ROOT}/", f"{ROOT}/x"]
)
def test_nothing_is_inline_and_nothing_leads_elsewhere(member, path):
    page = Parsed(member.get(path).text)
    for tag, attributes, text in page.elements:
        assert tag != "style"
        assert tag != "script" or not "".join(text).strip()
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("href", "src", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("/page", "#"))


# Input


def test_untrusted_input_is_shown_as_text(member):
    html = member.get(f"{ROOT}/").text
    assert "<script>alert(1)" not in html
    assert "<img src=x" not in html
    assert not [char for char in HIDDEN if char in html and char not in "[31m"]


@pytest.mark.parametrize("path", [*PATHS_WITH_PARTS, "/../../login?return={x}"])
def test_parts_of_an_address_are_shown_as_text(team, member, path):
    for who in (member, team.visitor()):
        for root in (ROOT, "/page", "/page/a/{x}"):
            reply = who.get(f"{root}{path}".format(x=HOSTILE_PART))
            assert reply.status < 500
            assert "<script>alert" not in reply.text
            assert "<img src=x" not in reply.text
            assert "a=b" not in reply.headers.get("set-cookie", "")


@pytest.mark.parametrize("name", CHARTS)
def test_pictures_hold_no_script_and_nothing_from_elsewhere(member, name):
    reply = member.get(f"{ROOT}/charts/{name}.svg")
    assert (reply.status, reply.headers["content-type"]) == (200, "image/svg+xml")
    assert "<script" not in reply.text
    assert not re.findall(r"""(?:href|src)=["'](?!#)""", reply.text)


def test_a_name_of_the_issuer_is_shown_as_text(team):
    who = team.visitor()
    team.identity.faults.id_claims = {"name": f"{HOSTILE[0]}{HIDDEN}"}
    try:
        who.login("hana")
    finally:
        team.identity.faults.id_claims = {}
    for path in ("/page", f"{ROOT}/"):
        html = who.get(path).text
        assert "<script>alert(1)" not in html
        assert "\u202e" not in html


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_is_a_number(team, member, number):
    path = f"{ROOT}/approvals/{urlencode({'n': number})[2:]}"
    reply = member.ask("POST", path, origin(team), form(member))
    assert reply.status in {303, 404}


@pytest.mark.parametrize(
    "path",
    [
        *("/page/a/main/../second/", "/page/a/main/%2e%2e/second/", "/page/a/second/../main/done"),
        *("/page/a//main/", "/page/a/main//", "/page/a/MAIN/", "/page/a/main%2f..%2fsecond/"),
        *("/page/a/", "/page/a", "/page/a/second/done", "/pagex", "/page/static/../page.css"),
        *("/page/static/%2e%2e%2fpage.py", "/page/a/main/static/page.css", "/page/a/main/open/x"),
    ],
)
def test_no_path_leads_out(member, path):
    reply = member.get(path)
    assert reply.status == 404
    assert "Zoe Second" not in reply.text
    assert "second shop" not in reply.text


# Accounts and roles


@pytest.mark.parametrize("path", [*PAGES, *FILES])
def test_an_account_of_others_is_answered_as_one_that_does_not_exist(member, path):
    found, nothing = member.get(f"/page/a/second{path}"), member.get(f"/page/a/nothing{path}")
    assert (found.status, found.text) == (404, nothing.text)
    assert {n: v for n, v in found.headers.items() if n != "date"} == {
        n: v for n, v in nothing.headers.items() if n != "date"
    }


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("path", CHANGES)
def test_nobody_changes_an_account_of_others(team, member, path):
    seen = team.login("olga").seen(1, "second")
    assert seen
    body = form(member, seen=seen, typed="1")
    reply = member.ask("POST", f"/page/a/second{path}", origin(team), body)
    assert reply.status == 404


MAY_READ = {"vera", "sam", "bea", "hana", "hugo"}
MAY_SEE_HISTORY = MAY_READ | {"aude", "ian"}
MAY_DECIDE = {"hana", "hugo"}
MAY_RECONCILE = {"sam", "bea"}
MAY_CANCEL = {"sam", "bea", "hana", "hugo", "ian"}


@pytest.mark.parametrize("name", PEOPLE)
def test_each_role_sees_what_it_may(team, name):
    who = team.login(name)
    for path in ("/", "/cards", "/bulk", "/live/bulk", "/approvals/1"):
        reply = who.get(f"{ROOT}{path}")
        assert ("Ada Moreno" in reply.text) == (name in MAY_READ and path in {"/", "/cards"})
        if name not in MAY_SEE_HISTORY:
            assert reply.status == 404
        elif name not in MAY_READ:
            assert reply.status == (303 if path == "/" else 403)
    for path in ("/done", "/export.csv", "/export.json", "/charts", "/status"):
        wanted = 200 if name in MAY_SEE_HISTORY else 404
        assert who.get(f"{ROOT}{path}").status == wanted


@pytest.mark.parametrize("name", PEOPLE)
@pytest.mark.usefixtures("untouched")
def test_each_role_changes_what_it_may(team, name):
    who = team.login(name)
    who.own["csrf"] = who.csrf()
    outside = name not in MAY_SEE_HISTORY

    def status(path: str) -> int:
        return who.ask("POST", f"{ROOT}{path}", origin(team), form(who, seen="x")).status

    assert status("/approvals/1") == (404 if outside else 303 if name in MAY_DECIDE else 403)
    reconciled = status("/done/x/reconcile")
    assert (reconciled == 403) == (not outside and name not in MAY_RECONCILE)
    cancelled = status("/bulk/x/cancel")
    assert (cancelled == 403) == (not outside and name not in MAY_CANCEL)


def test_a_list_of_accounts_has_those_of_the_user_alone(team):
    pages = {name: team.login(name).get("/page").text for name in PEOPLE}
    found = {name: re.findall(r"The (\w+) shop</bdi></a>", page) for name, page in pages.items()}
    assert found.pop("olga") == ["second"]
    assert found.pop("nobody") == []
    assert set(map(tuple, found.values())) == {("main",)}


def test_a_stream_has_the_events_of_its_account_alone(team, member):
    with closing(http.client.HTTPConnection("127.0.0.1", member.port, timeout=60)) as wire:
        member.send(wire, "GET", f"{ROOT}/events", (), None)
        answer = wire.getresponse()
        first = next(line for line in answer if line.startswith(b"data: "))
    assert b'"numbers": [1, 2]' in first


def test_a_ledger_that_cannot_be_read_is_reported_in_our_words(team_database):
    with serving_team(team_database) as team:
        olga = team.login("olga")
        assert olga.get("/page/a/second/").status == 200
        name = team.places["second"].account
        team_database.forget_second()
        team_database.server.run_sql(f"DROP TABLE ledger_{name}.lines CASCADE")
        for path in ("/", "/cards", "/done", "/export.json"):
            reply = olga.get(f"/page/a/second{path}")
            assert reply.status == 503
            for word in ("relation", "SELECT", "Traceback", "psycopg", f"ledger_{name}"):
                assert word not in reply.text
