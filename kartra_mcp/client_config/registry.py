"""Supported clients: path of the configuration and shape of an entry.

Sources: each client's own documentation. docs/clients contains what was tested here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from kartra_mcp.client_config.entry import ServerEntry
from kartra_mcp.core.json_types import is_object

Form = Literal["json", "toml", "yaml"]

ELICITATION_SECONDS = 300
"""Timeout for one call: longer than the 240 s for which a form waits for the user."""

START_SECONDS = 30


@dataclass(frozen=True, slots=True)
class ConfigPath:
    """A file, and the folder whose existence means that the client is installed.

    Both are absolute paths; `*` matches any name.
    """

    file: str
    folder: str


@dataclass(frozen=True, slots=True)
class Platform:
    """Inputs that decide the paths: `sys.platform`, the home folder, the environment."""

    platform: str
    home: str
    env: Mapping[str, str]

    def absolute_path(self, variable: str, otherwise: str) -> str:
        """Return an absolute path from the environment. Clients ignore relative ones too."""
        path = self.env.get(variable, "")
        absolute = path.startswith(("/", "\\")) or path[1:2] == ":"
        return path if absolute else otherwise

    @property
    def roaming(self) -> str:
        return self.absolute_path("APPDATA", f"{self.home}/AppData/Roaming")

    @property
    def local(self) -> str:
        return self.absolute_path("LOCALAPPDATA", f"{self.home}/AppData/Local")

    @property
    def config(self) -> str:
        """Return the XDG configuration folder, for programs that also use it on macOS."""
        return self.absolute_path("XDG_CONFIG_HOME", f"{self.home}/.config")

    @property
    def application_data(self) -> str:
        """Return the folder that Electron programs use."""
        if self.platform == "win32":
            return self.roaming
        support = f"{self.home}/Library/Application Support"
        return support if self.platform == "darwin" else self.config


@dataclass(frozen=True, slots=True)
class ClientSpec:
    """One client.

    Attributes:
        outer: name of the object that contains the servers.
        places: candidate files; the first whose folder exists is used.
        fixed: fields that every entry must have.
        defaults: fields of a new entry that the user may change.
        then: next step for the user, a sentence.
    """

    name: str
    title: str
    form: Form
    outer: str
    places: Callable[[Platform], tuple[ConfigPath, ...]]
    then: str
    command: str = "command"
    env: str = "env"
    fixed: Mapping[str, Any] = field(default_factory=dict[str, Any])
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])
    named: bool = False

    def make_entry(
        self, entry: ServerEntry, now: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Build the entry for the file; the user's additions in `now` are kept."""
        had = now or {}
        own = {"name": entry.name} if self.named else {}
        own |= {**self.fixed, self.command: entry.command, "args": list(entry.args)}
        settings = had.get(self.env)
        kept: dict[str, Any] = dict(settings) if is_object(settings) else {}
        env = {**kept, **entry.env}
        return {**had, **own, **({self.env: env} if env else {})} | {
            name: had.get(name, value) for name, value in self.defaults.items()
        }


def _claude_desktop(at: Platform) -> tuple[ConfigPath, ...]:
    plain = _in_folder(f"{at.application_data}/Claude", "claude_desktop_config.json")
    if at.platform != "win32":
        return (plain,)
    packaged = (
        f"{at.local}/Claude-Data/claude*",
        f"{at.local}/Packages/Claude_*/LocalCache/Roaming/Claude",
    )
    return (*(_in_folder(folder, "claude_desktop_config.json") for folder in packaged), plain)


def _claude_code(at: Platform) -> tuple[ConfigPath, ...]:
    own = at.absolute_path("CLAUDE_CONFIG_DIR", "")
    if own:
        return (_in_folder(own, ".claude.json"),)
    return (ConfigPath(f"{at.home}/.claude.json", f"{at.home}/.claude"),)


def _cursor(at: Platform) -> tuple[ConfigPath, ...]:
    return (_in_folder(f"{at.home}/.cursor", "mcp.json"),)


def _vscode(at: Platform) -> tuple[ConfigPath, ...]:
    return (_in_folder(f"{at.application_data}/Code/User", "mcp.json"),)


