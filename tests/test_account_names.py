"""Names in the account: custom fields, options, tags, lists and sequences that do not exist."""

from __future__ import annotations

import json

import pytest
from harness import action, call, connect, healthy

from kartra_mcp.calls.account_names import MAX_AGE, AccountNames
from kartra_mcp.core.models import Connection
from kartra_mcp.kartra.names import find_nearest

pytestmark = pytest.mark.anyio

EDIT, CREATE, WRITE = "kartra_edit_lead", "kartra_create_lead", "kartra_proxy_write"
LISTING = "kartra_retrieve_account_custom_fields"
ADA = 48110


def field(name, value):
    return {"field_identifier": name, "field_value": value}


def as_edit(entries):
    return EDIT, {"lead_id": ADA, "custom_fields": entries}


def as_create(entries):
    return CREATE, {"email": "new@example.com", "custom_fields": entries}


def as_json(entries):
    lead = {"id": ADA, "custom_fields": entries}
    body = {"lead": lead, "actions": [{"cmd": "edit_lead"}]}
    return WRITE, {"method": "POST", "path": "/api", "json": body, "confirm": True}


def as_form(entries):
    name, arguments = as_json(entries)
    return name, {**arguments, "form": arguments["json"]} | {"json": None}


FORMS = {"edit": as_edit, "create": as_create, "raw json": as_json, "raw form": as_form}


def without_null(arguments):
    return {name: value for name, value in arguments.items() if value is not None}


@pytest.mark.parametrize("form", FORMS)
async def test_an_unknown_custom_field_is_refused_with_the_nearest_names(
    sandbox, protocol_version, form
):
    name, arguments = FORMS[form]([field("studio_name", "Kiln"), field("Favorite_Medium", "Oil")])
    async with connect(sandbox, protocol_version) as client:
        await call(client, LISTING)
        before = sandbox.dump()
        answer = await call(client, name, **without_null(arguments))
    assert (answer.code, answer.executed) == ("invalid_arguments", "no")
    (about,) = answer.error["detail"]["custom_fields"]
    assert about["nearest"][0] == "favourite_medium"
    assert "custom_fields[1].field_identifier" in answer.error["message"]
    assert LISTING in answer.error["remedy"]
    assert sandbox.dump() == before


CHOICES = {
    "an option's label": ("favourite_medium", "Watercolour", [701]),
    "a label in another case": ("favourite_medium", "  watercolour", [701]),
    "a label in a list of one": ("favourite_medium", ["Ink"], [703]),
    "an id as text": ("favourite_medium", "702", [702]),
    "an id": ("experience", 713, [713]),
    "labels of a checkbox": ("interests", ["Landscape", "abstract"], [721, 723]),
    "one label of a checkbox": ("interests", "Portrait", [722]),
    "labels and ids": ("interests", ["Portrait", 723], [722, 723]),
    "nothing, which clears": ("interests", "", []),
    "a text": ("studio_name", "Kiln", "Kiln"),
}


@pytest.mark.parametrize("form", ["edit", "raw json", "raw form"])
@pytest.mark.parametrize("case", CHOICES)
async def test_a_choice_field_takes_ids_and_labels(sandbox, protocol_version, case, form):
    name, value, stored = CHOICES[case]
    tool, arguments = FORMS[form]([field(name, value)])
    async with connect(sandbox, protocol_version) as client:
        answer = await call(client, tool, **{**without_null(arguments), "confirm": True})
    assert not answer.failed, answer.text
    ((found,),) = sandbox.rows(
        "SELECT value FROM lead_fields JOIN custom_fields f ON field_id = f.id"
        " WHERE lead_id = ? AND identifier = ?",
        ADA,
        name,
    )
    assert json.loads(found) == stored


