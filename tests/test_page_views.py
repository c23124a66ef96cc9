"""Views of the page: cards, history, charts and status show every fact, as escaped text."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Generator
from contextlib import closing
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import pytest
from consent_actors import decided, ledger_folder, sandbox
from harness import Sandbox, call, connect
from page_client import PIN, Visitor, asked, served_here
from page_html import HIDDEN, HOSTILE, Parsed, read

from kartra_mcp.core.models import Executed, Risk
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.records import Answer, Binding, Intent, make_intent_id
from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.policy.limits import Limits
from kartra_mcp.web.views import templating

CHARTS = ("refunds", "acts", "outcomes", "tools", "errors", "latency")
REFUND = "kartra_refund_transaction"
FACTS = {
    "transaction_id": "101",
    "product": "Watercolour Foundations",
    "buyer": "Ada Moreno <ada@example.com>",
    "date": "2026-11-21",
    "amount": "97.00",
    "refunded_so_far": "20.00",
    "remaining": "77.00",
    "this_refund": "77.00",
    "full_or_partial": "FULL",
    "effect": "pays 77.00 back to the buyer",
    "undo": "not possible",
    "risk": "irreversible",
}
IN_WORDS = {"date": "21 Nov 2026", "full_or_partial": "The whole remainder"}
PLAIN = {
    "tool": "kartra_assign_tag",
    "operation": "assign_tag",
    "risk": Risk.WRITE,
    "connection": "c",
    "target_kind": "lead",
    "target": "7",
    "consent": "none",
    "actor": "ada",
    "client": "a chat 1.0",
    "undo": "unassign the tag",
}
SVG = "{http://www.w3.org/2000/svg}"
DRAWN = frozenset({"svg", "defs", "style", "title", "g", "rect", "path", "text"})


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Sandbox:
    return sandbox(tmp_path_factory.mktemp("page"), CAP_DAY_AMOUNT="500")


@pytest.fixture(scope="module")
def ledger(place) -> Generator[Ledger]:
    with closing(open_ledger(ledger_folder(place))) as made:
        made.pins.set(PIN, "ada")
        yield made


@pytest.fixture(scope="module")
def visitor(place, ledger) -> Generator[Visitor]:
    with served_here(place) as page:
        yield page.visitor()


@pytest.fixture(scope="module")
def write(ledger) -> Callable[..., str]:
    """Return a function that records one write with its outcome and returns its intent's id."""

    def recorded(state: Any = "succeeded", detail: Any = None, **more: Any) -> str:
        said: dict[str, Any] = {**PLAIN, "id": make_intent_id(), **more}
        intent = Intent(**said)
        ledger.begin(intent, Limits(cap_day_count=None))
        executed = {"succeeded": Executed.YES, "unknown": Executed.UNKNOWN}.get(state, Executed.NO)
        ledger.finish(intent.id, Answer(state, executed, detail=detail or {}, undo=intent.undo))
        return intent.id

    return recorded


@pytest.fixture(scope="module")
def story(write, ledger) -> dict[str, str]:
    """One write of each kind, by name."""
    refund = {
        "tool": REFUND,
        "operation": "refund_transaction",
        "risk": Risk.IRREVERSIBLE,
        "target_kind": "transaction",
        "undo": "not possible",
    }
    money = {"known_amount": Decimal("97.00"), **refund}
    lead = ledger.leads.hash("ada@example.com")
    lost = {"code": "timed_out"}
    return {
        "tag": write(lead="a**@e******.com", lead_hash=lead),
        "untag": write(
            tool="kartra_unassign_tag",
            operation="unassign_tag",
            risk=Risk.DESTRUCTIVE,
            consent="flag",
        ),
        "failed": write("failed", {"code": "kartra_error"}, target="8"),
        "refund": write(target="101", amount=Decimal("97.00"), consent="flag", **money),
        "unknown": write("unknown", lost, target="102", consent="elicitation", **money),
    }


def card_of(visitor: Visitor, number: int) -> Parsed:
    """Return one card, parsed alone."""
    text = visitor.get("/cards").text
    found = re.search(rf'<article[^>]*data-number="{number}".*?</article>', text, re.DOTALL)
    assert found, text
    return Parsed(found[0])


