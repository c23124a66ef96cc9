"""The connections that Membrane lists, read once for each login that entries use."""

from __future__ import annotations

import tempfile
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import anyio

from kartra_mcp.account.lookup import AccountLookup
from kartra_mcp.account.snapshot import wrong_program_error
from kartra_mcp.app.membrane_factory import make_membrane_client
from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.models import Connection
from kartra_mcp.core.state_dir import StateDir
from kartra_mcp.membrane.cli_client import CliClient
from kartra_mcp.options import ENV_PREFIX
from kartra_mcp.processes import runner
from kartra_mcp.settings import Settings

LIST_SECONDS, PROBE_SECONDS = 20.0, 5.0
"""Seconds for the connections of one login, and for its version and login state."""

MAX_LOGINS_AT_ONCE = 4
"""A client's file may have hundreds of entries, each with its own program or environment."""

_NO_USE_ASKING_THE_LOGIN = frozenset({"program_missing", "wrong_program"})


@dataclass(frozen=True, slots=True)
class Login:
    """One way to Membrane: the settings of it, and the connections that entries name."""

    settings: Settings
    wanted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ListedConnections:
    """The answer of one login: its connections, or the reason why there are none."""

    known: tuple[Connection, ...] = ()
    problem: KartraMCPError | None = None


def login_key(settings: Settings) -> Hashable:
    """Return what distinguishes the logins of two entries: program, transport, environment."""
    env = settings.environment
    own = sorted((n, v) for n, v in env.items() if not n.startswith(ENV_PREFIX))
    return settings.membrane, settings.transport, tuple(own)


def group_logins(settings: Iterable[Settings]) -> dict[Hashable, Login]:
    """Return each login once, with all the connections that its entries name."""
    found: dict[Hashable, Login] = {}
    for one in settings:
        key = login_key(one)
        login = found.get(key, Login(one))
        named = (*login.wanted, *([one.connection] if one.connection else ()))
        found[key] = replace(login, wanted=tuple(dict.fromkeys(named)))
    return found


def list_connections(
    logins: Mapping[Hashable, Login], run_program: runner.Run
) -> dict[Hashable, ListedConnections]:
    """Ask Membrane for the connections of all logins, few at once; errors are in the result."""
    found: dict[Hashable, ListedConnections] = {}
    limiter = anyio.CapacityLimiter(MAX_LOGINS_AT_ONCE)

    async def ask_all() -> None:
        async with anyio.create_task_group() as tasks:
            for key, login in logins.items():
                tasks.start_soon(ask, key, login)

    async def ask(key: Hashable, login: Login) -> None:
        async with limiter:
            found[key] = await _list_of_login(login, run_program)

    anyio.run(ask_all)
    return {key: found[key] for key in logins}


async def _list_of_login(login: Login, run_program: runner.Run) -> ListedConnections:
    """List in a folder of its own: the state folders of the accounts are not touched."""
    try:
        with tempfile.TemporaryDirectory(prefix="kartra-mcp-accounts-") as name:
            folder = Path(name)
            settings = replace(login.settings, state_dir=folder)
            membrane, _ = make_membrane_client(settings, StateDir(folder), run_program)
            try:
                lookup = AccountLookup(membrane, None, PROBE_SECONDS)
                return await _look(lookup, login.wanted)
            finally:
                await membrane.close()
    except OSError as problem:
        return ListedConnections(problem=_no_folder_error(problem))


async def _look(lookup: AccountLookup, wanted: Sequence[str]) -> ListedConnections:
    deadline = Deadline.after(LIST_SECONDS)
    try:
        program, known = await lookup.program_and_connections(None, deadline)
        if program.is_membrane is False:
            raise wrong_program_error(program)
    except KartraMCPError as problem:
        return ListedConnections(problem=await _explain(lookup, problem, deadline))
    for name in wanted:
        known = await replace(lookup, wanted=name).add_wanted(known, deadline)
    return ListedConnections(known)


async def _explain(
    lookup: AccountLookup, problem: KartraMCPError, deadline: Deadline
) -> KartraMCPError:
    """Return the problem; of a program that is logged out, with the commands for a terminal.

    Some programs report that only by `status`.
    """
    by_program = isinstance(lookup.membrane, CliClient)
    out = problem.code == "not_logged_in"
    if not out and problem.code not in _NO_USE_ASKING_THE_LOGIN:
        out = await lookup.is_logged_in(deadline) is False
    if not out or not by_program:
        return problem
    return RefusedError(
        "not_logged_in",
        "Membrane's program is not logged in, or its login has expired.",
        "Run `membrane login --tenant`, or `kartra-mcp setup`, in a terminal.",
    )


def _no_folder_error(problem: OSError) -> RefusedError:
    return RefusedError(
        "internal_error",
        f"No working folder for Membrane's program could be created ({problem.strerror}).",
        "Set a writable folder for temporary files: `TMPDIR=DIR`.",
    )
