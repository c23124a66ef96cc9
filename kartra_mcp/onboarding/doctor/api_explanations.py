"""Fixes for the doctor's findings when Membrane is reached by its API. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.models import Executed
from kartra_mcp.membrane.credentials import ADDRESSES, SECRET, TENANTS, TOKENS, WORKSPACE
from kartra_mcp.onboarding.doctor.findings import CheckResult, warning
from kartra_mcp.settings import Settings

RERUN_HINT = "Wait a minute, then run `kartra-mcp doctor` again."
CONNECT = (
    "Call kartra_connect in a client, or connect Kartra in Membrane's console, in the workspace "
    "and for the tenant of these credentials (docs/api.md)."
)
ANOTHER = (
    "Set KARTRA_MCP_CONNECTION to the id of a Kartra connection of this workspace and tenant "
    "(docs/api.md)."
)
RECONNECT = "Call kartra_connect in a client to reconnect Kartra (docs/api.md)."
CONSOLE = "Look in Membrane's console, in the workspace of these credentials (docs/api.md)."


@dataclass(frozen=True, slots=True)
class ApiTarget:
    """Address of the API, and the names of the variables that hold its credentials."""

    address: str
    variables: tuple[str, ...]

    @property
    def reach(self) -> str:
        look = f"`curl -sSI {shlex.quote(self.address)}`"
        return (
            f"Run {look} to test the connection, which uses HTTPS_PROXY if set. "
            f"{ADDRESSES[0]} sets the address of the API."
        )

    @property
    def correct(self) -> str:
        names = format_names(self.variables)
        return f"Correct {names}. {ADDRESSES[0]} sets where they are sent (docs/api.md)."

    def suggest_fix(self, problem: KartraMCPError | None) -> str:
        """Return the fix for rejected credentials, else the fix for an unreachable address."""
        return self.correct if problem and _is_credentials_error(problem) else self.reach


def make_api_target(settings: Settings) -> ApiTarget | None:
    """Return the API target, or None if Membrane's program is used instead."""
    if settings.api is None or not settings.uses_http_api:
        return None
    return ApiTarget(settings.api.address, _find_secrets(settings))


def variables_to_hand_over(settings: Settings) -> tuple[str, ...]:
    """Return the names of the variables that a client's entry needs for the API, without values."""
    if not settings.uses_http_api:
        return ()
    return (*_find_first_set(settings.environment, ADDRESSES), *_find_secrets(settings))


def incomplete_credentials(settings: Settings) -> list[CheckResult]:
    """Warn about credentials that are ignored: the program may serve another account."""
    over = settings.ignored_api_notice
    return [warning("settings", *over)] if over else []


def format_names(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _is_credentials_error(problem: KartraMCPError) -> bool:
    """Return true if Membrane answered with an error key that it documents."""
    known = problem.code == "membrane_error" and problem.executed is Executed.NO
    return problem.code == "not_logged_in" or (known and problem.has_response)


def _find_secrets(settings: Settings) -> tuple[str, ...]:
    """Return the token's variable, else the variables from which a token is requested."""
    token = _find_first_set(settings.environment, TOKENS)
    return token or (WORKSPACE, SECRET, *_find_first_set(settings.environment, TENANTS))


def _find_first_set(environment: Mapping[str, str], names: Sequence[str]) -> tuple[str, ...]:
    values = ((name, environment.get(name, "").strip()) for name in names)
    return tuple(name for name, text in values if text and not text.startswith("${"))[:1]
