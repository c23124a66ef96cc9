"""`kartra-mcp accounts`: every account of this user on this machine, its state and last use."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kartra_mcp.argument_parser import CommandParser
from kartra_mcp.core.display import display_value, print_json
from kartra_mcp.core.exit_codes import EXIT_FAILED, EXIT_OK
from kartra_mcp.core.terminal import print_error, print_line, print_table
from kartra_mcp.onboarding.accounts.faults import ledger_flags
from kartra_mcp.onboarding.accounts.local_accounts import LocalAccount
from kartra_mcp.onboarding.accounts.report import AccountsReport, make_report
from kartra_mcp.processes import runner
from kartra_mcp.settings import read_settings

ABOUT = """\
List every account that an entry of a client on this machine serves: its connection and state,
the last use, writes with an unknown outcome, the gate of irreversible tools, its state folder.
It names entries that share an account or a folder by mistake, and connections without an entry.
Membrane is asked once for each login, unless --offline is given. Nothing is written.
Exit status: 0 no fault, 1 a fault was found, 2 wrong usage.
"""
TITLES = ("Entry", "Clients", "Connection", "State", "Last use", "Unknown", "Irreversible")


def accounts(words: Sequence[str], run_program: runner.Run = runner.run) -> int:
    """Return 0: no fault; 1: a fault was found, or the run was stopped; 2: wrong usage."""
    parser = CommandParser(prog="kartra-mcp accounts", description=ABOUT)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--offline", action="store_true", help="do not ask Membrane: show only what is stored"
    )
    given = parser.parse_args(words)
    try:
        report = make_report(read_settings(), run_program, offline=given.offline)
    except KeyboardInterrupt:
        print_error("\nStopped.")
        return EXIT_FAILED
    if given.json:
        print_json(report.as_dict())
    else:
        _show(report)
    return EXIT_FAILED if report.faults else EXIT_OK


def _show(report: AccountsReport) -> None:
    if report.accounts:
        print_table(TITLES, [_format_account(one) for one in report.accounts])
        _show_folders(report.accounts)
        _show_unknown([one for one in report.accounts if one.unknown_writes])
    if report.next_step:
        print_line(report.next_step)
    if report.faults:
        print_line("\nTo fix:", "bold")
    for fault in report.faults:
        print_line(f"- {_whole(fault.message)}")
        print_line(f"  {_whole(fault.remedy)}")
    if report.unused:
        print_line("\nConnections in Membrane without an entry:", "bold")
    for unused in report.unused:
        one = unused.connection
        print_line(f"- {display_value(one.name or one.key or one.id)}: {_whole(unused.command)}")
    if not report.asked:
        print_line("\nMembrane was not asked (--offline), so that no state is known.")


def _show_folders(accounts: Sequence[LocalAccount]) -> None:
    """Print the folders outside the table: never wrapped, for copying."""
    print_line("\nState folders:", "bold")
    for one in accounts:
        print_line(f"  {_names(one)}: {_whole(str(one.stored.folder))}")


def _show_unknown(accounts: Sequence[LocalAccount]) -> None:
    if accounts:
        print_line("\nWrites with an unknown outcome, which kartra_reconcile settles:", "bold")
    for one in accounts:
        flags = _whole(ledger_flags(one))
        print_line(f"  {_names(one)}: kartra-mcp ledger list --state unknown {flags}".rstrip())


def _format_account(one: LocalAccount) -> tuple[str, ...]:
    return (
        "\n".join(display_value(name, 40) for name in one.names),
        "\n".join(_format_client(one, client) for client in _clients(one)),
        _format_connection(one),
        one.state,
        _format_time(one.stored.last_use),
        str(one.unknown_writes) if one.unknown_writes else "-",
        "\n".join(one.irreversible_gates),
    )


def _names(one: LocalAccount) -> str:
    return _whole(", ".join(one.names))


def _clients(one: LocalAccount) -> tuple[str, ...]:
    return tuple(dict.fromkeys(entry.client for entry in one.entries))


def _format_client(one: LocalAccount, client: str) -> str:
    started = any(entry.is_started for entry in one.entries if entry.client == client)
    return client if started else f"{client} (off)"


def _format_connection(one: LocalAccount) -> str:
    if one.is_sandbox:
        return "the sandbox"
    if one.connection is None:
        return display_value(one.setting, 60) if one.setting else "chosen by Membrane"
    found = one.connection
    named = f"{display_value(found.name, 60)}\n" if found.name else ""
    chosen = "" if one.setting else "\nchosen by Membrane"
    return f"{named}{display_value(found.id, 60)}{chosen}"


def _format_time(at: float | None) -> str:
    if at is None:
        return "never"
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")


def _whole(text: str) -> str:
    return display_value(text, len(text)) if text else ""
