"""`kartra-mcp team` on a real PostgreSQL and the sandbox's API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from polling import wait_for
from postgres_server import PostgresServer
from team_place import APP, TeamPlace, running_team_database, team_served
from timestamp_authority import Authority
from timestamp_authority import served as authority_served

from kartra_mcp.core.models import FENCED, Executed, Risk, SendRight
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.postgres.connections import Connections
from kartra_mcp.ledger.postgres.send_rights import SendRights
from kartra_mcp.ledger.postgres.store import PostgresStore, StoreOptions
from kartra_mcp.ledger.records import Answer, Intent, make_intent_id
from kartra_mcp.policy.limits import Limits
from kartra_mcp.sandbox.store.seed import CONNECTION


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresServer]:
    with running_team_database() as server:
        yield server


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    with authority_served() as found:
        yield found


@pytest.fixture
def team(tmp_path: Path, database: PostgresServer, authority: Authority) -> Iterator[TeamPlace]:
    with team_served(tmp_path, database, authority) as place:
        yield place


def test_migrate_creates_the_tables_once_and_gives_the_service_its_rights(team: TeamPlace):
    status, found = team.json("migrate")
    assert (status, found) == (0, [])
    with psycopg.connect(team.database.dsn(APP)) as db:
        db.execute(f'SET search_path = "ledger_{team.account}"'.encode())
        for statement in ("UPDATE lines SET body = ''", "DELETE FROM lines", "TRUNCATE lines"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.execute(statement.encode())
            db.rollback()
            db.execute(f'SET search_path = "ledger_{team.account}"'.encode())


def test_migrate_by_a_role_that_may_not_create_is_refused(team: TeamPlace):
    team.account = "another"
    team.write_file()
    done = team.run("migrate", KARTRA_MCP_MIGRATE_DATABASE=team.database.dsn(APP))
    assert done.returncode == 1
    assert "KARTRA_MCP_MIGRATE_DATABASE" in done.stderr


def test_a_database_without_tables_names_the_command_that_makes_them(team: TeamPlace):
    team.account = "unmade"
    team.write_file()
    done = team.run("verify")
    assert done.returncode == 1
    assert "kartra-mcp team migrate" in done.stderr


def test_a_ledger_is_verified_anchored_and_taken_as_evidence(team: TeamPlace, tmp_path: Path):
    assert not team.refund().failed
    status, anchored = team.json("anchor")
    assert (status, anchored["added"], anchored["timestamp"]) == (0, True, True)
    assert anchored["signature_checked"] is False
    status, report = team.json("verify")
    assert (status, report["ok"], report["anchors"]) == (0, True, 2)
    assert report["anchored"] == report["count"] == anchored["n"]
    output = tmp_path / "evidence"
    done = team.run("evidence", "--output", str(output))
    assert (done.returncode, done.stderr) == (0, "")
    judged = subprocess.run(
        [sys.executable, "-I", "-S", str(output / "verify.py")],
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (judged.returncode, judged.stdout.splitlines()[-1]) == (0, "VALID")
    digest = judged.stdout.splitlines()[0].rpartition(" ")[2]
    assert digest in done.stdout


def test_a_role_that_can_only_read_verifies_and_takes_evidence(team: TeamPlace, tmp_path: Path):
    assert not team.refund().failed
    assert team.run("anchor").returncode == 0
    auditor, schema = "kartra_auditor", f'"ledger_{team.account}"'
    with psycopg.connect(team.database.dsn()) as db:
        for statement in (
            f"CREATE ROLE {auditor} LOGIN",
            f"GRANT USAGE ON SCHEMA {schema} TO {auditor}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {auditor}",
        ):
            db.execute(statement.encode())
    team.write_file(auditor)
    status, report = team.json("verify")
    assert (status, report["ok"], report["anchored"]) == (0, True, report["count"])
    output = tmp_path / "evidence"
    done = team.run("evidence", "--output", str(output))
    assert (done.returncode, done.stderr) == (0, "")
    command = [sys.executable, "-I", "-S", str(output / "verify.py")]
    judged = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
    assert (judged.returncode, judged.stdout.splitlines()[-1]) == (0, "VALID")
    done = team.run("settle")
    assert done.returncode == 1
    assert "lacks a right on its tables. Nothing was done." in done.stderr


def test_the_output_without_json_is_plain_sentences(team: TeamPlace):
    assert not team.refund().failed
    done = team.run("anchor")
    assert done.returncode == 0
    assert "is anchored with a timestamp" in done.stdout
    assert "root_certificate" in done.stdout
    done = team.run("verify")
    assert f"{team.account}: the ledger is valid" in done.stdout


def test_a_changed_entry_is_named(team: TeamPlace):
    assert not team.refund().failed
    team.sql("UPDATE lines SET body = replace(body, '20', '99') WHERE n = 2")
    status, report = team.json("verify")
    assert (status, report["broken"]) == (1, 2)
    done = team.run("verify")
    assert "broken at entry 2" in done.stdout
    done = team.run("anchor")
    assert done.returncode == 1
    assert "Nothing was anchored" in done.stderr


def test_an_end_that_was_cut_off_is_named(team: TeamPlace):
    assert not team.refund().failed
    status, anchored = team.json("anchor")
    assert status == 0
    last = anchored["n"]
    team.sql(f"DELETE FROM lines WHERE n = {last}")
    assert team.json("verify")[1]["broken"] == last
    team.sql(
        "UPDATE head SET n = l.n, hash = l.hash FROM (SELECT n, hash FROM lines ORDER BY n DESC"
        " LIMIT 1) l"
    )
    status, report = team.json("verify")
    assert (status, report["broken"]) == (1, last)


def test_a_changed_table_is_found_though_every_entry_is_intact(team: TeamPlace):
    assert not team.refund().failed
    team.sql("UPDATE intents SET state = 'failed'")
    status, report = team.json("verify")
    assert (status, report["broken"], report["ok"]) == (1, None, False)
    assert "intents" in report["why"]


def test_a_changed_table_is_found_after_a_switch_of_the_database_too(team: TeamPlace):
    assert not team.refund().failed
    team.sql("UPDATE intents SET state = 'failed'")
    team.sql("UPDATE meta SET value = '1/1' WHERE key = 'swept_timeline'")
    status, report = team.json("verify")
    assert (status, "intents" in report["why"], "switched" in report["refused"]) == (1, True, True)
    assert "the ledger is broken: the table of intents" in team.run("verify").stdout


def test_settle_finds_nothing_in_a_sound_ledger(team: TeamPlace):
    assert not team.refund().failed
    status, report = team.json("settle")
    assert (status, report["runs"], report["swept"]) == (0, 1, True)
    assert (report["lost"], report["adopted"], report["waiting"]) == ([], [], [])


def forget_everything(team: TeamPlace) -> None:
    """Put the database back to before the refund, on another timeline."""
    team.sql(
        "DELETE FROM lines; DELETE FROM intents; DELETE FROM parts; DELETE FROM confirmations;"
        "UPDATE head SET n = 0, hash = repeat('0', 64);"
        "UPDATE meta SET value = '1/1' WHERE key = 'swept_timeline'"
    )


def test_after_a_rollback_writes_stop_until_the_run_logs_were_swept(team: TeamPlace):
    assert not team.refund().failed
    forget_everything(team)
    refused = team.refund("15")
    assert refused.code == "ledger_unavailable"
    assert "kartra-mcp team settle" in refused.error["remedy"]
    status, report = team.json("settle")
    assert status == 1
    assert len(report["adopted"]) == 1
    assert [one["state"] for one in report["settled"]] == ["succeeded"]
    assert report["swept"]
    assert team.refund().code == "already_done"
    assert not team.refund("15").failed
    assert len(team.sandbox.writes()) == 2
    assert team.json("settle")[0] == 0
    assert team.json("verify")[1]["ok"]


KEPT = ("lines", "intents", "parts", "confirmations", "head")


def test_an_unknown_write_does_not_keep_a_lost_equal_one_from_being_recorded(team: TeamPlace):
    """Bug: the unknown one waited for the sweep, and the sweep for it, so that writes never opened.

    The failover forgot the settlement of the first refund, and with it the second refund.
    """
    team.sandbox.arrange("fault", "set", "POST /act", "cut", "--effect")
    assert team.refund().executed == "unknown"
    team.sql("".join(f"CREATE TABLE kept_{name} AS TABLE {name};" for name in KEPT))
    _, report = team.json("settle")
    (first,) = [one["intent"] for one in report["settled"]]
    assert not team.refund("15").failed
    team.sql(
        "".join(f"DELETE FROM {name}; INSERT INTO {name} TABLE kept_{name};" for name in KEPT)
        + "UPDATE meta SET value = '1/1' WHERE key = 'swept_timeline'"
    )
    assert team.refund("5").code == "ledger_unavailable"
    status, report = team.json("settle")
    assert (status, report["lost"], report["swept"], report["waiting"]) == (1, [], True, [])
    (second,) = report["adopted"]
    assert [one["intent"] for one in report["settled"]] == [first, second]
    assert {one["state"] for one in report["settled"]} == {"succeeded"}
    assert (team.refund().code, team.refund("15").code) == ("already_done", "already_done")
    assert not team.refund("5").failed
    assert team.json("verify")[1]["ok"]


def test_without_run_logs_writes_stay_stopped(team: TeamPlace):
    assert not team.refund().failed
    forget_everything(team)
    team.sandbox.arrange("logout")
    status, report = team.json("settle")
    assert (status, report["swept"]) == (1, False)
    assert report["error"]["code"] == "not_logged_in"


def test_a_connection_that_is_made_anew_is_still_the_same_account(team: TeamPlace):
    """Bug: identity by the connection's id admitted the refund again after a new connection."""
    assert not team.refund().failed
    team.sandbox.rows("UPDATE connections SET id = 'f' || substr(id, 2)")
    team.sandbox.settings["CONNECTION"] = f"f{CONNECTION[1:]}"
    answer = team.refund()
    assert answer.code == "already_done"