def test_a_card_shows_everything_that_is_agreed_to(visitor, ledger):
    number = ledger.approvals.request(asked(FACTS, "1", "REFUND FULL 77.00 transaction 101"))
    card = card_of(visitor, number)
    told = card.facts()
    for name, value in FACTS.items():
        if name != "risk":
            assert IN_WORDS.get(name, value) in told[name], name
    assert [text for _, text in card.found("h2")] == [f"Number {number}: Refund 77.00"]
    assert "Irreversible" in card.found("article")[0][1]
    assert "REFUND FULL 77.00 transaction 101" in card.facts("p")["summary"]
    assert card.facts("dd")["asked_by"] == "a chat 1.0"
    assert len([a for a, _ in card.found("time") if str(a["datetime"]).startswith("20")]) == 2
    order = [name for name in told if name in FACTS]
    assert order[:2] == ["buyer", "product"], "who and what come first, in whatever order they came"
    assert len(card.found("form", method="post", action=f"/approvals/{number}")) == 1
    buttons = [a["value"] for a, _ in card.found("button", name="decision")]
    assert buttons == ["decline", "approve"], "Enter in a field is the first button"


def test_unknown_facts_are_shown_after_the_known_ones(visitor, ledger):
    facts = {
        "zeal": ["one", {"two": True}],
        "amount": "5.00",
        "could_not_be_read": ["the sale: no"],
    }
    number = ledger.approvals.request(asked(facts, "2"))
    card = card_of(visitor, number)
    told = card.facts()
    assert list(told)[:2] == ["amount", "zeal"]
    assert told["zeal"] == "Zealonetwo: yes"
    assert "Could not be read:the sale: no" in card.found("article")[0][1]
    assert "Irreversible" not in card.found("article")[0][1]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text_wherever_they_stand(visitor, ledger, write, name):
    facts = {"buyer": name, name: name, "memberships": [{name: name}], "could_not_be_read": [name]}
    request = asked({**FACTS, **facts, "effect": name, "undo": name, "risk": name}, name, name)
    number = ledger.approvals.request(request)
    lost = write(
        "unknown",
        {"code": name},
        tool=name,
        operation=name,
        target_kind=name,
        target=name,
        client=name,
        actor=name,
        facts={name: name},
        lead=name,
        undo=name,
    )
    plain = read(visitor, f"/done/{lost}?{urlencode({'since': name})}")
    cards = read(visitor, "/")
    query = urlencode({"tool": name, "lead": name, "transaction": name, "since": name})
    pages = (cards, plain, read(visitor, "/done"), read(visitor, f"/done?{query}"))
    for page in (*pages, read(visitor, "/charts")):
        _is_ours_alone(page)
    (shown,) = cards.found("article", data_number=str(number))
    assert name in shown[1]
    assert name in plain.found("main")[0][1]
    decided(ledger, number, approve=False, reason=name, who=name)


def _is_ours_alone(page: Parsed) -> None:
    """Assert that every element, handler, style and address is one of the templates."""
    for tag, attributes, _ in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("href", "src", "srcset", "action", "formaction"):
            value = str(attributes.get(name, "/"))
            assert value.startswith(("/", "#")), (tag, name, value)
            assert not value.startswith("//")
    scripts = [(a.get("src") or "").partition("?")[0] for a, _ in page.found("script")]
    assert scripts == ["/static/page.js"]
    assert [text for _, text in page.found("script")] == [""]
    assert page.found("style") == page.found("iframe") == page.found("object") == []
    texts = {a.get("type") for a, _ in page.found("input")}
    assert texts <= {"hidden", "password", "text", "date"}


