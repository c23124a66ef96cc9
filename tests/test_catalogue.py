"""Actions become tools, and a tool's name and arguments a validated call."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kartra_mcp.catalogue import catalogue, consent_arguments
from kartra_mcp.catalogue.builder import build_catalogue
from kartra_mcp.catalogue.catalogue import ActionTool, Catalogue, tool_annotations
from kartra_mcp.catalogue.decided_calls import decide_call
from kartra_mcp.consent import confirmation
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Call, Command, Gate, Risk, Verdict
from kartra_mcp.policy.gates import Policy, evaluate
from kartra_mcp.schemas.portable import find_portable

OWN = ("kartra_status", "kartra_proxy_read", "kartra_proxy_write")
PROPERTIES: dict[str, Any] = {
    "transaction_id": {"type": "integer"},
    "refund_amount": {"type": "number"},
}
REFUND: dict[str, Any] = {
    "id": "a-refund",
    "key": "refund-transaction",
    "name": "Refund Transaction",
    "inputSchema": {
        "type": "object",
        "properties": PROPERTIES,
        "required": ["transaction_id"],
        "additionalProperties": True,
    },
}


def one(raw: Mapping[str, Any]) -> ActionTool:
    (entry,) = build_catalogue([{"id": "a1", **raw}], OWN).entries.values()
    return entry


def call_of(entry: ActionTool, arguments: dict[str, Any] | None) -> Call:
    """The call as the door makes it: what is destructive takes the consent arguments."""
    made = catalogue.make_call(entry, arguments, gated=entry.risk >= Risk.DESTRUCTIVE)
    return decide_call(made, Policy())


def refund(**fields: Any) -> ActionTool:
    return one({**REFUND, **fields})


def suffix(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()[:6]


def refusal(entry: ActionTool, arguments: dict[str, Any]) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        call_of(entry, arguments)
    assert caught.value.code == "invalid_arguments"
    assert str(caught.value.executed) == "no"
    return caught.value


# ── Names ──

NAMES: Mapping[str, tuple[dict[str, Any], str]] = {
    "the key": ({"key": "get-lead", "name": "X"}, "kartra_get_lead"),
    "the key in lower case": ({"key": "Get-Lead"}, "kartra_get_lead"),
    "runs of other characters as one": ({"key": "get -.:/ lead"}, "kartra_get_lead"),
    "a dot": ({"key": "flipando.get-task"}, "kartra_flipando_get_task"),
    "letters that are no ASCII": ({"key": "getLéad"}, "kartra_getl_ad"),
    "the name where there is no key": ({"key": "", "name": "Get Lead!"}, "kartra_get_lead_"),
    "the name where the key is no text": ({"key": 7, "name": "Get Lead"}, "kartra_get_lead"),
    "the name where the key cannot be seen": ({"key": "\u200b", "name": "Get"}, "kartra_get"),
    "the id where there is neither": ({"id": "650E-12"}, "kartra_650e_12"),
    "45 characters at most": ({"key": "k" * 80}, "kartra_" + "k" * 38),
}


@pytest.mark.parametrize("case", NAMES)
def test_a_tool_is_named_after(case: str):
    raw, name = NAMES[case]
    assert one(raw).tool == name


COLLISIONS: Mapping[str, list[dict[str, Any]]] = {
    "of case": [{"id": "1", "key": "get-lead"}, {"id": "2", "key": "Get-Lead"}],
    "of a dash": [{"id": "1", "key": "get-lead"}, {"id": "2", "key": "get_lead"}],
    "of a key and a name": [{"id": "1", "key": "get-lead"}, {"id": "2", "name": "Get Lead"}],
    "after the cut": [{"id": "1", "key": "k" * 38 + "a"}, {"id": "2", "key": "k" * 38 + "b"}],
    "of three": [{"id": str(n), "key": "get-lead"} for n in range(3)],
}


@pytest.mark.parametrize("case", COLLISIONS)
def test_names_that_collide_are_both_suffixed_whatever_the_order(case: str):
    raw = COLLISIONS[case]
    found = [build_catalogue(order, OWN) for order in itertools.permutations(raw)]
    assert all(list(one.entries) == list(found[0].entries) for one in found)
    by_id = {entry.action.id: tool for tool, entry in found[0].entries.items()}
    base = catalogue.make_tool_name(found[0].entries[by_id[raw[0]["id"]]].action)
    assert by_id == {a["id"]: f"{base[:38]}_{suffix(a['id'])}" for a in raw}


def test_a_name_does_not_depend_on_actions_that_do_not_collide():
    alone = build_catalogue([{"id": "1", "key": "get-lead"}], OWN)
    among = build_catalogue([{"id": "2", "key": "assign-tag"}, {"id": "1", "key": "get-lead"}], OWN)
    assert set(alone.entries) < set(among.entries)


@pytest.mark.parametrize("own", [*OWN, "kartra_read_more"])
def test_the_servers_own_names_are_taken(own: str):
    key = own.removeprefix("kartra_")
    (tool,) = build_catalogue([{"id": "1", "key": key}], OWN).entries
    assert tool == f"{own}_{suffix('1')}"


def test_an_action_that_is_called_like_a_suffixed_one_is_suffixed_too():
    taken = f"get-lead-{suffix('1')}"
    raw = [
        {"id": "1", "key": "get-lead"},
        {"id": "2", "key": "Get-Lead"},
        {"id": "3", "key": taken},
    ]
    found = build_catalogue(raw, OWN).entries
    assert len(found) == 3
    assert f"kartra_get_lead_{suffix('1')}_{suffix('3')}" in found


@given(
    st.lists(
        st.fixed_dictionaries(
            {"id": st.text("abc", min_size=1, max_size=2)},
            optional={"key": st.text("aA-_.é", max_size=50), "name": st.text(max_size=60)},
        ),
        max_size=8,
    )
)
def test_every_name_is_portable_and_every_action_has_one(raw: list[dict[str, Any]]):
    found = build_catalogue(raw, OWN)
    assert {entry.action.id for entry in found.entries.values()} == {one["id"] for one in raw}
    assert all(re.fullmatch(r"kartra_[a-z0-9_]{0,38}", tool) for tool in found.entries)
    assert list(found.entries) == sorted(found.entries)
    unique = {one["id"]: one for one in reversed(raw)}
    assert set(build_catalogue(unique.values(), OWN).entries) == set(
        build_catalogue(reversed(raw), OWN).entries
    ) or (len(unique) < len(raw))


@pytest.mark.parametrize("which", ["base", "suffixed"])
def test_allow_and_deny_match_a_suffixed_action_without_a_key_by_either_name(which: str):
    found = build_catalogue(
        [{"id": "1", "name": "Do Thing"}, {"id": "2", "name": "do thing"}], OWN
    ).entries
    for tool, entry in found.items():
        name = "kartra_do_thing" if which == "base" else tool
        rules = Policy(dict.fromkeys(Risk, Gate.ALLOW), deny=(name,))
        assert evaluate(Risk.READ, entry.names, rules) is Verdict.NOT_ALLOWED


# ── Descriptions and hints ──


@pytest.mark.parametrize("length", [0, 10, 1_700, 1_899, 1_900, 5_000])
@pytest.mark.parametrize("key", ["get-lead", "edit-lead", "refund-transaction", "something-else"])
def test_a_description_is_short_enough_and_keeps_its_sentence(key: str, length: int):
    entry = one({"key": key, "name": "Name", "description": "d" * length})
    assert 0 < len(entry.description) <= 1_900
    ending = {
        "get-lead": "",
        "edit-lead": "May ask for confirmation (destructive).",
        "refund-transaction": "Asks for confirmation (irreversible).",
        "something-else": "Asks for confirmation (destructive).",
    }[key]
    assert entry.description.endswith(ending)
    assert ("confirmation" in entry.description) is bool(ending)
    assert entry.description.startswith("d" * min(length, 1_000) if length else "Name")


def test_the_sentence_of_a_refund_says_what_it_does_and_that_it_cannot_be_undone():
    description = refund(description="Refunds.").description
    assert description.startswith("Refunds. Pays money back to the buyer, all that remains if no ")
    assert "Undo: not possible." in description


def test_what_cannot_be_seen_is_not_in_a_title_or_description():
    entry = one({"key": "x", "name": "Na\u202eme\u200b", "description": "\U000e0041Says\r\nthis "})
    assert entry.title == "Name"
    assert entry.description.startswith("Says\nthis. ")


@pytest.mark.parametrize(
    ("raw", "title"),
    [
        ({"key": "get-lead", "name": "Get Lead"}, "Get Lead"),
        ({"key": "get-lead"}, "get-lead"),
        ({}, "a1"),
        ({"name": "n" * 100}, "n" * 79 + "…"),
    ],
    ids=["the name", "else the key", "else the id", "cut"],
)
def test_a_title_is(raw: dict[str, Any], title: str):
    assert one(raw).title == title


@pytest.mark.parametrize(
    ("risk", "read", "destructive"),
    [
        (Risk.READ, True, False),
        (Risk.WRITE, False, False),
        (Risk.DESTRUCTIVE, False, True),
        (Risk.IRREVERSIBLE, False, True),
    ],
)
def test_hints_follow_from_risk(risk: Risk, *, read: bool, destructive: bool):
    assert tool_annotations("T", risk) == {
        "title": "T",
        "readOnlyHint": read,
        "destructiveHint": destructive,
    }


def test_what_membrane_calls_read_only_is_never_a_hint_that_it_reads():
    entry = one({"key": "sync-leads", "isReadOnly": True})
    assert entry.risk is Risk.DESTRUCTIVE
    assert one({**REFUND, "isReadOnly": True}).risk is Risk.IRREVERSIBLE


def test_the_method_stands_in_the_actions_config():
    raw = {"key": "get-x", "type": "list-data-records"}
    assert one(raw).risk is Risk.READ
    assert one({**raw, "config": {"request": {"method": " delete "}}}).risk is Risk.DESTRUCTIVE
    assert one({**raw, "config": {"request": "?"}}).risk is Risk.READ


# ── Bad entries ──

BAD: Mapping[str, Any] = {
    "null": None,
    "a text": "get-lead",
    "a list": [],
    "without an id": {"key": "get-lead"},
    "with an empty id": {"id": "", "key": "x"},
    "with a number for an id": {"id": 7, "key": "x"},
    "with an id that looks like a flag": {"id": "--json", "key": "x"},
    "with half a character in its id": {"id": "\ud83d", "key": "x"},
    "with a NUL in its id": {"id": "a\0b", "key": "x"},
    "archived": {"id": "x", "archivedAt": "2026-01-01"},
    "deactivated": {"id": "x", "isDeactivated": True},
    "building": {"id": "x", "state": "BUILDING"},
    "in a state of tomorrow": {"id": "x", "state": "HIBERNATING"},
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_entry_is_left_out_and_never_costs_the_list(case: str):
    found = build_catalogue([BAD[case], REFUND], OWN)
    assert list(found.entries) == ["kartra_refund_transaction"]
    (reason,) = found.left_out
    assert reason.startswith("entry 1: ")


SCHEMAS: Mapping[str, Any] = {
    "no schema": None,
    "an empty schema": {},
    "true": True,
    "a text": "object",
    "a list": [],
    "an array": {"type": "array"},
    "properties that are a list": {"type": "object", "properties": []},
    "a recursive reference": {"type": "object", "properties": {"a": {"$ref": "#"}}},
    "a foreign reference": {"$ref": "https://example.com/x.json"},
}


@pytest.mark.parametrize("case", SCHEMAS)
def test_an_odd_schema_still_makes_a_tool(case: str):
    entry = one({"key": "get-thing", "inputSchema": SCHEMAS[case]})
    assert entry.input_schema(gated=False)["type"] == "object"
    assert call_of(entry, None).arguments == {}


def test_an_entry_that_is_listed_twice_is_one_tool():
    assert len(build_catalogue([REFUND, REFUND], OWN).entries) == 1


def test_an_empty_list_is_an_empty_catalogue():
    assert build_catalogue([], OWN) == Catalogue({})


# ── Consent ──


def test_a_gated_tool_has_the_flag_and_does_not_require_it():
    schema = refund().input_schema(gated=True)
    assert schema["properties"]["confirm"]["type"] == "boolean"
    assert schema["required"] == ["transaction_id"]


@pytest.mark.parametrize("key", ["get-lead", "assign-tag"])
def test_a_tool_that_is_not_gated_has_no_flag(key: str):
    schema = one({"key": key, "inputSchema": REFUND["inputSchema"]}).input_schema(gated=False)
    assert schema["properties"].keys() == PROPERTIES.keys()


def test_the_flag_never_reaches_the_action():
    call = call_of(refund(), {"transaction_id": 5, "confirm": True})
    assert call.consent.confirm
    assert call.consent.confirm_name == "confirm"
    assert call.arguments == {"transaction_id": 5}
    assert call.commands == (Command("refund_transaction", {"transaction_id": 5}),)


@pytest.mark.parametrize(
    "said", ["true", "yes", 1, 1.0, [True], {"confirm": True}, None, False, ""], ids=repr
)
def test_only_exactly_true_is_consent(said: Any):
    assert call_of(refund(), {"transaction_id": 5, "confirm": said}).consent.confirm is False


# What the action has itself → what the flag is then called.
OWN_CONFIRM: Mapping[str, tuple[dict[str, Any], str]] = {
    "a field confirm": ({"properties": {"confirm": {"type": "string"}}}, "kartra_confirm"),
    "a required confirm that is not described": ({"required": ["confirm"]}, "kartra_confirm"),
    "both names": (
        {"properties": {"confirm": {"type": "string"}, "kartra_confirm": {"type": "string"}}},
        "kartra_kartra_confirm",
    ),
}


@pytest.mark.parametrize("case", OWN_CONFIRM)
def test_the_flag_has_another_name_where_the_action_has(case: str):
    own, name = OWN_CONFIRM[case]
    entry = refund(inputSchema={"type": "object", **own})
    assert (
        entry.input_schema(gated=True)["properties"][name]
        == consent_arguments.PROPERTIES["confirm"]
    )
    arguments = dict.fromkeys(entry.own_names, "yes")
    call = call_of(entry, {**arguments, name: True})
    assert (call.consent.confirm, call.consent.confirm_name, call.arguments) == (
        True,
        name,
        arguments,
    )
    unasked = call_of(entry, arguments)
    assert unasked.consent.confirm is False
    assert f" {name}: true" in confirmation.confirmation_required_error(unasked).remedy


# ── Arguments ──


def test_what_gemini_adds_is_left_out():
    given_arguments = {"transaction_id": 5, "wait_for_previous": True}
    assert call_of(refund(), given_arguments).arguments == {"transaction_id": 5}


def test_what_gemini_adds_stays_where_the_action_declares_it():
    schema = {"properties": {"wait_for_previous": {"type": "boolean"}}}
    entry = one({"key": "get-thing", "inputSchema": schema})
    assert call_of(entry, {"wait_for_previous": True}).arguments == {"wait_for_previous": True}


CLOSED = {"type": "object", "properties": {"email": {"type": "string"}}}
UNDECLARED: Mapping[str, tuple[str, Any, bool]] = {
    "a closed schema": ("get-thing", CLOSED, False),
    "no schema": ("get-thing", None, True),
    "an open schema": ("get-thing", {**CLOSED, "additionalProperties": True}, True),
    "no schema, irreversible": ("refund-transaction", None, False),
    "an open schema, irreversible": (
        "refund-transaction",
        {**CLOSED, "additionalProperties": True},
        False,
    ),
}


@pytest.mark.parametrize("case", UNDECLARED)
def test_an_undeclared_argument_with(case: str):
    key, schema, welcome = UNDECLARED[case]
    entry = one({"key": key, "inputSchema": schema})
    if welcome:
        assert call_of(entry, {"emial": "x"}).arguments == {"emial": "x"}
    else:
        assert "emial" in refusal(entry, {"emial": "x"}).message


def test_an_edit_that_turns_out_harmless_may_still_hold_what_is_open():
    entry = one({"key": "edit-lead", "inputSchema": {**CLOSED, "additionalProperties": True}})
    call = call_of(entry, {"email": "a@b.c", "city": "Ghent"})
    assert call.risk is Risk.WRITE


def test_every_bad_field_is_named():
    message = refusal(refund(), {"transaction_id": "x", "refund_amount": "y", "extra": 1}).message
    assert all(name in message for name in ("transaction_id", "refund_amount", "extra"))


AMOUNTS_REFUSED = (0, 0.0, -0.0, "0", "0.00", "", " ", None, -1, -0.01, "-5", float("inf"),
                   float("-inf"), float("nan"), 1.001, "1.001", "97,00", "$97", "1e2", "abc", True,
                   False, [97], {"value": 0}, {"sum": 97}, 10**400)  # fmt: skip
AMOUNTS_TAKEN = ((97, 97), ("97", 97), ("97.00", 97), (97.5, 97.5), ("97.50", 97.5), (0.01, 0.01))
MONEY: Mapping[str, Any] = {
    "a number": {"type": "number"},
    "text": {"type": "string"},
    "anything": {},
    "number or null": {"type": ["number", "null"]},
}


@pytest.mark.parametrize("declared", MONEY)
@pytest.mark.parametrize(
    "amount", AMOUNTS_REFUSED, ids=lambda a: f"{str(a)[:9]!r} {type(a).__name__}"
)
def test_a_sum_that_is_none_is_refused(amount: Any, declared: str):
    properties = {**PROPERTIES, "refund_amount": MONEY[declared]}
    entry = refund(inputSchema={"type": "object", "properties": properties})
    message = refusal(entry, {"transaction_id": 5, "refund_amount": amount}).message
    assert "refund_amount" in message
    assert not message.endswith("..")


@pytest.mark.parametrize("name", ["amount", "refundAmount", "amount_to_refund", "partial-amount"])
def test_a_sum_of_another_name_is_known_too_even_nested(name: str):
    schema = {
        "type": "object",
        "properties": {"refund": {"type": "object", "properties": {name: {}}}},
    }
    assert name in refusal(refund(inputSchema=schema), {"refund": {name: 0}}).message


@pytest.mark.parametrize(("amount", "taken"), AMOUNTS_TAKEN, ids=repr)
def test_a_sum_is_taken_as_a_number_or_as_text_of_one(amount: Any, taken: float):
    call = call_of(refund(), {"transaction_id": 5, "refund_amount": amount})
    assert call.arguments["refund_amount"] == taken
    as_text = {**PROPERTIES, "refund_amount": {"type": "string"}}
    entry = refund(inputSchema={"type": "object", "properties": as_text})
    found = call_of(entry, {"transaction_id": 5, "refund_amount": amount}).arguments
    assert isinstance(found["refund_amount"], str)
    assert float(found["refund_amount"]) == taken


@pytest.mark.parametrize("said", [101, "101", 101.0, " 101 "], ids=repr)
@pytest.mark.parametrize(("declared", "wanted"), [("integer", 101), ("string", "101")])
def test_an_id_is_taken_as_a_number_or_as_text_of_one(said: Any, declared: str, wanted: Any):
    schema = {"type": "object", "properties": {"transaction_id": {"type": declared}}}
    found = call_of(refund(inputSchema=schema), {"transaction_id": said}).arguments
    if said == " 101 " and declared == "string":
        assert found["transaction_id"].strip() == wanted
    else:
        assert found == {"transaction_id": wanted}
        assert type(found["transaction_id"]) is type(wanted)


def test_a_call_is_as_dangerous_as_its_arguments():
    entry = one({"key": "edit-lead", "inputSchema": None})
    assert (entry.risk, entry.min_risk) == (Risk.DESTRUCTIVE, Risk.WRITE)

    def risk(**arguments: Any) -> Call:
        return call_of(entry, arguments)

    assert risk(id=7, city="Ghent").risk is Risk.WRITE
    assert risk(id=7, city="").risk is Risk.DESTRUCTIVE
    assert not risk(id=7, city="").consent.confirm
    assert risk(id=7, city="Ghent").writes


NUMBER, WHOLE, TEXT = {"type": "number"}, {"type": "integer"}, {"type": "string"}


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"transaction_id": WHOLE, **properties}}


JUDGED_AMOUNTS: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "cents of 0": (of(amount_cents=WHOLE), {"amount_cents": 0}),
    "cents in parts": (of(amount_cents=NUMBER), {"amount_cents": 5.5}),
    "a negative total": (of(total=NUMBER), {"total": -5}),
    "a total in camel case": (of(refundTotal=NUMBER), {"refundTotal": 0}),
    "a total in one word": (of(refundtotal=NUMBER), {"refundtotal": 0}),
    "a sum that is null": (of(sum={}), {"sum": None}),
    "a value, nested": (of(refund=of(value=NUMBER)), {"refund": {"value": 0}}),
    "an amount, nested": (of(refund={"type": "object"}), {"refund": {"amount": 0}}),
    "a price finer than a cent": (of(price=NUMBER), {"price": 1.001}),
    "an amount in an amount": (of(amount=of(amount=NUMBER)), {"amount": {"amount": 0}}),
    "a total without its number": (of(total={"type": "object"}), {"total": {}}),
}


@pytest.mark.parametrize("case", JUDGED_AMOUNTS)
def test_an_amount_of_a_refund_is_judged_by_any_name(case: str):
    schema, given_now = JUDGED_AMOUNTS[case]
    message = refusal(refund(inputSchema=schema), {"transaction_id": 5, **given_now}).message
    assert "The amount is" in message


TAKEN_AMOUNTS: Mapping[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "an amount in an amount": (
        of(amount=of(amount=NUMBER, currency=TEXT)),
        {"amount": {"amount": 5, "currency": "USD"}},
        "5.00",
    ),
    "cents": (of(amount_cents=WHOLE), {"amount_cents": 550}, "5.50"),
    "a total as text": (of(total=NUMBER), {"total": "5.50"}, "5.50"),
    "what is no amount beside it": (
        of(total=NUMBER, value_id=WHOLE, total_count=WHOLE, full_value={"type": "boolean"}),
        {"total": 5.5, "value_id": 0, "total_count": 0, "full_value": False},
        "5.50",
    ),
}


@pytest.mark.parametrize("case", TAKEN_AMOUNTS)
def test_an_amount_of_a_refund_is_taken_and_counted_by_any_name(case: str):
    schema, given_now, amount = TAKEN_AMOUNTS[case]
    call = call_of(refund(inputSchema=schema), {"transaction_id": 5, **given_now})
    assert str(call.operation.amount) == amount


def test_a_value_of_an_action_without_money_does_not_count_as_an_amount():
    entry = one({"key": "cancel-order", "inputSchema": of(value=TEXT)})
    assert call_of(entry, {"value": "0"}).arguments == {"value": "0"}


@pytest.mark.parametrize(
    ("properties", "given_now", "taken"),
    [
        ({"list_id": TEXT}, {"list_id": 5}, {"list_id": "5"}),
        ({"tag_id": WHOLE}, {"tag_id": "5"}, {"tag_id": 5}),
        ({"leadIds": {"type": "array", "items": TEXT}}, {"leadIds": [5]}, {"leadIds": ["5"]}),
        ({"lead": of(tagId=WHOLE)}, {"lead": {"tagId": "5"}}, {"lead": {"tagId": 5}}),
    ],
    ids=str,
)
def test_any_id_may_be_a_number_or_text(properties: Any, given_now: Any, taken: Any):
    entry = one({"key": "assign-thing", "inputSchema": of(**properties)})
    assert call_of(entry, given_now).arguments == taken


def test_an_equal_schema_is_converted_once_unless_it_is_large():
    small = {"type": "object", "properties": {"id": {"type": "integer"}}}
    large = {"type": "object", "properties": {"id": {"description": "x" * 20_000}}}
    assert find_portable(small) is find_portable(json.loads(json.dumps(small)))
    assert find_portable(large) is not find_portable(large)
    assert find_portable(large).declared == {"id"}
