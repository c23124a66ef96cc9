"""Items of the run that undoes another one, and those that it leaves out. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kartra_mcp.bulk.request import MAX_ITEMS, SourceItem
from kartra_mcp.catalogue.catalogue import ActionTool
from kartra_mcp.kartra.fields import normalize_name
from kartra_mcp.kartra.inverse import ARGUMENT_ALIASES, Inverse
from kartra_mcp.ledger.bulk_records import BulkItem
from kartra_mcp.ledger.hash_chain import dump_canonical

Key = tuple[int, str]


@dataclass(frozen=True, slots=True)
class InverseItem:
    """One item of the original run with its inverse."""

    source: int
    inverse: Inverse


@dataclass(frozen=True, slots=True)
class EarlierUndo:
    """Items of earlier undo runs that may have run.

    Attributes:
        done: items that succeeded.
        unsettled: items that run now, or whose outcome is unknown.
        run: id of the newest of these runs, or "".
    """

    done: frozenset[Key] = frozenset()
    unsettled: frozenset[Key] = frozenset()
    run: str = ""


@dataclass(slots=True)
class UndoItems:
    """Items of an undo run.

    Attributes:
        tool: name of the one tool of all its items, or "".
        items: the calls; `source` is that of the original item.
        left_out: original items that changed the account, or may have, and are not undone now, with
            the reason.
        undone: number of calls that an earlier undo made.
    """

    tool: str = ""
    items: list[SourceItem] = field(default_factory=list[SourceItem])
    left_out: dict[int, str] = field(default_factory=dict[int, str])
    undone: int = 0


def describe_unsettled(item: BulkItem) -> str:
    """Return why an item whose outcome is not known is not undone, or "" for any other."""
    if item.state == "unknown":
        return "its outcome is unknown: settle it with kartra_reconcile"
    return "it is still running" if item.state == "running" else ""


def make_key(source: int, arguments: Mapping[str, Any]) -> Key:
    """Return the identity of an item of an undo run, to recognize it in a later one."""
    return source, dump_canonical(dict(arguments))


def choose_items(
    found: Sequence[InverseItem], entries: Iterable[ActionTool], earlier: EarlierUndo
) -> UndoItems:
    """Return the items of one run, which has one tool: the one that undoes the most.

    What needs another tool is left out, and is in the run that a later undo plans.
    """
    chosen = UndoItems()
    wanted = Counter[str]()
    tools = list(entries)
    calls: list[tuple[int, str, SourceItem]] = []
    for one in found:
        if one.inverse.why:
            chosen.left_out[one.source] = one.inverse.why
        for given in one.inverse.calls:
            tool, arguments = _fit(one.inverse.command, given, tools)
            key = make_key(one.source, arguments)
            if key in earlier.done:
                chosen.undone += 1
            elif key in earlier.unsettled:
                chosen.left_out[one.source] = f"its undo in {earlier.run} is not settled"
            elif not tool:
                chosen.left_out[one.source] = f"no tool runs {one.inverse.command} here"
            else:
                calls.append((one.source, tool, SourceItem(one.source, arguments)))
                wanted[tool] += 1
    if wanted:
        ((chosen.tool, _),) = wanted.most_common(1)
    _add_calls(chosen, calls)
    return chosen


def _add_calls(chosen: UndoItems, calls: Iterable[tuple[int, str, SourceItem]]) -> None:
    """Add the calls of the chosen tool; equal ones would be merged, and undo too little."""
    seen = set[str]()
    for source, tool, item in calls:
        _, arguments = make_key(source, item.arguments)
        if tool != chosen.tool:
            chosen.left_out[source] = f"it needs {tool}: undo the run again for it"
        elif len(chosen.items) == MAX_ITEMS:
            chosen.left_out[source] = "the run is full: undo the run again for it"
        elif arguments in seen:
            chosen.left_out[source] = "another item needs the same call: undo the run again for it"
        else:
            seen.add(arguments)
            chosen.items.append(item)


def _fit(
    command: str, given: Mapping[str, Any], entries: Iterable[ActionTool]
) -> tuple[str, dict[str, Any]]:
    """Return the tool of a command and the arguments under its own names; ("", …) if none fits."""
    for entry in entries:
        if entry.command == command:
            arguments = _rename(given, entry.portable.declared)
            if arguments is not None:
                return entry.tool, arguments
    return "", dict(given)


def _rename(given: Mapping[str, Any], declared: Iterable[str]) -> dict[str, Any] | None:
    own = {normalize_name(name): name for name in declared}
    renamed: dict[str, Any] = {}
    for name, value in given.items():
        aliases = (name, *ARGUMENT_ALIASES.get(name, ()))
        found = next((own[n] for alias in aliases if (n := normalize_name(alias)) in own), None)
        if found is None:
            return None
        renamed[found] = value
    return renamed
