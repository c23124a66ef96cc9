"""What the server met on its way to the account, as findings in words for a person. Pure."""

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
"""Older ones have no `fetch` and have not been mended since 2025; which one the program itself
asks for is not known here."""

SAFE_READS = (
    "retrieve_account_lists",
    "retrieve_account_tags",
    "retrieve_account_sequences",
    "retrieve_account_pages",
)
"""Commands that only read names which the account's owner gave, the first that is listed."""

ASKS_A_MODEL = "ask kartra_connect, where it is listed, or run"
ASKS_A_MODEL_FIRST = ASKS_A_MODEL.capitalize()
"""In a remedy for a chat; in a terminal only the command helps."""

GET_NODE = {
    "darwin": "brew install node",
    "win32": "winget install OpenJS.NodeJS.LTS",
}


@dataclass(frozen=True, slots=True)
class MembraneTarget:
    """How this server reaches Membrane.

    `command` is the program with its first arguments, or where the API is, `call` what a person
    types for it. `reset` mends a sandbox, "" for a real account. `door` is None for the program.
    """

    command: str
    call: str
    reset: str = ""
    door: api_explanations.ApiTarget | None = None

    def suggest_fix(self, sentence: str, by_api: str = "") -> str:
        """The sentence, or what stands for it where there is no program to type."""
        if self.door and by_api:
            return by_api
        typed = sentence.replace("`membrane ", f"`{self.call} ")
        return self.reset or typed.replace(ASKS_A_MODEL, "run").replace(ASKS_A_MODEL_FIRST, "Run")


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """Where node is, None where it is not; what its `--version` printed; whether it is needed."""

    place: str | None
    said: str = ""
    needed: bool = True
    on_short_path: bool = True

    @property
    def major(self) -> int | None:
        number = self.said.strip().removeprefix("v").partition(".")[0]
        return int(number) if number.isdecimal() else None


def check_node(found: NodeInfo, platform: str, *, program_runs: bool) -> CheckResult:
    """Whether there is a Node.js that can run Membrane's program."""
    get = f"`{GET_NODE.get(platform, 'sudo apt install nodejs npm')}`, or https://nodejs.org."
    if not found.needed:
        return passed("node", "Node.js is not needed by the program that is used.")
    if found.place is None:
        return failed("node", "Node.js, which runs Membrane's program, was not found.", get)
    if found.major is None:
        says = f"{found.place} does not say its version, so it is no Node.js that runs."
        return failed("node", says, get, found.said)
    if found.major < OLDEST_NODE:
        made = warning if program_runs else failed
        says = f"Node.js {found.said.strip()} at {found.place} is too old: {OLDEST_NODE} or newer."
        return made("node", says, get)
    says = f"Node.js {found.said.strip()} at {found.place}"
    if not found.on_short_path:
        mend = "Start the client from this shell, or install Node.js in a usual place."
        return warning("node", f"{says}, where a desktop program would not find it.", mend)
    return passed("node", f"{says}.")


def missing_program(problem: KartraMCPError, idle: str) -> CheckResult:
    """`idle` is a file of the program's name that may not be run, or ""."""
    if idle:
        return failed("program", f"{idle} is there, but may not be run.", f"`chmod +x {idle}`")
    return failed("program", problem.message, problem.remedy)


def check_version(
    way: MembraneTarget, said: ProgramInfo | KartraMCPError, *, on_short_path: bool
) -> CheckResult | None:
    """What `--version` proves; None where only the next step tells."""
    if isinstance(said, KartraMCPError):
        if said.code in ("program_missing", "internal_error"):
            return failed("program", said.message, said.remedy)
        return None
    if said.is_membrane is None:
        return None
    if not said.is_membrane:
        return _program_wrong(way, said)
    return _program_right(way, said, on_short_path=on_short_path)


