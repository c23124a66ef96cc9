"""Pages that show nothing of an account: errors, and how to get in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.web.views.flash import NO_MESSAGE, FlashMessage
from kartra_mcp.web.views.formatting import Timestamp
from kartra_mcp.web.views.place import STATIC
from kartra_mcp.web.views.templating import render


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session of a user; `key` names it in the form, `is_own` is that of the request."""

    key: str
    opened: Timestamp
    used: Timestamp
    is_own: bool


@dataclass(frozen=True, slots=True)
class PlainPages:
    """Renders the pages that need no session.

    Attributes:
        home: path of the page to begin with.
        static: path of style, script and icon.
        flags: command-line flags for a command that is shown.
        program: command of this installation, for a terminal; "" if it is not shown.
    """

    home: str = "/"
    static: str = STATIC
    flags: str = ""
    program: str = ""

    def render_login_help(self) -> str:
        """Render instructions to log in; they contain nothing about the account."""
        return self._render("login_help.html", flags=self.flags, program=self.program)

    def render_error(self, status: int, problem: KartraMCPError | None) -> str:
        """Render an error page."""
        return self._render("error.html", status=status, problem=problem, flags=self.flags)

    def render_ended_session(self) -> str:
        """Render the answer to a request that was not executed, as its session has ended."""
        return self._render("session_ended.html")

    def render_again(self, login: str) -> str:
        """Render the page that leads to a fresh login."""
        return self._render("login_again.html", login=login)

    def render_logged_out(self) -> str:
        return self._render("logged_out.html")

    def render_login_problem(self, why: str, login: str) -> str:
        """Render why a login opened no session; `login` is the path of another one."""
        return self._render("login_problem.html", why=why, login=login)

    def render_accounts(
        self,
        user: str,
        csrf: str,
        accounts: Sequence[tuple[str, str]],
        *,
        stops: Sequence[str] = (),
        notice: FlashMessage = NO_MESSAGE,
    ) -> str:
        """Render the choice of an account.

        Args:
            user: name of the user.
            csrf: the anti-forgery token of the session.
            accounts: pairs of path and title.
            stops: titles of the accounts whose writes an admin can stop together.
            notice: what is shown once.
        """
        return self._render(
            "accounts.html", user=user, csrf=csrf, accounts=accounts, stops=stops, notice=notice
        )

    def render_sessions(
        self, csrf: str, sessions: Sequence[SessionRow], notice: FlashMessage
    ) -> str:
        """Render the sessions of a user."""
        return self._render("sessions.html", csrf=csrf, sessions=sessions, notice=notice)

    def _render(self, template: str, **context: object) -> str:
        return render(template, static=self.static, home=self.home, **context)
