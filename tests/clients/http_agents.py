"""Agents from end to end over HTTP: their own program, the service of a team, a stand-in model.

Each reads, writes and asks for a refund on a fresh team. Its token is in a variable, which its
configuration names, or it logs in by its own command: of that only the browser is a stand-in.
build/clients/NAME contains the logs: model.jsonl (all input of the model), wire.jsonl, printed.log.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pexpect

from clients import trace
from clients.agent_rounds import PATIENCE, STEPS, Plan, Round, find_program, prepare, start
from clients.agent_setups import (
    CLAUDE_CODE,
    CODEX,
    CODEX_FILE,
    CODEX_MODEL,
    COPILOT,
    GEMINI,
    GEMINI_FILE,
    SERVER,
    Agent,
    Setting,
    codex_config,
    gemini_settings,
)
from clients.agent_verdicts import exposure, instructions, nothing, refused, seen
from clients.drive import Answer, noted
from clients.environments import PROGRAMS, Environment, NotHad, clean
from clients.http_drive import access_faults, observed
from clients.http_place import PERSON, Access, HttpPlace, team_place
from clients.model import Model, serving, shown
from clients.place import READ, REFUSED, WRITE, judge_read, judge_write
from clients.record import BUILD, Driver, Run

PLAN = Plan("http", (READ, WRITE, REFUSED))
TOKEN = "KARTRA_TOKEN"
LOGIN = ("mcp", "login", SERVER)
_ESCAPES = re.compile(r"\x1b(?:\][^\x1b\x07]*(?:\x07|\x1b\\)|\[[0-9;?]*[A-Za-z])")


@dataclass(frozen=True)
class HttpSetting(Setting):
    """Addresses and files of an agent whose server is a service."""

    url: str = ""
    token: str = ""
    """Empty for an agent that logs in."""

    @property
    def entry(self) -> dict[str, Any]:
        if not self.token:
            return {"url": self.url}
        return {"url": self.url, "headers": {"Authorization": f"Bearer ${{{TOKEN}}}"}}

    @property
    def tokens(self) -> dict[str, str]:
        """The variable that the configuration names."""
        return {TOKEN: self.token} if self.token else {}


@dataclass(frozen=True)
class HttpAgent:
    """An agent, with one kind of access.

    Attributes:
        cannot: what it answers where it cannot log in like this, and what it does then.
    """

    name: str
    agent: Agent
    access: Access
    cannot: tuple[str, str] = ("", "")

    def __call__(self) -> Run:
        """Play the round and judge it; never raise for an error of the agent."""
        agent = self.agent
        run = Run(self.name, agent.version, "agent", agent.how, access=self.access)
        package = f"{agent.package}@{agent.version}"
        environment = Environment(agent.folder, (package,), node=True)
        try:
            environment.ready()
        except NotHad as problem:
            run.not_run = str(problem)
            return run
        with team_place(self.name, self.access) as place:
            self._play(run, environment, place)
        return run

    def _play(self, run: Run, environment: Environment, place: HttpPlace) -> None:
        folder = BUILD / self.name
        for old in ("home", "bin"):
            shutil.rmtree(folder / old, ignore_errors=True)
        log = folder / "model.jsonl"
        log.write_text("")
        token = place.token if self.access == "token" else ""
        with serving(Model([STEPS[step] for step in PLAN.steps], log)) as model:
            at = HttpSetting(folder, model, [], {}, url=place.url, token=token)
            prepare(self.agent, at)
            problem = self._log_in(environment, at) if self.access == "login" else ""
            ended = start(self.agent, environment, at)
        done = Round(PLAN, place, trace.read(place.log), shown(log), ended)
        if problem:
            self._judge_without_login(run, done, problem)
        else:
            judge(run, place, done)

    def _judge_without_login(self, run: Run, done: Round, problem: str) -> None:
        """Fill the run of an agent that did not log in, and then played the round all the same."""
        refusal, reason = self.cannot
        requests = trace.requests(done.lines)
        if refusal and refusal in problem and requests and not any(r.scheme for r in requests):
            command = " ".join((self.agent.program, *LOGIN))
            run.not_run = f"`{command}` answers “{refusal}”; {reason}"
        else:
            run.failed, run.read = True, f"it did not log in: {problem[-300:]}"

    def _log_in(self, environment: Environment, at: HttpSetting) -> str:
        """Run the agent's login on a terminal; return "" or what it printed."""
        variables = {**self.agent.variables(at), "TERM": "xterm", **_make_browser(at.folder)}
        home = clean(at.home)
        variables["PATH"] = f"{at.folder / 'bin'}{os.pathsep}{home['PATH']}"
        terminal = pexpect.spawn(
            find_program(self.agent, environment),
            list(LOGIN),
            env={**home, **variables},
            cwd=at.home,
            encoding="utf-8",
            timeout=PATIENCE,
        )
        with terminal:
            found = terminal.expect([pexpect.EOF, pexpect.TIMEOUT])
        if found == 0 and terminal.exitstatus == 0:
            return ""
        return " ".join(_ESCAPES.sub("", terminal.before or "").split()) or "nothing"


def _make_browser(folder: Path) -> dict[str, str]:
    """Create a browser that logs in by itself; return the variables that name it."""
    (folder / "bin").mkdir()
    browser = folder / "bin" / "xdg-open"
    line = f'exec "{sys.executable}" -I "{PROGRAMS / "browser.py"}" {PERSON} "$@"'
    browser.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    browser.chmod(0o755)
    return {"BROWSER": str(browser)}


