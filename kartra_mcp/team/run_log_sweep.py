"""Comparison of Membrane's run logs with a ledger: writes that the ledger lacks. Pure.

Each write over Membrane's API carries the id of its intent, and number and hash of its entry. A
database that was rolled back lacks the newest entries; Membrane's log still has their runs.
Raw requests leave no run log, so that they are not found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from kartra_mcp.core.json_types import is_number
from kartra_mcp.membrane.http_messages import HASH_META_KEY, INTENT_META_KEY, LINE_META_KEY
from kartra_mcp.membrane.logged_runs import LoggedRun


@dataclass(frozen=True, slots=True)
class SweepFindings:
    """Contradictions between run logs and the ledger.

    Attributes:
        runs: number of runs that carry an intent.
        lost: for each intent that the ledger lacks, its runs, oldest first.
        altered: intents whose entry had another hash when they were sent, with its number.
    """

    runs: int
    lost: tuple[tuple[str, tuple[LoggedRun, ...]], ...]
    altered: tuple[tuple[str, int], ...]


def compare_runs(
    runs: Iterable[LoggedRun],
    is_adopted: Callable[[str], bool | None],
    hash_of: Callable[[int], str | None],
) -> SweepFindings:
    """Compare run logs with a ledger.

    Args:
        runs: newest first.
        is_adopted: False for an intent of the ledger, True for one that an earlier sweep
            recorded, whose entry is not the one of the run; None if the ledger lacks it.
        hash_of: hash of the entry with a number, None if there is none.
    """
    marked = [(intent, run) for run in runs if (intent := get_intent(run))]
    lost: dict[str, list[LoggedRun]] = {}
    altered: dict[str, int] = {}
    for intent, run in marked:
        line, hash_ = run.meta.get(LINE_META_KEY), run.meta.get(HASH_META_KEY)
        adopted = is_adopted(intent)
        if adopted is None:
            lost.setdefault(intent, []).insert(0, run)
        elif not adopted and is_number(line) and hash_ and hash_of(int(line)) != hash_:
            altered[intent] = int(line)
    oldest_first = sorted(lost.items(), key=_created_at)
    return SweepFindings(
        len(marked),
        tuple((intent, tuple(found)) for intent, found in oldest_first),
        tuple(altered.items()),
    )


def get_intent(run: LoggedRun) -> str:
    """Return the intent that a run carries, "" if it was started by another program."""
    found: Any = run.meta.get(INTENT_META_KEY)
    return found if isinstance(found, str) else ""


def _created_at(row: tuple[str, list[LoggedRun]]) -> float:
    return row[1][0].created_at or 0.0
