"""The team service under the suite: a whole team on this machine, and its replicas with a token.

The suite cannot send a token, so that a relay adds it (`http_wire.py`). The path of a request is
the suite, the balancer at the service's public address, the relay, and the next of two replicas.
Two sets of replicas are judged: those that `kartra-mcp serve --http` starts, as they are, and two
with the suite's fixtures (`serve_replica.py`). Expected failures and their reasons are in
`expected_failures.toml`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from clients import trace
from http_wire import HttpWire
from loopback_app import HOST, running_app

from conformance.suite import NotRun, Suite
from conformance.verdict import Outcome
from kartra_mcp.sandbox.team.postgres import PostgresError, find_free_port
from kartra_mcp.sandbox.team.processes import (
    ProcessFailedError,
    running_program,
    wait_until_ready,
)
from kartra_mcp.sandbox.team.world import TeamWorld, running_team

HERE = Path(__file__).parent
EXPECTED = HERE / "expected_failures.toml"
ACCOUNT, PERSON = "main", "bea"
REPLICAS = 2
SHIPPED, FIXTURES = "service as shipped", "service with fixtures"


@dataclass
class ServiceUnderTest:
    """The address that the suite gets, and the relay behind it."""

    url: str
    wire: HttpWire


def check_service(
    suite: Suite, folder: Path, revisions: tuple[str, ...], *, shipped: bool
) -> Iterator[Outcome]:
    """Judge the replicas with the suite's fixtures, and with `shipped` those without them first."""
    folder.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    try:
        with running_team(folder, environment) as world, _relayed(world) as service:
            _require_authorization(suite, service)
            if shipped:
                yield from _check(suite, service, SHIPPED, revisions)
            with _fixture_replicas(world) as ports:
                service.wire.ports = ports
                yield from _check(suite, service, FIXTURES, revisions)
    except (PostgresError, ProcessFailedError) as problem:
        raise NotRun(f"the team did not start: {problem}") from None


def _check(
    suite: Suite, service: ServiceUnderTest, name: str, revisions: tuple[str, ...]
) -> Iterator[Outcome]:
    for revision in revisions:
        expected = read_expected(name, revision)
        yield suite.check_requirements(service.url, revision, f"{name}, ", expected)


def read_expected(name: str, revision: str, file: Path = EXPECTED) -> Mapping[str, str]:
    """Return the expected failures, `scenario` or `scenario:check`, each with its reason."""
    groups = tomllib.loads(file.read_text("utf-8"))["group"]
    return {
        failure: group["reason"]
        for group in groups
        if name in group["servers"] and revision in group["revisions"]
        for failure in group["failures"]
    }


def _require_authorization(suite: Suite, service: ServiceUnderTest) -> None:
    """Raise unless every request without a token is refused: else a token would prove nothing."""
    wire = service.wire
    token, wire.token = wire.token, None
    wire.log = suite.home / "wire.jsonl"
    ran = suite.run_scenarios(service.url, ("--scenario", "tools-list"))
    answered = {line.said for line in trace.read(wire.log) if line.source == "response"}
    wire.token, wire.log = token, None
    if ran.exit_code == 0 or answered != {HTTPStatus.UNAUTHORIZED}:
        raise NotRun(f"without a token the service answered with {answered}:\n{ran.printed}")


@contextmanager
def _relayed(world: TeamWorld) -> Generator[ServiceUnderTest]:
    url = world.endpoint(ACCOUNT)
    wire = HttpWire(list(world.replicas), lambda: world.provider.access_token(PERSON, url))
    with running_app(wire) as port:
        world.balancer.backends[:] = [port]
        yield ServiceUnderTest(url, wire)


@contextmanager
def _fixture_replicas(world: TeamWorld) -> Generator[list[int]]:
    """Start replicas with the suite's fixtures on the same team; yield their ports."""
    environment = {**world.environment, "PYTHONPATH": str(HERE.parent)}
    with ExitStack() as stack:
        ports = [find_free_port() for _ in range(REPLICAS)]
        for port in ports:
            words = [f"--http={HOST}:{port}", f"--team={world.team_file}"]
            state = f"--state-dir={world.folder / f'fixtures-{port}'}"
            log = world.folder / f"fixtures-{port}.log"
            line = ["conformance.serve_replica", *words, state]
            program = stack.enter_context(running_program(line, environment, log))
            wait_until_ready(program, f"http://{HOST}:{port}/readyz")
        yield ports
