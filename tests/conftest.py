"""Fixtures and settings that every test shares."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from certificates import share_certificates
from examples import load_profile
from fake_membrane_api import serving
from harness import ERAS, APIStandIn, Programs, Sandbox, StandIn, sandbox_by
from memory_folder import use_memory

for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    # A suite started in the background inherits ignored signals, and so would every program.
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)

# Tests make many objects and few cycles: collect less often.
gc.set_threshold(100_000, 20, 100)
load_profile()
use_memory(os.environ)
share_certificates()


def pytest_collection_finish() -> None:
    """Exempt modules and collected tests from garbage collection: they stay until the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def protocol_version() -> str:
    """The newest protocol era; `harness.both_eras` gives both."""
    return ERAS[-1]


@pytest.fixture
def sandbox(tmp_path) -> Sandbox:
    """The account behind gate `flag`, for what is not about previews."""
    return Sandbox(tmp_path / "state", {"GATE_IRREVERSIBLE": "flag"})


@pytest.fixture
def fake_membrane(tmp_path) -> StandIn:
    """The scripted program behind gate `flag`."""
    return StandIn(tmp_path / "stand-in", {"GATE_IRREVERSIBLE": "flag"})


@pytest.fixture
def real_processes(monkeypatch) -> None:
    """Every start is a process: for tests whose subject that is."""
    monkeypatch.setattr(Programs, "real", True)


@pytest.fixture(scope="session")
def team_database() -> Iterator[Any]:
    """One PostgreSQL for the tests of this worker; it never syncs.

    Outside pytest's folder, which each run of pytest closes to the user that the server runs as.
    """
    from ledger_stores import TeamDatabase
    from postgres_server import running_postgres

    off = dict.fromkeys(("fsync", "full_page_writes", "synchronous_commit"), "off")
    with (
        TemporaryDirectory(prefix="kartra-mcp-team-") as folder,
        running_postgres(Path(folder) / "data", **off) as server,
    ):
        database = TeamDatabase(server)
        yield database
        database.connections.close()


@pytest.fixture
def clock() -> Any:
    from tests.team_people import Time

    return Time()


@pytest.fixture
def ledger(tmp_path, clock) -> Iterator[Any]:
    """The ledger of one user over SQLite, for rules that no store knows of."""
    from kartra_mcp.ledger.sqlite.store import open_ledger

    with closing(open_ledger(tmp_path / "state", clock, steady=clock)) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgres"])
def ledger_place(request, tmp_path) -> Any:
    """Place of one empty ledger: every rule holds in each store."""
    from ledger_stores import FilePlace

    if request.param == "sqlite":
        return FilePlace(tmp_path / "state")
    return request.getfixturevalue("team_database").make_empty()


WAYS = ("cli", "api")


@pytest.fixture(params=WAYS)
def transport(request) -> str:
    """The transport to Membrane: the effects of a call must not depend on it."""
    return request.param


@pytest.fixture
def any_transport_fake(transport, fake_membrane):
    """The scripted Membrane, its program or its API."""
    if transport == "cli":
        yield fake_membrane
        return
    with serving(fake_membrane.folder) as address:
        yield APIStandIn(fake_membrane.folder, fake_membrane.settings, address)


@pytest.fixture
def any_transport_sandbox(transport, sandbox):
    """The account, behind its program or its API."""
    with sandbox_by(transport, sandbox) as place:
        yield place


@pytest.fixture(params=["sqlite", "postgres"])
def make_sandbox(request, tmp_path) -> Iterator[Callable[..., Sandbox]]:
    """Makes an account whose writes are in the ledger of one user, or in that of a team."""
    from consent_actors import sandbox

    with ExitStack() as stack:

        def make(**settings: str) -> Sandbox:
            place = sandbox(tmp_path, **settings)
            if request.param == "sqlite":
                return place
            place = stack.enter_context(sandbox_by("api", place))
            place.ledger_place = request.getfixturevalue("team_database").make_empty()
            return place

        yield make
