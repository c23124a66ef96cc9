"""Stop and resume the writes of an account, revoke and release accesses to it, on its page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.principal import Principal, make_principal_key
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.people import make_name
from kartra_mcp.ledger.revocations import Admin
from kartra_mcp.policy.roles import Right
from kartra_mcp.web.actions import get_form, get_session, get_viewer
from kartra_mcp.web.deciders import FreshLoginRequiredError
from kartra_mcp.web.routes import require_right
from kartra_mcp.web.sessions import Refusal
from kartra_mcp.web.team.return_paths import make_again_path
from kartra_mcp.web.views.flash import FlashMessage

NO_REASON = "no reason given"
"""Stopping is urgent: it does not wait for a reason."""
_COMPARE = (
    "No entry names this user. Compare the subject with your login provider: a misspelled one "
    "revokes nobody."
)


def read_stop_reason(form: Mapping[str, str]) -> str:
    return form.get("reason", "").strip() or NO_REASON


def describe_stops(stopped: Sequence[str], failed: Sequence[str]) -> FlashMessage:
    """Describe a stop of several accounts: those that were stopped, and those that were not."""
    done = f"Writes are stopped on every replica: {', '.join(stopped)}. " if stopped else ""
    if not failed:
        return FlashMessage(done.strip())
    mend = "Set KARTRA_MCP_WRITES=off on every replica, or try again."
    return FlashMessage(f"{done}Not stopped: {' '.join(failed)} {mend}", doubtful=True)


@dataclass(frozen=True, slots=True)
class SwitchActions:
    """Handlers of the switch of one account, and of its revocations."""

    ledger: Ledger
    root: str

    def make_routes(self) -> list[Route]:
        stop = require_right(Right.STOP, self._stop)
        resume = require_right(Right.RESUME, self._resume)
        show = require_right(Right.LEDGER, self._show)
        return [
            Route("/writes/stop", stop, methods=["POST"]),
            Route("/writes/resume", resume, methods=["POST"]),
            Route("/writes/{change}", show, methods=["GET"]),
            Route("/access/revoke", require_right(Right.ADMIN, self._revoke), methods=["POST"]),
            Route("/access/release", require_right(Right.ADMIN, self._release), methods=["POST"]),
            Route("/access/{change}", show, methods=["GET"]),
        ]

    async def _stop(self, request: Request) -> Response:
        """Stop at once, with any login: it can only prevent."""
        reason = read_stop_reason(get_form(request))

        def work(principal: Principal) -> str:
            self.ledger.switch.stop(principal, reason)
            return "Writes of this account are stopped on every replica."

        return await self._change(request, work)

    async def _resume(self, request: Request) -> Response:
        """Ask that writes resume, or confirm it as the second user; with a fresh login."""

        def work(principal: Principal) -> str:
            if not get_viewer(request).is_fresh:
                raise FreshLoginRequiredError
            if self.ledger.switch.resume(principal) is None:
                return "Writes of this account run again."
            return "Your wish to resume was recorded. Another admin or approver must do the same."

        return await self._change(request, work)

    async def _revoke(self, request: Request) -> Response:
        """Revoke the access of a user of the page's issuer at once, with any login."""
        form = get_form(request)

        def work(principal: Principal) -> str:
            subject = form.get("subject", "").strip()
            key = make_principal_key(principal.issuer, subject) if subject else ""
            by = Admin(make_name(principal), principal.key)
            found = self.ledger.revocations.revoke(key, by, form.get("reason", ""))
            done = f"The access of {found.name} to this account is revoked on every replica."
            return f"{done} {_COMPARE}" if found.is_unnamed else done

        return await self._change(request, work)

    async def _release(self, request: Request) -> Response:
        """Release an access, with a fresh login."""
        form = get_form(request)

        def work(principal: Principal) -> str:
            if not get_viewer(request).is_fresh:
                raise FreshLoginRequiredError
            by = Admin(make_name(principal), principal.key)
            found = self.ledger.revocations.release(form.get("key", ""), by, "released on the page")
            return f"The access of {found.name} to this account is released."

        return await self._change(request, work)

    async def _show(self, _: Request) -> Response:
        """Redirect to the status, for a reload of the address to which a form was posted."""
        return RedirectResponse(self._page, HTTPStatus.SEE_OTHER)

    async def _change(self, request: Request, work: Callable[[Principal], str]) -> Response:
        session, path = get_session(request), self._page
        principal = get_viewer(request).team_principal
        try:
            session.notice = FlashMessage(await run_in_thread(work, principal))
        except KartraMCPError as problem:
            session.refusal = Refusal(self._page, problem.with_traceback(None))
            if isinstance(problem, FreshLoginRequiredError):
                path = make_again_path(self._page)
        return RedirectResponse(path, HTTPStatus.SEE_OTHER)

    @property
    def _page(self) -> str:
        return f"{self.root}/status"
