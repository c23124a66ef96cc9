"""Bulk runs on the page: consent card, list, progress, faults, cancellation, links to writes."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from bulk_account import (
    CREATE,
    POINTS,
    REFUND,
    RUN,
    TAG,
    VIP,
    add_leads,
    agree,
    bulk,
    bulk_events,
    bulk_id,
    created,
    emails,
    new_leads,
    plan,
    resume,
)
from consent_actors import Person, changed, ledger_folder, lines, sandbox
from harness import Sandbox, call, connect
from page_client import PIN, Reply, Visitor, served_here
from page_html import HIDDEN, HOSTILE, Parsed, read

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.ledger.sqlite.store import open_ledger

pytestmark = pytest.mark.anyio
ONE = {"MAX_CHILDREN": "1"}


@pytest.fixture
def place(tmp_path: Path) -> Sandbox:
    made = sandbox(tmp_path, **ONE)
    with closing(open_ledger(ledger_folder(made))) as ledger:
        ledger.pins.set(PIN, "ada")
    return made


@pytest.fixture
def visitor(place: Sandbox) -> Generator[Visitor]:
    with served_here(place) as page:
        yield page.visitor()


def cancel(visitor: Visitor, id_: str, **fields: str) -> Reply:
    return visitor.post(f"/bulk/{id_}/cancel", **{"cancel": "yes", **fields})


def require_human(place: Sandbox) -> None:
    """Let every tool of Kartra need an approval."""
    file = place.folder / "policy.toml"
    file.write_text('[tools]\n"kartra_*" = "human"\n')
    place.settings["POLICY"] = str(file)


def item_rows(page: Parsed) -> dict[str, tuple[str, str]]:
    """Return state and text of each item in the tables, by its name."""
    rows = page.found("tr")
    return {
        str(a["data-item"]): (str(a["data-state"]), text) for a, text in rows if "data-item" in a
    }


async def test_a_consent_card_shows_everything_of_a_bulk_run_in_words(place, visitor):
    """Bug: the facts were shown as `total: 1; first: item: 4; reason: ...`."""
    require_human(place)
    who = add_leads(place, 5)
    given = [*who, who[0], "ada@example.com", "no address"]
    async with connect(place, "legacy") as client:
        answer = await plan(
            client, TAG, emails(given), arguments={"tag_name": "Customer"}, skip_invalid=True
        )
        assert answer.code == "approval_required", answer.text
        id_ = bulk_id(answer)
    page = read(visitor, "/")
    facts = page.facts()
    assert facts["count"] == "Items to run5"
    assert facts["shared"] == "The same in every itemTag name: Customer"
    assert facts["sample"].startswith(f"First itemsEmail: {who[0]}Email: {who[1]}")
    assert facts["sample"].endswith("and 2 more")
    assert facts["can_start_mail"] == "Can start mailUp to 5 times"
    assert facts["duplicates"] == "Merged duplicates1"
    assert re.fullmatch(r"Left out: invalid1 itemItem 7: .*email.*", facts["invalid"])
    assert re.match(r"Left out: done before.*1 itemItem 6: Nothing would change", facts["blocked"])
    assert facts["seconds"] == "Estimated timeless than a minute"
    assert "{" not in page.facts()["invalid"] + facts["shared"] + facts["sample"]
    ((_, heading),) = page.found("h2", id="heading-1")
    assert "Assign tag: 5 items" in heading
    ((link, _),) = [x for x in page.found("a") if str(x[0]["href"]).endswith("/items")]
    assert link["href"] == f"/bulk/{id_}/items"
    assert len(item_rows(read(visitor, f"/bulk/{id_}/items"))) == 7


async def test_refunds_in_bulk_show_their_sum_not_an_amount_of_a_sale(place, visitor):
    items = [{"transaction_id": 101}, {"transaction_id": 102, "refund_amount": "1.50"}]
    async with connect(place, "legacy") as client:
        answer = await plan(client, REFUND, items)
    assert answer.code == "approval_required"
    page = read(visitor, "/")
    assert page.facts()["amount"] == "Sum98.50"
    assert "Refund transaction: 2 items" in page.found("h2", id="heading-1")[0][1]


async def test_a_bulk_run_is_approved_on_the_page_and_runs_once(place, visitor):
    require_human(place)
    async with connect(place, "legacy") as client:
        id_ = bulk_id(await plan(client, CREATE, new_leads(3)))
        waiting = read(visitor, f"/bulk/{id_}")
        assert [a["href"] for a, _ in waiting.found("a") if "#approval" in str(a["href"])] == [
            "/#approval-1"
        ]
        assert "Waiting for consent" in waiting.found("section", id="run-progress")[0][1]
        assert visitor.decide(1, "approve").status == 303
        assert "Create lead: 3 items" in visitor.get("/").text
        done = await resume(client, id_)
        assert (done.result["state"], created(place)) == ("done", 3)
    page = read(visitor, f"/bulk/{id_}")
    assert page.facts()["succeeded"] == "Succeeded3"
    assert "Approval: the user approved" in visitor.get(f"/bulk/{id_}").text


async def test_the_list_shows_every_run_and_its_progress(place, visitor):
    assert "No bulk runs yet." in visitor.get("/bulk").text
    async with connect(place, "legacy") as client:
        done = await bulk(client, CREATE, new_leads(3))
        planned = await plan(client, CREATE, new_leads(2) + emails(["made9@example.com"]))
    rows = {
        str(a["data-bulk"]): (a["data-state"], text)
        for a, text in read(visitor, "/bulk").found("tr")
        if "data-bulk" in a
    }
    assert list(rows) == [bulk_id(planned), done.result["bulk_id"]]
    assert rows[bulk_id(planned)][0] == "planned"
    assert "none has run" in rows[bulk_id(planned)][1]
    assert rows[done.result["bulk_id"]][0] == "done"
    assert "3 succeeded" in rows[done.result["bulk_id"]][1]
    assert visitor.get("/live/bulk").text.strip() in visitor.get("/bulk").text


async def test_failures_show_code_and_reason_and_unknown_items_how_to_settle_them(place, visitor):
    who = add_leads(place, 4)
    place.arrange("fault", "set", "assign_tag", "garbage", "--effect")
    async with connect(place, "legacy") as client:
        preview = await plan(client, TAG, emails(who), arguments=VIP)
        place.rows("DELETE FROM leads WHERE email = ?", who[2])
        done = await agree(client, preview)
        id_ = done.result["bulk_id"]
        assert (done.result["failed"], done.result["unknown"]) == (1, 1), done.text
    shown = read(visitor, f"/bulk/{id_}")
    states = {item: state for item, (state, _) in item_rows(shown).items()}
    assert sorted(states.values()) == ["failed", "unknown"]
    failed = next(item for item, state in states.items() if state == "failed")
    assert "(kartra_error)" in item_rows(shown)[failed][1]
    ((_, told),) = shown.found("div", id="run-unknown")
    assert "reconcile" in told
    assert "None is repeated" in told
    (lost,) = [x for x in lines(place, "outcome") if x["state"] == "unknown"]
    links = {str(a["href"]): text for a, text in shown.found("a")}
    assert links[f"/done/{lost['intent']}"].startswith("Settle")


async def test_an_unknown_item_is_settled_from_its_run(place, visitor):
    place.arrange("fault", "set", "refund_transaction", "garbage", "--effect")
    items = [{"transaction_id": number} for number in (101, 102)]
    async with connect(place, "legacy", elicitation_callback=Person()) as client:
        paused = await plan(client, REFUND, items)
    id_ = paused.error["detail"]["bulk_id"]
    links = {text: str(a["href"]) for a, text in read(visitor, f"/bulk/{id_}").found("a")}
    settled = visitor.after(visitor.post(f"{links['Settle of item 0']}/reconcile"))
    assert "It was done." in settled.text
    page = read(visitor, f"/bulk/{id_}")
    assert item_rows(page) == {}
    assert page.facts()["succeeded"] == "Succeeded1"


async def test_a_paused_run_shows_why_and_what_to_do(place, visitor):
    place.arrange("fault", "set", "create_lead", "244", "--times=3")
    async with connect(place, "legacy") as client:
        paused = await bulk(client, CREATE, new_leads(6))
    id_ = paused.error["detail"]["bulk_id"]
    ((attributes, told),) = read(visitor, f"/bulk/{id_}").found("section", id="run-progress")
    assert attributes["data-state"] == "paused"
    assert paused.error["detail"]["why"] in told
    assert "continue" in told
    assert "3 of 6 items ended" in told
    assert f"kartra-mcp bulk continue {id_}" in told


async def test_an_approval_that_a_run_has_used_names_the_run(place, visitor):
    """Bug: the refusal to revoke it named `ledger show` with the id of a bulk run."""
    require_human(place)
    async with connect(place, "legacy") as client:
        id_ = bulk_id(await plan(client, CREATE, new_leads(2)))
        visitor.decide(1, "approve")
        await resume(client, id_)
    with (
        closing(open_ledger(ledger_folder(place))) as ledger,
        pytest.raises(RefusedError) as refused,
    ):
        ledger.approvals.withdraw(1, "ada")
    assert f"kartra-mcp bulk show {id_}" in refused.value.remedy


async def test_a_run_is_cancelled_from_the_page_and_does_not_go_on(place, visitor):
    place.arrange("fault", "set", "create_lead", "244", "--times=3")
    async with connect(place, "legacy") as client:
        paused = await bulk(client, CREATE, new_leads(6))
        id_ = paused.error["detail"]["bulk_id"]
        told = visitor.after(cancel(visitor, id_)).text
        assert "The bulk run was cancelled: no further item begins." in told
        assert f'action="/bulk/{id_}/cancel"' not in told
        answer = await resume(client, id_)
        assert (answer.result["state"], answer.result["left"]) == ("cancelled", 3)
        assert "on the page" in answer.result["why"]
    assert (created(place), bulk_events(place)[-1]) == (0, "cancelled")
    assert "had already ended" in visitor.after(cancel(visitor, id_)).text
    assert bulk_events(place).count("cancelled") == 1


@pytest.mark.parametrize("approved", [False, True])
async def test_cancelling_a_plan_ends_its_approval(place, visitor, approved):
    """Bug: a card of a cancelled run could still be approved, and nothing ran."""
    require_human(place)
    async with connect(place, "legacy") as client:
        id_ = bulk_id(await plan(client, CREATE, new_leads(2)))
        if approved:
            visitor.decide(1, "approve")
        assert "None of its items was run" in visitor.after(cancel(visitor, id_)).text
        waiting = visitor.get("/").text
        assert "No pending approvals." in waiting
        assert "Approved, not used yet" not in waiting
        assert "its bulk run was cancelled" in visitor.get("/done").text
        assert (await resume(client, id_)).result["state"] == "cancelled"
        assert bulk_id(await plan(client, CREATE, new_leads(2))) != id_
    assert created(place) == 0


async def test_a_card_of_a_run_that_began_with_another_consent_is_marked(place, visitor):
    items = [{"transaction_id": number} for number in (101, 102)]
    async with connect(place, "legacy") as client:
        answer = await plan(client, REFUND, items)
    assert answer.code == "approval_required"
    async with connect(place, "legacy", elicitation_callback=Person()) as client:
        assert (await resume(client, bulk_id(answer))).result["done"] == 2
    assert "has begun with another consent" in visitor.get("/").text


REFUSED: dict[str, tuple[dict[str, str], Any, int]] = {
    "a form of another site": ({}, {"origin": "http://evil.example"}, 403),
    "a form without our token": ({"csrf": "x"}, None, 403),
    "a form without the confirmation": ({"cancel": ""}, None, 400),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_only_our_form_cancels(place, visitor, name):
    fields, headers, status = REFUSED[name]
    async with connect(place, "legacy") as client:
        id_ = bulk_id(await plan(client, CREATE, new_leads(2)))
        path = f"/bulk/{id_}/cancel"
        assert visitor.post(path, headers, **{"cancel": "yes", **fields}).status == status
        stranger = Visitor(visitor.port)
        assert stranger.ask("POST", path, (), "cancel=yes").status in {401, 403}
        assert visitor.get(path).status == 303  # a reload of the address cancels nothing
        assert (await call(client, "kartra_bulk_status", bulk_id=id_)).result["state"] == "planned"


@pytest.mark.parametrize("path", ["/bulk/{}", "/bulk/{}/items", "/live/bulk/{}"])
def test_an_unknown_run_is_not_found(visitor, path):
    assert visitor.get(path.format("blk_000000000000")).status == 404
    assert cancel(visitor, "blk_000000000000").status == 404


async def test_items_come_in_pages_and_by_outcome_each_once(place, visitor):
    items = [*new_leads(120), {"email": "no address"}]
    async with connect(place, "legacy") as client:
        id_ = bulk_id(await plan(client, CREATE, items, skip_invalid=True))
    path, seen = f"/bulk/{id_}/items", list[str]()
    while path:
        page = read(visitor, path)
        seen += item_rows(page)
        path = next((str(a["href"]) for a, _ in page.found("a", rel="next")), "")
    assert seen == [str(number) for number in range(121)]
    left_out = item_rows(read(visitor, f"/bulk/{id_}/items?state=skipped"))
    assert list(left_out) == ["120"]
    assert left_out["120"][0] == "skipped"
    assert visitor.get(f"/bulk/{id_}/items?state=%3Cscript%3E&from=x").status == 200


@pytest.mark.parametrize("name", [*HOSTILE, HIDDEN])
async def test_what_items_hold_is_shown_as_text(place, visitor, name):
    require_human(place)
    who = add_leads(place, 2)
    items = [{"email": email, "company": name + str(n)} for n, email in enumerate(who)]
    async with connect(place, "legacy") as client:
        answer = await plan(client, "kartra_edit_lead", items, arguments={"first_name": name})
    id_ = bulk_id(answer)
    for path in ("/", "/bulk", f"/bulk/{id_}", f"/bulk/{id_}/items"):
        text = visitor.get(path).text
        page = Parsed(text)
        assert not {"img", "iframe"} & {tag for tag, _, _ in page.elements}
        assert not [x for x, _ in page.found("script") if "src" not in x]
        assert not [c for c in "\u202e\u200b\u2066\x1b\x00" if c in text]


async def test_the_stream_reports_progress_of_a_run(place, visitor):
    async with connect(place, "legacy") as client:
        with visitor.listening("bulk") as stream:
            heard = iter(stream)
            id_ = bulk_id(await plan(client, CREATE, new_leads(2)))
            first = next(heard)["marker"]
            assert first
            cancel(visitor, id_)
            while (second := next(heard)["marker"]) == first:
                pass
            assert second
    assert "cancelled" in visitor.get(f"/live/bulk/{id_}").text


async def test_a_write_names_the_bulk_run_that_it_belongs_to(place, visitor):
    async with connect(place, "legacy") as client:
        done = await bulk(client, CREATE, new_leads(2))
        await call(client, CREATE, email="made8@example.com")
    id_ = done.result["bulk_id"]
    (single,) = [x["intent"] for x in lines(place, "intent") if not x.get("bulk")]
    history = read(visitor, "/done")
    assert [a["href"] for a, _ in history.found("a") if a["href"] == f"/bulk/{id_}"] != []
    for intent in history.intents():
        links = [a["href"] for a, _ in read(visitor, f"/done/{intent}").found("a")]
        assert (f"/bulk/{id_}" in links) is (intent != single)


async def test_a_run_whose_data_was_removed_is_still_shown(place, visitor):
    async with connect(place, "legacy") as client:
        done = await bulk(client, CREATE, new_leads(2))
    id_ = done.result["bulk_id"]
    changed(place, "UPDATE bulk_items SET arguments = '', reason = ''")
    changed(place, "UPDATE bulk_runs SET facts = '{}'")
    assert read(visitor, f"/bulk/{id_}").facts()["succeeded"] == "Succeeded2"
    assert len(item_rows(read(visitor, f"/bulk/{id_}/items"))) == 2


async def test_points_in_bulk_are_shown_with_their_arguments(place, visitor):
    who = add_leads(place, 2)
    async with connect(place, "legacy") as client:
        answer = await plan(client, POINTS, emails(who), arguments={"points": 5})
    rows = item_rows(read(visitor, f"/bulk/{bulk_id(answer)}/items"))
    assert f"Email: {who[0]}" in rows["0"][1]


@pytest.mark.parametrize(
    ("included", "label"),
    [
        (False, "Left out: leads that should not get mail"),
        (True, "Leads that should not get mail, but run too"),
    ],
)
async def test_a_card_shows_whether_suppressed_leads_get_mail(place, visitor, included, label):
    """Bug: leads that get mail all the same would have been listed as left out."""
    require_human(place)
    blocked, fine = add_leads(place, 2)
    place.rows("UPDATE leads SET gdpr_lead_status = 5 WHERE email = ?", blocked)
    async with connect(place, "legacy") as client:
        answer = await plan(
            client, TAG, emails([blocked, fine]), arguments=VIP, include_suppressed=included
        )
    assert answer.code == "approval_required", answer.text
    facts = read(visitor, "/").facts()
    assert facts["suppressed"].startswith(label + "1 item")
    assert "GDPR" in facts["suppressed"]
    assert ("include_suppressed" in facts) is included
    assert facts["count"] == f"Items to run{2 if included else 1}"


async def test_an_item_done_in_part_is_shown_with_its_reason(place, visitor):
    place.arrange("fault", "set", "assign_tag", "211")
    async with connect(place, "legacy") as client:
        done = await bulk(client, "kartra_onboard_lead", new_leads(2), arguments={"tags": ["VIP"]})
    page = read(visitor, f"/bulk/{done.result['bulk_id']}")
    ((_, told),) = page.found("div", id="run-partial")
    assert "Done in part: 1" in told
    ((state, text),) = item_rows(page).values()
    assert state == "succeeded"
    assert "(kartra_error)" in text


async def test_the_undo_of_a_run_names_it_and_what_is_not_undone(place, visitor):
    who = add_leads(place, 2)
    place.arrange("fault", "set", "assign_tag", "garbage", "--effect")
    async with connect(place, "legacy") as client:
        done = await bulk(client, TAG, emails(who), arguments=VIP)
        undo = await call(client, RUN, undo=done.result["bulk_id"])
    assert undo.code == "confirmation_required", undo.text
    page = read(visitor, f"/bulk/{bulk_id(undo)}")
    assert page.facts()["undoes"] == f"Undoes bulk run{done.result['bulk_id']}"
    assert page.facts()["not_undone"].startswith("Left out: not undone1 item")
    links = [a["href"] for a, _ in page.found("a")]
    assert f"/bulk/{done.result['bulk_id']}" in links
