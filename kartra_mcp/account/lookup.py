"""Requests to Membrane about the account: program, connections, one connection by its name."""

from __future__ import annotations

from dataclasses import dataclass, replace

import anyio

from kartra_mcp.account.snapshot import wrong_program_error
from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.models import Connection
from kartra_mcp.membrane.client import MembraneClient, ProgramInfo


@dataclass(frozen=True, slots=True)
class AccountLookup:
    """Lookups in Membrane; `wanted` is the connection that the user configured, an id or a key.

    `probe` is the time limit in seconds for version and login; a lookup continues without them.
    """

    membrane: MembraneClient
    wanted: str | None
    probe: float

    async def program_and_connections(
        self, program: ProgramInfo | None, deadline: Deadline
    ) -> tuple[ProgramInfo, tuple[Connection, ...]]:
        """Fetch program and connections concurrently; a proven `program` is not fetched again.

        A list of connections proves a program with an unclear version.
        """
        found = program if program and program.is_membrane else None
        failure: KartraMCPError | None = None
        known: tuple[Connection, ...] = ()

        async def ask() -> None:
            nonlocal found
            try:
                found = found or await self.membrane.get_program(
                    limit_deadline(self.probe, deadline)
                )
            except KartraMCPError:
                found = ProgramInfo()

        async with anyio.create_task_group() as asking:
            asking.start_soon(ask)
            try:
                known = await self.membrane.list_connections(deadline)
            except KartraMCPError as problem:
                failure = problem
        found = found or ProgramInfo()
        if failure:
            raise wrong_program_error(found) if _is_another_program(found, failure) else failure
        return _mark_proven(found, known), known

    async def add_wanted(
        self, known: tuple[Connection, ...], deadline: Deadline
    ) -> tuple[Connection, ...]:
        """Add the configured connection if Membrane's list does not contain it."""
        if self.wanted and not any(self.wanted in (c.id, c.key, c.name) for c in known):
            found = await self.connection(self.wanted, deadline)
            return (*known, found) if found else known
        return known

    async def connection(self, name: str, deadline: Deadline) -> Connection | None:
        """Return the connection of an id or a key; None if it cannot be read."""
        try:
            return await self.membrane.get_connection(name, deadline)
        except KartraMCPError:
            return None

    async def connector(self, deadline: Deadline) -> str | None:
        """Return the id of Kartra's connector; None if it cannot be read."""
        try:
            return await self.membrane.find_connector(deadline)
        except KartraMCPError:
            return None

    async def is_logged_in(self, deadline: Deadline) -> bool | None:
        return await self.membrane.is_logged_in(limit_deadline(self.probe, deadline))


def limit_deadline(seconds: float, deadline: Deadline) -> Deadline:
    """Return the deadline after so many seconds, but none later than `deadline`."""
    short = Deadline.after(seconds)
    return short if short.at < deadline.at else deadline


def _is_another_program(program: ProgramInfo, failure: KartraMCPError) -> bool:
    """Return whether this is another program: by its version, or because nothing is readable."""
    silent = not failure.has_response and failure.code in ("membrane_error", "unreadable_answer")
    return program.is_membrane is False or (program.is_membrane is None and silent)


def _mark_proven(program: ProgramInfo, known: tuple[Connection, ...]) -> ProgramInfo:
    return replace(program, is_membrane=True) if program.is_membrane is None and known else program
