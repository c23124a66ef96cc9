"""Changes made on the page: decisions, cancellation, reconciling, verification of the ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from urllib.parse import quote, urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from kartra_mcp.consent.decisions import ApprovalDecision
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.web.backend import Backend
from kartra_mcp.web.deciders import Decider, FreshLoginRequiredError
from kartra_mcp.web.sessions import Refusal, Session, Verified
from kartra_mcp.web.views.flash import (
    FlashMessage,
    cancel_message,
    decision_message,
    look_message,
)
from kartra_mcp.web.views.pages import PageContext
from kartra_mcp.web.views.viewer import LOCAL_VIEWER, Viewer

_MAX_DIGITS = 9


@dataclass(slots=True)
class Actions:
    """Handlers of the POST routes; every form carries the session's anti-forgery token.

    `root` is the path of the account's pages, `again` that of a fresh login.
    """

    ledger: Ledger
    backend: Backend
    decider: Decider
    root: str = ""
    again: str = ""

    async def decide(self, request: Request) -> Response:
        """Approve or decline. After an error the form keeps the reason."""
        return await self._redirect_after(request, self._decide)

    async def withdraw(self, request: Request) -> Response:
        """Revoke an unused approval."""
        return await self._redirect_after(request, self._withdraw)

    async def reconcile(self, request: Request) -> Response:
        """Read the account for the result of an unknown write, then show its details."""
        intent, session = request.path_params["intent"], get_session(request)
        page = f"{self.root}/done/{intent}"
        try:
            session.notice = look_message(await self.backend.reconcile(intent))
        except KartraMCPError as problem:
            if await run_in_thread(self.ledger.get, intent) is None:
                raise
            session.refusal = Refusal(page, problem.with_traceback(None))
        return RedirectResponse(page, HTTPStatus.SEE_OTHER)

    async def cancel_bulk_run(self, request: Request) -> Response:
        """Cancel a bulk run. Like a client's own cancellation, it needs no PIN: it runs nothing."""
        bulk = request.path_params["bulk"]
        if get_form(request).get("cancel") != "yes":
            raise _no_cancellation_error()
        notice = await run_in_thread(self._cancel_bulk_run, bulk)
        if notice is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        get_session(request).notice = notice
        return self.bulk_path(bulk)

    async def verify(self, request: Request) -> Response:
        """Verify the hash chain of the whole ledger."""
        report = await run_in_thread(self.ledger.verify)
        get_session(request).verified = Verified(self.status_page, report)
        return RedirectResponse(self.status_page, HTTPStatus.SEE_OTHER)

    async def _redirect_after(
        self, request: Request, work: Callable[[int, Mapping[str, str], Viewer], FlashMessage]
    ) -> Response:
        """Run a decision and redirect, so that a reload is not a second attempt."""
        number, form = parse_number(request), get_form(request)
        session, home = get_session(request), f"{self.root}/"
        session.refusal = None
        try:
            session.notice = await run_in_thread(work, number, form, get_viewer(request))
        except KartraMCPError as problem:
            # The frames of the traceback contain the PIN, and a session lives for a day.
            without_frames = problem.with_traceback(None)
            session.refusal = Refusal(home, without_frames, number, form.get("reason", ""))
            card = f"{home}#approval-{number}"
            stale = isinstance(problem, FreshLoginRequiredError)
            path = f"{self.again}?{urlencode({'return': card})}" if stale else card
            return RedirectResponse(path, HTTPStatus.SEE_OTHER)
        return RedirectResponse(home, HTTPStatus.SEE_OTHER)

    def card_path(self, number: int) -> Response:
        return RedirectResponse(f"{self.root}/#approval-{number}", HTTPStatus.SEE_OTHER)

    def bulk_path(self, bulk: str) -> Response:
        path = f"{self.root}/bulk/{quote(bulk, safe='')}"
        return RedirectResponse(path, HTTPStatus.SEE_OTHER)

    @property
    def status_page(self) -> str:
        return f"{self.root}/status"

    def _decide(self, number: int, form: Mapping[str, str], viewer: Viewer) -> FlashMessage:
        choice = form.get("decision")
        if choice not in {"approve", "decline"}:
            raise _no_decision_error()
        decision = ApprovalDecision(choice == "approve", form.get("reason", ""))
        return decision_message(self.decider.decide(number, form, decision, viewer))

    def _cancel_bulk_run(self, bulk: str) -> FlashMessage | None:
        """Return what to show; None if no bulk run has this id."""
        before = self.ledger.bulk.get(bulk)
        if before is None:
            return None
        return cancel_message(before, self.ledger.bulk.set_state(bulk, "cancelled", "on the page"))

    def _withdraw(self, number: int, form: Mapping[str, str], viewer: Viewer) -> FlashMessage:
        return decision_message(self.decider.withdraw(number, form, viewer))


def get_session(request: Request) -> Session:
    """Return the session that the middleware found."""
    return request.scope["session"]


def get_form(request: Request) -> dict[str, str]:
    """Return the form that the middleware parsed and checked against the session."""
    return request.scope["form"]


def get_viewer(request: Request) -> Viewer:
    return request.scope.get("viewer", LOCAL_VIEWER)


def page_context(request: Request, refusal: Refusal | None = None) -> PageContext:
    """Build the context of a full page; consumes the session's notice."""
    session = get_session(request)
    shown = PageContext(session.csrf, session.pop_notice(), viewer=get_viewer(request))
    if refusal is None:
        return shown
    return replace(shown, problem=refusal.problem, reason=refusal.reason)


def fragment_context(request: Request) -> PageContext:
    """Build the context of a part of a page, which shows no notice."""
    return PageContext(get_session(request).csrf, viewer=get_viewer(request))


def parse_number(request: Request) -> int:
    text = request.path_params["number"]
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS):
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return int(text)


def _no_cancellation_error() -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        "The form does not contain the cancellation. Nothing was cancelled.",
        "Use the button Yes, cancel the bulk run.",
    )


def _no_decision_error() -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        "The form contains neither approve nor decline. Nothing was decided.",
        "Use the button Approve or Decline.",
    )
