"""`kartra-mcp bulk run` and `bulk continue`: preview, the user's agreement, items, result."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kartra_mcp.argument_parser import settings_in
from kartra_mcp.bulk.csv_items import MAX_CSV_BYTES
from kartra_mcp.bulk.service import BulkPreview
from kartra_mcp.bulk.undo import UndoOptions
from kartra_mcp.bulk.view import can_undo
from kartra_mcp.cli.bulk_session import CsvRun, Terminal, open_terminal, unknown_run_error
from kartra_mcp.cli.pin import prompt_pin
from kartra_mcp.cli.runner import print_refusal
from kartra_mcp.consent.decisions import ApprovalDecision, decide, require_pending, require_pin_set
from kartra_mcp.consent.preview import is_typed
from kartra_mcp.core.display import add_ledger_flags, display_value, print_json
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.exit_codes import EXIT_FAILED, EXIT_OK
from kartra_mcp.core.files import read_small_file
from kartra_mcp.core.json_types import as_dict, as_list
from kartra_mcp.core.models import ConsentArguments, Gate
from kartra_mcp.core.terminal import (
    is_interactive,
    print_error,
    print_fields,
    print_line,
    print_table,
    progress_bar,
    prompt,
)
from kartra_mcp.ledger.bulk_records import BulkRun
from kartra_mcp.processes import runner
from kartra_mcp.settings import read_settings

_LEFT_OUT = {
    "not_undone": "Not undone",
    "invalid": "Wrong",
    "blocked": "Done before, running or unknown",
    "suppressed": "Should not get mail",
}
_LISTED_ELSEWHERE = frozenset({*_LEFT_OUT, "count", "items"})


def parse_pair(text: str) -> tuple[str, str]:
    """Parse `NAME=VALUE`, for argparse; the value may have a `=`, the name may not."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name.strip(), value.strip()


def run_bulk(given: Namespace, run_program: runner.Run) -> int:
    """Run `bulk run`."""

    def plan(terminal: Terminal, _: str) -> BulkRun:
        wanted = _read_request(given)
        writes = terminal.call(terminal.session.writes, wanted.tool)
        if writes and not given.dry_run and not is_interactive():
            raise _not_interactive_error()
        return terminal.call(terminal.session.plan, wanted)

    return _run(given, run_program, plan)


def undo_bulk(given: Namespace, run_program: runner.Run) -> int:
    """Run `bulk undo`."""

    def plan(terminal: Terminal, flags: str) -> BulkRun:
        if not given.dry_run and not is_interactive():
            raise _not_interactive_error()
        if terminal.call(terminal.session.find, given.bulk_id) is None:
            raise unknown_run_error(given.bulk_id, flags)
        options = UndoOptions(given.include_suppressed, given.repeat)
        try:
            return terminal.call(terminal.session.plan_undo, given.bulk_id, options)
        except RefusedError as problem:
            if not given.json:
                _print_left_out(as_dict(problem.detail))
            raise

    return _run(given, run_program, plan)


def continue_bulk(given: Namespace, run_program: runner.Run) -> int:
    """Run `bulk continue`."""

    def find(terminal: Terminal, flags: str) -> BulkRun:
        found = terminal.call(terminal.session.find, given.bulk_id)
        if found is None:
            raise unknown_run_error(given.bulk_id, flags)
        return found

    return _run(given, run_program, find)


def _run(given: Namespace, run_program: runner.Run, find: Any) -> int:
    flags = settings_in(given)
    # The user is here: the approval is given in this terminal, not on the page.
    settings = replace(read_settings(flags), page=False)
    shown = read_settings(flags, {}).cli_flags
    for problem in settings.errors:
        print_error(f"{problem}.")
    try:
        with open_terminal(settings, run_program) as terminal:
            return _execute(_Command(given, shown, terminal), find)
    except KartraMCPError as problem:
        print_refusal(problem, as_json=given.json)
    return EXIT_FAILED


def _execute(command: _Command, find: Any) -> int:
    """Run a command; a task group would wrap what is raised, so that it is reported here."""
    try:
        return command.execute(find)
    except KartraMCPError as problem:
        problem.remedy = _name_remedy(problem, command.flags)
        print_refusal(problem, as_json=command.as_json)
        if not command.as_json:
            _print_columns(as_dict(problem.detail))
    except (KeyboardInterrupt, EOFError):
        print_error("\nStopped.")
    return EXIT_FAILED


def _name_remedy(problem: KartraMCPError, flags: str) -> str:
    """Return the remedy as a command of this terminal, where it was that of a client."""
    if problem.code == "unknown_tool":
        return f"Nothing was done. Run `kartra-mcp tools{flags}` to list the tools."
    return add_ledger_flags(problem.remedy.removesuffix(" `detail` lists both."), flags)