def _windsurf(at: Platform) -> tuple[ConfigPath, ...]:
    return (_in_folder(f"{at.home}/.codeium/windsurf", "mcp_config.json"),)


def _codex(at: Platform) -> tuple[ConfigPath, ...]:
    return (_in_folder(at.absolute_path("CODEX_HOME", f"{at.home}/.codex"), "config.toml"),)


def _gemini(at: Platform) -> tuple[ConfigPath, ...]:
    return (_in_folder(f"{at.absolute_path('GEMINI_CLI_HOME', at.home)}/.gemini", "settings.json"),)


def _goose(at: Platform) -> tuple[ConfigPath, ...]:
    root = at.absolute_path("GOOSE_PATH_ROOT", "")
    if root:
        return (_in_folder(f"{root}/config", "config.yaml"),)
    windows = f"{at.roaming}/Block/goose/config"
    return (_in_folder(windows if at.platform == "win32" else f"{at.config}/goose", "config.yaml"),)


def _zed(at: Platform) -> tuple[ConfigPath, ...]:
    folders = {"win32": f"{at.roaming}/Zed", "darwin": f"{at.home}/.config/zed"}
    return (_in_folder(folders.get(at.platform, f"{at.config}/zed"), "settings.json"),)


def _lm_studio(at: Platform) -> tuple[ConfigPath, ...]:
    folders = (f"{at.home}/.lmstudio", f"{at.home}/.cache/lm-studio")
    return tuple(_in_folder(folder, "mcp.json") for folder in folders)


def _in_folder(folder: str, file: str) -> ConfigPath:
    return ConfigPath(f"{folder}/{file}", folder)


_STDIO = {"type": "stdio"}

CLIENTS: tuple[ClientSpec, ...] = (
    ClientSpec(
        "claude-desktop",
        "Claude Desktop",
        "json",
        "mcpServers",
        _claude_desktop,
        "Quit Claude Desktop (closing its window is not enough) and start it again.",
    ),
    ClientSpec(
        "claude-code",
        "Claude Code",
        "json",
        "mcpServers",
        _claude_code,
        "Start a new `claude`; `/mcp` lists the servers.",
        fixed=_STDIO,
    ),
    ClientSpec(
        "cursor",
        "Cursor",
        "json",
        "mcpServers",
        _cursor,
        "Restart Cursor; its settings list the server under MCP.",
        fixed=_STDIO,
    ),
    ClientSpec(
        "vscode",
        "VS Code",
        "json",
        "servers",
        _vscode,
        "In VS Code run `MCP: List Servers` from the command palette and start it.",
        fixed=_STDIO,
    ),
    ClientSpec(
        "windsurf",
        "Windsurf",
        "json",
        "mcpServers",
        _windsurf,
        "Restart Windsurf, or refresh the servers in Cascade's panel.",
    ),
    ClientSpec(
        "codex",
        "Codex CLI",
        "toml",
        "mcp_servers",
        _codex,
        "Start a new `codex`; `/mcp` lists the servers.",
        defaults={"startup_timeout_sec": START_SECONDS, "tool_timeout_sec": ELICITATION_SECONDS},
    ),
    ClientSpec(
        "gemini",
        "Gemini CLI",
        "json",
        "mcpServers",
        _gemini,
        "Start a new `gemini`; `/mcp` lists the servers.",
        defaults={"timeout": ELICITATION_SECONDS * 1000},
    ),
    ClientSpec(
        "goose",
        "Goose",
        "yaml",
        "extensions",
        _goose,
        "Start a new Goose session; its settings list the extension.",
        command="cmd",
        env="envs",
        fixed=_STDIO,
        defaults={
            "enabled": True,
            "description": "Kartra, through Membrane",
            "timeout": ELICITATION_SECONDS,
        },
        named=True,
    ),
    ClientSpec(
        "zed",
        "Zed",
        "json",
        "context_servers",
        _zed,
        "Zed loads the entry at once; its agent settings list the server.",
    ),
    ClientSpec(
        "lm-studio",
        "LM Studio",
        "json",
        "mcpServers",
        _lm_studio,
        "Restart LM Studio and enable the server in a chat's integrations.",
    ),
)

BY_NAME: Mapping[str, ClientSpec] = {client.name: client for client in CLIENTS}
