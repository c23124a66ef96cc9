"""`kartra-mcp tools` lists each tool with its risk and gate, or the reason if it is hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import anyio

from kartra_mcp.account.snapshot import AccountSnapshot, no_catalogue_error
from kartra_mcp.app.composition import App, build_app
from kartra_mcp.argument_parser import CommandParser, add_settings, settings_in
from kartra_mcp.catalogue.builtin_tools import BUILTIN_TOOLS
from kartra_mcp.catalogue.overview import ToolRow, list_unmatched_patterns, tool_rows
from kartra_mcp.cli.runner import print_refusal
from kartra_mcp.core.display import format_local_time, print_json
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.exit_codes import EXIT_FAILED, EXIT_OK
from kartra_mcp.core.terminal import print_error, print_line, print_table
from kartra_mcp.processes import runner
from kartra_mcp.settings import Settings, read_settings

ABOUT = """\
List every tool of this server: its risk, its gate, what a call needs, and why a tool is hidden.
It takes the settings of `serve`. It shows the saved list, else loads one from Membrane.
Exit status: 0 shown, 1 the list is not available, 2 wrong usage.
"""


def tools(words: Sequence[str], run_program: runner.Run = runner.run) -> int:
    """Return 0: shown; 1: the list is not available; 2: wrong usage."""
    parser = CommandParser(prog="kartra-mcp tools", description=ABOUT)
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_settings(parser)
    given = parser.parse_args(words)
    as_json = given.json
    settings = read_settings(settings_in(given))
    try:
        made = build_app(settings, run_program=run_program)
        served = anyio.run(partial(_get_snapshot, made))
    except KartraMCPError as problem:
        print_refusal(problem, as_json=as_json)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print_error("\nStopped.")
        return EXIT_FAILED
    listed = {tool["name"] for tool in made.tools.exposure.list_definitions(served.catalogue)}
    entries = served.catalogue.entries.values()
    found = tool_rows(BUILTIN_TOOLS.values(), entries, made.tools.rules, listed)
    unmatched = list_unmatched_patterns(entries, made.tools.rules)
    if as_json:
        _print_json(found, served, settings, unmatched)
    else:
        _show(found, served, settings)
        for one in unmatched:
            print_line(f"{one.message} {one.remedy}")
    return EXIT_OK


async def _get_snapshot(made: App) -> AccountSnapshot:
    """Return the saved list; if there is none, load it from Membrane.

    Raises:
        KartraMCPError: the list cannot be loaded.
    """
    account = made.tools.account
    try:
        if not account.snapshot.fetched_at:
            async with anyio.create_task_group() as tasks:
                account.start(tasks)
                await account.catalogue()
                tasks.cancel_scope.cancel()
        if not account.snapshot.fetched_at:
            raise account.snapshot.error or no_catalogue_error(account.snapshot)
        return account.snapshot
    finally:
        await made.close()


def _print_json(
    found: Sequence[ToolRow],
    served: AccountSnapshot,
    settings: Settings,
    unmatched: Sequence[Any],
) -> None:
    print_json(
        {
            "account": "SANDBOX" if settings.sandbox else "real",
            "connection": served.connection.id if served.connection else None,
            "listed_at": served.fetched_at,
            "tools": [asdict(row) for row in found],
            "unmatched_patterns": [asdict(one) for one in unmatched],
        }
    )


def _show(found: Sequence[ToolRow], served: AccountSnapshot, settings: Settings) -> None:
    shown = [row for row in found if not row.hidden]
    print_table(("Tool", "Risk", "Gate", "A call needs"), map(_format_cells, shown))
    hidden = [row for row in found if row.hidden]
    if hidden:
        print_line("\nNot listed:")
        print_table(
            ("Tool", "Risk", "Reason"),
            [(r.tool, _join_lines(r, "risk"), r.hidden) for r in hidden],
        )
    account = "the sandbox" if settings.sandbox else "the account"
    at = format_local_time(served.fetched_at)
    print_line(f"\n{len(shown)} tools of {account}, {len(hidden)} hidden; listed at {at}.")
    for problem in settings.errors:
        print_line(f"{problem}.")


def _format_cells(row: ToolRow) -> tuple[str, ...]:
    return row.tool, _join_lines(row, "risk"), _join_lines(row, "gate"), _join_lines(row, "needs")


def _join_lines(row: ToolRow, name: str) -> str:
    """Return one line for each risk that a call can have."""
    return "\n".join(getattr(need, name) for need in row.calls)
