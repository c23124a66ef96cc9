"""Environment and flags → one frozen `Settings`, read once; the only file that reads either.

A bad value never stops the start and never widens anything: a gate becomes deny, a limit its
strictest, and `problems` names it for `kartra_status`. Source of the names: the design contract.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from kartra_mcp.model import Gate, Risk

PREFIX = "KARTRA_MCP_"
NOTHING = ("(nothing)",)
"""Names that match no tool."""

_PATTERN = re.compile(r"[\w.*?!\[\]-]+")


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the README's table; `strictest` is what a bad value becomes."""

    name: str
    kind: str
    default: Any
    meaning: str
    strictest: Any = None

    @property
    def variable(self) -> str:
        return PREFIX + self.name

    @property
    def flag(self) -> str:
        return "--" + self.name.lower().replace("_", "-")


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "MEMBRANE",
        "text",
        None,
        "The `membrane` program: an existing file, else a JSON array, else shell words.",
    ),
    Setting(
        "CONNECTION",
        "text",
        None,
        "Id or key of the connection. Unset: the one served last, else the only READY one.",
    ),
    Setting(
        "SANDBOX",
        "switch",
        False,
        "Serve the embedded rehearsal account; a real connection set beside it is ignored.",
        strictest=True,
    ),
    Setting(
        "STATE_DIR",
        "text",
        None,
        "Folder for the list of actions and the sandbox account. Unset: the platform's own.",
    ),
    Setting(
        "TIMEOUT",
        "seconds",
        50.0,
        "Seconds for one whole call, waiting in the queue included.",
        strictest=50.0,
    ),
    Setting("MAX_CHILDREN", "count", 4, "Programs running at once.", strictest=1),
    Setting(
        "RATE",
        "rate",
        10.0,
        "Calls a second to one connection, with a bucket of one second's worth; 0 is no throttle.",
        strictest=1.0,
    ),
    Setting(
        "RESULT_CHARS",
        "count",
        20_000,
        "Characters of the JSON of one result (it goes out twice: as text and as structure).",
        strictest=1_000,
    ),
    Setting("READ_ONLY", "switch", False, "Only reads are listed and run.", strictest=True),
    Setting(
        "ALLOW",
        "patterns",
        (),
        "Names or patterns that may be used, by tool name, `kartra_` + key or `kartra_` + command.",
        strictest=NOTHING,
    ),
    Setting(
        "DENY",
        "patterns",
        (),
        "Names or patterns that may not; deny wins over allow.",
        strictest=("*",),
    ),
    Setting(
        "GATE_DESTRUCTIVE",
        "gate",
        Gate.FLAG,
        "What destructive tools need: allow, flag or deny.",
        strictest=Gate.DENY,
    ),
    Setting(
        "GATE_IRREVERSIBLE",
        "gate",
        Gate.FLAG,
        "The same for irreversible tools.",
        strictest=Gate.DENY,
    ),
)
"""Every setting, in the order of the README's table."""

GATES_OFFERED = (Gate.ALLOW, Gate.FLAG, Gate.DENY)


