"""`kartra-mcp demo --team`: a whole team on this machine, its story, and then your turn."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from kartra_mcp.cli.demo_screen import rehearse, show_step
from kartra_mcp.cli.demo_team_steps import ACCOUNT, TEAM_STEPS, TeamStory
from kartra_mcp.core.surroundings import surroundings
from kartra_mcp.sandbox.identity.people import PEOPLE
from kartra_mcp.sandbox.team.world import ACCOUNTS, TeamWorld, running_team

SETTLE_SECONDS = 15.0
"""Seconds between two looks at unknown writes."""
_KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "SYSTEMROOT", "TEMP")


def run_team_demo(*, once: bool) -> int:
    """Run the story; with `once`, end after it. Return 0 if every step went as shown."""
    return rehearse("kartra-mcp-team-", partial(_run, once=once))


def _run(screen: Console, folder: str, *, once: bool) -> None:
    _open(screen)
    kept = {name: text for name, text in surroundings().environment.items() if name in _KEPT}
    began = time.monotonic()
    with running_team(Path(folder), kept) as world:
        _show_world(screen, world, time.monotonic() - began)
        anyio.run(_tell, screen, TeamStory(world))
        took = time.monotonic() - began
        screen.print(f"\nEvery step was checked. All of it took {took:.0f} s.")
        if not once:
            _invite(screen, world)
            anyio.run(_settle_until_stopped, screen, world)


async def _tell(screen: Console, story: TeamStory) -> None:
    for number, step in enumerate(TEAM_STEPS, 1):
        show_step(screen, number, await step(story))


async def _settle_until_stopped(screen: Console, world: TeamWorld) -> None:
    """Run the settle job as an operator would, and show what it settles."""
    while True:
        await anyio.sleep(SETTLE_SECONDS)
        done = await anyio.to_thread.run_sync(lambda: world.run_team("settle"))
        for line in done.stdout.splitlines():
            if " is succeeded" in line or " is failed" in line or "is unknown now" in line:
                screen.print(Text(f"team settle: {line}", style="dim"))


def _open(screen: Console) -> None:
    screen.print()
    screen.print(Rule("A team on this machine, a rehearsal", align="left", style="cyan"))
    screen.print(
        "A PostgreSQL, a login provider, two replicas of the service behind a plain proxy, and two "
        "made-up Kartra accounts: no real person, no real money, nothing leaves this machine."
    )


def _show_world(screen: Console, world: TeamWorld, seconds: float) -> None:
    ports = " and ".join(str(port) for port in world.replicas)
    screen.print(f"\nAll of it runs after {seconds:.1f} s; the replicas are on ports {ports}.")


def _invite(screen: Console, world: TeamWorld) -> None:
    screen.print()
    screen.print(Rule("Your turn, until Ctrl-C", align="left", style="cyan"))
    table = Table.grid(padding=(0, 2))
    table.add_row("  page", Text(f"{world.address}/page", style="cyan"))
    for name, title in ACCOUNTS.items():
        table.add_row(f"  {title}", Text(world.endpoint(name), style="cyan"))
    table.add_row("  team file", Text(str(world.team_file)))
    screen.print(table)
    screen.print("\nTest people; the login page lists them, and asks for no password:")
    people = Table.grid(padding=(0, 2))
    for one in PEOPLE:
        people.add_row(f"  {one.login}", one.name, Text(", ".join(one.groups), style="dim"))
    screen.print(people)
    screen.print("\nFor a client that takes a token, valid for ten minutes (bea, main):")
    token = world.provider.access_token("bea", world.endpoint(ACCOUNT))
    screen.print(Text(f"  Authorization: Bearer {token}", style="dim"), soft_wrap=True)
