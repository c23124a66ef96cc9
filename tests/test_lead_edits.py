"""edit_lead: what it overwrites needs consent, is shown as old -> new, and is in the answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from consent_actors import Person, changed, lines, sandbox, twice
from harness import Sandbox, call, connect

pytestmark = pytest.mark.anyio

EDIT, WRITE = "kartra_edit_lead", "kartra_proxy_write"
ADA, NEW = 48110, 48129


def raw(lead: dict[str, Any]) -> dict[str, Any]:
    body = {"lead": lead, "actions": [{"cmd": "edit_lead"}]}
    return {"method": "POST", "path": "/api", "json": body}


def field(identifier: str, value: Any) -> dict[str, Any]:
    return {"custom_fields": [{"field_identifier": identifier, "field_value": value}]}


async def old_lead(client: Any, number: int = ADA) -> dict[str, Any]:
    return (await call(client, "kartra_get_lead", lead_id=number)).result["lead_details"]


async def test_an_overwritten_value_needs_consent_and_is_returned(tmp_path):
    """`edit_lead {phone}` replaced a number, and the old one was kept nowhere."""
    place = sandbox(tmp_path)
    async with connect(place, "legacy") as client:
        phone = (await old_lead(client))["phone"]
        asked = await call(client, EDIT, lead_id=ADA, phone="555")
        assert (asked.code, (await old_lead(client))["phone"]) == ("confirmation_required", phone)
        assert asked.error["detail"]["changes"] == [f"phone {phone} -> 555"]
        done = await call(client, EDIT, lead_id=ADA, phone="555", confirm=True)
        assert done.structured is not None
        assert done.structured["before"] == {"phone": phone}
        assert "before" in done.structured["receipt"]["undo"]
        assert (await old_lead(client))["phone"] == "555"
        await call(client, EDIT, lead_id=ADA, confirm=True, **done.structured["before"])
        assert (await old_lead(client))["phone"] == phone
    assert [line["risk"] for line in lines(place, "intent")] == ["destructive", "destructive"]
    kept = json.dumps(changed(place, "SELECT * FROM lines"), default=str)
    assert phone not in kept


OVERWRITES: dict[str, tuple[str, dict[str, Any], bool]] = {
    "another city": (EDIT, {"lead_id": ADA, "city": "Elsewhere"}, True),
    "the same city": (EDIT, {"lead_id": ADA, "city": None}, False),
    "an empty field": (EDIT, {"lead_id": NEW, "website": "x.example"}, False),
    "an empty custom field": (EDIT, {"lead_id": NEW, **field("favourite_medium", "ink")}, False),
    "one of two": (EDIT, {"lead_id": ADA, "city": "Elsewhere", "company": ""}, True),
    "by e-mail": (EDIT, {"email": "ADA@example.com", "last_name": "Elsewhere"}, True),
    "raw": (WRITE, raw({"id": ADA, "city": "Elsewhere"}), True),
    "raw, an empty field": (WRITE, raw({"id": NEW, "website": "x.example"}), False),
    "no lead": (EDIT, {"lead_id": 99999, "city": "Elsewhere"}, False),
}


@pytest.mark.parametrize("name", OVERWRITES)
async def test_what_overwrites_asks_and_what_fills_does_not(tmp_path, name):
    tool, given, asks = OVERWRITES[name]
    async with connect(sandbox(tmp_path), "legacy") as client:
        if name == "the same city":
            given = {**given, "city": (await old_lead(client))["city"]}
        if name == "an empty custom field":
            fields = (await old_lead(client, NEW))["custom_fields"]
            text = next(f for f in fields if f["field_type"] == "input_field")
            assert text["field_value"] == ""
            given = {**given, **field(text["field_identifier"], "ink")}
        answer = await call(client, tool, **given)
    assert (answer.failed and answer.code == "confirmation_required") == asks, answer.text


async def test_a_custom_field_that_is_overwritten_is_returned(tmp_path):
    async with connect(sandbox(tmp_path), "legacy") as client:
        fields = (await old_lead(client))["custom_fields"]
        held = next(f for f in fields if f["field_value"] and isinstance(f["field_value"], str))
        given = field(held["field_identifier"], "another")
        assert (await call(client, EDIT, lead_id=ADA, **given)).code == "confirmation_required"
        done = await call(client, EDIT, lead_id=ADA, confirm=True, **given)
    assert done.structured is not None
    before = done.structured["before"]
    assert before == {"custom_fields": {held["field_identifier"]: held["field_value"]}}


async def test_an_edit_of_a_lead_that_cannot_be_read_asks(tmp_path):
    place = sandbox(tmp_path)
    place.arrange("fault", "set", "get_lead", "access_denied", "--times=9")
    async with connect(place, "legacy") as client:
        answer = await call(client, EDIT, lead_id=NEW, website="x.example")
    assert answer.code == "confirmation_required"


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"GATE_DESTRUCTIVE": "deny"}, "not_allowed"),
        ({"GATE_DESTRUCTIVE": "human"}, "approval_required"),
        ({"GATE_DESTRUCTIVE": "preview"}, "confirmation_required"),
    ],
    ids=str,
)
async def test_an_overwriting_edit_has_the_gate_of_its_risk(tmp_path, settings, code):
    async with connect(sandbox(tmp_path, **settings), "legacy") as client:
        filled = await call(client, EDIT, lead_id=NEW, website="x.example")
        answer = await call(client, EDIT, lead_id=ADA, city="Elsewhere")
        by_raw = await call(client, WRITE, **raw({"id": ADA, "city": "Elsewhere"}))
    assert not filled.failed
    assert (answer.code, by_raw.code) == (code, code)
    if code != "not_allowed":
        shown = answer.error["confirmation"]["facts"]["changes"]
        assert shown[0].endswith("-> Elsewhere")


async def test_a_form_shows_the_old_and_the_new_value(tmp_path):
    person = Person()
    place = sandbox(tmp_path, GATE_DESTRUCTIVE="preview")
    async with connect(place, "legacy", elicitation_callback=person) as client:
        email = (await old_lead(client))["email"]
        done = await call(client, EDIT, lead_id=ADA, new_email="ada@example.org")
    assert not done.failed, done.text
    assert f"new_email {email} -> ada@example.org" in person.asked[0].message
    assert done.structured is not None
    assert done.structured["before"] == {"new_email": email}


async def test_a_preview_of_an_edit_runs_when_it_is_repeated(tmp_path):
    place: Sandbox = sandbox(tmp_path, GATE_DESTRUCTIVE="preview")
    async with connect(place, "legacy") as client:
        done = await twice(client, EDIT, lead_id=ADA, city="Elsewhere")
    assert done.structured is not None
    assert done.structured["before"]["city"]