def _print_columns(detail: Mapping[str, Any]) -> None:
    """Print the columns of the file and the arguments of the tool, if the error has them."""
    for name in ("columns", "arguments"):
        if found := as_list(detail.get(name)):
            print_error(f"{name.capitalize()}: {', '.join(map(display_value, found))}")


class _Command:
    """One command on one run; `flags` are flags that another command needs too."""

    def __init__(self, given: Namespace, flags: str, terminal: Terminal) -> None:
        self.as_json: bool = given.json
        self.is_rehearsal: bool = getattr(given, "dry_run", False)
        self.flags = flags
        self.terminal, self.session = terminal, terminal.session

    def execute(self, find: Any) -> int:
        run: BulkRun = find(self.terminal, self.flags)
        is_new = run.state == "planned"
        if is_new:
            plan = self._check(run)
            if self.is_rehearsal:
                self._print_rehearsal(plan)
                return EXIT_OK
            begun = self._agree(plan)
            if begun is None:
                return EXIT_FAILED
            run = begun
        elif not run.has_ended:
            run = self.terminal.call(self.session.begin, run, ConsentArguments())
        return self._run_items(run)

    def _check(self, run: BulkRun) -> BulkPreview:
        try:
            with progress_bar("Checking") as show:
                return self.terminal.call(self.session.check, run, show)
        except KeyboardInterrupt:
            print_error(f"\nNothing was done. To go on: {self._continue(run)}")
            raise
        except RefusedError as problem:
            left_out = as_dict(problem.detail)
            if self.as_json or not left_out.keys() & _LEFT_OUT.keys():
                raise
            _print_left_out(left_out)
            print_line("")
            raise _wrong_items_error(problem, run, self.flags) from None

    def _print_rehearsal(self, plan: BulkPreview) -> None:
        if not self.as_json:
            _print_preview(plan)
            print_line(f"\nNothing was done. To run it: {self._continue(plan.run)}")
            return
        made = plan.preview
        facts = {"summary": made.summary, "facts": dict(made.facts)}
        texts = {"effect": made.effect, "undo": made.undo, "gate": str(plan.gate)}
        print_json({"bulk_id": plan.run.id, "state": plan.run.state, **facts, **texts})

    def _agree(self, plan: BulkPreview) -> BulkRun | None:
        """Return the run as begun; None if the user did not agree."""
        if plan.gate is Gate.ALLOW:
            return self.terminal.call(self.session.begin, plan.run, ConsentArguments())
        if not is_interactive():
            raise _not_interactive_error()
        if plan.gate is Gate.HUMAN:
            require_pin_set(self.session.ledger.pins, self.flags)
        _print_preview(plan)
        what = "sum" if "amount" in plan.preview.facts else "number of items"
        try:
            typed = prompt(f"\nTo run it, type the {what} ({plan.typed}): ")
            if not is_typed(typed, plan.typed):
                print_line(f"Nothing was done. To be asked again: {self._continue(plan.run)}")
                return None
            return self._begin(plan)
        except (KeyboardInterrupt, EOFError):
            print_error(f"\nNothing was done. To be asked again: {self._continue(plan.run)}")
            return None

    def _begin(self, plan: BulkPreview) -> BulkRun:
        """Return the run as begun: on the repeated preview, or on an approval with the PIN."""
        try:
            return self.terminal.call(self.session.begin, plan.run, ConsentArguments())
        except RefusedError as problem:
            shown = problem.confirmation or {}
            if problem.code not in ("confirmation_required", "approval_required"):
                raise
            if shown.get("summary") != plan.preview.summary:
                raise _changed_error(self._continue(plan.run)) from None
            asked = shown
        if "number" not in asked:
            words = ConsentArguments(True, asked["id"], asked["summary"])
            return self.terminal.call(self.session.begin, plan.run, words)
        ledger = self.session.ledger
        pending = require_pending(ledger.approvals, asked["number"])
        require_pin_set(ledger.pins, self.flags)
        decide(
            ledger,
            pending.number,
            seen=pending.fingerprint,
            ask_pin=prompt_pin,
            decision=ApprovalDecision(approve=True),
        )
        return self.terminal.call(self.session.begin, plan.run, ConsentArguments())

    def _run_items(self, run: BulkRun) -> int:
        def report_stop() -> None:
            print_error(
                "\nPausing: items that are running come to their end. Ctrl-C again ends them at "
                "once; their outcome is then unknown."
            )

        try:
            with progress_bar("Running") as show:
                ended = self.terminal.run_items(run, show, report_stop)
        except KeyboardInterrupt:
            print_error(f"\nEnded. See `kartra-mcp bulk show {run.id}{self.flags}`.")
            return EXIT_FAILED
        told = self.terminal.call(self.session.describe_progress, ended)
        if self.as_json:
            print_json(told)
        else:
            self._print_result(ended, told)
        is_done = ended.state == "done" and not told["failed"] and not told["unknown"]
        return EXIT_OK if is_done else EXIT_FAILED

    def _print_result(self, run: BulkRun, told: Mapping[str, Any]) -> None:
        others = ("failed", "unknown", "skipped", "left")
        numbers = "".join(f", {told[name]} {name}" for name in others if told[name])
        why = f" ({display_value(run.why)})" if run.why else ""
        state = run.state.capitalize()
        print_line(f"{state}{why}: {told['done']} of {run.total} succeeded{numbers}.", "bold")
        if told["failures"]:
            _print_items(told["failures"])
        if told["failures"] or told["skipped"]:
            print_line(f"All items: kartra-mcp bulk show {run.id}{self.flags}")
        if told["unknown"]:
            print_line("unknown: settle it with kartra_reconcile; do not repeat it.")
        if not run.has_ended:
            print_line(f"To go on: {self._continue(run)}")
        if run.is_read:
            print_line(f"Results: kartra-mcp bulk export {run.id}{self.flags}")
        elif can_undo(run, told["done"]):
            print_line(f"To undo it: kartra-mcp bulk undo {run.id}{self.flags}")

    def _continue(self, run: BulkRun) -> str:
        return f"kartra-mcp bulk continue {run.id}{self.flags}"


