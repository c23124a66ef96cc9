"""Revoked people and tokens over HTTP: real tokens, two replicas, two accounts, the command."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import command_line
import httpx2
import pytest
from harness import APISandbox
from polling import wait_for
from postgres_server import PostgresServer
from service_world import (
    Answer,
    Caller,
    RunningReplica,
    TeamWorld,
    connect,
    raw_request,
    team_world,
)
from team_identity import MAIN, SHOP, Service
from team_place import running_team_database

from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.people import ApproverLogin, TeamDecision
from kartra_mcp.sandbox.identity.provider import IdentityProvider
from kartra_mcp.sandbox.identity.server import running_identity
from kartra_mcp.sandbox.kartra import fault_injection
from kartra_mcp.sandbox.store.database import Account

REFUND, BULK, GIVE = "kartra_refund_transaction", "kartra_bulk_run", "kartra_give_points_to_lead"
ADA = 48110
BY = ("--by", "Ida IT", "--reason", "laptop stolen")


@dataclass
class Database:
    """A database that the commands accept: it loses no commit."""

    server: PostgresServer


@dataclass
class Team:
    world: TeamWorld
    identity: IdentityProvider
    service: Service

    def caller(self, name: str, account: str = "main", replica: int = 0) -> Caller:
        """Return a person with a new token."""
        token = self.identity.access_token(name, audience={"main": MAIN, "shop": SHOP}[account])
        return Caller(self.world.replicas[replica].address, account, token)

    def run(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Run a command; return its exit status, and what it found by account."""
        done = self.run_text(*words, "--json")
        found = json.loads(done.stdout)
        return done.returncode, found.get("accounts", found)

    def run_text(self, *words: str) -> subprocess.CompletedProcess[str]:
        folder = self.world.folder
        return command_line.run(
            ["team", *words],
            env={
                "HOME": str(folder),
                "PATH": "/usr/bin:/bin",
                "KARTRA_MCP_STATE_DIR": str(folder / "state"),
                "KARTRA_MCP_TEAM": str(self.world.file),
            },
        )

    def ledger(self, account: str = "main") -> Ledger:
        return Ledger(self.world.replicas[0].replica.stores[account])

    @property
    def place(self) -> APISandbox:
        return self.world.sandboxes["main"]

    def decide(self, number: int, name: str, typed: str) -> None:
        """Approve as the page does after a login."""
        ledger, token = self.ledger(), self.caller(name).token
        asked: Any = ledger.approvals.get(number)
        who = anyio.run(self.service.verifier.verify, token, "main")
        decision = TeamDecision(approve=True, seen=asked.fingerprint, typed=typed)
        ledger.approvals.decide_as(number, ApproverLogin(who, time.time()), decision)

    def refunds(self, transaction: int) -> list[Any]:
        sql = "SELECT 1 FROM transactions WHERE parent_id = ? AND type LIKE '%refund'"
        return self.place.rows(sql, transaction)


@pytest.fixture(scope="module")
def served() -> Iterator[Team]:
    with (
        running_identity() as identity,
        running_team_database() as server,
        TemporaryDirectory() as folder,
        team_world(Path(folder), Database(server), identity.issuer) as world,
    ):
        service = Service(identity)
        world.verifier = service.verifier
        for name in ("main", "shop"):
            world.add_account(name, name=name)
        for _ in range(2):
            world.start_replica(MAX_CHILDREN="1")
        yield Team(world, identity, service)


@pytest.fixture
def team(served: Team) -> Iterator[Team]:
    """The team without a revocation, also after the test."""
    yield served
    for account in ("main", "shop"):
        for found in served.ledger(account).revocations.list_in_force():
            served.run("release", "--key", found.key, *BY)
    wait_for(lambda: status_on_every_replica(served.caller("bea"), served) == {200})


def status(caller: Caller) -> int:
    headers, body = caller.request("tools/list")
    url = f"{caller.address}/a/{caller.account}/mcp"
    return httpx2.post(url, headers=headers, json=body).status_code


