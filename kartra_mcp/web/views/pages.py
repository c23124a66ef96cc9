"""Everything that a person sees, as HTML: one method a page, each a read of the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Literal

from kartra_mcp.consent.decisions import ReasonRequiredError
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.ledger.export import render_entries
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.records import CONSENT_MEANINGS, Filters, VerificationReport
from kartra_mcp.ledger.statistics import Statistics
from kartra_mcp.settings import Settings
from kartra_mcp.web.views import (
    approvals as waiting,
)
from kartra_mcp.web.views import (
    chart_svg,
    charts,
    decisions,
    reconcile,
    status,
)
from kartra_mcp.web.views import (
    filters as asked,
)
from kartra_mcp.web.views import (
    history as done,
)
from kartra_mcp.web.views.flash import NO_MESSAGE, FlashMessage
from kartra_mcp.web.views.formatting import Timestamp, humanize, make_tool_title
from kartra_mcp.web.views.templating import render

MAX_ROWS = 50
"""Writes on one page of Done."""


@dataclass(frozen=True, slots=True)
class PageContext:
    """What is said to one request besides what it asked for.

    `notice` is said once, e.g. "Number 3: Approved."; `reason` was typed before, and is kept.
    """

    csrf: str
    notice: FlashMessage = NO_MESSAGE
    problem: KartraMCPError | None = None
    reason: str = ""


class Pages:
    """The pages of one state folder. Synchronous: to be called from a worker thread."""

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self._ledger = ledger
        self._settings = settings
        self._figures: tuple[tuple[int, date], Statistics] | None = None

    def render_waiting(self, shown: PageContext, number: int | None = None) -> str:
        """What waits; `number` is the card whose decision was refused."""
        cards, standing = self._make_cards(), self._standing_context()
        known = {x.number for x in (*cards, *standing["unused"])}
        there = number if number in known else None
        about = isinstance(shown.problem, ReasonRequiredError)
        return self._render_page(
            "waiting.html",
            "Waiting",
            shown,
            cards=cards,
            refused=there,
            field="reason" if about else "pin",
            **standing,
        )

    def render_cards(self, shown: PageContext) -> str:
        """What stands on Waiting, to be put in its place: `#standing`, and the cards."""
        return render(
            "live.html",
            cards=self._make_cards(),
            shown=shown,
            refused=None,
            field="",
            flags=self._settings.cli_flags,
            **self._standing_context(),
        )

    def render_done(self, query: Mapping[str, str], shown: PageContext) -> str:
        """The ledger, newest first, fifty at a time."""
        self._ledger.mark_orphans_unknown()
        wanted = asked.parse_filters(query)
        found = (
            []
            if wanted.wrong
            else self._ledger.list_recent(MAX_ROWS + 1, self._make_filters(wanted))
        )
        older = (
            wanted.make_url("/done", before=found[MAX_ROWS - 1]["line"]) if found[MAX_ROWS:] else ""
        )
        return self._render_page(
            "done.html",
            "Done",
            shown,
            asked=wanted,
            rows=[done.make_row(entry) for entry in found[:MAX_ROWS]],
            older=older,
            later=wanted.filters.before is not None,
            choices=self._filter_choices(),
            means=CONSENT_MEANINGS,
            unknown=self._count_unknown(),
            titles=asked.TITLES,
            most=decisions.MAX_ROWS,
            decisions=[
                decisions.make_row(told) for told in self._ledger.list_decisions(decisions.MAX_ROWS)
            ],
        )

    def render_story(self, intent: str, shown: PageContext) -> str | None:
        """One write from the question to the end; None if there is none of this name."""
        self._ledger.mark_orphans_unknown()
        entry = self._ledger.get(intent)
        if entry is None:
            return None
        number = entry["approval"]
        approval = None if number is None else self._ledger.approvals.get(number)
        return self._render_page(
            "story.html",
            "Done",
            shown,
            story=done.make_write_detail(entry, approval),
            settling=reconcile.reconcile_hint(
                entry, self._ledger.late_look_count(intent), self._ledger.current_time()
            ),
        )

    def render_export(self, query: Mapping[str, str], form: Literal["csv", "json"]) -> str:
        """All that Done would show, for another program.

        Raises:
            RefusedError: a filter cannot be understood; less than all must not look like all.
        """
        self._ledger.mark_orphans_unknown()
        wanted = asked.parse_filters(query)
        if wanted.wrong:
            raise _invalid_filter_error(wanted.wrong)
        filters = replace(self._make_filters(wanted), before=None)
        return render_entries(self._ledger.export(filters), form)

    def render_charts(self, shown: PageContext) -> str:
        found = self._make_charts()
        sizes = {
            c.name: (chart_svg.chart_size(c), chart_svg.chart_size(c, narrow=True)) for c in found
        }
        days = charts.DAYS
        return self._render_page(
            "charts.html", "Charts", shown, charts=found, sizes=sizes, days=days
        )

    def render_chart(self, name: str) -> bytes | None:
        """One chart as SVG, by its name or `NAME-narrow`; None if there is none of this name."""
        plain = name.removesuffix(chart_svg.NARROW)
        found = next((chart for chart in self._make_charts() if chart.name == plain), None)
        return None if found is None else chart_svg.render_svg(found, narrow=name != plain)

    def render_status(
        self,
        told: Mapping[str, Any] | None,
        shown: PageContext,
        chain: VerificationReport | None = None,
    ) -> str:
        """What is served and by what rules; `told` is what `kartra_status` tells."""
        return self._render_page(
            "status.html",
            "Status",
            shown,
            status=status.parse_status(told) if told else None,
            recorded=status.make_policy_record(self._ledger.latest("policy"), told)
            if told
            else None,
            unknown=self._count_unknown(),
            many=MAX_ROWS,
            chain=chain,
            length=self._ledger.entry_count(),
            folder=str(self._settings.state_dir),
            has_pin=self._has_pin(),
        )

    def render_stranger(self) -> str:
        """For whoever has no session: how to get in, and nothing of the account."""
        # Not the folder: where it is may name its owner, and whoever is here may be anybody.
        return render("stranger.html", flags=" --sandbox" if self._settings.sandbox else "")

    def render_error(self, status: int, problem: KartraMCPError | None) -> str:
        """What cannot be shown, in our words."""
        return render("wrong.html", status=status, problem=problem)

    def _render_page(self, template: str, section: str, shown: PageContext, **told: Any) -> str:
        numbers = self._pending_numbers(told.get("cards"))
        return render(
            template,
            section=section,
            shown=shown,
            count=len(numbers),
            newest=max(numbers, default=0),
            sandbox=self._settings.sandbox,
            flags=self._settings.cli_flags,
            now=Timestamp(self._ledger.current_time()),
            **told,
        )

    def _pending_numbers(self, cards: list[waiting.ApprovalCard] | None) -> tuple[int, ...]:
        if cards is None:
            return self._ledger.approvals.pending_numbers()
        return tuple(card.number for card in cards)

    def _make_cards(self) -> list[waiting.ApprovalCard]:
        now = self._ledger.current_time()
        return [waiting.make_card(asked_, now) for asked_ in self._ledger.approvals.list_pending()]

    def _standing_context(self) -> dict[str, Any]:
        """What a person has to know besides the cards."""
        now, until = self._ledger.current_time(), self._ledger.pins.locked_until()
        return {
            "has_pin": self._has_pin(),
            "locked": None if until is None else Timestamp(until),
            "unused": [
                waiting.make_unused_approval(x, now) for x in self._ledger.approvals.unused()
            ],
        }

    def _count_unknown(self) -> int:
        """Writes of unknown outcome, as far as anybody counts."""
        return len(self._ledger.list_recent(MAX_ROWS, Filters(state="unknown")))

    def _filter_choices(self) -> dict[str, list[tuple[str, str]]]:
        """What each filter can be: its value, and its words."""
        return {
            "tools": [(tool, make_tool_title(tool)) for tool in self._ledger.tool_names()],
            "risks": [(risk, humanize(risk)) for risk in reversed(asked.RISKS)],
            "outcomes": list(done.OUTCOMES.items()),
            "consents": [
                (consent, f"{humanize(consent)}: {CONSENT_MEANINGS[consent]}")
                for consent in CONSENT_MEANINGS
            ],
        }

    def _make_charts(self) -> tuple[charts.Chart, ...]:
        """Of the figures as they are; counted again only after another line, or on another day."""
        today = self._today()
        as_of = (self._ledger.entry_count(), today)
        if self._figures is None or self._figures[0] != as_of:
            self._figures = (as_of, self._ledger.compute_statistics(charts.first_day_start(today)))
        return charts.make_charts(self._figures[1], self._settings.limits, today)

    def _today(self) -> date:
        return datetime.fromtimestamp(self._ledger.current_time()).astimezone().date()

    def _has_pin(self) -> bool:
        return self._ledger.pins.is_set()

    def _make_filters(self, wanted: asked.FilterForm) -> Filters:
        if not wanted.lead:
            return wanted.filters
        return replace(wanted.filters, lead_hash=self._ledger.lead_hash(wanted.lead))


def _invalid_filter_error(wrong: Mapping[str, str]) -> RefusedError:
    said = " ".join(f"{asked.TITLES[name]}: {why}" for name, why in wrong.items())
    return RefusedError(
        "invalid_arguments",
        f"A filter was not understood, so nothing was exported. {said}",
        "Correct the filter on Done, then export again.",
    )
