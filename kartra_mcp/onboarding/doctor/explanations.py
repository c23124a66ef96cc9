"""Findings for the steps from Node.js to one read, worded for the user. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kartra_mcp.account.selection import require_usable, shell_quote_id
from kartra_mcp.account.snapshot import AccountSnapshot
from kartra_mcp.catalogue.catalogue import ActionTool
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.models import Connection, Gate, Risk
from kartra_mcp.membrane.client import ProgramInfo
from kartra_mcp.onboarding.doctor import api_explanations
from kartra_mcp.onboarding.doctor.findings import (
    CheckResult,
    failed,
    passed,
    skipped,
    steps_after,
    warning,
)
from kartra_mcp.policy import gates, risk
from kartra_mcp.policy.gates import Policy

OLDEST_NODE = 18
"""Older versions have no `fetch` and get no fixes since 2025. The program's own minimum is not
documented."""

SAFE_READS = (
    "retrieve_account_lists",
    "retrieve_account_tags",
    "retrieve_account_sequences",
    "retrieve_account_pages",
)
"""Commands that read only names chosen by the account's owner; the first one listed is used."""

ASKS_A_MODEL = "ask kartra_connect, where it is listed, or run"
ASKS_A_MODEL_FIRST = ASKS_A_MODEL.capitalize()
"""Part of a remedy for a chat; removed in a terminal, where only the command helps."""

GET_NODE = {
    "darwin": "brew install node",
    "win32": "winget install OpenJS.NodeJS.LTS",
}


@dataclass(frozen=True, slots=True)
class MembraneTarget:
    """The transport to Membrane, as findings name it.

    Attributes:
        command: the program with its first arguments, or the address of the API.
        call: the command that the user types for the program.
        reset: the fix for a broken sandbox; "" for a real account.
        api: the API's target; None if the program is used.
    """

    command: str
    call: str
    reset: str = ""
    api: api_explanations.ApiTarget | None = None

    def suggest_fix(self, sentence: str, by_api: str = "") -> str:
        """Return the fix with the user's own command, or its variant for the API."""
        if self.api and by_api:
            return by_api
        typed = sentence.replace("`membrane ", f"`{self.call} ")
        return self.reset or typed.replace(ASKS_A_MODEL, "run").replace(ASKS_A_MODEL_FIRST, "Run")


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """Node.js on this machine: its path (None if missing), version output, and need for it."""

    place: str | None
    output: str = ""
    needed: bool = True
    on_short_path: bool = True

    @property
    def major(self) -> int | None:
        number = self.output.strip().removeprefix("v").partition(".")[0]
        return int(number) if number.isdecimal() else None


def check_node(found: NodeInfo, platform: str, *, program_runs: bool) -> CheckResult:
    """Check that a Node.js exists that can run Membrane's program."""
    get = f"`{GET_NODE.get(platform, 'sudo apt install nodejs npm')}`, or https://nodejs.org."
    if not found.needed:
        return passed("node", "Node.js is not needed by the program that is used.")
    if found.place is None:
        return failed("node", "Node.js, which runs Membrane's program, was not found.", get)
    if found.major is None:
        message = f"{found.place} does not print its version, so it is not a working Node.js."
        return failed("node", message, get, found.output)
    version = f"Node.js {found.output.strip()} at {found.place}"
    if found.major < OLDEST_NODE:
        made = warning if program_runs else failed
        return made("node", f"{version} is too old: {OLDEST_NODE} or newer is required.", get)
    if not found.on_short_path:
        fix = "Start the client from this shell, or install Node.js in a usual place."
        return warning("node", f"{version}, where a desktop program would not find it.", fix)
    return passed("node", f"{version}.")


def missing_program(problem: KartraMCPError, idle: str) -> CheckResult:
    """Report a missing program. `idle` is a file of its name that is not executable, or ""."""
    if idle:
        return failed("program", f"{idle} is not executable.", f"`chmod +x {idle}`")
    return failed("program", problem.message, problem.remedy)


def check_version(
    way: MembraneTarget, reported: ProgramInfo | KartraMCPError, *, on_short_path: bool
) -> CheckResult | None:
    """Return the finding that `--version` proves, or None if only the next step can decide."""
    if isinstance(reported, KartraMCPError):
        if reported.code in ("program_missing", "internal_error"):
            return failed("program", reported.message, reported.remedy)
        return None
    if reported.is_membrane is None:
        return None
    if not reported.is_membrane:
        return _program_wrong(way, reported)
    return _program_right(way, reported, on_short_path=on_short_path)


