"""A few stories of `make matrix`, so that a change that breaks them does not wait for it."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from matrix.scripts import tell_script
from matrix.story import tell
from matrix.workers import FAULTS_BY_NAME
from matrix.world import World, running_world

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Generator[World]:
    with running_world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.mark.parametrize(
    ("point", "fault"),
    [
        ("commit_due", "database reset"),
        ("written", "upstream dropped"),
        ("commit_sent", "failover"),
    ],
)
def test_write_that_meets_a_fault_holds_every_property(world, point: str, fault: str) -> None:
    result = tell(world, point, FAULTS_BY_NAME[fault])
    assert result.reached
    assert result.violations == [], str(result)


@pytest.mark.parametrize("name", ["race for a cap", "effect after a lost answer"])
def test_story_of_several_writes_holds_every_property(world, name: str) -> None:
    result = tell_script(world, name)
    assert result.violations == [], str(result)
