"""Settings of this process: flags and environment variables in one frozen `Settings`, read once.

No other module reads the environment variables of the settings. A bad value never stops the start
and never widens permissions. `Option.on_error` replaces it: deny for a gate, the strictest value
for a limit or a list, and the default for TIMEOUT, EXPOSE and EXPOSE_TOKENS, which permit nothing.
`Settings.errors` lists each bad value, and `kartra_status` reports them.
"""

from __future__ import annotations

import difflib
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from kartra_mcp.core.display import get_os_user
from kartra_mcp.core.files import read_small_text
from kartra_mcp.core.models import Gate, Risk
from kartra_mcp.core.state_location import (
    NO_FOLDER,
    WANTED,
    default_folder,
    find_home,
    resolve_folder,
)
from kartra_mcp.core.surroundings import expand_home, surroundings
from kartra_mcp.membrane.credentials import Credentials, credentials_from_env
from kartra_mcp.options import ENV_PREFIX, OPTIONS, SERVICE_OPTIONS, Option, is_unset
from kartra_mcp.policy.gates import strictest
from kartra_mcp.policy.limits import LIMITS, Limits
from kartra_mcp.policy.policy_file import PolicyFile, parse_policy_file

MAX_POLICY_BYTES = 1024 * 1024
RESTRICTIONS = frozenset(
    ENV_PREFIX + name
    for name in ("READ_ONLY", "ALLOW", "DENY", "POLICY", "GATE_DESTRUCTIVE", "GATE_IRREVERSIBLE")
)
"""Settings whose bad value refuses calls that a good one may let through."""


@dataclass(frozen=True, slots=True)
class SettingError:
    """A setting whose value could not be used, and the value used instead."""

    variable: str
    expected: str
    fallback: str

    def __str__(self) -> str:
        return f"{self.variable} is not {self.expected}; {self.fallback} is used instead"


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting as the process uses it.

    Attributes:
        state_dir_error: the reason why the folder is not certain, so that no write may run.
        timeout: seconds of one call.
        rate: calls a second to Membrane.
        import_dir: folder from which bulk items may be read; None for no folder.
        gates: a gate for every risk.
        cli_flags: flags with which another command finds the same state folder.
        transport: `cli`, `api`, `auto` or `none`.
        api: credentials for Membrane's API.
        api_error: the reason why credentials that are set cannot be used.
        errors: the bad values, and what replaces each of them.
        environment: environment of the process, for finding and starting programs.
        explicit: every given setting as an environment variable, for starting this program again.
        platform: platform of the process, as `sys.platform`.
        home: home folder of the user.
        team_title: title of the account in a team file; "" for a single user's server.
    """

    membrane: str | None = None
    connection: str | None = None
    sandbox: bool = False
    state_dir: Path = Path()
    state_dir_error: SettingError | None = None
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
    check_lead: bool = True
    writes: bool = True
    page: bool = True
    cli_flags: str = ""
    actor: str = ""
    transport: str = "auto"
    expose: str = "auto"
    expose_tokens: int = 10_000
    commands: str = "auto"
    import_dir: Path | None = None
    api: Credentials | None = None
    api_error: str = ""
    errors: tuple[SettingError, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    explicit: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    platform: str = sys.platform
    home: Path = field(default_factory=Path.home)
    team_title: str = ""

    @property
    def account_kind(self) -> Literal["real", "sandbox"]:
        """Return the kind of account that is served; each has a ledger of its own."""
        return "sandbox" if self.sandbox else "real"

    @property
    def ledger_fault(self) -> str:
        """Return the reason why this process may not write to the ledger, or ""."""
        found = self.state_dir_error
        return "" if found is None else f"{found.variable} is not {found.expected}"

    @property
    def ignored_api_notice(self) -> tuple[str, str] | None:
        """Problem and remedy if credentials for the API are set but not used; else None.

        Membrane's program, which is used instead, may be logged in to another account.
        """
        if self.sandbox or self.transport != "auto" or not self.api_error:
            return None
        problem = (
            "Credentials for Membrane's API are set but cannot be used, so Membrane's program is "
            f"used, with its own login: {self.api_error}."
        )
        remedy = (
            "Set all of them (docs/api.md), or choose the program with "
            "`KARTRA_MCP_TRANSPORT=cli`; then restart the server."
        )
        return problem, remedy

    @property
    def uses_http_api(self) -> bool:
        """True if calls go to Membrane's API."""
        return self.api is not None and self.transport in {"api", "auto"} and not self.sandbox


