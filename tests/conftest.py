"""What every test shares."""

from __future__ import annotations

import signal

import pytest
from door import ERAS, APIStandIn, Programs, Sandbox, StandIn, sandbox_by
from http_stand_in import serving

for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    # A suite started in the background inherits ignored signals, and so would every program.
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def era() -> str:
    """The newest protocol era; `door.both_eras` gives both."""
    return ERAS[-1]


@pytest.fixture
def sandbox(tmp_path) -> Sandbox:
    """The account behind gate `flag`, for what is not about previews."""
    return Sandbox(tmp_path / "state", {"GATE_IRREVERSIBLE": "flag"})


@pytest.fixture
def stand_in(tmp_path) -> StandIn:
    """The scripted program behind gate `flag`."""
    return StandIn(tmp_path / "stand-in", {"GATE_IRREVERSIBLE": "flag"})


@pytest.fixture
def real_processes(monkeypatch) -> None:
    """Every start is a process: for tests whose subject that is."""
    monkeypatch.setattr(Programs, "real", True)


WAYS = ("cli", "api")


@pytest.fixture(params=WAYS)
def way(request) -> str:
    """How Membrane is asked: what a call does may not depend on it."""
    return request.param


@pytest.fixture
def either_stand_in(way, stand_in):
    """The scripted Membrane, its program or its API."""
    if way == "cli":
        yield stand_in
        return
    with serving(stand_in.folder) as address:
        yield APIStandIn(stand_in.folder, stand_in.settings, address)


@pytest.fixture
def either_sandbox(way, sandbox):
    """The account, behind its program or its API."""
    with sandbox_by(way, sandbox) as place:
        yield place
