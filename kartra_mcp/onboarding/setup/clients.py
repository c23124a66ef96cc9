"""The person's clients: offered, and written one by one; else the entry to put in by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kartra_mcp.client_config import install as clients
from kartra_mcp.client_config.command import own_entry
from kartra_mcp.client_config.entry import ServerEntry
from kartra_mcp.client_config.install import FoundClient
from kartra_mcp.core.display import display_value
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.onboarding.setup.report import Setup
from kartra_mcp.options import ENV_PREFIX

DID = {"new": "has it now", "updated": "is brought up to date", "same": "has it as it should be"}
FLAG = "--client NAME, --all-clients or --no-client"


def set_clients(setup: Setup) -> None:
    """Write the entry into the chosen clients."""
    entry = own_entry(setup.story.env, name=setup.given.name, sandbox=setup.given.sandbox)
    names = _chosen(setup)
    if not names:
        _by_hand(setup, entry)
    for name in names:
        _write(setup, name, entry)


def _chosen(setup: Setup) -> tuple[str, ...]:
    given = setup.given
    if given.clients or given.no_client:
        return given.clients
    here = [one for one in clients.find_clients(setup.settings) if one.exists]
    if given.all_clients or not here:
        return tuple(one.client for one in here)
    return _asked(setup, here)


def _asked(setup: Setup, here: Sequence[FoundClient]) -> tuple[str, ...]:
    setup.person.tell("\nThe clients on this machine:")
    for number, one in enumerate(here, 1):
        has = (
            "has it already"
            if one.client in setup.entries
            else display_value(one.problem or one.file)
        )
        setup.person.tell(f"  {number}  {one.client:<15} {has}")
    known = {str(n): one.client for n, one in enumerate(here, 1)}
    known |= {one.client: one.client for one in here}
    have = [one.client for one in here if one.client in setup.entries]
    said = setup.person.types(
        "Which of them? Numbers or names with commas, all, or none",
        lambda text: _fault(text, known),
        flag=FLAG,
        default=",".join(have) or "all",
    )
    if said.lower() in ("all", "none"):
        return tuple(one.client for one in here) if said.lower() == "all" else ()
    return tuple(dict.fromkeys(known[word] for word in _words(said)))


def _fault(said: str, known: dict[str, str]) -> str:
    if said.lower() in ("all", "none"):
        return ""
    strange = [word for word in _words(said) if word not in known]
    if not _words(said) or strange:
        return f"{strange[0]!r} is none of them." if strange else "Type at least one, or none."
    return ""


def _words(said: str) -> list[str]:
    return [word.strip().lower() for word in said.split(",") if word.strip()]


def _write(setup: Setup, name: str, entry: ServerEntry) -> None:
    there = setup.entries.get(name, {})
    # Empty is unset: it takes away what stands there, and has no place anywhere else.
    env = {n: v for n, v in entry.env.items() if v or there.get(n.removeprefix(ENV_PREFIX))}
    try:
        done = clients.install(name, replace(entry, env=env), setup.settings)
    except RefusedError as problem:
        setup.person.tell(f"✗ {name}: {display_value(problem.message)}")
        setup.story.left.append((display_value(problem.message), display_value(problem.remedy)))
        setup.story.refused = True
        return
    setup.story.clients.append(done)
    setup.done(f"{done.title} {DID[done.how]}: {display_value(done.file)}")
    for notice in done.notices:
        setup.person.tell(display_value(notice))


def _by_hand(setup: Setup, entry: ServerEntry) -> None:
    env = {name: value for name, value in entry.env.items() if value}
    server = {"command": entry.command, "args": list(entry.args), **({"env": env} if env else {})}
    setup.story.snippet = {"mcpServers": {entry.name: server}}
    setup.story.left.append(
        ("No client was written", "Put the entry below into your client's configuration")
    )