def read_settings(
    flags: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """Read the settings of this process: flags before the environment before the defaults.

    Args:
        flags: text of each flag by the setting's name, e.g. {"SANDBOX": "on"}.
        environment: variables to read; by default those of the running command.
    """
    env = dict(surroundings().environment if environment is None else environment)
    problems: list[SettingError] = []
    values = {s.name: _parse_value(s, _get_given(s, flags or {}, env), problems) for s in OPTIONS}
    problems += _find_unknown_names(env)
    given = {s.name for s in OPTIONS if _get_given(s, flags or {}, env) is not None}
    policy = _read_policy_file(values["POLICY"], problems)
    sandbox = bool(values["SANDBOX"])
    state, state_error = _resolve_state_dir(values["STATE_DIR"], env, problems)
    api, api_error = credentials_from_env(env)
    return Settings(
        membrane=None if sandbox else values["MEMBRANE"],
        connection=None if sandbox else values["CONNECTION"],
        sandbox=sandbox,
        state_dir=state / "sandbox" if sandbox else state,
        state_dir_error=state_error,
        **{s.field: values[s.name] for s in OPTIONS if s.field},
        gates=_merge_gates(values, given, policy),
        tool_gates=policy.tools,
        limits=_merge_limits(values, given, policy),
        out_of_band_approval=values["APPROVAL"] == "outside",
        cli_flags=_folder_flags(sandbox, values["STATE_DIR"]),
        import_dir=_resolve_import_dir(values["IMPORT_DIR"], problems),
        actor=values["ACTOR"] or env.get("USER") or env.get("USERNAME") or get_os_user(),
        api=api,
        api_error=api_error,
        errors=tuple(problems),
        environment=env,
        explicit={
            ENV_PREFIX + name: text for name, text in explicit_settings(flags or {}, env).items()
        },
        home=_find_home(env),
    )


def read_service_settings(
    flags: Mapping[str, str], environment: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], tuple[SettingError, ...]]:
    """Read the settings of `serve --http`: their values by name, and the bad ones."""
    env = surroundings().environment if environment is None else environment
    problems: list[SettingError] = []
    given = {option: _get_given(option, flags, env) for option in SERVICE_OPTIONS}
    values = {option.name: _parse_value(option, text, problems) for option, text in given.items()}
    return values, tuple(problems)


def explicit_settings(
    flags: Mapping[str, str], environment: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the text of each given setting by its name; a flag replaces the variable."""
    env = surroundings().environment if environment is None else environment
    given = {setting.name: _get_given(setting, flags, env) for setting in OPTIONS}
    return {name: text for name, text in given.items() if text is not None}


def sandbox_db(settings: Settings) -> Path:
    """Return the file of the sandbox account. `settings` are those of a sandbox server."""
    return settings.state_dir / "account.db"


def make_sandbox_command(settings: Settings) -> tuple[str, ...]:
    """Return the command that runs the sandbox instead of Membrane's program."""
    python = (sys.executable, "-P", "-m", "kartra_mcp.sandbox")
    return (*python, f"--account={sandbox_db(settings)}")


def _get_given(setting: Option, flags: Mapping[str, str], env: Mapping[str, str]) -> str | None:
    """Return the given text, or None.

    Empty text and an unfilled `${user_config.…}` count as unset.
    """
    for text in (flags.get(setting.name), env.get(setting.variable)):
        if text is not None and not is_unset(text):
            return text.strip()
    return None


def _parse_value(setting: Option, text: str | None, problems: list[SettingError]) -> Any:
    if text is None:
        return setting.default
    value = setting.parser.read(text)
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
    """Return a gate for every risk: the stricter of settings and policy file."""
    gates = {Risk.READ: Gate.ALLOW, Risk.WRITE: policy.gates.get(Risk.WRITE, Gate.ALLOW)}
    for risk in (Risk.DESTRUCTIVE, Risk.IRREVERSIBLE):
        name = f"GATE_{risk.name}"
        in_file = policy.gates.get(risk)
        explicit = [values[name]] if name in given or in_file is None else []
        gates[risk] = strictest(*explicit, *([in_file] if in_file else []))
    return gates


def _merge_limits(values: Mapping[str, Any], given: set[str], policy: PolicyFile) -> Limits:
    """Return the limits: the lower of settings and policy file."""
    found: dict[str, Any] = {}
    for name, info in LIMITS.items():
        in_file = policy.caps.get(name)
        explicit = [values[info.option]] if info.option in given or in_file is None else []
        both = [cap for cap in (*explicit, in_file) if cap is not None]
        found[name] = min(both) if both else None
    return Limits(**found, person=policy.person, roles=policy.roles)


def _read_policy_file(path: str | None, problems: list[SettingError]) -> PolicyFile:
    if path is None:
        return PolicyFile()
    try:
        text = read_small_text(expand_home(path), MAX_POLICY_BYTES)
    except (OSError, UnicodeDecodeError, ValueError):
        text = None
    found = parse_policy_file(text)
    problems += [SettingError("KARTRA_MCP_POLICY", why, used) for why, used in found.errors]
    return found


def _find_unknown_names(env: Mapping[str, str]) -> list[SettingError]:
    """Report unknown names: a misspelled restriction would silently restrict nothing."""
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


def _resolve_state_dir(
    path: str | None, env: Mapping[str, str], problems: list[SettingError]
) -> tuple[Path, SettingError | None]:
    """Return the folder, and the error for which no write may run.

    A bad value is replaced by the platform's folder, for the list and the results of reads only:
    a ledger there would be a second one.
    """
    found = resolve_folder(path) if path else default_folder(env)
    if found is not None:
        return found, None
    aside = default_folder(env) or NO_FOLDER
    name = ENV_PREFIX + "STATE_DIR" if path else "HOME"
    wanted = WANTED if path else "set to an absolute path, and the system has no home folder for it"
    problem = SettingError(name, wanted, f"{aside}, for reads only,")
    problems.append(problem)
    return aside, problem


def _resolve_import_dir(path: str | None, problems: list[SettingError]) -> Path | None:
    """Return the import folder; a bad value permits no folder."""
    found = resolve_folder(path) if path else None
    if path and found is None:
        problems.append(SettingError(ENV_PREFIX + "IMPORT_DIR", WANTED, "no folder"))
    return found


def _find_home(env: Mapping[str, str]) -> Path:
    home = env.get("USERPROFILE" if sys.platform == "win32" else "HOME")
    return Path(home) if home else find_home() or Path(os.sep)
