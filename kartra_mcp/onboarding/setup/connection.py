"""Connection step of setup: find, choose, reconnect or create one, until it is READY."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import anyio

from kartra_mcp.account import selection
from kartra_mcp.account.account import Account
from kartra_mcp.account.connect import connect_lock
from kartra_mcp.account.connect_steps import TRANSITIONAL_STATES, is_final, next_step
from kartra_mcp.account.selection import is_kartra, select_connection
from kartra_mcp.client_config.entry import REAL
from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.display import display_value
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.models import Connection
from kartra_mcp.core.state_dir import StateDir
from kartra_mcp.membrane.cli_client import CliClient
from kartra_mcp.onboarding.accounts.state_folders import list_served_by_others
from kartra_mcp.onboarding.setup import subprocesses
from kartra_mcp.onboarding.setup.login import is_headless
from kartra_mcp.onboarding.setup.prompts import RERUN_HINT
from kartra_mcp.onboarding.setup.report import SetupContext
from kartra_mcp.processes.interactive import open_in_browser
from kartra_mcp.settings import Settings

ANSWER = 60.0
"""Seconds for one request to Membrane."""

ONE_WAIT, PAUSE = 15, 2.0
"""Seconds of one long poll, and the least time between two polls."""

IN_WORDS = {
    "BUILDING": "Membrane is still setting it up",
    "CLIENT_ACTION_REQUIRED": "it waits for you to open its address and agree",
    "CONFIGURATION_ERROR": "its configuration is wrong",
    "SETUP_FAILED": "Membrane could not set it up",
    "DISCONNECTED": "it was disconnected",
    "DEFUNCT": "Kartra refuses its credentials",
    "DISCONNECTING": "it is being disconnected",
}
NEW = "new"
"""Word by which the user chooses to connect another account."""

PREPARES = "Membrane is preparing the connection …"
Progress = Callable[[str], None]
Until = Callable[[Connection], bool]


def connect(setup: SetupContext) -> None:
    """Get one READY Kartra connection; it becomes the served one.

    Raises:
        KartraMCPError: there is none, or it is not READY.
    """
    known = _list_connections(setup)
    found = _choose_connection(setup, known)
    chosen = _begin_connection(setup, known) if found is None else _repair_connection(setup, found)
    setup.story.connection = chosen
    setup.story.env["KARTRA_MCP_CONNECTION"] = chosen.id
    setup.record_done(f"The Kartra connection “{_connection_name(chosen)}” is READY.")


def _list_connections(setup: SetupContext) -> tuple[Connection, ...]:
    with setup.person.show_progress("Looking for your Kartra connections …"):
        return subprocesses.run_client(
            setup, lambda membrane: membrane.list_connections(Deadline.after(ANSWER))
        )


def _choose_connection(setup: SetupContext, known: tuple[Connection, ...]) -> Connection | None:
    """Return the named connection, the only one, or the user's choice; None to begin one.

    A connection that an entry names may be gone, and is then chosen again. One that a flag names
    must exist.
    """
    wanted = setup.settings.connection
    if "CONNECTION" in setup.given.explicit:
        return select_connection(known, wanted, None)
    ours = _filter_usable(known) or _list_pending(setup)
    named = next((c for c in ours if wanted and wanted in (c.id, c.key)), None)
    if named is not None:
        return named
    if wanted and ours:
        setup.person.print(
            f"The connection {display_value(wanted)}, which was served before, is gone."
        )
    name = setup.given.name or REAL
    served = {} if setup.entries else list_served_by_others(name, ours, setup.settings)
    if served:
        return _choose_further_connection(setup, ours, served)
    if len(ours) == 1 and not wanted:
        return ours[0]
    return _pick_connection(setup, ours) if ours else None


def _choose_further_connection(
    setup: SetupContext, ours: Sequence[Connection], served: Mapping[str, Sequence[str]]
) -> Connection | None:
    """Return a connection that no other entry serves; None if the user wants to begin one.

    Raises:
        RefusedError: a script has to name it.
    """
    for one in ours:
        if one.id in served:
            names = ", ".join(served[one.id])
            setup.person.print(f"{_connection_name(one)} is served by the entry {names}.")
    free = [one for one in ours if one.id not in served]
    if setup.person.yes and len(free) == 1:
        return free[0]
    if free:
        return _pick_connection(setup, free, new=True)
    if setup.person.yes or not setup.person.confirm("Connect another Kartra account now?"):
        raise RefusedError(
            "no_connection",
            "Every Kartra connection is served by an entry of another name. Nothing was done.",
            f"Run `kartra-mcp setup --name {setup.given.name or REAL}` without --yes to connect "
            "another Kartra account, or name a connection with `--connection ID`.",
        )
    return None


def _filter_usable(known: Iterable[Connection]) -> list[Connection]:
    return [c for c in known if is_kartra(c) and c.state != "ARCHIVED"]


def _make_account(membrane: CliClient, settings: Settings) -> Account:
    return Account(membrane, StateDir(settings.state_dir), wanted=None, own=frozenset())


def _list_pending(setup: SetupContext) -> list[Connection]:
    """Return a connection that setup began earlier and that Membrane does not list yet."""
    found = subprocesses.run_client(
        setup,
        lambda m: _make_account(m, setup.settings).pending_connection(Deadline.after(ANSWER)),
    )
    return [found] if found else []


def _pick_connection(
    setup: SetupContext, ours: Sequence[Connection], *, new: bool = False
) -> Connection | None:
    """Return the user's choice; with `new`, None stands for an account that is connected now."""
    options = [(one.id, _describe_connection(one)) for one in ours]
    options += [(NEW, "another Kartra account, connected now")] if new else []
    question = "Which Kartra account shall be served?"
    listed = ", ".join(f"{display_value(one.id)} ({_connection_name(one)})" for one in ours)
    try:
        identity = setup.person.select(question, options, flag="--connection ID")
    except RefusedError as unanswered:
        unanswered.message += f" Connections: {listed}."
        raise
    return next((one for one in ours if one.id == identity), None)


