"""Payload of `kartra_status`: the account served, the policy, and a remedy for each problem."""

from __future__ import annotations

import time
from typing import Any

from kartra_mcp import __version__
from kartra_mcp.account.selection import connection_summary, require_usable
from kartra_mcp.account.snapshot import AccountSnapshot
from kartra_mcp.catalogue.overview import list_unmatched_patterns
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.principal import Principal
from kartra_mcp.policy.fingerprint import rules_as_dict
from kartra_mcp.policy.gates import Policy
from kartra_mcp.policy.limits import limits_as_dict
from kartra_mcp.policy.roles import call_rights
from kartra_mcp.settings import Settings


def build_status(
    served: AccountSnapshot, settings: Settings, rules: Policy, program: str, state_problem: str
) -> dict[str, Any]:
    """Return the whole payload.

    Args:
        served: the account after a refresh.
        settings: of this process.
        rules: the policy in force.
        program: the command that runs Membrane, for display.
        state_problem: the reason why the state folder is not writable, or "".
    """
    over = settings.ignored_api_notice
    problems = [
        *_list_problems(served),
        *([{"message": over[0], "remedy": over[1]}] if over else []),
    ]
    return {
        "account": "SANDBOX" if settings.sandbox else "real",
        "server": f"kartra-mcp {__version__}",
        "program": _program_status(served, settings, program),
        "login": _login_status(served),
        "connection": connection_summary(served.connection) if served.connection else None,
        "actions": _actions_status(served),
        "rules": _rules_status(rules, settings),
        "settings_not_usable": [str(problem) for problem in settings.errors],
        **({} if settings.team_title else {"state_folder": str(settings.state_dir)}),
        "problems": [
            *problems,
            *([{"message": state_problem}] if state_problem else []),
            *_unmatched_patterns(served, rules),
        ],
        "healthy": not problems and not settings.errors and not state_problem,
    }


def describe_caller(principal: Principal, settings: Settings) -> dict[str, Any]:
    """Return who calls and what they may do here, for the status of a team's account."""
    return {
        "title": settings.team_title,
        "you": {
            "name": principal.name,
            "roles": sorted(principal.roles),
            "scopes": sorted(principal.scopes),
            "rights": sorted(call_rights(principal)),
        },
    }


def _unmatched_patterns(served: AccountSnapshot, rules: Policy) -> list[dict[str, Any]]:
    """Return the patterns that match no tool, once the actions are known."""
    if not served.fetched_at:
        return []
    found = list_unmatched_patterns(served.catalogue.entries.values(), rules)
    return [{"message": one.message, "remedy": one.remedy} for one in found]


def _program_status(served: AccountSnapshot, settings: Settings, program: str) -> dict[str, Any]:
    """Return the transport, and why existing credentials for the API are not used."""
    found = served.program
    known = {True: "yes", False: "no", None: "not yet"}[found.is_membrane if found else None]
    lacks = "" if settings.sandbox else settings.api_error
    return {
        "command": program,
        "transport": "api" if settings.uses_http_api else "cli",
        **({"api_not_used": lacks} if lacks else {}),
        "version": found.version if found else "",
        "is_membrane": known,
    }


def _login_status(served: AccountSnapshot) -> str:
    if served.error and served.error.code == "not_logged_in":
        return "no"
    if served.confirmed_at is not None:
        return "yes"
    return {True: "yes", False: "no", None: "unknown"}[served.login]


def _actions_status(served: AccountSnapshot) -> dict[str, Any]:
    listed = served.fetched_at > 0
    age = max(0, round(time.time() - served.fetched_at)) if listed else None
    return {
        "number": served.catalogue.action_count,
        "age_seconds": age,
        "stale": served.stale,
        "complete": served.complete,
        "left_out": list(served.catalogue.left_out),
    }


def _rules_status(rules: Policy, settings: Settings) -> dict[str, Any]:
    found = rules_as_dict(rules)
    return {
        "gates": found["gates"],
        "tools": found["tools"],
        "gates_of_tools": found["tools"],
        "limits": limits_as_dict(settings.limits),
        "approval": "outside" if settings.out_of_band_approval else "client",
        "read_only": found["read_only"],
        "check_lead": found["check_lead"],
        "allow": found["allow"] or "all",
        "deny": found["deny"],
    }


def _list_problems(served: AccountSnapshot) -> list[dict[str, Any]]:
    problems = (
        served.error,
        _unusable_connection_error(served),
        _unconfirmed_error(served),
        _partial_list_error(served),
    )
    found = [problem for problem in problems if problem]
    program = served.program
    if served.error is None and program and not program.is_membrane:
        found.append(
            RefusedError(
                "wrong_program",
                "The program was not recognized as Membrane's; writes are refused.",
                "Set KARTRA_MCP_MEMBRANE to the full path of Membrane's program.",
            )
        )
    return [_error_summary(problem) for problem in found]


def _unconfirmed_error(served: AccountSnapshot) -> KartraMCPError | None:
    if served.confirmed_at is not None or served.error:
        return None
    return RefusedError(
        "catalogue_unavailable",
        "Membrane did not answer in time; these values are stored ones and not confirmed.",
        "Call kartra_status again in a minute, or raise KARTRA_MCP_TIMEOUT.",
    )


def _partial_list_error(served: AccountSnapshot) -> KartraMCPError | None:
    if not served.partial:
        return None
    return RefusedError(
        "catalogue_unavailable",
        "The list of actions could not be read completely; stored entries fill in.",
        "Call kartra_status again in a minute; if this persists, update the membrane program.",
    )


def _unusable_connection_error(served: AccountSnapshot) -> KartraMCPError | None:
    if served.connection is None:
        return None
    try:
        require_usable(served.connection)
    except KartraMCPError as problem:
        return problem
    return None


def _error_summary(problem: KartraMCPError) -> dict[str, Any]:
    payload = problem.as_dict()
    shown = ("code", "message", "remedy", "detail")
    return {name: payload[name] for name in shown if name in payload}
