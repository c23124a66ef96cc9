"""Edits of a lead: what names nothing is refused, and the receipt reports a certain change."""

from __future__ import annotations

from typing import Any

import pytest
from consent_actors import confirmed
from harness import Sandbox, call, connect

EDIT = "kartra_edit_lead"
ADA = {"email": "ada@example.com"}

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "arguments", [ADA, {"lead_id": 48110}, {**ADA, "confirm": True}], ids=["email", "id", "confirm"]
)
async def test_an_edit_that_names_no_field_is_refused(sandbox: Sandbox, arguments: dict[str, Any]):
    async with connect(sandbox, "2026-07-28") as client:
        answer = await call(client, EDIT, **arguments)
    assert (answer.code, answer.executed) == ("invalid_arguments", "no")
    assert sandbox.runs() == []


async def test_a_raw_edit_that_names_no_field_is_refused(sandbox: Sandbox):
    request = {"actions": [{"cmd": "edit_lead"}], "lead": ADA}
    async with connect(sandbox, "2026-07-28") as client:
        answer = await call(
            client, "kartra_proxy_write", method="POST", path="/api", json=request, confirm=True
        )
    assert answer.code in {"invalid_arguments", "forbidden_request"}
    assert answer.executed == "no"


async def test_the_receipt_of_an_edit_reports_whether_it_changed_a_value(sandbox: Sandbox):
    async with connect(sandbox, "2026-07-28") as client:
        changed = await call(client, EDIT, **ADA, phone="5550199", confirm=True)
        same = await call(client, EDIT, **ADA, phone="5550199", confirm=True)
    assert changed.structured is not None
    assert same.structured is not None
    assert changed.structured["before"] == {"phone": "5550142"}
    assert changed.structured["receipt"]["changed"] is True
    assert not changed.structured["receipt"]["undo"].startswith("if")
    assert same.structured["receipt"]["changed"] is False
    assert "undo" not in same.structured["receipt"]


async def test_the_old_values_of_an_edit_undo_it_completely(sandbox: Sandbox):
    """Bug: a field that kept its value was left out, and the undo of the receipt emptied it."""
    async with connect(sandbox, "2026-07-28") as client:
        answer = await call(client, EDIT, **ADA, first_name="Ada", phone="5550199", confirm=True)
    assert answer.structured is not None
    assert answer.structured["before"] == {"first_name": "Ada", "phone": "5550142"}


def raw_edit(**fields: Any) -> tuple[str, dict[str, Any]]:
    body = {"lead": {**ADA, **fields}, "actions": [{"cmd": "edit_lead"}]}
    return "kartra_proxy_write", {"method": "POST", "path": "/api", "json": body}


GOALS = {"field_identifier": "goals", "field_value": "Sell one picture."}
OVERWRITING: dict[str, tuple[str, dict[str, Any]]] = {
    "a value": (EDIT, {**ADA, "phone": "5550000"}),
    "a value by id": (EDIT, {"lead_id": 48110, "phone": "5550000"}),
    "one of two values": (EDIT, {**ADA, "first_name": "Ada", "phone": "5550000"}),
    "a value emptied": (EDIT, {**ADA, "phone": ""}),
    "a custom field": (EDIT, {**ADA, "custom_fields": [GOALS]}),
    "the address": (EDIT, {**ADA, "new_email": "moved@example.com"}),
    "a value by a raw request": raw_edit(phone="5550000"),
    "the address by a raw request": raw_edit(new_email="moved@example.com"),
}
HARMLESS: dict[str, tuple[str, dict[str, Any]]] = {
    "the same value": (EDIT, {**ADA, "phone": "5550142"}),
    "a value where none was": (EDIT, {**ADA, "linkedin": "https://ada.example.com"}),
    "the same value by a raw request": raw_edit(phone="5550142"),
}