def judge(run: Run, place: HttpPlace, done: Round) -> None:
    """Fill the run from the model's input, the wire, the account and the ledger."""
    names = place.tools()
    reached = done.shown.offers(names) | done.shown.names(names)
    run.era, run.elicitation = trace.era(done.lines), trace.elicitation(done.lines)
    run.tools, run.of = len(reached), len(names)
    read, write = done.told(READ), done.told(WRITE)
    run.read = judge_read(read) if read else nothing(done)
    run.write = judge_write(place, write) if write else nothing(done)
    run.refused, refusal = refused(done, REFUSED)
    run.sees = seen(read, done.answered(READ)) if read else ""
    faults = [*access_faults(done.lines, place.access), *_requests_faults(place, done)]
    if faults:
        run.refused = "; ".join([run.refused, *faults])
    run.notes += [
        exposure(done.at_first, names),
        instructions(done),
        f"the refund: {refusal}",
        *observed(done.lines),
        *noted(done.lines, Answer(tools=frozenset(reached)), names),
    ]
    run.failed = run.tools < run.of or not run.era or {run.read, run.write, run.refused} != {"ok"}
    if run.failed:
        run.notes.append(f"it ended with {done.ended}")


def _requests_faults(place: HttpPlace, done: Round) -> list[str]:
    """Return the fault if a refund that reached the service does not wait for an approver."""
    wanted, found = int(bool(done.answered(REFUSED))), place.waiting()
    return [] if found == wanted else [f"{found} requests wait for an approver, not {wanted}"]


def _over_http(agent: Agent, how: str, files: Callable[[HttpSetting], Mapping[str, str]]) -> Agent:
    """Return the agent with its configuration for a service, and the token in its environment."""

    def make_files(at: Setting) -> Mapping[str, str]:
        return files(_narrow(at))

    def make_variables(at: Setting) -> Mapping[str, str]:
        return {**agent.variables(at), **_narrow(at).tokens}

    folder = agent.folder or FOLDERS[agent.program]
    return replace(agent, folder=folder, how=how, files=make_files, variables=make_variables)


def _narrow(at: Setting) -> HttpSetting:
    assert isinstance(at, HttpSetting)
    return at


def _codex_files(at: HttpSetting) -> Mapping[str, str]:
    access = f'bearer_token_env_var = "{TOKEN}"\n' if at.token else ""
    server = f'url = "{at.url}"\n{access}required = true'
    return {CODEX_FILE: codex_config(at, CODEX_MODEL, server)}


def _gemini_files(at: HttpSetting) -> Mapping[str, str]:
    return {GEMINI_FILE: gemini_settings(at).replace('"url":', '"httpUrl":')}


def _claude_login_files(at: HttpSetting) -> Mapping[str, str]:
    # The login reads the user's configuration; `-p` waits for the servers of a file of its own.
    return dict.fromkeys(("home/.claude.json", "mcp.json"), at.servers(type="http"))


FOLDERS = {"claude": "claude-code", "copilot": "copilot", "gemini": "gemini"}
"""Installations that they share with the rounds over stdio."""
CLAUDE_CODE_HTTP = _over_http(
    CLAUDE_CODE,
    "`claude -p --mcp-config FILE --strict-mcp-config`, the variable of the token in `headers`",
    lambda at: {"mcp.json": at.servers(type="http")},
)
CLAUDE_CODE_LOGIN = _over_http(
    CLAUDE_CODE,
    "`claude mcp login`, then `claude -p --mcp-config FILE --strict-mcp-config`",
    _claude_login_files,
)
CODEX_HTTP = _over_http(CODEX, "`codex exec`, `bearer_token_env_var`", _codex_files)
CODEX_LOGIN = replace(CODEX_HTTP, how="`codex mcp login`, then `codex exec`")
COPILOT_HTTP = _over_http(
    COPILOT,
    "`copilot -p --additional-mcp-config @FILE`, the variable of the token in `headers`",
    lambda at: {"mcp.json": at.servers(type="http", tools=["*"])},
)
GEMINI_HTTP = _over_http(
    GEMINI, "`gemini -p`, `httpUrl`, the variable of the token in `headers`", _gemini_files
)

_GOES_ON = "without a token it gets a 401, goes on without the tools, and asks for no login"
HTTP_AGENTS: dict[str, Driver] = {
    one.name: one
    for one in (
        HttpAgent("claude-code-http", CLAUDE_CODE_HTTP, "token"),
        HttpAgent("claude-code-login", CLAUDE_CODE_LOGIN, "login"),
        HttpAgent("codex-http", CODEX_HTTP, "token"),
        HttpAgent("codex-login", CODEX_LOGIN, "login"),
        HttpAgent("copilot-http", COPILOT_HTTP, "token"),
        HttpAgent(
            "copilot-login",
            COPILOT_HTTP,
            "login",
            cannot=("error: unrecognized subcommand 'login'", _GOES_ON),
        ),
        HttpAgent("gemini-http", GEMINI_HTTP, "token"),
        HttpAgent(
            "gemini-login", GEMINI_HTTP, "login", cannot=("Unknown arguments: login", _GOES_ON)
        ),
    )
}
