"""`kartra_connect`: find, reconnect or start the Kartra connection, and return the address to open.

The ledger has no entry for it: nothing at Kartra changes, and a started connection is in Membrane's
own list, where the user completes it. Only that list is authoritative; an address counts as opened
only once Membrane reports READY, whatever a client answers.

Two calls never start two connections: the processes of one state folder are serialized, and
Membrane is asked for its list while the lock is held. Not covered: servers on other folders or
machines in the same seconds, and a lost response of a connection that Membrane lists only later.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from kartra_mcp.account.account import Account
from kartra_mcp.account.connect_steps import (
    READY,
    READY_SANDBOX,
    TRANSITIONAL_STATES,
    connect_question,
    connect_result,
    is_final,
    merge,
    next_step,
    pending_result,
)
from kartra_mcp.account.selection import require_usable
from kartra_mcp.core import file_locks
from kartra_mcp.core.deadline import Deadline, ExtendableDeadline
from kartra_mcp.core.elicitation import (
    ELICITATION_TIMEOUT,
    ClientContext,
    InputRequired,
    UrlElicitation,
)
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.models import Connection, Executed
from kartra_mcp.membrane.client import MembraneClient

ONE_WAIT = 30
"""Longest wait of one request to Membrane, in seconds."""

PENDING_TTL = 10.0
"""Seconds of a call that are reserved for the list of actions; a quarter of a short call."""

POLL = 0.05

_LOCK = "connect.lock"


@dataclass(frozen=True, slots=True)
class ConnectFlow:
    """`kartra_connect`; `folder` is the state folder whose servers are serialized.

    `poll` is the interval in seconds between two reads of a connection that is not ready yet.
    `sandbox`: the account is the embedded one, which is always ready.
    """

    membrane: MembraneClient
    account: Account
    folder: Path
    poll: float
    sandbox: bool = False

    async def connect(self, deadline: Deadline, client: ClientContext) -> dict[str, Any]:
        """Return the state of the connection and the next step.

        Raises:
            KartraMCPError: it cannot be decided which connection, or it cannot be made ready;
                `executed` is unknown after a lost response of `connect`.
            InputRequired: the user is asked to open the address.
        """
        patience = ExtendableDeadline(deadline)
        found = await self._find_or_begin(deadline)
        if next_step(found) == "wait":
            found = await self._wait_until_settled(
                found, deadline, lambda now: now.state not in TRANSITIONAL_STATES
            )
        said = ""
        if not is_final(found) and found.action_url and client.supports_urls:
            found, said = await self._ask_to_open(found, client, patience)
        if found.usable:
            return await self._finish_ready(found, patience.deadline)
        return pending_result(found, said)

    async def _find_or_begin(self, deadline: Deadline) -> Connection:
        found = await self.account.connection_to_fix(deadline)
        if found is not None and next_step(found) != "reconnect":
            return found
        async with connect_lock(self.folder, deadline):
            found = await self.account.connection_to_fix(deadline)
            match next_step(found):
                case "begin" | "reconnect":
                    return await self._begin_once(found, deadline)
                case _:
                    assert found is not None  # noqa: S101  otherwise it is started
                    return found

    async def _begin_once(self, known: Connection | None, deadline: Deadline) -> Connection:
        """Reconnect the existing connection, or start a new one; requested from Membrane once."""
        connector = "" if known else await self._find_connector(deadline)
        try:
            begun = await self.membrane.connect(
                deadline, connection=known.id if known else "", connector=connector
            )
        except KartraMCPError as problem:
            if problem.executed is Executed.UNKNOWN:
                problem.remedy = (
                    "Call kartra_connect again: it reads Membrane's list before it starts one."
                )
            raise
        if begun.id and known is None:
            self.account.remember_pending(begun)
        return await self._complete_connection(begun, deadline)

    async def _find_connector(self, deadline: Deadline) -> str:
        try:
            found = await self.membrane.find_connector(deadline)
        except KartraMCPError as problem:
            problem.executed = Executed.NO
            raise
        if found:
            return found
        raise RefusedError(
            "no_connection",
            "Membrane has no Kartra connection, and no connector for Kartra was found. Nothing was "
            "started.",
            "The user should search for Kartra in Membrane's console. Then call kartra_connect "
            "again.",
        )

    async def _complete_connection(self, begun: Connection, deadline: Deadline) -> Connection:
        """Complete the result of `connect`: some programs print only an id or an address."""
        if begun.usable or (begun.id and begun.action_url and begun.state != "UNKNOWN"):
            return begun
        try:
            found = (
                await self.membrane.get_connection(begun.id, deadline)
                if begun.id
                else await self.account.connection_to_fix(deadline)
            )
        except KartraMCPError:
            return begun
        return merge(found, begun) if found else begun

    async def _ask_to_open(
        self, found: Connection, client: ClientContext, patience: ExtendableDeadline
    ) -> tuple[Connection, str]:
        """Ask the user to open the address; return the answer and the connection after it."""
        address = UrlElicitation(connect_question(found), found.action_url, secrets.token_hex(8))
        if client.elicit_url:
            began = anyio.current_time()
            said = "nobody"
            with anyio.move_on_after(ELICITATION_TIMEOUT):
                said = (await client.elicit_url(address)).action
            patience.extend(anyio.current_time() - began)
        elif client.response is None:
            raise InputRequired(address, found.id or "connect")
        else:
            said = client.response.action
        if said != "accept":
            return found, said
        found = await self._wait_until_settled(found, patience.deadline, is_final)
        if found.usable and client.notify_url_complete:
            await client.notify_url_complete(address)
        return found, said

    async def _wait_until_settled(
        self, found: Connection, deadline: Deadline, until: Callable[[Connection], bool]
    ) -> Connection:
        """Wait until the connection settles or the call's time is nearly over."""
        end = deadline.at - min(PENDING_TTL, deadline.timeout / 4)
        end = min(end, anyio.current_time() + ELICITATION_TIMEOUT)
        while not until(found) and found.id and end - anyio.current_time() >= 1:
            began = anyio.current_time()
            wait = min(ONE_WAIT, int(end - began))
            try:
                now = await self.membrane.get_connection(found.id, deadline, wait=wait)
            except KartraMCPError:
                return found
            found = merge(now, found) if now else found
            if not until(found):
                await anyio.sleep_until(min(end, began + self.poll))
        return found

    async def _finish_ready(self, found: Connection, deadline: Deadline) -> dict[str, Any]:
        """Return READY after listing the tools again, which notifies the client of the change."""
        served = await self.account.wait_for_refresh(deadline)
        if served is None:
            return connect_result(
                "ready", found, "The list of tools is still read: see kartra_status."
            )
        if served.error:
            raise served.error.with_traceback(None)
        if served.connection:
            require_usable(served.connection)
        tools = served.catalogue.action_count
        return {
            **connect_result("ready", found, READY_SANDBOX if self.sandbox else READY),
            "actions": tools,
        }


