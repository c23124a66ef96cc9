"""Login on the page of a team: attacks on it, and the sessions that it opens."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from page_client import Reply
from team_page import Member, serving_team

from kartra_mcp.sandbox.identity.provider import Faults
from kartra_mcp.web.team.records import IDLE_SECONDS, SESSION_SECONDS
from kartra_mcp.web.team.return_paths import MAX_PATH_CHARS

DAY = 86_400.0


@pytest.fixture(scope="module")
def served(team_database):
    with serving_team(team_database, replicas=2) as made:
        yield made


@pytest.fixture
def team(served):
    """The page; what a test changes at the issuer and at the clock is undone."""
    yield served
    served.identity.faults = Faults()
    served.clock.ahead = 0.0


@pytest.fixture
def rows(team_database):
    """Return a function that returns the content of a table as a text."""

    def read(table: str) -> str:
        found = team_database.server.run_sql(f"SELECT t::text FROM service.{table} t ORDER BY 1")
        return "".join(row[0] for row in found)

    return read


def query_of(reply: Reply) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(reply.headers["location"]).query))


def is_in(member: Member) -> bool:
    return "Logged in as" in member.get("/page").text


def code_of(callback: str) -> str:
    return dict(parse_qsl(urlsplit(callback).query))["code"]


def assert_no_login(member: Member, reply: Reply, status: int = 400) -> None:
    assert reply.status == status, reply
    assert "You are not logged in" in reply.text
    assert "hana" not in reply.text
    assert "set-cookie" not in reply.headers
    assert not is_in(member)


# The way in


@pytest.mark.parametrize(
    "path", ["/page", "/page/", "/page/a/main/", "/page/a/main/done?risk=write"]
)
def test_a_visit_leads_to_the_issuer_and_back_to_where_it_began(team, path):
    member = team.visitor()
    reply = member.get(path)
    assert (reply.status, urlsplit(reply.headers["location"]).path) == (303, "/page/login")
    assert query_of(reply) == {"return": path}
    begun = member.get(reply.headers["location"])
    back = member.finish(begun.headers["location"], "hana")
    assert (back.status, back.headers["location"]) == (303, path)
    assert member.get(path).status == 200


def test_the_request_to_the_issuer_has_code_pkce_state_and_nonce(team):
    member = team.visitor()
    first, second = (parse_qs(urlsplit(member.begin()).query) for _ in range(2))
    assert first["response_type"] == ["code"]
    assert first["code_challenge_method"] == ["S256"]
    assert first["redirect_uri"] == [f"{team.public_url}/page/callback"]
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name][0]) >= 43
        assert first[name] != second[name]


def test_no_secret_of_a_login_or_session_is_in_the_store_or_an_address(team, rows):
    member = team.visitor()
    address = member.begin("/page/a/main/")
    begun = rows("logins")
    verifiers = re.findall(r"verifier\W+([\w-]{43,})", begun)
    assert verifiers
    assert not any(verifier in address for verifier in verifiers)
    member.finish(address, "hana")
    cookies = set(member.cookies.values())
    kept = begun + rows("sessions")
    assert "hana" in kept
    assert not any(value in kept for value in cookies)
    html = member.get("/page/a/main/").text
    assert not any(value in html for value in cookies)


def test_an_issuer_that_is_down_is_reported_plainly(team):
    member = team.visitor()
    address = member.begin()
    team.identity.faults.token = True
    reply = member.finish(address, "hana")
    assert_no_login(member, reply, 503)


@pytest.mark.parametrize("path", ["/page/login", "/page/callback?state=x&code=y"])
def test_a_link_preview_begins_no_login(team, rows, path):
    before = rows("logins")
    assert team.visitor().get(path, method="HEAD").status == 405
    assert rows("logins") == before


# Attacks on the response

CHANGES: dict[str, dict[str, str | None]] = {
    "no state": {"state": None},
    "another state": {"state": "x" * 43},
    "an empty state": {"state": ""},
    "no code": {"code": None},
    "another code": {"code": "x" * 22},
    "no issuer": {"iss": None},
    "another issuer": {"iss": "https://login.evil.example"},
    "an error": {"error": "access_denied", "code": None},
    "an error beside a code": {"error": "server_error"},
    "an error with a text": {"error": "x", "error_description": "<script>alert(1)</script>"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_response_opens_no_session(team, change):
    member = team.visitor()
    reply = member.finish(member.begin(), "hana", change)
    assert_no_login(member, reply)
    assert "<script>alert" not in reply.text


CLAIMS: dict[str, dict[str, Any]] = {
    "another nonce": {"nonce": "x" * 43},
    "no nonce": {"nonce": None},
    "another issuer": {"iss": "https://login.evil.example"},
    "another client": {"aud": "another"},
    "an access token's audience": {"aud": "https://kartra.example.com/a/main/mcp"},
    "expired": {"exp": 1},
    "from the future": {"iat": 4_000_000_000},
    "no subject": {"sub": ""},
    "authenticated long ago": {"auth_time": 1_000_000_000},
    "no time of authentication": {"auth_time": None},
}


@pytest.mark.parametrize("claims", CLAIMS.values(), ids=CLAIMS)
def test_an_id_token_that_is_not_for_this_login_opens_no_session(team, claims):
    member = team.visitor()
    team.identity.faults.id_claims = claims
    assert_no_login(member, member.finish(member.begin(), "hana"))


def test_a_repeated_parameter_opens_no_session(team):
    member = team.visitor()
    target = urlsplit(team.log_in_at_issuer(member.begin(), "hana"))
    for name in ("state", "code", "iss"):
        again = dict(parse_qsl(target.query))[name]
        more = urlencode({name: again})
        assert_no_login(member, member.get(f"{target.path}?{target.query}&{more}"))


def test_a_response_is_used_once(team):
    member = team.visitor()
    path = team.log_in_at_issuer(member.begin(), "hana")
    assert member.get(path).status == 303
    other = team.visitor()
    other.cookies = {n: v for n, v in member.cookies.items() if n.endswith("_login")}
    other.keep(Reply(0, {}, ""))
    other.cookie = "; ".join(f"{n}={v}" for n, v in other.cookies.items())
    assert_no_login(other, other.get(path))


def test_a_failed_response_uses_its_login_up(team):
    member = team.visitor()
    address = member.begin()
    assert member.finish(address, "hana", {"code": None}).status == 400
    assert_no_login(member, member.finish(address, "hana"))


def test_a_code_of_another_login_is_refused_by_pkce(team):
    """The attacker's own code, injected into the login of another browser."""
    victim, attacker = team.visitor(), team.visitor()
    stolen = code_of(team.log_in_at_issuer(attacker.begin(), "olga"))
    assert_no_login(victim, victim.finish(victim.begin(), "hana", {"code": stolen}))


