"""Environment and flags → one frozen `Settings`, read once; the only file that reads either.

A bad value never stops the start and never widens anything: a gate becomes deny, a limit its
strictest, and `problems` names it for `kartra_status`. Source of the names: the design contract.
"""

from __future__ import annotations

import difflib
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from kartra_mcp.core.display import get_os_user
from kartra_mcp.core.models import Gate, Risk
from kartra_mcp.core.surroundings import expand_home, surroundings
from kartra_mcp.membrane.credentials import Credentials, credentials_from_env
from kartra_mcp.options import ENV_PREFIX, OPTIONS, Option, is_unset
from kartra_mcp.policy.gates import strictest
from kartra_mcp.policy.limits import LIMITS, Limits
from kartra_mcp.policy.policy_file import PolicyFile, parse_policy_file


@dataclass(frozen=True, slots=True)
class SettingError:
    """A setting whose value could not be used, and what is used instead."""

    variable: str
    expected: str
    fallback: str

    def __str__(self) -> str:
        return f"{self.variable} is not {self.expected}; {self.fallback} is used instead"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the person set, read once.

    `timeout` is in seconds, `rate` in calls a second. `gates` has a gate for every risk.
    `cli_flags` are what another command needs to find the same state folder. `environment`,
    `platform` and `home` are what the process was started with, for finding and starting programs;
    `explicit` is what was said of each setting, as environment, for starting ourselves again.
    `transport` is `cli`, `api`, `auto` or `none`; `api` the credentials for Membrane's API, and
    `api_error` why those that are there cannot be used.
    """

    membrane: str | None = None
    connection: str | None = None
    sandbox: bool = False
    state_dir: Path = Path()
    timeout: float = 50.0
    max_children: int = 4
    rate: float = 10.0
    result_chars: int = 20_000
    read_only: bool = False
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    gates: Mapping[Risk, Gate] = field(default_factory=dict[Risk, Gate])
    tool_gates: tuple[tuple[str, Gate], ...] = ()
    limits: Limits = field(default_factory=Limits)
    out_of_band_approval: bool = False
    page: bool = True
    cli_flags: str = ""
    actor: str = ""
    transport: str = "auto"
    expose: str = "auto"
    expose_tokens: int = 10_000
    api: Credentials | None = None
    api_error: str = ""
    errors: tuple[SettingError, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    explicit: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    platform: str = sys.platform
    home: Path = field(default_factory=Path.home)

    @property
    def ignored_api_notice(self) -> tuple[str, str] | None:
        """What is said where credentials for the API are set and not used, and what mends it.

        The program that is asked instead may be logged in to another account.
        """
        if self.sandbox or self.transport != "auto" or not self.api_error:
            return None
        says = (
            "Credentials for Membrane's API are set, but cannot be used, so Membrane's program is "
            f"asked, with its own login: {self.api_error}."
        )
        mend = (
            "Set them whole (docs/api.md), or set `KARTRA_MCP_TRANSPORT=cli`, which says that the "
            "program is meant; then restart the server."
        )
        return says, mend

    @property
    def uses_http_api(self) -> bool:
        """Whether Membrane is asked through its API."""
        return self.api is not None and self.transport in {"api", "auto"} and not self.sandbox


def read_settings(
    flags: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """Settings of this process: flags over the environment over the defaults.

    Args:
        flags: by the setting's name, e.g. {"SANDBOX": "on"}.
        environment: instead of that of the surroundings.
    """
    env = dict(surroundings().environment if environment is None else environment)
    problems: list[SettingError] = []
    values = {s.name: _parse_value(s, _get_given(s, flags or {}, env), problems) for s in OPTIONS}
    problems += _find_unknown_names(env)
    given = {s.name for s in OPTIONS if _get_given(s, flags or {}, env) is not None}
    policy = _read_policy_file(values["POLICY"], problems)
    sandbox = bool(values["SANDBOX"])
    state = _resolve_state_dir(values["STATE_DIR"], env)
    api, api_lacks = credentials_from_env(env)
    return Settings(
        membrane=None if sandbox else values["MEMBRANE"],
        connection=None if sandbox else values["CONNECTION"],
        sandbox=sandbox,
        state_dir=state / "sandbox" if sandbox else state,
        **{s.field: values[s.name] for s in OPTIONS if s.field},
        gates=_merge_gates(values, given, policy),
        tool_gates=policy.tools,
        limits=_merge_limits(values, given, policy),
        out_of_band_approval=values["APPROVAL"] == "outside",
        cli_flags=_folder_flags(sandbox, values["STATE_DIR"]),
        actor=values["ACTOR"] or env.get("USER") or env.get("USERNAME") or get_os_user(),
        api=api,
        api_error=api_lacks,
        errors=tuple(problems),
        environment=env,
        explicit={
            ENV_PREFIX + name: text for name, text in explicit_settings(flags or {}, env).items()
        },
        home=_find_home(env),
    )


def explicit_settings(
    flags: Mapping[str, str], environment: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What was said of each setting, by its name, and of no other: flags over the environment."""
    env = surroundings().environment if environment is None else environment
    said = {setting.name: _get_given(setting, flags, env) for setting in OPTIONS}
    return {name: text for name, text in said.items() if text is not None}


