"""`kartra-mcp ledger`: past writes and their consent, export, verification, replacement."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from kartra_mcp.argument_parser import CommandParser, add_settings
from kartra_mcp.cli.export import save, write_export
from kartra_mcp.cli.ledger_settle import OUTCOMES, SETTLE, settle
from kartra_mcp.cli.runner import (
    LEDGER_SETTINGS,
    LedgerContext,
    positive_int,
    run,
    timestamp,
)
from kartra_mcp.core.display import display_value, format_local_time, print_json
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.exit_codes import EXIT_FAILED, EXIT_OK
from kartra_mcp.core.terminal import (
    is_interactive,
    not_interactive_error,
    print_error,
    print_fields,
    print_line,
    print_table,
    prompt,
)
from kartra_mcp.ledger.export import FORMATS, render_entries
from kartra_mcp.ledger.records import CONSENT_MEANINGS, Filters, State, VerificationReport

COUNT = 20
NEW = "new"
HASH = 16
"""Characters of a hash in the output; `--json` has all of it."""


def ledger(words: Sequence[str]) -> int:
    """Return 0: shown, written, valid or replaced; 1: refused, or the ledger is damaged."""
    given = _make_parser().parse_args(words)
    return run(given, given.command)


def _make_parser() -> ArgumentParser:
    parser = CommandParser(
        prog="kartra-mcp ledger",
        description="Every write through kartra-mcp, and how it ended.",
    )
    commands = parser.add_subparsers(metavar="list|show|export|verify|settle|new", required=True)
    _add_list(commands)
    show = _add(commands, "show", _show, "show one write in full")
    show.add_argument("intent", metavar="INTENT")
    export = _add(commands, "export", _export, "export all writes, for another program")
    export.add_argument("--format", choices=FORMATS, default=FORMATS[0])
    export.add_argument(
        "--output", type=Path, metavar="FILE", help="write to FILE instead of stdout"
    )
    export.add_argument("--force", action="store_true", help="replace FILE if it exists")
    verify = _add(commands, "verify", _verify, "check every entry and its hash")
    stated = _add(
        commands, SETTLE, settle, "state the outcome of a write that reading cannot settle"
    )
    stated.add_argument("intent", metavar="INTENT")
    stated.add_argument("outcome", choices=OUTCOMES)
    new = _add(
        commands,
        NEW,
        _replace_ledger,
        "keep a damaged ledger under another name and begin a new one",
    )
    new.add_argument("--yes", action="store_true", help="do not ask")
    for readable in (show, verify):
        _add_json(readable)
    return parser


def _add_list(commands: Any) -> None:
    parser = _add(commands, "list", _list, "list the newest writes")
    parser.add_argument("--count", type=positive_int, default=COUNT, metavar="N")
    parser.add_argument("--state", choices=get_args(State))
    parser.add_argument("--tool")
    parser.add_argument("--lead", metavar="EMAIL")
    parser.add_argument("--target", metavar="ID")
    parser.add_argument("--since", type=timestamp, metavar="2026-11-01")
    _add_json(parser)


def _add(commands: Any, name: str, command: Any, about: str) -> ArgumentParser:
    parser: ArgumentParser = commands.add_parser(name, help=about, description=about)
    parser.set_defaults(command=command)
    add_settings(parser, LEDGER_SETTINGS)
    return parser


def _add_json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _list(given: Namespace, place: LedgerContext) -> int:
    if place.is_missing:
        if given.json:
            print_json({"lines": []})
        else:
            print_line(place.empty_text)
        return EXIT_OK
    place.ledger.mark_orphans_unknown()
    lead = place.ledger.leads.hash(given.lead) if given.lead else None
    filters = Filters(given.tool, given.since, lead, given.target, given.state)
    found = place.ledger.list_recent(given.count, filters)
    if given.json:
        print_json({"lines": found})
    elif not found:
        print_line(_nothing(filters, place))
    else:
        print_table(("When", "What", "Amount", "Outcome", "Consent"), map(_format_row, found))
        _print_legend(found)
    return EXIT_OK


def _nothing(filters: Filters, place: LedgerContext) -> str:
    if filters == Filters() or not place.ledger.list_recent(1):
        return place.empty_text
    return f"No such write in the ledger of {place.folder}."


def _format_row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    about = (
        f"{display_value(entry['operation'])} {_format_target(entry)}".rstrip(" -"),
        *([display_value(entry["object"])] if entry["object"] else []),
        f"{entry['intent']}",
        *([f"bulk run: {display_value(entry['bulk'])}"] if entry.get("bulk") else []),
        *([f"undo: {display_value(entry['undo'])}"] if entry["undo"] else []),
    )
    return (
        format_local_time(entry["at"]),
        "\n".join(about),
        _format_amount(entry),
        display_value(entry["state"]),
        display_value(entry["consent"]),
    )


def _print_legend(found: Sequence[Mapping[str, Any]]) -> None:
    print_line("")
    named = sorted({str(entry["consent"]) for entry in found})
    for name in named:
        print_line(f"  {name}: {CONSENT_MEANINGS.get(name, '-')}")
    if any(entry["state"] == "unknown" for entry in found):
        print_line("\nunknown: settle it with kartra_reconcile; do not repeat the call.")


def _format_amount(entry: Mapping[str, Any]) -> str:
    """Return the amount moved, as far as known; Kartra does not name the currency."""
    return display_value(entry["known_amount"] or entry["amount"] or entry["remainder"])


def _format_target(entry: Mapping[str, Any]) -> str:
    return display_value(f"{entry['target_kind']} {entry['target'] or ''}")


def _show(given: Namespace, place: LedgerContext) -> int:
    found = None
    if not place.is_missing:
        place.ledger.mark_orphans_unknown()
        found = place.ledger.get(given.intent)
    if found is None:
        raise RefusedError(
            "invalid_arguments",
            f"The intent {display_value(given.intent, 60)} is not in the ledger of {place.folder}.",
            f"Run `kartra-mcp ledger list{place.flags}` to list them.",
        )
    if given.json:
        print_json(found)
        return EXIT_OK
    _print_report(found)
    return EXIT_OK


def _print_report(entry: Mapping[str, Any]) -> None:
    consent = str(entry["consent"])
    print_fields(
        (
            ("intent", entry["intent"]),
            ("begun", format_local_time(entry["at"])),
            ("ended", format_local_time(entry["ended_at"])),
            ("outcome", f"{entry['state']} (executed: {entry['executed']})"),
            ("still held", entry["held"]),
            ("bulk run", entry.get("bulk", "")),
            ("tool", entry["tool"]),
            ("operation", f"{entry['operation']}, {entry['risk']}"),
            ("target", _format_target(entry)),
            ("object", entry["object"]),
            ("amount given", entry["amount"]),
            ("amount moved", entry["known_amount"]),
            ("remainder before", entry["remainder"]),
            ("consent", f"{consent}: {CONSENT_MEANINGS.get(consent, '-')}"),
            ("confirmation", entry["confirmation"]),
            ("meant as a repeat", entry["repeat"]),
            ("can start mail", entry["mail"]),
            ("actor", entry["actor"]),
            ("client", entry["client"]),
            ("connection", entry["connection"]),
            ("lead", entry["lead"]),
            *((f"fact: {name}", value) for name, value in entry["facts"].items()),
            ("detail", entry["detail"]),
            ("evidence", entry["evidence"]),
            ("action run", entry["action_run_id"]),
            ("undo", entry["undo"]),
        )
    )
    print_line("")
    lines = (
        (str(x["n"]), format_local_time(x["at"]), x["kind"], x["hash"][:HASH])
        for x in entry["lines"]
    )
    print_table(("Line", "When", "Kind", "Hash"), lines)


def _export(given: Namespace, place: LedgerContext) -> int:
    found: Sequence[Mapping[str, Any]] = ()
    if not place.is_missing:
        place.ledger.mark_orphans_unknown()
        found = place.ledger.export()
    if not found:
        print_error(place.empty_text)  # stdout is for the export
    text = render_entries(found, given.format)
    if given.output is None:
        write_export(text)
        return EXIT_OK
    save(given.output, text, away_from=place.folder, force=given.force)
    print_line(f"{len(found)} writes are in {given.output}, readable by this user only.")
    return EXIT_OK


def _verify(given: Namespace, place: LedgerContext) -> int:
    report = VerificationReport(0, ok=True) if place.is_missing else place.ledger.verify()
    if given.json:
        print_json(asdict(report))
    elif report.ok and not report.count:
        print_line(f"{place.empty_text} There is nothing to verify.")
    elif report.ok:
        print_line(
            f"The ledger of {place.folder} is valid: {report.count_text}, each hash matches."
        )
    elif report.refused:
        print_line(f"{report.intact_text} in the ledger of {place.folder}.")
        print_line(f"Writes are refused: {report.refused}.")
    else:
        print_line(_describe_damage(report))
        command = f"kartra-mcp ledger new{place.flags}"
        print_line(f"Writes are refused. Keep the file, then run `{command}`.")
    return EXIT_OK if report.ok else EXIT_FAILED


def _describe_damage(report: VerificationReport) -> str:
    if report.refused:
        return f"The ledger cannot be used: {report.refused}."
    where = f" at line {report.broken}" if report.broken is not None else ""
    return f"The ledger is broken{where}: {display_value(report.why)}."


def _replace_ledger(given: Namespace, place: LedgerContext) -> int:
    if place.is_missing:
        raise RefusedError(
            "invalid_arguments",
            f"{place.empty_text} There is nothing to replace.",
            "The first write begins a ledger.",
        )
    report = place.ledger.verify()
    if not report.ok:
        print_line(_describe_damage(report))
        print_line(_WHAT_NEW_DOES)
        if not given.yes and not _confirm():
            print_line("Nothing was changed.")
            return EXIT_FAILED
    made = place.ledger.replace_damaged()  # refuses a valid ledger
    kept = (
        f"The old ledger is kept as {made.old_file}" if made.old_file else "There was no old ledger"
    )
    print_line(f"A new ledger has begun. {kept}.")
    return EXIT_OK


_WHAT_NEW_DOES = """\
The ledger is kept unchanged under a dated name, and a new one begins that names it. The new one
lacks earlier refunds, unknown outcomes, caps, pending approvals and the PIN. Before you allow
another refund, check in Kartra which writes were running."""


def _confirm() -> bool:
    if not is_interactive():
        raise not_interactive_error("Without --yes this is agreed to")
    return prompt(f"Type {NEW} to continue: ") == NEW
