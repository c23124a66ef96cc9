"""Depth of a YAML text by its parser's events, before anything is built of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

MAX_YAML_DEPTH = 100
"""Levels of nesting; the parser takes time by the square of it: minutes for a file of brackets."""

_CHANGES = {
    "MappingStartEvent": 1,
    "SequenceStartEvent": 1,
    "MappingEndEvent": -1,
    "SequenceEndEvent": -1,
}


class YamlTooDeepError(ValueError):
    """The text nests deeper than `MAX_YAML_DEPTH`."""


def limit_depth(events: Iterable[Any]) -> Iterator[Any]:
    """Yield the events of a parser that reads on only when it is asked for the next one.

    Raises:
        YamlTooDeepError: they nest too deeply.
    """
    depth = 0
    for event in events:
        depth += _CHANGES.get(type(event).__name__, 0)
        if depth > MAX_YAML_DEPTH:
            raise YamlTooDeepError
        yield event
