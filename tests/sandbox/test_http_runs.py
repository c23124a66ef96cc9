"""Runs over HTTP, their logs, and forwarded requests."""

import json
from typing import Any

import httpx2
import pytest
from http_process import ADA, KARTRA, REFUND, Ask, put, refunds

from kartra_mcp.sandbox.store import seed
from kartra_mcp.sandbox.store.database import Account


@pytest.mark.parametrize(
    "body",
    [
        {}, {"key": "get-lead", "id": "x"}, {"key": "get-lead", "dryRun": True},
        {"key": "get-lead", "api": {"method": "GET", "path": "/"}}, {"key": 7},
        {"key": "get-lead", "meta": None}, {"key": "get-lead", "meta": "i1"},
        {"key": "get-lead", "connectionId": None}, {"api": {"method": "HEAD", "path": "/api"}},
        {"api": {"method": "GET"}}, {"api": {"method": "GET", "path": "/", "headers": {"a": 1}}},
        {"api": {"method": "GET", "path": "/", "query": {"a": []}}},
    ],
)  # fmt: skip
def test_the_body_of_act_is_strict(act: Ask, live: Account, body: dict[str, Any]):
    error = act(400, **body)
    assert (error["type"], error["key"]) == ("bad_request", "validation_error")
    assert live.number("SELECT count(*) FROM run_logs") == 0


@pytest.mark.parametrize("content", [b"{", b"[]", b'"x"', b"null", b"\xff"])
def test_a_body_other_than_an_object_is_refused(api: Ask, content: bytes):
    header = {"content-type": "application/json"}
    assert api("POST /act", 400, content=content, headers=header)["key"] == "validation_error"


def test_a_body_that_is_not_declared_as_json_is_not_read(api: Ask, live: Account):
    assert api("POST /act", 400, content=json.dumps(REFUND))["key"] == "validation_error"
    assert refunds(live) == 0


def test_code_is_not_run(act: Ask):
    assert act(403, code="1")["key"] == "access_denied"


def test_without_a_connection_the_first_is_taken_in_silence(act: Ask, api: Ask, live: Account):
    number = act(key="get-lead", input=ADA)["actionRunId"]
    assert api(f"GET /action-run-logs/{number}")["connectionId"] == seed.CONNECTION
    live.run("UPDATE connections SET n = 9")
    made = api("POST /connections/ensure", json={"appUrl": "https://mailer.example.com/x"})
    live.run("UPDATE connections SET n = 1, state = 'READY' WHERE id = ?", made["id"])
    assert act(404, key="get-lead", input=ADA)["message"].endswith("on this connection")
    for where in (KARTRA, {"connectionKey": "kartra"}, {"integrationKey": "kartra"},
                  {"integrationId": seed.INTEGRATION}):  # fmt: skip
        assert act(key="get-lead", input=ADA, **where)["output"]["status"] == "Success"
    assert act(404, key="get-lead", integrationKey="none")["key"] == "not_found"
    assert act(404, key="get-lead", connectionId="none", connectionKey="kartra")


def test_the_deprecated_run(api: Ask, live: Account):
    body = {"input": {"transaction_id": 101}, "meta": {"intent": "i1"}, "dryRun": True}
    ran = api(f"POST /actions/refund-transaction/run?connectionId={seed.CONNECTION}", json=body)
    assert api(f"GET /action-run-logs/{ran['actionRunId']}")["meta"] == {"intent": "i1"}
    assert refunds(live) == 1
    api("POST /action/run?key=get-lead", json={"input": ADA})
    there = f"POST /connections/{seed.CONNECTION}/actions/get-lead/run"
    assert api(there, json=ADA)["output"]["lead_details"]["id"] == "48110"


def test_a_log_keeps_meta_and_its_action_can_be_sent_again(act: Ask, api: Ask):
    number = act(key="get-lead", input=ADA, meta={"intent": {"n": [1]}}, **KARTRA)["actionRunId"]
    log = api(f"GET /action-run-logs/{number}")
    assert (log["status"], log["meta"]) == ("success", {"intent": {"n": [1]}})
    assert act(**log["action"])["output"] == log["output"]
    found = api(f"GET /action-run-logs/{number}/details")["details"]["response"]
    assert found == log["output"]
    assert api(f"GET /action-run-logs/{number}?details=true")["details"]["response"] == found
    assert api("GET /action-run-logs/none/details", 404)["key"] == "not_found"


