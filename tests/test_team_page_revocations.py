"""Revoked people on the page of a team: their sessions, their votes, and what an admin does."""

from __future__ import annotations

import http.client
import re
from collections.abc import Generator
from contextlib import closing
from math import inf

import pytest
from page_client import Reply
from page_html import Parsed
from polling import wait_for
from team_page import Member, ServedTeam, serving_team

from kartra_mcp.ledger.revocations import Admin

STATUS = "/page/a/main/status"
REVOKE, RELEASE = "/page/a/main/access/revoke", "/page/a/main/access/release"
IDA = Admin("Ida IT")


@pytest.fixture
def team(team_database) -> Generator[ServedTeam]:
    with serving_team(team_database, replicas=2, second=("others", "heads")) as made:
        yield made


def revoke(team: ServedTeam, name: str, *accounts: str) -> None:
    for account in accounts:
        team.ledgers[account].revocations.revoke(team.person(name).key, IDA, "left")


def release(team: ServedTeam, name: str, *accounts: str) -> None:
    for account in accounts:
        team.ledgers[account].revocations.release(team.person(name).key, IDA, "is back")


def is_in(member: Member) -> bool:
    return "Logged in as" in member.get("/page").text


def said(member: Member, reply: Reply) -> str:
    page = Parsed(member.after(reply).text)
    return " ".join(text for tag in ("p", "div") for _, text in page.found(tag))


def test_the_sessions_of_a_revoked_user_end_on_every_replica(team: ServedTeam):
    here, there, other = team.login("hana"), team.login("hana").at(1), team.login("hugo")
    revoke(team, "hana", "main", "second")
    wait_for(lambda: (is_in(here), is_in(there)) == (False, False))
    assert is_in(other)
    assert team.store.list_sessions(team.person("hana").key) == []
    again = team.visitor()
    reply = again.finish(again.begin(), "hana")
    assert (reply.status, "has revoked your access" in reply.text) == (400, True)
    release(team, "hana", "main", "second")
    wait_for(lambda: _logs_in(team, "hana"))


def _logs_in(team: ServedTeam, name: str) -> bool:
    member = team.visitor()
    return member.finish(member.begin(), name).status == 303 and is_in(member)


def test_no_session_ends_while_the_lists_are_not_known(team: ServedTeam):
    """A replica that cannot read them shows no account, and calls nobody revoked."""
    hana, (watch, _) = team.login("hana"), team.watches
    clock, watch.clock = watch.clock, lambda: inf
    assert hana.get("/page/a/main/").status == 404
    assert "The main shop" not in hana.get("/page").text
    other = team.visitor()
    assert other.finish(other.begin(), "hugo").status == 303
    watch.clock = clock
    assert hana.get("/page/a/main/").status == 200


def test_one_account_ends_and_the_other_stays(team: ServedTeam):
    hana = team.login("hana")
    revoke(team, "hana", "main")
    wait_for(lambda: hana.get("/page/a/main/").status == 404)
    page = hana.get("/page").text
    assert "The second shop" in page
    assert "The main shop" not in page
    assert hana.get("/page/a/second/").status == 200


def test_an_open_stream_of_a_revoked_user_shows_no_further_request(team: ServedTeam):
    hana = team.login("hana")
    with closing(http.client.HTTPConnection("127.0.0.1", hana.port, timeout=60)) as wire:
        hana.send(wire, "GET", "/page/a/main/events", (), None)
        answer = wire.getresponse()
        assert any(line.startswith(b"data: ") for line in answer)
        revoke(team, "hana", "main")
        wait_for(lambda: hana.get("/page/a/main/").status == 404)
        team.ask()
        assert b"data: " not in answer.read()


def test_a_revoked_approver_cannot_decide_before_the_page_hears_of_it(team: ServedTeam):
    number = team.ask()
    hana = team.login("hana")
    seen = hana.seen(number)
    revoke(team, "hana", "main")
    reply = hana.vote(number, seen=seen)
    assert reply.status == 404 or "revoked this access" in said(hana, reply)
    assert team.state(number) == "pending"


def test_a_request_of_a_revoked_user_is_withdrawn(team: ServedTeam):
    number = team.ask()
    revoke(team, "bea", "main")
    assert team.state(number) == "withdrawn"
    hana = team.login("hana")
    assert f"approvals/{number}" not in hana.get("/page/a/main/").text


def test_an_admin_revokes_and_releases_and_everybody_sees_it(team: ServedTeam):
    number = team.ask()
    bea, ian, aude = team.login("bea"), team.login("ian"), team.login("aude")
    assert "Revoked access" not in aude.get(STATUS).text
    told = said(ian, ian.post(REVOKE, subject="bea", reason="laptop <b>stolen</b>"))
    assert "The access of bea to this account is revoked on every replica." in told
    assert team.state(number) == "withdrawn"
    wait_for(lambda: bea.get("/page/a/main/").status == 404)
    text = aude.get(STATUS).text
    assert "laptop &lt;b&gt;stolen&lt;/b&gt;" in text
    assert "Release access" not in text
    history = ian.get("/page/a/main/done").text
    assert "Access revoked" in history
    (key,) = re.findall(r'name="key" value="([^"]+)"', ian.get(STATUS).text)
    assert "is released" in said(ian, ian.post(RELEASE, key=key))
    wait_for(lambda: bea.get("/page/a/main/").status == 200)
    assert "Access released" in ian.get("/page/a/main/done").text
    assert team.ledgers["main"].verify().ok


def test_a_release_needs_a_fresh_login(team: ServedTeam):
    revoke(team, "bea", "main")
    ian = team.login("ian")
    team.clock.ahead = 600
    try:
        reply = ian.post(RELEASE, key=team.person("bea").key)
        assert reply.headers["location"].startswith("/page/again")
    finally:
        team.clock.ahead = 0.0
    assert team.ledgers["main"].revocations.list_in_force()


@pytest.mark.parametrize("name", ["sam", "hana", "aude"])
def test_only_an_admin_revokes_and_releases(team: ServedTeam, name):
    revoke(team, "vera", "main")
    member = team.login(name)
    assert ">Revoke access<" not in member.get(STATUS).text
    assert member.post(REVOKE, subject="bea", reason="x").status == 403
    assert member.post(RELEASE, key=team.person("vera").key).status == 403
    (found,) = team.ledgers["main"].revocations.list_in_force()
    assert found.key == team.person("vera").key


def test_a_subject_that_no_entry_names_is_pointed_out(team: ServedTeam):
    team.ask()
    ian = team.login("ian")
    assert "a misspelled one revokes nobody" in said(
        ian, ian.post(REVOKE, subject="be", reason="x")
    )
    assert "misspelled" not in said(ian, ian.post(REVOKE, subject="bea", reason="x"))


@pytest.mark.parametrize("fields", [{"subject": " ", "reason": "x"}, {"subject": "bea"}])
def test_a_form_that_lacks_something_changes_nothing(team: ServedTeam, fields):
    ian = team.login("ian")
    assert "Nothing was changed." in said(ian, ian.post(REVOKE, **fields))
    assert team.ledgers["main"].revocations.list_in_force() == []