def check_version_and_connections(
    way: MembraneTarget,
    reported: ProgramInfo | KartraMCPError,
    served: AccountSnapshot,
    *,
    on_short_path: bool,
) -> CheckResult:
    """Return the finding for the program after its connections were requested."""
    problem = served.error
    slow = isinstance(reported, KartraMCPError)
    if problem and problem.code == "program_missing":
        return failed("program", problem.message, problem.remedy)
    if problem and problem.code == "wrong_program":
        return _program_wrong(way, ProgramInfo() if slow else reported)
    if slow and (problem is None or problem.code == "timed_out") and served.confirmed_at is None:
        return failed(
            "program",
            f"The program {way.command} hangs, even at `--version`.",
            way.suggest_fix("Run `membrane --version` in a terminal to see why it waits."),
        )
    if served.program and served.program.is_membrane:
        return _program_right(way, served.program, on_short_path=on_short_path)
    message = f"{way.command} runs but prints no version. It may not be Membrane's."
    return warning("program", message, "`npm install -g @membranehq/cli` installs the newest.")


def _program_right(
    way: MembraneTarget, reported: ProgramInfo, *, on_short_path: bool
) -> CheckResult:
    if way.api:
        return passed("program", f"Not needed: the API at {way.command} is used.")
    message = f"{way.command}, version {reported.version or 'unknown'}"
    if on_short_path:
        return passed("program", f"{message}.")
    return warning(
        "program",
        f"{message}, in a folder where a desktop program would not find it.",
        f"`kartra-mcp install CLIENT --membrane {way.command}` writes it into the client's entry.",
    )


def _program_wrong(way: MembraneTarget, reported: ProgramInfo) -> CheckResult:
    version = f", version {reported.version}" if reported.version else ""
    return failed(
        "program",
        f"{way.command} is called membrane{version}, but is not Membrane's command line.",
        way.suggest_fix(
            "`npm install -g @membranehq/cli`, or set KARTRA_MCP_MEMBRANE to its full path."
        ),
        reported.output,
    )


def check_login_and_account(
    way: MembraneTarget, served: AccountSnapshot, *, asked: bool | None
) -> list[CheckResult]:
    """Return the findings for login, connection and actions after the refresh.

    Args:
        way: the transport to Membrane.
        served: the account after the refresh.
        asked: the login state that the program reports, if the refresh did not prove it.
    """
    problem, confirmed = served.error, served.confirmed_at is not None
    out = problem is not None and problem.code == "not_logged_in"
    if out or (not confirmed and asked is False):
        return [
            _login_missing(way, problem if out else None),
            *skipped(steps_after("login"), "login"),
        ]
    if confirmed:
        return [passed("login", "Logged in to Membrane."), *_check_connection(way, served)]
    login = {
        True: passed("login", "Logged in to Membrane."),
        False: _login_missing(way, None),
        None: warning("login", _login_inconclusive(way)),
    }[True if _is_about_connections(problem) else asked]
    return [
        login,
        _connection_missing(way, problem),
        *skipped(steps_after("connection"), "connection"),
    ]


def _is_about_connections(problem: KartraMCPError | None) -> bool:
    return problem is not None and problem.code in ("no_connection", "several_connections")


def _login_inconclusive(way: MembraneTarget) -> str:
    if way.api:
        return f"It is unknown whether {way.command} accepts these credentials."
    return "It is unknown whether the program is logged in."


def _login_missing(way: MembraneTarget, problem: KartraMCPError | None) -> CheckResult:
    detail = quote_detail(problem.detail if problem else None)
    if way.api:
        message = f"{way.command} rejects these credentials. They are wrong or have expired."
        return failed("login", message, way.api.correct, detail)
    message = "Membrane's program is not logged in, or its login has expired."
    return failed(
        "login",
        message,
        way.suggest_fix("`kartra-mcp setup`, or `membrane login --tenant`."),
        detail,
    )


def _connection_missing(way: MembraneTarget, problem: KartraMCPError | None) -> CheckResult:
    if problem is None:
        message = "Membrane did not list the connections in time."
        fix = way.suggest_fix(_ASK_AGAIN, _suggest_api_fix(way, None))
        return failed("connection", message, fix)
    if problem.code == "several_connections":
        fix = "`kartra-mcp install CLIENT --connection ID`, or set KARTRA_MCP_CONNECTION to it."
        return failed(
            "connection", problem.message, way.suggest_fix(fix), quote_detail(problem.detail)
        )
    if problem.code == "no_connection" and problem.detail:
        listed = "`membrane connection list --json` shows them."
        fix = f"Set KARTRA_MCP_CONNECTION to the id of a Kartra connection: {listed}"
        fix = way.suggest_fix(fix, api_explanations.ANOTHER)
        return failed("connection", problem.message, fix, quote_detail(problem.detail))
    if problem.code in ("no_connection", "rate_limited", "connection_not_ready"):
        limited = problem.code == "rate_limited"
        fix = way.suggest_fix(
            problem.remedy, api_explanations.RERUN_HINT if limited else api_explanations.CONNECT
        )
        return failed("connection", problem.message, fix, quote_detail(problem.detail))
    message = f"The connections could not be read: {problem.message}"
    fix = way.suggest_fix(_ASK_AGAIN, _suggest_api_fix(way, problem))
    return failed("connection", message, fix, quote_detail(problem.detail))