def sandbox_db(settings: Settings) -> Path:
    """The file of the sandbox account; `settings` are those of a sandbox server."""
    return settings.state_dir / "account.db"


def make_sandbox_command(settings: Settings) -> tuple[str, ...]:
    """The stand-in `membrane` program, as a command like any other."""
    python = (sys.executable, "-P", "-m", "kartra_mcp.sandbox")
    return (*python, f"--account={sandbox_db(settings)}")


def _get_given(setting: Option, flags: Mapping[str, str], env: Mapping[str, str]) -> str | None:
    """What was said, or None: empty and an unfilled `${user_config.…}` count as unset."""
    for said in (flags.get(setting.name), env.get(setting.variable)):
        if said is not None and not is_unset(said):
            return said.strip()
    return None


def _parse_value(setting: Option, said: str | None, problems: list[SettingError]) -> Any:
    if said is None:
        return setting.default
    value = setting.parser.read(said)
    if value is None:
        used = setting.on_error
        problems.append(SettingError(setting.variable, setting.parser.wanted, _format_value(used)))
        return used
    return value


def _format_value(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(str(part) for part in cast("tuple[Any, ...]", value))
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _merge_gates(
    values: Mapping[str, Any], given: set[str], policy: PolicyFile
) -> dict[Risk, Gate]:
    """A gate for every risk; said in both places, the stricter one holds."""
    gates = {Risk.READ: Gate.ALLOW, Risk.WRITE: policy.gates.get(Risk.WRITE, Gate.ALLOW)}
    for risk in (Risk.DESTRUCTIVE, Risk.IRREVERSIBLE):
        name = f"GATE_{risk.name}"
        in_file = policy.gates.get(risk)
        said = [values[name]] if name in given or in_file is None else []
        gates[risk] = strictest(*said, *([in_file] if in_file else []))
    return gates


def _merge_limits(values: Mapping[str, Any], given: set[str], policy: PolicyFile) -> Limits:
    """The caps; said in both places, the lower one holds."""
    found: dict[str, Any] = {}
    for name, info in LIMITS.items():
        in_file = policy.caps.get(name)
        said = [values[info.option]] if info.option in given or in_file is None else []
        both = [cap for cap in (*said, in_file) if cap is not None]
        found[name] = min(both) if both else None
    return Limits(**found)


def _read_policy_file(said: str | None, problems: list[SettingError]) -> PolicyFile:
    if said is None:
        return PolicyFile()
    try:
        text = expand_home(said).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError):
        text = None
    found = parse_policy_file(text)
    problems += [SettingError("KARTRA_MCP_POLICY", why, used) for why, used in found.errors]
    return found


def _find_unknown_names(env: Mapping[str, str]) -> list[SettingError]:
    """A misspelt name would silently not restrict anything."""
    known = [setting.variable for setting in OPTIONS]
    found: list[SettingError] = []
    for name in sorted(env):
        if name.startswith(ENV_PREFIX) and name not in known and env[name].strip():
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            found.append(SettingError(name[:60], f"a setting of this version{hint}", "nothing"))
    return found


def _folder_flags(sandbox: bool, state_dir: str | None) -> str:  # noqa: FBT001
    named = f" --state-dir {shlex.quote(state_dir)}" if state_dir else ""
    return (" --sandbox" if sandbox else "") + named


def _resolve_state_dir(said: str | None, env: Mapping[str, str]) -> Path:
    if said:
        return expand_home(said).absolute()
    if sys.platform == "linux" and env.get("HOME") and not env.get("XDG_STATE_HOME"):
        return Path(env["HOME"]) / ".local" / "state" / "kartra-mcp"
    from platformdirs import user_state_path

    return user_state_path("kartra-mcp", appauthor=False)


def _find_home(env: Mapping[str, str]) -> Path:
    said = env.get("USERPROFILE" if sys.platform == "win32" else "HOME")
    return Path(said) if said else Path.home()
