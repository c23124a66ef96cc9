"""The whole story: an assistant asks for a refund, a person sees it in a browser and decides."""

from __future__ import annotations

import pytest
from agreeing import changed, events
from playwright.sync_api import expect
from visiting import PIN, WRONG

FACTS = (
    "Ada Moreno <ada@example.com>",
    "Watercolour Foundations",
    "97.00",
    "not possible",
    "Claude Desktop",
    "1.2",
)


def test_what_a_person_approves_with_the_pin_goes_through_exactly_once(place, chat, visit):
    before = place.dump()
    asked = chat.refund()
    assert (asked.code, asked.executed) == ("approval_required", "no")
    waiting = asked.error["confirmation"]
    assert waiting["address"] in asked.error["remedy"]
    person = visit(waiting["address"])
    card = person.card(waiting["number"])
    for fact in FACTS:
        expect(card).to_contain_text(fact)
    person.decide(waiting["number"], "approve")
    expect(person.page.get_by_role("status").first).to_contain_text("Approved")
    expect(card).to_have_count(0)
    assert place.dump() == before
    assert chat.refund(105).code == "approval_required"
    assert place.dump() == before
    assert not chat.refund().failed
    after = place.dump()
    assert after != before
    again = chat.refund()
    assert (again.code, again.executed) == ("already_done", "no")
    assert place.dump() == after


def test_what_a_person_declines_does_not_run_and_the_assistant_is_told_why(place, chat, visit):
    before = place.dump()
    waiting = chat.refund().error["confirmation"]
    person = visit(waiting["address"])
    person.decide(waiting["number"], "decline", reason="she asked for another month")
    expect(person.page.get_by_role("status").first).to_contain_text("Declined")
    answer = chat.refund()
    assert answer.code == "declined"
    assert "she asked for another month" in answer.text
    assert place.dump() == before


def test_a_decline_needs_a_reason(place, chat, ledger, visit):
    waiting = chat.refund().error["confirmation"]
    person = visit(waiting["address"])
    person.decide(waiting["number"], "decline")
    expect(person.page.get_by_role("alert").first).to_contain_text("reason")
    assert [asked.number for asked in ledger.approvals.pending()] == [waiting["number"]]


def test_what_expired_cannot_be_approved_any_more(place, chat, ledger, visit):
    before = place.dump()
    waiting = chat.refund().error["confirmation"]
    person = visit(waiting["address"], java_script_enabled=False)  # or the card would be gone
    changed(place, "UPDATE approvals SET expires_at = 1")
    person.decide(waiting["number"], "approve")
    expect(person.page.get_by_role("alert").first).to_contain_text("expired")
    assert ledger.approvals.get(waiting["number"]).state == "expired"
    asked = chat.refund()
    assert asked.code == "approval_required"
    assert asked.error["confirmation"]["number"] > waiting["number"]
    assert place.dump() == before


def test_wrong_pins_lock_it_and_each_is_on_record(place, chat, ledger, visit):
    before = place.dump()
    waiting = chat.refund().error["confirmation"]
    person = visit(waiting["address"])
    alert = person.page.get_by_role("alert").first
    for left in ("4 attempts", "3 attempts", "2 attempts", "1 attempt", "locked"):
        person.decide(waiting["number"], "approve", pin=WRONG, reason="he was kind")
        expect(alert).to_contain_text(left)
        expect(person.card(waiting["number"]).locator("[name=reason]")).to_have_value("he was kind")
    person.decide(waiting["number"], "approve", pin=PIN)
    expect(alert).to_contain_text("locked until")
    told = events(place)
    assert (told.count("pin_wrong"), told.count("pin_locked")) == (5, 1)
    assert ledger.approvals.get(waiting["number"]).state == "pending"
    assert chat.refund().code == "approval_required"
    assert place.dump() == before


def test_without_a_pin_nobody_is_asked_for_one(place, visit):
    """The page cannot choose it: a model could."""
    from visiting import chatting

    with chatting(place) as chat:
        waiting = chat.refund().error["confirmation"]
        person = visit(waiting["address"])
        expect(person.page.locator("main")).to_contain_text("kartra-mcp approve --set-pin")


HOSTILE = (
    "<img src=x onerror=window.hacked=1>",
    "</script><script>window.hacked=1</script>",
    '" onmouseover="window.hacked=1',
    "{{ 7 * 7 }}{% raw %}",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_shown_as_text(name, place, chat, visit):
    place.rows("UPDATE leads SET first_name = ? WHERE email = 'ada@example.com'", name)
    place.rows("UPDATE products SET name = ?", name)
    waiting = chat.refund().error["confirmation"]
    person = visit(waiting["address"])
    card = person.card(waiting["number"])
    expect(card).to_contain_text(name.strip('"'))
    assert card.locator("img, script, [onmouseover]").count() == 0
    person.decide(waiting["number"], "approve")
    expect(card).to_have_count(0)
    assert not chat.refund().failed
    person.see("/done")
    expect(person.page.locator("tr[data-intent]")).to_have_count(1)
    person.page.locator("tr[data-intent] a").first.click()
    expect(person.page.locator("main")).to_contain_text(name.strip('"'))
    assert person.page.evaluate("window.hacked") is None


def test_what_is_unknown_is_settled_by_a_button(place, chat, visit):
    waiting = chat.refund().error["confirmation"]
    person = visit(waiting["address"])
    person.decide(waiting["number"], "approve")
    expect(person.page.get_by_role("status").first).to_contain_text("Approved")
    place.arrange("fault", "set", "refund_transaction", "garbage", "--effect")
    assert chat.refund().executed == "unknown"
    person.see("/done?outcome=unknown")
    person.page.locator("tr[data-intent] a").first.click()
    person.page.get_by_role("button", name="Reconcile").click()
    expect(person.page.locator("main")).to_contain_text("It was done")


def test_another_browser_sees_nothing_by_a_used_address(place, chat, visit, browser):
    waiting = chat.refund().error["confirmation"]
    visit(waiting["address"])
    other = browser.new_page()
    for address in (waiting["address"], waiting["address"].partition("/open/")[0]):
        answer = other.goto(address)
        assert answer.status >= 400
        assert "Ada" not in other.content()
        assert "Watercolour" not in other.content()
    other.close()