def contradict(team: TeamPlace) -> str:
    """Let a late answer contradict a write that was settled as failed; return its intent."""
    rights = SendRights(send_seconds=0.001, answer_seconds=0.001)
    with closing(Connections(team.database.dsn(APP))) as connections:
        options = StoreOptions(rights=rights)
        ledger = Ledger(PostgresStore(connections, team.account, b"k" * 32, options=options))
        right = SendRight("att_1", 0.001, FENCED, 0.0)
        wanted = Intent(
            id=make_intent_id(),
            tool="kartra_refund_transaction",
            operation="refund_transaction",
            risk=Risk.IRREVERSIBLE,
            connection=team.account,
            target_kind="transaction",
            target="101",
            right=right,
        )
        ledger.begin(wanted, Limits()).close()
        wait_for(ledger.mark_orphans_unknown)
        ledger.reconcile(wanted.id, "failed", {"why": "two looks"})
        late = ledger.finish(wanted.id, Answer("succeeded", Executed.YES, attempt="att_1"))
        assert late == "conflict"
    return wanted.id


def test_two_persons_decide_a_conflict_and_one_person_twice_does_not(team: TeamPlace):
    intent = contradict(team)
    refused = team.refund("15", target=102)
    assert refused.code == "writes_stopped"
    assert "kartra-mcp team settle" in refused.error["remedy"]
    status, report = team.json("settle")
    assert (status, report["conflicts"]) == (1, [intent])

    def state(outcome: str, person: str) -> tuple[int, dict[str, Any]]:
        return team.json("settle", intent, outcome, "--by", person, "--reason", "looked it up")

    assert state("succeeded", "Ada Lovelace")[0] == 1
    assert state("succeeded", " ada  LOVELACE ")[0] == 1
    assert state("failed", "Grace Hopper")[0] == 1
    status, found = state("succeeded", "Grace Hopper")
    assert (status, found["settled"]) == (0, "succeeded")
    assert team.json("settle")[1]["conflicts"] == []
    assert not team.refund("15", target=102).failed
    assert team.json("verify")[1]["ok"]