def _describe_connection(one: Connection) -> str:
    made = f", made {display_value(one.created_at)[:10]}" if one.created_at else ""
    return (
        f"{_connection_name(one)}, {display_value(one.state) if not one.usable else 'READY'}{made}"
    )


def _connection_name(one: Connection) -> str:
    return display_value(one.name or one.key or one.id, 60)


def _begin_connection(setup: SetupContext, known: Iterable[Connection]) -> Connection:
    """Begin a connection with Kartra's connector, besides those that are known."""
    before = frozenset(one.id for one in _filter_usable(known))
    another = setup.given.name or REAL if before else ""
    with setup.person.show_progress("Looking for Kartra's connector …"):
        connector = subprocesses.run_client(
            setup, lambda membrane: membrane.find_connector(Deadline.after(ANSWER))
        )
    if connector is None:
        raise RefusedError(
            "no_connection",
            "Membrane has no Kartra connection, and no Kartra connector for this workspace.",
            "Look for Kartra in Membrane's console, or contact Membrane's support. "
            f"{RERUN_HINT} when the connector is available.",
        )
    question = "Membrane has no Kartra connection yet. Connect Kartra now?"
    if not another and not setup.person.confirm(question):
        raise selection.no_connection_error(connector)
    with setup.person.show_progress(PREPARES):
        there, begun = subprocesses.run_client(
            setup,
            partial(
                _find_or_begin,
                settings=setup.settings,
                connector=connector,
                before=before,
                another=another,
            ),
        )
    if begun is None:
        setup.person.print("A Kartra connection exists by now; no other was created.")
        chosen = there[0] if len(there) == 1 else _pick_connection(setup, there)
        return _repair_connection(setup, chosen or there[0])
    _open(setup, begun.action_url)
    return _wait_until_ready(setup, begun if begun.id else _find_appeared(setup, before))


async def _find_or_begin(
    membrane: CliClient,
    *,
    settings: Settings,
    connector: str,
    before: frozenset[str],
    another: str,
) -> tuple[list[Connection], Connection | None]:
    """Return connections that exist by now; begin a new one only if there is none.

    Args:
        membrane: the program.
        settings: of the entry.
        connector: id of Kartra's connector.
        before: ids of the connections that existed when the user chose to begin another.
        another: its name; "" for the first connection.
    """
    account = _make_account(membrane, settings)
    async with connect_lock(settings.state_dir, Deadline.after(ANSWER)):
        listed = _filter_usable(await membrane.list_connections(Deadline.after(ANSWER)))
        there = [one for one in listed if one.id not in before]
        begun = None if there else await account.pending_connection(Deadline.after(ANSWER))
        if begun and begun.id not in before:
            return [begun], None
        if there:
            return there, None
        begun = await membrane.connect(Deadline.after(ANSWER), connector=connector, another=another)
        if begun.id:
            account.remember_pending(begun)
        return [], begun


def _repair_connection(setup: SetupContext, chosen: Connection) -> Connection:
    """Make the same connection READY: reconnect a broken one, never create another."""
    if chosen.usable:
        return chosen
    setup.person.print(
        f"The Kartra connection “{_connection_name(chosen)}” is not READY: "
        f"{_describe_state(chosen)}."
    )
    step = next_step(chosen)
    if step == "wait":
        return _repair_after_transition(setup, chosen)
    if step == "reconnect":
        if not setup.person.confirm("Reconnect it now? It stays the same connection."):
            raise _not_ready_error(chosen)
        with setup.person.show_progress(PREPARES):
            chosen = subprocesses.run_client(
                setup, partial(_reconnect, settings=setup.settings, chosen=chosen)
            )
    _open(setup, chosen.action_url)
    return _wait_until_ready(setup, chosen)


