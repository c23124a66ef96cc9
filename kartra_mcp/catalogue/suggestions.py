"""Nearest tool names for a name that does not exist ("did you mean"). Pure.

A suggestion never leads from a reading word to a writing tool, nor from a lower risk to a higher
one: a model that follows it must not do more than was meant.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from kartra_mcp.catalogue.catalogue import ActionTool
from kartra_mcp.catalogue.vocabulary import VERBS, Direction
from kartra_mcp.catalogue.words import CLOSE, OPPOSITE, compare_verbs, find_verb
from kartra_mcp.core.models import Action, Risk
from kartra_mcp.kartra.commands import find_command
from kartra_mcp.kartra.fields import split_words
from kartra_mcp.policy import risk as policy_risk

MAX_SUGGESTIONS = 3
MAX_NAME_CHARS = 200
MIN_SIMILARITY = 0.55
PREFIX = "kartra_"
KNOWN_VERBS = frozenset(word for _, words in VERBS.values() for word in words.split())


def suggest_tools(name: str, entries: Iterable[ActionTool]) -> list[str]:
    """Return the nearest tools whose risk is not above the one that the name shows."""
    wanted = name[:MAX_NAME_CHARS].lower()
    if not split_words(wanted.removeprefix(PREFIX)):
        return []
    highest = estimate_risk(wanted)
    # Without the prefix, which alone would make all names alike.
    allowed = {
        e.tool.removeprefix(PREFIX): e.tool
        for e in entries
        if e.risk <= highest and _may_lead_to(wanted, e)
    }
    near = get_close_matches(
        wanted.removeprefix(PREFIX), allowed, n=MAX_SUGGESTIONS, cutoff=MIN_SIMILARITY
    )
    return [allowed[name] for name in near]


def estimate_risk(name: str) -> Risk:
    """Return the risk that the words of a name show, its typos corrected.

    A reading verb is a read. A verb that is not known shows no more than a write, for a suggestion
    must not lead further than what was meant.
    """
    first, *others = split_words(name.lower().removeprefix(PREFIX)) or ("",)
    verb = next(iter(find_verb(first)), "")
    direction = VERBS[verb][0] if verb else Direction.GIVE
    if direction is Direction.READ:
        return Risk.READ
    key = "-".join([first if first in KNOWN_VERBS else verb or first, *others])
    risk = policy_risk.max_risk(Action(id=key, key=key, name=""))
    harmless = direction is Direction.GIVE and risk is Risk.DESTRUCTIVE and not find_command(key)
    return Risk.WRITE if harmless else max(risk, Risk.WRITE)


def _may_lead_to(name: str, entry: ActionTool) -> bool:
    """Return whether the verbs fit: never opposite, and alike if the tool is irreversible."""
    wanted, found = (
        find_verb(next(iter(split_words(text.removeprefix(PREFIX))), ""))
        for text in (name, entry.tool)
    )
    fit = compare_verbs(wanted, found)
    return fit >= CLOSE if entry.risk is Risk.IRREVERSIBLE else fit > OPPOSITE
