"""Arguments of `kartra_bulk_run` to the items of a run. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.json_types import is_object

MAX_ITEMS = 2_000


@dataclass(frozen=True, slots=True)
class SourceItem:
    """One item as given: its index in a list, or its line in a file, and its arguments."""

    source: int
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BulkRequest:
    """A request for a new run.

    Attributes:
        tool: name of the tool that runs for each item.
        items: the arguments of each call, shared ones included.
        invalid: position and reason of what could not become an item.
        undoes: id of the run whose inverse this is, or "".
        unused_columns: columns of the file that fill no argument.
    """

    tool: str
    items: Sequence[SourceItem]
    invalid: Mapping[int, str] = field(default_factory=dict[int, str])
    skip_invalid: bool = False
    include_suppressed: bool = False
    repeat: bool = False
    undoes: str = ""
    unused_columns: Sequence[str] = ()

    def compute_digest(self) -> str:
        """Return one digest for equal requests."""
        told = [
            self.tool,
            [[item.source, dict(item.arguments)] for item in self.items],
            sorted(self.invalid.items()),
            [self.skip_invalid, self.include_suppressed, self.repeat, self.undoes],
            list(self.unused_columns),
        ]
        return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def merge_items(shared: Mapping[str, Any], items: Sequence[Any]) -> list[SourceItem]:
    """Return the items with the shared arguments; an item's own arguments win.

    Raises:
        RefusedError: `invalid_arguments`; nothing was done.
    """
    odd = [index for index, item in enumerate(items) if not is_object(item)]
    if odd:
        raise RefusedError(
            "invalid_arguments",
            f"Item {odd[0]} is not an object. Nothing was done.",
            'Give each item as an object of arguments, e.g. {"email": "ada@example.com"}.',
        )
    require_size(len(items))
    return [SourceItem(index, {**shared, **item}) for index, item in enumerate(items)]


def require_size(count: int) -> None:
    """Refuse an empty run and one with too many items."""
    if not count:
        raise RefusedError(
            "invalid_arguments",
            "The run has no items. Nothing was done.",
            "Give `items`, `from_result` or `csv`.",
        )
    if count > MAX_ITEMS:
        raise RefusedError(
            "input_too_large",
            f"The run has {count:,} items; the most is {MAX_ITEMS:,}. Nothing was done.",
            f"Split it into runs of at most {MAX_ITEMS:,} items.",
        )