def test_without_pkce_at_the_issuer_the_nonce_refuses_it(team):
    victim, attacker = team.visitor(), team.visitor()
    team.identity.faults.any_verifier = True
    stolen = code_of(team.log_in_at_issuer(attacker.begin(), "olga"))
    assert_no_login(victim, victim.finish(victim.begin(), "hana", {"code": stolen}))
    assert stolen not in team.identity.codes, "the issuer redeemed it"


def test_a_login_ends_in_the_browser_in_which_it_began(team):
    """Login CSRF: the attacker's own response, opened in the victim's browser."""
    attacker, victim = team.visitor(), team.visitor()
    victim.begin()
    path = team.log_in_at_issuer(attacker.begin(), "hana")
    assert_no_login(victim, victim.get(path))
    assert_no_login(team.visitor(), team.visitor().get(path))


def test_a_login_takes_ten_minutes_at_most(team):
    member = team.visitor()
    address = member.begin()
    team.clock.ahead = 700.0
    assert_no_login(member, member.finish(address, "hana"))


def test_two_logins_at_once_in_one_browser_both_end(team):
    member = team.visitor()
    first, second = member.begin("/page/a/main/done"), member.begin("/page/a/main/status")
    assert member.finish(first, "hana").headers["location"] == "/page/a/main/done"
    assert member.finish(second, "hana").headers["location"] == "/page/a/main/status"


# Where a login leads to

ELSEWHERE = (
    *("https://evil.example/", "//evil.example/", "/\\evil.example", "\\\\evil.example"),
    *("/page//evil.example", "/page/../evil", "/page/a/main/../../evil", "/pages", "/"),
    *("page", "/page/login", "/page/callback?code=x", "/page/logout", "/page/again", "/a/main/mcp"),
    *("javascript:alert(1)", "/page/a/main/\r\nset-cookie: a=b", "/page?\n", "/page/a/MAIN/"),
    *("/page/a/main/%2e%2e/", "/page/a/main/done#<script>", "/page/a/main/@evil.example"),
    "/page/a/main/" + "x" * MAX_PATH_CHARS,
)


@pytest.mark.parametrize("target", ELSEWHERE)
def test_a_login_leads_to_no_other_place(team, target):
    member = team.visitor()
    reply = member.get(f"/page/login?{urlencode({'return': target})}")
    assert reply.status == 303
    back = member.finish(reply.headers["location"], "hana")
    assert (back.status, back.headers["location"]) == (303, "/page")


# Sessions


def test_each_login_has_a_new_session_and_ends_the_one_before(team):
    member = team.login("hana")
    name = next(n for n in member.cookies if not n.endswith("_login"))
    old = member.cookies[name]
    member.login("hana")
    assert member.cookies[name] != old
    thief = team.visitor()
    thief.cookie = f"{name}={old}"
    assert not is_in(thief)


def test_a_session_that_others_chose_is_not_adopted(team):
    member = team.visitor()
    name = next(n for n in team.login("sam").cookies if not n.endswith("_login"))
    member.cookies[name] = "chosen-by-an-attacker"
    member.cookie = f"{name}=chosen-by-an-attacker"
    member.login("hana")
    assert member.cookies[name] != "chosen-by-an-attacker"


