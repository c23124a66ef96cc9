"""Filters of the history as query parameters: `?since=2026-11-01&outcome=unknown`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, cast, get_args
from urllib.parse import urlencode

from kartra_mcp.core.models import Risk
from kartra_mcp.ledger.records import Consent, Filters, State

TITLES: Mapping[str, str] = {
    "since": "From",
    "until": "To",
    "tool": "Tool",
    "risk": "Risk",
    "outcome": "Outcome",
    "consent": "Consent",
    "lead": "Lead's e-mail address",
    "transaction": "Transaction or other target",
}
"""Labels of the form fields."""

MAX_FIELD_CHARS = 320
"""Length of the longest e-mail address."""

STATES: tuple[State, ...] = get_args(State)
CONSENTS: tuple[Consent, ...] = get_args(Consent)
RISKS = tuple(risk.label for risk in Risk if risk is not Risk.READ)


@dataclass(frozen=True, slots=True)
class FilterForm:
    """Parsed filter form: the input by field, the resulting filters, and errors by field.

    `lead` is an e-mail address as typed; the ledger is searched by its keyed hash only.
    """

    values: Mapping[str, str]
    filters: Filters
    lead: str
    errors: Mapping[str, str]

    @property
    def is_filtered(self) -> bool:
        return any(self.values.values())

    def make_url(self, path: str, **more: Any) -> str:
        """Return the address of another path with the same filters."""
        query = {name: value for name, value in {**self.values, **more}.items() if value}
        return f"{path}?{urlencode(query)}" if query else path


def parse_filters(query: Mapping[str, str]) -> FilterForm:
    values = {name: query.get(name, "").strip()[:MAX_FIELD_CHARS] for name in TITLES}
    errors: dict[str, str] = {}
    filters = Filters(
        tool=values["tool"] or None,
        since=_parse_midnight(values["since"], "since", errors),
        target=values["transaction"] or None,
        state=_parse_choice(STATES, values["outcome"], "outcome", errors),
        until=_parse_midnight(values["until"], "until", errors, days=1),
        risk=_parse_risk(values["risk"], errors),
        consent=_parse_choice(CONSENTS, values["consent"], "consent", errors),
        before=_parse_before(query.get("before", "")),
    )
    if filters.since is not None and filters.until is not None and filters.until <= filters.since:
        errors["until"] = "This day is before From."
    return FilterForm(values, filters, values["lead"], errors)


def _parse_midnight(text: str, name: str, errors: dict[str, str], days: int = 0) -> float | None:
    """Return the local start of a day, or of the day that is `days` later."""
    if not text:
        return None
    try:
        day = date.fromisoformat(text) + timedelta(days=days)
        return datetime(day.year, day.month, day.day).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        errors[name] = "This is not a date such as 2026-11-01."
        return None


def _parse_choice(known: tuple[Any, ...], text: str, name: str, errors: dict[str, str]) -> Any:
    if text and text not in known:
        errors[name] = f"This is not one of {', '.join(known)}."
        return None
    return text or None


def _parse_risk(text: str, errors: dict[str, str]) -> Risk | None:
    word = cast("str | None", _parse_choice(RISKS, text, "risk", errors))
    return Risk[word.upper()] if word else None


def _parse_before(text: str) -> int | None:
    """Return the last line of the previous page; None, the first page, for anything invalid."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= len("9" * 15) else None
