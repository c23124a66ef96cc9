"""What every test shares."""

from __future__ import annotations

import signal

import pytest
from door import ERAS, Sandbox, StandIn

for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    # A suite started in the background inherits ignored signals, and so would every program.
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)


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
