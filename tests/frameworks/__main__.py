"""`python -m frameworks [NAMES]`: run the programs of `examples/` as their users do.

`--smoke`: one program and two plays, in an environment that `make clients SMOKE=1` made. `--write`:
write the table of docs/frameworks.md. Exit code 1 if a program failed, or could not be installed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from clients import trace
from clients.environments import NotHad
from clients.record import BUILD

from frameworks import report
from frameworks.model import ScriptedModel, serve_model
from frameworks.plays import ALONE, YES, make_play, play_names
from frameworks.roster import PROGRAMS, SMOKE, Example
from frameworks.stage import Stage
from frameworks.user import converse, save, set_pin
from frameworks.verdicts import Evidence, judge


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="frameworks", description=__doc__)
    known = {example.name: example for example in PROGRAMS}
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args(words)
    if unknown := sorted(set(given.names) - set(known)):
        parser.error(f"no such program: {', '.join(unknown)} (known: {', '.join(known)})")
    names = given.names or (SMOKE if given.smoke else known)
    rows, failed = run_all([known[name] for name in names], smoke=given.smoke)
    if given.write:
        report.write(rows)
    say(f"examples: {len(rows)} passed, {len(failed)} failed")
    return 1 if failed else 0


def run_all(examples: Iterable[Example], *, smoke: bool) -> tuple[dict[str, str], list[Example]]:
    """Return the rows of the programs that passed every play, and the programs that failed."""
    rows: dict[str, str] = {}
    failed: list[Example] = []
    for example in examples:
        try:
            example.environment.ready()
        except NotHad as reason:
            say(f"{example.name:14} not installed: {reason}")
            failed.append(example)
            continue
        plays = (YES, ALONE) if smoke else play_names(example)
        revisions = [run(example, play) for play in plays]
        if None in revisions:
            failed.append(example)
            continue
        today = datetime.now(UTC).date().isoformat()
        found = {"revision": str(revisions[0]), "date": today}
        rows[example.file] = report.make_row(example, found)
    return rows, failed


def run(example: Example, name: str) -> str | None:
    """Run one play and print its verdict; return the protocol revision, or None if it failed."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kartra-mcp-example-") as folder:
        stage = Stage(example, Path(folder)).ready()
        evidence = act(stage, name)
        revision = trace.era(stage.wire())
    save(BUILD / example.name, name, evidence.shown)
    problems = judge(example, name, evidence)
    verdict = "ok" if not problems else "FAILED"
    say(f"{example.name:14} {name:6} {time.monotonic() - begun:5.1f} s  {verdict}  {revision}")
    for problem in problems:
        say(f"    {problem}")
    return None if problems else revision


def act(stage: Stage, name: str) -> Evidence:
    """Let the scripted model and the user act; return what they left behind."""
    play = make_play(stage.example, name)
    model, before = ScriptedModel(play.script), stage.look()
    with serve_model(model) as variables:
        if stage.example.consent == "approval":
            set_pin(stage, variables)
        shown = converse(stage, variables, play.answers)
    return Evidence(
        stage.reach(before),
        stage.consents(),
        stage.outcomes(),
        stage.previews(),
        [answer.text for answer in model.answers],
        shown,
        [*model.faults, *([] if model.is_done() else ["the script did not come to its end"])],
    )


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
