"""What can be done on the pages: approve or decline, settle what is unknown, follow the chain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from kartra_mcp.consent.decisions import Decision, decide, require_pin_set, withdraw
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.records import VerificationReport
from kartra_mcp.web.backend import ServerBackend
from kartra_mcp.web.sessions import Refusal, Session
from kartra_mcp.web.views.flash import FlashMessage, decision_message, look_message
from kartra_mcp.web.views.pages import PageContext

_DIGITS = 9


@dataclass(slots=True)
class Actions:
    """Every change, each of a form with the session's own token in it.

    `flags` are what a command needs to find the same ledger; `verified` is what was just found:
    it is told once, since a chain may be broken a moment later.
    """

    ledger: Ledger
    beyond: ServerBackend
    flags: str = ""
    verified: VerificationReport | None = None

    async def decide(self, request: Request) -> Response:
        """Approve or decline, with the PIN. What was typed as a reason is kept where it fails."""
        return await self._redirect_after(request, self._decide)

    async def withdraw(self, request: Request) -> Response:
        """Take back what was approved and not used, with the PIN."""
        return await self._redirect_after(request, self._withdraw)

    async def reconcile(self, request: Request) -> Response:
        """Look in the account what became of an unknown write, and tell it in its story."""
        intent, session = request.path_params["intent"], get_session(request)
        page = f"/done/{intent}"
        try:
            session.notice = look_message(await self.beyond.reconcile(intent))
        except KartraMCPError as problem:
            if await run_in_thread(self.ledger.get, intent) is None:
                raise
            session.refusal = Refusal(page, problem.with_traceback(None))
        return RedirectResponse(page, HTTPStatus.SEE_OTHER)

    async def verify(self, _: Request) -> Response:
        """Follow every line of the ledger."""
        self.verified = await run_in_thread(self.ledger.verify)
        return RedirectResponse("/status", HTTPStatus.SEE_OTHER)

    async def _redirect_after(
        self, request: Request, work: Callable[[int, Mapping[str, str]], FlashMessage]
    ) -> Response:
        """Always by a redirect: to load the page again is no second attempt at the PIN."""
        number, form = parse_number(request), get_form(request)
        session = get_session(request)
        session.refusal = None
        try:
            session.notice = await run_in_thread(work, number, form)
        except KartraMCPError as problem:
            # Without its traceback, whose frames know the PIN.
            refused = problem.with_traceback(None)
            session.refusal = Refusal("/", refused, number, form.get("reason", ""))
            return card_path(number)
        return RedirectResponse("/", HTTPStatus.SEE_OTHER)

    def pop_verified(self) -> VerificationReport | None:
        found, self.verified = self.verified, None
        return found

    def _decide(self, number: int, form: Mapping[str, str]) -> FlashMessage:
        said = form.get("decision")
        if said not in {"approve", "decline"}:
            raise _no_decision_error()
        require_pin_set(self.ledger.pins, self.flags)
        decided = decide(
            self.ledger,
            number,
            seen=form.get("seen", ""),
            ask_pin=lambda: form.get("pin", ""),
            decision=Decision(said == "approve", form.get("reason", "")),
        )
        return decision_message(decided)

    def _withdraw(self, number: int, form: Mapping[str, str]) -> FlashMessage:
        require_pin_set(self.ledger.pins, self.flags)
        return decision_message(withdraw(self.ledger, number, form.get("pin", "")))


def get_session(request: Request) -> Session:
    """The session that the entrance found."""
    return request.scope["session"]


def get_form(request: Request) -> dict[str, str]:
    """The form that the entrance read and found to be the session's own."""
    return request.scope["form"]


def page_context(request: Request, refusal: Refusal | None = None) -> PageContext:
    """For a whole page: what is to be said once is said now."""
    session = get_session(request)
    if refusal is None:
        return PageContext(session.csrf, session.pop_notice())
    return PageContext(session.csrf, session.pop_notice(), refusal.problem, refusal.reason)


def card_path(number: int) -> Response:
    return RedirectResponse(f"/#approval-{number}", HTTPStatus.SEE_OTHER)


def parse_number(request: Request) -> int:
    said = request.path_params["number"]
    if not (said.isascii() and said.isdecimal() and len(said) <= _DIGITS):
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return int(said)


def _no_decision_error() -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        "The form says neither approve nor decline. Nothing was decided.",
        "Use one of the two buttons.",
    )