_ASK_AGAIN = "Run `membrane connection list --json` in a terminal to see its own message."


def _suggest_api_fix(way: MembraneTarget, problem: KartraMCPError | None) -> str:
    """Return the fix for the API, or "" if the program is used."""
    return way.api.suggest_fix(problem) if way.api else ""


def _check_connection(way: MembraneTarget, served: AccountSnapshot) -> list[CheckResult]:
    connection = served.connection
    assert connection is not None  # noqa: S101  it was confirmed
    try:
        require_usable(connection)
    except KartraMCPError as problem:
        found = _connection_not_ready(way, connection, problem)
        return [found, *skipped(steps_after("connection"), "connection")]
    named = f"{connection.name or connection.key or 'Kartra'} ({connection.id})"
    return [passed("connection", f"{named} is {connection.state}."), *_check_actions(way, served)]


def _connection_not_ready(
    way: MembraneTarget, connection: Connection, problem: KartraMCPError
) -> CheckResult:
    if connection.state == "BUILDING":
        fix = (
            f"`membrane connection get {shell_quote_id(connection.id)} --wait --json`, then "
            "run `kartra-mcp doctor` again."
        )
        fix = way.suggest_fix(fix, api_explanations.RERUN_HINT)
        message = f"Membrane is still building the Kartra connection {connection.id!r} (BUILDING)."
        return failed("connection", message, fix, connection.error)
    fix = way.suggest_fix(problem.remedy, api_explanations.CONNECT)
    return failed("connection", problem.message, fix, connection.error)


def _check_actions(way: MembraneTarget, served: AccountSnapshot) -> list[CheckResult]:
    connection = served.connection.id if served.connection else ""
    listed = f"`membrane action list --connectionId={shell_quote_id(connection)} --json`"
    shown = f"{listed} shows them."
    fix = way.suggest_fix(shown, api_explanations.CONSOLE)
    number, left = served.catalogue.action_count, served.catalogue.left_out
    if served.error:
        message = f"The list of actions could not be read: {served.error.message}"
        fix = way.suggest_fix(shown, api_explanations.RERUN_HINT)
        found = failed("actions", message, fix, quote_detail(served.error.detail))
    elif not number:
        message = "Membrane lists no action for this connection that can be a tool."
        found = failed("actions", message, fix, "; ".join(left[:3]))
    elif served.partial or not served.complete:
        message = f"{number} actions, but the list is incomplete."
        newest = "`npm install -g @membranehq/cli` installs the newest."
        found = warning("actions", message, way.suggest_fix(newest, api_explanations.RERUN_HINT))
    elif left:
        message = f"{number} actions; {len(left)} cannot be tools."
        found = warning("actions", message, fix, "; ".join(left[:3]))
    else:
        return [passed("actions", f"{number} actions.")]
    return [found, *(skipped(steps_after("actions"), "actions") if found.state == "failed" else [])]


def pick_safe_read(entries: Iterable[ActionTool], rules: Policy) -> ActionTool | None:
    """Return a read that needs no argument and may run at once, or None."""
    able = [e for e in entries if _is_harmless(e, rules)]
    order = {risk.find_action_command(e.action): e for e in reversed(able)}
    return next((order[command] for command in SAFE_READS if command in order), None)


def _is_harmless(entry: ActionTool, rules: Policy) -> bool:
    reads = entry.risk is Risk.READ and not entry.portable.advertised.get("required")
    allowed = gates.hidden_reason(entry.min_risk, entry.names, rules) is None
    return reads and allowed and gates.resolve_gate(Risk.READ, entry.names, rules) is Gate.ALLOW


def read_skipped() -> CheckResult:
    message = "No read was tried: none is both allowed and free of required arguments."
    return warning("read", message, "`kartra-mcp tools` shows the listed tools and the reasons.")


def read_failed(
    way: MembraneTarget, tool: str, connection: str, problem: KartraMCPError
) -> CheckResult:
    """Report a read through `tool` that failed."""
    message = f"{tool} failed: {problem.message}"
    reconnect = f"`membrane connect --connectionId={shell_quote_id(connection)}` reconnects."
    fix = f"{problem.remedy} {reconnect}"
    if problem.code == "rate_limited":
        fix = api_explanations.RERUN_HINT
    elif way.api and problem.code in ("membrane_error", "not_logged_in"):
        fix = way.api.suggest_fix(problem)
    elif way.api and problem.code == "kartra_error":
        fix = f"{problem.remedy} {api_explanations.RECONNECT}"
    elif problem.code in ("timed_out", "internal_error"):
        fix = f"{problem.remedy} Run `kartra-mcp doctor` again to see if it persists."
    return failed("read", message, way.suggest_fix(fix), quote_detail(problem.detail))


def quote_detail(detail: Any) -> str:
    """Quote untrusted output as JSON."""
    return "" if not detail else json.dumps(detail, ensure_ascii=True)[:1_000]