def test_a_write_that_reading_settles_is_not_stated(team: TeamPlace):
    assert not team.refund().failed
    with psycopg.connect(team.database.dsn()) as db:
        db.execute(f'SET search_path = "ledger_{team.account}"'.encode())
        row = db.execute("SELECT id FROM intents").fetchone()
    assert row is not None
    done = team.run("settle", row[0], "failed", "--by", "Ada", "--reason", "x")
    assert done.returncode == 1
    assert "Nothing was recorded" in done.stderr


@pytest.mark.parametrize(
    "words", [("int_1",), ("int_1", "failed", "--by", "Ada"), ("int_1", "failed", "--by", " ")]
)
def test_a_statement_needs_an_outcome_a_person_and_a_reason(team: TeamPlace, words):
    done = team.run("settle", *words)
    assert done.returncode == 1
    assert "--by NAME --reason TEXT" in done.stderr


def test_drift_is_none_after_a_refund_and_found_after_another_program(team: TeamPlace):
    assert not team.refund().failed
    status, report = team.json("drift")
    assert (status, report["sales"], report["drifts"]) == (0, 1, [])


def test_two_entries_for_one_kartra_account_are_found_by_its_names(team: TeamPlace):
    text = team.file.read_text()
    entry = text[text.index(f"  {team.account}:") : text.index("anchor:")]
    other = entry.replace(team.account, "other-shop").replace(CONNECTION, "kartra")
    team.file.write_text(text.replace("anchor:", f"{other}anchor:"))
    assert team.run("migrate").returncode == 0
    done = team.run("drift")
    assert done.returncode == 1
    assert f"{team.account} and other-shop seem to be one Kartra account" in done.stdout


