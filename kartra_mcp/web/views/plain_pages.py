"""Pages that show nothing of an account: errors, and how to get in."""

from __future__ import annotations

from dataclasses import dataclass

from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.web.views.place import STATIC
from kartra_mcp.web.views.templating import render


@dataclass(frozen=True, slots=True)
class PlainPages:
    """Renders the pages that need no session.

    Attributes:
        home: path of the page to begin with.
        static: path of style, script and icon.
        flags: command-line flags for a command that is shown.
    """

    home: str = "/"
    static: str = STATIC
    flags: str = ""

    def render_login_help(self) -> str:
        """Render instructions to log in; they contain nothing about the account."""
        return self._render("login_help.html", flags=self.flags)

    def render_error(self, status: int, problem: KartraMCPError | None) -> str:
        """Render an error page."""
        return self._render("error.html", status=status, problem=problem)

    def _render(self, template: str, **context: object) -> str:
        return render(template, static=self.static, home=self.home, **context)
