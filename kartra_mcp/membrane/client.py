"""Protocol of a Membrane client: typed operations, independent of the transport."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.models import Action, ActionResult, Connection, RawRequest, SendRight
from kartra_mcp.membrane.logged_runs import LoggedRuns
from kartra_mcp.membrane.pagination import ActionList
from kartra_mcp.membrane.responses import ProxyResponse, RunLog


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """Result of `--version`: the version, "" if it could not be parsed.

    `is_membrane`: whether it is Membrane's program; None if the version alone does not decide.
    """

    version: str = ""
    is_membrane: bool | None = None
    output: str = ""


class MembraneClient(Protocol):
    """Operations of Membrane that are used, for any transport."""

    async def get_program(self, deadline: Deadline) -> ProgramInfo: ...
    async def is_logged_in(self, deadline: Deadline) -> bool | None: ...
    async def list_connections(self, deadline: Deadline) -> tuple[Connection, ...]: ...
    async def get_connection(
        self, id_or_key: str, deadline: Deadline, wait: int = 0
    ) -> Connection | None:
        """Return one connection; with `wait`, after so many seconds or as soon as it is settled."""
        ...

    async def connect(
        self, deadline: Deadline, *, connection: str = "", connector: str = ""
    ) -> Connection:
        """Reconnect a connection, or start a new one of a connector; the user is not asked here.

        The result waits for the user, who must open its address. The request is never repeated:
        after a lost response the outcome is `unknown`, and the connection may exist.
        """
        ...

    async def find_connector(self, deadline: Deadline) -> str | None: ...
    async def list_actions(self, connection: str, deadline: Deadline) -> ActionList: ...
    async def search(self, intent: str, connection: str, deadline: Deadline) -> list[str]: ...
    async def run(
        self, action: Action, arguments: Mapping[str, Any], connection: str, to_do: CallOptions
    ) -> ActionResult: ...
    async def request(
        self, request: RawRequest, connection: str, to_do: CallOptions
    ) -> ProxyResponse: ...
    async def run_logs(
        self, connection: str, intent: str, since: float, deadline: Deadline
    ) -> tuple[RunLog, ...]:
        """Return Membrane's run logs that carry this intent's id.

        `since` is in seconds since the epoch. An empty result proves nothing.
        """
        ...

    async def logged_runs(self, connection: str, since: float, deadline: Deadline) -> LoggedRuns:
        """Return every run that Membrane logged for a connection since a time.

        Raises:
            KartraMCPError: `not_possible` without Membrane's API, or a page could not be read.
        """
        ...

    async def refuses_token(self, ended_at: float, deadline: Deadline) -> bool | None:
        """Return whether a read under a token that ended then is refused; None if not known.

        `ended_at` is in seconds since the epoch.
        """
        ...

    def cancel_all(self) -> None:
        """End running calls, including shielded ones: the server ends."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


@dataclass(frozen=True, slots=True)
class StartedIntent:
    """A write that is on disk.

    Attributes:
        intent: its id.
        inherit_fds: the descriptors that its program must inherit.
        right: its one right to be sent over HTTP.
        line: number of its entry, and `hash` its hash.
        begun_at: time of its entry, by the ledger's clock.
    """

    intent: str
    inherit_fds: Sequence[int] = ()
    right: SendRight | None = None
    line: int = 0
    hash: str = ""
    begun_at: float = 0.0


class Record(Protocol):
    """The part of the ledger that a client calls around a write."""

    async def begin(self, right: SendRight | None = None) -> StartedIntent:
        """Record the intent with its right to be sent, before the write is started.

        A second call returns the first right: nothing extends it.
        """
        ...

    def mark_started(self) -> None:
        """Record that from now on something may have been executed."""
        ...


@dataclass(frozen=True, slots=True)
class CallOptions:
    """Options of one call.

    `write`: a lost response is unknown. `shielded`: once started, a cancellation does not end the
    call. `rate_limited`: the call counts for the rate limit of the connection. `write_record`:
    called immediately before the start, which it may still refuse, and after it.
    `fresh_connection`: the result is shown for approval, so do not reuse a connection that may hold
    stale bytes. `irreversible`: not begun while the clocks differ too much.
    """

    deadline: Deadline
    write: bool = False
    shielded: bool = False
    rate_limited: bool = False
    write_record: Record | None = None
    fresh_connection: bool = False
    irreversible: bool = False
