"""Questions to the user and their answers, between `consent` and the protocol that carries them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kartra_mcp.core.principal import Principal
from kartra_mcp.core.progress import CallProgress

_AMOUNT = re.compile(r"[0-9]+\.[0-9]{2}")
ELICITATION_TIMEOUT = 240.0
"""Seconds that the user has to answer."""


@dataclass(frozen=True, slots=True)
class FormElicitation:
    """Question with a form.

    `typed_confirmation` is the text that the user must type under gate human, or "".
    """

    text: str
    typed_confirmation: str = ""

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of the form: flat properties only, as MCP requires."""
        yes = {"type": "boolean", "title": "Yes, do exactly this", "default": False}
        if not self.typed_confirmation:
            return {"type": "object", "properties": {"confirm": yes}, "required": ["confirm"]}
        typed = {"type": "string", "title": "To confirm, type " + self.typed_confirmation}
        return {
            "type": "object",
            "properties": {"confirm": yes, self.typed_field: typed},
            "required": ["confirm", self.typed_field],
        }

    @property
    def typed_field(self) -> str:
        """Name of the form's text field, by what the user types into it."""
        if _AMOUNT.fullmatch(self.typed_confirmation):
            return "amount"
        return "address" if "@" in self.typed_confirmation else "id"


@dataclass(frozen=True, slots=True)
class UrlElicitation:
    """Address that the user is asked to open in a browser; `id` identifies this question."""

    text: str
    url: str
    id: str


@dataclass(frozen=True, slots=True)
class ElicitationResponse:
    """Answer of the client: action, content of the form, and seconds since the question."""

    action: str
    content: Mapping[str, Any] = field(default_factory=dict[str, Any])
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ClientContext:
    """The calling client, and the ways to ask the user through it.

    `elicit_form` asks during the call (older protocol revisions). Without it, a client that
    `supports_forms` gets the question as the call's result and calls again with `response` and
    `request_state` (2026-07-28). `received_at` is the time of the call, in seconds since the epoch;
    `received_steady` the same moment by the steady clock.
    `supports_urls` and `elicit_url` are the same for an address; `notify_url_complete` reports that
    its purpose is fulfilled, if the client supports that. `progress` is what the client is told of
    a long call. `principal` is the verified identity of a call over HTTP; None for a single user.
    """

    name: str = ""
    supports_forms: bool = False
    elicit_form: Callable[[FormElicitation], Awaitable[ElicitationResponse]] | None = None
    response: ElicitationResponse | None = None
    request_state: str | None = None
    received_at: float = 0.0
    received_steady: float | None = None
    supports_urls: bool = False
    elicit_url: Callable[[UrlElicitation], Awaitable[ElicitationResponse]] | None = None
    notify_url_complete: Callable[[UrlElicitation], Awaitable[None]] | None = None
    progress: CallProgress = field(default_factory=CallProgress)
    principal: Principal | None = None


class InputRequired(Exception):
    """Question that is returned as the call's result; `state` must come with the answer."""

    def __init__(self, question: FormElicitation | UrlElicitation, state: str) -> None:
        super().__init__("a question to the user")
        self.question = question
        self.state = state
