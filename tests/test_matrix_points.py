"""A watch of the fault matrix finds each point of a write in what passes on the relays."""

from __future__ import annotations

import threading

import pytest
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
from matrix.points import MINTED, POINTS, Watch
from matrix.relay import ACCEPTED, Moment, Passing, Relay

DATABASE = Relay(0, "postgres")
DATABASE.close()


def transaction(link: int, kind: str = "") -> list[tuple[str, int, str]]:
    entry = [("database", link, kind)] if kind else []
    return [
        ("database", link, BEGIN),
        ("database", link, LOCK),
        ("database", link, BEGUN),
        ("database", link, READY),
        *entry,
        ("database", link, COMMIT),
        ("database", link, COMMITTED),
    ]


WRITE = [
    *transaction(1),
    *transaction(2, INTENT),
    ("replica", 0, MINTED),
    ("upstream", 7, ACCEPTED),
    ("upstream", 7, REQUEST),
    ("upstream", 7, RESPONSE),
    *transaction(1, OUTCOME),
]


def play(watch: Watch) -> list[tuple[str, str, Moment]]:
    """Let a write pass; return what had passed when the watch acted."""
    passed: list[tuple[str, str, Moment]] = []
    moments: tuple[Moment, ...] = ("before", "after")
    for source, link, label in WRITE:
        for moment in moments:
            if watch.reached.is_set():
                return passed
            if source == "replica":
                watch.on_replica(label)
                passed.append((source, label, moment))
                break
            passed.append((source, label, moment))
            passing = Passing(DATABASE, link, "up", frozenset({label}), moment)
            (watch.on_database if source == "database" else watch.on_upstream)(passing)
    return passed


@pytest.mark.parametrize("point", POINTS)
def test_watch_acts_once_at_its_point(point: str) -> None:
    acted: list[str] = []
    watch = Watch(point, lambda: acted.append(point), skip=1)
    play(watch)
    assert (acted, watch.reached.is_set()) == ([point], True)


def test_watch_that_was_stopped_never_acts() -> None:
    """A fault that struck after everything healed would leave two databases."""
    acted: list[str] = []
    watch = Watch("written", lambda: acted.append("written"), skip=1)
    assert not watch.stop()
    play(watch)
    assert acted == []


def test_watch_stops_only_when_its_act_has_ended() -> None:
    begun, may_end = threading.Event(), threading.Event()

    def act() -> None:
        begun.set()
        assert may_end.wait(30)

    watch = Watch("written", act, skip=1)
    passing = threading.Thread(target=play, args=(watch,))
    stopped: list[bool] = []
    stopping = threading.Thread(target=lambda: stopped.append(watch.stop()))
    passing.start()
    assert begun.wait(30)
    stopping.start()
    assert stopped == []
    may_end.set()
    for thread in (passing, stopping):
        thread.join(30)
    assert stopped == [True]


def test_points_are_passed_in_their_order() -> None:
    watch = Watch("", skip=1)
    play(watch)
    assert watch.seen == list(POINTS)


def test_watch_counts_the_transactions_before_the_intent() -> None:
    watch = Watch("")
    play(watch)
    assert (watch.intent_at, watch.begins) == (1, 2)


@pytest.mark.parametrize(
    ("point", "last"),
    [
        ("commit_due", ("database", COMMIT, "before")),
        ("commit_sent", ("database", COMMIT, "after")),
        ("written", ("upstream", REQUEST, "before")),
        ("applied", ("upstream", RESPONSE, "before")),
        ("outcome_acked", ("database", COMMITTED, "after")),
    ],
)
def test_nothing_passes_between_the_point_and_the_fault(point: str, last: object) -> None:
    assert play(Watch(point, skip=1))[-1] == last