def test_logs_are_filtered_and_the_newest_comes_first(act: Ask, api: Ask, live: Account):
    numbers = [act(key="get-lead", input=ADA, **KARTRA)["actionRunId"] for _ in range(5)]
    failed = act(400, key="refund-transaction", **KARTRA)["data"]["actionRunId"]
    days = [*(f"2026-01-0{day}T00:00:00.000Z" for day in range(1, 6)), "2026-02-01T00:00:00.000Z"]
    for number, day in zip([*numbers, failed], days, strict=True):
        live.run("UPDATE run_logs SET at = ? WHERE id = ?", day, number)

    def ids(**query: str) -> list[str]:
        return [one["id"] for one in api("GET /action-run-logs", params=query)["items"]]

    assert ids() == [failed, *reversed(numbers)]
    assert ids(status="error") == [failed]
    assert ids(status="success", to="2026-01-02T00:00:00Z") == [numbers[1], numbers[0]]
    assert ids(**{"from": "2026-01-05T01:00:00+01:00"}) == [failed, numbers[4]]
    assert ids(**{"from": "2026-01-05", "to": "2026-01-31"}) == [numbers[4]]
    assert ids(connectionId="none") == ids(actionId="none") == []
    assert len(ids(integrationId=seed.INTEGRATION)) == 6
    for bad in ({"status": "done"}, {"from": "soon"}, {"limit": "0"}, {"cursor": "-"}):
        assert api("GET /action-run-logs", 400, params=bad)["key"] == "validation_error"


def test_pages_of_logs_stay_whole_while_new_ones_come(act: Ask, api: Ask):
    numbers = [act(key="get-lead", input=ADA)["actionRunId"] for _ in range(5)]
    first = api("GET /action-run-logs?limit=3")
    act(key="get-lead", input=ADA)
    rest = api(f"GET /action-run-logs?limit=3&cursor={first['cursor']}")
    assert [one["id"] for one in first["items"] + rest["items"]] == numbers[::-1]
    assert "cursor" not in rest


def test_a_request_is_passed_on_as_it_is(client: httpx2.Client, live: Account):
    to = f"/connections/{seed.CONNECTION}/proxy"
    form = {"content-type": "application/x-www-form-urlencoded"}
    body = "app_id=mine&actions[0][cmd]=refund_transaction&actions[0][transaction_id]=101"
    answer = client.post(f"{to}/api/", content=body, headers=form)
    assert answer.json()["actions"][0]["refund_transaction"]["status"] == "Success"
    assert refunds(live) == 1
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        answer = client.request(method, f"{to}/api?x=1", content=body)
        assert (answer.status_code, answer.json()["type"]) == (200, "224")
    lost = client.get(f"{to}/nothing")
    assert (lost.status_code, lost.text) == (404, "<h1>404 Not Found</h1>")
    assert lost.headers["content-type"].startswith("text/html")
    assert client.get(f"/connections/kartra/proxy/{'https://evil.example.com/api'}").is_error
    put(live, "get_lead", "429")
    limited = client.post(f"{to}/api", json={"get_lead": {"id": 48110}})
    assert (limited.status_code, limited.text) == (429, "Too many requests")


def test_a_request_that_is_described(api: Ask):
    to = f"POST /connections/{seed.CONNECTION}/request"
    body = {"method": "post", "path": "/{x}", "pathParameters": {"x": "api"}, "query": {"a": "1"}}
    answer = api(to, json={**body, "data": {"get_lead": {"id": 48110}}})
    assert (answer["status"], answer["body"]["lead_details"]["first_name"]) == (200, "Ada")
    assert api(to, json={"method": "GET", "path": "/x"})["status"] == 404
    for bad in ({}, {"method": "HEAD", "path": "/"}, {**body, "headers": {"a": 1}}):
        assert api(to, 400, json=bad)["key"] == "validation_error"
