"""Record of clients that declare forms and do not show them. For the life of this process.

A declared capability is only a promise. Without this record such a client would get the same
question for ever, and its user no way to agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kartra_mcp.core.elicitation import ClientContext
from kartra_mcp.ledger.records import Binding

MAX_REMEMBERED = 1_000
ERROR, NO_ANSWER, REPEATED, UNREADABLE = "error", "no_answer", "repeated", "unreadable"
_REASONS: Mapping[str, str] = {
    ERROR: "it returned an error instead of an answer",
    NO_ANSWER: "it returned no answer in time",
    REPEATED: "it repeated the call without the answer",
    UNREADABLE: "it returned an answer that cannot be read",
}


@dataclass(frozen=True, slots=True)
class FormSupport:
    """Clients by the name that they report; the name decides nothing but the way of asking."""

    _failures: dict[str, str] = field(default_factory=dict[str, str])
    _shown: set[str] = field(default_factory=set[str])
    _open: dict[tuple[str, Binding], None] = field(default_factory=dict[tuple[str, Binding], None])

    def is_usable(self, client: ClientContext) -> bool:
        return client.supports_forms and client.name not in self._failures

    def add_failure(self, client: ClientContext, reason: str) -> None:
        """Record that a question was not shown.

        A client that returned an answer before does show forms: its user was only absent.
        """
        if reason == NO_ANSWER and client.name in self._shown:
            return
        if len(self._failures) < MAX_REMEMBERED:
            self._failures[client.name] = reason

    def add_answer(self, client: ClientContext) -> None:
        """Record that a human answered, which proves that the client shows forms."""
        self._failures.pop(client.name, None)
        if len(self._shown) < MAX_REMEMBERED:
            self._shown.add(client.name)

    def open_question(self, client: ClientContext, binding: Binding) -> None:
        """Record a question that was returned as the result of a call."""
        while len(self._open) >= MAX_REMEMBERED:
            del self._open[next(iter(self._open))]
        self._open[client.name, binding] = None

    def close_question(self, client: ClientContext, binding: Binding) -> None:
        self._open.pop((client.name, binding), None)

    def has_open_question(self, client: ClientContext, binding: Binding) -> bool:
        return (client.name, binding) in self._open

    def describe_failure(self, client: ClientContext) -> str:
        """Return why this client is not asked by a form, or ""."""
        reason = self._failures.get(client.name)
        if reason is None:
            return ""
        return f"This client declares forms, but did not show the question: {_REASONS[reason]}."

    def list_failures(self) -> list[dict[str, str]]:
        """Return the failures for `kartra_status`."""
        return [
            {
                "client": client,
                "why": f"It declares forms, but did not show a question: {_REASONS[reason]}.",
                "instead": "Calls that need consent return a preview to repeat, under the gate "
                "human a number for `kartra-mcp approve`.",
            }
            for client, reason in self._failures.items()
        ]
