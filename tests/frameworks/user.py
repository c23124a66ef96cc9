"""The user at the terminal of an example: answers its questions, and keeps all it printed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pexpect

from frameworks.stage import Stage

LIMIT = 120
"""Seconds for the next question, or for the end."""
READING = 1.5
"""Seconds before a form is answered: in under a second the server counts it as a machine's."""
PIN = "correct horse"
CONTROL_D = None
"""An answer that ends the input instead."""

FORM, NUMBER = r"\(Enter: no\): ", r"\(Enter: end\): "
PIN_QUESTION = r"\bPIN \(not shown\): "
DECISION, REASON = r"approve or decline\? ", r"Why\?[^\r\n]* "
Answers = Mapping[str, Sequence[str | None]]
"""By the question, the answers in turn; the last one is repeated."""


def converse(stage: Stage, variables: Mapping[str, str], answers: Answers) -> str:
    """Run the example to its end; return all that its terminal showed."""
    example = stage.example
    command = [str(example.environment.python), "-B", str(example.path)]
    return answer_all(spawn(stage, command, variables), answers)


def set_pin(stage: Stage, variables: Mapping[str, str]) -> None:
    """Choose the PIN, as the page tells to do once."""
    command = [str(stage.programs / "kartra-mcp"), "approve", "--set-pin", "--sandbox"]
    answer_all(spawn(stage, command, variables), {r"PIN[^\r\n]*: ": [PIN]})


def spawn(stage: Stage, command: list[str], variables: Mapping[str, str]) -> Any:
    child = pexpect.spawn(
        command[0],
        command[1:],
        cwd=str(stage.folder),
        env=stage.variables(variables),
        encoding="utf-8",
        codec_errors="replace",
        dimensions=(50, 400),
        timeout=LIMIT,
    )
    child.delaybeforesend = None
    return child


def answer_all(child: Any, answers: Answers) -> str:
    """Answer each question until the program ends; return what it printed and its exit code."""
    shown, asked = "", dict.fromkeys(answers, 0)
    patterns = [*answers, pexpect.EOF]
    try:
        while (at := child.expect(patterns)) < len(answers):
            question = patterns[at]
            shown += child.before + child.after
            prepared = answers[question]
            answer = prepared[min(asked[question], len(prepared) - 1)]
            asked[question] += 1
            time.sleep(READING if question.endswith(FORM) else 0)
            if answer is CONTROL_D:
                child.sendeof()
            else:
                child.sendline(answer)
        shown += child.before
    except pexpect.TIMEOUT:
        shown += f"{child.before}\n[no question and no end within {LIMIT} s]"
    finally:
        child.close(force=True)
    return f"{shown}\n[exit code {child.exitstatus}]"


def save(folder: Path, play: str, shown: str) -> None:
    (folder / f"printed-{play}.log").write_text(shown, encoding="utf-8")
