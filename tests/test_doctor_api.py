"""Measurements of `kartra-mcp doctor` on a workspace: its clock, and the end of its tokens."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import command_line
import pytest
from harness import APISandbox, Sandbox, sandbox_served

from kartra_mcp.membrane.clock_skew import measure_skew
from kartra_mcp.onboarding.doctor.api_measurements import judge_token_end


@pytest.fixture
def place(tmp_path: Path) -> Generator[APISandbox]:
    with sandbox_served(Sandbox(tmp_path / "state").arrange("reset")) as served:
        yield served


def measured(place: APISandbox) -> dict[str, dict[str, Any]]:
    """Return the findings by step; nothing was written to the account."""
    before = [line for line in place.dump() if "INSERT" in line]
    ended = command_line.run(["doctor", "--json"], env=place.environment)
    assert [line for line in place.dump() if "INSERT" in line] == before
    assert not [row for row in place.requests() if row["effects"]]
    return {found["step"]: found for found in json.loads(ended.stdout)["findings"]}


def test_a_workspace_that_refuses_tokens_that_ended_is_a_fence(place: APISandbox):
    found = measured(place)
    assert (found["api clock"]["state"], found["api tokens"]["state"]) == ("ok", "ok")
    assert "refuses a token 1 s after its end" in found["api tokens"]["says"]
    probes = [row for row in place.requests() if row["decision"] == "refused"]
    assert [row["method"] for row in probes] == ["GET"] * 4
    ages = [row["received_at"] - row["token_end"] for row in probes]
    assert all(age >= wanted for age, wanted in zip(ages, (1, 5, 30, 60), strict=True))


@pytest.mark.parametrize(
    ("leeway", "state", "text"),
    [
        ("10", "ok", "refuses a token 30 s after its end, and accepts one 5 s after it"),
        ("any", "warning", "accepts a token 60 seconds after its end"),
    ],
)
def test_a_leeway_is_measured(place: APISandbox, leeway: str, state: str, text: str):
    place.arrange("tokens", f"--leeway={leeway}")
    found = measured(place)["api tokens"]
    assert found["state"] == state
    assert text in found["says"]
    if state == "warning":
        assert "kartra-mcp ledger settle INTENT failed" in found["mend"]


def test_a_fixed_token_is_named_with_its_rule(place: APISandbox):
    place.token = "pat-sandbox-of-the-tests"
    found = measured(place)["api tokens"]
    assert found["state"] == "warning"
    assert "kartra-mcp ledger settle INTENT failed" in found["mend"]


@pytest.mark.parametrize(
    ("ahead", "state"), [(0, "ok"), (6, "warning"), (-6, "warning"), (15, "failed")]
)
def test_the_clocks_are_compared(place: APISandbox, ahead: int, state: str):
    place.arrange("clock", f"--ahead={ahead}")
    found = measured(place)["api clock"]
    assert found["state"] == state
    assert ("No irreversible write begins" in found["says"]) == (state == "failed")
    assert ("Set the clock" in found["mend"]) == (state != "ok")


@pytest.mark.parametrize(
    ("refused", "state"),
    [
        ({1: True, 5: True, 30: True, 60: True}, "ok"),
        ({1: False, 5: True, 30: True, 60: True}, "ok"),
        ({1: False, 5: False, 30: False, 60: True}, "ok"),
        ({1: False, 5: False, 30: False, 60: False}, "warning"),
        ({1: True, 5: True, 30: True, 60: False}, "warning"),
    ],
)
def test_the_longest_accepted_age_decides(refused: dict[int, bool], state: str):
    assert judge_token_end(refused).state == state


AT = "Sun, 29 Nov 2026 12:00:00 GMT"
THEN = 1_795_953_600.0


@pytest.mark.parametrize(
    ("sent_at", "received_at", "certain"),
    [
        (THEN + 0.2, THEN + 0.4, 0.0),
        (THEN - 20, THEN - 19.5, 19.5),
        (THEN + 20, THEN + 20.5, -19.0),
        (THEN - 0.5, THEN + 1.5, 0.0),
    ],
)
def test_a_difference_is_what_one_response_proves(
    sent_at: float, received_at: float, certain: float
):
    skew = measure_skew(AT, sent_at, received_at)
    assert skew is not None
    assert skew.certain == pytest.approx(certain)


@pytest.mark.parametrize(("date", "took"), [("", 0.1), ("yesterday", 0.1), (AT, 30.0), (AT, -5.0)])
def test_a_response_that_proves_little_is_not_used(date: str, took: float):
    assert measure_skew(date, THEN, THEN + took) is None
