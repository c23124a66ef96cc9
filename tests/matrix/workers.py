"""Processes that tell stories side by side, each in a world of its own."""

from __future__ import annotations

import multiprocessing
import multiprocessing.util
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

from matrix import soak, story
from matrix.faults import FAULTS
from matrix.story import Result
from matrix.world import World

T = TypeVar("T")
BY_NAME = {fault.name: fault for fault in FAULTS}
_worlds: list[World] = []


def run(work: Callable[[T], Result], tasks: Sequence[T], processes: int) -> Iterator[Result]:
    """Yield results as they come; each worker has a world of its own."""
    context = multiprocessing.get_context("spawn")
    folder = Path(tempfile.mkdtemp(prefix="kartra-matrix-"))
    with ProcessPoolExecutor(min(processes, len(tasks)), context, open_world, (folder,)) as pool:
        futures = [pool.submit(work, task) for task in tasks]
        for done in as_completed(futures):
            yield done.result()
    shutil.rmtree(folder, ignore_errors=True)


def open_world(folder: Path) -> None:
    place = Path(tempfile.mkdtemp(dir=folder))
    world = World(place)
    multiprocessing.util.Finalize(None, world.close, exitpriority=10)
    _worlds.append(world.start())


def tell_cell(task: tuple[str, str, Sequence[str]]) -> Result:
    point, name, seeded = task
    return story.tell(_worlds[0], point, BY_NAME[name], seeded)


def play_schedule(task: tuple[int, Sequence[str]]) -> Result:
    seed, seeded = task
    return soak.play(_worlds[0], soak.draw(seed), seeded)
