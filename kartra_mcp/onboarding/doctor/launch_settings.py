"""Settings to diagnose: each client's entry, or the shell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kartra_mcp.argument_parser import parse_entry
from kartra_mcp.client_config.entry import PACKAGE, PROGRAM, is_ours
from kartra_mcp.client_config.install import Checked
from kartra_mcp.onboarding.doctor.api_explanations import format_names, variables_to_hand_over
from kartra_mcp.onboarding.doctor.findings import CheckResult, failed, warning
from kartra_mcp.options import ENV_PREFIX
from kartra_mcp.settings import Settings, read_settings

MAX_LAUNCH_CONFIGS = 3
"""Entries to diagnose; each may take a minute."""


@dataclass(frozen=True, slots=True)
class LaunchConfig:
    """One set of settings with which the server is started; `entry` is None for the shell's."""

    settings: Settings
    entry: Checked | None = None
    unknown: tuple[str, ...] = ()

    @property
    def whose(self) -> str:
        return f"{self.entry.title} ({self.entry.name})" if self.entry else ""

    def attribute(self, finding: CheckResult) -> CheckResult:
        """Attribute the finding to this entry, and point its fix at the entry's file."""
        entry = self.entry
        if entry is None:
            return finding
        fix = finding.fix.replace("install CLIENT", f"install {entry.client} --name {entry.name}")
        if fix.startswith("`unset "):
            fix = f"Correct it in {entry.name!r} in {entry.file}, or remove it there."
        elif "KARTRA_MCP_" in fix or any(name in fix for name in entry.env):
            fix = f"{fix} {entry.title} reads it from {entry.name!r} in {entry.file}."
        return replace(finding, fix=fix, source=self.whose)


def has_explicit_settings(flags: Mapping[str, str], shell: Settings) -> bool:
    """Return true if flags or variables set anything."""
    env = shell.environment
    return bool(flags) or any(n.startswith(ENV_PREFIX) and env[n].strip() for n in env)


def launch_configs(
    flags: Mapping[str, str], shell: Settings, entries: Sequence[Checked]
) -> tuple[list[LaunchConfig], list[Checked]]:
    """Return the different settings to diagnose, and the entries beyond the limit."""
    started = [one for one in entries if one.name and not one.disabled]
    if has_explicit_settings(flags, shell) or not started:
        return [LaunchConfig(shell)], []
    differing: list[Checked] = []
    for one in started:
        if not any(_set(one) == _set(other) for other in differing):
            differing.append(one)
    return [make_launch_config(one, shell) for one in differing[:MAX_LAUNCH_CONFIGS]], differing[
        MAX_LAUNCH_CONFIGS:
    ]


def _set(entry: Checked) -> tuple[tuple[str, ...], Mapping[str, str]]:
    return _entry_arguments(entry), entry.env


def make_launch_config(entry: Checked, shell: Settings) -> LaunchConfig:
    """Return the settings with which a client starts an entry, in this shell's environment."""
    flags, unknown = parse_entry(_entry_arguments(entry))
    read = read_settings(flags, {**shell.environment, **entry.env})
    return LaunchConfig(read, entry, tuple(unknown))


def _entry_arguments(entry: Checked) -> tuple[str, ...]:
    return server_arguments(entry.detail, entry.args)


def server_arguments(command: str, args: Sequence[str]) -> tuple[str, ...]:
    """Return the arguments of the server: those after the last word that names it."""
    names = [n for n, word in enumerate(args) if _package_name(word) in (PROGRAM, PACKAGE)]
    own = args if is_ours(command, ()) or not names else args[names[-1] + 1 :]
    return tuple(word for word in own if word != "serve")


def _package_name(word: str) -> str:
    return re.split(r"[=<>@\[]", word)[0]


def check_words(start: LaunchConfig) -> list[CheckResult]:
    """Report arguments of the entry that would end the server at startup."""
    if not start.unknown or start.entry is None:
        return []
    message = f"The entry has unknown arguments: {' '.join(start.unknown)[:200]}."
    return [failed("settings", message, f"Remove them from {start.entry.file}.")]


def missing_env(start: LaunchConfig) -> list[CheckResult]:
    """Report variables for the API that this shell has and the entry lacks."""
    entry = start.entry
    if entry is None:
        return []
    lacking = [name for name in variables_to_hand_over(start.settings) if name not in entry.env]
    if not lacking:
        return []
    names = format_names(lacking)
    message = f"{names} came from this shell. {entry.title} may be started without."
    fix = f"Add those that {entry.title} needs to `env` of {entry.name!r} in {entry.file}."
    return [warning("settings", message, fix)]
