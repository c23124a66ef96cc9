"""Selection of the account: never a choice between two, always a start, a remedy for each case."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from harness import CONNECTION, STAND_IN, StandIn, action, call, connect, healthy

pytestmark = pytest.mark.anyio

OWN = {"kartra_status", "kartra_proxy_read", "kartra_proxy_write"}
LEAD = "kartra_get_lead"
TAG = "kartra_assign_tag"


def connection(identity="c1", **more):
    return {
        "id": identity,
        "key": f"key-{identity}",
        "name": "Kartra",
        "state": "READY",
        "integration": {"key": "kartra"},
        **more,
    }


def listing(*found):
    return {"connection_list": {"out": {"items": list(found)}}}


WAITING: dict[str, Any] = {
    "state": "CLIENT_ACTION_REQUIRED",
    "clientAction": {"type": "connect", "description": "Sign in to Kartra again"},
}
SITUATIONS = {
    "none": ("no_connection", []),
    "another app's": ("no_connection", [connection(integration={"key": "slack"})]),
    "archived": ("no_connection", [connection(archivedAt="2026-01-01T00:00:00Z")]),
    "two ready": ("several_connections", [connection(), connection("c2")]),
    "two broken": (
        "several_connections",
        [connection(disconnected=True), connection("c2", state="BUILDING")],
    ),
    "disconnected": ("connection_not_ready", [connection(disconnected=True)]),
    "not connected": ("connection_not_ready", [connection(connected=False)]),
    "building": ("connection_not_ready", [connection(state="BUILDING")]),
    "waiting for a person": ("connection_not_ready", [connection(**WAITING)]),
    "set up badly": ("connection_not_ready", [connection(state="CONFIGURATION_ERROR")]),
    "in an unknown state": ("connection_not_ready", [connection(state="HIBERNATING")]),
}


@pytest.fixture
def place(fake_membrane: StandIn) -> StandIn:
    return fake_membrane.plan(**healthy(action("get-lead"), action("assign-tag")))


async def names_of(client):
    return {tool.name for tool in (await client.list_tools(cache_mode="bypass")).tools}


async def assert_says(client, code):
    """Every kind of call answers the code and what to do next; status names the same."""
    for tool, arguments in ((LEAD, {}), (TAG, {}), ("kartra_proxy_read", {"path": "/api"})):
        answer = await call(client, tool, **arguments)
        assert (answer.code, answer.executed) == (code, "no"), tool
        assert answer.error["remedy"]
    status = (await call(client, "kartra_status")).result
    assert status["healthy"] is False
    assert code in [problem["code"] for problem in status["problems"]]
    assert all(problem["remedy"] for problem in status["problems"])


@pytest.mark.parametrize("name", SITUATIONS)
async def test_it_starts_lists_what_it_can_and_every_call_says_what_to_do(place, name):
    code, found = SITUATIONS[name]
    place.plan(**listing(*found))
    async with connect(place, "2026-07-28") as client:
        assert await names_of(client) >= OWN
        await assert_says(client, code)
    assert place.runs() == []


@pytest.mark.parametrize("name", SITUATIONS)
async def test_the_saved_list_stays_where_the_account_is_lost(place, name):
    code, found = SITUATIONS[name]
    async with connect(place, "legacy") as client:
        saved = await names_of(client)
    place.plan(**listing(*found))
    # The one that was served last is still there: no doubt which is meant.
    code = {"two ready": "", "two broken": "connection_not_ready"}.get(name, code)
    async with connect(place, "legacy") as client:
        assert await names_of(client) == saved
        status = (await call(client, "kartra_status")).result
        assert [p["code"] for p in status["problems"]][:1] == ([code] if code else [])
        answer = await call(client, TAG)
        assert answer.failed is bool(code)
        assert not code or (answer.code, answer.executed) == (code, "no")
    assert len(place.runs()) == (0 if code else 1)


@pytest.mark.parametrize("name", SITUATIONS)
async def test_it_recovers_without_a_restart(place, name):
    place.plan(**listing(*SITUATIONS[name][1]))
    async with connect(place, "2026-07-28") as client:
        await call(client, LEAD)
        place.plan(**listing(connection()))
        assert not (await call(client, TAG)).failed
        assert not (await call(client, LEAD)).failed
        assert LEAD in await names_of(client)
        assert (await call(client, "kartra_status")).result["healthy"] is True


async def test_another_only_ready_connection_is_never_switched_to(place, protocol_version):
    async with connect(place, protocol_version) as client:
        await client.list_tools()
    place.plan(**listing(connection("c2")))
    async with connect(place, protocol_version) as client:
        status = (await call(client, "kartra_status")).result
        assert status["problems"][0]["code"] == "several_connections"
        await assert_says(client, "several_connections")
    assert place.runs() == []


async def test_a_broken_account_is_not_replaced_by_a_healthy_one(place, protocol_version):
    async with connect(place, protocol_version) as client:
        await client.list_tools()
    place.plan(**listing(connection(disconnected=True), connection("c2")))
    async with connect(place, protocol_version) as client:
        await call(client, "kartra_status")
        await assert_says(client, "connection_not_ready")
    assert place.runs() == []


@pytest.mark.parametrize("wanted", ["c2", "key-c2"])
async def test_the_user_names_the_account(place, protocol_version, wanted):
    place.plan(**listing(connection(), connection("c2")))
    place.settings = {"CONNECTION": wanted}
    async with connect(place, protocol_version) as client:
        assert not (await call(client, TAG)).failed
    assert "--connectionId=c2" in place.runs()[-1]


async def test_the_user_names_the_account_by_its_exact_name(place, protocol_version):
    place.plan(**listing(connection(), connection("c2", name="Kartra of Ann")))
    place.settings = {"CONNECTION": "Kartra of Ann"}
    async with connect(place, protocol_version) as client:
        assert not (await call(client, TAG)).failed
    assert "--connectionId=c2" in place.runs()[-1]


@pytest.mark.parametrize("wanted", ["Kartra", "kartra of ann", "Kartra of"])
async def test_a_name_of_none_or_of_several_accounts_names_none(place, wanted):
    place.plan(**listing(connection(), connection("c2"), connection("c3", name="Kartra of Ann")))
    place.settings = {"CONNECTION": wanted}
    async with connect(place, "legacy") as client:
        answer = await call(client, TAG)
    assert (answer.failed, answer.executed) == (True, "no")
    assert answer.code in {"no_connection", "several_connections"}
    assert place.runs() == []


async def test_a_named_account_that_is_not_there(place):
    place.settings = {"CONNECTION": "c9"}
    async with connect(place, "legacy") as client:
        await assert_says(client, "no_connection")
    assert place.runs() == []


async def test_a_named_account_on_no_page_of_the_list_is_asked_for(place):
    place.settings = {"CONNECTION": "c9"}
    place.plan(connection_get={"out": connection("c9")})
    async with connect(place, "legacy") as client:
        assert not (await call(client, TAG)).failed
    assert "--connectionId=c9" in place.runs()[-1]


async def test_every_start_names_the_connection(place, protocol_version):
    async with connect(place, protocol_version) as client:
        await call(client, LEAD)
        await call(client, TAG)
        await call(client, "kartra_proxy_read", path="/api")
    for words in place.started():
        if words[:2] in (["action", "run"], ["action", "list"]):
            assert "--connectionId=c1" in words
        if words[0] == "request":
            assert words[1] == "c1"


async def test_a_write_waits_until_the_account_is_confirmed(place):
    async with connect(place, "legacy") as client:
        await client.list_tools()
    place.plan(**listing(connection(disconnected=True)))
    async with connect(place, "legacy") as client:
        assert (await call(client, TAG)).code == "connection_not_ready"
    assert place.runs() == []


async def test_what_a_client_action_asks_is_told_as_data_only(place):
    place.plan(**listing(connection(**WAITING)))
    async with connect(place, "legacy") as client:
        error = (await call(client, LEAD)).error
    assert error["detail"]["reason"] == "Sign in to Kartra again"
    assert "Sign in to Kartra again" not in error["message"] + error["remedy"]
    assert "--connectionId=c1" in error["remedy"]


async def test_without_a_connection_the_remedy_names_the_connector(fake_membrane, protocol_version):
    found = {"elementType": "Connector", "element": {"id": "con-7", "name": "Kartra"}}
    other = {"elementType": "connector", "element": {"id": "x", "name": "Karate"}}
    plan = healthy() | {"connection list": {"out": {"items": []}}}
    fake_membrane.plan(**plan | {"search kartra": {"out": {"items": [other, found]}}})
    async with connect(fake_membrane, protocol_version) as client:
        problem = (await call(client, "kartra_status")).result["problems"][0]
    assert problem["code"] == "no_connection"
    assert " connect --connectorId=con-7`" in problem["remedy"]
    assert ["search", "kartra", "--elementType=connector", "--json"] in fake_membrane.started()


async def test_a_server_keeps_its_connection_whatever_another_one_serves(
    fake_membrane, protocol_version
):
    """Bug: the other server's choice on the same folder became this one's at the next refresh."""
    other = {**CONNECTION, "id": "c2", "key": "other"}
    fake_membrane.plan(**healthy(action("get-lead")))
    async with connect(fake_membrane, protocol_version) as client:
        await call(client, "kartra_get_lead")
        fake_membrane.plan(**{"connection list": {"out": {"items": [CONNECTION, other]}}})
        second = StandIn(fake_membrane.folder, {**fake_membrane.settings, "CONNECTION": "c2"})
        async with connect(second, protocol_version) as theirs:
            assert (await call(theirs, "kartra_status")).result["connection"]["id"] == "c2"
        assert (await call(client, "kartra_status")).result["connection"]["id"] == "c1"
        await call(client, "kartra_get_lead")
    assert "--connectionId=c1" in fake_membrane.runs()[-1]


async def test_a_program_that_says_nothing_readable_is_the_wrong_one(
    fake_membrane, protocol_version
):
    silly = {"out": "ls (GNU coreutils) 9.1\n"}
    fake_membrane.plan(
        **{"--version": silly, "connection list": {"err": "no such file", "exit": 2}}
    )
    async with connect(fake_membrane, protocol_version) as client:
        assert (await call(client, "kartra_get_lead")).code == "wrong_program"


@pytest.mark.parametrize(
    ("said", "login"),
    [({"out": {"loggedIn": True}}, "yes"), ({"err": "Not logged in", "exit": 1}, "no")],
    ids=["logged in", "logged out"],
)
async def test_without_other_evidence_the_status_verb_reports_the_login(place, said, login):
    place.plan(connection_list={"err": "the network is down", "exit": 1}, status=said)
    async with connect(place, "legacy") as client:
        status = (await call(client, "kartra_status")).result
    assert (status["login"], status["healthy"]) == (login, False)
    assert place.started().count(["status", "--json"]) == 1


async def test_the_status_verb_is_not_run_if_the_account_proves_the_login(place, protocol_version):
    async with connect(place, protocol_version) as client:
        assert (await call(client, "kartra_status")).result["login"] == "yes"
        place.plan(connection_list={"out": "Not logged in"})
        assert (await call(client, "kartra_status")).result["login"] == "no"
    assert ["status", "--json"] not in place.started()


@pytest.mark.parametrize("entry", [{"isDefunct": True}, {"state": "ready", "isDefunct": True}])
async def test_a_defunct_connection_is_not_used(place, protocol_version, entry):
    place.plan(**listing(connection(**entry)))
    async with connect(place, protocol_version) as client:
        await assert_says(client, "connection_not_ready")
    assert place.runs() == []


async def test_the_remedy_names_the_path_of_a_program_that_is_on_no_path(tmp_path: Path):
    """`membrane connect …` could not be typed where npm's folder is on no terminal's PATH."""
    place = StandIn(tmp_path / "a b", {"MEMBRANE": ""}).plan(**healthy(action("get-lead")))
    place.plan(**listing(connection(state="DISCONNECTED")))
    program = place.folder / "state" / ".npm-global" / "bin" / "membrane"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STAND_IN}" "{place.folder}" "$@"\n')
    program.chmod(0o755)
    async with connect(place, "legacy") as client:
        error = (await call(client, LEAD)).error
        place.plan(connection_list={"err": "not logged in", "exit": 1})
        (known, *_) = (await call(client, "kartra_status")).result["problems"]
    assert error["code"] == "connection_not_ready"
    assert f"`'{program}' connect --connectionId=c1`" in error["remedy"]
    assert known["code"] == "not_logged_in"
    assert f"`'{program}' login --tenant`" in known["remedy"]
