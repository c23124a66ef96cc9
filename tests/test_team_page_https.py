"""The page of a team behind a proxy that ends TLS: its cookies, its origin, forwarded headers."""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from page_client import Reply
from team_page import serving_team

PUBLIC = "https://kartra.example.com"
SESSION, BEGUN = "__Host-kartra_page", "__Host-kartra_page_login"


@pytest.fixture(scope="module")
def secure(team_database):
    with serving_team(team_database, public_url=PUBLIC) as made:
        yield made


def redirect_of(reply: Reply) -> str:
    """Return the callback that the issuer is asked for."""
    return parse_qs(urlsplit(reply.headers["location"]).query)["redirect_uri"][0]


def test_with_https_both_cookies_are_for_this_host_and_https_alone(secure):
    """`__Host-`: a browser takes it by https alone, for all paths of this host, and no other."""
    member = secure.visitor()
    begun = member.get("/page/login")
    assert urlsplit(begun.headers["location"]).scheme == "http", "the stand-in is on this machine"
    assert redirect_of(begun) == f"{PUBLIC}/page/callback"
    back = member.finish(begun.headers["location"], "hana")
    for reply, name in ((begun, BEGUN), (back, SESSION)):
        given, *attributes = reply.headers["set-cookie"].split("; ")
        assert given.startswith(f"{name}=")
        assert set(attributes) == {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"}
    assert "Logged in as" in member.get("/page").text
    ended = member.post("/page/logout").headers["set-cookie"]
    assert ended.startswith(f"{SESSION}=; ")
    assert set(ended.split("; ")[1:]) == {
        *("Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age=0"),
    }


def test_with_https_a_cookie_of_another_name_is_none(secure):
    """A page on another subdomain can set a plain one, but none with the prefix."""
    value = secure.login("hana").cookies[SESSION]
    for name in ("kartra_page", "kartra_page_443", "__Secure-kartra_page", "__host-kartra_page"):
        other = secure.visitor()
        other.cookie = f"{name}={value}"
        assert "Logged in as" not in other.get("/page").text


@pytest.mark.parametrize("scheme", ["http", "https", "evil"])
def test_a_forwarded_scheme_changes_nothing(secure, scheme):
    said = {"x-forwarded-proto": scheme, "forwarded": f"proto={scheme}", "x-forwarded-ssl": "off"}
    reply = secure.visitor().get("/page/login", said)
    assert "Secure" in reply.headers["set-cookie"].split("; ")
    assert redirect_of(reply) == f"{PUBLIC}/page/callback"


@pytest.mark.parametrize("origin", ["http://kartra.example.com", "https://kartra.example.com:443"])
def test_with_https_a_form_comes_from_https(secure, origin):
    member = secure.login("hana")
    number = secure.ask()
    seen = member.seen(number)
    fields = {"decision": "approve", "typed": "97.00", "seen": seen, "csrf": member.csrf()}
    path = f"/page/a/main/approvals/{number}"
    assert member.ask("POST", path, {"origin": origin}, urlencode(fields)).status == 403
    assert secure.state(number) == "pending"
    assert member.ask("POST", path, {"origin": PUBLIC}, urlencode(fields)).status == 303
    assert secure.state(number) == "approved"
