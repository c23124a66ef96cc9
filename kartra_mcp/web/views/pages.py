"""Rendering of every page as HTML: one method per page, each reads the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Literal

from kartra_mcp.consent.decisions import ReasonRequiredError
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.ledger.approval_records import Approval
from kartra_mcp.ledger.export import render_entries
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.people import Requester
from kartra_mcp.ledger.records import CONSENT_MEANINGS, Filters, VerificationReport
from kartra_mcp.ledger.statistics import Statistics
from kartra_mcp.web.views import (
    approvals,
    chart_svg,
    charts,
    decisions,
    filters,
    history,
    reconcile,
    status,
)
from kartra_mcp.web.views.bulk_facts import is_bulk_consent
from kartra_mcp.web.views.bulk_pages import BulkPages
from kartra_mcp.web.views.flash import NO_MESSAGE, FlashMessage
from kartra_mcp.web.views.formatting import Timestamp, humanize, make_tool_title
from kartra_mcp.web.views.place import Place
from kartra_mcp.web.views.switch import SwitchView, make_revoked_view, make_switch_view
from kartra_mcp.web.views.team_cards import CapsOf, TeamCard, describe_group, make_team_card
from kartra_mcp.web.views.templating import render
from kartra_mcp.web.views.viewer import LOCAL_VIEWER, Viewer

MAX_ROWS = 50
"""Writes on one page of the history."""


@dataclass(frozen=True, slots=True)
class PageContext:
    """State of one request that every page shows.

    `notice` is shown once, e.g. "Number 3: Approved."; `reason` is what was typed before an error.
    """

    csrf: str
    notice: FlashMessage = NO_MESSAGE
    problem: KartraMCPError | None = None
    reason: str = ""
    viewer: Viewer = LOCAL_VIEWER


class Pages:
    """The pages of one ledger. Synchronous: call it from a worker thread."""

    def __init__(self, ledger: Ledger, place: Place) -> None:
        self._ledger = ledger
        self._place = place
        self._bulk = BulkPages(ledger)
        self._figures: tuple[tuple[int, date], Statistics] | None = None

    def render_approvals(self, shown: PageContext, number: int | None = None) -> str:
        """Render the pending approvals; `number` is the card whose decision failed."""
        cards, standing = self._make_cards(shown.viewer), self._standing_context()
        known = {x.number for x in (*cards, *standing["unused"])}
        refused = number if number in known else None
        return self._render_page(
            "approvals.html",
            "Pending approvals",
            shown,
            cards=cards,
            refused=refused,
            field=self._refused_field(shown.problem),
            **standing,
        )

    def render_cards(self, shown: PageContext) -> str:
        """Render what the script replaces on Pending approvals: `#standing` and the cards."""
        return self._render_part(
            "live.html",
            shown,
            cards=self._make_cards(shown.viewer),
            refused=None,
            field="",
            **self._standing_context(),
        )

    def render_bulk_list(self, shown: PageContext) -> str:
        """Render the newest bulk runs."""
        return self._render_page("bulk_list.html", "Bulk runs", shown, **self._bulk.list_context())

    def render_bulk_run(self, bulk_id: str, shown: PageContext) -> str | None:
        """Render one bulk run; None if there is none with this id."""
        context = self._bulk.run_context(bulk_id)
        if context is None:
            return None
        return self._render_page("bulk_run.html", "Bulk runs", shown, **context)

    def render_bulk_items(
        self, bulk_id: str, query: Mapping[str, str], shown: PageContext
    ) -> str | None:
        """Render the items of a bulk run; None if there is none with this id."""
        context = self._bulk.items_context(bulk_id, query)
        if context is None:
            return None
        return self._render_page("bulk_items.html", "Bulk runs", shown, **context)

    def render_bulk_live(self, bulk_id: str | None, shown: PageContext) -> str | None:
        """Render what the script replaces: the list, or one run; None for an unknown id."""
        if bulk_id is None:
            return self._render_part("bulk_list_live.html", shown, **self._bulk.list_context())
        context = self._bulk.run_context(bulk_id)
        if context is None:
            return None
        return self._render_part("bulk_run_live.html", shown, **context)

    def render_history(self, query: Mapping[str, str], shown: PageContext) -> str:
        """Render the ledger, newest first, `MAX_ROWS` at a time."""
        self._ledger.mark_orphans_unknown()
        form = filters.parse_filters(query)
        found = (
            [] if form.errors else self._ledger.list_recent(MAX_ROWS + 1, self._make_filters(form))
        )
        older = (
            form.make_url(f"{self._place.root}/done", before=found[MAX_ROWS - 1]["line"])
            if found[MAX_ROWS:]
            else ""
        )
        return self._render_page(
            "history.html",
            "History",
            shown,
            form=form,
            rows=[history.make_row(entry) for entry in found[:MAX_ROWS]],
            older=older,
            is_later_page=form.filters.before is not None,
            choices=self._filter_choices(),
            means=CONSENT_MEANINGS,
            unknown=self._count_unknown(),
            titles=filters.TITLES,
            max_decisions=decisions.MAX_ROWS,
            decisions=[
                decisions.make_row(one) for one in self._ledger.list_decisions(decisions.MAX_ROWS)
            ],
        )

    def render_write(self, intent: str, shown: PageContext) -> str | None:
        """Render the details of one write; None if there is none with this id."""
        self._ledger.mark_orphans_unknown()
        entry = self._ledger.get(intent)
        if entry is None:
            return None
        number = entry["approval"]
        approval = None if number is None else self._ledger.approvals.get(number)
        return self._render_page(
            "write.html",
            "History",
            shown,
            write=history.make_write_detail(entry, approval),
            hint=reconcile.reconcile_hint(
                entry, self._ledger.late_look_times(intent), self._ledger.current_time()
            ),
        )

    def render_export(self, query: Mapping[str, str], file_format: Literal["csv", "json"]) -> str:
        """Export every write that matches the filters.

        Raises:
            RefusedError: a filter is invalid. Ignoring it would export more than was requested.
        """
        self._ledger.mark_orphans_unknown()
        form = filters.parse_filters(query)
        if form.errors:
            raise _invalid_filter_error(form.errors)
        wanted = replace(self._make_filters(form), before=None)
        return render_entries(self._ledger.export(wanted), file_format)

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
        """Render one chart as SVG by its name or `NAME-narrow`; None if there is none."""
        plain = name.removesuffix(chart_svg.NARROW)
        found = next((chart for chart in self._make_charts() if chart.name == plain), None)
        return None if found is None else chart_svg.render_svg(found, narrow=name != plain)

    def render_status(
        self,
        payload: Mapping[str, Any] | None,
        shown: PageContext,
        chain: VerificationReport | None = None,
    ) -> str:
        """Render connection, policy and ledger; `payload` is the answer of `kartra_status`."""
        return self._render_page(
            "status.html",
            "Status",
            shown,
            status=status.parse_status(payload) if payload else None,
            recorded=status.make_policy_record(self._ledger.latest("policy"), payload)
            if payload
            else None,
            unknown=self._count_unknown(),
            max_unknown=MAX_ROWS,
            chain=chain,
            length=self._ledger.entry_count(),
            revoked=[make_revoked_view(x) for x in self._ledger.revocations.list_in_force()],
            has_pin=self._has_pin(),
        )

    def _render_page(self, template: str, section: str, shown: PageContext, **context: Any) -> str:
        numbers = self._pending_numbers(context.get("cards"))
        return render(
            template,
            section=section,
            shown=shown,
            count=len(numbers),
            newest=max(numbers, default=0),
            place=self._place,
            now=Timestamp(self._ledger.current_time()),
            switch=self._make_switch(shown.viewer),
            **context,
        )

    def _render_part(self, template: str, shown: PageContext, **context: Any) -> str:
        return render(template, shown=shown, place=self._place, **context)

    def _pending_numbers(self, cards: list[approvals.ApprovalCard] | None) -> tuple[int, ...]:
        if cards is None:
            return self._ledger.approvals.pending_numbers()
        return tuple(card.number for card in cards)

    def _make_cards(self, viewer: Viewer) -> list[approvals.ApprovalCard]:
        now, pending = self._ledger.current_time(), self._ledger.approvals.list_pending()
        digests = [x.binding.arguments for x in pending if is_bulk_consent(x.facts)]
        runs = self._ledger.bulk_lookup.find_by_digest(digests)
        caps = self._list_caps(pending)
        return [
            approvals.make_card(
                x, now, runs.get(x.binding.arguments), self._team_card(x, viewer, caps)
            )
            for x in pending
        ]

    def _team_card(
        self, asked: Approval, viewer: Viewer, caps: Mapping[Requester, list[CapsOf]]
    ) -> TeamCard | None:
        """Return the part of a team's card; None for a request that no team made."""
        team = asked.team
        if team is None:
            return None
        return make_team_card(asked, team, viewer, caps[team.requester])

    def _list_caps(self, pending: Iterable[Approval]) -> dict[Requester, list[CapsOf]]:
        """Return what is left of the caps by requester: of the account, the person, its roles."""
        askers = {one.team.requester for one in pending if one.team is not None}
        if not askers:
            return {}
        limits = self._place.limits
        account = CapsOf("this account", self._ledger.caps_left(limits))
        return {
            asker: [
                account,
                *(
                    CapsOf(describe_group(role), left)
                    for role, left in self._ledger.group_caps_left(limits, asker)
                ),
            ]
            for asker in askers
        }

    def _make_switch(self, viewer: Viewer) -> SwitchView | None:
        """Return the switch of a team's account; one user has none."""
        if not self._place.is_team:
            return None
        switch = self._ledger.switch
        return make_switch_view(switch.find_stop(), viewer, off_here=switch.is_off)

    def _standing_context(self) -> dict[str, Any]:
        """Return the values shown above the cards: PIN state and unused approvals."""
        now = self._ledger.current_time()
        until = None if self._place.is_team else self._ledger.pins.locked_until()
        return {
            "has_pin": self._has_pin(),
            "locked": None if until is None else Timestamp(until),
            "unused": [
                approvals.make_unused_approval(x, now) for x in self._ledger.approvals.unused()
            ],
        }

    def _count_unknown(self) -> int:
        """Count the writes of unknown outcome, up to `MAX_ROWS`."""
        return len(self._ledger.list_recent(MAX_ROWS, Filters(state="unknown")))

    def _filter_choices(self) -> dict[str, list[tuple[str, str]]]:
        """Return the choices of each filter as pairs of value and label."""
        return {
            "tools": [(tool, make_tool_title(tool)) for tool in self._ledger.tool_names()],
            "risks": [(risk, humanize(risk)) for risk in reversed(filters.RISKS)],
            "outcomes": list(history.OUTCOMES.items()),
            "consents": [
                (consent, f"{humanize(consent)}: {CONSENT_MEANINGS[consent]}")
                for consent in CONSENT_MEANINGS
            ],
        }

    def _make_charts(self) -> tuple[charts.Chart, ...]:
        """Build the charts; statistics are cached until the ledger or the day changes."""
        today = self._today()
        as_of = (self._ledger.entry_count(), today)
        if self._figures is None or self._figures[0] != as_of:
            self._figures = (as_of, self._ledger.compute_statistics(charts.first_day_start(today)))
        return charts.make_charts(self._figures[1], self._place.limits, today)

    def _today(self) -> date:
        return datetime.fromtimestamp(self._ledger.current_time()).astimezone().date()

    def _refused_field(self, problem: KartraMCPError | None) -> str:
        """Return the field of a card's form that an error is about."""
        if isinstance(problem, ReasonRequiredError):
            return "reason"
        return "typed" if self._place.is_team else "pin"

    def _has_pin(self) -> bool:
        return self._place.is_team or self._ledger.pins.is_set()  # a team decides without a PIN

    def _make_filters(self, form: filters.FilterForm) -> Filters:
        if not form.lead:
            return form.filters
        return replace(form.filters, lead_hash=self._ledger.leads.hash(form.lead))


def _invalid_filter_error(errors: Mapping[str, str]) -> RefusedError:
    reasons = " ".join(f"{filters.TITLES[name]}: {why}" for name, why in errors.items())
    return RefusedError(
        "invalid_arguments",
        f"A filter is invalid, so nothing was exported. {reasons}",
        "Correct the filter on History, then export again.",
    )