def test_what_is_invisible_is_not_on_the_page(visitor, ledger):
    facts = {**FACTS, "buyer": f"Ada{HIDDEN} Moreno", "product": f"Gold{HIDDEN}\n\nFree"}
    number = ledger.approvals.request(asked(facts, "3", f"REFUND{HIDDEN} 5"))
    text = visitor.get("/").text
    assert not set(HIDDEN.replace("[31m", "")) & set(text)
    told = card_of(visitor, number).facts()
    assert told["buyer"] == "BuyerAda Moreno"
    assert told["product"] == "ProductGold Free"


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"tool": "kartra_assign_tag", "transaction": "7"}, ["tag"]),
        ({"risk": "destructive", "consent": "flag"}, ["untag"]),
        ({"outcome": "failed"}, ["failed"]),
        ({"transaction": "0101.0"}, ["refund"]),
        ({"consent": "elicitation"}, ["unknown"]),
        ({"consent": "approval"}, []),
        ({"risk": "irreversible"}, ["unknown", "refund"]),
        ({"lead": " ADA@example.com"}, ["tag"]),
        ({"lead": "noor@example.com"}, []),
        ({"until": "2001-01-01"}, []),
        ({"since": "2001-01-01", "transaction": "102"}, ["unknown"]),
        ({"since": "2999-01-01"}, []),
        ({"transaction": "102", "outcome": "failed"}, []),
    ],
    ids=str,
)
def test_filters_find_what_they_say(visitor, story, query, names):
    ours = set(story.values())
    page = read(visitor, f"/done?{urlencode(query)}")
    assert [x for x in page.intents() if x in ours] == [story[name] for name in names]
    told = visitor.get(f"/export.json?{urlencode(query)}").text
    exported = [line["intent"] for line in json.loads(told)["lines"] if line["intent"] in ours]
    assert exported == [story[name] for name in reversed(names)]
    kept = {a["name"]: a.get("value") for a, _ in page.found("input") if "name" in a}
    assert all(kept[n] == v.strip() for n, v in query.items() if n in kept)


@pytest.mark.usefixtures("story")
@pytest.mark.parametrize(
    "query",
    [
        {"since": "yesterday"},
        {"until": "2026-13-01"},
        {"since": "99999-01-01"},
        {"outcome": "fine"},
        {"consent": "approved"},
        {"risk": "read"},
    ],
    ids=str,
)
def test_an_invalid_filter_shows_nothing_and_exports_nothing(visitor, query):
    page = read(visitor, f"/done?{urlencode(query)}")
    assert page.intents() == []
    assert "A filter is invalid" in page.found("div", role="alert")[0][1]
    for form in ("csv", "json"):
        reply = visitor.get(f"/export.{form}?{urlencode(query)}")
        assert reply.status == 400
        assert "int_" not in reply.text


def test_the_export_is_what_the_table_shows_and_holds_no_formula(visitor, story, write):
    write(client="=1+1", actor="@ada", target="=2")
    reply = visitor.get("/export.csv?transaction=%3D2")
    assert reply.headers["content-type"].startswith("text/csv")
    assert reply.headers["content-disposition"].startswith("attachment")
    (line,) = csv.DictReader(StringIO(reply.text))
    assert (line["client"], line["actor"], line["target"]) == ("'=1+1", "'@ada", "'=2")
    rows = list(csv.DictReader(StringIO(visitor.get("/export.csv?outcome=unknown").text)))
    assert story["unknown"] in {row["intent"] for row in rows}
    assert {row["state"] for row in rows} == {"unknown"}


def test_many_writes_come_in_pages_and_each_once(visitor, write):
    made = [write(tool="kartra_many", target=str(n)) for n in range(120)]
    path, seen = "/done?tool=kartra_many", list[str]()
    sizes = []
    while path:
        page = read(visitor, path)
        sizes.append(len(page.intents()))
        seen += page.intents()
        path = next((str(a["href"]) for a, _ in page.found("a", rel="next")), "")
    assert sizes == [50, 50, 20]
    assert seen == made[::-1]


def test_the_details_of_a_write_show_its_approval_and_its_outcome(visitor, ledger):
    binding = Binding(REFUND, "digest", "c", "2026", "a", "r1", "p")
    number = ledger.approvals.request(asked(FACTS, "digest"))
    binding = next(x.binding for x in ledger.approvals.list_pending() if x.number == number)
    decided(ledger, number, approve=True, reason="agreed by telephone", who="ada")
    intent = Intent(
        id=make_intent_id(),
        tool=REFUND,
        operation="refund_transaction",
        risk=Risk.IRREVERSIBLE,
        connection="c",
        target_kind="transaction",
        target="777",
        known_amount=Decimal("12.50"),
        consent="approval",
        approval=number,
        actor="ada",
        client="a chat 1.0",
        facts={"product": "Gold", "seen": ["1 2.00"]},
        undo="not possible",
    )
    ledger.begin(intent, Limits(), binding)
    page = read(visitor, f"/done/{intent.id}")
    assert "still running" in page.found("section", data_intent=intent.id)[0][1]
    assert page.found("form", method="post") == []
    ledger.finish(intent.id, Answer("succeeded", Executed.YES, action_run_id="run-1"))
    page = read(visitor, f"/done/{intent.id}")
    told = page.found("main")[0][1]
    for said in ("12.5", "transaction 777", "not possible", "run-1", "Gold", "a chat 1.0"):
        assert said in told
    ((_, steps),) = page.found("ol")
    asked_for, decision, begun, ended = (
        steps.index(word)
        for word in (
            f"Approval {number} requested",
            "Approved with the PIN",
            "Intent recorded",
            "Outcome recorded",
        )
    )
    assert asked_for < decision < begun < ended
    assert "agreed by telephone" in steps
    hashes = [line["hash"][:16] for line in (ledger.get(intent.id) or {})["lines"]]
    assert len(hashes) == 2
    assert all(hash_ in steps for hash_ in hashes)
    assert page.found("form", method="post") == []
    assert read(visitor, "/done/int_nothing", 404)


