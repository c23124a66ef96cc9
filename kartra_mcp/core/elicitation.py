"""A question to a person and its answer, between consent and the protocol that carries them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

ELICITATION_TIMEOUT = 240.0
"""Seconds that a person has to answer."""


@dataclass(frozen=True, slots=True)
class FormElicitation:
    """What a person is asked.

    `typed_confirmation` is what has to be typed under gate human, or "".
    """

    text: str
    typed_confirmation: str = ""

    @property
    def schema(self) -> dict[str, Any]:
        """The form, of flat properties."""
        yes = {"type": "boolean", "title": "Yes, do exactly this", "default": False}
        if not self.typed_confirmation:
            return {"type": "object", "properties": {"confirm": yes}, "required": ["confirm"]}
        typed = {"type": "string", "title": "To confirm, type " + self.typed_confirmation}
        return {
            "type": "object",
            "properties": {"confirm": yes, "amount": typed},
            "required": ["confirm", "amount"],
        }


@dataclass(frozen=True, slots=True)
class UrlElicitation:
    """An address that a person is asked to open in a browser; `id` is this asking's own."""

    text: str
    url: str
    id: str


@dataclass(frozen=True, slots=True)
class ElicitationResponse:
    """What came back: the action, the form's content, and after how many seconds."""

    action: str
    content: Mapping[str, Any] = field(default_factory=dict[str, Any])
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ClientContext:
    """Who calls, and how a person can be asked through it.

    `elicit_form` asks within the call (the older era). Without it, a client that `supports_forms`
    gets the question as the call's result and calls again with `response` and `request_state` (the
    newer era). `received_at` is when the call came, in seconds since the epoch. `supports_urls`,
    `elicit_url` are the same for an address; `notify_url_complete` tells that what it was opened
    for is done, where that can be told.
    """

    name: str = ""
    supports_forms: bool = False
    elicit_form: Callable[[FormElicitation], Awaitable[ElicitationResponse]] | None = None
    response: ElicitationResponse | None = None
    request_state: str | None = None
    received_at: float = 0.0
    supports_urls: bool = False
    elicit_url: Callable[[UrlElicitation], Awaitable[ElicitationResponse]] | None = None
    notify_url_complete: Callable[[UrlElicitation], Awaitable[None]] | None = None


class InputRequired(Exception):
    """A question that goes back as the call's result; `state` must come with the answer."""

    def __init__(self, question: FormElicitation | UrlElicitation, state: str) -> None:
        super().__init__("a question to a person")
        self.question = question
        self.state = state
