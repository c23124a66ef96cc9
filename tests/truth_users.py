"""Users of the machine: they answer forms, or do not, and approve with the PIN."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from typing import Any

import anyio
from consent_actors import A_PERSON, Person, ledger_folder
from harness import SHORT, Answer, Clocks, Sandbox

from kartra_mcp.consent import decisions
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.ledger.sqlite.store import open_ledger

PIN = "246810"
IMPATIENT = replace(SHORT, answer=1.0)
MOODS = ("accept", "decline", "cancel", "at once", "error", "never")
NOT_ANSWERED = json.dumps({"error": {"code": "not_answered", "message": "", "executed": "no"}})


class User(Person):
    """Answers every form by the present mood, and keeps what was shown."""

    async def __call__(self, context: Any, params: Any) -> Any:
        if self.action == "never":
            self.asked.append(params)
            await anyio.sleep_forever()
        return await super().__call__(context, params)

    def feel(self, mood: str) -> None:
        self.after = 0.0 if mood == "at once" else A_PERSON
        self.action = "accept" if mood == "at once" else mood

    def read(self) -> list[str]:
        """Return the summaries of the forms since the last time."""
        shown, self.asked = self.asked, []
        return [params.message.split("\n")[0] for params in shown]


def decide(place: Sandbox, clocks: Clocks, number: int, *, approve: bool) -> bool:
    """Decide an approval as page and terminal do; return False if it was not pending."""
    folder = ledger_folder(place)
    with closing(open_ledger(folder, clocks.wall, steady=clocks.steady)) as ledger:
        if not ledger.pins.is_set():
            ledger.pins.set(PIN, "ada")
        asked = ledger.approvals.get(number)
        decision = decisions.ApprovalDecision(approve, "" if approve else "not wanted")
        try:
            decisions.decide(
                ledger,
                number,
                seen=asked.fingerprint if asked else "",
                ask_pin=lambda: PIN,
                decision=decision,
            )
        except RefusedError:
            return False
    return True


def unanswered() -> Answer:
    """Return the answer of a call whose client failed before it had one."""
    return Answer(failed=True, text=NOT_ANSWERED, structured=None)
