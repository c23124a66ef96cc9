"""The judge of `make conformance`, and what the suite found wrong in the server."""

from dataclasses import replace

import mcp_types as types
import pytest
from conformance import service, verdict
from harness import both_eras, connect
from mcp.shared.exceptions import MCPError

LISTED = """\
Required for 2026-07-28 (3 scenarios, frozen; run at the 2026-07-28 wire):

Server scenarios (test against a server):
  - ping
  - tools-list

Client scenarios (test against a client):
  - tools_call

Run and reported, but never scored:
  extension (2):
    - auth/dpop [client]
    - tasks-lifecycle [server]
  pending (1):
    - json-schema-2020-12 [server]
"""
GOOD = [{"id": "a", "status": "SUCCESS"}, {"id": "b", "status": "INFO"}]
WARNED = [*GOOD, {"id": "c", "status": "WARNING", "errorMessage": "it should"}]
BAD = [*GOOD, {"id": "c", "status": "FAILURE", "errorMessage": "it must"}]
WORSE = [{"id": "d", "status": "FAILURE", "errorMessage": "it must, too"}]
SKIPPED = [{"id": "a", "status": "SKIPPED"}]


def outcome(checks, exit_code=0, scored=("ping", "tools-list")):
    unscored = {"tasks-lifecycle": "extension", "new-thing": "pending"}
    return verdict.Outcome("a set", scored, unscored, checks, exit_code, 1.0)


def test_the_suites_list_yields_the_scored_scenarios_of_a_server():
    scored, unscored = verdict.required(LISTED)

    assert scored == ("ping", "tools-list")
    assert unscored == {"tasks-lifecycle": "extension", "json-schema-2020-12": "pending"}


@pytest.mark.parametrize(
    ("checks", "exit_code", "failed", "passed"),
    [
        ({"ping": GOOD, "tools-list": WARNED}, 0, [], True),
        ({"ping": GOOD, "tools-list": BAD}, 1, ["tools-list"], False),
        ({"ping": GOOD, "tools-list": BAD}, 0, ["tools-list"], False),
        ({"ping": GOOD}, 0, ["tools-list"], False),
        ({"ping": GOOD, "tools-list": []}, 0, ["tools-list"], False),
        ({"ping": GOOD, "tools-list": SKIPPED}, 0, ["tools-list"], False),
        ({}, 0, ["ping", "tools-list"], False),
        ({"ping": GOOD, "tools-list": GOOD}, 1, [], False),
        ({"ping": GOOD, "tools-list": GOOD, "tasks-lifecycle": BAD}, 0, [], True),
    ],
)
def test_only_a_scored_scenario_that_ran_and_succeeded_passes(checks, exit_code, failed, passed):
    judged = outcome(checks, exit_code)

    assert (judged.failed, judged.passed) == (failed, passed)


def test_a_set_without_scenarios_does_not_pass():
    assert not outcome({}, scored=()).passed


REASON = "the service has none"


@pytest.mark.parametrize(
    ("checks", "expected", "failed", "stale"),
    [
        ({"ping": BAD, "tools-list": GOOD}, ["ping:c"], [], []),
        ({"ping": BAD, "tools-list": GOOD}, ["ping"], [], []),
        ({"ping": BAD, "tools-list": GOOD}, ["ping:d"], ["ping"], ["ping:d"]),
        ({"ping": BAD, "tools-list": BAD}, ["ping:c"], ["tools-list"], []),
        ({"ping": [*BAD, *WORSE], "tools-list": GOOD}, ["ping:c"], ["ping"], []),
        ({"ping": GOOD, "tools-list": GOOD}, ["ping:c"], [], ["ping:c"]),
        ({"ping": GOOD, "tools-list": GOOD}, ["ping"], ["ping"], ["ping"]),
        ({"tools-list": GOOD}, ["ping:c"], ["ping"], ["ping:c"]),
        ({"ping": [], "tools-list": GOOD}, ["ping:c"], ["ping"], ["ping:c"]),
        ({"ping": SKIPPED, "tools-list": GOOD}, ["ping"], [], []),
    ],
)
def test_an_expected_failure_is_one_only_as_long_as_it_happens(checks, expected, failed, stale):
    judged = replace(outcome(checks, 1), expected=dict.fromkeys(expected, REASON))

    assert (judged.failed, judged.stale) == (failed, stale)
    assert judged.passed == (not failed and not stale)


def test_the_report_counts_an_expected_failure_as_no_pass_and_names_its_reason():
    judged = replace(outcome({"ping": BAD, "tools-list": GOOD}, 1), expected={"ping:c": REASON})

    lines = "\n".join(verdict.report(judged))

    assert "1 of 2 scored scenarios pass" in lines
    assert f"expected to fail, 1 ({REASON}): ping" in lines
    assert "FAILS" not in lines


def test_the_report_names_an_expected_failure_that_does_not_happen():
    judged = replace(outcome({"ping": GOOD, "tools-list": GOOD}), expected={"ping:c": REASON})

    assert "FAILS: ping:c is expected to fail, and does not" in "\n".join(verdict.report(judged))


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
def test_with_fixtures_the_service_fails_only_what_needs_a_session(revision):
    """Every other expected failure of the shipped service is a lack of fixtures."""
    shipped = service.read_expected(service.SHIPPED, revision)
    fixtures = service.read_expected(service.FIXTURES, revision)

    assert fixtures.keys() < shipped.keys()
    assert all("stateless" in reason for reason in fixtures.values())


def test_the_report_names_failures_warnings_and_what_is_not_scored_with_the_reason():
    checks = {"ping": WARNED, "tools-list": BAD, "tasks-lifecycle": BAD, "new-thing": BAD}

    lines = "\n".join(verdict.report(outcome(checks)))

    assert "1 of 2 scored scenarios pass" in lines
    assert "FAILS: tools-list\n    c: it must" in lines
    assert "warning: ping\n    c: it should" in lines
    assert f"tasks-lifecycle (extension): {verdict.NOT_HERE['tasks-*']}" in lines
    assert "new-thing (pending): it must" in lines


@pytest.mark.parametrize(
    ("folder", "scenario"),
    [
        ("server-ping-2026-11-24T15-43-35-488Z", "ping"),
        ("server-server-initialize-2026-11-24T15-43-35-488Z", "server-initialize"),
        (
            "server-json-schema-2020-12-2026-11-24T15-43-35-488Z",
            "json-schema-2020-12",
        ),
        ("tmp", None),
    ],
)
def test_a_results_folder_is_named_for_its_scenario(folder, scenario):
    assert verdict.scenario_of(folder) == scenario


@pytest.mark.anyio
@both_eras
async def test_a_resource_that_is_not_there_is_named_in_the_errors_data(sandbox, protocol_version):
    """Scenario `sep-2164-resource-not-found`, check `sep-2164-data-uri`."""
    async with connect(sandbox, protocol_version) as client:
        with pytest.raises(MCPError) as caught:
            await client.read_resource("kartra://nothing")

    assert caught.value.error.code == types.INVALID_PARAMS
    assert caught.value.error.data == {"uri": "kartra://nothing"}
