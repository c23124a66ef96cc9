"""A question to a person and its answer, between consent and the protocol that carries them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

PERSON_WAIT = 240.0
"""Seconds that a person has to answer."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked. `to_type` is what has to be typed under gate human, or ""."""

    text: str
    to_type: str = ""

    @property
    def schema(self) -> dict[str, Any]:
        """The form, of flat properties."""
        yes = {"type": "boolean", "title": "Yes, do exactly this", "default": False}
        if not self.to_type:
            return {"type": "object", "properties": {"confirm": yes}, "required": ["confirm"]}
        typed = {"type": "string", "title": "To confirm, type " + self.to_type}
        return {
            "type": "object",
            "properties": {"confirm": yes, "amount": typed},
            "required": ["confirm", "amount"],
        }


@dataclass(frozen=True, slots=True)
class Address:
    """An address that a person is asked to open in a browser; `id` is this asking's own."""

    text: str
    url: str
    id: str


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back: the action, the form's content, and after how many seconds."""

    action: str
    content: Mapping[str, Any] = field(default_factory=dict[str, Any])
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Client:
    """Who calls, and how a person can be asked through it.

    `ask` asks within the call (the older era). Without it, a client that `can_ask` gets the
    question as the call's result and calls again with `answer` and `state` (the newer era).
    `arrived` is when the call came, in seconds since the epoch. `can_open`, `open` are the same
    for an address; `opened` tells that what it was opened for is done, where that can be told.
    """

    name: str = ""
    can_ask: bool = False
    ask: Callable[[Question], Awaitable[Answered]] | None = None
    answer: Answered | None = None
    state: str | None = None
    arrived: float = 0.0
    can_open: bool = False
    open: Callable[[Address], Awaitable[Answered]] | None = None
    opened: Callable[[Address], Awaitable[None]] | None = None


class QuestionToReturn(Exception):
    """A question that goes back as the call's result; `state` must come with the answer."""

    def __init__(self, question: Question | Address, state: str) -> None:
        super().__init__("a question to a person")
        self.question = question
        self.state = state
