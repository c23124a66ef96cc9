"""One round of one agent: a fresh sandbox account, a script for its model, and both logs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Any

from clients import trace
from clients.agent_setups import Agent, Setting
from clients.environments import Environment, clean
from clients.model import Model, Shown, Step, serving, shown
from clients.place import CALLS, Bench, Place, Said

PATIENCE = 180
"""Seconds for one round."""
STEPS = {step: Step(tool, arguments) for step, tool, arguments in CALLS}
DELAY = "import os, sys, time; time.sleep(float(sys.argv[1])); os.execv(sys.argv[2], sys.argv[2:])"


@dataclass(frozen=True)
class Plan:
    """Input of a round: the steps of its model, and the server's settings besides the sandbox.

    With `late` the server starts that many seconds late, and no agent is configured to wait for it.
    With `hold` its answers to calls are held back for that many seconds.
    """

    name: str
    steps: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    late: int = 0
    hold: int = 0


@dataclass(frozen=True)
class Round:
    """Output of one round."""

    plan: Plan
    place: Bench
    lines: list[trace.Line]
    requests: list[Shown]
    ended: str
    """The agent's exit code and what it printed last."""

    @property
    def shown(self) -> Shown:
        """All input of the model."""
        return reduce(or_, self.requests, Shown())

    @property
    def at_first(self) -> Shown:
        """Input of the model's first request."""
        return self.requests[0] if self.requests else Shown()

    def told(self, step: str) -> Said | None:
        """Return the model's input after a step; None if the step was not reached."""
        answer = self.shown.answers.get(f"step-{self.plan.steps.index(step)}")
        return Said(answer.text, answer.failed) if answer else None

    def answered(self, step: str) -> dict[str, Any]:
        """Return our server's answer; empty if the call never reached it."""
        return trace.answer(self.lines, STEPS[step].tool)


def play(agent: Agent, environment: Environment, name: str, plan: Plan) -> Round:
    """Play one round in a new folder, build/clients/NAME/ROUND."""
    folder = environment.folder.parent / name / plan.name
    shutil.rmtree(folder, ignore_errors=True)
    place = Place(f"{name}/{plan.name}", folder / "state", hold=plan.hold).ready()
    log = folder / "model.jsonl"
    log.touch()
    delay = [sys.executable, "-c", DELAY, str(plan.late)] if plan.late else []
    with serving(Model([STEPS[step] for step in plan.steps], log)) as address:
        variables = {**place.environment, **plan.settings}
        at = Setting(folder, address, [*delay, *place.command], variables, not plan.late)
        prepare(agent, at)
        ended = start(agent, environment, at)
    return Round(plan, place, trace.read(place.log), shown(log), ended)


def prepare(agent: Agent, at: Setting) -> None:
    """Create the agent's home and its configuration."""
    at.home.mkdir()
    for name, text in agent.files(at).items():
        file = at.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def find_program(agent: Agent, environment: Environment) -> str:
    return str(environment.folder / "node_modules" / ".bin" / agent.program)


def start(agent: Agent, environment: Environment, at: Setting) -> str:
    """Run the agent to its end in its own process group; return its outcome."""
    # An agent reads the project that it is in; this one must not be it.
    with (
        tempfile.TemporaryDirectory(prefix="kartra-mcp-agent-", ignore_cleanup_errors=True) as work,
        (at.folder / "printed.log").open("w+", encoding="utf-8", errors="replace") as printed,
        subprocess.Popen(
            [find_program(agent, environment), *agent.flags(at)],
            cwd=work,
            env=clean(at.home, agent.variables(at)),
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        code = waited(process)
        printed.seek(0)
        return f"{code}: {printed.read()[-300:]}"


def waited(process: subprocess.Popen[bytes]) -> str:
    """Wait for the outcome; after the timeout, kill the agent and its children."""
    try:
        return f"exit code {process.wait(PATIENCE)}"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return f"no end within {PATIENCE} s"
