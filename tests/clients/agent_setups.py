"""Installation and headless start of each agent: package, flags, variables, configuration. Pure.

Each lets its model call tools without approval, sends no telemetry and checks for no update.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVER = "kartra"
PROMPT = f"Do what is to be done with the tools of the server {SERVER}."


@dataclass(frozen=True)
class Setting:
    """Addresses and files for one agent."""

    folder: Path
    """The round's own; the agent's HOME is `home` in it."""
    model: str
    """The stand-in's address."""
    command: list[str]
    """The words that start our server, and the variables that the configuration sets for it."""
    variables: dict[str, str]
    patient: bool = True
    """Configure the agent to wait for the server, if it does not do so by default."""

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def entry(self) -> dict[str, Any]:
        """The server in a client's configuration."""
        program, *arguments = self.command
        return {"command": program, "args": arguments, "env": self.variables}

    def servers(self, **more: Any) -> str:
        """Return the `mcpServers` object that most clients read."""
        return json.dumps({"mcpServers": {SERVER: {**self.entry, **more}}}, indent=2)


@dataclass(frozen=True)
class Agent:
    """Installation and command line of one agent."""

    package: str
    version: str
    program: str
    how: str
    flags: Callable[[Setting], list[str]]
    variables: Callable[[Setting], Mapping[str, str]]
    files: Callable[[Setting], Mapping[str, str]]
    """Content of its configuration, by file under the round's folder."""
    folder: str = ""
    """The name it is installed under, where two share one."""


CLAUDE_CODE = Agent(
    package="@anthropic-ai/claude-code",
    version="2.1.330",
    program="claude",
    how="`claude -p --mcp-config FILE --strict-mcp-config --allowedTools mcp__kartra`",
    flags=lambda at: [
        "-p",
        PROMPT,
        "--mcp-config",
        str(at.folder / "mcp.json"),
        "--strict-mcp-config",
        "--allowedTools",
        f"mcp__{SERVER}",
    ],
    variables=lambda at: {
        "ANTHROPIC_BASE_URL": at.model,
        "ANTHROPIC_API_KEY": "none",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_AUTOUPDATER": "1",
    },
    files=lambda at: {"mcp.json": at.servers(type="stdio")},
)


def codex_config(at: Setting, model: str, server: str) -> str:
    """Return TOML; `server` is the table of our server."""
    return f"""\
model = "{model}"
model_provider = "stand-in"
check_for_update_on_startup = false

[model_providers.stand-in]
name = "stand-in"
base_url = "{at.model}/v1"
wire_api = "responses"
env_key = "STAND_IN_KEY"

[analytics]
enabled = false

[mcp_servers.{SERVER}]
{server}
"""


def _codex_server(at: Setting) -> str:
    """Return TOML; a JSON string or list of strings is valid TOML too."""
    command, *arguments = at.command
    settings = "\n".join(f"{name} = {json.dumps(value)}" for name, value in at.variables.items())
    return f"""\
command = {json.dumps(command)}
args = {json.dumps(arguments)}
required = {json.dumps(at.patient)}

[mcp_servers.{SERVER}.env]
{settings}"""


def _codex(model: str, how: str) -> Agent:
    """Codex. Its tool list and its way to call tools depend on the model's name."""
    return Agent(
        package="@openai/codex",
        version="0.169.0",
        program="codex",
        how=f"`codex exec --dangerously-bypass-approvals-and-sandbox`, `required = true`, {how}",
        flags=lambda _: [
            "exec",
            "--skip-git-repo-check",
            "--dangerously-bypass-approvals-and-sandbox",
            PROMPT,
        ],
        variables=lambda _: {"STAND_IN_KEY": "none"},
        files=lambda at: {CODEX_FILE: codex_config(at, model, _codex_server(at))},
        folder="codex",
    )


CODEX_FILE, CODEX_MODEL = "home/.codex/config.toml", "gpt-6.1-sol"
CODEX = _codex(CODEX_MODEL, "as for gpt-6.1-sol, which calls tools from code")
CODEX_SEARCH = _codex("gpt-5.5", "as for gpt-5.5, which calls tools that a search has found")


GEMINI_FILE = "home/.gemini/settings.json"


def gemini_settings(at: Setting) -> str:
    own = {
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "privacy": {"usageStatisticsEnabled": False},
        "telemetry": {"enabled": False},
        "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
    }
    return json.dumps({**own, **json.loads(at.servers())}, indent=2)


GEMINI = Agent(
    package="@google/gemini-cli",
    version="0.61.0",
    program="gemini",
    how="`gemini -p --yolo --skip-trust`",
    flags=lambda _: ["-p", PROMPT, "--yolo", "--skip-trust", "-m", "gemini-2.5-pro"],
    variables=lambda at: {"GEMINI_API_KEY": "none", "GOOGLE_GEMINI_BASE_URL": at.model},
    files=lambda at: {GEMINI_FILE: gemini_settings(at)},
)

COPILOT = Agent(
    package="@github/copilot",
    version="1.0.102",
    program="copilot",
    how="`copilot -p --additional-mcp-config @FILE --allow-all-tools`",
    flags=lambda at: [
        "-p",
        PROMPT,
        "--additional-mcp-config",
        f"@{at.folder / 'mcp.json'}",
        "--allow-all-tools",
        "--disable-builtin-mcps",
        "--no-auto-update",
        "--disable-client-telemetry",
    ],
    variables=lambda at: {
        "COPILOT_OFFLINE": "true",
        "COPILOT_PROVIDER_BASE_URL": f"{at.model}/v1",
        "COPILOT_PROVIDER_API_KEY": "none",
        "COPILOT_MODEL": "gpt-5",
    },
    files=lambda at: {"mcp.json": at.servers(type="local", tools=["*"])},
)
