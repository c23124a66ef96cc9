"""Actions that are not in the table: what runs unasked, what is shown, and what is recorded.

Bug: a word in a key made them a refund or a cancellation, so that the real one was refused later.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from consent_actors import CANCEL, REFUND, confirmed, lines
from harness import Answer, StandIn, action, call, connect, healthy

pytestmark = pytest.mark.anyio

BY_ID, LIST, EDIT, MAKE = (
    "find-data-record-by-id",
    "list-data-records",
    "update-data-record",
    "create-data-record",
)
LOOKS_LIKE_ANOTHER: dict[str, tuple[str, dict[str, Any]]] = {
    # the key: its type, and arguments that name the object of a known command
    "get-refund": (BY_ID, {"transaction_id": 101}),
    "list-refunds": (LIST, {}),
    "get-cancellation-reason": (BY_ID, {"subscription_id": 5001}),
    "send-refund-email": (MAKE, {"transaction_id": 101}),
    "cancel-appointment": (EDIT, {"id": 5001}),
    "cancel-booking": (EDIT, {"id": 101}),
    "cancel-membership": (EDIT, {"membership": "Circle"}),
    "uncancel-subscription": (EDIT, {"subscription_id": 5001}),
    "void-coupon": (EDIT, {"coupon": "SPRING"}),
}
OPEN = {"type": "object", "additionalProperties": True, "properties": {}}


def unknown(key: str, kind: str, given: dict[str, Any], **more: Any) -> dict[str, Any]:
    schema = {**OPEN, "properties": {name: {} for name in given}}
    return action(key, type=kind, inputSchema=schema, **more)


def published(key: str, *names: str) -> dict[str, Any]:
    return action(key, inputSchema={**OPEN, "properties": {name: {} for name in names}})


def place_of(folder: Path, *actions: dict[str, Any], **settings: str) -> StandIn:
    return StandIn(folder, settings).plan(**healthy(*actions))


def tool_of(key: str) -> str:
    return f"kartra_{key.replace('-', '_')}"


async def agree(client: Any, tool: str, given: dict[str, Any]) -> tuple[Answer, str]:
    """Call a tool with all the consent it asks for; return the answer and the preview's text."""
    first = await call(client, tool, **given)
    if not first.failed or first.code != "confirmation_required":
        return first, ""
    shown = "confirmation" in first.error
    consent = confirmed(first) if shown else {"confirm": True}
    return await call(client, tool, **given, **consent), first.text


@pytest.mark.parametrize("key", LOOKS_LIKE_ANOTHER)
async def test_an_unknown_action_is_neither_a_refund_nor_a_cancellation(tmp_path, key: str):
    kind, given = LOOKS_LIKE_ANOTHER[key]
    place = place_of(
        tmp_path,
        unknown(key, kind, given),
        published("refund-transaction", "transaction_id"),
        published("cancel-subscription", "subscription_id"),
        GATE_IRREVERSIBLE="preview",
    )
    async with connect(place, "legacy") as client:
        done, shown = await agree(client, tool_of(key), given)
        assert not done.failed, done.text
        for text in (shown, done.text):
            assert "REFUND FULL" not in text
            assert "CANCEL " not in text
        assert {line["operation"] for line in lines(place, "intent")} <= {key}
        # A real refund and cancellation of the same object are asked about, never refused.
        refund = await call(client, REFUND, transaction_id=101)
        cancel = await call(client, CANCEL, subscription_id=5001)
        assert (refund.code, cancel.code) == ("confirmation_required", "confirmation_required")


@pytest.mark.parametrize("key", ["cancel-appointment", "archive-lead", "merge-deals", "ship-it"])
async def test_the_id_of_an_unknown_action_is_not_called_a_transaction(tmp_path, key: str):
    """Bug: `cancel-appointment {id: 5001}` was shown and recorded as on transaction 5001."""
    gates = {"GATE_DESTRUCTIVE": "preview", "GATE_IRREVERSIBLE": "preview"}
    place = place_of(tmp_path, unknown(key, EDIT, {"id": 5001}), **gates)
    async with connect(place, "legacy") as client:
        done, shown = await agree(client, tool_of(key), {"id": 5001})
        (line,) = (await call(client, "kartra_ledger")).result["lines"]
    assert json.loads(shown)["error"]["confirmation"]["summary"].count("on id 5001") == 1
    assert done.structured
    assert "id 5001" in done.structured["receipt"]["done"]
    assert (line["target_kind"], line["target"]) == ("id", "5001")
    assert "transaction 5001" not in shown + done.text


NEVER_UNASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "create-payment": (MAKE, {"amount": 5000}),
    "capture-payment": (MAKE, {"amount": 5000}),
    "pay-affiliate-commission": (MAKE, {"value": 5000}),
    "send-broadcast": (MAKE, {"text": "Hello"}),
    "archive-lead": (EDIT, {"id": 7}),
    "terminate-membership": (EDIT, {"id": 7}),
    "merge-leads": (EDIT, {"id": 7}),
    "find-or-create-lead": ("search-data-record", {"email": "a@example.com"}),
}


