"""The result of one check: ok, warning, failed, or skipped because of an earlier one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from kartra_mcp.core.sanitize import redact_secrets

State = Literal["ok", "warning", "failed", "skipped"]

SERVER_STEPS = ("node", "program", "login", "connection", "actions", "read")
"""Steps in order; each depends on the one before."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check.

    Attributes:
        message: the finding in one sentence of our own.
        fix: the command or action that fixes it, in our own words.
        detail: untrusted output of another program, shown as a quote.
        source: the client's entry whose settings were used; "" for this shell's.
    """

    step: str
    state: State
    message: str
    fix: str = ""
    detail: str = ""
    source: str = ""


def passed(step: str, message: str) -> CheckResult:
    return CheckResult(step, "ok", redact_secrets(message))


def warning(step: str, message: str, fix: str = "", detail: str = "") -> CheckResult:
    return CheckResult(step, "warning", redact_secrets(message), fix, redact_secrets(detail))


def failed(step: str, message: str, fix: str, detail: str = "") -> CheckResult:
    return CheckResult(step, "failed", redact_secrets(message), fix, redact_secrets(detail))


def skipped(steps: Iterable[str], because: str) -> list[CheckResult]:
    """Return skipped results for steps that would only repeat an earlier failure."""
    return [
        CheckResult(step, "skipped", f"Not checked, because {because} failed.") for step in steps
    ]


def steps_after(step: str) -> tuple[str, ...]:
    """Return the steps that depend on a step."""
    return SERVER_STEPS[SERVER_STEPS.index(step) + 1 :]


def as_dict(finding: CheckResult) -> dict[str, Any]:
    """Return the result for `--json`. `as` names the client's entry; this shell's have none."""
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
