"""Raw requests to paths other than Kartra's endpoint: judged by the words of the path."""

from __future__ import annotations

from typing import Any

import pytest
from harness import Sandbox, call, connect
from hostile_requests import SEARCH

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Risk, ValidatedCall
from kartra_mcp.kartra.operations import derive_operation
from kartra_mcp.kartra.request_guard import (
    parse_request,
    reject_dedicated_commands,
    require_read_only,
)
from kartra_mcp.policy.risk import request_risk

READ_TOOL, WRITE_TOOL = "kartra_proxy_read", "kartra_proxy_write"


def request(method: str, path: str, **more: Any) -> dict[str, Any]:
    return {"method": method, "path": path, **more}


REFUSED = {
    "a refund of a transaction": (request("POST", "/transactions/101/refund"), "refund"),
    "a refund by GET": (request("GET", "/transactions/101/refund"), "refund"),
    "a refund by PUT": (request("PUT", "/transactions/101/refund"), "refund"),
    "a list of refunds that is added to": (request("POST", "/refunds"), "refund"),
    "a refund in camel case": (request("POST", "/api/refundTransaction"), "refund"),
    "a refund in one word": (request("POST", "/refundtransaction/101"), "refund"),
    "a refund behind another verb": (request("GET", "/issue-refund"), "refund"),
    "a refund with a body of reads": (
        request("POST", "/transactions/101/refund", json={"actions": [SEARCH]}),
        "refund",
    ),
    "a refund percent-encoded": (request("POST", "/transactions/101/%72efund"), "refund"),
    "a refund as a parameter": (
        request("POST", "/transactions/101/{verb}", path_params={"verb": "refund"}),
        "refund",
    ),
    "a refund named by the query": (
        request("GET", "/index.php", query={"action": "refund", "id": "101"}),
        "refund",
    ),
    "a refund named by the body": (request("POST", "/do", json={"operation": "refund"}), "refund"),
    "a refund named at the endpoint": (
        request("POST", "/api", form={"action": "refund_transaction", "id": 1}),
        "refund",
    ),
    "a cancellation": (request("POST", "/subscriptions/5/cancel"), "cancel"),
    "a cancellation by GET": (request("GET", "/subscriptions/5/cancel"), "cancel"),
    "a cancellation by DELETE": (request("DELETE", "/subscriptions/5/cancel"), "cancel"),
    "a cancellation by PATCH": (request("PATCH", "/subscriptions/5/cancel"), "cancel"),
    "a cancellation as a noun": (request("POST", "/cancellations"), "cancel"),
    "a cancellation by its command": (request("GET", "/api/cancel_transaction"), "cancel"),
}


