"""What every test shares."""

from __future__ import annotations

import pytest
from door import ERAS, Sandbox, StandIn


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=ERAS)
def era(request) -> str:
    """Both protocol eras."""
    return request.param


@pytest.fixture
def sandbox(tmp_path) -> Sandbox:
    return Sandbox(tmp_path / "state")


@pytest.fixture
def stand_in(tmp_path) -> StandIn:
    return StandIn(tmp_path / "stand-in")