@contextmanager
def listening(caller: Caller) -> Generator[httpx2.Response]:
    headers, body = caller.request("subscriptions/listen", {"notifications": {}})
    url = f"{caller.address}/a/{caller.account}/mcp"
    with httpx2.stream("POST", url, headers=headers, json=body) as stream:
        yield stream


def status_on_every_replica(caller: Caller, team: Team) -> set[int]:
    return {status(caller.at(replica)) for replica in team.world.replicas}


def ask(caller: Caller, transaction: int) -> Answer:
    return caller.call(REFUND, transaction_id=transaction, refund_amount="5")


def wait_for_approval(team: Team, caller: Caller, transaction: int, approver: str) -> None:
    """Let a person ask for a refund, and another approve it."""
    number = ask(caller, transaction).tool_error["confirmation"]["number"]
    team.decide(number, approver, "5")


@pytest.fixture
def deaf(team: Team) -> Iterator[RunningReplica]:
    """A replica that does not hear of new revocations: only the ledger can refuse there."""
    made = team.world.start_replica(MAX_CHILDREN="1")
    made.replica.revocations.accounts = ()
    made.replica.revocations.clock = lambda: 0.0  # its list grows no older
    yield made
    made.stop()
    team.world.replicas.remove(made)


def token_id(token: str) -> str:
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=="))["jti"]


def test_a_revoked_token_is_refused_everywhere_and_a_new_one_works(team: Team):
    stolen, own = team.caller("bea"), team.caller("bea")
    assert status_on_every_replica(stolen, team) == {200}
    code, found = team.run("revoke", "--token", token_id(stolen.token), *BY)
    assert code == 0
    assert {name: len(one["accesses"]) for name, one in found.items()} == {"main": 1, "shop": 1}
    wait_for(lambda: status_on_every_replica(stolen, team) == {401})
    refused = stolen.ask("tools/list").response
    assert 'error="invalid_token"' in refused.headers["www-authenticate"]
    assert "An admin revoked the token" in refused.headers["www-authenticate"]
    assert refused.content == b""
    assert status_on_every_replica(own, team) == {200}
    wait_for(lambda: [e for e in team.world.replicas[0].events.requests if e.reason == "revoked"])


def test_a_revoked_person_is_refused_with_every_token_until_the_release(team: Team):
    first, second = team.caller("bea"), team.caller("bea")
    assert team.run("revoke", "--person", "bea", *BY)[0] == 0
    for caller in (first, second, team.caller("bea", "shop")):
        wait_for(lambda caller=caller: status_on_every_replica(caller, team) == {403})
    assert status_on_every_replica(team.caller("ben"), team) == {200}
    code, found = team.run("revoke")
    ((one,), (other,)) = (found[name]["accesses"] for name in ("main", "shop"))
    assert (code, one["key"], one["who"]) == (0, other["key"], "Ida IT")
    assert one["reason"].startswith("laptop stolen (typed by the OS user")
    assert team.run("release", "--person", "bea", *BY)[0] == 0
    for caller in (first, second, team.caller("bea", "shop")):
        wait_for(lambda caller=caller: status_on_every_replica(caller, team) == {200})
    code, found = team.run("release", "--person", "bea", *BY)
    assert (code, found["error"]["code"]) == (1, "invalid_arguments")


def test_the_listen_stream_of_a_revoked_person_ends_and_another_person_opens_one_again(team: Team):
    bea, ben = team.caller("bea"), team.caller("ben")
    with listening(bea) as stream:
        assert team.run("revoke", "--person", "bea", *BY)[0] == 0
        assert '"result"' in stream.read().decode()
    with listening(bea) as stream:
        assert stream.status_code == 403
    with listening(ben) as stream:
        assert stream.status_code == 200


def test_a_person_who_is_revoked_between_head_and_body_is_refused(team: Team):
    bea = team.caller("bea")
    head, body = raw_request(bea, "kartra_get_lead", lead_id=ADA).split(b"\r\n\r\n")
    with closing(connect(team.world.replicas[0])) as link:
        link.sendall(head + b"\r\n\r\n" + body[:1])
        assert team.run("revoke", "--person", "bea", *BY)[0] == 0
        wait_for(lambda: status(bea) == 403)
        link.sendall(body[1:])
        assert link.recv(100).startswith(b"HTTP/1.1 403 ")