def check_version_and_connections(
    way: MembraneTarget,
    said: ProgramInfo | KartraMCPError,
    served: AccountSnapshot,
    *,
    on_short_path: bool,
) -> CheckResult:
    """The same, after it was asked for the connections."""
    problem = served.error
    slow = isinstance(said, KartraMCPError)
    if problem and problem.code == "program_missing":
        return failed("program", problem.message, problem.remedy)
    if problem and problem.code == "wrong_program":
        return _program_wrong(way, ProgramInfo() if slow else said)
    if slow and (problem is None or problem.code == "timed_out") and served.confirmed_at is None:
        return failed(
            "program",
            f"The program {way.command} does not answer: it hangs, even at `--version`.",
            way.suggest_fix("Run `membrane --version` in a terminal to see what it waits for."),
        )
    if served.program and served.program.is_membrane:
        return _program_right(way, served.program, on_short_path=on_short_path)
    says = f"{way.command} answers, but not with a version: whether it is Membrane's is open."
    return warning("program", says, "`npm install -g @membranehq/cli` installs the newest.")


def _program_right(way: MembraneTarget, said: ProgramInfo, *, on_short_path: bool) -> CheckResult:
    if way.door:
        return passed("program", f"None is needed: {way.command} is asked.")
    says = f"{way.command}, version {said.version or 'not told'}"
    if on_short_path:
        return passed("program", f"{says}.")
    return warning(
        "program",
        f"{says}, in a folder where a desktop program would not find it.",
        f"`kartra-mcp install CLIENT --membrane {way.command}` writes it into the client's entry.",
    )


def _program_wrong(way: MembraneTarget, said: ProgramInfo) -> CheckResult:
    version = f", version {said.version}" if said.version else ""
    return failed(
        "program",
        f"{way.command} is called membrane{version}, but is not Membrane's command line.",
        way.suggest_fix(
            "`npm install -g @membranehq/cli`, or set KARTRA_MCP_MEMBRANE to its full path."
        ),
        said.output,
    )


