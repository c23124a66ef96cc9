"""`kartra-mcp demo`: the real server in a process of its own, an MCP client, the sandbox account.

The demo imports nothing of the server: it uses what every client can use. Each step checks the
response that it shows by reading the account again; a wrong one ends the demo.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import anyio
from mcp import Client, StdioServerParameters
from mcp.types import Tool
from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from kartra_mcp.argument_parser import CommandParser
from kartra_mcp.cli.demo_screen import rehearse, show_step
from kartra_mcp.cli.demo_steps import STEPS, expect
from kartra_mcp.cli.runner import print_refusal
from kartra_mcp.core.exit_codes import EXIT_FAILED
from kartra_mcp.team.timestamp_client import not_installed_error

CALL_TIMEOUT = 60.0
"""Seconds for one response."""

GROUPS = {
    "read": "only looks, runs at once",
    "write": "changes something, runs at once",
    "destructive": "needs a flag where it overwrites or takes away",
    "irreversible": "shows the facts first, cannot be undone",
}


def demo_command(words: Sequence[str]) -> int:
    """Run `kartra-mcp demo`."""
    parser = CommandParser(
        prog="kartra-mcp demo",
        description="Show a server at work on the embedded account. Nothing leaves this machine.",
    )
    parser.add_argument(
        "--team", action="store_true", help="show the service of a team, and leave it running"
    )
    parser.add_argument("--once", action="store_true", help="with --team: end after the story")
    given = parser.parse_args(words)
    if not given.team:
        return run_demo()
    try:
        from kartra_mcp.cli.demo_team import run_team_demo
    except ImportError:
        print_refusal(not_installed_error(), as_json=False)
        return EXIT_FAILED
    return run_team_demo(once=given.once)


def run_demo() -> int:
    """Run the demo; return 0 if every step went as shown, else 1, also if it was stopped."""

    def work(screen: Console, folder: str) -> None:
        _close(screen, anyio.run(play, screen, folder))

    return rehearse("kartra-mcp-demo-", work)


async def play(screen: Console, folder: str) -> float:
    """Run every step on a server that keeps its state in `folder`; return the seconds it took."""
    began = time.monotonic()
    _open(screen)
    # -P: a file in the current folder must not be imported as a module.
    words = ["-P", "-m", "kartra_mcp", "serve", "--sandbox", "--state-dir", folder]
    server = StdioServerParameters(command=sys.executable, args=words)
    async with Client(server, read_timeout_seconds=CALL_TIMEOUT) as client:
        tools = (await client.list_tools()).tools
        expect(len(tools) > 1, "it listed no tools")
        _show_server(screen, client, time.monotonic() - began)
        _show_tools(screen, tools)
        for number, step in enumerate(STEPS, 1):
            show_step(screen, number, await step(client))
    return time.monotonic() - began


def get_risk(tool: Tool) -> str:
    """Return the risk by the tool's annotations, else by its description."""
    hints = tool.annotations
    if hints and hints.read_only_hint:
        return "read"
    if hints and hints.destructive_hint is False:
        return "write"
    return "irreversible" if "irreversible" in (tool.description or "") else "destructive"


def _open(screen: Console) -> None:
    screen.print()
    screen.print(Rule("kartra-mcp, a rehearsal", align="left", style="cyan"))
    screen.print(
        "A real server in a process of its own, and a real MCP client. Only the Kartra "
        "account is made up: no real person, no real money, nothing leaves this machine."
    )


def _show_server(screen: Console, client: Client, seconds: float) -> None:
    info = client.server_info
    name = f"{info.title or info.name} ({info.name} {info.version})" if info else "The server"
    screen.print(f"\n{name} is ready after {seconds:.1f} s.", markup=False)


def _show_tools(screen: Console, tools: Sequence[Tool]) -> None:
    width = max(len(tool.name) for tool in tools) + 2
    by_risk = {risk: [tool for tool in tools if get_risk(tool) == risk] for risk in GROUPS}
    screen.print(f"It lists {len(tools)} tools:", style="bold")
    for risk, group in by_risk.items():
        if not group:
            continue
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, min_width=width)
        table.add_column(no_wrap=True, overflow="ellipsis")
        for tool in group:
            table.add_row(Text(f"  {tool.name}"), Text(tool.title or "", style="dim"))
        screen.print(Text.assemble("\n", (risk, _pick_color(risk)), f" - {GROUPS[risk]}"))
        screen.print(table)


def _pick_color(risk: str) -> str:
    return {"read": "bold green", "write": "bold yellow"}.get(risk, "bold red")


def _close(screen: Console, seconds: float) -> None:
    screen.print()
    screen.print(Rule("Next: your own account", align="left", style="cyan"))
    screen.print(
        f"Every step was checked. All of it took {seconds:.1f} s, and nothing of it is left.\n"
    )
    program = _find_program()
    screen.print("One command installs Membrane's program, logs in, connects your Kartra account")
    screen.print("and adds this server to your MCP client. It confirms each step with you:")
    screen.print(Text("  kartra-mcp setup", style="cyan"), soft_wrap=True)
    screen.print(Text(f"  ({program} setup, where that is not found)", style="dim"), soft_wrap=True)
    screen.print("Or go on rehearsing in your client, on an account that stays:")
    screen.print(Text(f"  {program} setup --sandbox", style="cyan"), soft_wrap=True)


def _find_program() -> str:
    """Return the command for a client: the console script of this Python, if there is one."""
    python = Path(sys.executable)
    script = python.with_name("kartra-mcp.exe" if sys.platform == "win32" else "kartra-mcp")
    return str(script) if script.is_file() else f"{python} -m kartra_mcp"
