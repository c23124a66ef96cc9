"""Undo of a bulk run: the request for the inverse run, from the items that changed something."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kartra_mcp.bulk.item_calls import make_item_call
from kartra_mcp.bulk.plan import MAX_LISTED
from kartra_mcp.bulk.request import BulkRequest
from kartra_mcp.bulk.undo_items import (
    EarlierUndo,
    InverseItem,
    Key,
    UndoItems,
    choose_items,
    describe_unsettled,
    make_key,
)
from kartra_mcp.catalogue.catalogue import ActionTool
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.kartra.inverse import Inverse, find_inverse
from kartra_mcp.kartra.lead_state import parse_held
from kartra_mcp.ledger.bulk_records import BulkItem, BulkRun
from kartra_mcp.ledger.bulk_runs import BulkRuns
from kartra_mcp.policy.gates import Policy

_UNSETTLED = ("running", "unknown")


@dataclass(frozen=True, slots=True)
class UndoOptions:
    """Options of the caller for the inverse run, as in `BulkRequest`."""

    include_suppressed: bool = False
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class UndoRequests:
    """Requests for runs that undo other runs. All methods read the disk."""

    runs: BulkRuns
    rules: Policy

    def find_begun(self, original: BulkRun) -> BulkRun | None:
        """Return the undo of a run that has begun and not ended, so that it is continued.

        One whose consent is older than a day is cancelled: the rest is planned again.
        """
        for undo in self.runs.list_undos(original.id):
            if undo.has_ended:
                continue
            try:
                self.runs.require_agreed(undo.id)
            except RefusedError as refusal:
                if refusal.code != "confirmation_expired":
                    raise
                self.runs.set_state(undo.id, "cancelled", "its consent expired")
            else:
                return undo
        return None

    def make(
        self,
        original: BulkRun,
        entry: ActionTool,
        entries: Iterable[ActionTool],
        options: UndoOptions,
    ) -> BulkRequest:
        """Return the request for the inverse run.

        Args:
            original: the run to undo; it has ended.
            entry: its tool.
            entries: all tools, of which one runs the inverse.
            options: of the caller.

        Raises:
            RefusedError: `already_done`, `not_possible`, or `ledger_unavailable` if the items were
                altered on disk; nothing was done.
        """
        _require_undoable(original)
        if original.facts:  # else the data of the run was removed
            self.runs.require_unaltered(original.id)
        items = self.runs.list_items(original.id)
        found = [
            InverseItem(item.source, inverse)
            for item in items
            if (inverse := self._invert(entry, item)).changed
        ]
        earlier = self._read_earlier(original)
        chosen = choose_items(found, entries, earlier)
        if not chosen.items:
            raise _nothing_to_undo_error(original, chosen, self._list_chain(original))
        return BulkRequest(
            chosen.tool,
            chosen.items,
            chosen.left_out,
            skip_invalid=True,
            include_suppressed=options.include_suppressed,
            # The undo of an undo repeats the first run, also within a minute of it.
            repeat=options.repeat or bool(original.undoes),
            undoes=original.id,
        )

    def _invert(self, entry: ActionTool, item: BulkItem) -> Inverse:
        """Return the inverse of an item, or why there is none; without a change there is nothing.

        An item that failed or was skipped did nothing.
        """
        if why := describe_unsettled(item):
            return Inverse(why=why)
        if item.state != "succeeded":
            return Inverse(changed=False)
        if not item.arguments:
            return Inverse(why="its arguments were removed a month after the run")
        try:
            call = make_item_call(entry, item.arguments, self.rules, repeat=False)
        except RefusedError:
            return Inverse(why=f"{entry.tool} takes other arguments now")
        return find_inverse(call.commands, held=parse_held(item.held), changes=item.changes)

    def _list_chain(self, run: BulkRun) -> list[str]:
        """List the newest undo of a run, the newest undo of that one, and so on."""
        chain: list[str] = []
        while undos := self.runs.list_undos(chain[-1] if chain else run.id):
            chain.append(undos[-1].id)
        return chain

    def _read_earlier(self, original: BulkRun) -> EarlierUndo:
        done, unsettled, newest = set[Key](), set[Key](), ""
        for undo in self.runs.list_undos(original.id):
            newest = undo.id
            for item in self.runs.list_items(undo.id):
                key = make_key(item.source, item.arguments)
                if item.state == "succeeded":
                    done.add(key)
                elif item.state in _UNSETTLED:
                    unsettled.add(key)
        return EarlierUndo(frozenset(done), frozenset(unsettled), newest)


def read_undo_options(wanted: Mapping[str, Any], *, repeat: bool) -> UndoOptions:
    """Return the options of `kartra_bulk_run` with `undo`, which takes no others."""
    others = sorted(wanted.keys() - {"undo", "include_suppressed"})
    if others:
        raise RefusedError(
            "invalid_arguments",
            f"undo takes its items from the run; {', '.join(others)} cannot change them. "
            "Nothing was done.",
            "Call kartra_bulk_run with undo alone, or with include_suppressed.",
        )
    return UndoOptions(bool(wanted.get("include_suppressed")), repeat)


def _require_undoable(run: BulkRun) -> None:
    if run.is_read:
        raise RefusedError(
            "not_possible",
            f"{run.id} only read: there is nothing to undo. Nothing was done.",
            "Call kartra_bulk_status to list the runs.",
        )
    if not run.has_ended:
        begun = "has not begun" if run.state == "planned" else f"is {run.state}"
        raise RefusedError(
            "in_progress",
            f"{run.id} {begun}; a run is undone after its end. Nothing was done.",
            f'Continue it, or end it: kartra_bulk_status {{"bulk_id": "{run.id}", "cancel": true}}'
            f", or `kartra-mcp bulk cancel {run.id}`.",
        )


def _nothing_to_undo_error(run: BulkRun, chosen: UndoItems, chain: Sequence[str]) -> RefusedError:
    """Return why there is nothing to undo; `chain` is as `_list_chain` returns it."""
    left_out = sorted(chosen.left_out.items())
    detail = {
        "not_undone": {
            "total": len(left_out),
            "first": [{"item": n, "reason": why} for n, why in left_out[:MAX_LISTED]],
        }
    }
    if chosen.undone:
        is_undone, last = len(chain) % 2 == 1, chain[-1]
        again = "" if is_undone else f"; {last} made its changes again"
        what = "To make its changes again" if is_undone else "To undo them again"
        return RefusedError(
            "already_done",
            f"{run.id} was undone by {last if is_undone else chain[0]}{again}. Nothing was done by "
            "this call.",
            f'{what}: kartra_bulk_run {{"undo": "{last}"}}, or `kartra-mcp bulk undo {last}`.',
            first={"bulk_id": last if is_undone else chain[0]},
            detail=detail if left_out else None,
        )
    if not left_out:
        return RefusedError(
            "not_possible",
            f"No item of {run.id} changed anything: there is nothing to undo. Nothing was done.",
            "Call kartra_bulk_status with its bulk_id to see its items.",
        )
    return RefusedError(
        "not_possible",
        f"None of the {len(left_out)} items of {run.id} can be undone now. Nothing was done.",
        "The first items are listed with their reasons.",
        detail=detail,
    )
