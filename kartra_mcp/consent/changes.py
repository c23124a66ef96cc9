"""Changes of a call as text, old -> new, and its arguments one by one. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kartra_mcp.consent.fact_reader import known_text, short_text
from kartra_mcp.consent.facts import Change
from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.core.models import Call
from kartra_mcp.kartra.command_values import SUBSCRIPTION_FIELDS
from kartra_mcp.kartra.fields import find_status, normalize_name
from kartra_mcp.kartra.values import parse_amount

_EDITED: Mapping[str, tuple[str, str]] = {
    "subscription_amount": ("price", "price"),
    "subscription_product_quantity": ("quantity", "quantity"),
    "recurring_period_1": ("recurring", "recurring"),
    "recurring_period_2": ("second period", ""),
    "subscription_recurrence": ("recurring", "recurring"),
    "subscription_next_payment_date": ("next payment", "next_payment"),
    "subscription_installments_left": ("installments left", "installments_left"),
    "subscription_tax_percent": ("tax percent", ""),
    "subscription_product_id": ("product", "product_id"),
    "subscription_price_point": ("price point", "price_point"),
}
"""Field of edit_subscription: its label, and the fact that has the old value."""
_AMOUNTS = frozenset({"price"})
_IDENTITY = frozenset({"subscriptionid", "subscription", "id", "cmd"})
_STATUS_AFTER = {"pause": "Paused", "unpause": "Active"}


def subscription_changes(call: Call, old: Mapping[str, Any]) -> tuple[Change, ...]:
    """Return each change of a subscription, e.g. `price 49.00 -> 12.00`; `old` are the facts."""
    found: list[Change] = []
    for command in call.commands:
        if command.name == "modify_subscription_status":
            status = find_status(command.arguments)
            after = _STATUS_AFTER.get(status, status)
            found.append(Change("status", str(old.get("status") or ""), after))
        elif command.name == "edit_subscription":
            found += _edits(command.arguments, old)
    return tuple(found)


def _edits(arguments: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[Change]:
    for path, value in iter_leaves(arguments):
        name = normalize_name(path.rpartition(".")[2])
        if name in _IDENTITY:
            continue
        label, fact = _EDITED.get(SUBSCRIPTION_FIELDS.get(name, ""), (path, ""))
        before, after = (
            _as_amount(text) if label in _AMOUNTS else short_text(text)
            for text in (old.get(fact) or "", value)
        )
        yield Change(label, before, after)


def overwrites_terms(call: Call) -> bool:
    """Return whether the call is edit_subscription alone."""
    return [command.name for command in call.commands] == ["edit_subscription"]


def find_old_terms(call: Call, old: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the old terms that edit_subscription overwrites, as arguments of an edit.

    Args:
        call: of that command alone; any other call has none.
        old: the facts of the subscription before it.

    Returns:
        The known old terms, and the names of the others.
    """
    known: dict[str, Any] = {}
    unread: list[str] = []
    if not overwrites_terms(call):
        return known, unread
    for path, _ in iter_leaves(call.commands[0].arguments):
        name = normalize_name(path.rpartition(".")[2])
        if name in _IDENTITY:
            continue
        argument = SUBSCRIPTION_FIELDS.get(name, path)
        value = known_text(old.get(_EDITED.get(argument, ("", ""))[1]))
        outer = path.partition(".")[0]
        if value and outer != path:  # a period of a recurrence
            known.setdefault(outer, {})[argument] = value
        elif value:
            known[argument] = value
        else:
            unread.append(argument)
    return known, unread


def iter_leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, value) of every scalar and empty container, e.g. `custom_fields[0].value`."""
    if is_object(value) and value:
        for name, inner in value.items():
            yield from iter_leaves(inner, f"{path}.{name}" if path else str(name))
    elif is_array(value) and value:
        for number, inner in enumerate(value):
            yield from iter_leaves(inner, f"{path}[{number}]")
    else:
        yield path, value


def format_leaf(value: Any) -> str:
    """Return one argument's value as short text: an empty one is visible."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if is_object(value) or is_array(value):
        return "(empty)"
    return short_text(value) or "(empty)"


def format_arguments(arguments: Mapping[str, Any]) -> list[str]:
    """Return the arguments as `name: value`, one line for each leaf."""
    return [f"{short_text(path)}: {format_leaf(value)}" for path, value in iter_leaves(arguments)]


def _as_amount(value: Any) -> str:
    amount = parse_amount(value)
    return known_text(value) if amount is None else f"{amount:.2f}"
