"""The HTTP API as a process: address, end, log, concurrency."""

import json
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from http_process import ADA, KARTRA, REFUND, ROOT, Ask, introduced, put, refunds, start

from kartra_mcp.sandbox.http.request import LARGEST
from kartra_mcp.sandbox.store.database import Account


def test_both_ways_in_are_one_account(act: Ask, live: Account, served: Any):
    done = act(**REFUND, **KARTRA)["output"]["actions"][0]["refund_transaction"]
    assert done["status"] == "Success"
    line = [sys.executable, "-m", "kartra_mcp.sandbox", f"--account={served[0]}", "action", "run"]
    line += ["refund-transaction", '--input={"transaction_id":101}', "--json"]
    ended = subprocess.run(line, cwd=ROOT, capture_output=True, check=True)
    again = json.loads(ended.stdout)["output"]["actions"][0]["refund_transaction"]
    assert (again["type"], refunds(live)) == ("251", 1)


def test_of_sixteen_refunds_at_once_one_is_done(act: Ask, live: Account):
    with ThreadPoolExecutor(16) as pool:
        sent = [pool.submit(act, **REFUND, **KARTRA) for _ in range(16)]
        answers = [one.result() for one in sent]
    found = [one["output"]["actions"][0]["refund_transaction"] for one in answers]
    assert sorted(one["status"] for one in found) == ["Error"] * 15 + ["Success"]
    assert refunds(live) == 1
    assert len({one["actionRunId"] for one in answers}) == 16


def test_a_request_has_its_limit(api: Ask, live: Account):
    filler = {"input": {"x": "x" * LARGEST}, "key": "get-lead"}
    assert api("POST /act", 413, json=filler)["key"] == "request_too_large"
    under = {**REFUND, "meta": {"x": "x" * (LARGEST - 200)}}
    assert api("POST /act", json=under)["actionRunId"]
    assert refunds(live) == 1


def test_each_request_is_written_down_first(api: Ask, act: Ask, live: Account):
    act(**REFUND)
    api("GET /connections?limit=5")
    words = [line["argv"] for line in live.journal()]
    assert words[-2][:2] == ["POST", "/act"]
    assert json.loads(words[-2][2]) == REFUND
    assert words[-1] == ["GET", "/connections?limit=5", ""]
    assert "pat-" not in json.dumps(words)


def test_reading_leaves_the_account_as_it_was(api: Ask, act: Ask, live: Account):
    before = live.digest()
    act(key="get-lead", input=ADA)
    api("GET /action-run-logs")
    assert live.digest() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_even_with_an_open_request(tmp_path: Path, number: signal.Signals):
    process = start(tmp_path / "a.db")
    says = introduced(process)
    account = Account(str(tmp_path / "a.db"))
    put(account, "GET /self", "hang")
    headers = {"authorization": f"Bearer {says['token']}"}
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(httpx2.get, says["url"] + "/self", headers=headers, timeout=30)
        while account.number("SELECT count(*) FROM faults"):
            pass
        process.send_signal(number)
        assert process.wait(timeout=20) == 0
        assert isinstance(waiting.exception(), httpx2.TransportError)
    process.communicate()
    account.close()


@pytest.mark.parametrize(
    "words",
    [("--host=0.0.0.0",), ("--host=192.0.2.1",), ("--host=example.com",), ("--port=x",),
     ("--port=70000",)],
)  # fmt: skip
def test_it_listens_on_this_machine_alone(tmp_path: Path, words: tuple[str, ...]):
    process = start(tmp_path / "a.db", *words)
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert said.startswith("membrane (sandbox): ")


def test_a_port_in_use_is_reported(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start(tmp_path / "a.db", f"--port={taken.getsockname()[1]}", "--host=localhost")
        _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "cannot listen on localhost" in said


def test_an_account_of_the_version_before_is_brought_up_to_date(tmp_path: Path):
    account = Account(str(tmp_path / "a.db"))
    account.run("ALTER TABLE connections DROP COLUMN archived_at")
    account.run("ALTER TABLE faults DROP COLUMN after")
    account.run("DROP TABLE requests")
    account.run("PRAGMA user_version = 1")
    account.run("UPDATE leads SET first_name = 'Mine' WHERE id = 48110")
    account.close()
    again = Account(str(tmp_path / "a.db"))
    assert again.column("SELECT archived_at FROM connections") == [""]
    assert again.rows("SELECT after FROM faults UNION ALL SELECT n FROM requests") == []
    assert again.column("SELECT first_name FROM leads WHERE id = 48110") == ["Mine"]
    again.close()