@pytest.mark.parametrize("case", OVERWRITING)
async def test_an_edit_that_overwrites_does_not_run_unasked(sandbox: Sandbox, case: str):
    """Bug: an edit replaced a phone number unasked, and nothing had the old one."""
    tool, arguments = OVERWRITING[case]
    async with connect(sandbox, "2026-07-28") as client:
        await client.list_tools()
        before = sandbox.dump()
        answer = await call(client, tool, **arguments)
        assert (answer.code, answer.executed) == ("confirmation_required", "no"), answer.text
        assert sandbox.dump() == before
        done = await call(client, tool, **arguments, confirm=True)
    assert done.structured is not None
    assert done.structured["before"]


@pytest.mark.parametrize("case", HARMLESS)
async def test_an_edit_that_overwrites_nothing_runs_at_once(sandbox: Sandbox, case: str):
    tool, arguments = HARMLESS[case]
    async with connect(sandbox, "2026-07-28") as client:
        answer = await call(client, tool, **arguments)
    assert not answer.failed, answer.text


@pytest.mark.parametrize("gate", ["allow", "flag", "preview"])
async def test_an_undo_does_not_promise_old_values_that_were_not_read(sandbox: Sandbox, gate: str):
    """Bug: the undo named `before`, which the answer lacked: the old phone had to be empty."""
    sandbox.settings["GATE_DESTRUCTIVE"] = gate
    sandbox.arrange("fault", "set", "get_lead", "internal", "--times=9")
    given: dict[str, Any] = {"lead_id": 48110, "phone": "5550000"}
    async with connect(sandbox, "2026-07-28") as client:
        answer = await call(client, EDIT, **given)
        if gate != "allow":
            consent = confirmed(answer) if gate == "preview" else {"confirm": True}
            answer = await call(client, EDIT, **given, **consent)
        (line,) = (await call(client, "kartra_ledger")).result["lines"]
    assert answer.structured is not None
    assert "before" not in answer.structured
    receipt = answer.structured["receipt"]
    assert receipt["changed"] is None
    assert receipt["note"].startswith("The old values of phone could not be read before")
    for undo in (receipt["undo"], line["undo"]):
        assert undo.endswith("a field that is not in it was empty, if the lead could be read")


AND_A_TAG = {"cmd": "assign_tag", "tag_name": "VIP"}
AND_A_PAUSE = {
    "cmd": "modify_subscription_status",
    "subscription_id": 201,
    "subscription_status_modification": "pause",
}


@pytest.mark.parametrize("other", [AND_A_TAG, AND_A_PAUSE], ids=["a tag", "a pause"])
@pytest.mark.parametrize("named", [ADA, {"id": 48110}], ids=["email", "id"])
async def test_a_chain_with_an_edit_has_its_old_values(
    sandbox: Sandbox, other: dict[str, Any], named: dict[str, Any]
):
    """Bug: the receipt named `before`, which the answer did not have."""
    lead = {**named, "phone": "5550199"}
    body = {"lead": lead, "actions": [{"cmd": "edit_lead"}, other]}
    request = {"method": "POST", "path": "/api", "json": body}
    async with connect(sandbox, "2026-07-28") as client:
        answer = await call(client, "kartra_proxy_write", **request, confirm=True)
    assert answer.structured is not None, answer.text
    assert "`before`" in answer.structured["receipt"]["undo"]
    assert answer.structured["before"] == {"phone": "5550142"}


async def test_the_preview_of_a_chain_names_its_lead_and_its_tag(sandbox: Sandbox):
    """Bug: a chain on a lead named by its id acted `on what is not named`."""
    sandbox.settings["GATE_DESTRUCTIVE"] = "preview"
    lead = {"id": 48110, "phone": "5550199"}
    body = {"lead": lead, "actions": [{"cmd": "edit_lead"}, AND_A_TAG]}
    async with connect(sandbox, "2026-07-28") as client:
        shown = await call(client, "kartra_proxy_write", method="POST", path="/api", json=body)
    summary = shown.error["confirmation"]["summary"]
    assert "on lead 48110" in summary
    assert "NOT READ" not in summary
    assert '"VIP"' in summary
