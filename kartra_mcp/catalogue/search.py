"""Search of the loaded list, over visible tools; its index is built once per list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kartra_mcp.catalogue.builtin_tools import BULK_RUN, PROXY_READ, PROXY_WRITE
from kartra_mcp.catalogue.catalogue import ActionTool, Catalogue
from kartra_mcp.catalogue.exposure import Exposure
from kartra_mcp.core.models import Risk
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.kartra.commands import COMMANDS, find_command
from kartra_mcp.policy import gates
from kartra_mcp.policy.risk import policy_names_of_command

if TYPE_CHECKING:
    from kartra_mcp.catalogue.ranking import Hit, Index
    from kartra_mcp.kartra.impossible import Impossible, RawTask

OWN_BEFORE_OTHERS = 7
"""Number of local hits before those of Membrane's search, if the local ones are not certain."""
BULK_HINT = "kartra_bulk_run runs one of these tools for up to 2,000 items, with one consent."
NO_TOOL_HINT = "No tool fits. Name the action and its object, such as: remove a tag from a lead."


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Tools for an intent, best first, and notes about tasks that no tool does.

    `certain` is False if another search may find better tools.
    """

    tools: tuple[ActionTool, ...]
    notes: Mapping[str, Any]
    certain: bool

    def combine(self, others: Sequence[ActionTool]) -> SearchResult:
        """Return the result with the hits of another search among its own."""
        first, rest = self.tools[:OWN_BEFORE_OTHERS], self.tools[OWN_BEFORE_OTHERS:]
        room = max(0, OWN_BEFORE_OTHERS + 3 - len(first))
        new = [entry for entry in others if entry not in first][:room]
        merged = {entry.tool: entry for entry in (*first, *new, *rest)}
        return SearchResult(tuple(merged.values()), self.notes, certain=True)


class ToolSearch:
    """Find actions for a task among those that the policy does not hide."""

    def __init__(self, exposure: Exposure) -> None:
        self._exposure = exposure
        self._cached: tuple[Catalogue, Index] | None = None

    async def find(self, intent: str, catalogue: Catalogue, most: int) -> SearchResult:
        """Return at most `most` tools, best first.

        The index of a long list is built off the event loop.
        """
        if self._cached is None or self._cached[0] is not catalogue:
            self._cached = (catalogue, await run_in_thread(self._build_index, catalogue))
        found = self._find(intent, self._cached[1], most)
        return replace(found, notes={**found.notes, **self._bulk_notes(intent, catalogue)})

    def _find(self, intent: str, index: Index, most: int) -> SearchResult:
        from kartra_mcp.catalogue.tasks import find_impossible, find_raw_task

        hits = index.find(intent, most)
        row = find_impossible(intent, index.stems)
        if row is not None:
            tools = _tools_instead(row, hits, index)
            return SearchResult(tools[:most], _impossible_notes(row), certain=True)
        raw = find_raw_task(intent, index.stems)
        notes = self._raw_notes(raw, index) if raw else {}
        certain = bool(notes) or any(hit.confident for hit in hits)
        return SearchResult(tuple(hit.tool for hit in hits), notes, certain)

    def _bulk_notes(self, intent: str, catalogue: Catalogue) -> dict[str, Any]:
        """Return the way to run a tool for many leads, if the intent is about many."""
        from kartra_mcp.catalogue.tasks import concerns_many

        if not concerns_many(intent) or self._exposure.builtin_hidden_reason(BULK_RUN, catalogue):
            return {}
        return {"in_bulk": BULK_HINT}

    def _raw_notes(self, row: RawTask, index: Index) -> dict[str, Any]:
        """Return the raw request for a task that no action covers, if the policy allows it."""
        if any(entry.tool.command == row.command for entry in index.known):
            return {}
        risk = COMMANDS[row.command].lowest_risk
        tool = PROXY_READ if risk is Risk.READ else PROXY_WRITE
        rules = self._exposure.rules
        names = {tool.name}, {tool.name, *policy_names_of_command(row.command)}
        if any(gates.hidden_reason(risk, given, rules) for given in names):
            return {}
        return {"raw_request": {"tool": tool.name, "command": row.command, "hint": row.hint}}

    def _build_index(self, catalogue: Catalogue) -> Index:
        from kartra_mcp.catalogue.ranking import Index

        return Index.build(self._exposure.visible(catalogue))


def _impossible_notes(row: Impossible) -> dict[str, Any]:
    return {"not_possible": row.answer, "instead": row.instead}


def _tools_instead(row: Impossible, hits: Sequence[Hit], index: Index) -> tuple[ActionTool, ...]:
    """Return fitting actions outside the published ones, then the actions of the alternatives.

    A connection can have actions that do more than Kartra's commands.
    """
    own = [
        hit.tool for hit in hits if hit.confident and hit.tool.is_action and not hit.tool.command
    ]
    by_key = {entry.tool.action.key: entry.tool for entry in index.known}
    by_command = {entry.tool.command: entry.tool for entry in index.known if entry.tool.command}
    found = (by_key.get(key) or by_command.get(find_command(key)) for key in row.keys)
    instead = [tool for tool in found if tool]
    return tuple({entry.tool: entry for entry in (*own, *instead)}.values())
