"""The points of a write, in their order, as they are seen from outside its process.

A watch follows one write on the relays of its replica and calls `act` when the write is at its
point: in the thread that passes the bytes, so that the write is exactly there meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from matrix.messages import (
    BEGIN,
    BEGUN,
    COMMIT,
    COMMITTED,
    INTENT,
    LOCK,
    OUTCOME,
    READY,
    REQUEST,
    RESPONSE,
)
from matrix.relay import ACCEPTED, Moment, Passing

Source = Literal["database", "upstream", "replica"]
MINTED = "minted"
TAKEN = "TAKEN"
"""Label of "the upstream has accepted it", which only its journal shows."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that passes on the way of a write."""

    source: Source
    label: str
    moment: Moment


STEPS: dict[str, Step] = {
    "begin_sent": Step("database", BEGIN, "before"),
    "begun": Step("database", BEGUN, "after"),
    "locked": Step("database", READY, "after"),
    "commit_due": Step("database", COMMIT, "before"),
    "commit_sent": Step("database", COMMIT, "after"),
    "commit_acked": Step("database", COMMITTED, "after"),
    MINTED: Step("replica", MINTED, "after"),
    "connected": Step("upstream", ACCEPTED, "after"),
    "written": Step("upstream", REQUEST, "before"),
    "accepted": Step("upstream", TAKEN, "after"),
    "applied": Step("upstream", RESPONSE, "before"),
    "answer_read": Step("database", BEGIN, "before"),
    "outcome_due": Step("database", COMMIT, "before"),
    "outcome_sent": Step("database", COMMIT, "after"),
    "outcome_acked": Step("database", COMMITTED, "after"),
}
"""Point to what shows it.

One message begins a write and takes the head row. At `begun` the replica has the first part of its
answer, at `locked` all of it; the row is locked at both. A COMMIT that is `due` was written by the
replica, and PostgreSQL has not got it.
"""

POINTS = tuple(STEPS)


_OF_INTENT = {COMMIT: ("commit_due", "commit_sent"), COMMITTED: ("commit_acked",)}
_OF_OUTCOME = {COMMIT: ("outcome_due", "outcome_sent"), COMMITTED: ("outcome_acked",)}


@dataclass
class Watch:
    """Follows one write of one replica.

    Args:
        point: the point at which `act` is called, once; "" only counts.
        act: the fault.
        skip: number of transactions of the call before the one that records the intent.

    `reached` is set as `act` begins, and `acted` once it has ended: nothing may heal before.
    """

    point: str
    act: Callable[[], None] = lambda: None
    skip: int = 0
    begins: int = 0
    intent_at: int = -1
    """Number of the transaction that recorded the intent; -1 before."""

    reached: threading.Event = field(default_factory=threading.Event)
    acted: threading.Event = field(default_factory=threading.Event)
    is_over: bool = False
    seen: list[str] = field(default_factory=list)
    _link: int = -1
    _labels: dict[int, set[str]] = field(default_factory=dict)
    """Messages that passed on each connection since its last BEGIN."""

    _guard: threading.Lock = field(default_factory=threading.Lock)

    def on_database(self, passing: Passing) -> None:
        with self._guard:
            if self._is_past("commit_acked"):
                self._after_commit(passing)
            else:
                self._before_commit(passing)
        self._act_if_due()

    def on_upstream(self, passing: Passing) -> None:
        labels, moment = passing.labels, passing.moment
        with self._guard:
            if not self._is_past("commit_acked"):
                return
            if ACCEPTED in labels:
                self._pass("connected")
            elif REQUEST in labels and moment == "before":
                self._pass("written")
            elif REQUEST in labels and self._is_past("written"):
                self._pass("accepted")
            elif RESPONSE in labels:
                self._pass("applied", moment)
        self._act_if_due()

    def stop(self) -> bool:
        """Let `act` not begin any more; return whether it has begun, and wait for its end."""
        with self._guard:
            self.is_over = True
        if self.reached.is_set():
            self.acted.wait()
        return self.reached.is_set()

    def on_replica(self, point: str) -> None:
        with self._guard:
            self._pass(point)
        self._act_if_due()

    def _before_commit(self, passing: Passing) -> None:
        link, moment = passing.link, passing.moment
        known = self._note(passing)
        if BEGIN in passing.labels and moment == "before":
            self.begins += 1
            if self.begins == self.skip + 1:
                self._link = link
                self._pass("begin_sent")
        if INTENT in passing.labels:
            self.intent_at = self.begins - 1
        if link == self._link and BEGUN in passing.labels:
            self._pass("begun", moment)
        if link == self._link and READY in passing.labels and LOCK in known:
            self._pass("locked", moment)
        if INTENT in known:
            self._pass_each(_OF_INTENT, passing)

    def _after_commit(self, passing: Passing) -> None:
        known = self._note(passing)
        if BEGIN in passing.labels and self._is_past("applied"):
            self._pass("answer_read", passing.moment)
        if OUTCOME in known and self._is_past("answer_read"):
            self._pass_each(_OF_OUTCOME, passing)

    def _note(self, passing: Passing) -> set[str]:
        """Return the labels of a connection since its last BEGIN."""
        if BEGIN in passing.labels and passing.moment == "before":
            self._labels[passing.link] = set()
        known = self._labels.setdefault(passing.link, set())
        known |= passing.labels
        return known

    def _is_past(self, point: str) -> bool:
        return point in self.seen

    def _pass_each(self, points: Mapping[str, Sequence[str]], passing: Passing) -> None:
        for label in passing.labels & points.keys():
            for point in points[label]:
                self._pass(point, passing.moment)

    def _pass(self, point: str, moment: Moment | None = None) -> None:
        if point not in self.seen and moment in (None, STEPS[point].moment):
            self.seen.append(point)

    def _act_if_due(self) -> None:
        with self._guard:
            if self.point not in self.seen or self.reached.is_set() or self.is_over:
                return
            self.reached.set()
        try:
            self.act()
        finally:
            self.acted.set()