def test_what_is_unknown_has_a_button_that_settles_it(visitor, story):
    page = read(visitor, f"/done/{story['unknown']}")
    (form,) = page.found("form", method="post")
    assert form[0]["action"] == f"/done/{story['unknown']}/reconcile"
    assert "repeats nothing" in form[1]
    assert "unknown" in read(visitor, "/done").found("p", id="unknown")[0][1]


@pytest.mark.usefixtures("story")
@pytest.mark.parametrize("name", [*CHARTS, *(f"{name}-narrow" for name in CHARTS)])
def test_a_chart_is_a_drawing_and_nothing_else(visitor, name):
    reply = visitor.get(f"/charts/{name}.svg")
    assert reply.headers["content-type"].startswith("image/svg+xml")
    root = ET.fromstring(reply.text)
    assert root.tag == f"{SVG}svg"
    assert len(root.findall(".//{*}rect")) > 2
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in DRAWN
        assert not [n for n in element.attrib if n.startswith("on") or "href" in n]
        if element.tag != f"{SVG}style":
            element.text = element.tail = None
    drawn = ET.tostring(root, encoding="unicode").replace(SVG.strip("{}"), "")
    assert not re.search(r"https?:|//|@import|url\(|javascript", drawn)
    assert "prefers-color-scheme:dark" in drawn.replace(" ", "")


@pytest.mark.usefixtures("story")
def test_the_charts_say_the_same_in_tables(visitor):
    page = read(visitor, "/charts")
    tables = {
        section["aria-labelledby"]: text
        for section, text in page.found("section")
        if "chart" in str(section.get("class"))
    }
    assert list(tables) == list(CHARTS)
    assert "The cap is 500.00 in any 24 hours" in tables["refunds"]
    assert "97.000500.00" in tables["refunds"], "one unknown, none unread, against the cap"
    assert "kartra_error" in tables["errors"]
    assert "Refund transaction" not in tables["errors"]
    sources = {a["src"] for a, _ in page.found("img")}
    assert sources == {f"/charts/{name}.svg" for name in CHARTS}
    assert visitor.get("/charts/nothing.svg").status == 404


def test_pages_of_an_empty_ledger_show_empty_states(tmp_path):
    with served_here(sandbox(tmp_path)) as page:
        visitor = page.visitor()
        shown = read(visitor, "/charts")
        assert shown.found("img") == []
        assert len(shown.found("p", class_="empty")) == len(CHARTS)
        for name in CHARTS:
            ET.fromstring(visitor.get(f"/charts/{name}.svg").text)
        assert "No pending approvals." in read(visitor, "/").found("main")[0][1]
        assert "No writes yet." in read(visitor, "/done").found("main")[0][1]
        assert read(visitor, "/done").found("form") == []
        assert "Refunds per day, with the cap" not in shown.found("main")[0][1]
        (hint,) = read(visitor, "/").found("div", id="no-pin")
        assert "kartra-mcp approve --set-pin" in hint[1]


@pytest.mark.anyio
async def test_a_card_shows_the_requester_and_the_effect(tmp_path):
    place = sandbox(tmp_path, GATE_IRREVERSIBLE="human", ACTOR="grace")
    async with connect(place, "legacy") as client:
        refused = await call(client, REFUND, transaction_id=101)
    assert refused.code == "approval_required"
    with closing(open_ledger(ledger_folder(place))) as ledger:
        (waits,) = ledger.approvals.list_pending()
    assert re.fullmatch(r"grace, through mcp \d.*", waits.asked_by)
    with served_here(place) as page:
        card = card_of(page.visitor(), 1)
    told = card.facts()
    facts = refused.error["confirmation"]["facts"]
    for name in facts.keys() - IN_WORDS:
        assert str(facts[name]) in told[name], name
    assert told["full_or_partial"].endswith("Full")
    assert re.search(r"\d{1,2} \w{3} \d{4}, \d\d:\d\d \(Kartra's time\)$", told["date"])
    assert "Irreversible" in card.found("p", class_="tags")[0][1]
    assert card.facts("dd")["asked_by"] == waits.asked_by


