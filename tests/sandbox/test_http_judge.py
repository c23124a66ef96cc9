"""The API as a judge: the end of tokens, late arrival, late execution, and its journal."""

import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from http_process import REFUND, Ask, refunds

from kartra_mcp.sandbox.http import auth
from kartra_mcp.sandbox.kartra import fault_injection
from kartra_mcp.sandbox.store import judging, request_journal
from kartra_mcp.sandbox.store.database import Account

PATIENCE = 20.0
META = {"kartra_mcp_intent": "int_1"}


def token(ends: float, **more: Any) -> dict[str, str]:
    """Return the header of a token that ends so many seconds from now."""
    claims = {"workspaceKey": "sandbox", "tenantKey": "sandbox", "exp": time.time() + ends, **more}
    return {"authorization": f"Bearer {jwt.encode(claims, auth.SECRET, 'HS256')}"}


def put(account: Account, cmd: str, kind: str, message: str = "", after: float = 0.0) -> None:
    with account.transaction():
        effect = after > 0
        fault_injection.set_fault(account, cmd, kind, 1, message, effect=effect, after=after)


def until(holds: Callable[[], object]) -> None:
    ends = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < ends, "it never came"


def sent(live: Account) -> dict[str, Any]:
    """Return the journal of the one refund."""
    found = request_journal.list_requests(live)
    (row,) = [row for row in found if row["action"] == "refund_transaction"]
    return row


@pytest.mark.parametrize(
    ("leeway", "ends", "status"),
    [("0", -1, 401), ("0", 5, 200), ("5", -4, 200), ("5", -6, 401), ("any", -9999, 200)],
)
def test_a_token_is_accepted_until_its_end_and_the_leeway(
    api: Ask, live: Account, leeway: str, ends: float, status: int
):
    live.set(judging.LEEWAY, leeway)
    api("GET /connections", status, headers=token(ends))


@pytest.mark.parametrize(("ahead", "status"), [(100, 401), (-100, 200), (0, 401)])
def test_the_end_is_judged_by_the_clock_of_the_api(
    client: httpx2.Client, live: Account, ahead: float, status: int
):
    live.set(judging.AHEAD, str(ahead))
    found = client.get("/connections", headers=token(-50))
    assert found.status_code == status
    shown = parsedate_to_datetime(found.headers["date"]).timestamp()
    assert shown == pytest.approx(time.time() + ahead, abs=5)


def test_only_its_own_tenant_is_let_in(api: Ask, live: Account):
    live.set(judging.TENANT, "of others")
    api("GET /connections", 401, headers=token(60))
    assert api("GET /connections", headers=token(60, tenantKey="of others"))
    assert api("GET /self", headers=token(60, tenantKey="of others"))["internalId"] == "of others"


def test_a_request_is_journaled_with_its_token_and_effects(
    client: httpx2.Client, api: Ask, live: Account
):
    began = time.time()
    ends = began + 60
    body = {**REFUND, "meta": META}
    api("POST /act", json=body, headers=token(60, jti="att_1", exp=ends))
    row = sent(live)
    assert (row["method"], row["path"], row["meta"]) == ("POST", "/act", META)
    assert (row["token_id"], row["token_end"]) == ("att_1", ends)
    assert (row["decision"], row["reason"], row["status"]) == ("accepted", "", 200)
    assert began <= row["received_at"] <= row["applied_at"] <= row["answered_at"] <= time.time()
    (effect,) = row["effects"]
    assert (effect["cmd"], effect["arguments"]["transaction_id"]) == ("refund_transaction", 101)
    assert client.get("/connections").status_code == 200
    read = request_journal.list_requests(live)[-1]
    assert (read["path"], read["effects"], read["applied_at"]) == ("/connections", [], None)
    assert read["token_id"]
    assert read["token_end"] is None


def test_a_refused_request_is_journaled_and_changes_nothing(api: Ask, live: Account):
    api("POST /act", 401, json={**REFUND, "meta": META}, headers=token(-1))
    row = sent(live)
    assert (row["decision"], row["reason"]) == ("refused", "Access token has expired")
    assert (row["meta"], row["effects"], row["applied_at"], row["status"]) == (META, [], None, 401)
    assert refunds(live) == 0


def test_a_raw_request_is_journaled_by_its_commands(api: Ask, live: Account):
    (first, *_) = api("GET /connections")["items"]
    command = {"cmd": "refund_transaction", "transaction_id": 101}
    raw = {"method": "POST", "path": "/api", "data": {"actions": [command]}}
    api(f"POST /connections/{first['id']}/request", json=raw)
    assert sent(live)["effects"][0]["cmd"] == "refund_transaction"


@pytest.mark.parametrize("named", ["POST /act", "refund_transaction", "*"])
def test_a_request_that_is_received_late_is_judged_then(api: Ask, live: Account, named: str):
    live.set(judging.LEEWAY, "0")
    put(live, named, "delayed", "1.2")
    api("POST /act", 401, json=REFUND, headers=token(0.6))
    assert sent(live)["decision"] == "refused"
    assert refunds(live) == 0
    put(live, named, "delayed", "0.1")
    began = time.time()
    api("POST /act", json=REFUND, headers=token(30))
    assert request_journal.list_requests(live)[-1]["received_at"] >= began + 0.1
    assert refunds(live) == 1


def test_a_client_that_left_does_not_stop_its_request(client: httpx2.Client, live: Account):
    put(live, "POST /act", "delayed", "0.5")
    with pytest.raises(httpx2.ReadTimeout):
        client.post("/act", json=REFUND, timeout=0.2)
    assert not request_journal.list_requests(live)
    until(lambda: refunds(live))


def test_an_accepted_request_may_be_executed_later(api: Ask, live: Account):
    put(live, "refund_transaction", "queued", "0.8")
    done: list[Any] = []
    calling = threading.Thread(
        target=lambda: done.append(api("POST /act", json=REFUND, headers=token(0.9))), daemon=True
    )
    calling.start()
    until(lambda: request_journal.list_requests(live))
    assert (sent(live)["decision"], refunds(live)) == ("accepted", 0)
    calling.join(PATIENCE)
    assert done[0]["output"]["status"] == "Success"
    row = sent(live)
    assert row["applied_at"] >= row["received_at"] + 0.8
    assert refunds(live) == 1


@pytest.mark.parametrize("kind", ["killed", "internal"])
def test_an_effect_may_follow_a_lost_answer(client: httpx2.Client, live: Account, kind: str):
    put(live, "refund_transaction", kind, after=0.5)
    if kind == "killed":
        with pytest.raises(httpx2.RemoteProtocolError):
            client.post("/act", json=REFUND)
    else:
        assert client.post("/act", json=REFUND).status_code == 500
    assert refunds(live) == 0
    until(lambda: refunds(live))
    row = sent(live)
    assert (row["decision"], bool(row["answered_at"])) == ("accepted", kind == "internal")
    assert row["applied_at"] >= row["received_at"] + 0.5
    logs = client.get("/action-run-logs").json()["items"]
    assert [log["status"] for log in logs] == ["success"]


def test_a_program_is_not_delayed(tmp_path: Path):
    account = Account(str(tmp_path / "a.db"))
    put(account, "refund_transaction", "queued", "5")
    assert fault_injection.take_outer_fault(account, "refund_transaction") is None
    account.close()
