"""Patterns of the policy that match no tool: a typo in a deny list denies nothing. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain

from kartra_mcp.core.sanitize import strip_control_chars, truncate
from kartra_mcp.kartra.commands import COMMANDS
from kartra_mcp.kartra.names import find_nearest
from kartra_mcp.policy import gates
from kartra_mcp.policy.gates import PREFIX, Policy
from kartra_mcp.policy.risk import policy_names_of_command

SETTINGS = {"allow": "KARTRA_MCP_ALLOW", "deny": "KARTRA_MCP_DENY", "tools": "KARTRA_MCP_POLICY"}


@dataclass(frozen=True, slots=True)
class UnmatchedPattern:
    """One pattern without a match, and the nearest name that exists, or ""."""

    setting: str
    pattern: str
    nearest: str

    @property
    def message(self) -> str:
        shown = truncate(strip_control_chars(self.pattern), 80)
        return f'The pattern "{shown}" in {self.setting} matches no tool, so it has no effect.'

    @property
    def remedy(self) -> str:
        near = f"did you mean {self.nearest}? " if self.nearest else ""
        return f"Correct or remove it: {near}`kartra-mcp tools` lists the names."


def find_unmatched(rules: Policy, tool_names: Iterable[str]) -> tuple[UnmatchedPattern, ...]:
    """Return the patterns that match none of these names and no Kartra command.

    `tool_names` are all names under which the policy may refer to a listed tool.
    """
    known = {*tool_names, *chain.from_iterable(map(policy_names_of_command, COMMANDS))}
    return (
        *_list_unmatched("allow", rules.allow, known, gates.matches),
        *_list_unmatched("deny", rules.deny, known, gates.matches_any_spelling),
        *_list_unmatched("tools", (pattern for pattern, _ in rules.tools), known, gates.matches),
    )


def _list_unmatched(
    kind: str,
    patterns: Iterable[str],
    known: set[str],
    matches: Callable[[Iterable[str], tuple[str, ...]], bool],
) -> list[UnmatchedPattern]:
    return [
        UnmatchedPattern(SETTINGS[kind], pattern, _find_nearest(pattern, known))
        for pattern in patterns
        if not matches(known, (pattern,))
    ]


def _find_nearest(pattern: str, known: set[str]) -> str:
    """Return the name nearest to a pattern without its wildcards."""
    # Without the prefix, which would make every name a near one.
    bare = {name.removeprefix(PREFIX): name for name in sorted(known, reverse=True)}
    wanted = pattern.strip("*?").lower().replace("-", "_").removeprefix(PREFIX)
    return next((bare[name] for name in find_nearest(wanted, bare)), "")
