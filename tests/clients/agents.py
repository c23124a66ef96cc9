"""Agents from end to end: their own program, our server, a stand-in for the model.

Each plays its rounds on its own accounts. `plain` reads, writes and requests a refund without
consent, under the server's own gates. In `human` a human must agree to a tag and a refund, and
there is none. In two rounds the server starts late, and in `slow` it answers late.
build/clients/NAME/ROUND contains the logs: model.jsonl (all input of the model), wire.jsonl and
printed.log.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from clients import trace
from clients.agent_rounds import STEPS, Plan, play
from clients.agent_setups import CLAUDE_CODE, CODEX, CODEX_SEARCH, COPILOT, GEMINI, Agent
from clients.agent_verdicts import judge
from clients.drive import expected
from clients.environments import Environment, NotHad
from clients.patience import HOLD, told
from clients.place import READ, REFUSED, WRITE
from clients.record import Driver, Run

PLAIN = Plan("plain", (READ, WRITE, REFUSED))
ASKING = {"KARTRA_MCP_GATE_IRREVERSIBLE": "human", "KARTRA_MCP_MAIL_PER_HOUR": "0"}
"""A tag can start mail; with no mail allowed, a human must agree to it."""
HUMAN = Plan("human", (WRITE, REFUSED), ASKING)
LATE = tuple(Plan(f"late-{seconds}", (READ,), late=seconds) for seconds in (2, 15))
SLOW = Plan("slow", (READ,), hold=HOLD)


def drive(name: str, agent: Agent) -> Run:
    """Play all rounds and judge them; never raise for an error of the agent."""
    run = Run(name, agent.version, "agent", agent.how)
    package = f"{agent.package}@{agent.version}"
    environment = Environment(agent.folder or name, (package,), node=True)
    try:
        environment.ready()
    except NotHad as problem:
        run.not_run = str(problem)
        return run
    played = partial(play, agent, environment, name)
    plain, human = played(PLAIN), played(HUMAN)
    with ThreadPoolExecutor() as pool:
        slow, *late = pool.map(played, (SLOW, *LATE))
    judge(run, expected(), plain, human, late)
    run.waits = told(trace.silence(slow.lines, STEPS[READ].tool))
    return run


AGENTS: dict[str, Driver] = {
    name: partial(drive, name, agent)
    for name, agent in {
        "claude-code": CLAUDE_CODE,
        "codex": CODEX,
        "codex-search": CODEX_SEARCH,
        "gemini": GEMINI,
        "copilot": COPILOT,
    }.items()
}
