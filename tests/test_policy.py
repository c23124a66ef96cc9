"""Risk and permission: every row of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Action, Command, Gate, RawRequest, Risk, ValidatedCall, Verdict
from kartra_mcp.kartra import action_words
from kartra_mcp.kartra import commands as kartra
from kartra_mcp.policy import gates
from kartra_mcp.policy import risk as policy_risk
from kartra_mcp.policy.gates import Policy

READ, WRITE, DESTRUCTIVE, IRREVERSIBLE = Risk

# Published action key → the highest and the lowest that its arguments can make of it.
PUBLISHED: Mapping[str, tuple[Risk, Risk]] = {
    "retrieve-account-pages": (READ, READ),
    "retrieve-account-custom-fields": (READ, READ),
    "retrieve-account-sequences": (READ, READ),
    "retrieve-account-tags": (READ, READ),
    "retrieve-account-lists": (READ, READ),
    "get-lead": (READ, READ),
    "get-transaction-details": (READ, READ),
    "retrieve-transactions-from-lead": (READ, READ),
    "create-lead": (WRITE, WRITE),
    "edit-lead": (DESTRUCTIVE, WRITE),
    "assign-tag": (WRITE, WRITE),
    "subscribe-lead-to-list": (WRITE, WRITE),
    "subscribe-lead-to-sequence": (WRITE, WRITE),
    "unsubscribe-lead-from-list": (DESTRUCTIVE, DESTRUCTIVE),
    "unsubscribe-lead-from-sequence": (DESTRUCTIVE, DESTRUCTIVE),
    "unassign-tag": (DESTRUCTIVE, DESTRUCTIVE),
    "cancel-subscription": (IRREVERSIBLE, IRREVERSIBLE),
    "refund-transaction": (IRREVERSIBLE, IRREVERSIBLE),
    "grant-membership-access": (WRITE, WRITE),
    "revoke-membership-access": (DESTRUCTIVE, DESTRUCTIVE),
}

# The 29 documented commands and get_lead → the highest risk.
COMMANDS: Mapping[str, Risk] = {
    "get_lead": READ,
    "search_lead": READ,
    "create_lead": WRITE,
    "edit_lead": DESTRUCTIVE,
    "assign_tag": WRITE,
    "unassign_tag": DESTRUCTIVE,
    "retrieve_account_tags": READ,
    "subscribe_lead_to_list": WRITE,
    "unsubscribe_lead_from_list": DESTRUCTIVE,
    "retrieve_account_lists": READ,
    "subscribe_lead_to_sequence_at_step": WRITE,
    "unsubscribe_lead_from_sequence": DESTRUCTIVE,
    "retrieve_account_sequences": READ,
    "give_points_to_lead": WRITE,
    "remove_points_from_lead": DESTRUCTIVE,
    "create_custom_field": DESTRUCTIVE,
    "retrieve_custom_fields": READ,
    "retrieve_account_pages": READ,
    "calendar_subscribe": WRITE,
    "calendar_cancel": DESTRUCTIVE,
    "search_transaction": READ,
    "get_transaction_details": READ,
    "retrieve_transactions_from_lead": READ,
    "refund_transaction": IRREVERSIBLE,
    "search_subscription": READ,
    "get_subscription_details": READ,
    "retrieve_subscriptions_from_lead": READ,
    "modify_subscription_status": IRREVERSIBLE,
    "edit_subscription": IRREVERSIBLE,
    "cancel_transaction": IRREVERSIBLE,
}

READ_TYPES = (
    "list-data-records",
    "find-data-record-by-id",
    "match-data-record",
    "search-data-record",
)
SILENT_TYPES = (
    "",
    "connector-operation",
    "api-request-to-external-app",
    "api-request-to-your-app",
    "http-request",
    "run-javascript",
    "api-request",
    "a type of tomorrow",
)


def action(key: str, *, name: str = "", kind: str = "", method: str = "") -> Action:
    return Action(id="a1", key=key, name=name, type=kind, method=method)


@pytest.mark.parametrize("key", PUBLISHED)
def test_a_published_action_has_the_risks_of_its_row(key: str):
    highest, lowest = PUBLISHED[key]
    assert policy_risk.max_risk(action(key)) is highest
    assert policy_risk.min_risk(action(key)) is lowest


def test_the_published_keys_are_the_twenty_of_the_facts():
    assert sorted(kartra.PUBLISHED_KEYS) == sorted(PUBLISHED)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_documented_command_has_its_risk(command: str):
    assert kartra.COMMANDS[command].risk is COMMANDS[command]


def test_the_commands_are_the_documented_ones_and_the_two_of_memberships():
    undocumented = {"grant_membership_access", "revoke_membership_access"}
    assert kartra.COMMANDS.keys() == COMMANDS.keys() | undocumented
    assert len(COMMANDS) == 30


def underscored(key: str) -> str:
    return key.replace("-", "_")


def camel(key: str) -> str:
    return key.title().replace("-", "")


@pytest.mark.parametrize("spell", [str.upper, underscored, camel])
@pytest.mark.parametrize("key", PUBLISHED)
def test_a_published_key_in_another_spelling_is_the_same_action(key: str, spell: Any):
    assert policy_risk.max_risk(action(spell(key))) is PUBLISHED[key][0]


def test_a_key_with_letters_that_are_no_ascii_is_never_a_known_one():
    assert kartra.find_action_command("get-lead-удалить") == ""
    assert kartra.find_command("refund_transactionя") == "refund_transaction"  # hidden in a request
    assert policy_risk.max_risk(action("get-lead-удалить")) is DESTRUCTIVE


@pytest.mark.parametrize(
    ("kind", "risk"), [("delete-data-record", DESTRUCTIVE), ("update-data-record", WRITE)]
)
def test_the_type_raises_even_a_known_read(kind: str, risk: Risk):
    assert policy_risk.max_risk(action("get-lead", kind=kind)) is risk
    assert policy_risk.min_risk(action("get-lead", kind=kind)) is risk
    assert policy_risk.call_risk(action("get-lead", kind=kind), {}) is risk


@pytest.mark.parametrize("method", ["", "GET", "POST", "post"])
def test_posting_says_nothing_of_a_known_read_as_kartra_posts_everything(method: str):
    assert policy_risk.max_risk(action("get-lead", method=method)) is READ


@pytest.mark.parametrize(
    ("method", "risk"), [("PUT", WRITE), ("PATCH", WRITE), ("DELETE", DESTRUCTIVE)]
)
def test_another_method_raises_even_a_known_read(method: str, risk: Risk):
    assert policy_risk.max_risk(action("get-lead", method=method)) is risk


BESIDE_A_KNOWN_KEY: Mapping[str, tuple[str, str, Risk]] = {
    "the published name of the same command": ("get-lead", "Get lead", READ),
    "the published name of another command": ("get-lead", "Assign tag", WRITE),
    "a verb that acts, beside a read": ("get-lead", "Submit lead", DESTRUCTIVE),
    "a verb that acts, beside a write": ("assign-tag", "Submit lead", WRITE),
    "a verb that removes, beside a write": ("assign-tag", "Remove everything", DESTRUCTIVE),
    "an unknown verb that removes, beside a read": ("get-lead", "Unlink lead", READ),
    "money, beside a write": ("assign-tag", "Charge the card", IRREVERSIBLE),
    "an end for good, beside a write": ("assign-tag", "Purge lead", IRREVERSIBLE),
    "no verb": ("assign-tag", "Lead", WRITE),
}


@pytest.mark.parametrize("case", BESIDE_A_KNOWN_KEY)
def test_the_name_beside_a_known_key_raises_the_risk_by_a_verb_of_another_kind(case: str):
    key, name, risk = BESIDE_A_KNOWN_KEY[case]
    assert policy_risk.max_risk(action(key, name=name)) is risk


EDITS: Mapping[str, tuple[dict[str, Any], Risk]] = {
    "a name of the lead by address": ({"email": "a@b.c", "first_name": "Ann"}, WRITE),
    "a name of the lead by id": ({"id": 7, "first_name": "Ann"}, WRITE),
    "a number that is 0": ({"id": 7, "business_type": 0}, WRITE),
    "a custom field": (
        {"id": 7, "custom_fields": [{"field_identifier": "x", "field_value": "y"}]},
        WRITE,
    ),
    "a new address": ({"email": "a@b.c", "new_email": "d@e.f"}, DESTRUCTIVE),
    "a new address in camel case": ({"id": 7, "newEmail": "d@e.f"}, DESTRUCTIVE),
    "a new e-mail address, nested": ({"lead": {"id": 7, "newEmailAddress": "d"}}, DESTRUCTIVE),
    "an address beside the id": ({"id": 7, "email": "d@e.f"}, DESTRUCTIVE),
    "an address of another spelling beside the lead's id": (
        {"leadId": 7, "email_address": "d@e.f"},
        DESTRUCTIVE,
    ),
    "an address beside the lead": ({"lead": 5, "email": "d@e.f"}, DESTRUCTIVE),
    "an address beside a contact id": ({"contact_id": 5, "email": "d@e.f"}, DESTRUCTIVE),
    "an address beside an identifier": ({"lead_identifier": 5, "email": "d@e.f"}, DESTRUCTIVE),
    "an address beside a nested id": ({"customer": {"id": 5}, "email": "d@e.f"}, DESTRUCTIVE),
    "an address under another name": ({"where": "a@b.c", "set": {"email": "d@e.f"}}, DESTRUCTIVE),
    "a custom field by address": (
        {"email": "a@b.c", "custom_fields": [{"field_identifier": "x", "field_value": "y"}]},
        WRITE,
    ),
    "two addresses": ({"email": "a@b.c", "changed_email": "d@e.f"}, DESTRUCTIVE),
    "one address under two names": ({"email": "a@b.c", "mail": "a@b.c"}, DESTRUCTIVE),
    "an empty text": ({"id": 7, "phone": ""}, DESTRUCTIVE),
    "a blank text": ({"id": 7, "phone": "  "}, DESTRUCTIVE),
    "a null": ({"id": 7, "phone": None}, DESTRUCTIVE),
    "an empty custom field": (
        {"id": 7, "custom_fields": [{"field_identifier": "x", "field_value": ""}]},
        DESTRUCTIVE,
    ),
    "an empty choice": (
        {"id": 7, "custom_fields": [{"field_identifier": "x", "field_value": []}]},
        DESTRUCTIVE,
    ),
    "an empty object": ({"id": 7, "lead": {}}, DESTRUCTIVE),
}


@pytest.mark.parametrize("case", EDITS)
def test_editing_a_lead_is_as_dangerous_as_what_it_changes(case: str):
    arguments, risk = EDITS[case]
    assert policy_risk.call_risk(action("edit-lead"), arguments) is risk
    assert policy_risk.classify_command(Command("edit_lead", {}, lead=arguments)) is risk


STATUSES: Mapping[str, tuple[dict[str, Any], Risk]] = {
    "pause": ({"subscription_status_modification": "pause"}, DESTRUCTIVE),
    "unpause": ({"subscription_status_modification": "unpause"}, DESTRUCTIVE),
    "cancel": ({"subscription_status_modification": "cancel"}, IRREVERSIBLE),
    "CANCEL": ({"subscription_status_modification": "CANCEL"}, IRREVERSIBLE),
    "a status of tomorrow": ({"subscription_status_modification": "end"}, IRREVERSIBLE),
    "no status": ({}, IRREVERSIBLE),
    "a null": ({"subscription_status_modification": None}, IRREVERSIBLE),
    "a list": ({"subscription_status_modification": ["cancel"]}, IRREVERSIBLE),
    "two that disagree": (
        {"subscription_status_modification": "pause", "status": "cancel"},
        IRREVERSIBLE,
    ),
    "a list beside a pause": (
        {"subscription_status_modification": "pause", "status": ["cancel"]},
        IRREVERSIBLE,
    ),
    "another name": ({"subscriptionStatusModification": "pause"}, DESTRUCTIVE),
    "a short name": ({"statusModification": "pause"}, DESTRUCTIVE),
    "two names that disagree": (
        {"status_modification": "pause", "status": "cancel"},
        IRREVERSIBLE,
    ),
    "two that can both be undone": (
        {"subscription_status_modification": "pause", "status": "unpause"},
        DESTRUCTIVE,
    ),
}


@pytest.mark.parametrize("case", STATUSES)
def test_only_pause_and_unpause_of_a_subscription_can_be_undone(case: str):
    arguments, risk = STATUSES[case]
    assert policy_risk.classify_command(Command("modify_subscription_status", arguments)) is risk


def test_a_command_that_is_not_known_is_destructive():
    assert policy_risk.classify_command(Command("get_everything")) is DESTRUCTIVE


@pytest.mark.parametrize(
    "name", ["refund_subscription", "void_payment", "refund", "chargeLead", "autorefund", "payouts"]
)
def test_a_command_that_is_not_known_is_judged_by_its_words(name: str):
    assert policy_risk.classify_command(Command(name)) is IRREVERSIBLE
    assert policy_risk.request_risk(raw(Command(name))) is IRREVERSIBLE


@pytest.mark.parametrize("name", ["delete_lead", "avoid_lead", "frobnicate"])
def test_a_command_without_such_a_word_is_destructive(name: str):
    assert policy_risk.classify_command(Command(name)) is DESTRUCTIVE


def test_the_lead_of_a_raw_request_and_another_address_in_the_command_change_it():
    command = Command("edit_lead", {"email": "new@b.c"}, lead={"email": "a@b.c"})
    assert policy_risk.classify_command(command) is DESTRUCTIVE


# ── Actions that are not in the table ──


@pytest.mark.parametrize("verb", sorted(action_words.READ_VERBS))
@pytest.mark.parametrize("kind", READ_TYPES)
def test_a_read_type_with_a_read_verb_reads(kind: str, verb: str):
    assert policy_risk.max_risk(action(f"{verb}-products", kind=kind)) is READ
    assert policy_risk.max_risk(action(f"{verb}Products", kind=kind)) is READ


@pytest.mark.parametrize("verb", ["", "create", "query", "run", "send", "export", "gets", "getter"])
@pytest.mark.parametrize("kind", READ_TYPES)
def test_a_read_type_without_a_read_verb_is_destructive(kind: str, verb: str):
    assert policy_risk.max_risk(action(f"{verb}-products", kind=kind)) is DESTRUCTIVE


@pytest.mark.parametrize("verb", ["get", "list", "retrieve", "search", "create", "products-get"])
@pytest.mark.parametrize("kind", SILENT_TYPES)
def test_a_verb_without_a_type_or_method_that_confirms_it_is_destructive(kind: str, verb: str):
    assert policy_risk.max_risk(action(f"{verb}-products", kind=kind)) is DESTRUCTIVE
    assert policy_risk.max_risk(action(f"{verb}-products", kind=kind, method="POST")) is DESTRUCTIVE


@pytest.mark.parametrize("kind", sorted(kartra.TYPE_RISKS))
@pytest.mark.parametrize("verb", ["get", "do", "delete"])
def test_a_type_that_writes_lowers_no_risk_of_another_verb(kind: str, verb: str):
    assert policy_risk.max_risk(action(f"{verb}-product", kind=kind)) is DESTRUCTIVE


@pytest.mark.parametrize(
    ("method", "risk"),
    [
        ("GET", READ),
        ("POST", WRITE),
        ("PUT", WRITE),
        ("PATCH", WRITE),
        ("DELETE", DESTRUCTIVE),
        ("delete", DESTRUCTIVE),
    ],
)
def test_the_method_raises_what_type_and_verb_call_a_read(method: str, risk: Risk):
    found = policy_risk.max_risk(
        action("get-product", kind="find-data-record-by-id", method=method)
    )
    assert found is risk


@given(
    st.text(alphabet="abcdefgSTUV-_. é", max_size=20),
    st.sampled_from([*SILENT_TYPES, "create-data-record", "delete-data-record"]),
    st.sampled_from(["", "GET", "POST", "DELETE"]),
)
def test_nothing_unknown_without_a_read_verb_is_a_read(key: str, kind: str, method: str):
    found = policy_risk.max_risk(action(key, kind=kind, method=method))
    assert found > READ or (action_words.is_reading(key) and method == "GET")


def test_an_action_without_a_key_is_judged_by_its_name():
    assert policy_risk.max_risk(action("", name="Refund it")) is IRREVERSIBLE
    assert policy_risk.max_risk(action("", name="Get it", kind="list-data-records")) is READ
    assert policy_risk.max_risk(action("", name="Get leads")) is DESTRUCTIVE


@pytest.mark.parametrize("key", PUBLISHED)
def test_a_published_action_without_a_key_is_known_by_its_exact_name(key: str):
    named = action("", name=key.replace("-", " ").title())
    assert policy_risk.max_risk(named) is PUBLISHED[key][0]
    assert policy_risk.min_risk(named) is PUBLISHED[key][1]


# ── Gates ──

GATED: Mapping[tuple[Gate, Risk], Verdict] = {
    **{(Gate.ALLOW, risk): Verdict.RUN for risk in Risk},
    **{(gate, risk): Verdict.CONFIRM for gate in list(Gate)[1:4] for risk in Risk},
    **{(Gate.DENY, risk): Verdict.NOT_ALLOWED for risk in Risk},
}


@pytest.mark.parametrize(("gate", "risk"), list(product(Gate, Risk)))
def test_a_gate_runs_previews_or_refuses(gate: Gate, risk: Risk):
    rules = Policy({risk: gate})
    assert gates.evaluate(risk, ["kartra_x"], rules) is GATED[gate, risk]
    hidden = Verdict.NOT_ALLOWED if gate is Gate.DENY else None
    assert gates.hidden_reason(risk, ["kartra_x"], rules) is hidden


@pytest.mark.parametrize(("one", "other"), list(product(Gate, Gate)))
def test_the_stricter_of_two_gates_does_not_depend_on_their_names(one: Gate, other: Gate):
    order = [Gate.ALLOW, Gate.FLAG, Gate.PREVIEW, Gate.HUMAN, Gate.DENY]
    assert gates.strictest(one, other) is order[max(order.index(one), order.index(other))]


@pytest.mark.parametrize(("gate", "risk"), list(product(Gate, Risk)))
def test_a_tool_takes_the_consent_arguments_if_it_writes_or_its_gate_requires_consent(
    gate: Gate, risk: Risk
):
    names = {"kartra_x"}
    expected = risk is not Risk.READ or gate is not Gate.ALLOW
    assert gates.takes_consent_arguments(risk, names, Policy({risk: gate})) is expected
    assert (
        gates.takes_consent_arguments(risk, names, Policy(OPEN, tools=(("kartra_x", gate),)))
        is expected
    )


def test_a_risk_without_a_gate_is_refused():
    assert gates.evaluate(READ, ["kartra_x"], Policy()) is Verdict.NOT_ALLOWED


OPEN = dict.fromkeys(Risk, Gate.ALLOW)


@pytest.mark.parametrize("risk", Risk)
def test_read_only_lets_reads_alone_run_and_be_listed(risk: Risk):
    rules = Policy(OPEN, read_only=True)
    verdict = Verdict.RUN if risk is READ else Verdict.READ_ONLY
    assert gates.evaluate(risk, ["kartra_x"], rules) is verdict
    assert gates.hidden_reason(risk, ["kartra_x"], rules) is (None if risk is READ else verdict)


def test_what_can_be_harmless_stays_listed_under_a_gate_of_deny():
    rules = Policy({**OPEN, DESTRUCTIVE: Gate.DENY})
    edit = action("edit-lead")
    names = policy_risk.policy_names_of_action("kartra_edit_lead", "edit-lead", "edit_lead")
    assert gates.hidden_reason(policy_risk.min_risk(edit), names, rules) is None
    assert gates.evaluate(policy_risk.call_risk(edit, {"new_email": "x"}), names, rules) is (
        Verdict.NOT_ALLOWED
    )


# ── Allow and deny ──

CANCEL = policy_risk.policy_names_of_action(
    "kartra_cancel_subscription", "cancel-subscription", "cancel_transaction"
)
NAMED = (
    "kartra_cancel_subscription",
    "kartra_cancel-subscription",
    "kartra_cancel_transaction",
    "KARTRA_Cancel_Subscription",
    "kartra_cancel_*",
    "*cancel*",
    "kartra_?ancel_subscription",
    "*",
)
NOT_NAMED = ("kartra_cancel", "kartra_refund_transaction", "kartra_x*", "")


@pytest.mark.parametrize("pattern", NAMED)
def test_deny_takes_away_by_every_name_and_pattern(pattern: str):
    assert gates.evaluate(READ, CANCEL, Policy(OPEN, deny=(pattern,))) is Verdict.NOT_ALLOWED


@pytest.mark.parametrize("pattern", NAMED)
def test_allow_gives_by_every_name_and_pattern(pattern: str):
    assert gates.evaluate(READ, CANCEL, Policy(OPEN, allow=("kartra_x", pattern))) is Verdict.RUN


@pytest.mark.parametrize("pattern", NOT_NAMED)
def test_a_name_that_is_not_its_own_neither_gives_nor_takes(pattern: str):
    assert gates.evaluate(READ, CANCEL, Policy(OPEN, deny=(pattern,))) is Verdict.RUN
    assert gates.evaluate(READ, CANCEL, Policy(OPEN, allow=(pattern,))) is Verdict.NOT_ALLOWED


@pytest.mark.parametrize("pattern", ["cancel_subscription", "cancelTransaction", "cancel*"])
def test_deny_needs_no_prefix_but_allow_does(pattern: str):
    assert gates.evaluate(READ, CANCEL, Policy(OPEN, deny=(pattern,))) is Verdict.NOT_ALLOWED
    assert gates.evaluate(READ, CANCEL, Policy(OPEN, allow=(pattern,))) is Verdict.NOT_ALLOWED


def test_deny_takes_a_wildcard_for_one_character():
    rules = Policy(OPEN, deny=("kartra_refund?transaction",))
    names = gates.policy_names_of_command("refund_transaction")
    assert gates.evaluate(IRREVERSIBLE, names, rules) is Verdict.NOT_ALLOWED


def test_a_name_in_another_alphabet_matches_in_any_case():
    names = policy_risk.policy_names_of_action("kartra_get_thing_0a1b2c", "get-УДАЛИТЬ", "")
    rules = Policy(OPEN, allow=("kartra_get-Удалить",))
    assert gates.evaluate(READ, names, rules) is Verdict.RUN


@pytest.mark.parametrize(
    ("key", "command", "expected"),
    [
        ("", "", {"t"}),
        ("Get.Thing v2", "", {"t", "kartra_get.thing v2", "kartra_get_thing_v2"}),
        ("get-thing", "get_it", {"t", "kartra_get-thing", "kartra_get_thing", "kartra_get_it"}),
    ],
)
def test_an_action_has_these_names_and_no_others(key: str, command: str, expected: set[str]):
    assert policy_risk.policy_names_of_action("t", key, command) == expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            "cancel_transaction",
            {"cancel_transaction", "cancel_subscription", "cancel-subscription"},
        ),
        ("assign_tag", {"assign_tag", "assign-tag"}),
    ],
)
def test_a_command_has_its_own_names_and_those_of_its_action(command: str, expected: set[str]):
    assert policy_risk.policy_names_of_command(command) == {f"kartra_{name}" for name in expected}


@pytest.mark.parametrize("command", ["refundSubscription", "Refund_Subscription", "refund_Sub_"])
def test_deny_hits_a_raw_command_in_another_spelling(command: str):
    names = policy_risk.policy_names_of_command(command)
    for pattern in ("kartra_refund_sub*", "refund-sub*", "*refund_sub*"):
        assert gates.evaluate(READ, names, Policy(OPEN, deny=(pattern,))) is Verdict.NOT_ALLOWED


def test_allow_and_gates_know_another_spelling_but_nothing_that_is_only_alike():
    rules = Policy(OPEN, allow=("kartra_get_thing",))
    assert (
        gates.evaluate(READ, policy_risk.policy_names_of_command("getThing"), rules) is Verdict.RUN
    )
    other = policy_risk.policy_names_of_action("kartra_get_thing_", "get-thing-удалить", "")
    assert gates.evaluate(READ, other, rules) is Verdict.NOT_ALLOWED
    gated = Policy(OPEN, tools=(("kartra_get_thing", Gate.HUMAN),))
    assert (
        gates.resolve_gate(READ, policy_risk.policy_names_of_command("getThing"), gated)
        is Gate.HUMAN
    )


@pytest.mark.parametrize(("allow", "deny"), list(product(NAMED, NAMED)))
def test_deny_wins_over_allow(allow: str, deny: str):
    rules = Policy(OPEN, allow=(allow,), deny=(deny,))
    assert gates.evaluate(READ, CANCEL, rules) is Verdict.NOT_ALLOWED


def test_an_action_whose_name_was_suffixed_is_denied_by_either_name():
    names = policy_risk.policy_names_of_action("kartra_get_thing_0a1b2c", "get-thing", "")
    for name in ("kartra_get_thing", "kartra_get-thing", "kartra_get_thing_0a1b2c"):
        assert gates.evaluate(READ, names, Policy(OPEN, deny=(name,))) is Verdict.NOT_ALLOWED


@pytest.mark.parametrize("own", ["kartra_status", "kartra_read_more"])
def test_the_tools_that_always_stay_do(own: str):
    rules = Policy(OPEN, read_only=True, allow=("kartra_x",), deny=("*", own))
    assert gates.evaluate(READ, [own], rules) is Verdict.RUN
    assert gates.hidden_reason(READ, [own], rules) is None
    assert gates.passes_allow_deny((own,), rules)
    assert gates.evaluate(READ, [own], Policy()) is Verdict.RUN


@pytest.mark.parametrize("key", ["status", "read-more", "read_more", "Status"])
def test_an_action_that_is_called_like_them_does_not(key: str):
    spelled = f"kartra_{key.lower().replace('-', '_')}"
    names = policy_risk.policy_names_of_action(f"{spelled}_0a1b2c", key, "")
    assert gates.evaluate(READ, names, Policy(OPEN, deny=("*",))) is Verdict.NOT_ALLOWED


# ── Raw requests ──


def raw(*commands: Command, method: str = "POST", body: str | None = "{}") -> RawRequest:
    return RawRequest(method=method, path="/api", body=body, commands=commands)


def raw_call(*commands: Command) -> ValidatedCall:
    request = raw(*commands)
    return ValidatedCall(
        tool="kartra_proxy_write",
        title="Raw Kartra write",
        request=request,
        risk=max(WRITE, policy_risk.request_risk(request)),
        policy_names=frozenset({"kartra_proxy_write"}),
        commands=commands,
    )


REQUESTS: Mapping[str, tuple[RawRequest, Risk]] = {
    "a GET without a body": (raw(method="GET", body=None), READ),
    "a GET with a body": (raw(method="GET"), DESTRUCTIVE),
    "a POST without commands": (raw(), DESTRUCTIVE),
    "a DELETE of nothing known": (raw(method="DELETE", body=None), DESTRUCTIVE),
    "a known read": (raw(Command("get_lead")), READ),
    "a known read by DELETE": (raw(Command("get_lead"), method="DELETE"), DESTRUCTIVE),
    "a read and a write": (raw(Command("get_lead"), Command("assign_tag")), WRITE),
    "a write and a refund": (
        raw(Command("assign_tag"), Command("refund_transaction")),
        IRREVERSIBLE,
    ),
    "a read to a path that refunds": (
        replace(raw(Command("get_lead")), path="/orders/7/refund"),
        IRREVERSIBLE,
    ),
    "a command that is not known": (raw(Command("x")), DESTRUCTIVE),
    "a pause": (
        raw(Command("modify_subscription_status", {"subscription_status_modification": "pause"})),
        DESTRUCTIVE,
    ),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_a_raw_request_is_as_dangerous_as_its_worst_command(case: str):
    request, risk = REQUESTS[case]
    assert policy_risk.request_risk(request) is risk


TAG, UNTAG, REFUND = Command("assign_tag"), Command("unassign_tag"), Command("refund_transaction")
FLAGS = {**OPEN, DESTRUCTIVE: Gate.FLAG, IRREVERSIBLE: Gate.FLAG}
JUDGED: Mapping[str, tuple[ValidatedCall, Policy, Verdict]] = {
    "a write runs": (raw_call(TAG), Policy(FLAGS), Verdict.RUN),
    "a destructive command among writes asks": (
        raw_call(TAG, UNTAG),
        Policy(FLAGS),
        Verdict.CONFIRM,
    ),
    "the gate of the lesser risk still asks": (
        raw_call(UNTAG, REFUND),
        Policy({**OPEN, DESTRUCTIVE: Gate.FLAG}),
        Verdict.CONFIRM,
    ),
    "the gate of the lesser risk still denies": (
        raw_call(UNTAG, REFUND),
        Policy({**OPEN, DESTRUCTIVE: Gate.DENY}),
        Verdict.NOT_ALLOWED,
    ),
    "a denied command among others": (
        raw_call(TAG, UNTAG),
        Policy(OPEN, deny=("kartra_unassign_tag",)),
        Verdict.NOT_ALLOWED,
    ),
    "a command denied by the key of its action": (
        raw_call(Command("subscribe_lead_to_sequence_at_step")),
        Policy(OPEN, deny=("kartra_subscribe-lead-to-sequence",)),
        Verdict.NOT_ALLOWED,
    ),
    "a command denied by the tool of its action": (
        raw_call(Command("cancel_transaction")),
        Policy(OPEN, deny=("kartra_cancel_subscription",)),
        Verdict.NOT_ALLOWED,
    ),
    "a command denied by a pattern": (
        raw_call(TAG),
        Policy(OPEN, deny=("*tag*",)),
        Verdict.NOT_ALLOWED,
    ),
    "the tool itself denied": (
        raw_call(TAG),
        Policy(OPEN, deny=("kartra_proxy_write",)),
        Verdict.NOT_ALLOWED,
    ),
    "only the tool allowed": (
        raw_call(TAG),
        Policy(OPEN, allow=("kartra_proxy_write",)),
        Verdict.NOT_ALLOWED,
    ),
    "the tool and the command allowed": (
        raw_call(TAG),
        Policy(OPEN, allow=("kartra_proxy_*", "kartra_assign_tag")),
        Verdict.RUN,
    ),
    "a command named by the path denied by the key of its action": (
        replace(raw_call(), request=replace(raw(), path="/api/cancel_transaction")),
        Policy(OPEN, deny=("kartra_cancel_subscription",)),
        Verdict.NOT_ALLOWED,
    ),
    "a write of a read-only server": (
        raw_call(Command("get_lead"), TAG),
        Policy(OPEN, read_only=True),
        Verdict.READ_ONLY,
    ),
    "a read under the write tool of a read-only server": (
        raw_call(Command("get_lead")),
        Policy(OPEN, read_only=True),
        Verdict.READ_ONLY,
    ),
}


def verdict_of(call: ValidatedCall, rules: Policy) -> Verdict:
    return gates.evaluate_call(call, rules).verdict


@pytest.mark.parametrize("case", JUDGED)
def test_of_a_raw_request_the_strictest_verdict_counts(case: str):
    call, rules, verdict = JUDGED[case]
    assert verdict_of(call, rules) is verdict


def action_call(risk: Risk) -> ValidatedCall:
    return ValidatedCall("kartra_x", "X", action("x"), risk, frozenset({"kartra_x"}))


CALL_GATES: Mapping[str, tuple[ValidatedCall, Policy, Gate]] = {
    "an action by its risk": (action_call(WRITE), Policy({WRITE: Gate.FLAG}), Gate.FLAG),
    "an action without a gate for its risk": (
        action_call(WRITE),
        Policy({READ: OPEN[READ]}),
        Gate.DENY,
    ),
    "an action by its name": (
        action_call(WRITE),
        Policy(OPEN, tools=(("kartra_x", Gate.PREVIEW),)),
        Gate.PREVIEW,
    ),
    "an action, not by a command of its name": (
        replace(action_call(WRITE), commands=(UNTAG,)),
        Policy(FLAGS),
        Gate.ALLOW,
    ),
    "a raw request by a command's risk": (
        raw_call(TAG, UNTAG),
        Policy({**OPEN, DESTRUCTIVE: Gate.FLAG}),
        Gate.FLAG,
    ),
    "a raw request by the gate of the lesser risk": (
        raw_call(UNTAG, REFUND),
        Policy({**OPEN, DESTRUCTIVE: Gate.HUMAN, IRREVERSIBLE: Gate.FLAG}),
        Gate.HUMAN,
    ),
    "a raw request by a command's name": (
        raw_call(TAG, UNTAG),
        Policy(OPEN, tools=(("kartra_assign_tag", Gate.HUMAN),)),
        Gate.HUMAN,
    ),
    "a raw request by its tool": (
        raw_call(TAG),
        Policy(OPEN, tools=(("kartra_proxy_write", Gate.PREVIEW),)),
        Gate.PREVIEW,
    ),
}


@pytest.mark.parametrize("case", CALL_GATES)
def test_a_call_passes_the_strictest_gate_of_its_tool_and_commands(case: str):
    call, rules, gate = CALL_GATES[case]
    assert gates.evaluate_call(call, rules).gate is gate


def test_an_action_is_judged_by_its_risk_and_its_names():
    assert verdict_of(action_call(WRITE), Policy({WRITE: Gate.ALLOW})) is Verdict.RUN
    assert verdict_of(action_call(WRITE), Policy({WRITE: Gate.FLAG})) is Verdict.CONFIRM
    assert verdict_of(action_call(WRITE), Policy(OPEN, read_only=True)) is Verdict.READ_ONLY
    denied = Policy(OPEN, deny=("kartra_x",))
    assert verdict_of(action_call(WRITE), denied) is Verdict.NOT_ALLOWED


@pytest.mark.parametrize(
    ("risk", "rules", "gate"),
    [
        (WRITE, Policy({WRITE: Gate.FLAG}), Gate.FLAG),
        (WRITE, Policy({WRITE: Gate.ALLOW}), Gate.ALLOW),
        (WRITE, Policy({READ: Gate.ALLOW}), Gate.DENY),
        (WRITE, Policy(OPEN, tools=(("kartra_x", Gate.HUMAN),)), Gate.HUMAN),
        (WRITE, Policy(OPEN, tools=(("kartra_y", Gate.HUMAN),)), Gate.ALLOW),
        (WRITE, Policy(OPEN, read_only=True), Gate.DENY),
        (READ, Policy(OPEN, read_only=True), Gate.ALLOW),
        (WRITE, Policy(OPEN, deny=("kartra_x",)), Gate.DENY),
        (WRITE, Policy(OPEN, allow=("kartra_y",)), Gate.DENY),
    ],
)
def test_the_gate_in_force_is_that_of_the_rules_or_deny(risk: Risk, rules: Policy, gate: Gate):
    assert gates.resolve_effective_gate(risk, iter(["kartra_x"]), rules) is gate


def test_a_tool_that_is_always_allowed_is_allowed_without_a_gate():
    assert gates.resolve_effective_gate(READ, ["kartra_status"], Policy()) is Gate.ALLOW


def test_the_gates_of_tools_are_listed_by_command_and_risk():
    rules = Policy(FLAGS, tools=(("kartra_edit_lead", Gate.HUMAN), ("kartra_other", Gate.PREVIEW)))
    assert gates.expand_tool_gates(["kartra_edit_lead", "kartra_other"], rules) == {
        "kartra_edit_lead (write)": Gate.HUMAN,
        "kartra_edit_lead (destructive)": Gate.HUMAN,
        **{f"kartra_other ({risk.label})": Gate.PREVIEW for risk in Risk},
    }
    closed = Policy({**FLAGS, WRITE: Gate.DENY}, tools=rules.tools)
    assert gates.expand_tool_gates(["kartra_edit_lead"], closed) == {
        "kartra_edit_lead (write)": Gate.DENY,
        "kartra_edit_lead (destructive)": Gate.HUMAN,
    }


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (Policy(OPEN), True),
        (Policy(FLAGS, tools=(("kartra_x", Gate.HUMAN),)), True),
        (Policy(), False),
        (Policy({READ: Gate.ALLOW, WRITE: Gate.ALLOW, DESTRUCTIVE: Gate.ALLOW}), False),
        (Policy({**OPEN, IRREVERSIBLE: Gate.DENY}), False),
        (Policy(OPEN, tools=(("kartra_x", Gate.DENY),)), False),
        (Policy(OPEN, read_only=True), False),
        (Policy(OPEN, allow=("kartra_x",)), False),
        (Policy(OPEN, deny=("kartra_x",)), False),
    ],
)
def test_rules_that_hide_nothing_have_no_denial_and_no_list(rules: Policy, *, expected: bool):
    assert gates.is_unrestricted(rules) is expected


@pytest.mark.parametrize("check_lead", [True, False])
def test_a_decision_carries_the_settings_of_its_rules(*, check_lead: bool):
    rules = Policy(OPEN, check_lead=check_lead, faults=(BAD_GATE,))
    decision = gates.evaluate_call(action_call(WRITE), rules)
    assert (decision.check_lead, decision.faults) == (check_lead, (BAD_GATE,))


# ── Refusals ──

BAD_READ_ONLY = "KARTRA_MCP_READ_ONLY has an unknown value"
BAD_GATE = "KARTRA_MCP_WRITE has an unknown value"
BAD_DENY = "KARTRA_MCP_DENY is not a list"
CORRECT = "The user should correct the setting and restart the server; kartra_status has all rules."
ASK = "Ask the person who set "

# Verdict, faults of the policy → code and start of the remedy.
REFUSALS: Mapping[str, tuple[Verdict, tuple[str, ...], str, str]] = {
    "read-only by choice": (Verdict.READ_ONLY, (), "read_only", f"{ASK}KARTRA_MCP_READ_ONLY."),
    "read-only by a bad value": (
        Verdict.READ_ONLY,
        (BAD_GATE, BAD_READ_ONLY),
        "read_only",
        f"{BAD_READ_ONLY}. {CORRECT}",
    ),
    "read-only by choice, beside a bad gate": (
        Verdict.READ_ONLY,
        (BAD_GATE,),
        "read_only",
        f"{ASK}KARTRA_MCP_READ_ONLY.",
    ),
    "not allowed by choice": (Verdict.NOT_ALLOWED, (), "not_allowed", f"{ASK}the allow and deny"),
    "not allowed by two bad values": (
        Verdict.NOT_ALLOWED,
        (BAD_GATE, BAD_READ_ONLY, BAD_DENY),
        "not_allowed",
        f"{BAD_GATE}. {BAD_DENY}. {CORRECT}",
    ),
    "not allowed by choice, beside a bad read-only": (
        Verdict.NOT_ALLOWED,
        (BAD_READ_ONLY,),
        "not_allowed",
        f"{ASK}the allow and deny",
    ),
    "a role": (Verdict.FORBIDDEN_ROLE, (BAD_GATE,), "forbidden_role", "Call kartra_status"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_names_the_bad_setting_that_caused_it_else_whom_to_ask(case: str):
    verdict, faults, code, remedy = REFUSALS[case]
    with pytest.raises(RefusedError) as caught:
        gates.raise_for_verdict(verdict, Policy(faults=faults))
    assert caught.value.code == code
    assert caught.value.message.endswith("Nothing was done.")
    assert caught.value.remedy.startswith(remedy)


def test_a_tool_that_is_listed_is_not_refused():
    gates.raise_for_verdict(None, Policy(faults=(BAD_GATE,)))


@given(
    names=st.lists(st.sampled_from(sorted(kartra.COMMANDS)), max_size=4),
    destructive=st.sampled_from([Gate.ALLOW, Gate.FLAG, Gate.DENY]),
    irreversible=st.sampled_from([Gate.ALLOW, Gate.FLAG, Gate.DENY]),
    read_only=st.booleans(),
)
def test_no_command_gets_through_in_company_that_is_stopped_alone(
    names: list[str], *, destructive: Gate, irreversible: Gate, read_only: bool
):
    rules = Policy({**OPEN, DESTRUCTIVE: destructive, IRREVERSIBLE: irreversible}, read_only)
    together = verdict_of(raw_call(*map(Command, names)), rules)
    order = [Verdict.RUN, Verdict.CONFIRM, Verdict.NOT_ALLOWED, Verdict.READ_ONLY]
    for name in names:
        alone = verdict_of(raw_call(Command(name)), rules)
        assert order.index(together) >= order.index(alone)