def test_a_refused_decision_keeps_its_input_and_explains_itself_in_its_card(visitor, ledger):
    numbers = [ledger.approvals.request(asked(FACTS, f"kept {n}")) for n in range(2)]
    reply = visitor.decide(numbers[0], "decline", "wrong pin", "the <b>wrong</b> sale")
    assert (reply.status, reply.headers["location"]) == (303, f"/#approval-{numbers[0]}")
    page = read(visitor, "/")
    (alert,) = page.found("div", role="alert")
    assert "attempts are left" in alert[1]
    kept = [a["value"] for a, _ in page.found("input", name="reason")]
    assert kept.count("the <b>wrong</b> sale") == 1
    (form,) = page.found("form", action=f"/approvals/{numbers[0]}")
    assert "attempts are left" in form[1]
    assert ledger.pins.check(PIN, "ada")


def test_an_approved_call_is_shown_as_not_done_and_can_be_revoked(visitor, ledger):
    number = ledger.approvals.request(asked(FACTS, "taken back"))
    assert visitor.decide(number, "approve").status == 303
    page = read(visitor, "/")
    (notice,) = page.found("p", class_="notice")
    assert "Nothing has been done yet: tell your assistant" in notice[1]
    (waits,) = page.found("li", data_unused=str(number))
    assert "Refund 77.00" in waits[1]
    assert re.search(r"Expires \d+ \w+ \d{4}, \d\d:\d\d \(in 23 h 59 min\)", waits[1])
    assert page.found("form", action=f"/approvals/{number}/withdraw")
    assert visitor.post(f"/approvals/{number}/withdraw", pin=PIN).status == 303
    page = read(visitor, "/")
    assert "Revoked" in page.found("p", class_="notice")[0][1]
    assert page.found("li", data_unused=str(number)) == []
    assert ledger.approvals.get(number).state == "withdrawn"


def test_history_lists_declines_with_their_reasons_and_pin_attempts(visitor, ledger):
    number = ledger.approvals.request(asked(FACTS, "listed"))
    visitor.decide(number, "decline", "wrong pin", "another month")
    visitor.decide(number, "decline", PIN, "she asked for <b>another</b> month")
    (table,) = read(visitor, "/done").found("table", class_="rows decided")
    declined, right, wrong, asked_for = (
        table[1].index(words)
        for words in ("Declined", "PIN correct", "PIN wrong", "Approval requested")
    )
    assert declined < right < wrong < asked_for
    assert f"Number {number}: Refund transaction" in table[1]
    assert "she asked for <b>another</b> month" in table[1]


def test_an_unknown_write_shows_its_amount_as_uncertain_and_how_to_settle_it(
    visitor, ledger, write, story
):
    row = read(visitor, "/done?outcome=unknown&transaction=102")
    assert "97.00if it was done" in row.found("tr", data_intent=story["unknown"])[0][1]
    told = read(visitor, f"/done/{story['unknown']}").found("main")[0][1]
    assert "Amount (if it was done)97.00" in told
    assert "moved" not in told.lower()
    assert "takes 2 reads without a trace of it, after" in told
    assert "No answer came in time (timed_out)" in told
    why = "Nothing is to be seen; one more look decides."
    ledger.append_note("look", {"intent": story["unknown"], "why": why, "evidence": []})
    told = read(visitor, f"/done/{story['unknown']}").found("main")[0][1]
    assert why in told
    assert "takes one more read without a trace of it" in told
    other = write("unknown", {"code": "timed_out"}, operation="give_points_to_lead")
    assert "only Membrane's log" in read(visitor, f"/done/{other}").found("main")[0][1]