@pytest.mark.parametrize("where", ["/page?session={}", "/page/a/main/?token={}", "/page/open/{}"])
def test_a_session_in_an_address_is_none(team, where):
    member = team.login("hana")
    name = next(n for n in member.cookies if not n.endswith("_login"))
    reply = team.visitor().get(where.format(member.cookies[name]))
    assert (reply.status, urlsplit(reply.headers["location"]).path) == (303, "/page/login")


def test_the_cookie_is_for_this_host_and_no_script(team):
    member = team.visitor()
    address = member.begin()
    said = member.finish(address, "hana").headers["set-cookie"].split("; ")
    assert said[1:] == ["Path=/", "HttpOnly", "SameSite=Lax"]


def test_a_session_ends_without_use_and_after_a_day_of_work(team):
    member = team.login("hana")
    for _ in range(3):
        team.clock.ahead += IDLE_SECONDS - 60
        assert is_in(member)
    team.clock.ahead += IDLE_SECONDS + 1
    assert not is_in(member)
    member.login("hana")
    for _ in range(int(SESSION_SECONDS // (IDLE_SECONDS - 60)) + 1):
        team.clock.ahead += IDLE_SECONDS - 60
        member.get("/page")
    assert not is_in(member)


def test_an_open_page_alone_keeps_no_session(team):
    member = team.login("hana")
    for _ in range(3):
        team.clock.ahead += IDLE_SECONDS / 2
        member.get("/page/a/main/cards")
    assert not is_in(member)


def test_a_logout_ends_the_session_everywhere(team):
    member, thief = team.login("hana"), team.visitor()
    thief.cookie = member.cookie
    assert is_in(thief)
    reply = member.post("/page/logout")
    assert reply.status == 200
    assert "Max-Age=0" in reply.headers["set-cookie"]
    assert not is_in(thief)
    assert not is_in(member)


def test_a_form_after_the_session_ended_does_nothing(team):
    member = team.login("hana")
    member.own["csrf"] = member.csrf()
    number = team.ask()
    seen = member.seen(number)
    team.clock.ahead = DAY
    reply = member.ask(
        "POST",
        f"/page/a/main/approvals/{number}",
        {"origin": team.public_url},
        urlencode({"csrf": member.own["csrf"], "seen": seen, "decision": "approve"}),
    )
    assert reply.status == 401
    assert "Your session has ended" in reply.text
    assert team.state(number) == "pending"


def test_any_replica_ends_a_login_and_serves_its_session(team):
    member = team.visitor()
    address = member.begin("/page/a/main/")
    assert member.at(1).finish(address, "hana").status == 303
    assert is_in(member)
    assert is_in(member.at(0))
    number = team.ask(of="105")
    reply = member.vote(number, "decline")
    member.at(1)
    assert "A decline needs a reason" in member.after(reply).text
    assert "A decline needs a reason" not in member.at(0).get("/page/a/main/").text
    assert member.at(1).post("/page/logout").status == 200
    assert not is_in(member.at(0))


# A fresh login for a decision


def test_a_decision_after_a_while_needs_a_fresh_login_and_loses_nothing_else(team):
    member = team.login("hana", age=400)
    number = team.ask()
    assert "Your login is too old for a decision" in member.get("/page/a/main/").text
    reply = member.vote(number, "decline", reason="wrong sale")
    card = f"/page/a/main/#approval-{number}"
    assert query_of(reply) == {"return": card}
    page = member.get(reply.headers["location"])
    target = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', page.text)
    assert target
    begun = member.get(target[1].replace("&amp;", "&"))
    wanted = query_of(begun)
    assert (wanted["max_age"], wanted["prompt"]) == ("0", "login")
    back = member.finish(begun.headers["location"], "hana")
    assert (back.status, back.headers["location"]) == (303, card)
    shown = member.get("/page/a/main/").text
    assert "Your login was too old for a decision" in shown
    assert 'value="wrong sale"' in shown
    assert team.state(number) == "pending"
    assert (
        member.vote(number, "decline", reason="wrong sale").headers["location"] == "/page/a/main/"
    )
    assert team.state(number) == "declined"


def test_a_fresh_login_of_another_user_keeps_nothing(team):
    member = team.login("hana", age=400)
    number = team.ask(of="102")
    member.vote(number, "decline", reason="only mine")
    member.finish(member.begin("/page/a/main/", fresh=True), "hugo")
    assert "only mine" not in member.get("/page/a/main/").text


def test_an_issuer_that_does_not_ask_again_makes_no_login_fresh(team):
    member = team.login("hana")
    address = member.begin("/page/a/main/", fresh=True)
    team.identity.faults.id_claims = {"auth_time": int(team.clock()) - 400}
    assert member.finish(address, "hana").status == 400
