"""With whose settings the doctor walks: those of the clients' entries, or this shell's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kartra_mcp.client_config.entry import PACKAGE, PROGRAM, is_ours
from kartra_mcp.client_config.install import Checked
from kartra_mcp.onboarding.doctor.api_explanations import format_names, variables_to_hand_over
from kartra_mcp.onboarding.doctor.findings import CheckResult, failed, warning
from kartra_mcp.options import ENV_PREFIX, parse_flags
from kartra_mcp.settings import Settings, read_settings

MAX_LAUNCH_CONFIGS = 3
"""Walks: each may take a minute."""


@dataclass(frozen=True, slots=True)
class LaunchConfig:
    """One way in which this server is started; `entry` is None for this shell's."""

    settings: Settings
    entry: Checked | None = None
    unknown: tuple[str, ...] = ()

    @property
    def whose(self) -> str:
        return f"{self.entry.title} ({self.entry.name})" if self.entry else ""

    def attribute(self, finding: CheckResult) -> CheckResult:
        """The finding as one of this walk, with what mends it in the client's entry."""
        entry = self.entry
        if entry is None:
            return finding
        mend = finding.fix.replace("install CLIENT", f"install {entry.client} --name {entry.name}")
        if mend.startswith("`unset "):
            mend = f"Correct it, or take it out of {entry.name!r} in {entry.file}."
        elif "KARTRA_MCP_" in mend or any(name in mend for name in entry.env):
            mend = f"{mend} {entry.title} has it from {entry.name!r} in {entry.file}."
        return replace(finding, fix=mend, source=self.whose)


def has_explicit_settings(flags: Mapping[str, str], shell: Settings) -> bool:
    """Whether flags or variables say with what to walk."""
    env = shell.environment
    return bool(flags) or any(n.startswith(ENV_PREFIX) and env[n].strip() for n in env)


def launch_configs(
    flags: Mapping[str, str], shell: Settings, entries: Sequence[Checked]
) -> tuple[list[LaunchConfig], list[Checked]]:
    """The walks, each differing set of settings once, and entries that are one too many."""
    started = [one for one in entries if one.name and not one.disabled]
    if has_explicit_settings(flags, shell) or not started:
        return [LaunchConfig(shell)], []
    differing: list[Checked] = []
    for one in started:
        if not any(_set(one) == _set(other) for other in differing):
            differing.append(one)
    return [_make_launch_config(one, shell) for one in differing[:MAX_LAUNCH_CONFIGS]], differing[
        MAX_LAUNCH_CONFIGS:
    ]


def _set(entry: Checked) -> tuple[tuple[str, ...], Mapping[str, str]]:
    return _entry_arguments(entry), entry.env


def _make_launch_config(entry: Checked, shell: Settings) -> LaunchConfig:
    flags, unknown = parse_flags(_entry_arguments(entry))
    read = read_settings(flags, {**shell.environment, **entry.env})
    return LaunchConfig(read, entry, tuple(unknown))


def _entry_arguments(entry: Checked) -> tuple[str, ...]:
    return server_arguments(entry.detail, entry.args)


def server_arguments(command: str, args: Sequence[str]) -> tuple[str, ...]:
    """The words that reach the server: those behind the last that names it."""
    names = [n for n, word in enumerate(args) if _package_name(word) in (PROGRAM, PACKAGE)]
    own = args if is_ours(command, ()) or not names else args[names[-1] + 1 :]
    return tuple(word for word in own if word != "serve")


def _package_name(word: str) -> str:
    return re.split(r"[=<>@\[]", word)[0]


def check_words(start: LaunchConfig) -> list[CheckResult]:
    """Words in the entry for which the server would end at once."""
    if not start.unknown or start.entry is None:
        return []
    says = f"The entry has words that the server does not know: {' '.join(start.unknown)[:200]}"
    return [failed("settings", f"{says}.", f"Take them out of {start.entry.file}.")]


def missing_env(start: LaunchConfig) -> list[CheckResult]:
    """Variables for the API that this shell has and the entry has not."""
    entry = start.entry
    if entry is None:
        return []
    lacking = [name for name in variables_to_hand_over(start.settings) if name not in entry.env]
    if not lacking:
        return []
    says = f"{format_names(lacking)} came from this shell: {entry.title} may be started without."
    mend = f"Put what it is to have of them into `env` of {entry.name!r} in {entry.file}."
    return [warning("settings", says, mend)]