def test_a_receipt_has_the_lead_the_sum_and_what_is_new_in_the_account(visitor, ledger, write):
    lost = write(
        "unknown",
        tool=REFUND,
        operation="refund_transaction",
        risk=Risk.IRREVERSIBLE,
        target_kind="transaction",
        target="4711",
        known_amount=Decimal("12.5"),
        lead="a**@e******.com",
        facts={"seen": ["200 2.00"]},
    )
    seen = {
        "why": "There is a refund that was not there before.",
        "evidence": ["200 2.00", "201 12.50"],
    }
    ledger.reconcile(lost, "succeeded", seen)
    page = read(visitor, f"/done/{lost}")
    (receipt,) = page.found("section", data_intent=lost)
    for said in ("a**@e******.com", "Amount12.50", "refund 201 of 12.50", "Was it done?Yes"):
        assert said in receipt[1]
    assert page.found("h1")[0][1] == "Refund transaction 4711"
    assert "There is a refund that was not there before." in page.found("ol")[0][1]
    assert "evidence:" not in page.found("main")[0][1]


def test_status_reports_a_missing_pin_and_a_servers_different_policy(tmp_path):
    place = sandbox(tmp_path, GATE_IRREVERSIBLE="human")
    with served_here(place) as page, closing(open_ledger(ledger_folder(place))) as ledger:
        visitor = page.visitor()
        told = read(visitor, "/status").found("main")[0][1]
        assert "No PIN is set" in told
        assert "Kartra is reachable" in told
        assert "No problems." not in told
        ledger.pins.set(PIN, "ada")
        told = read(visitor, "/status")
        assert "No problems." in told.found("main")[0][1]
        assert "Settings of this page." in told.found("main")[0][1]
        assert told.found("section", aria_labelledby="recorded") == []
        policy = {"gates": {"irreversible": "preview"}, "allow": ["kartra_assign_tag"]}
        ledger.append_note("policy", {"digest": "d", "policy": policy, "loosened": []})
        (differs,) = read(visitor, "/status").found("section", aria_labelledby="recorded")
        assert "Gate for irreversible" in differs[1]
        assert "(preview)" in differs[1]
        assert "kartra_assign_tag" in differs[1]


@pytest.mark.usefixtures("story")
def test_filters_are_folded_until_one_is_set_and_name_the_field_that_is_wrong(visitor):
    assert "open" not in read(visitor, "/done").found("details", class_="narrow")[0][0]
    page = read(visitor, "/done?since=2026-11-20&until=2026-11-01")
    assert "open" in page.found("details", class_="narrow")[0][0]
    assert page.intents() == []
    assert "To: This day is before From." in page.found("div", role="alert")[0][1]
    assert page.found("input", name="until")[0][0]["aria-invalid"] == "true"


def test_a_locked_pin_is_shown_before_an_attempt(tmp_path):
    place = sandbox(tmp_path)
    with served_here(place) as page, closing(open_ledger(ledger_folder(place))) as ledger:
        ledger.pins.set(PIN, "ada")
        visitor = page.visitor()
        assert read(visitor, "/").found("p", id="locked") == []
        for _ in range(5):
            ledger.pins.check("wrong pin", "ada")
        assert "locked until" in read(visitor, "/").found("p", id="locked")[0][1]


def test_the_account_is_named_on_every_page(visitor, ledger):
    ledger.approvals.request(asked(of="account"))  # so that the title has a number
    for path in ("/", "/bulk", "/done", "/charts", "/status"):
        page = read(visitor, path)
        (body,) = page.found("body")
        assert body[0]["data-account"] == "sandbox"
        assert "SANDBOX" in page.found("aside", class_="sandbox")[0][1]
        count = len(read(visitor, "/").found("article"))
        assert page.found("title")[0][1].startswith(f"({count}) ")


def test_the_chain_is_checked_from_the_page(visitor):
    reply = visitor.post("/chain")
    assert reply.status == 303
    assert "Intact." in read(visitor, "/status").found("p", id="chain-result")[0][1]


TEMPLATES = sorted(Path(templating.TEMPLATES).glob("*.html"))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda file: file.name)
def test_no_template_turns_escaping_off(template):
    text = template.read_text(encoding="utf-8")
    assert not re.search(r"\|\s*safe|autoescape|Markup|<style|\sstyle=|\son\w+=", text)
    assert all("src=" in script for script in re.findall(r"<script[^>]*>", text))
    assert not re.search(r"https?://", text)
    assert not re.search(r"=\{[{%]", re.sub(r'"[^"]*"', '""', text)), "no attribute without quotes"
