"""Text of a notice that a request waits for approval: a link, and nothing of the customer. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kartra_mcp.core.display import display_value

MAX_TITLE_CHARS = 80
_CARD = "application/vnd.microsoft.card.adaptive"


@dataclass(frozen=True, slots=True)
class Notice:
    """Content of a notice. Whoever reads it needs a login to see more.

    Attributes:
        event: `approval_requested` or `test`.
        account: name of the account in the team file; "" for a test.
        number: of the request; 0 for a test.
        text: for people.
        url: address of the request on the page.
    """

    event: str
    account: str
    number: int
    text: str
    url: str


def make_notice(account: str, title: str, number: int, url: str) -> Notice:
    """Return the notice of a request that waits; `title` is the account's name for people."""
    shown = display_value(title, MAX_TITLE_CHARS)
    text = f"{shown}: request {number} waits for an approval."
    return Notice("approval_requested", account, number, text, url)


def make_test_notice(url: str) -> Notice:
    text = "This is a test by `kartra-mcp team check --notify`. Nothing waits."
    return Notice("test", "", 0, text, url)


def make_message(notice: Notice, format_: str) -> dict[str, Any]:
    """Return the JSON of a notice, in one of `NOTICE_FORMATS`."""
    return _FORMATS[format_](notice)


def _as_json(notice: Notice) -> dict[str, Any]:
    return {
        "event": notice.event,
        "account": notice.account,
        "number": notice.number,
        "text": notice.text,
        "url": notice.url,
    }


def _for_slack(notice: Notice) -> dict[str, Any]:
    """Return the body of an incoming webhook. Slack would open the link to show a part of it."""
    text = notice.text
    for char, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(char, escaped)
    return {"text": f"{text} <{notice.url}|Open it>", "unfurl_links": False, "unfurl_media": False}


def _for_teams(notice: Notice) -> dict[str, Any]:
    """Return the body of a workflow "when a webhook request is received": an adaptive card."""
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{"type": "TextBlock", "text": notice.text, "wrap": True}],
        "actions": [{"type": "Action.OpenUrl", "title": "Open it", "url": notice.url}],
    }
    return {
        "type": "message",
        "text": notice.text,
        "attachments": [{"contentType": _CARD, "contentUrl": None, "content": card}],
    }


_FORMATS: Mapping[str, Callable[[Notice], dict[str, Any]]] = {
    "json": _as_json,
    "slack": _for_slack,
    "teams": _for_teams,
}
