"""Factory of Membrane clients: the program and its environment, or the API. Starts nothing."""

from __future__ import annotations

from kartra_mcp.core.display import format_command
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.sanitize import redact_command
from kartra_mcp.core.shared_number import SharedNumber
from kartra_mcp.core.state_dir import StateDir
from kartra_mcp.core.timings import DEFAULT_CLOCKS, DEFAULT_TIMINGS, Clocks, WriteTimings
from kartra_mcp.membrane import executable
from kartra_mcp.membrane.cli_client import CliClient
from kartra_mcp.membrane.client import MembraneClient
from kartra_mcp.membrane.limiter import CallLimiter, CallPace, LocalPace, TokenBucket
from kartra_mcp.processes import runner
from kartra_mcp.settings import Settings, make_sandbox_command

PACE_FILE = "pace"
"""File of the state folder with the rate limit that its processes share."""


def make_membrane_client(
    settings: Settings,
    state: StateDir,
    run_program: runner.Run = runner.run,
    clocks: Clocks = DEFAULT_CLOCKS,
    writes: WriteTimings = DEFAULT_TIMINGS.writes,
    *,
    pace: CallPace | None = None,
) -> tuple[MembraneClient, str]:
    """Return the client for Membrane, and its name for display.

    `pace` is the rate limit of a team; by default the processes of the state folder share one.
    """
    if pace is None:
        shared = SharedNumber(settings.state_dir / PACE_FILE)
        pace = LocalPace(TokenBucket(settings.rate, shared))
    turns = CallLimiter(settings.max_children, pace)
    if settings.uses_http_api and settings.api:
        from kartra_mcp.membrane.http_client import HttpClient

        client = HttpClient(settings.api, turns, clocks, writes)
        return client, f"Membrane's API at {settings.api.host}"
    command = _transport_refusal(settings) or membrane_command(settings)
    cli = CliClient(command, membrane_env(settings, command), state.work_dir, turns, run_program)
    return cli, display_command(settings, command)


def _transport_refusal(settings: Settings) -> RefusedError | None:
    """Return why no transport can be used: the other one may be logged in to another account."""
    if settings.sandbox or settings.transport in {"cli", "auto"}:
        return None
    if settings.transport == "api":
        return RefusedError(
            "not_logged_in",
            "KARTRA_MCP_TRANSPORT is api, but there are no credentials that can be used: "
            f"{settings.api_error or 'none are set'}. Nothing was sent.",
            "Set them (docs/api.md), or set KARTRA_MCP_TRANSPORT to cli; then restart the server.",
        )
    return RefusedError(
        "program_missing",
        "KARTRA_MCP_TRANSPORT has an unknown value, so that Membrane cannot be used. "
        "Nothing was started.",
        "Set it to cli, api or auto, or unset it; then restart the server.",
    )


def membrane_command(settings: Settings) -> tuple[str, ...] | KartraMCPError:
    """Return the command that runs Membrane, or the error that every call then reports."""
    if settings.sandbox:
        return make_sandbox_command(settings)
    path = settings.environment.get("PATH", "")
    try:
        return executable.find_executable(settings.membrane, path, settings.platform, settings.home)
    except KartraMCPError as missing:
        return missing


def membrane_in_terminal(settings: Settings) -> str:
    """Return the command that starts Membrane's program in a terminal; "" if its name does.

    The program can be in a folder that is on no PATH, as npm's own folders often are.
    """
    if settings.sandbox or settings.uses_http_api:
        return ""
    path = settings.environment.get("PATH", "")
    if not settings.membrane and executable.is_on_path(path, settings.platform):
        return ""
    command = membrane_command(settings)
    if isinstance(command, KartraMCPError):
        return ""
    return format_command(redact_command(command), settings.platform)


def membrane_env(settings: Settings, command: tuple[str, ...] | KartraMCPError) -> dict[str, str]:
    """Return the allow-listed environment; a program in an npm folder must find node."""
    allowed = runner.make_child_env(settings.environment, settings.platform)
    if isinstance(command, KartraMCPError):
        return allowed
    path = executable.search_path(
        command, settings.environment.get("PATH", ""), settings.platform, settings.home
    )
    return {**allowed, "PATH": path}


def display_command(settings: Settings, command: tuple[str, ...] | KartraMCPError) -> str:
    if settings.sandbox:
        return "the embedded sandbox"
    return "not found" if isinstance(command, KartraMCPError) else " ".join(redact_command(command))