@dataclass(frozen=True, slots=True)
class Problem:
    """A setting whose value could not be used, and what is used instead."""

    variable: str
    wanted: str
    used: str

    def __str__(self) -> str:
        return f"{self.variable} is not {self.wanted}; {self.used} is used instead"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the person set, read once.

    `timeout` is in seconds, `rate` in calls a second. `gates` has a gate for every risk.
    `environment`, `platform` and `home` are what the process was started with, for finding and
    starting programs.
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
    problems: tuple[Problem, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    platform: str = sys.platform
    home: Path = field(default_factory=Path.home)


def read_settings(
    flags: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """Settings of this process: flags over the environment over the defaults.

    Args:
        flags: by the setting's name, e.g. {"SANDBOX": "on"}.
        environment: instead of this process's own, for tests.
    """
    env = dict(os.environ if environment is None else environment)
    problems: list[Problem] = []
    values = {s.name: _value(s, _given(s, flags or {}, env), problems) for s in SETTINGS}
    sandbox = bool(values["SANDBOX"])
    state = _state_dir(values["STATE_DIR"], env)
    return Settings(
        membrane=None if sandbox else values["MEMBRANE"],
        connection=None if sandbox else values["CONNECTION"],
        sandbox=sandbox,
        state_dir=state / "sandbox" if sandbox else state,
        timeout=values["TIMEOUT"],
        max_children=values["MAX_CHILDREN"],
        rate=values["RATE"],
        result_chars=values["RESULT_CHARS"],
        read_only=values["READ_ONLY"],
        allow=values["ALLOW"],
        deny=values["DENY"],
        gates=_gates(values),
        problems=tuple(problems),
        environment=env,
        home=_home(env),
    )


def sandbox_account(settings: Settings) -> Path:
    """The file of the sandbox account; `settings` are those of a sandbox server."""
    return settings.state_dir / "account.db"


def sandbox_command(settings: Settings) -> tuple[str, ...]:
    """The stand-in `membrane` program, as a command like any other."""
    python = (sys.executable, "-P", "-m", "kartra_mcp.sandbox")
    return (*python, f"--account={sandbox_account(settings)}")


def _given(setting: Setting, flags: Mapping[str, str], env: Mapping[str, str]) -> str | None:
    """What was said, or None: empty and an unfilled `${user_config.…}` count as unset."""
    for said in (flags.get(setting.name), env.get(setting.variable)):
        text = (said or "").strip()
        if text and not text.startswith("${user_config"):
            return text
    return None


def _value(setting: Setting, said: str | None, problems: list[Problem]) -> Any:
    if said is None:
        return setting.default
    wanted, read = _KINDS[setting.kind]
    value = read(said)
    if value is None:
        used = setting.strictest
        problems.append(Problem(setting.variable, wanted, _shown(used)))
        return used
    return value


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(str(part) for part in cast("tuple[Any, ...]", value))
    return "on" if value is True else str(value)


def _switch(text: str) -> bool | None:
    word = text.lower()
    if word in {"1", "true", "on", "yes"}:
        return True
    return False if word in {"0", "false", "off", "no"} else None


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 < value <= 3600 else None  # noqa: PLR2004


def _rate(text: str) -> float | None:
    return 0.0 if re.fullmatch(r"0+(?:\.0*)?", text) else _seconds(text)


def _count(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,7}", text) and int(text) > 0 else None


def _patterns(text: str) -> tuple[str, ...] | None:
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    return parts if parts and all(_PATTERN.fullmatch(part) for part in parts) else None


def _gate(text: str) -> Gate | None:
    word = text.lower()
    return Gate(word) if word in {str(gate) for gate in GATES_OFFERED} else None


def _text(text: str) -> str:
    return text


_KINDS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "text": ("text", _text),
    "switch": ("on or off", _switch),
    "seconds": ("a number of seconds up to 3600", _seconds),
    "rate": ("a number of calls a second", _rate),
    "count": ("a whole number from 1 to 9999999", _count),
    "patterns": ("a list of names with commas between them", _patterns),
    "gate": ("one of " + ", ".join(GATES_OFFERED), _gate),
}


def _gates(values: Mapping[str, Any]) -> dict[Risk, Gate]:
    gates = {Risk.READ: Gate.ALLOW, Risk.WRITE: Gate.ALLOW}
    gates[Risk.DESTRUCTIVE] = values["GATE_DESTRUCTIVE"]
    gates[Risk.IRREVERSIBLE] = values["GATE_IRREVERSIBLE"]
    return gates


def _state_dir(said: str | None, env: Mapping[str, str]) -> Path:
    if said:
        return Path(os.path.expanduser(said)).absolute()  # noqa: PTH111  a ~ that is nobody's stays
    if sys.platform == "linux" and env.get("HOME") and not env.get("XDG_STATE_HOME"):
        return Path(env["HOME"]) / ".local" / "state" / "kartra-mcp"
    from platformdirs import user_state_path

    return user_state_path("kartra-mcp", appauthor=False)


def _home(env: Mapping[str, str]) -> Path:
    said = env.get("USERPROFILE" if sys.platform == "win32" else "HOME")
    return Path(said) if said else Path.home()


def flags_of(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """`--timeout 5 --sandbox` → ({"TIMEOUT": "5", "SANDBOX": "on"}, words not understood)."""
    by_flag = {setting.flag: setting for setting in SETTINGS}
    flags: dict[str, str] = {}
    left: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        flag, equals, value = word.partition("=")
        setting = by_flag.get(flag)
        if setting is None or setting.name in flags:
            left.append(word)
        elif equals:
            flags[setting.name] = value
        elif setting.kind == "switch":
            flags[setting.name] = "on"
        elif rest and not rest[0].startswith("--"):
            flags[setting.name] = rest.pop(0)
        else:
            left.append(word)
    return flags, left