@pytest.mark.parametrize("key", NEVER_UNASKED)
@pytest.mark.parametrize("settings", [{}, {"READ_ONLY": "on"}], ids=["default", "read only"])
async def test_what_moves_money_sends_or_destroys_never_runs_unasked(
    tmp_path, key: str, settings: dict[str, str]
):
    kind, given = NEVER_UNASKED[key]
    place = place_of(tmp_path, unknown(key, kind, given), **settings)
    async with connect(place, "legacy") as client:
        answer = await call(client, tool_of(key), **given)
    expected = "read_only" if settings else "confirmation_required"
    assert (answer.code, answer.executed) == (expected, "no")
    assert place.runs() == []


async def test_a_read_by_its_key_that_deletes_by_its_name_is_no_read(tmp_path):
    deletes = unknown("get-lead", BY_ID, {"lead_id": 7}, name="Delete Lead Permanently")
    place = place_of(tmp_path, deletes, READ_ONLY="on")
    async with connect(place, "legacy") as client:
        answer = await call(client, "kartra_get_lead", lead_id=7)
    assert answer.code == "read_only"
    assert place.runs() == []


MONEY = [key for key, (_, given) in NEVER_UNASKED.items() if {"amount", "value"} & given.keys()]
CAPS = [{"CAP_REFUND": "100"}, {"CAP_DAY_AMOUNT": "100"}, {"CAP_DAY_COUNT": "0"}]


@pytest.mark.parametrize("cap", CAPS, ids=lambda cap: next(iter(cap)))
@pytest.mark.parametrize("key", MONEY)
async def test_an_unknown_payment_passes_no_cap(tmp_path, key: str, cap: dict[str, str]):
    kind, given = NEVER_UNASKED[key]
    place = place_of(tmp_path, unknown(key, kind, given), GATE_IRREVERSIBLE="allow", **cap)
    async with connect(place, "legacy") as client:
        answer = await call(client, tool_of(key), **given)
    assert (answer.code, answer.executed) == ("cap_reached", "no")
    assert place.runs() == []


async def test_an_unknown_payment_does_not_run_twice(tmp_path):
    """Bug: `create-payment {amount: 5000}` ran twice unasked."""
    kind, given = NEVER_UNASKED["create-payment"]
    place = place_of(tmp_path, unknown("create-payment", kind, given), GATE_IRREVERSIBLE="allow")
    async with connect(place, "legacy") as client:
        assert not (await call(client, "kartra_create_payment", **given)).failed
        again = await call(client, "kartra_create_payment", **given)
    assert (again.code, again.executed) == ("already_done", "no")
    assert len(place.runs()) == 1


@pytest.mark.parametrize("key", ["send-broadcast", "send-refund-email", "notify-lead"])
async def test_an_unknown_action_that_sends_counts_as_mail(tmp_path, key: str):
    gates = {"GATE_DESTRUCTIVE": "allow", "GATE_IRREVERSIBLE": "allow", "MAIL_PER_HOUR": "1"}
    place = place_of(tmp_path, unknown(key, MAKE, {"text": ""}), **gates)
    async with connect(place, "legacy") as client:
        assert not (await call(client, tool_of(key), text="one")).failed
        second = await call(client, tool_of(key), text="two")
    assert (second.code, second.executed) == ("approval_required", "no")
    assert len(place.runs()) == 1


PUBLISHED_READS = {"Get Lead": {"lead_id": 7}, "Retrieve Account Tags": {}}


@pytest.mark.parametrize("name", PUBLISHED_READS)
async def test_a_published_read_without_a_key_does_not_ask(tmp_path, name: str):
    given = PUBLISHED_READS[name]
    place = place_of(tmp_path, {**unknown("x", "", given, name=name), "key": ""})
    async with connect(place, "legacy") as client:
        answer = await call(client, tool_of(name.lower().replace(" ", "-")), **given)
    assert not answer.failed, answer.text


UNKNOWN_VERBS: dict[str, str] = {
    "log-visit": "already_done",
    "adjust-balance": "already_done",
    "bump-score": "already_done",
    "bulk-create-notes": "already_done",
    "set-score": "",
    "archive-note": "",
    "mark-visit": "",
}


async def test_a_verb_that_is_not_known_may_add(tmp_path: Path):
    """Bug: a balance was adjusted twice by two equal calls, since "adjust" was in no list."""
    actions = [action(key, type="create-data-record") for key in UNKNOWN_VERBS]
    steps = {verb.replace(" ", "_"): step for verb, step in healthy(*actions).items()}
    gates = {"GATE_DESTRUCTIVE": "allow", "EXPOSE": "all"}
    found: dict[str, str] = {}
    async with connect(StandIn(tmp_path, gates).plan(**steps), "legacy") as client:
        for key in UNKNOWN_VERBS:
            tool = f"kartra_{key.replace('-', '_')}"
            assert not (await call(client, tool)).failed
            second = await call(client, tool)
            found[key] = second.code if second.failed else ""
    assert found == UNKNOWN_VERBS
