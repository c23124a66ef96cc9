"""Record of one running write: its intent before the first start, its outcome once."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace

import anyio

from kartra_mcp.calls.joined_commits import JoinedCommits
from kartra_mcp.calls.running_writes import RunningWrites
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.models import Executed, SendRight
from kartra_mcp.kartra.effects import condition_undo
from kartra_mcp.ledger.errors import explain
from kartra_mcp.ledger.records import Answer, Binding, FinalState, Intent
from kartra_mcp.ledger.running import RunningIntent
from kartra_mcp.membrane.client import StartedIntent
from kartra_mcp.policy.limits import Limits

UNWRITTEN = "the ledger could not be written."
CONTRADICTS = (
    "this contradicts the outcome that it was settled with, so all writes of this account are "
    "stopped until the user runs `kartra-mcp ledger settle INTENT succeeded` or `… failed`."
)


@dataclass(slots=True)
class WriteRecord:
    """Record of one write: started immediately before the program, finished once.

    `process` may refuse the start. `scope` encloses the write; from the recorded intent on, a
    caller that goes away does not cancel it if `outlives_caller`.
    """

    commits: JoinedCommits
    intent: Intent
    limits: Limits
    binding: Binding | None
    process: RunningWrites = field(default_factory=RunningWrites)
    outlives_caller: bool = False
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    running: RunningIntent | None = None
    has_started: bool = False

    async def begin(self, right: SendRight | None = None) -> StartedIntent:
        if self.running is None:
            self.process.require_open()
            self.intent = replace(self.intent, right=right)
            ledger = self.commits.ledger
            self.running = await self.commits.run(
                ledger.beginning(self.intent, self.limits, self.binding)
            )
            self.scope.shield = self.outlives_caller  # no await since the shielded commit
        held = () if sys.platform == "win32" else (self.running.lock_fd,)
        return StartedIntent(
            self.intent.id,
            held,
            self.intent.right,
            self.running.line,
            self.running.hash,
            self.running.begun_at,
        )

    def mark_started(self) -> None:
        self.has_started = True

    async def finish(
        self,
        state: FinalState,
        executed: Executed,
        run_id: str | None = None,
        code: str = "",
        *,
        patience: float = 0.0,
    ) -> str:
        """Record the outcome; return why the ledger has another, or "".

        `patience`: seconds to wait for another write, to share its commit.
        """
        if self.running is None:
            return ""
        detail = {"code": code} if code else {}
        undo = _describe_undo(state, code, self.intent.undo)
        answer = Answer(state, executed, detail, run_id, undo)
        try:
            write = self.commits.ledger.finishing(self.intent.id, answer)
            arrival = await self.commits.run(write, patience)
        except KartraMCPError as problem:
            return f"{UNWRITTEN} {explain(problem)}"
        except Exception as error:  # noqa: BLE001  the outcome must reach the caller anyway
            return f"{UNWRITTEN} {type(error).__name__} in this server."
        finally:
            self.running.close()
        return CONTRADICTS if arrival == "conflict" else ""

    async def finish_lost(self) -> Executed:
        """Record the end of a write without a response.

        The outcome is unknown if the write had started, else not executed.
        """
        lost = self.has_started
        executed = Executed.UNKNOWN if lost else Executed.NO
        await self.finish("unknown" if lost else "failed", executed, code="internal_error")
        return executed


def _describe_undo(state: FinalState, code: str, undo: str) -> str:
    """Return the undo of an outcome; "" unless it succeeded. An error was done in part."""
    if state != "succeeded":
        return ""
    return condition_undo(undo, "it was done") if code else undo


def final_state(problem: KartraMCPError) -> FinalState:
    """Return the state that the ledger records for a write that ended with an error."""
    if problem.executed is Executed.UNKNOWN:
        return "unknown"
    if problem.executed is Executed.YES:
        return "succeeded"  # a part of a chain was executed and must count for the caps
    return "refused" if isinstance(problem, RefusedError) else "failed"
