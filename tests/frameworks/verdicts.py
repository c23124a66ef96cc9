"""Verdict on one play, from the account, the ledger, the wire and the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from clients.place import Said
from evals.account import Reach

from frameworks.model import QUOTED
from frameworks.plays import ALONE, NO, PROMISES, find_confirmation
from frameworks.roster import Example
from kartra_mcp.core.display import display_value

ENDED = "[exit code 0]"
FORM_PROMPT, PIN_PROMPT = "(Enter: no): ", "PIN (not shown): "


@dataclass(frozen=True)
class Evidence:
    """The state that one play left behind."""

    reach: Reach
    """The changes of the account."""
    consents: list[str]
    """Consent of each write in the ledger…"""
    outcomes: list[str]
    """…and how it ended."""
    previews: list[str]
    """Texts of the server's questions, from the wire."""
    answers: list[str]
    """The server's answers, as the model received them: the lead, then the attempts."""
    shown: str
    """All that the terminal showed, and the exit code."""
    faults: list[str] = field(default_factory=list[str])
    """Faults of the script itself."""


def judge(example: Example, play: str, found: Evidence) -> list[str]:
    """Return what is wrong; [] if the play proves what the page promises."""
    problems = list(found.faults)
    if not found.shown.endswith(ENDED):
        problems.append(f"the program failed: {found.shown[-400:]}")
    if not found.answers or "Moreno" not in found.answers[0]:
        problems.append("the lead did not reach the model")
    problems += judge_effects(example, play, found)
    problems += judge_preview(example, play, found)
    return problems


def judge_effects(example: Example, play: str, found: Evidence) -> Iterator[str]:
    """Compare account, ledger and answers with the user's decision."""
    promise = PROMISES[play]
    if found.reach != promise.reach:
        yield f"the account changed: {found.reach}"
    if found.consents != [example.consent] * promise.writes:
        yield f"consents in the ledger: {found.consents}"
    if found.outcomes != ["succeeded"] * promise.writes:
        yield f"outcomes in the ledger: {found.outcomes}"
    attempts = found.answers[1:]
    refused = [Said(answer).holds('"executed":"no"') for answer in attempts]
    if not promise.writes and not all(refused):
        yield f"the model was not told that nothing was executed: {attempts}"
    last = [Said(answer) for answer in attempts[-len(promise.told) :]]
    if lost := [text for text in promise.told if not any(one.holds(text) for one in last)]:
        yield f"the last answers to the model have no {lost}: {attempts[-len(promise.told) :]}"
    if play == NO and "declined" not in found.shown.rpartition(QUOTED)[2]:
        yield "the user was not told of the no"


def judge_preview(example: Example, play: str, found: Evidence) -> Iterator[str]:
    """Check that the user saw the whole preview before the question."""
    if example.consent == "approval":
        if play != ALONE:
            yield from missing(outside_preview(found), found.shown, PIN_PROMPT)
        if found.previews:
            yield f"the client was asked, which no form shows: {found.previews}"
        return
    asked = PROMISES[play].questions
    if not found.previews or asked not in {None, len(found.previews)}:
        yield f"the user was asked {len(found.previews)} times"
    for preview in found.previews:
        yield from missing(preview.splitlines(), found.shown, FORM_PROMPT)
    for part in found.shown.split(FORM_PROMPT)[:-1]:
        if sum(preview.partition("\n")[0] in part for preview in set(found.previews)) > 1:
            yield "two questions were on the terminal at once"


def outside_preview(found: Evidence) -> list[str]:
    """Return the texts of the approval, as the server's answer has them."""
    shown = find_confirmation(found.answers[1]) if len(found.answers) > 1 else {}
    if not shown:
        return ["a number to approve"]
    facts = [display_value(value) for value in shown["facts"].values()]
    return [shown["summary"], *facts, shown["effect"], shown["undo"]]


def missing(texts: list[str], shown: str, prompt: str) -> Iterator[str]:
    """Return a problem if no prompt has all texts between itself and the prompt before."""
    *parts, _ = shown.split(prompt)
    if not any(all(text in part for text in texts) for part in parts):
        yield f"not shown whole before the question: {texts}"