@asynccontextmanager
async def connect_lock(folder: Path, deadline: Deadline) -> AsyncGenerator[None]:
    """Hold the connect lock of a state folder; it ends with the process at the latest.

    Raises:
        RefusedError: in_progress, ledger_unavailable; nothing was started.
    """
    try:
        while (held := _try_lock(folder)) is None:
            if not deadline.allows_start(write=True, after=POLL):
                raise _in_progress_error()
            await anyio.sleep(POLL)
    except OSError as problem:
        raise _lock_error(problem) from None
    try:
        yield
    finally:
        os.close(held)


def _try_lock(folder: Path) -> int | None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return file_locks.try_exclusive_lock(folder / _LOCK)


def _lock_error(problem: OSError) -> RefusedError:
    return RefusedError(
        "ledger_unavailable",
        f"The file {_LOCK} in the state folder cannot be locked "
        f"({problem.strerror or type(problem).__name__}). Nothing was done.",
        "Make the state folder writable, or set KARTRA_MCP_STATE_DIR to another folder.",
    )


def _in_progress_error() -> RefusedError:
    return RefusedError(
        "in_progress",
        "Another call is starting or repairing the connection. Nothing was done by this one.",
        "Call kartra_connect, or run `kartra-mcp setup`, again in a minute.",
    )
