"""Drive one library client: install it, run its program, judge its calls.

`build/clients/NAME` keeps the environment, `wire.jsonl`, `stderr.log` and the home between runs.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import anyio
from harness import Sandbox, connect_stdio

from clients import environments, place, trace
from clients.environments import Environment, NotHad
from clients.place import CALLS, READ, REFUSED, WRITE, Bench, Call, Place, Said
from clients.record import Kind, Run

LIMIT = 180
"""Seconds for one client's program."""


@dataclass(frozen=True)
class Library:
    """A client that is driven by our own program in `programs/`."""

    name: str
    kind: Kind
    program: str
    packages: tuple[str, ...]
    """Exactly pinned; the first is the client itself."""
    how: str
    plan: dict[str, Any] = field(default_factory=dict[str, Any])
    """Input of the program besides the server and the calls."""
    folder: str = ""
    """The environment's name, where two clients share one."""
    asks: bool = False
    """True if it accepts a callback for questions to the user."""

    @property
    def environment(self) -> Environment:
        node = self.program.endswith(".mjs")
        return Environment(self.folder or self.name, self.packages, node=node)

    def __call__(self) -> Run:
        """Drive the client; never raise for its errors."""
        run = Run(self.name, pinned(self.packages[0]), self.kind, self.how)
        try:
            self.environment.ready()
        except NotHad as reason:
            run.not_run = str(reason)
            return run
        with tempfile.TemporaryDirectory(prefix="kartra-mcp-client-") as folder:
            here = Place(self.name, Path(folder) / "state").ready()
            judge(run, here, started(self, self.environment, here, CALLS), expected())
            if self.asks:
                there = Place(f"{self.name}/asked", Path(folder) / "asked").ready()
                answer = started(self, self.environment, there, CALLS[2:], asks=True)
                judge_question(run, there, answer)
        return run


@dataclass(frozen=True)
class Answer:
    """Output of a client's program, or the reason why there is none."""

    version: str = ""
    tools: frozenset[str] = frozenset()
    said: dict[str, Said] = field(default_factory=dict[str, Said])
    notes: tuple[str, ...] = ()
    problem: str = ""


def started(
    library: Library,
    environment: Environment,
    here: Bench,
    calls: tuple[Call, ...],
    **more: Any,
) -> Answer:
    """Run the program. A failure is an Answer too."""
    plan = json.dumps({"server": here.server, "calls": calls, **library.plan, **more})
    try:
        ended = subprocess.run(
            [*environment.command(library.program), plan],
            env=environments.clean(environment.home),
            cwd=environment.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(problem=f"no end within {LIMIT} s")
    here.log.with_name("stderr.log").write_text(ended.stderr)
    if ended.returncode:
        return Answer(problem=f"exit code {ended.returncode}: {tail(ended.stderr)}")
    return parsed(ended.stdout)


def parsed(printed: str) -> Answer:
    """Parse the one JSON that a program prints."""
    try:
        found = json.loads(printed)
        said = {step: Said(one["handed"], one["failed"]) for step, one in found["said"].items()}
        return Answer(found["version"], frozenset(found["tools"]), said, tuple(found["notes"]))
    except (ValueError, KeyError) as fault:
        return Answer(problem=f"no answer ({type(fault).__name__}): {printed[-300:]}")


def judge(
    run: Run,
    here: Bench,
    answer: Answer,
    tools: frozenset[str],
    code: str = "confirmation_required",
) -> None:
    """Fill the run from the answer, the account and the wire.

    `tools` are in our own client's list; `code` is that of the refund which was held back.
    """
    lines = trace.read(here.log)
    run.version = answer.version or run.version
    run.era, run.elicitation = trace.era(lines), trace.elicitation(lines)
    run.of, run.tools = len(tools), len(tools & answer.tools)
    nothing = Said(None, failed=True)
    said = {step: answer.said.get(step, nothing) for step in (READ, WRITE, REFUSED)}
    run.read = answer.problem or place.judge_read(said[READ])
    run.write = answer.problem or place.judge_write(here, said[WRITE])
    run.refused = answer.problem or place.judge_refused(here, said[REFUSED], code)
    run.sees = place.sees(said[READ], trace.answer(lines, CALLS[0][1]))
    run.failed = {run.read, run.write, run.refused} != {"ok"} or run.tools != run.of or not run.era
    run.notes += noted(lines, answer, tools)


def judge_question(run: Run, there: Place, answer: Answer) -> None:
    """Refund once more, by a client with a callback for questions."""
    lines = trace.read(there.log)
    asked = trace.asked(lines)
    verdict = answer.problem or place.judge_asked(
        there, answer.said.get(REFUSED, Said(None, failed=True)), len(asked)
    )
    if verdict == "ok":
        run.elicitation = f"{trace.elicitation(lines)}, with a callback"
        run.notes.append(f"with a callback it was asked (`{asked[0]}`); the yes refunded once")
    else:
        run.notes.append(f"with a callback: {verdict}")
        run.failed = True


def noted(lines: list[trace.Line], answer: Answer, tools: frozenset[str]) -> list[str]:
    """Add other observations on the wire."""
    notes = list(answer.notes)
    if lost := sorted(tools - answer.tools):
        notes.append("tools not listed: " + ", ".join(lost))
    if (starts := trace.starts(lines)) > 1:
        notes.append(f"started the server {starts} times for one list and {len(CALLS)} calls")
    if "KARTRA_CANARY" in trace.environment(lines):
        notes.append("hands its own environment to the server")
    return notes


@cache
def expected() -> frozenset[str]:
    """Return the sandbox's tools in our own client's list."""

    async def listed() -> frozenset[str]:
        with tempfile.TemporaryDirectory(prefix="kartra-mcp-client-") as folder:
            async with connect_stdio(Sandbox(Path(folder) / "state"), "legacy") as client:
                return frozenset(tool.name for tool in (await client.list_tools()).tools)

    return anyio.run(listed)


def pinned(package: str) -> str:
    """Return the version of `name==1.2` or `name@1.2`."""
    return package.rpartition("==")[2] if "==" in package else package.rpartition("@")[2]


def tail(text: str) -> str:
    """Return the last lines with content, without this machine's paths."""
    said = " / ".join(line.strip() for line in text.splitlines()[-6:] if line.strip())
    return re.sub(r"(/[^\s/\"']+)+/", "…/", said)[-600:]
