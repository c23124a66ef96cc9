"""Items of a bulk run as calls, made as the tool itself would make them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kartra_mcp.bulk.csv_items import CsvTarget
from kartra_mcp.bulk.request import BulkRequest, SourceItem
from kartra_mcp.catalogue import catalogue
from kartra_mcp.catalogue.catalogue import ActionTool
from kartra_mcp.catalogue.decided_calls import decide_call
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Call, ConsentArguments
from kartra_mcp.kartra.fields import normalize_name
from kartra_mcp.policy.gates import Policy


@dataclass(frozen=True, slots=True)
class ParsedItems:
    """Items whose arguments are valid, and the reasons of the others by their source."""

    valid: tuple[SourceItem, ...]
    invalid: tuple[tuple[SourceItem, str], ...]
    duplicates: int


def make_item_call(
    entry: ActionTool, arguments: Mapping[str, Any], rules: Policy, *, repeat: bool
) -> Call:
    """Return the call of one item, with the policy's decision.

    Raises:
        RefusedError: `invalid_arguments`.
    """
    call = catalogue.make_call(entry, arguments, gated=False)
    return decide_call(replace(call, consent=ConsentArguments(repeat=repeat)), rules)


def parse_items(entry: ActionTool, request: BulkRequest, rules: Policy) -> ParsedItems:
    """Validate all items; equal ones are merged into the first."""
    seen: set[str] = set()
    valid: list[SourceItem] = []
    invalid: list[tuple[SourceItem, str]] = [
        (SourceItem(source, {}), reason) for source, reason in sorted(request.invalid.items())
    ]
    for item in request.items:
        try:
            call = make_item_call(entry, item.arguments, rules, repeat=request.repeat)
        except RefusedError as refusal:
            invalid.append((item, refusal.message.removesuffix(" Nothing was done.")))
            continue
        if call.operation.digest not in seen:
            seen.add(call.operation.digest)
            valid.append(item)
    duplicates = len(request.items) - len(valid) - len(invalid) + len(request.invalid)
    return ParsedItems(tuple(valid), tuple(invalid), duplicates)


_FIELDS_ARE_OPTIONAL = frozenset({"create_lead", "edit_lead"})
"""Commands whose absent arguments are fields that stay as they are."""


def describe_target(entry: ActionTool) -> CsvTarget:
    """Return the arguments of a tool as the columns of a file fill them."""
    types = entry.argument_types
    optional = catalogue.find_optional_names(entry)
    if optional is None or entry.command in _FIELDS_ARE_OPTIONAL:
        return CsvTarget(types, frozenset(types))
    return CsvTarget(types, frozenset(name for name in types if normalize_name(name) in optional))
