"""Membrane as typed verbs behind one small protocol, whatever carries them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.models import Action, Connection, RawRequest, Reply
from kartra_mcp.membrane.pagination import ActionList
from kartra_mcp.membrane.responses import HTTPReply, RunLog


@dataclass(frozen=True, slots=True)
class Program:
    """What `--version` said: the version, "" where it could not be read.

    `known`: it is Membrane's; None where the version alone does not tell.
    """

    version: str = ""
    known: bool | None = None
    said: str = ""


class Membrane(Protocol):
    """What is needed of Membrane, whatever carries it."""

    async def program(self, deadline: Deadline) -> Program: ...
    async def logged_in(self, deadline: Deadline) -> bool | None: ...
    async def connections(self, deadline: Deadline) -> tuple[Connection, ...]: ...
    async def connection(
        self, id_or_key: str, deadline: Deadline, wait: int = 0
    ) -> Connection | None:
        """One connection; with `wait`, after so many seconds or as soon as it is settled."""
        ...

    async def connect(
        self, deadline: Deadline, *, connection: str = "", connector: str = ""
    ) -> Connection:
        """Reconnect a connection, or begin a new one of a connector; nobody is asked here.

        What it gives back waits for a person, who has to open its address. It is never repeated:
        an answer that was lost is `unknown`, and the connection may be there.
        """
        ...

    async def connector(self, deadline: Deadline) -> str | None: ...
    async def actions(self, connection: str, deadline: Deadline) -> ActionList: ...
    async def search(self, intent: str, connection: str, deadline: Deadline) -> list[str]: ...
    async def run(
        self, action: Action, arguments: Mapping[str, Any], connection: str, to_do: ToDo
    ) -> Reply: ...
    async def request(self, request: RawRequest, connection: str, to_do: ToDo) -> HTTPReply: ...
    async def run_logs(
        self, connection: str, intent: str, since: float, deadline: Deadline
    ) -> tuple[RunLog, ...]:
        """Membrane's own logs of the runs that carried this intent's mark.

        `since` is seconds since the epoch. That there are none proves nothing.
        """
        ...

    def end_all(self) -> None:
        """End also what was to be finished: the server itself ends."""
        ...

    async def close(self) -> None:
        """Leave nothing open."""
        ...


@dataclass(frozen=True, slots=True)
class Begun:
    """A write that is on disk: its intent, and the descriptors that its program has to hold."""

    intent: str
    descriptors: Sequence[int] = ()


class Record(Protocol):
    """What has to be on disk before a write is started."""

    async def begin(self) -> Begun:
        """Record that it is about to run."""
        ...

    def started(self) -> None:
        """From now on something may have been done."""
        ...


@dataclass(frozen=True, slots=True)
class ToDo:
    """How one start is to be treated.

    `write`: a lost answer is unknown. `finish`: once started it is not ended by a cancellation.
    `paced`: it counts for the throttle, as a call to the connection. `record`: told right before
    the start, which may still be refused there, and right after it. `alone`: somebody agrees to
    what it reads, so that nothing an earlier answer left behind may be taken for its own.
    """

    deadline: Deadline
    write: bool = False
    finish: bool = False
    paced: bool = False
    record: Record | None = None
    alone: bool = False