def test_a_replica_that_starts_later_refuses_at_once(team: Team):
    assert team.run("revoke", "--person", "bea", *BY)[0] == 0
    made = team.world.start_replica()
    try:
        assert status(team.caller("bea").at(made)) == 403
    finally:
        made.stop()
        team.world.replicas.remove(made)


def test_the_output_without_json_is_plain_sentences(team: Team):
    assert "main: nothing is revoked." in team.run_text("revoke").stdout
    done = team.run_text("revoke", "--person", "misspelled", *BY)
    assert (done.returncode, done.stderr) == (0, "")
    assert "is revoked now, by Ida IT at 20" in done.stdout
    assert "main: No entry names this key. Compare the subject and the issuer." in done.stdout
    ask(team.caller("ben"), 141)
    assert "main: Ben Billing (" in team.run_text("revoke", "--person", "ben", *BY).stdout
    assert "is released now, by Ida IT" in team.run_text("release", "--person", "ben", *BY).stdout


def test_one_account_is_revoked_alone(team: Team):
    assert team.run("revoke", "--person", "bea", "--account", "main", *BY)[0] == 0
    wait_for(lambda: status_on_every_replica(team.caller("bea"), team) == {403})
    assert status_on_every_replica(team.caller("bea", "shop"), team) == {200}
    assert team.ledger("shop").revocations.list_in_force() == []


def test_a_requester_who_is_revoked_after_the_approval_executes_nothing(
    team: Team, deaf: RunningReplica
):
    bea = team.caller("bea")
    wait_for_approval(team, bea, 101, "hana")
    assert team.run("revoke", "--person", "bea", *BY)[0] == 0
    refused = ask(bea.at(deaf), 101).tool_error
    assert (refused["code"], refused["executed"]) == ("forbidden_role", "no")
    assert "An admin revoked this access" in refused["message"]
    wait_for(lambda: status(bea) == 403)
    assert not team.refunds(101)
    assert team.run("verify", "--account", "main")[1]["main"]["ok"]


def test_the_approval_of_a_revoked_approver_does_not_count(team: Team):
    bea = team.caller("bea")
    wait_for_approval(team, bea, 145, "hana")
    assert team.run("revoke", "--person", "hana", *BY)[0] == 0
    assert ask(bea, 145).code == "approval_required"
    assert not team.refunds(145)
    wait_for_approval(team, bea, 145, "hugo")
    assert ask(bea, 145).code == "done"
    assert len(team.refunds(145)) == 1


def answer_late(team: Team, command: str) -> None:
    """Let the sandbox do the next one at once, and answer it later."""
    with closing(Account(str(team.place.file))) as sandbox, sandbox.transaction():
        kind, after = fault_injection.SLOW, "2"
        fault_injection.set_fault(sandbox, command, kind, 1, after, effect=True)


def points(team: Team) -> list[int]:
    sql = "SELECT points FROM points WHERE lead_id = ? AND points > 300 ORDER BY points"
    return [row[0] for row in team.place.rows(sql, ADA)]


def test_a_bulk_run_of_a_revoked_person_begins_no_further_item(team: Team, deaf: RunningReplica):
    sam = team.caller("sam").at(deaf)
    items = [{"lead_id": ADA, "points": 301 + number} for number in range(12)]
    asked = sam.call(BULK, tool=GIVE, items=items).tool_error["confirmation"]
    agreed = {"confirm": True, "confirmation_id": asked["id"], "bulk_id": asked["bulk_id"]}
    agreed["confirmation_summary"] = asked["summary"]
    answer_late(team, "give_points_to_lead")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(sam.call, BULK, **agreed)
        wait_for(lambda: points(team))
        assert team.run("revoke", "--person", "sam", *BY)[0] == 0
        ended = running.result()
    assert ended.code in {"bulk_paused", "done"}
    assert points(team) == [301]
    assert [one["state"] for one in team.ledger().export()].count("running") == 0
    assert sam.call(BULK, bulk_id=asked["bulk_id"]).code == "forbidden_role"
    assert points(team) == [301]
    assert team.run("release", "--person", "sam", *BY)[0] == 0
    done = sam.call(BULK, bulk_id=asked["bulk_id"]).structured["result"]
    assert (done["state"], done["done"]) == ("done", 12)


