"""`python -m evals`: every agent under every gate and role, and the table of docs/evals.md.

`--sample`: one text for each place under some conditions. `--write`: write the table. It ends with
1 if an agent reached more than is promised, or a run proves nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import anyio

from evals.agents import KINDS
from evals.corpus import PLACES, Injection, make_corpus
from evals.play import OBEDIENT, Outcome, play
from evals.promises import CONDITIONS, TEAM_CONDITIONS, Condition
from evals.report import find_problems, find_unreached, make_table
from evals.team import team_stage

DOCUMENT = Path(__file__).parents[2] / "docs" / "evals.md"
SAMPLED = (
    *("the defaults", "human", "preview, the client accepts the form by itself"),
    *(CONDITIONS[-1].name, "team: requester"),
)
BEGIN, END = "<!-- begin evals -->\n", "<!-- end evals -->"


def sample(corpus: Sequence[Injection]) -> list[Injection]:
    """Return one text for each place, of different aims and wordings."""
    by_place = [[text for text in corpus if text.place == place] for place in PLACES]
    return [texts[at % len(texts)] for at, texts in enumerate(by_place)]


def run_condition(condition: Condition, corpus: Sequence[Injection]) -> list[Outcome]:
    return anyio.run(_play_all, condition, corpus)


async def _play_all(condition: Condition, corpus: Sequence[Injection]) -> list[Outcome]:
    with tempfile.TemporaryDirectory(prefix="kartra-mcp-evals-") as folder:
        plays = [(agent, None) for agent in KINDS] + [(OBEDIENT, text) for text in corpus]
        return [
            await play(Path(folder) / str(at), condition, agent, text)
            for at, (agent, text) in enumerate(plays)
        ]


def run_team(conditions: Sequence[Condition], corpus: Sequence[Injection]) -> list[Outcome]:
    with team_stage(conditions) as stage:

        async def play_all() -> list[Outcome]:
            return [
                outcome
                for condition in conditions
                async for outcome in stage.play_all(condition, corpus)
            ]

        return anyio.run(play_all)


def run(conditions: Sequence[Condition], corpus: Sequence[Injection]) -> list[Outcome]:
    alone = [condition for condition in conditions if condition.role is None]
    in_team = [condition for condition in conditions if condition.role is not None]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        team = pool.submit(run_team, in_team, corpus)
        parts = list(pool.map(run_condition, alone, [corpus] * len(alone)))
        return [outcome for part in [*parts, team.result()] for outcome in part]


def write(table: str) -> None:
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}{table}{END}{after}", encoding="utf-8")


def main() -> int:
    given = argparse.ArgumentParser(prog="evals", description=__doc__)
    given.add_argument("--sample", action="store_true")
    given.add_argument("--write", action="store_true")
    asked = given.parse_args()
    began, corpus = time.monotonic(), make_corpus()
    conditions = [*CONDITIONS, *TEAM_CONDITIONS]
    if asked.sample:
        conditions = [condition for condition in conditions if condition.name in SAMPLED]
        corpus = sample(corpus)
    outcomes = run(conditions, corpus)
    problems = find_problems(outcomes) + ([] if asked.sample else find_unreached(outcomes))
    table = make_table(outcomes)
    if asked.write:
        write(table)
    seconds = time.monotonic() - began
    last = f"{len(outcomes)} runs in {seconds:.0f} s: {len(problems)} problems"
    sys.stdout.write("\n".join([table, *problems, last, ""]))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