def _read_request(given: Namespace) -> CsvRun:
    """Return the run that the command line describes; the user may name any file."""
    try:
        content = read_small_file(given.csv, MAX_CSV_BYTES)
    except OSError as problem:
        why = problem.strerror or f"not a regular file of at most {MAX_CSV_BYTES >> 20} MiB"
        raise RefusedError(
            "invalid_arguments",
            f"{given.csv} cannot be read: {why}. Nothing was done.",
            "Name a CSV file.",
        ) from None
    return CsvRun(
        given.tool,
        content,
        _make_mapping(given.map, "--map"),
        _make_mapping(given.set, "--set"),
        skip_invalid=given.skip_invalid,
        include_suppressed=given.include_suppressed,
    )


def _make_mapping(pairs: list[tuple[str, str]], flag: str) -> dict[str, str]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise RefusedError(
            "invalid_arguments",
            f"{flag} names something twice. Nothing was done.",
            "Give each name once.",
        )
    return made


def _print_preview(plan: BulkPreview) -> None:
    """Print everything that the run covers: summary, facts, effect, undo, items left out."""
    made = plan.preview
    print_line(f"\n{display_value(made.summary)}\n", "bold")
    facts = {name: value for name, value in made.facts.items() if name not in _LISTED_ELSEWHERE}
    print_fields((("items", made.facts["count"]), *facts.items()))
    print_line("")
    print_fields((("effect", made.effect), ("undo", made.undo)))
    _print_left_out(made.facts)


def _print_left_out(facts: Mapping[str, Any]) -> None:
    """Print the first items that will not run, by reason, with their line."""
    for name, title in _LEFT_OUT.items():
        found = as_dict(facts.get(name))
        if found:
            print_line(f"\n{title}: {found['total']}", "bold")
            first = [as_dict(item) for item in as_list(found["first"])]
            _print_items(first)
            more = found["total"] - sum(item.get("items", 1) for item in first)
            if more:
                print_line(f"and {more} more.")


def _print_items(items: list[dict[str, Any]]) -> None:
    rows = [
        (_name_lines(item), display_value(item.get("reason") or item.get("code") or ""))
        for item in items
    ]
    print_table(("Line", "Reason"), rows)


def _name_lines(item: Mapping[str, Any]) -> str:
    """Return the line of an item, and how many others have the same reason."""
    others = item.get("items", 1) - 1
    return f"{item['item']}, and {others} more" if others else str(item["item"])


def _wrong_items_error(problem: RefusedError, run: BulkRun, flags: str) -> RefusedError:
    skips = run.skip_invalid or "invalid" not in as_dict(problem.detail)
    remedy = "Correct the file." if skips else "Correct the file, or add --skip-invalid."
    remedy = "Each item has its reason." if run.undoes else remedy
    every = f" All: kartra-mcp bulk show {run.id} --state skipped{flags}"
    return RefusedError(problem.code, problem.message, remedy + every)


def _changed_error(again: str) -> RefusedError:
    return RefusedError(
        "facts_changed", "The preview changed meanwhile. Nothing was done.", f"See it: {again}"
    )


def _not_interactive_error() -> RefusedError:
    return RefusedError(
        "not_allowed",
        "A bulk run is agreed to only on a real terminal: the input or output here is a pipe or a "
        "file. Nothing was done.",
        "Run the command yourself in a terminal window, or add --dry-run to see its preview.",
    )
