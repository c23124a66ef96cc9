"""What an address asks of the ledger: `?since=2026-11-01&outcome=unknown` → filters. Pure."""

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
"""Each field as the form calls it."""

LONGEST = 320
"""Characters of one field; the longest address of a lead."""

STATES: tuple[State, ...] = get_args(State)
CONSENTS: tuple[Consent, ...] = get_args(Consent)
RISKS = tuple(risk.label for risk in Risk if risk is not Risk.READ)


@dataclass(frozen=True, slots=True)
class FilterForm:
    """What was typed, field by field; the filters that it means; and what could not be meant.

    `lead` is an address as it was typed: the ledger is searched by its keyed hash only.
    """

    said: Mapping[str, str]
    filters: Filters
    lead: str
    wrong: Mapping[str, str]

    @property
    def is_filtered(self) -> bool:
        return any(self.said.values())

    def make_url(self, path: str, **more: Any) -> str:
        """The same question at another place."""
        said = {name: value for name, value in {**self.said, **more}.items() if value}
        return f"{path}?{urlencode(said)}" if said else path


def parse_filters(query: Mapping[str, str]) -> FilterForm:
    said = {name: query.get(name, "").strip()[:LONGEST] for name in TITLES}
    wrong: dict[str, str] = {}
    filters = Filters(
        tool=said["tool"] or None,
        since=_parse_midnight(said["since"], "since", wrong),
        target=said["transaction"] or None,
        state=_parse_choice(STATES, said["outcome"], "outcome", wrong),
        until=_parse_midnight(said["until"], "until", wrong, days=1),
        risk=_parse_risk(said["risk"], wrong),
        consent=_parse_choice(CONSENTS, said["consent"], "consent", wrong),
        before=_parse_before(query.get("before", "")),
    )
    if filters.since is not None and filters.until is not None and filters.until <= filters.since:
        wrong["until"] = "Earlier than From."
    return FilterForm(said, filters, said["lead"], wrong)


def _parse_midnight(text: str, name: str, wrong: dict[str, str], days: int = 0) -> float | None:
    """Where the day begins on this machine's clock, or the one so many days later."""
    if not text:
        return None
    try:
        day = date.fromisoformat(text) + timedelta(days=days)
        return datetime(day.year, day.month, day.day).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        wrong[name] = "Not a day such as 2026-11-01."
        return None


def _parse_choice(known: tuple[Any, ...], text: str, name: str, wrong: dict[str, str]) -> Any:
    if text and text not in known:
        wrong[name] = f"Not one of {', '.join(known)}."
        return None
    return text or None


def _parse_risk(text: str, wrong: dict[str, str]) -> Risk | None:
    word = cast("str | None", _parse_choice(RISKS, text, "risk", wrong))
    return Risk[word.upper()] if word else None


def _parse_before(text: str) -> int | None:
    """The line that the page before ended with; anything else is the first page."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= len("9" * 15) else None
