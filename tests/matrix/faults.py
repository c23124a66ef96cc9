"""Faults that strike at a point of a write, and their healing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from polling import wait_for

from matrix.points import POINTS
from matrix.world import Member, World


@dataclass(frozen=True)
class Scene:
    """The world, the replica that the fault hits, and the other one."""

    world: World
    victim: Member
    rival: Member


Act = Callable[[Scene], Any]


def _nothing(_: Scene) -> None:
    pass


@dataclass(frozen=True)
class Fault:
    """A fault.

    Args:
        strike: at the point.
        heal: later; until then the others go on.
        prepare: before the write begins.
        patient: the others settle the write and ask again before it heals.
        alone: it hits the whole pair, so that no other fault fits beside it.
        fails_over: the standby takes over, so that an operator has to sweep the run logs.
        points: where it differs from no fault.
        sync: False for a pair whose standby is not waited for.
    """

    name: str
    strike: Act
    heal: Act = _nothing
    prepare: Act = _nothing
    patient: bool = False
    alone: bool = False
    fails_over: bool = False
    points: tuple[str, ...] = POINTS
    sync: bool = True


_AFTER_COMMIT = POINTS[POINTS.index("commit_acked") :]
_UPSTREAM = POINTS[POINTS.index("minted") : POINTS.index("answer_read") + 1]
_DUE = ("commit_due", "outcome_due")


def _kill(scene: Scene) -> None:
    scene.victim.replica.kill()


def _pause(scene: Scene) -> None:
    scene.victim.replica.pause()


def _resume(scene: Scene) -> None:
    scene.victim.replica.resume()


def _reset_database(scene: Scene) -> None:
    for relay in scene.victim.databases:
        relay.cut()


def _drop_database(scene: Scene) -> None:
    for relay in scene.victim.databases:
        relay.hold()


def _heal_database(scene: Scene) -> None:
    for relay in scene.victim.databases:
        relay.heal()


def _reset_upstream(scene: Scene) -> None:
    scene.victim.upstream.cut()


def _drop_upstream(scene: Scene) -> None:
    scene.victim.upstream.hold()


def _heal_upstream(scene: Scene) -> None:
    scene.victim.upstream.heal()


def _crash_database(scene: Scene) -> None:
    scene.world.pair.primary.stop("immediate")


def _restart_database(scene: Scene) -> None:
    scene.world.pair.primary.start()


def _fail_over(scene: Scene) -> None:
    """The primary dies, and the standby takes its place."""
    scene.world.fail_over()


def _split(scene: Scene) -> None:
    """The standby takes over, and the old primary goes on alone: its commits wait for ever."""
    scene.world.pair.hold_stream()
    scene.world.promote()


def _end_split(scene: Scene) -> None:
    scene.world.stop_old_primary()


def _hold_stream(scene: Scene) -> None:
    scene.world.pair.hold_stream()


def _signal_commit(signal: Callable[[Scene], int]) -> Act:
    """Let the COMMIT that is due hang for its standby; then send its backend a signal."""

    def strike(scene: Scene) -> None:
        scene.world.pair.hold_stream()

        def wait_and_signal() -> None:
            with suppress(TimeoutError):
                wait_for(lambda: signal(scene), within=10)

        threading.Thread(target=wait_and_signal, daemon=True).start()

    return strike


_cancel_commit = _signal_commit(lambda scene: scene.world.pair.cancel_waiting_commits())
_terminate_commit = _signal_commit(lambda scene: scene.world.pair.terminate_waiting_commits())


def _heal_stream(scene: Scene) -> None:
    scene.world.pair.heal_stream()


def _set_clock(seconds: float) -> Act:
    return lambda scene: scene.victim.replica.set_clock(seconds)


def _stop_clock(scene: Scene) -> None:
    scene.victim.replica.set_clock(0)


FAULTS: tuple[Fault, ...] = (
    Fault("killed", _kill),
    Fault("paused", _pause, _resume, patient=True),
    Fault("database reset", _reset_database, _heal_database),
    Fault("database dropped", _drop_database, _heal_database, patient=True),
    Fault("upstream reset", _reset_upstream, _heal_upstream, points=_UPSTREAM),
    Fault("upstream dropped", _drop_upstream, _heal_upstream, patient=True, points=_UPSTREAM),
    Fault("database crashed", _crash_database, _restart_database),
    Fault("failover", _fail_over, alone=True, fails_over=True),
    Fault("split", _split, _end_split, alone=True, fails_over=True),
    Fault(
        "failover that forgets",
        _fail_over,
        prepare=_hold_stream,
        alone=True,
        fails_over=True,
        points=_AFTER_COMMIT,
        sync=False,
    ),
    Fault("commit cancelled", _cancel_commit, _heal_stream, points=_DUE, alone=True),
    Fault("commit terminated", _terminate_commit, _heal_stream, points=_DUE, alone=True),
    Fault(
        "commit cancelled and lost",
        _cancel_commit,
        _fail_over,
        alone=True,
        fails_over=True,
        points=("commit_due",),
    ),
    Fault("clock ahead", _set_clock(600), _stop_clock),
    Fault("clock behind", _set_clock(-600), _stop_clock),
)
