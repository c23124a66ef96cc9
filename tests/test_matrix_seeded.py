"""Each fault that is put into the protocol reaches the code that it is about, and is caught.

A rename in the product can make a patch do nothing; then the matrix proves less than it shows.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest
from matrix import seeded
from matrix.checker import Violation
from matrix.story import Result
from matrix.tables import seeded as make_table
from matrix.workers import tell_with_fault
from matrix.world import World, running_world

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
PATIENCE = 12.0
"""Seconds to settle, which takes five: a fault that lets nothing settle uses all of them."""

TRIES = 3
"""Stories in which a fault has to be caught: in a race, who comes first is chance."""


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Generator[World]:
    with running_world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.mark.parametrize("name", [fault.name for fault in seeded.SEEDED])
def test_seeded_fault_is_reached_and_caught(world, name: str) -> None:
    results: list[Result] = []
    while len(results) < TRIES and not any(one.is_caught for one in results):
        results.append(tell_with_fault(world, name, PATIENCE))
    assert results[-1].dead == []
    assert results[-1].is_caught, str(results[-1])


def test_patch_of_a_function_that_is_gone_is_an_error() -> None:
    with pytest.raises(AttributeError):
        seeded.put(seeded, "a_function_of_another_name", print)


def test_fault_whose_patch_was_never_called_is_not_caught() -> None:
    found = Result("", "race", True, [Violation(1, "twice")], dead=["rules.duplicate_refusal"])
    assert not found.is_caught
    assert "never called" in make_table({"no rules": found})
