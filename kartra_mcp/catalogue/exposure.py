"""Content of `tools/list`: every action as a tool, or only the tools that find and run them.

The content depends on the list and the settings only, never on the client. Under `auto`, a list
that grows too large changes to search once, for as long as the process lives.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from kartra_mcp.catalogue.builtin_tools import (
    BUILTIN_TOOLS,
    DESCRIBE,
    RUN_READ,
    RUN_WRITE,
    SEARCH,
    BuiltinTool,
)
from kartra_mcp.catalogue.catalogue import ActionTool, Catalogue
from kartra_mcp.catalogue.definitions import builtin_definition, make_action_definition
from kartra_mcp.core.models import Verdict
from kartra_mcp.policy import gates
from kartra_mcp.policy.gates import Policy

CHARS_PER_TOKEN = 3.75
"""Characters per token of a tool's JSON; o200k_base is within 15 % (tests/test_tokens.py)."""

_TO_ACTIONS = (SEARCH, DESCRIBE, RUN_READ, RUN_WRITE)
"""Tools that lead to an action: an allow list applies to that action instead of them."""


@dataclass(slots=True)
class Exposure:
    """Decides which tools are listed, under the user's policy.

    `mode` is all, search or auto; above `token_budget` auto switches to search.
    """

    mode: str
    token_budget: int
    rules: Policy
    _grown: bool = False
    _evaluated: Catalogue | None = field(default=None, repr=False)
    _listed: tuple[Catalogue, list[dict[str, Any]]] | None = field(default=None, repr=False)
    _made: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]], repr=False)
    """Definitions that the measurement of the list made: the list has the same ones."""

    def is_search_mode(self, catalogue: Catalogue) -> bool:
        """Return whether only the built-in tools are listed."""
        if self.mode != "auto":
            return self.mode != "all"
        if not self._grown and catalogue is not self._evaluated:
            self._evaluated = catalogue
            self._grown = self._is_too_large(catalogue)
        return self._grown

    def list_definitions(self, catalogue: Catalogue) -> list[dict[str, Any]]:
        """Return every listed tool as MCP's `Tool`, built-in ones first, in a stable order."""
        if self._listed is None or self._listed[0] is not catalogue:
            self._listed = (catalogue, self._iter_definitions(catalogue))
        return self._listed[1]

    def _iter_definitions(self, catalogue: Catalogue) -> list[dict[str, Any]]:
        listed = [
            builtin_definition(tool, self.rules)
            for tool in BUILTIN_TOOLS.values()
            if self._is_builtin_listed(tool, catalogue)
        ]
        actions = () if self.is_search_mode(catalogue) else self.visible(catalogue)
        made = self._made if catalogue is self._evaluated else {}
        self._made = {}
        return listed + [
            made.get(entry.tool) or make_action_definition(entry, self.rules) for entry in actions
        ]

    def has_changed(self, before: Catalogue, after: Catalogue) -> bool:
        """Return whether `tools/list` differs after a refresh."""
        was, searches = self.is_search_mode(before), self.is_search_mode(after)
        return was != searches or not (searches or before.same_definitions(after))

    def hidden_reason(self, entry: ActionTool) -> Verdict | None:
        """Return why an action is neither listed nor run, or None."""
        if gates.is_unrestricted(self.rules):
            return None
        return gates.hidden_reason(entry.min_risk, entry.names, self.rules)

    def _is_builtin_listed(self, tool: BuiltinTool, catalogue: Catalogue) -> bool:
        for_search = tool in _TO_ACTIONS[1:]
        if for_search and not self.is_search_mode(catalogue):
            return False
        return self.builtin_hidden_reason(tool, catalogue) is None

    def builtin_hidden_reason(self, tool: BuiltinTool, catalogue: Catalogue) -> Verdict | None:
        """Return why a built-in tool is hidden, or None."""
        leads = tool in _TO_ACTIONS and (tool is not SEARCH or self.is_search_mode(catalogue))
        rules = replace(self.rules, allow=()) if leads else self.rules
        return gates.hidden_reason(tool.min_risk, {tool.name}, rules)

    def visible(self, catalogue: Catalogue) -> Iterable[ActionTool]:
        """Return the actions that the policy does not hide."""
        return (entry for entry in catalogue.entries.values() if not self.hidden_reason(entry))

    def _is_too_large(self, catalogue: Catalogue) -> bool:
        """Return whether the budget is exceeded; counting stops there."""
        left = float(self.token_budget)
        self._made = {}
        for tool in BUILTIN_TOOLS.values():
            if tool not in _TO_ACTIONS[1:] and not gates.hidden_reason(
                tool.min_risk, {tool.name}, self.rules
            ):
                left -= estimate_tokens(builtin_definition(tool, self.rules))
        for entry in self.visible(catalogue):
            made = self._made[entry.tool] = make_action_definition(entry, self.rules)
            left -= estimate_tokens(made)
            if left < 0:
                self._made = {}
                return True
        return False


def estimate_tokens(definition: dict[str, Any]) -> float:
    """Estimate how many tokens a listed tool costs a model."""
    return len(json.dumps(definition, ensure_ascii=False)) / CHARS_PER_TOKEN
