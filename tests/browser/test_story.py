"""End to end: an assistant requests a refund, the user sees it in a browser and decides."""

from __future__ import annotations

import pytest
from consent_actors import changed, events
from playwright.sync_api import Request, expect
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
    sent: list[str] = []

    def note(request: Request) -> None:
        sent.append(request.method)

    person.page.on("request", note)
    person.decide(waiting["number"], "decline")
    expect(person.page.get_by_role("alert").first).to_contain_text("reason")
    expect(person.card(waiting["number"]).locator("[name=reason]")).to_be_focused()
    assert "POST" not in sent, "it is asked for before anything is sent"
    assert [asked.number for asked in ledger.approvals.list_pending()] == [waiting["number"]]


def test_a_decline_needs_a_reason_without_javascript_too(place, chat, ledger, visit):
    waiting = chat.refund().error["confirmation"]
    person = visit(waiting["address"], java_script_enabled=False)
    person.decide(waiting["number"], "decline")
    expect(person.page.get_by_role("alert").first).to_contain_text("reason")
    assert [asked.number for asked in ledger.approvals.list_pending()] == [waiting["number"]]


def test_enter_in_a_field_decides_nothing(place, chat, ledger, visit):
    waiting = chat.refund().error["confirmation"]
    person = visit(waiting["address"])
    for field, typed in (("pin", PIN), ("reason", "she asked")):
        person.card(waiting["number"]).locator(f"[name={field}]").fill(typed)
        person.page.keyboard.press("Enter")
        expect(person.page.locator("#arrivals")).to_contain_text("Nothing was decided")
    assert ledger.approvals.get(waiting["number"]).state == "pending"
    assert "pin_right" not in events(place)
    person.decide(waiting["number"], "approve")
    expect(person.page.get_by_role("status").first).to_contain_text("Nothing has been done yet")


def test_after_a_wrong_pin_the_pin_has_the_focus(chat, visit):
    waiting = chat.refund().error["confirmation"]
    person = visit(waiting["address"])
    person.decide(waiting["number"], "approve", pin=WRONG)
    expect(person.page.get_by_role("alert").first).to_contain_text("4 attempts")
    expect(person.card(waiting["number"]).locator("[name=pin]")).to_be_focused()


def test_what_a_person_takes_back_does_not_run(place, chat, visit):
    before = place.dump()
    waiting = chat.refund().error["confirmation"]
    person = visit(waiting["address"])
    person.decide(waiting["number"], "approve")
    unused = person.page.locator(f'[data-unused="{waiting["number"]}"]')
    expect(unused).to_contain_text("97.00")
    unused.locator("summary").click()
    unused.locator("[name=pin]").fill(WRONG)
    unused.get_by_role("button", name="Revoke").click()
    expect(unused.get_by_role("alert")).to_contain_text("4 attempts")
    expect(unused.locator("[name=pin]")).to_be_focused()
    unused.locator("[name=pin]").fill(PIN)
    unused.get_by_role("button", name="Revoke").click()
    expect(person.page.get_by_role("status").first).to_contain_text("Revoked")
    expect(unused).to_have_count(0)
    assert chat.refund().code == "approval_required"
    assert place.dump() == before


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


def test_a_reload_after_a_wrong_pin_is_no_second_attempt(place, chat, visit):
    """Bug: the browser sent the form again."""
    waiting = chat.refund().error["confirmation"]
    person = visit(waiting["address"])
    person.decide(waiting["number"], "approve", pin=WRONG)
    expect(person.page.get_by_role("alert").first).to_contain_text("4 attempts")
    expect(person.page).to_have_url(f"{person.root}/#approval-{waiting['number']}")
    person.page.reload()
    expect(person.card(waiting["number"])).to_have_count(1)
    expect(person.page.get_by_role("alert")).to_have_count(0)
    assert events(place).count("pin_wrong") == 1


def test_without_a_pin_nobody_is_asked_for_one(place, visit):
    """A PIN cannot be set on the page, because a model could do it."""
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


def test_what_stays_unknown_is_shown_as_a_doubt(place, chat, visit):
    waiting = chat.refund().error["confirmation"]
    person = visit(waiting["address"])
    person.decide(waiting["number"], "approve")
    expect(person.page.get_by_role("status").first).to_contain_text("Approved")
    place.arrange("fault", "set", "refund_transaction", "garbage")
    assert chat.refund().executed == "unknown"
    person.see("/done?outcome=unknown")
    person.page.locator("tr[data-intent] a").first.click()
    expect(person.page.locator("form.settle")).to_contain_text("without a trace of it, after")
    person.page.get_by_role("button", name="Reconcile").click()
    said = person.page.get_by_role("status").first
    expect(said).to_contain_text("still unknown")
    expect(said).to_have_class("notice doubtful")


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
