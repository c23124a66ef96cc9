"""What `tools/list` holds: every action as a tool of its own, or only what finds and runs them.

Decided by the list and the settings alone, never by who asks. Under `auto` a list that grew too
large changes over once; it does not change back while the process lives.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from kartra_mcp.catalogue.builtin_tools import (
    DESCRIBE,
    OWN_TOOLS,
    RUN_READ,
    RUN_WRITE,
    SEARCH,
    OwnTool,
)
from kartra_mcp.catalogue.catalogue import Catalogue, Entry
from kartra_mcp.catalogue.definitions import action_definition, own_definition
from kartra_mcp.policy import gates
from kartra_mcp.policy.gates import Policy, Verdict

CHARS_PER_TOKEN = 3.75
"""Of a tool's JSON, in English; o200k_base is met within 15 % (tests/test_tokens.py)."""

_TO_ACTIONS = (SEARCH, DESCRIBE, RUN_READ, RUN_WRITE)
"""Ways to an action: an allow list is asked of the action that they lead to."""


@dataclass(slots=True)
class Exposure:
    """Which tools are listed, under the person's rules.

    `wanted` is all, search or auto; `most` the tokens above which auto changes over.
    """

    wanted: str
    most: int
    rules: Policy
    _grown: bool = False
    _judged: Catalogue | None = field(default=None, repr=False)
    _listed: tuple[Catalogue, list[dict[str, Any]]] | None = field(default=None, repr=False)

    def searches(self, catalogue: Catalogue) -> bool:
        """Whether only the server's own tools are listed, to find and run the others."""
        if self.wanted != "auto":
            return self.wanted != "all"
        if not self._grown and catalogue is not self._judged:
            self._judged = catalogue
            self._grown = self._too_large(catalogue)
        return self._grown

    def definitions(self, catalogue: Catalogue) -> list[dict[str, Any]]:
        """Every listed tool as MCP's `Tool`, the server's own first, in a stable order."""
        if self._listed is None or self._listed[0] is not catalogue:
            self._listed = (catalogue, self._definitions(catalogue))
        return self._listed[1]

    def _definitions(self, catalogue: Catalogue) -> list[dict[str, Any]]:
        searches = self.searches(catalogue)
        own = [tool for tool in OWN_TOOLS.values() if searches or tool not in _TO_ACTIONS[1:]]
        listed = [own_definition(t, self.rules) for t in own if not self.hidden_own(t, catalogue)]
        actions = () if searches else self.shown(catalogue)
        return listed + [action_definition(entry, self.rules) for entry in actions]

    def changed(self, before: Catalogue, after: Catalogue) -> bool:
        """Whether `tools/list` reads otherwise after a refresh."""
        was, searches = self.searches(before), self.searches(after)
        return was != searches or not (searches or before.reads_as(after))

    def hidden(self, entry: Entry) -> Verdict | None:
        """Why an action is neither listed nor run, or None."""
        if gates.is_unrestricted(self.rules):
            return None
        return gates.hidden_reason(entry.least, entry.names, self.rules)

    def hidden_own(self, tool: OwnTool, catalogue: Catalogue) -> Verdict | None:
        """The same of a tool of the server's own."""
        leads = tool in _TO_ACTIONS and (tool is not SEARCH or self.searches(catalogue))
        rules = replace(self.rules, allow=()) if leads else self.rules
        return gates.hidden_reason(tool.least, {tool.name}, rules)

    def shown(self, catalogue: Catalogue) -> Iterable[Entry]:
        """The actions that the rules do not hide."""
        return (entry for entry in catalogue.entries.values() if not self.hidden(entry))

    def _too_large(self, catalogue: Catalogue) -> bool:
        """Counted only as far as it takes."""
        left = float(self.most)
        for tool in OWN_TOOLS.values():
            if tool not in _TO_ACTIONS[1:] and not gates.hidden_reason(
                tool.least, {tool.name}, self.rules
            ):
                left -= tokens(own_definition(tool, self.rules))
        for entry in self.shown(catalogue):
            left -= tokens(action_definition(entry, self.rules))
            if left < 0:
                return True
        return False


def tokens(definition: dict[str, Any]) -> float:
    """About how many tokens a listed tool costs a model."""
    return len(json.dumps(definition, ensure_ascii=False)) / CHARS_PER_TOKEN