def test_one_account_that_cannot_be_read_does_not_hide_the_other(team: TeamPlace):
    assert not team.refund().failed
    text = team.file.read_text()
    entry = text[text.index(f"  {team.account}:") : text.index("anchor:")]
    other = entry.replace(team.account, "unmade-shop").replace(CONNECTION, "another")
    team.file.write_text(text.replace("anchor:", f"{other}anchor:"))
    done = team.run("verify", "--json")
    found = json.loads(done.stdout)["accounts"]
    assert done.returncode == 1
    assert found[team.account]["ok"]
    assert found["unmade-shop"]["error"]["code"] == "ledger_unavailable"


def test_a_fault_of_the_team_file_is_named_with_its_line(team: TeamPlace):
    team.file.write_text(team.file.read_text().replace("tenant_key", "tenent_key"))
    done = team.run("verify")
    assert done.returncode == 1
    assert "line 7: accounts." in done.stderr
    assert "Did you mean tenant_key?" in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="modes of files are of POSIX")
def test_a_secret_that_others_can_read_stops_only_what_needs_it(team: TeamPlace):
    (team.folder / "secret").chmod(0o644)
    assert team.run("verify").returncode == 0
    done = team.run("settle")
    assert done.returncode == 1
    assert "chmod 600" in done.stderr


def test_an_unknown_account_names_the_nearest(team: TeamPlace):
    done = team.run("verify", "--account", f"{team.account}x")
    assert done.returncode == 1
    assert f"Did you mean {team.account}?" in done.stderr


def test_without_a_team_file_nothing_runs(team: TeamPlace):
    done = team.run("verify", KARTRA_MCP_TEAM="")
    assert done.returncode == 1
    assert "--team FILE" in done.stderr


def test_a_database_that_cannot_be_reached_is_reported(team: TeamPlace):
    text = team.file.read_text().replace(f":{team.database.port}/", ":1/")
    team.file.write_text(text)
    done = team.run("verify")
    assert done.returncode == 1
    assert "cannot be reached" in done.stderr
    assert len(done.stderr.splitlines()) == 2  # a sentence of what happened, and one of the remedy


def test_wrong_usage_is_one_line(team: TeamPlace):
    done = team.run("verfy")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "did you mean verify?" in done.stderr