WRONG = {
    "no such option": ("favourite_medium", "Watercolours", "not an option"),
    "an id of another field": ("favourite_medium", 711, "not an option"),
    "two options of a single choice": ("experience", ["Pro", "Beginner"], "takes one option"),
    "one wrong of several": ("interests", ["Portrait", "Still life"], "not an option"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_wrong_choice_is_refused_with_the_choices(sandbox, protocol_version, case):
    name, value, words = WRONG[case]
    async with connect(sandbox, protocol_version) as client:
        await call(client, LISTING)
        before = sandbox.dump()
        answer = await call(client, EDIT, lead_id=ADA, custom_fields=[field(name, value)])
    assert (answer.code, answer.executed) == ("invalid_arguments", "no")
    assert words in answer.error["message"]
    (about,) = answer.error["detail"]["custom_fields"]
    assert about["field"] == name
    options = sandbox.rows(
        "SELECT o.value, o.id FROM options o JOIN custom_fields f ON f.id = field_id"
        " WHERE identifier = ?",
        name,
    )
    assert about["choices"] == {label: str(number) for label, number in options}
    assert sandbox.dump() == before


async def test_a_label_and_its_id_are_one_call_to_the_preview(sandbox, protocol_version):
    sandbox.settings |= {"GATE_DESTRUCTIVE": "preview"}
    given = {"lead_id": ADA, "new_email": "ada2@example.com"}
    by_label = {**given, "custom_fields": [field("favourite_medium", "oil")]}
    by_id = {**given, "custom_fields": [field("favourite_medium", "702")]}
    async with connect(sandbox, protocol_version) as client:
        shown = (await call(client, EDIT, **by_label)).error["confirmation"]
        answer = await call(
            client,
            EDIT,
            **by_id,
            confirm=True,
            confirmation_id=shown["id"],
            confirmation_summary=shown["summary"],
        )
    assert not answer.failed, answer.text


async def test_custom_fields_that_cannot_be_read_stop_the_write(sandbox, protocol_version):
    sandbox.arrange("fault", "set", "retrieve_custom_fields", "233", "--times", "9")
    async with connect(sandbox, protocol_version) as client:
        answer = await call(client, EDIT, lead_id=ADA, custom_fields=[field("goals", "Paint")])
    assert answer.executed == "no"
    assert "could not be read" in answer.error["message"]


async def test_a_field_created_meanwhile_is_found(sandbox, protocol_version):
    async with connect(sandbox, protocol_version) as client:
        first = await call(
            client, EDIT, lead_id=ADA, custom_fields=[field("goals", "Paint")], confirm=True
        )
        sandbox.rows("INSERT INTO custom_fields (identifier, type) VALUES ('pet', 'input_field')")
        second = await call(client, EDIT, lead_id=ADA, custom_fields=[field("pet", "Cat")])
    assert not first.failed, first.text
    assert not second.failed, second.text


async def test_names_are_kept_for_a_minute_and_by_connection():
    now, reads = [0.0], list[str]()

    async def read(command):
        reads.append(command.name)
        return [len(reads)]

    names, here, there = AccountNames(lambda: now[0]), Connection("a"), Connection("b")
    await names.read(here, "retrieve_account_tags", read)
    now[0] = MAX_AGE
    assert names.peek(here, "retrieve_account_tags") == [1]
    assert names.peek(there, "retrieve_account_tags") is None
    now[0] = MAX_AGE + 1
    assert names.peek(here, "retrieve_account_tags") is None


NEAR = [
    ("vip", ["VIP", "Student"], ["VIP"]),
    ("cafe", ["Café", "Cave"], ["Café", "Cave"]),
    ("STRASSE", ["Straße"], ["Straße"]),
    ("Newsletter 2", ["Newsletter", "Alumni"], ["Newsletter"]),
    ("x", ["Alumni"], []),
]


@pytest.mark.parametrize(("name", "known", "nearest"), NEAR)
def test_the_nearest_name_ignores_case_and_accents(name, known, nearest):
    assert find_nearest(name, known) == nearest


UNKNOWN = {
    "tag": ("kartra_assign_tag", "tag_name", "vip", "VIP", "kartra_retrieve_account_tags"),
    "removed tag": (
        "kartra_unassign_tag",
        "tag_name",
        "V.I.P",
        "VIP",
        "kartra_retrieve_account_tags",
    ),
    "list": (
        "kartra_subscribe_lead_to_list",
        "list_name",
        "weekly letter",
        "Weekly Letter",
        "kartra_retrieve_account_lists",
    ),
    "left list": (
        "kartra_unsubscribe_lead_from_list",
        "list_name",
        "Wéekly Letter",
        "Weekly Letter",
        "kartra_retrieve_account_lists",
    ),
    "sequence": (
        "kartra_subscribe_lead_to_sequence",
        "sequence_name",
        "WELCOME",
        "Welcome",
        "kartra_retrieve_account_sequences",
    ),
    "left sequence": (
        "kartra_unsubscribe_lead_from_sequence",
        "sequence_name",
        "Welcom",
        "Welcome",
        "kartra_retrieve_account_sequences",
    ),
    "granted membership": (
        "kartra_grant_membership_access",
        "membership_name",
        "studio circle",
        "Studio Circle",
        "kartra_get_lead",
    ),
    "revoked membership": (
        "kartra_revoke_membership_access",
        "membership_name",
        "Studio-Circle",
        "Studio Circle",
        "kartra_get_lead",
    ),
}


@pytest.mark.parametrize("case", UNKNOWN)
async def test_a_wrong_name_is_answered_with_the_nearest_and_the_tool_that_lists_them(
    sandbox, protocol_version, case
):
    tool, argument, name, near, lists = UNKNOWN[case]
    more = {"sequence": {"step": "1"}, "granted membership": {"level_name": "Gold"}}.get(case, {})
    async with connect(sandbox, protocol_version) as client:
        listed = {one.name: one for one in (await client.list_tools()).tools}
        yes = {"confirm": True} if "confirm" in listed[tool].input_schema["properties"] else {}
        answer = await call(client, tool, lead_id=ADA, **{argument: name}, **more, **yes)
    assert (answer.code, answer.executed) == ("kartra_error", "no")
    assert lists in answer.error["remedy"]
    assert answer.error["detail"]["kartra"][0]["nearest"][0] == near


async def test_no_tool_that_lists_names_leaves_the_raw_read(fake_membrane, protocol_version):
    refused = {"status": "Error", "type": "212", "message": "This tag does not exist"}
    plan = healthy(action("assign-tag"))
    plan["action run"] = {"out": {"output": {"actions": [{"assign_tag": refused}]}}}
    plan["request"] = {"out": {"status": 200, "headers": {}, "body": {"account_tags": ["VIP"]}}}
    async with connect(fake_membrane.plan(**plan), protocol_version) as client:
        answer = await call(client, "kartra_assign_tag", lead_id=ADA, tag_name="vip")
    assert "kartra_proxy_read" in answer.error["remedy"]
    assert answer.error["detail"]["kartra"][0]["nearest"] == ["VIP"]


@pytest.mark.parametrize("case", ["removed tag", "left list", "left sequence"])
async def test_nobody_is_asked_about_a_name_that_does_not_exist(sandbox, protocol_version, case):
    tool, argument, _, near, lists = UNKNOWN[case]
    sandbox.settings |= {"GATE_DESTRUCTIVE": "preview"}
    async with connect(sandbox, protocol_version) as client:
        answer = await call(client, tool, lead_id=ADA, **{argument: f"{near} 2"})
        known = await call(client, tool, lead_id=ADA, **{argument: near})
    # Ada is in none of the sequences that she would leave, which only the preview shows.
    expected = "not_possible" if case == "left sequence" else "confirmation_required"
    assert (answer.code, known.code) == ("invalid_arguments", expected)
    assert lists in answer.error["remedy"]
    assert answer.error["detail"]["nearest"][0] == near
