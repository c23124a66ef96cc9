"""Processes that tell stories side by side, each in a world of its own."""

from __future__ import annotations

import multiprocessing
import multiprocessing.util
import os
import shutil
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from polling import wait_for

from matrix import scripts, soak, story
from matrix.checker import NOT_JUDGED, Violation
from matrix.faults import FAULTS
from matrix.seeded import BY_NAME as SEEDED_BY_NAME
from matrix.story import Result
from matrix.whole import schedule
from matrix.whole.world import WholeWorld
from matrix.world import World

T = TypeVar("T")
FAULTS_BY_NAME = {fault.name: fault for fault in FAULTS}


def run(
    work: Callable[[T], Result], tasks: Sequence[T], processes: int
) -> Iterator[tuple[T, Result]]:
    """Yield each task and its result as they come; each worker has a world of its own."""
    if not tasks:
        return
    context = multiprocessing.get_context("spawn")
    folder = Path(tempfile.mkdtemp(prefix="kartra-matrix-"))
    with ProcessPoolExecutor(min(processes, len(tasks)), context, _prepare, (folder,)) as pool:
        futures = {pool.submit(_attempt, work, task): task for task in tasks}
        for done in as_completed(futures):
            yield futures[done], done.result()
    shutil.rmtree(folder, ignore_errors=True)


class _AnyWorld(Protocol):
    def start(self) -> object: ...

    def close(self) -> None: ...


W = TypeVar("W", bound=_AnyWorld)


@dataclass
class _Place(Generic[W]):
    """The one world of a kind in a worker, made when it is needed."""

    make: Callable[[Path], W]
    folder: Path = Path()
    world: W | None = None
    runs: int = 0

    def get(self) -> W:
        if self.world is None:
            self.world = self.make(Path(tempfile.mkdtemp(dir=self.folder)))
            self.world.start()
            self.runs = 0
        self.runs += 1
        return self.world

    def close(self) -> None:
        if self.world is not None:
            self.world.close()
            self.world = None


_place = _Place(World)
_whole = _Place(WholeWorld)
RUNS_OF_A_WORLD = 30
"""Runs of whole replicas on one ledger: each judges all that happened in its world so far."""


def _prepare(folder: Path) -> None:
    _place.folder = _whole.folder = folder
    multiprocessing.util.Finalize(None, _close, exitpriority=10)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()


def _end_with_parent(parent: int) -> None:
    """Leave no server behind where the run was killed."""
    wait_for(lambda: os.getppid() != parent, within=float("inf"), every=1)
    _close()
    os._exit(1)


def _close() -> None:
    _place.close()
    _whole.close()


TRIES = 3


def _attempt(work: Callable[[T], Result], task: T) -> Result:
    """Return the result; a story that could not be judged is told again, a few times."""
    told = [_tell(work, task)]
    while len(told) < TRIES and not told[-1].is_judged:
        told.append(_tell(work, task))
    told[-1].earlier = told[:-1]
    return told[-1]


def _tell(work: Callable[[T], Result], task: T) -> Result:
    """Return the result; a story that failed by itself is one, and its world is not used again."""
    try:
        return work(task)
    except Exception:  # noqa: BLE001  the other stories go on
        _close()
        text = "".join(traceback.format_exc()[-1500:])
        return Result("", f"{task}", False, [Violation(NOT_JUDGED, f"the story failed: {text}")])


def tell_cell(task: tuple[str, str]) -> Result:
    """Tell the story of a point and a fault."""
    point, name = task
    return story.tell(_place.get(), point, FAULTS_BY_NAME[name])


def tell_script(name: str) -> Result:
    return scripts.tell_script(_place.get(), name)


def tell_seeded(name: str) -> Result:
    """Tell the story in which a seeded fault has to be caught."""
    return tell_with_fault(_place.get(), name)


def tell_with_fault(world: World, name: str, patience: float = story.PATIENCE) -> Result:
    """Put a seeded fault into the replicas of its story, and tell that."""
    where = SEEDED_BY_NAME[name].story
    if isinstance(where, str):
        return scripts.tell_script(world, where, [name])
    point, fault = where
    return story.tell(world, point, FAULTS_BY_NAME[fault], [name], patience)


def play_schedule(seed: int) -> Result:
    return soak.play(_place.get(), soak.draw(seed))


def play_whole(seed: int) -> Result:
    """Play a run of whole replicas; a violation would be seen in each later run of its world."""
    result = schedule.play(_whole.get(), schedule.draw(seed))
    if result.violations or _whole.runs >= RUNS_OF_A_WORLD:
        _whole.close()
    return result
