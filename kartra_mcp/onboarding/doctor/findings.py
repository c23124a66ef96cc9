"""What one step of the doctor found: ok, warning, failed, or skipped because of an earlier one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["ok", "warning", "failed", "skipped"]

SERVER_STEPS = ("node", "program", "login", "connection", "actions", "read")
"""In the order in which each needs the one before."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line of the doctor's.

    `message` and `fix` are ours: what is so, in a sentence, and the command that mends it. `detail`
    is what another program or person wrote, and is shown as quoted. `source` names the client's
    entry with whose settings it was found, "" for this shell's.
    """

    step: str
    state: State
    message: str
    fix: str = ""
    detail: str = ""
    source: str = ""


def passed(step: str, says: str) -> CheckResult:
    return CheckResult(step, "ok", says)


def warning(step: str, says: str, mend: str = "", detail: str = "") -> CheckResult:
    return CheckResult(step, "warning", says, mend, detail)


def failed(step: str, says: str, mend: str, detail: str = "") -> CheckResult:
    return CheckResult(step, "failed", says, mend, detail)


def skipped(steps: Iterable[str], because: str) -> list[CheckResult]:
    """Steps that would only repeat what an earlier one found."""
    return [
        CheckResult(step, "skipped", f"Not looked at, because of: {because}.") for step in steps
    ]


def steps_after(step: str) -> tuple[str, ...]:
    """The steps on the way to the account that need this one."""
    return SERVER_STEPS[SERVER_STEPS.index(step) + 1 :]


def as_dict(finding: CheckResult) -> dict[str, Any]:
    """For a program: `as` says whose settings they were, and is there for a client's alone."""
    data = {
        "step": finding.step,
        "state": finding.state,
        "says": finding.message,
        "mend": finding.fix,
        "detail": finding.detail,
    }
    return data | ({"as": finding.source} if finding.source else {})


def is_healthy(found: Iterable[CheckResult]) -> bool:
    return all(finding.state != "failed" for finding in found)