def _repair_after_transition(setup: SetupContext, chosen: Connection) -> Connection:
    """Wait for Membrane to finish, then decide by the new state."""
    found = _watch_connection(
        setup, chosen, lambda now: now.usable or now.state not in TRANSITIONAL_STATES
    )
    if not found.usable and found.state in TRANSITIONAL_STATES:
        raise _not_ready_error(found)
    return _repair_connection(setup, found)


async def _reconnect(membrane: CliClient, *, settings: Settings, chosen: Connection) -> Connection:
    """Reconnect, unless another process has already done so."""
    async with connect_lock(settings.state_dir, Deadline.after(ANSWER)):
        now = await membrane.get_connection(chosen.id, Deadline.after(ANSWER)) or chosen
        if next_step(now) != "reconnect":
            return now
        return await membrane.connect(Deadline.after(ANSWER), connection=chosen.id)


def _open(setup: SetupContext, address: str) -> None:
    """Show the address; on a terminal with a browser, offer to open it."""
    if not address:
        return
    setup.person.print("\nOpen this address and log in to Kartra there:")
    setup.person.print(f"\n  {address}\n", "bold")
    if not setup.person.real or not setup.given.browser or is_headless(setup):
        return
    if setup.person.confirm("Open it in your browser?", flag="--no-browser"):
        opened = open_in_browser(address)
        setup.person.print("" if opened else "No browser could be opened. Open it yourself.")


def _find_appeared(setup: SetupContext, before: frozenset[str]) -> Connection:
    """Find the connection that `connect` began without returning its id."""
    new = [one for one in _filter_usable(_list_connections(setup)) if one.id not in before]
    if len(new) != 1:
        raise RefusedError(
            "connection_not_ready",
            "Membrane began a connection but did not return its id.",
            f"Finish it at the address above. {RERUN_HINT}; it finds the connection.",
        )
    return new[0]


def _wait_until_ready(setup: SetupContext, chosen: Connection) -> Connection:
    """Return the connection once it is READY.

    Raises:
        RefusedError: the wait timed out, or Membrane reports a failure.
    """
    found = chosen if chosen.usable else _watch_connection(setup, chosen, is_final)
    if not found.usable:
        raise _not_ready_error(found)
    return found


def _watch_connection(setup: SetupContext, chosen: Connection, until: Until) -> Connection:
    seconds = setup.given.wait
    with setup.person.show_progress(_waiting_text(chosen, seconds)) as show:
        return subprocesses.run_client(
            setup,
            partial(_await_connection, chosen=chosen, until=until, seconds=seconds, show=show),
        )


async def _await_connection(
    membrane: CliClient, *, chosen: Connection, until: Until, seconds: float, show: Progress
) -> Connection:
    """Poll until `until` is true or the time is over; return the last state."""
    end = anyio.current_time() + seconds
    found = chosen
    while not until(found) and anyio.current_time() < end:
        began = anyio.current_time()
        wait = max(1, min(ONE_WAIT, math.ceil(end - began)))
        found = await _fetch_connection(membrane, found, wait)
        if not until(found):
            show(_waiting_text(found, end - anyio.current_time()))
            await anyio.sleep_until(min(end, began + PAUSE))
    return found


async def _fetch_connection(membrane: CliClient, chosen: Connection, wait: int) -> Connection:
    """Return the current state; keep the last one if the request failed and is worth repeating."""
    try:
        found = await membrane.get_connection(chosen.id, Deadline.after(wait + ANSWER), wait=wait)
    except KartraMCPError as problem:
        if problem.code not in ("timed_out", "rate_limited", "membrane_error"):
            raise
        return chosen
    return found or chosen


def _waiting_text(one: Connection, left: float) -> str:
    minutes, seconds = divmod(max(0, round(left)), 60)
    return (
        f"Waiting until it is READY: {_describe_state(one)} ({minutes}:{seconds:02} left, "
        "Ctrl-C stops) …"
    )


def _describe_state(one: Connection) -> str:
    words = IN_WORDS.get(one.state, f"its state is {display_value(one.state, 40)}")
    return f"{words} (“{display_value(one.error, 200)}”)" if one.error else words


def _not_ready_error(one: Connection) -> RefusedError:
    return RefusedError(
        "connection_not_ready",
        f"The Kartra connection “{_connection_name(one)}” is not READY: {_describe_state(one)}.",
        f"{RERUN_HINT}; it reconnects the same connection and creates no other.",
        detail={"connection": selection.connection_summary(one)},
    )