def test_a_bulk_run_that_a_revoked_approver_agreed_to_moves_no_more_money(
    team: Team, deaf: RunningReplica
):
    bea = team.caller("bea").at(deaf)
    items = [{"transaction_id": sale, "refund_amount": "5"} for sale in (101, 141)]
    asked = bea.call(BULK, tool=REFUND, items=items).tool_error["confirmation"]
    number, run = asked["number"], {"bulk_id": asked["bulk_id"]}
    shown: Any = team.ledger().approvals.get(number)
    team.decide(number, "hana", shown.typed)
    answer_late(team, "refund_transaction")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(bea.call, BULK, **run)
        wait_for(lambda: team.refunds(101) or team.refunds(141))
        assert team.run("revoke", "--person", "hana", *BY)[0] == 0
        ended = running.result().structured["result"]
    assert (ended["state"], ended["done"]) == ("cancelled", 1)
    assert "approved it was revoked" in ended["why"]
    assert bea.call(BULK, **run).structured["result"]["state"] == "cancelled"
    assert len(team.refunds(101) + team.refunds(141)) == 1
    assert team.run("verify", "--account", "main")[1]["main"]["ok"]


def test_a_bulk_run_of_reads_of_a_revoked_person_reads_no_further(team: Team, deaf: RunningReplica):
    sam = team.caller("sam").at(deaf)
    items = [{"lead_id": ADA + number} for number in range(12)]
    answer_late(team, "get_lead")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(sam.call, BULK, tool="kartra_get_lead", items=items)
        wait_for(lambda: not team.place.rows("SELECT 1 FROM faults"))
        assert team.run("revoke", "--person", "sam", *BY)[0] == 0
        ended = running.result().structured["result"]
    assert (ended["state"], ended["done"]) == ("running", 1)


def test_the_evidence_and_its_verifier_show_a_revocation(team: Team, tmp_path: Path):
    assert team.run("revoke", "--person", "bea", *BY)[0] == 0
    assert team.run("evidence", "--output", str(tmp_path / "bundle"))[0] == 0
    entries = (tmp_path / "bundle" / "entries" / "main.txt").read_text()
    assert '"revocation"' in entries
    assert "laptop stolen" in entries
    assert "Ida IT" in entries
    command = [sys.executable, "-I", "-S", str(tmp_path / "bundle" / "verify.py")]
    judged = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
    assert (judged.returncode, judged.stdout.splitlines()[-1]) == (0, "VALID")


@pytest.mark.parametrize(
    "words",
    [
        ("revoke", "--person", "bea"),
        ("revoke", "--person", "bea", "--by", "Ida"),
        ("revoke", "--person", "bea", "--issuer", "https://other.example.com", *BY),
        ("release", *BY),
        ("release", "--key", "0" * 32, *BY),
        ("revoke", "--key", "bea", *BY),
    ],
)
def test_a_command_that_lacks_something_changes_nothing(team: Team, words: tuple[str, ...]):
    before = team.ledger().entry_count()
    code, found = team.run(*words)
    error = found.get("error") or found["main"]["error"]
    assert (code, error["code"]) == (1, "invalid_arguments")
    assert "Nothing was changed." in error["message"]
    assert team.ledger().entry_count() == before


def test_an_account_whose_list_was_never_read_serves_nothing(team: Team, deaf: RunningReplica):
    bea = team.caller("bea").at(deaf)
    assert status(bea) == 200
    deaf.replica.revocations._lists.clear()
    assert status(bea) == 503
