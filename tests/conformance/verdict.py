"""Verdict on the official suite's output: conformance, and its explanation. Pure.

A scenario counts as passed only if it has a successful check and no failed one. A scenario that
never ran is a failure, regardless of the suite's exit code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

Checks = list[dict[str, Any]]

_FOLDER = re.compile(r"server-(?P<scenario>.+)-\d{4}-\d\d-\d\dT[\d-]+Z")

NOT_HERE = {
    "tasks-*": "the server has no tasks: a call ends in its own request",
    "server-sse-polling": "no stream is resumed: over HTTP the service is stateless",
}
"""Scenarios, as patterns, of features that the server does not have, and why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one set of scenarios.

    `unscored` has the suite's reason by scenario; `expected` has ours by the failure, which is a
    `scenario` or a `scenario:check`.
    """

    name: str
    scored: tuple[str, ...]
    unscored: Mapping[str, str]
    checks: Mapping[str, Checks]
    exit_code: int
    seconds: float
    expected: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def failed(self) -> list[str]:
        """Scored scenarios that do not pass, but for expected failures."""
        return [one for one in self.scored if not self._is_as_expected(one)]

    @property
    def failed_as_expected(self) -> list[str]:
        found = (one for one in self.scored if not passes(self.checks.get(one, [])))
        return [one for one in found if self._is_as_expected(one)]

    @property
    def stale(self) -> list[str]:
        """Expected failures that did not happen: their entries have to go."""
        return [one for one in self.expected if not self._happened(one)]

    @property
    def passed(self) -> bool:
        fits = self.exit_code == 0 or bool(self.failed_as_expected)
        return bool(self.scored) and not self.failed and not self.stale and fits

    def _is_as_expected(self, scenario: str) -> bool:
        checks = self.checks.get(scenario, [])
        if scenario in self.expected:
            return not passes(checks)
        named = {f"{scenario}:{one['id']}" for one in checks if one["status"] == "FAILURE"}
        return passes(checks) if not named else named <= self.expected.keys()

    def _happened(self, failure: str) -> bool:
        scenario, _, check = failure.partition(":")
        checks = self.checks.get(scenario, [])
        if not check:
            return bool(checks) and not passes(checks)
        return any(one["id"] == check and one["status"] == "FAILURE" for one in checks)


def passes(checks: Checks) -> bool:
    statuses = {check["status"] for check in checks}
    return "SUCCESS" in statuses and "FAILURE" not in statuses


def scenario_of(folder: str) -> str | None:
    """`server-ping-2026-11-24T15-43-35-488Z` → `ping`."""
    found = _FOLDER.fullmatch(folder)
    return found["scenario"] if found else None


def required(listed: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Parse `list --requirements` for a server: scored, and unscored with the reason."""
    scored: list[str] = []
    unscored: dict[str, str] = {}
    section = reason = ""
    for line in listed.splitlines():
        if line and not line.startswith(" "):
            section = line
        elif found := re.fullmatch(r"  (\S+) \(\d+\):", line):
            reason = found[1]
        elif found := re.fullmatch(r"  - (\S+)", line):
            if section.startswith("Server scenarios"):
                scored.append(found[1])
        elif found := re.fullmatch(r"    - (\S+) \[server\]", line):
            unscored[found[1]] = reason
    return tuple(scored), unscored


def announced(printed: str) -> tuple[str, ...]:
    """Return the scenarios that the suite announced."""
    return tuple(re.findall(r"^=== Running scenario: (\S+) ===$", printed, re.MULTILINE))


def count(outcome: Outcome) -> str:
    """Return how many of the scored scenarios pass."""
    passed = len(outcome.scored) - len(outcome.failed) - len(outcome.failed_as_expected)
    return f"{passed} of {len(outcome.scored)}"


def report(outcome: Outcome) -> list[str]:
    """Format the count, every failure, every warning, and unscored failures."""
    checks = [check for name in outcome.scored for check in outcome.checks.get(name, [])]
    succeeded = sum(check["status"] == "SUCCESS" for check in checks)
    took = f"{succeeded} checks, {outcome.seconds:.0f} s"
    lines = [f"{outcome.name}: {count(outcome)} scored scenarios pass ({took})"]
    for name in outcome.failed:
        lines += [f"  FAILS: {name}", *_told(outcome.checks.get(name, []), {"FAILURE"})]
    for name in outcome.scored:
        warned = _told(outcome.checks.get(name, []), {"WARNING"})
        lines += [f"  warning: {name}", *warned] if warned else []
    lines += [f"  FAILS: {one} is expected to fail, and does not" for one in outcome.stale]
    if not outcome.passed and not outcome.failed and not outcome.stale:
        lines.append(f"  FAILS: the suite ended with {outcome.exit_code}")
    return [*lines, *_expected(outcome), *_unscored(outcome)]


def _expected(outcome: Outcome) -> Iterable[str]:
    """Format the scenarios that fail as expected, by reason."""
    by_reason: dict[str, list[str]] = {}
    for failure, reason in outcome.expected.items():
        by_reason.setdefault(reason, []).append(failure.partition(":")[0])
    for reason, names in by_reason.items():
        unique = dict.fromkeys(name for name in names if name in outcome.failed_as_expected)
        yield f"  expected to fail, {len(unique)} ({reason}): {', '.join(unique)}"


def _told(checks: Checks, statuses: set[str]) -> list[str]:
    told = [check for check in checks if check["status"] in statuses]
    return [f"    {check['id']}: {_message(check)}" for check in told]


def _unscored(outcome: Outcome) -> Iterable[str]:
    """Format the unscored scenarios: passed ones as a count, others with the reason."""
    if not outcome.unscored:
        return
    passing = [name for name in outcome.unscored if passes(outcome.checks.get(name, []))]
    yield f"  not scored: {len(passing)} of {len(outcome.unscored)} pass: {', '.join(passing)}"
    for name, reason in outcome.unscored.items():
        if name not in passing:
            yield f"    {name} ({reason}): {_why(name, outcome.checks.get(name, []))}"


def _why(scenario: str, checks: Checks) -> str:
    """Return our reason, else the suite's."""
    for pattern, why in NOT_HERE.items():
        if fnmatch(scenario, pattern):
            return why
    told = [check for check in checks if check["status"] not in {"SUCCESS", "INFO"}]
    return "; ".join(_message(check) for check in told) or "it left no checks"


def _message(check: dict[str, Any]) -> str:
    return check.get("errorMessage") or check["id"]
