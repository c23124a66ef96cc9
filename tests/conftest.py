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
    """The account behind gate `flag`, for what is not about previews."""
    return Sandbox(tmp_path / "state", {"GATE_IRREVERSIBLE": "flag"})


@pytest.fixture
def stand_in(tmp_path) -> StandIn:
    """The scripted program behind gate `flag`."""
    return StandIn(tmp_path / "stand-in", {"GATE_IRREVERSIBLE": "flag"})
