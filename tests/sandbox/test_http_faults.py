"""Faults over HTTP: errors with their status, and unreadable answers."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from http_process import ADA, REFUND, Ask, put, refunds

from kartra_mcp.sandbox.store.database import Account


@pytest.mark.parametrize(
    ("kind", "status", "type_"),
    [
        ("internal", 500, "internal"), ("not_authenticated", 401, "bad_request"),
        ("access_denied", 403, "bad_request"), ("rate_limit_exceeded", 429, "bad_request"),
        ("lock_timeout", 400, "concurrency"), ("access_token_expired", 400, "connection"),
    ],
)  # fmt: skip
def test_a_switch_is_an_envelope_with_its_status(
    act: Ask, api: Ask, live: Account, kind: str, status: int, type_: str
):
    put(live, "get_lead", kind, "Because.")
    error = act(status, key="get-lead", input=ADA)
    assert (error["type"], error["key"], error["message"]) == (type_, kind, "Because.")
    put(live, "GET /connections", kind)
    assert act(key="get-lead", input=ADA)
    assert api("GET /connections", status)["key"] == kind
    assert api("GET /connections")["items"]


def test_the_answer_of_kartra_is_in_the_cause(act: Ask, live: Account):
    error = act(400, api={"method": "GET", "path": "/nothing"})
    assert (error["type"], error["causedByError"]["data"]["response"]["status"]) == (
        "action_run",
        404,
    )
    put(live, "get_lead", "429")
    error = act(400, key="get-lead", input=ADA)
    assert (error["type"], error["key"]) == ("connection", "rate_limit_exceeded")


@pytest.mark.parametrize("effect", [False, True])
@pytest.mark.parametrize("kind", ["killed", "cut", "silent", "garbage"])
def test_an_answer_is_lost_before_or_after_the_deed(
    client: httpx2.Client, live: Account, kind: str, *, effect: bool
):
    put(live, "refund_transaction", kind, effect=effect)
    if kind in {"killed", "cut"}:
        with pytest.raises(httpx2.RemoteProtocolError):
            client.post("/act", json=REFUND)
    else:
        answer = client.post("/act", json=REFUND)
        assert answer.status_code == {"silent": 500, "garbage": 502}[kind]
        assert ("<html>" in answer.text) == (kind == "garbage")
    assert refunds(live) == int(effect)
    logs = client.get("/action-run-logs").json()["items"]
    assert [log["status"] for log in logs] == (["success"] if effect else [])


def test_an_answer_may_never_come_while_others_are_answered(client: httpx2.Client, live: Account):
    put(live, "refund_transaction", "hang", effect=True)
    with pytest.raises(httpx2.ReadTimeout):
        client.post("/act", json=REFUND, timeout=0.3)
    put(live, "POST /act", "hang")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.post, "/act", json=REFUND, timeout=2)
        while live.number("SELECT count(*) FROM faults"):
            pass
        assert client.get("/connections").status_code == 200
        assert isinstance(waiting.exception(), httpx2.ReadTimeout)
    assert refunds(live) == 1


def test_an_answer_may_come_late(client: httpx2.Client, live: Account):
    put(live, "refund_transaction", "slow", "0.5")
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(client.post, "/act", json=REFUND)
        while not refunds(live):
            pass
        assert client.get("/connections").status_code == 200
        assert not late.done()
        assert late.result().json()["actionRunId"]
    assert time.monotonic() - began >= 0.5
