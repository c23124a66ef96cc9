"""A browser of the rehearsal: it logs in on the page, reads a card, and posts its form."""

from __future__ import annotations

import html
import re
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx2

_HIDDEN = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')
_FORM = re.compile(r'<form method="post" action="([^"]+)".*?</form>', re.DOTALL)
MAX_REDIRECTS = 6


class BrowserError(Exception):
    """The page is not as expected."""


class Browser:
    """One browser, with its cookies.

    Args:
        address: of the service.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._http = httpx2.Client(follow_redirects=False, timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def log_in(self, login: str) -> str:
        """Log in as a test person; return the page that follows."""
        return self._follow(f"{self._address}/page/login", {"login_hint": login})

    def open(self, path: str) -> str:
        return self._follow(f"{self._address}{path}", {})

    def approve(self, account: str, number: int, typed: str) -> str:
        """Approve a card with the typed amount; return the page that follows."""
        form = f"/page/a/{account}/approvals/{number}"
        fields = {"typed": typed, "reason": "", "decision": "approve"}
        return self.submit(f"/page/a/{account}/", form, **fields)

    def submit(self, path: str, action: str, **fields: str) -> str:
        """Fill in the form of a page that is posted to `action`; return the page that follows."""
        form = self._find_form(self.open(path), action)
        hidden = {name: html.unescape(value) for name, value in _HIDDEN.findall(form)}
        answer = self._http.post(
            f"{self._address}{action}",
            data={**hidden, **fields},
            headers={"Origin": self._address},
        )
        return self._follow(self._locate(answer), {})

    def _find_form(self, page: str, action: str) -> str:
        found = next((form[0] for form in _FORM.finditer(page) if form[1] == action), None)
        if found is None:
            raise BrowserError(f"the page has no form for {action}")
        return found

    def _follow(self, url: str, at_issuer: dict[str, str]) -> str:
        """Follow redirects; `at_issuer` is added to the address of the login provider."""
        for _ in range(MAX_REDIRECTS):
            if at_issuer and not url.startswith(self._address):
                url = str(httpx2.URL(url).copy_merge_params(at_issuer))
            answer = self._http.get(url)
            if not answer.is_redirect:
                if answer.is_error:
                    raise BrowserError(f"{urlsplit(url).path} answered {answer.status_code}")
                return answer.text
            url = self._locate(answer)
        raise BrowserError("too many redirects")

    def _locate(self, answer: httpx2.Response) -> str:
        if not answer.is_redirect:
            raise BrowserError(f"the form was answered with {answer.status_code}")
        return str(answer.url.join(answer.headers["location"]))
