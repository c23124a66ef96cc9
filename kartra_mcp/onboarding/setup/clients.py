"""Last step of setup: write the entry into the chosen clients, or print it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace

from kartra_mcp.client_config import install as clients
from kartra_mcp.client_config.command import own_entry
from kartra_mcp.client_config.entry import ServerEntry
from kartra_mcp.client_config.install import FoundClient
from kartra_mcp.core.display import display_value
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.sanitize import strip_control_chars
from kartra_mcp.onboarding.accounts.entries import list_client_entries
from kartra_mcp.onboarding.setup.report import SetupContext
from kartra_mcp.options import ENV_PREFIX

DID = {"new": "has the entry now", "updated": "was updated", "same": "is already up to date"}
FLAG = "--client NAME, --all-clients or --no-client"


def set_clients(setup: SetupContext) -> None:
    """Write the entry into the chosen clients; without one, print it for manual use."""
    entry = own_entry(setup.story.env, name=setup.given.name, sandbox=setup.given.sandbox)
    names = _choose_clients(setup)
    if not names:
        _print_snippet(setup, entry)
    for name in names:
        _write(setup, name, entry)
    setup.story.removals = _list_removals(setup)


def _list_removals(setup: SetupContext) -> tuple[str, ...]:
    """Return the commands that remove each rehearsal entry from the written clients.

    A client that has both entries shows every tool twice.
    """
    written = {done.client for done in setup.story.clients}
    return tuple(
        f"kartra-mcp uninstall {entry.client} --name {shlex.quote(strip_control_chars(entry.name))}"
        for entry in list_client_entries(setup.settings).entries
        if entry.client in written and entry.settings.sandbox
    )


def _choose_clients(setup: SetupContext) -> tuple[str, ...]:
    given = setup.given
    if given.clients or given.no_client:
        return given.clients
    here = [one for one in clients.find_clients(setup.settings) if one.exists]
    if given.all_clients or not here:
        return tuple(one.client for one in here)
    return _ask_clients(setup, here)


def _ask_clients(setup: SetupContext, here: Sequence[FoundClient]) -> tuple[str, ...]:
    setup.person.print("\nThe clients on this machine:")
    for number, one in enumerate(here, 1):
        has = (
            "has the entry already"
            if one.client in setup.entries
            else display_value(one.problem or one.file)
        )
        setup.person.print(f"  {number}  {one.client:<15} {has}")
    known = {str(n): one.client for n, one in enumerate(here, 1)}
    known |= {one.client: one.client for one in here}
    have = [one.client for one in here if one.client in setup.entries]
    answer = setup.person.ask_text(
        "Which clients? Numbers or names with commas, all, or none",
        lambda text: _find_fault(text, known),
        flag=FLAG,
        default=",".join(have) or "all",
    )
    if answer.lower() in ("all", "none"):
        return tuple(one.client for one in here) if answer.lower() == "all" else ()
    return tuple(dict.fromkeys(known[word] for word in _split_words(answer)))


def _find_fault(answer: str, known: dict[str, str]) -> str:
    if answer.lower() in ("all", "none"):
        return ""
    strange = [word for word in _split_words(answer) if word not in known]
    if not _split_words(answer) or strange:
        return f"{strange[0]!r} is not in the list." if strange else "Type at least one, or none."
    return ""


def _split_words(answer: str) -> list[str]:
    return [word.strip().lower() for word in answer.split(",") if word.strip()]


def _write(setup: SetupContext, name: str, entry: ServerEntry) -> None:
    there = setup.entries.get(name, {})
    # An empty value unsets a variable, so it is written only where the entry has that variable.
    env = {n: v for n, v in entry.env.items() if v or there.get(n.removeprefix(ENV_PREFIX))}
    try:
        done = clients.install(name, replace(entry, env=env), setup.settings)
    except RefusedError as problem:
        setup.person.print(f"✗ {name}: {display_value(problem.message)}")
        setup.story.left.append((display_value(problem.message), display_value(problem.remedy)))
        setup.story.refused = True
        return
    setup.story.clients.append(done)
    setup.record_done(f"{done.title} {DID[done.how]}: {display_value(done.file)}")
    for notice in done.notices:
        setup.person.print(display_value(notice))


def _print_snippet(setup: SetupContext, entry: ServerEntry) -> None:
    found = any(one.exists for one in clients.find_clients(setup.settings))
    env = {name: value for name, value in entry.env.items() if value}
    server = {"command": entry.command, "args": list(entry.args), **({"env": env} if env else {})}
    setup.story.snippet = {"mcpServers": {entry.name: server}}
    what = "No client was written" if found else "No client was found on this machine"
    setup.story.left.append((what, "Put the entry below into your client's configuration"))
