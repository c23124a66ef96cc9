"""Verdict on the rounds of one agent, and notes for the table. Pure."""

from __future__ import annotations

import json
from typing import Any

from clients import trace
from clients.agent_rounds import Round
from clients.drive import Answer, noted
from clients.model import Shown
from clients.place import READ, REFUSED, WRITE, Said, judge_read, judge_write, sees
from clients.record import Run, Sees


def judge(run: Run, names: frozenset[str], plain: Round, human: Round, late: list[Round]) -> None:
    """Fill the run. `names` are the tools in our own client's list."""
    reached = plain.shown.offers(names) | plain.shown.names(names)
    run.era, run.elicitation = trace.era(plain.lines), trace.elicitation(plain.lines)
    run.tools, run.of = len(reached), len(names)
    read, write = plain.told(READ), plain.told(WRITE)
    run.read = judge_read(read) if read else nothing(plain)
    run.write = judge_write(plain.place, write) if write else nothing(plain)
    run.refused, refusal = refused(plain, REFUSED)
    run.sees = seen(read, plain.answered(READ)) if read else ""
    money, who_money = refused(human, REFUSED)
    tag, who_tag = refused(human, WRITE)
    run.notes += [
        exposure(plain.at_first, names),
        instructions(plain),
        f"a refund without consent: {refusal}",
        f"if a human must agree and there is none: refund {who_money}, tag {who_tag}",
        starts(late),
        *noted(plain.lines, Answer(tools=frozenset(reached)), names),
    ]
    verdicts = {run.read, run.write, run.refused, money, tag}
    run.failed = run.tools < run.of or not run.era or verdicts != {"ok"}
    if run.failed:
        run.notes += [f"{round_.plan.name} ended with {round_.ended}" for round_ in (plain, human)]


def nothing(done: Round) -> str:
    return f"the model could not ask for it; the agent ended with {done.ended}"


def exposure(first: Shown, names: frozenset[str]) -> str:
    """Describe how the tools reach the model."""
    offered, named = len(first.offers(names)), len(first.names(names))
    if offered == len(names):
        return "shows the model all tools with their schemas"
    if named == len(names):
        return "shows the model the names of all tools, and a schema once it has searched for it"
    return f"shows the model {max(offered, named) or 'no'} tools at first; it has to search"


def instructions(done: Round) -> str:
    """Describe how much of the server's instructions reaches the model."""
    given = [e.result.get("instructions", "") for e in trace.exchanges(done.lines)]
    whole = next((text for text in given if text), "")
    texts = done.at_first.texts
    if whole and whole in texts:
        return "shows it the server's instructions"
    if whole and whole.splitlines()[0] in texts:
        return "shows it only the first line of the server's instructions"
    return "does not show it the server's instructions"


def starts(late: list[Round]) -> str:
    """Return the late starts that it waited for before the model's first turn."""
    waited = [one.plan.late for one in late if one.told(READ)]
    lost = [one.plan.late for one in late if not one.told(READ)]
    said = [f"waits for a server that starts {max(waited)} s late"] if waited else []
    said += [f"does not wait for one that starts {min(lost)} s late"] if lost else []
    return ", ".join(said)


def seen(told: Said, answered: dict[str, Any]) -> Sees:
    """Find which form of an answer is in the agent's text, regardless of the text around it."""
    rest = str(told.handed)
    for block in answered.get("content", ()):
        rest = rest.replace(block.get("text", ""), "")
    handed = [told.handed, rest[rest.find("{") :] if "{" in rest else ""]
    return sees(Said(handed, told.failed), answered)


def refused(done: Round, step: str) -> tuple[str, str]:
    """Return `ok` or the fault, and the refusing party as the model sees it."""
    told, answered = done.told(step), done.answered(step)
    if (happened := undone(done, step)) != "ok":
        return happened, "done"
    if not told:
        return nothing(done), "not asked for"
    if not answered:
        said = " ".join(str(told.handed).split())[:120]
        return ("ok" if told.failed else said), f"stopped by the agent itself (“{said}”)"
    code = json.loads(answered["content"][0]["text"]).get("error", {}).get("code", "success")
    by_itself = f" (it answered “{replies(done.lines)[-1]}”)" if replies(done.lines) else ""
    verdict = "ok" if told.holds(code) else f"the model received {told.handed!r}"
    return verdict, f"`{code}`{by_itself}"


def undone(done: Round, step: str) -> str:
    if step == REFUSED:
        return done.place.kept()
    return "the tag was set without consent" if done.place.tagged() else "ok"


def replies(lines: list[trace.Line]) -> list[str]:
    """Return the client's answers to questions for the user, in either era."""
    said = [line.said for line in trace.messages(lines, "client")]
    legacy = [one["result"] for one in said if "action" in (one.get("result") or {})]
    asked = ((one.get("params") or {}).get("inputResponses") or {} for one in said)
    modern = [reply for given in asked for reply in given.values()]
    return [str(reply.get("action", reply)) for reply in (*legacy, *modern)]
