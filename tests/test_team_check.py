"""`kartra-mcp team check`: sound deployments are healthy, and each fault has its mend."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from postgres_server import PostgresServer
from team_place import APP, TeamPlace, running_team_database, team_served
from timestamp_authority import Authority
from webhook_receiver import Receiver, serving_receiver

from kartra_mcp.ledger.postgres.connections import Connections
from kartra_mcp.ledger.postgres.notice_log import NoticeLog
from kartra_mcp.sandbox.identity.provider import IdentityProvider
from kartra_mcp.sandbox.identity.server import running_identity
from kartra_mcp.sandbox.store.seed import CONNECTION


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresServer]:
    with running_team_database() as server:
        yield server


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    with running_identity() as found:
        yield found


@pytest.fixture
def team(
    tmp_path: Path, database: PostgresServer, provider: IdentityProvider
) -> Iterator[TeamPlace]:
    authority = Authority(url="http://127.0.0.1:9/")
    with team_served(tmp_path, database, authority, issuer=provider.issuer) as place:
        yield place


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "text"])
def test_a_sound_deployment_is_healthy(team: TeamPlace, as_json):
    done = team.run("check", *(["--json"] if as_json else []))
    assert (done.returncode, done.stderr) == (0, "")
    if not as_json:
        assert done.stdout.splitlines()[-1] == "Healthy."
        return
    states = {one["step"]: one["state"] for one in json.loads(done.stdout)["findings"]}
    name = team.account
    assert states == {
        "team file": "ok",
        "database": "ok",
        "standby": "warning",
        "database clock": "ok",
        f"ledger {name}": "ok",
        "rights": "ok",
        "issuer": "ok",
        "page": "warning",
        f"account {name}": "ok",
        f"api clock {name}": "ok",
        f"api tokens {name}": "ok",
    }


FAULTS = {
    "rights": "GRANT UPDATE, TRUNCATE ON lines TO kartra_app",
    "ledger": "DELETE FROM schema_version",
}


@pytest.mark.parametrize("step", FAULTS)
def test_a_fault_of_the_database_is_named_with_its_mend(team: TeamPlace, step: str):
    team.sql(FAULTS[step])
    done = team.run("check", "--json")
    failures = [one for one in json.loads(done.stdout)["findings"] if one["state"] == "failed"]
    assert (done.returncode, [one["step"].split()[0] for one in failures]) == (1, [step])
    assert "kartra-mcp team migrate" in failures[0]["mend"]


def test_a_check_by_the_owner_of_the_tables_is_a_warning(team: TeamPlace):
    team.write_file(role="postgres")
    found = json.loads(team.run("check", "--json").stdout)["findings"]
    (rights,) = [one for one in found if one["step"] == "rights"]
    assert (rights["state"], "superuser" in rights["says"]) == ("warning", True)


def test_a_check_goes_on_after_a_database_that_cannot_be_reached(team: TeamPlace):
    text = team.file.read_text()
    team.file.write_text(re.sub(r"database: .*", "database: postgresql://a@127.0.0.1:1/b", text))
    done = team.run("check", "--json")
    found = {one["step"]: one for one in json.loads(done.stdout)["findings"]}
    assert (found["database"]["state"], done.returncode) == ("failed", 1)
    assert found[f"account {team.account}"]["state"] == "ok"


def test_a_check_of_an_account_without_its_connection_fails(team: TeamPlace):
    team.file.write_text(team.file.read_text().replace(CONNECTION, "0" * 24))
    done = team.run("check", "--json")
    found = {one["step"]: one for one in json.loads(done.stdout)["findings"]}
    assert (found[f"account {team.account}"]["state"], done.returncode) == ("failed", 1)


def test_an_issuer_that_names_itself_in_another_way_fails(team: TeamPlace):
    team.issuer = team.issuer.replace("127.0.0.1", "localhost")
    team.write_file()
    done = team.run("check", "--json")
    found = {one["step"]: one for one in json.loads(done.stdout)["findings"]}
    assert (found["issuer"]["state"], done.returncode) == ("failed", 1)
    assert "another issuer" in found["issuer"]["says"]


def test_an_issuer_that_names_users_for_each_client_apart_fails(
    team: TeamPlace, provider: IdentityProvider
):
    page = f"page: {{issuer: '{team.issuer}', client_id: kartra-page}}\n"
    team.file.write_text(team.file.read_text() + page)
    provider.faults.discovery_fields = {"subject_types_supported": ["pairwise"]}
    try:
        found = json.loads(team.run("check", "--json").stdout)["findings"]
    finally:
        provider.faults.discovery_fields = {}
    (login,) = [one for one in found if one["step"] == "page"]
    assert (login["state"], "subject_claims" in login["says"]) == ("failed", True)


def test_the_page_names_the_callback_that_must_be_registered(team: TeamPlace):
    page = f"page: {{issuer: '{team.issuer}', client_id: kartra-page}}\n"
    team.file.write_text(team.file.read_text() + page)
    found = json.loads(team.run("check", "--json").stdout)["findings"]
    (login,) = [one for one in found if one["step"] == "page"]
    assert (login["state"], "https://kartra.example.com/page/callback" in login["says"]) == (
        "ok",
        True,
    )


# Notices


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with serving_receiver() as made:
        yield made


@pytest.fixture
def with_notices(team: TeamPlace, receiver: Receiver) -> TeamPlace:
    file = team.folder / "hook"
    file.write_text(receiver.url)
    file.chmod(0o600)
    login = f"page: {{issuer: {team.issuer}, client_id: kartra-page}}\n"
    team.write_file(more=login + "notify: {url_file: hook, format: slack}\n")
    team.database.run_sql("TRUNCATE service.notices")
    return team


def findings(team: TeamPlace, *words: str) -> tuple[int, dict[str, dict[str, str]]]:
    done = team.run("check", "--json", *words)
    assert "s3cr3t" not in done.stdout + done.stderr
    return done.returncode, {one["step"]: one for one in json.loads(done.stdout)["findings"]}


@pytest.mark.parametrize(
    ("outcome", "state", "shown"),
    [
        ("sent", "ok", "was accepted"),
        ("status 404", "warning", "status 404"),
        ("", "warning", "no outcome was recorded"),
    ],
)
def test_the_outcome_of_the_newest_notice_is_shown(
    with_notices: TeamPlace, receiver: Receiver, outcome: str, state: str, shown: str
):
    assert findings(with_notices)[1]["notices"]["says"].startswith("No notice was sent yet")
    log = NoticeLog(Connections(with_notices.database.dsn(APP)))
    with closing(log.connections):
        for number, found in ((6, "status 500"), (7, outcome)):
            assert log.claim("main", number)
            log.record("main", number, found)
        assert not log.claim("main", 7)
    status, found_ = findings(with_notices)
    notice = found_["notices"]
    assert (status, notice["state"]) == (0, state)
    assert shown in notice["says"]
    assert "request 7 of main" in notice["says"]
    assert receiver.messages == []


def test_a_test_notice_is_sent_on_demand(with_notices: TeamPlace, receiver: Receiver):
    status, found = findings(with_notices, "--notify")
    assert (status, found["test notice"]["state"]) == (0, "ok")
    (message,) = receiver.messages
    assert "This is a test" in message["text"]
    receiver.status = 410
    status, found = findings(with_notices, "--notify")
    assert (status, found["test notice"]["state"]) == (1, "failed")
    assert "status 410" in found["test notice"]["says"]


def test_a_test_notice_without_a_webhook_is_refused(team: TeamPlace):
    status, found = findings(team, "--notify")
    assert (status, found["test notice"]["state"]) == (1, "failed")
    assert "notices" not in found