def check_login_and_account(
    way: MembraneTarget, served: AccountSnapshot, *, asked: bool | None
) -> list[CheckResult]:
    """Login, connection and actions, by what the refresh met.

    Args:
        way: to Membrane.
        served: after Membrane was asked again.
        asked: what the program says of the login, where the refresh did not tell.
    """
    problem, confirmed = served.error, served.confirmed_at is not None
    out = problem is not None and problem.code == "not_logged_in"
    if out or (not confirmed and asked is False):
        return [
            _login_missing(way, problem if out else None),
            *skipped(steps_after("login"), "login"),
        ]
    if confirmed:
        return [passed("login", "Membrane knows who asks."), *_check_connection(way, served)]
    login = {
        True: passed("login", "Membrane knows who asks."),
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
    if way.door:
        return f"Whether {way.command} takes these credentials could not be told."
    return "Whether the program is logged in could not be told."


def _login_missing(way: MembraneTarget, problem: KartraMCPError | None) -> CheckResult:
    said = quote_detail(problem.detail if problem else None)
    if way.door:
        says = f"{way.command} does not take these credentials, or no longer."
        return failed("login", says, way.door.correct, said)
    says = "Membrane's program is not logged in, or its login has expired."
    return failed(
        "login", says, way.suggest_fix("`kartra-mcp setup`, or `membrane login --tenant`."), said
    )


def _connection_missing(way: MembraneTarget, problem: KartraMCPError | None) -> CheckResult:
    if problem is None:
        says = "Membrane did not answer in time which connections there are."
        return failed("connection", says, way.suggest_fix(_ASK_AGAIN, _suggest_api_fix(way, None)))
    if problem.code == "several_connections":
        mend = "`kartra-mcp install CLIENT --connection ID`, or set KARTRA_MCP_CONNECTION to it."
        return failed(
            "connection", problem.message, way.suggest_fix(mend), quote_detail(problem.detail)
        )
    if problem.code == "no_connection" and problem.detail:
        listed = "`membrane connection list --json` shows them."
        mend = f"Set KARTRA_MCP_CONNECTION to the id of a Kartra connection: {listed}"
        mend = way.suggest_fix(mend, api_explanations.ANOTHER)
        return failed("connection", problem.message, mend, quote_detail(problem.detail))
    if problem.code in ("no_connection", "rate_limited", "connection_not_ready"):
        limited = problem.code == "rate_limited"
        mend = way.suggest_fix(
            problem.remedy, api_explanations.RERUN_HINT if limited else api_explanations.CONNECT
        )
        return failed("connection", problem.message, mend, quote_detail(problem.detail))
    says = f"The connections could not be read: {problem.message}"
    mend = way.suggest_fix(_ASK_AGAIN, _suggest_api_fix(way, problem))
    return failed("connection", says, mend, quote_detail(problem.detail))


_ASK_AGAIN = "`membrane connection list --json` in a terminal shows what it says itself."


def _suggest_api_fix(way: MembraneTarget, problem: KartraMCPError | None) -> str:
    """What mends it at the API's door, "" where there is none."""
    return way.door.suggest_fix(problem) if way.door else ""


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
        mend = (
            f"`membrane connection get {shell_quote_id(connection.id)} --wait --json`, then "
            "look again."
        )
        says = f"Membrane is still building the Kartra connection {connection.id!r} (BUILDING)."
        return failed(
            "connection", says, way.suggest_fix(mend, api_explanations.RERUN_HINT), connection.error
        )
    mend = way.suggest_fix(problem.remedy, api_explanations.CONNECT)
    return failed("connection", problem.message, mend, connection.error)


def _check_actions(way: MembraneTarget, served: AccountSnapshot) -> list[CheckResult]:
    connection = served.connection.id if served.connection else ""
    listed = f"`membrane action list --connectionId={shell_quote_id(connection)} --json`"
    shown = f"{listed} shows them."
    mend = way.suggest_fix(shown, api_explanations.CONSOLE)
    number, left = len(served.catalogue.entries), served.catalogue.left_out
    if served.error:
        says = f"The list of actions could not be read: {served.error.message}"
        mend = way.suggest_fix(shown, api_explanations.RERUN_HINT)
        found = failed("actions", says, mend, quote_detail(served.error.detail))
    elif not number:
        says = "Membrane lists no action for this connection that can be a tool."
        found = failed("actions", says, mend, "; ".join(left[:3]))
    elif served.partial or not served.complete:
        says = f"{number} actions, but the list could not be read whole."
        newest = "`npm install -g @membranehq/cli` installs the newest."
        found = warning("actions", says, way.suggest_fix(newest, api_explanations.RERUN_HINT))
    elif left:
        says = f"{number} actions; {len(left)} cannot be tools."
        found = warning("actions", says, mend, "; ".join(left[:3]))
    else:
        return [passed("actions", f"{number} actions.")]
    return [found, *(skipped(steps_after("actions"), "actions") if found.state == "failed" else [])]


def pick_safe_read(entries: Iterable[ActionTool], rules: Policy) -> ActionTool | None:
    """A read that needs no argument and may run at once, if there is one."""
    able = [e for e in entries if _is_harmless(e, rules)]
    order = {risk.find_action_command(e.action): e for e in reversed(able)}
    return next((order[command] for command in SAFE_READS if command in order), None)


def _is_harmless(entry: ActionTool, rules: Policy) -> bool:
    reads = entry.risk is Risk.READ and not entry.portable.advertised.get("required")
    allowed = gates.hidden_reason(entry.min_risk, entry.names, rules) is None
    return reads and allowed and gates.resolve_gate(Risk.READ, entry.names, rules) is Gate.ALLOW


def read_skipped() -> CheckResult:
    says = "No read that needs no argument is listed and allowed, so none was tried."
    return warning("read", says, "`kartra-mcp tools` shows what is listed, and why not.")


def read_failed(
    way: MembraneTarget, tool: str, connection: str, problem: KartraMCPError
) -> CheckResult:
    """A read through `tool` that brought an error."""
    says = f"{tool} failed: {problem.message}"
    reconnect = f"`membrane connect --connectionId={shell_quote_id(connection)}` reconnects."
    mend = f"{problem.remedy} {reconnect}"
    if problem.code == "rate_limited":
        mend = api_explanations.RERUN_HINT
    elif way.door and problem.code in ("membrane_error", "not_logged_in"):
        mend = way.door.suggest_fix(problem)
    elif way.door and problem.code == "kartra_error":
        mend = f"{problem.remedy} {api_explanations.RECONNECT}"
    elif problem.code in ("timed_out", "internal_error"):
        mend = f"{problem.remedy} `kartra-mcp doctor` again tells whether it stays."
    return failed("read", says, way.suggest_fix(mend), quote_detail(problem.detail))


def quote_detail(detail: Any) -> str:
    """What another program said, as JSON."""
    return "" if not detail else json.dumps(detail, ensure_ascii=True)[:1_000]
