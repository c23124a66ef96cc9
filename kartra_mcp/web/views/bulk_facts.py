"""Facts of a bulk run as a consent shows them: count, arguments, sum, mail, what is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kartra_mcp.core.display import display_value
from kartra_mcp.core.json_types import as_dict, as_list, is_array, is_object
from kartra_mcp.ledger.bulk_records import BulkRun
from kartra_mcp.web.views.formatting import (
    Fact,
    format_duration,
    format_money,
    format_values,
    humanize,
    make_tool_title,
)

_LABELS: Mapping[str, str] = {
    "count": "Items to run",
    "amount": "Sum",
    "shared": "The same in every item",
    "can_start_mail": "Can start mail",
    "sample": "First items",
    "undoes": "Undoes bulk run",
    "duplicates": "Merged duplicates",
    "not_undone": "Left out: not undone",
    "invalid": "Left out: invalid",
    "blocked": "Left out: done before, running or without effect",
    "suppressed": "Leads that should not get mail",
    "leads_not_checked": "Can start mail to leads that were not checked",
    "columns_not_used": "Columns of the file that are not used",
    "seconds": "Estimated time",
}
"""Labels of the facts, in the order of their importance for a decision."""
_LEFT_OUT = ("not_undone", "invalid", "blocked", "suppressed")


def is_bulk_consent(facts: Mapping[str, Any]) -> bool:
    """Return True for the facts of a bulk run, False for those of a single call."""
    return "count" in facts and is_array(facts.get("sample"))


def make_bulk_heading(tool: str, facts: Mapping[str, Any]) -> str:
    """Return `Assign tag: 40 items`."""
    return f"{make_tool_title(tool)}: {count_noun(facts.get('count'), 'item')}"


def count_noun(number: Any, noun: str) -> str:
    """Return `1 item` or `40 items`."""
    return f"{display_value(number, 20)} {noun}{'' if number == 1 else 's'}"


def make_bulk_facts(facts: Mapping[str, Any], run: BulkRun | None = None) -> tuple[Fact, ...]:
    """Return the known facts in the order of `_LABELS`, then the others in their own order.

    The options of `run` are added, because the consent covers them too. Without it, the facts do
    not show whether suppressed leads run.
    """
    labels = {**_LABELS, "suppressed": _label_suppressed(run)}
    names = [name for name in _LABELS if name in facts]
    names += [name for name in facts if name not in _LABELS]
    made = [
        Fact(display_value(name), labels.get(name) or humanize(name), _format_fact(name, facts))
        for name in names
    ]
    return (*made, *(_option_facts(run) if run is not None else ()))


def _label_suppressed(run: BulkRun | None) -> str:
    if run is None:
        return _LABELS["suppressed"]
    if run.include_suppressed:
        return "Leads that should not get mail, but run too"
    return "Left out: leads that should not get mail"


def _option_facts(run: BulkRun) -> list[Fact]:
    options = {
        "include_suppressed": (
            run.include_suppressed,
            "Suppressed leads",
            "Included, as the caller demanded: they can get mail",
        ),
        "repeat": (run.repeat, "Intended repeat", "Items run even if they were done before"),
    }
    return [Fact(name, label, (text,)) for name, (given, label, text) in options.items() if given]


def _format_fact(name: str, facts: Mapping[str, Any]) -> tuple[str, ...]:
    value, number = facts[name], isinstance(facts[name], int | float)
    if is_object(value):
        return _format_left_out(value) if name in _LEFT_OUT else _format_arguments(value)
    if name == "sample" and is_array(value):
        return _format_sample(value, facts.get("count"))
    texts: Mapping[str, Callable[[], str]] = {
        "amount": lambda: format_money(value),
        "seconds": lambda: format_duration(value) if number else display_value(value),
        "can_start_mail": lambda: f"Up to {count_noun(value, 'time')}",
    }
    return (texts[name](),) if name in texts else format_values(value)


def _format_left_out(value: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the number of items, that of each reason, the first ones, and how many more."""
    first, total = [as_dict(item) for item in as_list(value.get("first"))], value.get("total")
    reasons = [
        f"Item {display_value(item.get('item'), 20)}{others}: {display_value(item.get('reason'))}"
        for item in first
        for others in (f" and {_others(item):,} more" if _others(item) else "",)
    ]
    counted = [
        f"{display_value(reason)}: {count_noun(number, 'item')}"
        for reason, number in as_dict(value.get("by_reason")).items()
    ]
    more = total - len(first) - sum(map(_others, first)) if isinstance(total, int) else 0
    rest = [f"and {more:,} more"] if more > 0 else []
    return (count_noun(total, "item"), *counted, *reasons, *rest)


def _others(item: Mapping[str, Any]) -> int:
    """Return the number of other items that have the reason of this one."""
    number = item.get("items", 1)
    return number - 1 if isinstance(number, int) else 0


def _format_sample(sample: list[Any], count: Any) -> tuple[str, ...]:
    """Return one text for each item of the sample, and how many more there are."""
    shown = [describe_arguments(as_dict(item)) or "no other arguments" for item in sample]
    more = count - len(shown) if isinstance(count, int) else 0
    return (*shown, *([f"and {more:,} more"] if more > 0 else [])) or ("-",)


def _format_arguments(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(
        f"{humanize(name)}: {display_value(value)}" for name, value in arguments.items()
    ) or ("-",)


def describe_arguments(arguments: Mapping[str, Any]) -> str:
    """Return `Email: a@example.com; Points: 5`; "" without arguments."""
    return "; ".join(_format_arguments(arguments)) if arguments else ""
