"""`kartra-mcp serve --http` as a process: real tokens, and signals while writes run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import pytest
from ledger_stores import APP
from polling import wait_for
from postgres_server import PostgresServer, running_postgres
from service_world import HOST, Caller, TeamWorld, connect, raw_request, team_world

from kartra_mcp.sandbox.identity.provider import IdentityProvider
from kartra_mcp.sandbox.identity.server import running_identity
from kartra_mcp.sandbox.kartra import fault_injection
from kartra_mcp.sandbox.store.database import Account

GIVE, ADA = "kartra_give_points_to_lead", 48110
ENDED_AT_ONCE = 143


@dataclass
class Database:
    server: PostgresServer


@pytest.fixture(scope="module")
def identity() -> Iterator[IdentityProvider]:
    with running_identity() as provider:
        yield provider


@pytest.fixture(scope="module")
def world(identity: IdentityProvider) -> Iterator[TeamWorld]:
    with (
        TemporaryDirectory() as folder,
        TemporaryDirectory(prefix="kartra-mcp-service-") as data,
        running_postgres(Path(data) / "data") as server,
    ):
        server.run_sql(f"CREATE ROLE {APP} LOGIN")
        with team_world(Path(folder), Database(server), identity.issuer) as world:
            world.add_account("Main shop")
            yield world


@dataclass
class Served:
    """A running replica, what it logged, and a person at it."""

    process: subprocess.Popen[str]
    port: int
    caller: Caller
    metrics: str

    def wait_for_log(self, event: str) -> dict[str, Any]:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            found = json.loads(line)
            if found["event"] == event:
                return found
        raise AssertionError(event)


@contextmanager
def serving(world: TeamWorld, identity: IdentityProvider) -> Generator[Served]:
    (account,) = world.sandboxes
    environment = {
        "HOME": str(world.folder),
        "PATH": "/usr/bin:/bin",
        "KARTRA_MCP_STATE_DIR": str(world.folder / "state"),
        "KARTRA_MCP_TEAM": str(world.file),
        "KARTRA_MCP_HTTP": "127.0.0.1:0",
        "KARTRA_MCP_METRICS": "127.0.0.1:0",
    }
    words = [sys.executable, "-m", "kartra_mcp", "serve", "--http"]
    process = subprocess.Popen(
        words, stderr=subprocess.PIPE, text=True, env=environment, cwd=Path(__file__).parents[1]
    )
    try:
        token = identity.access_token("sam", f"https://{HOST}/a/{account}/mcp")
        served = Served(process, 0, Caller("", account, token), "")
        served.metrics = served.wait_for_log("metrics")["address"]
        address = served.wait_for_log("serving")["address"]
        served.port = int(address.rpartition(":")[2])
        served.caller.address = f"http://{address}"
        yield served
    finally:
        process.kill()
        process.communicate()


def answer_late(world: TeamWorld, seconds: float) -> None:
    (place,) = world.sandboxes.values()
    with closing(Account(str(place.file))) as account, account.transaction():
        kind, command = fault_injection.SLOW, "give_points_to_lead"
        fault_injection.set_fault(account, command, kind, 1, f"{seconds}", effect=True)


def has_given(world: TeamWorld, points: int) -> bool:
    (place,) = world.sandboxes.values()
    return bool(place.rows("SELECT 1 FROM points WHERE points = ?", points))


def test_a_replica_ends_without_cutting_off_a_write(world: TeamWorld, identity: IdentityProvider):
    with serving(world, identity) as served:
        sam = served.caller
        assert sam.call("kartra_get_lead", lead_id=ADA).code == "done"
        figures = httpx2.get(f"http://{served.metrics}/metrics").text
        assert 'tool="kartra_get_lead"' in figures
        assert "kartra_mcp_unknown{" in figures
        answer_late(world, 6)
        headers, body = sam.request("subscriptions/listen", {"notifications": {}})
        url = f"{sam.address}/a/{sam.account}/mcp"
        with (
            ThreadPoolExecutor(1) as pool,
            httpx2.stream("POST", url, headers=headers, json=body) as listening,
        ):
            assert listening.status_code == 200
            running = pool.submit(sam.call, GIVE, lead_id=ADA, points=41)
            wait_for(lambda: has_given(world, 41))
            served.process.send_signal(signal.SIGTERM)
            served.wait_for_log("ending")
            assert httpx2.get(f"{sam.address}/readyz").status_code == 503
            refused = sam.call(GIVE, lead_id=ADA, points=42).tool_error
            assert (refused["code"], refused["executed"]) == ("writes_stopped", "no")
            assert running.result().code == "done"
            assert '"result"' in listening.read().decode()
        assert served.process.wait(30) == 0
        assert not has_given(world, 42)


def test_a_second_signal_ends_a_replica_at_once(world: TeamWorld, identity: IdentityProvider):
    with serving(world, identity) as served:
        answer_late(world, 60)
        with closing(connect(served)) as link:
            link.sendall(raw_request(served.caller, GIVE, lead_id=ADA, points=51))
            wait_for(lambda: has_given(world, 51))
            served.process.send_signal(signal.SIGTERM)
            served.wait_for_log("ending")
            served.process.send_signal(signal.SIGTERM)
            assert served.process.wait(30) == ENDED_AT_ONCE


def test_a_replica_without_its_database_is_not_ready_and_writes_nothing(
    world: TeamWorld, identity: IdentityProvider
):
    with serving(world, identity) as served:
        sam, server = served.caller, world.database.server

        def ready() -> int:
            return httpx2.get(f"{sam.address}/readyz", timeout=30).status_code

        assert ready() == 200
        assert sam.call("kartra_get_lead", lead_id=ADA).code == "done"
        server.stop()
        try:
            wait_for(lambda: ready() == 503)
            logged = served.wait_for_log("not_ready")
            assert (logged["account"], logged["code"]) == (sam.account, "ledger_unavailable")
            assert "database" in logged["reason"]
            assert sam.call("kartra_get_lead", lead_id=ADA).code == "done"
            refused = sam.call(GIVE, lead_id=ADA, points=61).tool_error
            assert (refused["code"], refused["executed"]) == ("ledger_unavailable", "no")
            assert httpx2.get(f"{sam.address}/healthz").status_code == 200
        finally:
            server.start()
        wait_for(lambda: ready() == 200)
        served.wait_for_log("ready")
        assert sam.call(GIVE, lead_id=ADA, points=61).code == "done"


def test_without_a_team_file_nothing_is_started(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "kartra_mcp", "serve", "--http"],
        capture_output=True,
        text=True,
        check=False,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 1
    assert "No team file was named. Nothing was started." in done.stderr
