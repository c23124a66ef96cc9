"""`kartra-mcp install` and `uninstall`: this server in the configuration of an MCP client."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from kartra_mcp.argument_parser import CommandParser, add_settings, settings_in
from kartra_mcp.cli.runner import print_refusal
from kartra_mcp.client_config.command import own_entry
from kartra_mcp.client_config.edit import make_snippet
from kartra_mcp.client_config.entry import REAL, REHEARSAL, ServerEntry
from kartra_mcp.client_config.install import Installed, find_clients, get_client, install, uninstall
from kartra_mcp.client_config.registry import BY_NAME
from kartra_mcp.core.display import display_value, print_json
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from kartra_mcp.core.state_location import make_absolute
from kartra_mcp.core.surroundings import surroundings
from kartra_mcp.core.terminal import print_error, print_line, print_table
from kartra_mcp.onboarding.accounts.state_folders import complete_settings
from kartra_mcp.settings import Settings, read_settings

DID = {
    "new": "{name} is installed in {title}.",
    "updated": "{name} is updated in {title}.",
    "same": "{name} is already in {title}; nothing was changed.",
}
PATHS = ("STATE_DIR", "POLICY")
STOPPED = "\nStopped. The file is unchanged, or fully changed with a backup next to it."
ASK = "Then ask it for kartra_status."


def install_command(words: Sequence[str]) -> int:
    """Return 0: installed, listed or printed; 1: refused, nothing was written; 2: wrong usage."""
    return _run(_make_install_parser().parse_args(words), _install)


def uninstall_command(words: Sequence[str]) -> int:
    """Return 0: removed, or was not installed; 1: refused, nothing was written; 2: wrong usage."""
    return _run(_make_uninstall_parser().parse_args(words), _uninstall)


def _make_install_parser() -> ArgumentParser:
    parser = CommandParser(
        prog="kartra-mcp install",
        description="Add this server to a client's configuration. Without CLIENT: list clients.",
        epilog="The settings of `serve`, given as flags, are written into the entry.",
    )
    _add_client(parser)
    parser.add_argument(
        "--replace", action="store_true", help="replace another entry of the same name"
    )
    parser.add_argument(
        "--create", action="store_true", help="write the file even if the client was not found"
    )
    parser.add_argument("--print", action="store_true", help="show the entry, write nothing")
    add_settings(parser)
    return parser


def _make_uninstall_parser() -> ArgumentParser:
    parser = CommandParser(
        prog="kartra-mcp uninstall",
        description="Remove this server from a client's configuration; everything else stays.",
    )
    _add_client(parser, required=True)
    add_settings(parser, ["SANDBOX"])
    return parser


def _add_client(parser: ArgumentParser, *, required: bool = False) -> None:
    parser.add_argument(
        "client",
        metavar="CLIENT",
        nargs=None if required else "?",
        choices=tuple(BY_NAME),
        help=", ".join(BY_NAME),
    )
    parser.add_argument("--name", help=f"name of the entry; {REAL}, or {REHEARSAL} with --sandbox")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _run(given: Namespace, command: Callable[[Namespace], int]) -> int:
    try:
        return command(given)
    except KartraMCPError as problem:
        print_refusal(problem, as_json=given.json)
        return EXIT_USAGE if problem.code == "invalid_arguments" else EXIT_FAILED
    except KeyboardInterrupt:
        print_error(STOPPED)
    return EXIT_FAILED


def _install(given: Namespace) -> int:
    settings = read_settings()
    entry = own_entry(_make_env(given), name=given.name, sandbox=bool(given.SANDBOX))
    if given.print:
        return _print(given.client, _complete(given, entry, settings))
    if given.client is None:
        return _list(settings, as_json=given.json)
    entry = _complete(given, entry, settings)
    done = install(given.client, entry, settings, replace=given.replace, create=given.create)
    if given.json:
        print_json(asdict(done) | {"file": str(done.file), "backup": _path_text(done.backup)})
    else:
        _tell(done, entry)
    return EXIT_OK


def _make_env(given: Namespace) -> dict[str, str]:
    """Return the settings that flags set, as variables with absolute paths.

    Raises:
        RefusedError: the server could not use a value.
    """
    flags = settings_in(given)
    flags.pop("SANDBOX", None)
    for name in PATHS:
        if name in flags:
            flags[name] = make_absolute(flags[name])
    problems = read_settings(flags, {}).errors
    if problems:
        wrong = "; ".join(f"{p.variable} is not {p.expected}" for p in problems)
        remedy = "Correct the value; `kartra-mcp install --help` lists all settings."
        raise RefusedError("invalid_arguments", f"{wrong}. Nothing was written.", remedy)
    return {f"KARTRA_MCP_{name}": value for name, value in flags.items()}


def _complete(given: Namespace, entry: ServerEntry, shell: Settings) -> ServerEntry:
    """Return the entry with the state folder of its account, unless flags decide it.

    Raises:
        RefusedError: the client's entry of this name serves another account.
    """
    if given.SANDBOX:
        return entry
    place = (given.client, entry.name)
    found = complete_settings(place, settings_in(given), shell, replaces=given.replace)
    more = {f"KARTRA_MCP_{name}": value for name, value in found.items()}
    return replace(entry, env={**entry.env, **more})


def _print(client: str | None, entry: ServerEntry) -> int:
    if client is not None:
        text = make_snippet(get_client(client), entry)
    else:
        server = {"command": entry.command, "args": list(entry.args)}
        server |= {"env": dict(entry.env)} if entry.env else {}
        text = json.dumps({"mcpServers": {entry.name: server}}, indent=2) + "\n"
    surroundings().stdout.write(text)
    return EXIT_OK


def _list(settings: Settings, *, as_json: bool) -> int:
    here = find_clients(settings)
    if as_json:
        print_json({"clients": [asdict(one) | {"file": str(one.file)} for one in here]})
        return EXIT_OK
    rows = [
        (
            one.client,
            "yes" if one.exists else "no",
            ", ".join(map(display_value, one.entries))
            or ("cannot be read" if one.problem else "-"),
            display_value(one.file),
        )
        for one in here
    ]
    print_table(("Client", "Found", "Installed as", "File"), rows)
    for one in here:
        if one.problem:
            print_line(f"\n{display_value(one.problem)}")
    print_line("\nInstall: kartra-mcp install CLIENT. Any other client: kartra-mcp install --print")
    return EXIT_OK


def _tell(done: Installed, entry: ServerEntry) -> None:
    print_line(DID[done.how].format(name=done.name, title=done.title))
    rows: list[tuple[str, Any]] = [("file", done.file)]
    rows += [("before", done.backup)] if done.backup else []
    rows += [("starts", " ".join((entry.command, *entry.args)))]
    rows += [("setting", f"{name}={value}") for name, value in entry.env.items()]
    rows += [("kept", name) for name in done.kept]
    rows += [("lost", name) for name in done.lost]
    _print_rows(rows)
    for notice in done.notices:
        print_line(f"\n{display_value(notice)}")
    print_line(f"\n{done.then} {ASK}")


def _print_rows(rows: Sequence[tuple[str, Any]]) -> None:
    """Print names and values for copying: never wrapped, however long."""
    for name, value in rows:
        print_line(f"  {name:<8} {display_value(value)}")


def _uninstall(given: Namespace) -> int:
    name = given.name or (REHEARSAL if given.SANDBOX else REAL)
    gone = uninstall(given.client, name, read_settings())
    if given.json:
        print_json(asdict(gone) | {"file": str(gone.file), "backup": _path_text(gone.backup)})
        return EXIT_OK
    if not gone.removed:
        print_line(f"{display_value(name)} was not installed; nothing was changed.")
        _print_rows([("file", gone.file)])
        return EXIT_OK
    print_line(f"{display_value(name)} is removed from {gone.title}.")
    _print_rows([("file", gone.file), ("before", gone.backup)])
    return EXIT_OK


def _path_text(path: Path | None) -> str | None:
    return None if path is None else str(path)
