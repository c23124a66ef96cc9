"""The list of a user's own sessions on the page of a team, and their end on every replica."""

from __future__ import annotations

import http.client
import re
from collections.abc import Generator
from contextlib import closing

import pytest
from page_html import Parsed
from team_page import Member, ServedTeam, serving_team

from kartra_mcp.web.team.records import IDLE_SECONDS

LIST = "/page/sessions"


@pytest.fixture
def team(team_database) -> Generator[ServedTeam]:
    with serving_team(team_database, replicas=2) as made:
        yield made


def is_in(member: Member) -> bool:
    return "Logged in as" in member.get("/page").text


def keys(member: Member) -> list[str]:
    return re.findall(r'name="session" value="([^"]+)"', member.get(LIST).text)


def said(member: Member) -> str:
    return " ".join(text for _, text in Parsed(member.get(LIST).text).found("p"))


def test_the_list_has_each_session_of_the_user_and_marks_this_one(team):
    here, there = team.login("hana"), team.login("hana").at(1)
    team.login("hugo")
    page = Parsed(here.get(LIST).text)
    rows = page.found("li")
    assert len(rows) == 2
    assert [text.startswith("This session") for _, text in rows] == [False, True]
    assert len(keys(here)) == len(keys(there)) == 1
    assert keys(here) != keys(there)
    assert f'href="{LIST}"' in here.get("/page").text


def test_a_visit_leads_through_the_login_to_the_list(team):
    member = team.visitor()
    begun = member.get(member.get(LIST).headers["location"])
    assert member.finish(begun.headers["location"], "hana").headers["location"] == LIST


def test_one_session_is_ended_on_every_replica(team):
    here, lost, other = team.login("hana"), team.login("hana").at(1), team.login("hana")
    wanted = team.store.list_sessions(team.person("hana").key)[1].key
    assert here.post(f"{LIST}/end", session=wanted).headers["location"] == LIST
    assert "The session has ended." in said(here)
    assert not is_in(lost)
    assert not is_in(lost.at(0))
    assert (is_in(here), is_in(other)) == (True, True)
    here.post(f"{LIST}/end", session=wanted)
    assert "had already ended" in said(here)


def test_all_others_are_ended_and_nobody_elses(team):
    here, first, second = team.login("hana"), team.login("hana"), team.login("hana").at(1)
    hugo = team.login("hugo")
    assert here.post(f"{LIST}/end-others").headers["location"] == LIST
    assert "2 other sessions have ended." in said(here)
    assert [is_in(one) for one in (here, first, second, hugo)] == [True, False, False, True]
    assert ">End all others<" not in here.get(LIST).text


def test_a_session_of_another_user_is_neither_shown_nor_ended(team):
    hana, hugo = team.login("hana"), team.login("hugo")
    (theirs,) = team.store.list_sessions(team.person("hugo").key)
    assert theirs.key not in hana.get(LIST).text
    hana.post(f"{LIST}/end", session=theirs.key)
    assert "had already ended" in said(hana)
    assert is_in(hugo)


@pytest.mark.parametrize("session", ["", "x", "%", "' OR 1=1 --", "\u20ac", "0" * 64])
def test_another_key_ends_nothing(team, session):
    here, other = team.login("hana"), team.login("hana")
    here.post(f"{LIST}/end", session=session)
    assert "had already ended" in said(here)
    assert (is_in(here), is_in(other)) == (True, True)


def test_what_a_form_names_a_session_by_lets_nobody_in(team):
    here = team.login("hana")
    team.login("hana")
    (key,) = keys(here)
    name = next(n for n in here.cookies if not n.endswith("_login"))
    thief = team.visitor()
    thief.cookie = f"{name}={key}"
    assert not is_in(thief)


def test_a_session_that_is_over_is_not_listed(team):
    team.login("hana")
    team.clock.ahead = IDLE_SECONDS + 1
    try:
        assert keys(team.login("hana")) == []
    finally:
        team.clock.ahead = 0.0


def test_the_event_streams_of_an_ended_session_end_at_once(team):
    here, lost = team.login("hana"), team.login("hana")
    with closing(http.client.HTTPConnection("127.0.0.1", lost.port, timeout=30)) as wire:
        lost.send(wire, "GET", "/page/a/main/events", (), None)
        answer = wire.getresponse()
        assert answer.readline()
        here.post(f"{LIST}/end-others")
        while answer.readline():
            pass
    assert not is_in(lost)