@pytest.mark.parametrize(("arguments", "word"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("judge", [require_read_only, reject_dedicated_commands])
def test_a_path_that_refunds_or_cancels_is_refused_by_both_tools(arguments, word, judge):
    parsed = parse_request(arguments)
    assert request_risk(parsed) is Risk.IRREVERSIBLE
    with pytest.raises(RefusedError) as caught:
        judge(parsed)
    assert caught.value.code == "forbidden_request"
    tools = {"refund": "kartra_refund_transaction", "cancel": "kartra_cancel_subscription"}
    assert tools[word] in caught.value.remedy


JUDGED = {
    # a GET reads, unless its path has a verb
    "transactions": (request("GET", "/transactions"), Risk.READ),
    "one transaction": (request("GET", "/transactions/101"), Risk.READ),
    "the refunds of a transaction": (request("GET", "/transactions/101/refunds"), Risk.READ),
    "all charges": (request("GET", "/v1/charges"), Risk.READ),
    "one charge": (request("GET", "/v1/charge/5"), Risk.READ),
    "cancelled subscriptions": (request("GET", "/subscriptions/cancelled"), Risk.READ),
    "reads by status": (request("GET", "/subscriptions", query={"status": "refunded"}), Risk.READ),
    "the mail of a lead": (request("GET", "/leads/5/email"), Risk.READ),
    "a search": (request("GET", "/leads/search"), Risk.READ),
    "a known read": (request("GET", "/api/get_transaction_details"), Risk.READ),
    "a GET that deletes": (request("GET", "/leads/5/delete"), Risk.DESTRUCTIVE),
    "a GET that pauses": (request("GET", "/subscriptions/5/pause"), Risk.DESTRUCTIVE),
    "a GET that charges": (request("GET", "/customers/5/charge"), Risk.IRREVERSIBLE),
    "a GET that purges": (request("GET", "/leads/5/purge"), Risk.IRREVERSIBLE),
    "a GET of a known write": (request("GET", "/api/edit_lead"), Risk.DESTRUCTIVE),
    "a GET whose query deletes": (
        request("GET", "/index.php", query={"action": "delete_lead"}),
        Risk.DESTRUCTIVE,
    ),
    # every other method is destructive at least
    "a POST": (request("POST", "/tags"), Risk.DESTRUCTIVE),
    "a PUT": (request("PUT", "/leads/5"), Risk.DESTRUCTIVE),
    "a DELETE": (request("DELETE", "/leads/5"), Risk.DESTRUCTIVE),
    "a booking that is cancelled": (request("POST", "/api/calendar_cancel"), Risk.DESTRUCTIVE),
    "a cancellation that is undone": (
        request("POST", "/subscriptions/5/uncancel"),
        Risk.DESTRUCTIVE,
    ),
    "a payment": (request("POST", "/payments"), Risk.IRREVERSIBLE),
    "a charge": (request("POST", "/customers/5/charge"), Risk.IRREVERSIBLE),
    "a payout": (request("POST", "/payouts", json={"amount": 5000}), Risk.IRREVERSIBLE),
    "a purge": (request("POST", "/leads/5/purge"), Risk.IRREVERSIBLE),
    "a subscription that is deleted": (request("DELETE", "/subscriptions/5"), Risk.IRREVERSIBLE),
    "a status of cancelled": (
        request("PATCH", "/subscriptions/5", json={"status": "cancelled"}),
        Risk.IRREVERSIBLE,
    ),
    "a cancellation at the end of the period": (
        request("PATCH", "/subscriptions/5", json={"cancel_at_period_end": True}),
        Risk.IRREVERSIBLE,
    ),
    "a known command in the path": (request("PUT", "/api/edit_subscription"), Risk.IRREVERSIBLE),
    # the documented endpoint is judged by its commands alone
    "the endpoint": (request("POST", "/api", json={"actions": [SEARCH]}), Risk.READ),
    "the endpoint with a slash": (request("POST", "/api/", json={"actions": [SEARCH]}), Risk.READ),
    "the root": (request("POST", "/", json={"actions": [SEARCH]}), Risk.READ),
    "a read sent elsewhere": (
        request("POST", "/leads", json={"actions": [SEARCH]}),
        Risk.DESTRUCTIVE,
    ),
}


@pytest.mark.parametrize(("arguments", "risk"), JUDGED.values(), ids=JUDGED)
def test_the_words_of_a_raw_path_decide_its_risk(arguments, risk):
    parsed = parse_request(arguments)
    assert request_risk(parsed) is risk
    if risk is Risk.READ:
        require_read_only(parsed)
    else:
        with pytest.raises(RefusedError):
            require_read_only(parsed)


def operation(arguments: dict[str, Any]):
    parsed = parse_request(arguments)
    return derive_operation(
        ValidatedCall(WRITE_TOOL, "Raw", parsed, request_risk(parsed), frozenset())
    )


def test_a_raw_path_that_moves_money_counts_against_the_caps():
    paid = operation(request("POST", "/payouts", json={"amount": 5000}))
    assert paid.moves_money
    assert str(paid.amount) == "5000.00"
    assert operation(request("POST", "/payouts")).moves_money
    assert not operation(request("POST", "/tags")).moves_money


def test_two_values_of_a_path_parameter_are_two_operations():
    one, other = (operation(request("PUT", "/leads/{id}", path_params={"id": id_})) for id_ in "56")
    assert one.digest != other.digest
    assert one.name != other.name


FRONT_DOOR = {
    "the read tool sends no refund": (READ_TOOL, request("POST", "/transactions/101/refund")),
    "the read tool sends no refund beside reads": (
        READ_TOOL,
        request("POST", "/transactions/101/refund", json={"actions": [SEARCH]}),
    ),
    "the read tool sends no deletion": (READ_TOOL, request("GET", "/leads/1/delete")),
    "the write tool sends no cancellation": (
        WRITE_TOOL,
        request("POST", "/subscriptions/5/cancel", confirm=True),
    ),
}


@pytest.mark.anyio
@pytest.mark.parametrize(("tool", "arguments"), FRONT_DOOR.values(), ids=FRONT_DOOR)
async def test_a_raw_path_is_refused_before_anything_is_sent(sandbox: Sandbox, tool, arguments):
    async with connect(sandbox, "legacy") as client:
        answer = await call(client, tool, **arguments)
    assert answer.error["code"] == "forbidden_request"
    assert not sandbox.runs()


@pytest.mark.anyio
async def test_a_raw_path_under_read_only_is_not_sent(sandbox: Sandbox):
    sandbox.settings["READ_ONLY"] = "on"
    async with connect(sandbox, "legacy") as client:
        answer = await call(client, READ_TOOL, **request("POST", "/payments", json={"amount": 1}))
    assert answer.error["code"] == "forbidden_request"
    assert not sandbox.runs()


@pytest.mark.anyio
async def test_a_raw_payment_is_previewed_and_capped(sandbox: Sandbox):
    sandbox.settings |= {"GATE_IRREVERSIBLE": "preview", "CAP_REFUND": "10", "CAP_DAY_COUNT": "5"}
    pays = request("POST", "/payments", json={"amount": 5000})
    async with connect(sandbox, "legacy") as client:
        answer = await call(client, WRITE_TOOL, **pays)
    assert answer.error["code"] in ("cap_reached", "confirmation_required")
    assert not sandbox.runs()
    sandbox.settings |= {"CAP_DAY_COUNT": "0"}
    async with connect(sandbox, "legacy") as client:
        answer = await call(client, WRITE_TOOL, **pays)
        if answer.error["code"] == "confirmation_required":
            shown = answer.error["confirmation"]
            answer = await call(
                client,
                WRITE_TOOL,
                **pays,
                confirm=True,
                confirmation_id=shown["id"],
                confirmation_summary=shown["summary"],
            )
    assert answer.error["code"] == "cap_reached"
    assert not sandbox.runs()
