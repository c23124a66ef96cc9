"""`kartra-mcp bulk`: one tool for the rows of a file, and the bulk runs of the ledger."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from kartra_mcp.argument_parser import CommandParser, add_settings
from kartra_mcp.bulk.view import describe_item, describe_run
from kartra_mcp.cli.bulk_run import continue_bulk, parse_pair, run_bulk, undo_bulk
from kartra_mcp.cli.bulk_session import unknown_run_error
from kartra_mcp.cli.export import save, write_export
from kartra_mcp.cli.runner import LEDGER_SETTINGS, LedgerContext, positive_int, run
from kartra_mcp.core.display import display_value, format_local_time, print_json
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.exit_codes import EXIT_OK
from kartra_mcp.core.terminal import print_fields, print_line, print_table
from kartra_mcp.ledger.bulk_records import ITEM_STATES, BulkItem, BulkRun
from kartra_mcp.ledger.export import render_csv
from kartra_mcp.ledger.records import CONSENT_MEANINGS
from kartra_mcp.processes import runner

COUNT = 20
ABOUT_RUN = """\
Run TOOL once for each row of FILE. Columns fill the arguments of their name. First every row is
checked and a preview is shown; nothing runs before you type the number of items, or the sum.
Ctrl-C pauses; `bulk continue` goes on.
"""


def bulk(words: Sequence[str], run_program: runner.Run = runner.run) -> int:
    """Return 0: done or shown; 1: refused, not agreed to, paused, or items failed."""
    given = _make_parser(run_program).parse_args(words)
    return given.command(given)


def _make_parser(run_program: runner.Run) -> ArgumentParser:
    parser = CommandParser(
        prog="kartra-mcp bulk", description="One tool for many items: docs/bulk.md."
    )
    commands: Any = parser.add_subparsers(
        metavar="run|list|show|continue|cancel|undo|export", required=True
    )
    _add_run(commands, run_program)
    listed = _add(commands, "list", _list, "list the newest runs")
    listed.add_argument("--count", type=positive_int, default=COUNT, metavar="N")
    show = _add(commands, "show", _show, "show a run and its items")
    goes_on = commands.add_parser("continue", help="continue a run", description="Continue a run.")
    goes_on.set_defaults(command=partial(continue_bulk, run_program=run_program))
    add_settings(goes_on)
    cancel = _add(commands, "cancel", _cancel, "cancel a run; what ran is kept")
    undo = _add_undo(commands, run_program)
    export = _add(commands, "export", _export, "export the items of a run as CSV")
    for parser_of_run in (show, goes_on, cancel, undo, export):
        parser_of_run.add_argument("bulk_id", metavar="BULK_ID")
    for readable in (listed, show, goes_on, cancel, undo):
        readable.add_argument("--json", action="store_true", help="print JSON")
    for part in (show, export):
        part.add_argument("--state", choices=ITEM_STATES, help="only items of this state")
    export.add_argument(
        "--output", type=Path, metavar="FILE", help="write to FILE instead of stdout"
    )
    export.add_argument("--force", action="store_true", help="replace FILE if it exists")
    return parser


def _add_run(commands: Any, run_program: runner.Run) -> None:
    parser: ArgumentParser = commands.add_parser(
        "run", help="run one tool for the rows of a file", description=ABOUT_RUN
    )
    parser.set_defaults(command=partial(run_bulk, run_program=run_program))
    parser.add_argument("tool", metavar="TOOL", help="name of the tool, e.g. kartra_assign_tag")
    parser.add_argument("--csv", type=Path, required=True, metavar="FILE")
    pairs: dict[str, Any] = {"action": "append", "type": parse_pair, "default": []}
    parser.add_argument(
        "--map", **pairs, metavar="COLUMN=ARGUMENT", help="the argument that a column fills"
    )
    parser.add_argument(
        "--set", **pairs, metavar="NAME=VALUE", help="an argument that all rows share"
    )
    for flag, about in (
        ("--dry-run", "show the preview and stop"),
        ("--skip-invalid", "leave wrong rows out"),
        ("--include-suppressed", "mail leads too that should not get mail"),
        ("--json", "print JSON"),
    ):
        parser.add_argument(flag, action="store_true", help=about)
    add_settings(parser)


def _add_undo(commands: Any, run_program: runner.Run) -> ArgumentParser:
    about = "undo what a run changed, by a run of the inverse calls with a preview of its own"
    parser: ArgumentParser = commands.add_parser("undo", help=about, description=about)
    parser.set_defaults(command=partial(undo_bulk, run_program=run_program))
    for flag, does in (
        ("--dry-run", "show the preview and stop"),
        ("--include-suppressed", "include leads that should not get mail"),
        ("--repeat", "also make calls that were made less than a minute ago"),
    ):
        parser.add_argument(flag, action="store_true", help=does)
    add_settings(parser)
    return parser


def _add(commands: Any, name: str, command: Any, about: str) -> ArgumentParser:
    """Add a command that needs only the ledger."""
    parser: ArgumentParser = commands.add_parser(name, help=about, description=about)
    parser.set_defaults(command=partial(run, command=command))
    add_settings(parser, LEDGER_SETTINGS)
    return parser


def _list(given: Namespace, place: LedgerContext) -> int:
    runs: list[BulkRun] = []
    if not place.is_missing:
        place.ledger.mark_orphans_unknown()
        runs = place.ledger.bulk.list_recent(given.count)
    found = [describe_run(one, place.ledger.bulk.count_items(one.id)) for one in runs]
    if given.json:
        print_json({"runs": found})
    elif not found:
        print_line(f"The ledger of {place.folder} has no bulk run.")
    else:
        titles = ("Run", "Tool", "State", "Done", "Failed", "Unknown", "Left", "Planned")
        rows = zip(found, runs, strict=True)
        print_table(titles, [_format_row(told, made.made_at) for told, made in rows])
    return EXIT_OK


def _format_row(told: Mapping[str, Any], made_at: float) -> tuple[str, ...]:
    counts = (str(told[name]) for name in ("done", "failed", "unknown", "left"))
    texts = (display_value(told[name]) for name in ("bulk_id", "tool", "state"))
    return (*texts, *counts, format_local_time(made_at))


def _find(given: Namespace, place: LedgerContext) -> BulkRun:
    if not place.is_missing:
        place.ledger.mark_orphans_unknown()
        found = place.ledger.bulk.get(given.bulk_id)
        if found is not None:
            return found
    raise unknown_run_error(display_value(given.bulk_id, 60), place.flags)


def _show(given: Namespace, place: LedgerContext) -> int:
    found = _find(given, place)
    told = describe_run(found, place.ledger.bulk.count_items(found.id))
    items = place.ledger.bulk.list_items(found.id, state=given.state)
    if given.json:
        print_json({**told, "items": [describe_item(item) for item in items]})
        return EXIT_OK
    if "consent" in told:
        told["consent"] = f"{found.consent}: {CONSENT_MEANINGS.get(found.consent, '-')}"
    print_fields(told.items())
    print_line("")
    print_table(("Line", "State", "What", "Reason"), [_format_item(item) for item in items])
    if not found.has_ended:
        print_line(f"\nTo go on: kartra-mcp bulk continue {found.id}{place.flags}")
    return EXIT_OK


def _format_item(item: BulkItem) -> tuple[str, ...]:
    told = describe_item(item)
    what = display_value(told.get("arguments", {}), 200)
    about = f"{what}\n{item.intent}" if item.intent else what
    reason = told.get("reason") or told.get("code") or ""
    return str(item.source), told["state"], about, display_value(reason) if reason else ""


def _cancel(given: Namespace, place: LedgerContext) -> int:
    found = _find(given, place)
    if found.has_ended:
        raise RefusedError(
            "invalid_arguments",
            f"{found.id} has ended before: it is {found.state}. Nothing was changed.",
            f"See it: kartra-mcp bulk show {found.id}{place.flags}",
        )
    now = place.ledger.bulk.set_state(found.id, "cancelled", "by the user")
    told = describe_run(now, place.ledger.bulk.count_items(now.id))
    if given.json:
        print_json(told)
    else:
        done, left = told["done"], told["left"]
        print_line(f"Cancelled: {done} of {now.total} items are done and stay so; {left} left out.")
    return EXIT_OK


def _export(given: Namespace, place: LedgerContext) -> int:
    found = _find(given, place)
    items = place.ledger.bulk.list_items(found.id, state=given.state)
    text = _render(items)
    if given.output is None:
        write_export(text)
        return EXIT_OK
    save(given.output, text, away_from=place.folder, force=given.force)
    print_line(f"{len(items)} items are in {given.output}, readable by this user only.")
    return EXIT_OK


def _render(items: Sequence[BulkItem]) -> str:
    """Return items as CSV; arguments have columns of their name, so that it can be run again."""
    names = list(dict.fromkeys(name for item in items for name in item.arguments))
    own = ("bulk_item", "bulk_state", "bulk_code", "bulk_reason", "bulk_intent", "bulk_result")
    rows: list[list[Any]] = []
    for item in items:
        told = describe_item(item)
        of_run = [told.get(name[5:]) for name in own]
        rows.append([*(item.arguments.get(name) for name in names), *of_run])
    return render_csv((*names, *own), rows)
