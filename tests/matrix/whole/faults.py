"""Faults of whole replicas, each with its healing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx2
from polling import wait_for

from kartra_mcp.sandbox.team.browser import Browser, BrowserError
from matrix.relay import Relay
from matrix.whole.replica import WholeReplica
from matrix.whole.world import ACCOUNTS, WholeWorld

Act = Callable[[WholeWorld, WholeReplica], Any]
Reach = Callable[[WholeWorld, WholeReplica], list[Relay]]


def _nothing(_: WholeWorld, __: WholeReplica) -> None:
    pass


@dataclass(frozen=True)
class WholeFault:
    """A fault; `alone`: it hits the database, so that no other fault fits beside it."""

    name: str
    strike: Act
    heal: Act = _nothing
    alone: bool = False


def _own_database(_: WholeWorld, one: WholeReplica) -> list[Relay]:
    return list(one.databases)


def _every_database(world: WholeWorld, _: WholeReplica) -> list[Relay]:
    return [relay for one in world.replicas for relay in one.databases]


def _own_membrane(_: WholeWorld, one: WholeReplica) -> list[Relay]:
    return list(one.upstreams.values())


def _every_membrane(world: WholeWorld, _: WholeReplica) -> list[Relay]:
    return [relay for one in world.replicas for relay in one.upstreams.values()]


def _on(reach: Reach, act: Callable[[Relay], None]) -> Act:
    def work(world: WholeWorld, victim: WholeReplica) -> None:
        for relay in reach(world, victim):
            act(relay)

    return work


def _partition(name: str, reach: Reach) -> tuple[WholeFault, WholeFault]:
    """Return the cut, which resets connections, and the hold, which loses nothing."""
    heal = _on(reach, lambda relay: relay.heal())
    return (
        WholeFault(f"{name} cut", _on(reach, lambda relay: relay.cut()), heal),
        WholeFault(f"{name} held", _on(reach, lambda relay: relay.hold()), heal),
    )


def _restart(_: WholeWorld, victim: WholeReplica) -> None:
    victim.end()
    victim.start()


def _crash_database(world: WholeWorld, _: WholeReplica) -> None:
    world.pair.primary.stop("immediate")


def _restart_database(world: WholeWorld, _: WholeReplica) -> None:
    world.pair.primary.start()


def stop_writes(world: WholeWorld, _: WholeReplica) -> None:
    """A user of support stops the writes of the first account, on the page."""
    root = f"/page/a/{ACCOUNTS[0]}"
    with suppress(BrowserError, httpx2.HTTPError), Browser(world.balancer.address) as browser:
        browser.log_in("sam")
        browser.submit(f"{root}/status", f"{root}/writes/stop", reason="by chance")


def resume_writes(world: WholeWorld) -> None:
    """Two approvers resume the writes, if they are stopped."""

    def resume_once() -> bool:
        for login in ("hana", "hugo"):
            with suppress(BrowserError, httpx2.HTTPError):
                _resume(world, login)
        return world.writes_run(ACCOUNTS[0])

    if not world.writes_run(ACCOUNTS[0]):
        wait_for(resume_once, within=60, every=0.5)


def _resume(world: WholeWorld, login: str) -> None:
    root = f"/page/a/{ACCOUNTS[0]}"
    with Browser(world.balancer.address) as browser:
        browser.log_in(login)
        browser.submit(f"{root}/status", f"{root}/writes/resume")


FAULTS: tuple[WholeFault, ...] = (
    WholeFault("killed", lambda _, victim: victim.kill(), _restart),
    WholeFault("terminated", lambda _, victim: victim.terminate(), _restart),
    WholeFault("paused", lambda _, victim: victim.pause(), lambda _, victim: victim.resume()),
    *_partition("database of one", _own_database),
    *_partition("database of all", _every_database),
    *_partition("Membrane of one", _own_membrane),
    *_partition("Membrane of all", _every_membrane),
    WholeFault("database crashed", _crash_database, _restart_database, alone=True),
    WholeFault("failover", lambda world, _: world.fail_over(), alone=True),
    WholeFault("writes stopped", stop_writes),
)
BY_NAME = {fault.name: fault for fault in FAULTS}
