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
from kartra_mcp.onboarding.doctor.findings import Finding, after, failed, ok, skipped, warning
from kartra_mcp.policy import gates, risk
from kartra_mcp.policy.gates import Policy

OLDEST_NODE = 18
"""Older ones have no `fetch` and have not been mended since 2025; which one the program itself
asks for is not known here."""

HARMLESS = (
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
class Way:
    """How this server reaches Membrane.

    `command` is the program with its first arguments, or where the API is, `call` what a person
    types for it. `reset` mends a sandbox, "" for a real account. `door` is None for the program.
    """

    command: str
    call: str
    reset: str = ""
    door: api_explanations.Door | None = None

    def mend(self, sentence: str, by_api: str = "") -> str:
        """The sentence, or what stands for it where there is no program to type."""
        if self.door and by_api:
            return by_api
        typed = sentence.replace("`membrane ", f"`{self.call} ")
        return self.reset or typed.replace(ASKS_A_MODEL, "run").replace(ASKS_A_MODEL_FIRST, "Run")


@dataclass(frozen=True, slots=True)
class Node:
    """Where node is, None where it is not; what its `--version` printed; whether it is needed."""

    place: str | None
    said: str = ""
    needed: bool = True
    on_short_path: bool = True

    @property
    def major(self) -> int | None:
        number = self.said.strip().removeprefix("v").partition(".")[0]
        return int(number) if number.isdecimal() else None


def node(found: Node, platform: str, *, program_runs: bool) -> Finding:
    """Whether there is a Node.js that can run Membrane's program."""
    get = f"`{GET_NODE.get(platform, 'sudo apt install nodejs npm')}`, or https://nodejs.org."
    if not found.needed:
        return ok("node", "Node.js is not needed by the program that is used.")
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
    return ok("node", f"{says}.")


def no_program(problem: KartraMCPError, idle: str) -> Finding:
    """`idle` is a file of the program's name that may not be run, or ""."""
    if idle:
        return failed("program", f"{idle} is there, but may not be run.", f"`chmod +x {idle}`")
    return failed("program", problem.message, problem.remedy)


def program(way: Way, said: ProgramInfo | KartraMCPError, *, on_short_path: bool) -> Finding | None:
    """What `--version` proves; None where only the next step tells."""
    if isinstance(said, KartraMCPError):
        if said.code in ("program_missing", "internal_error"):
            return failed("program", said.message, said.remedy)
        return None
    if said.is_membrane is None:
        return None
    if not said.is_membrane:
        return _wrong(way, said)
    return _right(way, said, on_short_path=on_short_path)


def program_then(
    way: Way, said: ProgramInfo | KartraMCPError, served: AccountSnapshot, *, on_short_path: bool
) -> Finding:
    """The same, after it was asked for the connections."""
    problem = served.error
    slow = isinstance(said, KartraMCPError)
    if problem and problem.code == "program_missing":
        return failed("program", problem.message, problem.remedy)
    if problem and problem.code == "wrong_program":
        return _wrong(way, ProgramInfo() if slow else said)
    if slow and (problem is None or problem.code == "timed_out") and served.confirmed_at is None:
        return failed(
            "program",
            f"The program {way.command} does not answer: it hangs, even at `--version`.",
            way.mend("Run `membrane --version` in a terminal to see what it waits for."),
        )
    if served.program and served.program.is_membrane:
        return _right(way, served.program, on_short_path=on_short_path)
    says = f"{way.command} answers, but not with a version: whether it is Membrane's is open."
    return warning("program", says, "`npm install -g @membranehq/cli` installs the newest.")


def _right(way: Way, said: ProgramInfo, *, on_short_path: bool) -> Finding:
    if way.door:
        return ok("program", f"None is needed: {way.command} is asked.")
    says = f"{way.command}, version {said.version or 'not told'}"
    if on_short_path:
        return ok("program", f"{says}.")
    return warning(
        "program",
        f"{says}, in a folder where a desktop program would not find it.",
        f"`kartra-mcp install CLIENT --membrane {way.command}` writes it into the client's entry.",
    )


def _wrong(way: Way, said: ProgramInfo) -> Finding:
    version = f", version {said.version}" if said.version else ""
    return failed(
        "program",
        f"{way.command} is called membrane{version}, but is not Membrane's command line.",
        way.mend("`npm install -g @membranehq/cli`, or set KARTRA_MCP_MEMBRANE to its full path."),
        said.output,
    )


def login_and_on(way: Way, served: AccountSnapshot, *, asked: bool | None) -> list[Finding]:
    """Login, connection and actions, by what the refresh met.

    Args:
        way: to Membrane.
        served: after Membrane was asked again.
        asked: what the program says of the login, where the refresh did not tell.
    """
    problem, confirmed = served.error, served.confirmed_at is not None
    out = problem is not None and problem.code == "not_logged_in"
    if out or (not confirmed and asked is False):
        return [_logged_out(way, problem if out else None), *skipped(after("login"), "login")]
    if confirmed:
        return [ok("login", "Membrane knows who asks."), *_connection(way, served)]
    login = {
        True: ok("login", "Membrane knows who asks."),
        False: _logged_out(way, None),
        None: warning("login", _open_login(way)),
    }[True if _answered_about_connections(problem) else asked]
    return [login, _no_connection(way, problem), *skipped(after("connection"), "connection")]


def _answered_about_connections(problem: KartraMCPError | None) -> bool:
    return problem is not None and problem.code in ("no_connection", "several_connections")


def _open_login(way: Way) -> str:
    if way.door:
        return f"Whether {way.command} takes these credentials could not be told."
    return "Whether the program is logged in could not be told."


def _logged_out(way: Way, problem: KartraMCPError | None) -> Finding:
    said = quoted(problem.detail if problem else None)
    if way.door:
        says = f"{way.command} does not take these credentials, or no longer."
        return failed("login", says, way.door.correct, said)
    says = "Membrane's program is not logged in, or its login has expired."
    return failed(
        "login", says, way.mend("`kartra-mcp setup`, or `membrane login --tenant`."), said
    )


def _no_connection(way: Way, problem: KartraMCPError | None) -> Finding:
    if problem is None:
        says = "Membrane did not answer in time which connections there are."
        return failed("connection", says, way.mend(_ASK_AGAIN, _at(way, None)))
    if problem.code == "several_connections":
        mend = "`kartra-mcp install CLIENT --connection ID`, or set KARTRA_MCP_CONNECTION to it."
        return failed("connection", problem.message, way.mend(mend), quoted(problem.detail))
    if problem.code == "no_connection" and problem.detail:
        listed = "`membrane connection list --json` shows them."
        mend = f"Set KARTRA_MCP_CONNECTION to the id of a Kartra connection: {listed}"
        mend = way.mend(mend, api_explanations.ANOTHER)
        return failed("connection", problem.message, mend, quoted(problem.detail))
    if problem.code in ("no_connection", "rate_limited", "connection_not_ready"):
        limited = problem.code == "rate_limited"
        mend = way.mend(
            problem.remedy, api_explanations.AGAIN if limited else api_explanations.CONNECT
        )
        return failed("connection", problem.message, mend, quoted(problem.detail))
    says = f"The connections could not be read: {problem.message}"
    mend = way.mend(_ASK_AGAIN, _at(way, problem))
    return failed("connection", says, mend, quoted(problem.detail))


_ASK_AGAIN = "`membrane connection list --json` in a terminal shows what it says itself."


def _at(way: Way, problem: KartraMCPError | None) -> str:
    """What mends it at the API's door, "" where there is none."""
    return way.door.mend(problem) if way.door else ""


def _connection(way: Way, served: AccountSnapshot) -> list[Finding]:
    connection = served.connection
    assert connection is not None  # noqa: S101  it was confirmed
    try:
        require_usable(connection)
    except KartraMCPError as problem:
        found = _not_ready(way, connection, problem)
        return [found, *skipped(after("connection"), "connection")]
    named = f"{connection.name or connection.key or 'Kartra'} ({connection.id})"
    return [ok("connection", f"{named} is {connection.state}."), *_actions(way, served)]


def _not_ready(way: Way, connection: Connection, problem: KartraMCPError) -> Finding:
    if connection.state == "BUILDING":
        mend = (
            f"`membrane connection get {shell_quote_id(connection.id)} --wait --json`, then "
            "look again."
        )
        says = f"Membrane is still building the Kartra connection {connection.id!r} (BUILDING)."
        return failed("connection", says, way.mend(mend, api_explanations.AGAIN), connection.error)
    mend = way.mend(problem.remedy, api_explanations.CONNECT)
    return failed("connection", problem.message, mend, connection.error)


def _actions(way: Way, served: AccountSnapshot) -> list[Finding]:
    connection = served.connection.id if served.connection else ""
    listed = f"`membrane action list --connectionId={shell_quote_id(connection)} --json`"
    shown = f"{listed} shows them."
    mend = way.mend(shown, api_explanations.CONSOLE)
    number, left = len(served.catalogue.entries), served.catalogue.left_out
    if served.error:
        says = f"The list of actions could not be read: {served.error.message}"
        mend = way.mend(shown, api_explanations.AGAIN)
        found = failed("actions", says, mend, quoted(served.error.detail))
    elif not number:
        says = "Membrane lists no action for this connection that can be a tool."
        found = failed("actions", says, mend, "; ".join(left[:3]))
    elif served.partial or not served.complete:
        says = f"{number} actions, but the list could not be read whole."
        newest = "`npm install -g @membranehq/cli` installs the newest."
        found = warning("actions", says, way.mend(newest, api_explanations.AGAIN))
    elif left:
        says = f"{number} actions; {len(left)} cannot be tools."
        found = warning("actions", says, mend, "; ".join(left[:3]))
    else:
        return [ok("actions", f"{number} actions.")]
    return [found, *(skipped(after("actions"), "actions") if found.state == "failed" else [])]


def harmless(entries: Iterable[ActionTool], rules: Policy) -> ActionTool | None:
    """A read that needs no argument and may run at once, if there is one."""
    able = [e for e in entries if _is_harmless(e, rules)]
    order = {risk.find_action_command(e.action): e for e in reversed(able)}
    return next((order[command] for command in HARMLESS if command in order), None)


def _is_harmless(entry: ActionTool, rules: Policy) -> bool:
    reads = entry.risk is Risk.READ and not entry.portable.advertised.get("required")
    allowed = gates.hidden_reason(entry.min_risk, entry.names, rules) is None
    return reads and allowed and gates.resolve_gate(Risk.READ, entry.names, rules) is Gate.ALLOW


def no_read() -> Finding:
    says = "No read that needs no argument is listed and allowed, so none was tried."
    return warning("read", says, "`kartra-mcp tools` shows what is listed, and why not.")


def read_failed(way: Way, tool: str, connection: str, problem: KartraMCPError) -> Finding:
    """A read through `tool` that brought an error."""
    says = f"{tool} failed: {problem.message}"
    reconnect = f"`membrane connect --connectionId={shell_quote_id(connection)}` reconnects."
    mend = f"{problem.remedy} {reconnect}"
    if problem.code == "rate_limited":
        mend = api_explanations.AGAIN
    elif way.door and problem.code in ("membrane_error", "not_logged_in"):
        mend = way.door.mend(problem)
    elif way.door and problem.code == "kartra_error":
        mend = f"{problem.remedy} {api_explanations.RECONNECT}"
    elif problem.code in ("timed_out", "internal_error"):
        mend = f"{problem.remedy} `kartra-mcp doctor` again tells whether it stays."
    return failed("read", says, way.mend(mend), quoted(problem.detail))


def quoted(detail: Any) -> str:
    """What another program said, as JSON."""
    return "" if not detail else json.dumps(detail, ensure_ascii=True)[:1_000]
