"""The team service over HTTP: lists, reads and writes of people with roles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from service_world import LEGACY, MODERN, TeamWorld, team_world

ADA = "ada@example.com"


@pytest.fixture(scope="module")
def world(team_database: Any) -> Iterator[TeamWorld]:
    with TemporaryDirectory() as folder, team_world(Path(folder), team_database) as world:
        world.add_account("Main shop")
        world.start_replica()
        yield world


@pytest.fixture
def account(world: TeamWorld) -> str:
    return next(iter(world.sandboxes))


@pytest.mark.parametrize("era", [MODERN, LEGACY])
def test_an_operator_lists_reads_and_writes(world: TeamWorld, account: str, era: str):
    ann = world.caller(f"ann-{era}", account, "operator", era=era)
    assert {"kartra_status", "kartra_get_lead", "kartra_assign_tag"} <= ann.tools().keys()
    assert ann.call("kartra_get_lead", email=ADA).structured["result"]
    tag = f"tag-{era}"
    world.sandboxes[account].rows("INSERT INTO tags (name) VALUES (?)", tag)
    tagged = ann.call("kartra_assign_tag", email=ADA, tag_name=tag)
    assert tagged.structured["receipt"]["done"]
    (line,) = ann.call("kartra_ledger", count=1).structured["result"]["lines"]
    assert line["state"] == "succeeded", line
    assert line["actor"] == f"ann-{era}"
