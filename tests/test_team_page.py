"""The page of a team: two people decide, one account each, and writes are stopped and resumed."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal

import pytest
from ledger_intents import intent
from ledger_stores import ACCOUNT
from page_html import Parsed, read
from team_page import PEOPLE, ServedTeam, serving_team

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.people import make_requester
from kartra_mcp.policy.limits import GroupCaps, Limits

REFUND = {
    "transaction_id": "101",
    "buyer": "Ada Moreno <ada@example.com>",
    "this_refund": "97.00",
    "risk": "irreversible",
    "effect": "pays 97.00 back to the buyer",
    "undo": "nothing undoes it",
}
CANCEL = {"subscription_id": "202", "buyer": "Ada Moreno", "effect": "ends the subscription"}
LIMITS = Limits(cap_refund=Decimal(500), cap_day_amount=Decimal(800), cap_day_count=7)


@pytest.fixture
def team(team_database) -> Generator[ServedTeam]:
    with serving_team(team_database, LIMITS, replicas=2) as made:
        yield made


def shown(member, path: str = "/page/a/main/") -> Parsed:
    return read(member, path)


def said(member, reply) -> str:
    """Return the text of the page after a form."""
    page = Parsed(member.after(reply).text)
    return " ".join(text for tag in ("p", "div") for _, text in page.found(tag))


# Decisions


def test_a_card_shows_who_asked_what_is_left_and_who_must_approve(team):
    number = team.ask(REFUND, needed=2)
    hana = team.login("hana")
    page = shown(hana)
    facts = {**page.facts("div"), **page.facts("dd")}
    assert (facts["asked_by"], facts["client"]) == ("bea", "desktop")
    assert (facts["account"], facts["target"]) == ("The main shop", "101")
    assert facts["approvals"] == "0 of 2"
    caps = [text for a, text in page.found("dd") if a.get("data-fact") == "cap"]
    assert caps == ["500.00", "800.00", "7"]
    form = page.found("form", action=f"/page/a/main/approvals/{number}")
    assert "101" in form[0][1]
    assert "97.00" in form[0][1]
    names = {str(a["name"]) for a, _ in page.found("input") if "name" in a}
    assert names == {"csrf", "seen", "typed", "reason"}


def test_a_card_shows_what_is_left_for_the_account_the_requester_and_the_role(team_database):
    limits = replace(
        LIMITS,
        person=GroupCaps(cap_day_amount=Decimal(300), cap_day_count=3),
        roles=(
            ("requester", GroupCaps(cap_refund=Decimal(200), cap_day_count=5)),
            ("operator", GroupCaps(cap_day_count=1)),
            ("approver", GroupCaps(mail_per_hour=9)),
        ),
    )
    with serving_team(team_database, limits) as team:
        ledger = team.ledgers["main"]
        for target, name in (("1", "bea"), ("2", "ben")):
            spent = intent(target=target, requester=make_requester(team.person(name)))
            ledger.begin(spent, Limits())
        first = team.ask(REFUND, by="bea")
        second = team.ask(REFUND, "103", by="ben", roles=("requester", "approver"))
        page = team.login("hana").get("/page/a/main/").text
        day = "Left for refunds in 24 hours"
        count = "Left of irreversible operations in 24 hours"
        shared = {
            "Largest refund, this account": "500.00",
            f"{day}, this account": "606.00",
            f"{count}, this account": "5",
            "Largest refund, all with the role requester": "200.00",
            f"{count}, all with the role requester": "3",
            f"{day}, this requester": "203.00",
            f"{count}, this requester": "2",
        }
        for number in (first, second):
            card = page.partition(f'id="approval-{number}"')[2].partition("</article>")[0]
            found = re.findall(r'<dt>([^<]+)</dt><dd data-fact="cap">([^<]+)</dd>', card)
            assert dict(found) == shared
            assert len(found) == len(shared)


def test_the_link_of_a_notice_leads_through_the_login_to_the_card(team):
    number = team.ask(REFUND)
    member = team.visitor()
    begun = member.get(f"/page/a/main/approvals/{number}")
    back = member.finish(member.get(begun.headers["location"]).headers["location"], "hana")
    assert back.headers["location"] == f"/page/a/main/approvals/{number}"
    card = member.get(back.headers["location"]).headers["location"]
    assert card == f"/page/a/main/#approval-{number}"
    assert f'id="approval-{number}"' in member.get("/page/a/main/").text


def test_two_people_approve_and_the_requester_is_neither(team):
    number = team.ask(REFUND, needed=2)
    hana, hugo, bea = (team.login(name) for name in ("hana", "hugo", "bea"))
    assert "More approvals of other people are needed" in said(hana, hana.vote(number))
    assert team.state(number) == "pending"
    facts = shown(hugo).facts("dd")
    assert facts["approvals"] == "1 of 2"
    assert "You approved this" in hana.get("/page/a/main/").text
    again = hana.vote(number, seen=hugo.seen(number))
    assert "each person counts once" in said(hana, again)
    assert "you cannot approve it" in bea.get("/page/a/main/").text
    assert bea.vote(number, seen=hugo.seen(number)).status == 403
    assert team.state(number) == "pending"
    assert "Approved. Nothing has been done yet" in said(hugo, hugo.vote(number))
    approved = team.ledgers["main"].approvals.get(number)
    assert approved is not None
    assert approved.team is not None
    assert (approved.state, [vote.name for vote in approved.team.votes]) == (
        "approved",
        ["hana", "hugo"],
    )


def test_a_requester_who_is_an_approver_too_cannot_approve(team):
    number = team.ask(REFUND, by="hana")
    hana, hugo = team.login("hana"), team.login("hugo")
    assert "you cannot approve it" in hana.get("/page/a/main/").text
    reply = hana.vote(number, seen=hugo.seen(number))
    assert "You requested number" in said(hana, reply)
    assert team.state(number) == "pending"


@pytest.mark.parametrize("typed", ["", "9.70", "97.004", "101", "-97", "97.00 97.00", "1e9"])
def test_another_amount_approves_nothing(team, typed):
    number = team.ask(REFUND)
    hana = team.login("hana")
    assert "Nothing was decided" in said(hana, hana.vote(number, typed=typed))
    assert team.state(number) == "pending"
    assert hana.vote(number, typed="97").headers["location"] == "/page/a/main/"
    assert team.state(number) == "approved"


def test_without_an_amount_the_id_is_typed(team):
    number = team.ask(CANCEL, "202", amount="")
    hana = team.login("hana")
    assert "Type the subscription id" in hana.get("/page/a/main/").text
    assert "Nothing was decided" in said(hana, hana.vote(number, typed="97.00"))
    hana.vote(number, typed="202")
    assert team.state(number) == "approved"


def test_a_decline_needs_a_reason_and_ends_it(team):
    number = team.ask(REFUND, needed=2)
    hana, hugo = team.login("hana"), team.login("hugo")
    hugo.vote(number)
    assert "A decline needs a reason" in said(hana, hana.vote(number, "decline", typed=""))
    assert team.state(number) == "pending"
    assert "Declined" in said(hana, hana.vote(number, "decline", typed="", reason="wrong sale"))
    assert team.state(number) == "declined"
    page = hugo.get("/page/a/main/done").text
    assert "wrong sale" in page
    assert "hana" in page
    assert "Approved by one of several people" in page


def test_a_card_that_changed_approves_nothing(team):
    number = team.ask(REFUND)
    hana = team.login("hana")
    seen = hana.seen(number)
    newer = team.ask({**REFUND, "buyer": "Bob"}, "103")
    reply = hana.vote(newer, seen=seen)
    assert "differs from the request that was shown" in said(hana, reply)
    assert team.state(newer) == "pending"


def test_a_requester_withdraws_and_an_approver_revokes(team):
    first, second = team.ask(REFUND), team.ask(REFUND, "103")
    bea, hana, sam = (team.login(name) for name in ("bea", "hana", "sam"))
    assert "can withdraw" in said(sam, sam.post(f"/page/a/main/approvals/{first}/withdraw"))
    assert team.state(first) == "pending"
    assert "Withdraw" in bea.get("/page/a/main/").text
    bea.post(f"/page/a/main/approvals/{first}/withdraw")
    assert team.state(first) == "withdrawn"
    hana.vote(second)
    assert team.state(second) == "approved"
    hana.post(f"/page/a/main/approvals/{second}/withdraw")
    assert team.state(second) == "withdrawn"


def test_two_people_and_two_accounts_see_nothing_of_each_other(team):
    number = team.ask(REFUND)
    other = team.ask({**REFUND, "buyer": "Zoe Second"}, "900", account="second", by="zed")
    hana, olga = team.login("hana"), team.login("olga")
    assert "Zoe Second" not in hana.get("/page/a/main/").text
    assert "Ada Moreno" not in olga.get("/page/a/second/").text
    assert hana.vote(other, account="second", seen=olga.seen(other, "second")).status == 404
    assert olga.vote(other, account="second").status == 303
    assert (team.state(number), team.state(other, "second")) == ("pending", "approved")
    assert "olga" not in hana.get("/page/a/main/done").text


# The switch


def runs(ledger: Ledger) -> bool:
    with suppress(RefusedError):
        ledger.switch.require_running()
        return True
    return False


def test_an_operator_stops_and_two_people_resume(team):
    ledger = team.ledgers["main"]
    sam, hana, hugo, vera = (team.login(name) for name in ("sam", "hana", "hugo", "vera"))
    assert "Writes of this account run" in hana.get("/page/a/main/status").text
    said(sam, sam.post("/page/a/main/writes/stop", reason="strange refunds"))
    assert not runs(ledger)
    assert runs(team.ledgers["second"])
    for path in ("/", "/bulk", "/done", "/charts", "/status"):
        for one in (hana, vera):
            text = one.get(f"/page/a/main{path}").text
            assert "Writes of this account are stopped" in text
            assert "sam" in text
    assert "strange refunds" in hana.get("/page/a/main/status").text
    assert sam.post("/page/a/main/writes/resume").status == 403
    assert "Another admin or approver" in said(hana, hana.post("/page/a/main/writes/resume"))
    assert not runs(ledger)
    assert "Another user must do the same" in hana.get("/page/a/main/status").text
    assert "two different people" in said(hana, hana.post("/page/a/main/writes/resume"))
    assert not runs(ledger)
    assert "hana" in hugo.get("/page/a/main/status").text
    assert "run again" in said(hugo, hugo.post("/page/a/main/writes/resume"))
    assert runs(ledger)
    assert "are stopped" not in hana.get("/page/a/main/").text


def test_the_history_has_each_stop_and_resume_with_who_did_it_and_why(team):
    sam, hana, hugo = (team.login(name) for name in ("sam", "hana", "hugo"))
    sam.post("/page/a/main/writes/stop", reason="strange refunds <b>")
    hana.post("/page/a/main/writes/resume")
    hugo.post("/page/a/main/writes/resume")
    page = hana.get("/page/a/main/done").text
    table = page.partition('id="decided"')[2]
    rows = re.findall(r"<tr>.*?</tr>", table.partition("<tbody>")[2], re.DOTALL)
    texts = [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in rows]
    assert len(texts) == 3
    for text, words in zip(
        texts,
        [
            ("Writes resumed", "hugo"),
            ("Resuming requested by one of two people", "hana"),
            ("Writes stopped", "sam", "strange refunds &lt;b&gt;"),
        ],
        strict=True,
    ):
        assert all(word in text for word in words), text
    assert "PIN" not in page


def test_a_stop_is_in_force_on_every_replica_at_once(team):
    sam, hana = team.login("sam"), team.login("hana").at(1)
    assert "are stopped" not in hana.get("/page/a/main/").text
    sam.post("/page/a/main/writes/stop")
    assert "are stopped" in hana.get("/page/a/main/").text


@pytest.mark.parametrize("name", PEOPLE)
def test_who_may_stop_and_resume(team, name):
    ledger, who = team.ledgers["main"], team.login(name)
    may_stop = name in {"sam", "bea", "hana", "hugo", "ian"}
    may_resume = name in {"hana", "hugo", "ian"}
    page = who.get("/page/a/main/status").text
    assert (">Stop writes<" in page) == may_stop
    who.post("/page/a/main/writes/stop")
    assert runs(ledger) != may_stop
    if not may_stop:
        return
    assert (">Resume writes<" in who.get("/page/a/main/status").text) == may_resume
    who.post("/page/a/main/writes/resume")
    stop = ledger.switch.find_stop()
    assert stop is not None
    assert (stop.resume is not None) == may_resume


def test_to_resume_needs_a_fresh_login_and_to_stop_does_not(team):
    hana = team.login("hana", age=400)
    hana.post("/page/a/main/writes/stop")
    assert not runs(team.ledgers["main"])
    reply = hana.post("/page/a/main/writes/resume")
    assert reply.headers["location"].startswith("/page/again?return=")
    stop = team.ledgers["main"].switch.find_stop()
    assert stop is not None
    assert stop.resume is None


def test_a_stop_of_all_accounts_passes_over_one_whose_ledger_fails(team_database):
    with serving_team(team_database, second=("it",)) as team:
        first, other = team.ledgers["main"], team.ledgers["second"]
        ian, sql = team.login("ian"), team_database.server.run_sql
        sql(f"ALTER SCHEMA ledger_{ACCOUNT} RENAME TO hidden")
        try:
            told = said(ian, ian.post("/page/writes/stop", reason="audit"))
        finally:
            sql(f"ALTER SCHEMA hidden RENAME TO ledger_{ACCOUNT}")
        assert (runs(first), runs(other)) == (True, False)
    assert "stopped on every replica: The second shop" in told
    assert "Not stopped: The main shop" in told


# Verification


def test_a_verification_is_shown_once_to_who_asked_for_it_on_any_replica(team):
    hana, aude = team.login("hana"), team.login("aude")
    reply = hana.post("/page/a/main/chain")
    assert "Intact." not in aude.get("/page/a/main/status").text
    assert "Intact." in hana.at(1).after(reply).text
    assert "Intact." not in hana.get("/page/a/main/status").text


def test_a_verification_of_an_intact_ledger_names_why_it_refuses_writes(team, team_database):
    for target in ("101", "102"):
        team.ask(REFUND, target, account="second")
    schema = f"ledger_{team.ledgers['second'].identify('')}"
    team_database.forget_second()
    team_database.server.run_sql(f"UPDATE {schema}.meta SET value = '1/1'")
    olga = team.login("olga")
    page = Parsed(olga.after(olga.post("/page/a/second/chain")).text)
    result = page.found("div", id="chain-result")[0][1]
    assert result.startswith("All 2 lines are intact, but writes are refused: the ledger's data")


def test_an_admin_stops_all_accounts_of_his_own_alone(team):
    ian, hana = team.login("ian"), team.login("hana")
    assert ">Stop writes<" in ian.get("/page").text
    assert ">Stop writes<" not in hana.get("/page").text
    assert hana.post("/page/writes/stop").status == 403
    assert runs(team.ledgers["main"])
    assert "The main shop" in said(ian, ian.post("/page/writes/stop", reason="audit"))
    assert not runs(team.ledgers["main"])
    assert runs(team.ledgers["second"])
