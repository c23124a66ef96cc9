"""What one step of the doctor found: ok, warning, failed, or skipped because of an earlier one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["ok", "warning", "failed", "skipped"]

SERVER_STEPS = ("node", "program", "login", "connection", "actions", "read")
"""In the order in which each needs the one before."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's.

    `says` and `mend` are ours: what is so, in a sentence, and the command that mends it. `detail`
    is what another program or person wrote, and is shown as quoted. `whose` names the client's
    entry with whose settings it was found, "" for this shell's.
    """

    step: str
    state: State
    says: str
    mend: str = ""
    detail: str = ""
    whose: str = ""


def ok(step: str, says: str) -> Finding:
    return Finding(step, "ok", says)


def warning(step: str, says: str, mend: str = "", detail: str = "") -> Finding:
    return Finding(step, "warning", says, mend, detail)


def failed(step: str, says: str, mend: str, detail: str = "") -> Finding:
    return Finding(step, "failed", says, mend, detail)


def skipped(steps: Iterable[str], because: str) -> list[Finding]:
    """Steps that would only repeat what an earlier one found."""
    return [Finding(step, "skipped", f"Not looked at, because of: {because}.") for step in steps]


def after(step: str) -> tuple[str, ...]:
    """The steps on the way to the account that need this one."""
    return SERVER_STEPS[SERVER_STEPS.index(step) + 1 :]


def as_data(finding: Finding) -> dict[str, Any]:
    """For a program: `as` says whose settings they were, and is there for a client's alone."""
    data = asdict(finding)
    whose = data.pop("whose")
    return data | ({"as": whose} if whose else {})


def is_healthy(found: Iterable[Finding]) -> bool:
    return all(finding.state != "failed" for finding in found)
