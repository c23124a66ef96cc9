"""A simple condition on the rows of a bulk run or a result: `where`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.bulk.field_paths import Found, has_content, parse_path
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.json_types import is_object
from kartra_mcp.kartra.names import fold_text

TESTS = ("equals", "contains", "exists")


@dataclass(frozen=True, slots=True)
class Condition:
    """A test of the values at a field: one that passes is enough.

    Attributes:
        field: the path as given.
        test: one of `TESTS`. `equals` compares numbers with numeric text; `contains` ignores case
            and accents; `exists` is that a value is there and is not empty.
        value: to compare with.
    """

    field: str
    test: str
    value: Any

    @property
    def steps(self) -> tuple[str, ...]:
        return parse_path(self.field)

    def matches(self, found: Found) -> bool:
        if self.test == "exists":
            return any(map(has_content, found.values)) is self.value
        return any(map(self._passes, found.values))

    def as_dict(self) -> dict[str, Any]:
        return {"field": self.field, self.test: self.value}

    def _passes(self, value: Any) -> bool:
        if isinstance(value, dict | list) or value is None:
            return False
        if self.test == "contains":
            return fold_text(str(self.value)) in fold_text(_spell(value))
        return _spell(value) == _spell(self.value)


def parse_condition(given: Any) -> Condition | None:
    """Return the condition of an argument `where`; None if there is none.

    Raises:
        RefusedError: `invalid_arguments`; nothing was done.
    """
    if given is None:
        return None
    tests = [name for name in TESTS if is_object(given) and name in given]
    field = given.get("field") if is_object(given) else None
    if not is_object(given) or not isinstance(field, str) or not field or len(tests) != 1:
        raise _condition_error("`where` takes `field` and one of equals, contains, exists")
    others = given.keys() - {"field", *tests}
    if others:
        raise _condition_error(f"`where` does not take {', '.join(sorted(others))}")
    value = given[tests[0]]
    if tests == ["exists"]:
        value = {"true": True, "false": False}.get(str(value).lower(), value)
        if not isinstance(value, bool):
            raise _condition_error("`where.exists` is true or false")
    elif isinstance(value, Mapping | list) or not has_content(value):
        raise _condition_error(f"`where.{tests[0]}` is a text or a number that is not empty")
    return Condition(field, tests[0], value)


def _spell(value: Any) -> str:
    """Return a value as text: Kartra prints numbers and flags as text, too."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _condition_error(what: str) -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        f"{what}. Nothing was done.",
        'Give e.g. {"field": "lead_details.tags.tag_name", "equals": "VIP"}.',
    )
