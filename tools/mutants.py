"""Measure how many faults in the decision modules the tests detect: `make mutants`.

mutmut changes one expression at a time in a copy of the code under `build/mutants`, and runs the
tests listed in `tools/mutants.toml` until one fails. Mutants that no test detects are printed as
survivors. Mutants that change only the wording of a message are excluded.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from readme import replace_part, table

ROOT = Path(__file__).parent.parent
TABLE = Path(__file__).with_suffix(".toml")
PAGE = ROOT / "docs" / "mutants.md"
FOLDER = ROOT / "build" / "mutants"
NO_MUTANT = "no-mutant-has-this-name"
DETECTED = frozenset({"killed", "timeout"})
OUTCOMES = {
    0: "survived",
    1: "killed",
    3: "killed",
    5: "no tests",
    33: "no tests",
    **dict.fromkeys((24, -24, 36, 152, 255), "timeout"),
}
COLUMNS = ("killed", "timeout", "survived", "no tests", "other")
SMOKE_PERCENT = 4


class MutantsError(Exception):
    """The score could not be measured."""


@dataclass(frozen=True)
class Group:
    """Modules that are measured together, and the tests that run for each of their mutants.

    `deselect` is an expression for pytest's `-k`. `at_import` are functions that run only at
    import: their mutants cannot be switched on afterwards. `percent` is the share of the mutants
    that a full run samples; a smoke run samples a small share, and only if `smoke` is set.
    """

    name: str
    modules: list[str]
    tests: list[str]
    deselect: str = ""
    at_import: tuple[str, ...] = ()
    percent: int = 100
    smoke: bool = False

    @property
    def folder(self) -> Path:
        return FOLDER / self.name


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="run a small sample")
    parser.add_argument("--write", action="store_true", help="write docs/mutants.md")
    parser.add_argument("groups", nargs="*", help="groups of tools/mutants.toml; default: all")
    options = parser.parse_args()
    if options.write and (options.smoke or options.groups):
        parser.error("--write needs the scores of all groups")
    try:
        groups = read_groups(options.groups, smoke=options.smoke)
        results = {group.name: measure(group, smoke=options.smoke) for group in groups}
    except MutantsError as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 1
    print_scores(results)
    if options.write:
        write_scores(results)
    return 0


def read_groups(names: list[str], *, smoke: bool) -> list[Group]:
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    groups = [Group(name, **row) for name, row in table.items()]
    unknown = set(names) - table.keys()
    if unknown:
        raise MutantsError(f"unknown group {min(unknown)}; available: {', '.join(table)}")
    if names:
        return [group for group in groups if group.name in names]
    return [group for group in groups if group.smoke or not smoke]


def measure(group: Group, *, smoke: bool) -> Mapping[str, str]:
    """Return the outcome of every sampled mutant of a group."""
    prepare_copy(group)
    # Generates the mutants and records which test reaches which function, but runs no mutant.
    run_mutmut(group, [NO_MUTANT], "nothing matches")
    mutants = [name for module in group.modules for name in find_mutants(group, module)]
    percent = SMOKE_PERCENT if smoke else group.percent
    sample = [name for name in mutants if is_sampled(name, percent)]
    print(f"{group.name}: {len(sample)} of {len(mutants)} mutants", flush=True)
    if not sample:  # without names, mutmut would run all
        raise MutantsError(f"{group.name}: the sample is empty; raise the percentage")
    run_mutmut(group, sample, "mutations/second")
    outcomes = dict(read_outcomes(group, frozenset(sample)))
    if DETECTED.isdisjoint(outcomes.values()):
        raise MutantsError(f"{group.name}: no mutant was detected; do the tests import the copy?")
    print_survivors(group, outcomes)
    return outcomes


def prepare_copy(group: Group) -> None:
    """Copy the code and the tests, and write mutmut's settings."""
    shutil.rmtree(group.folder, ignore_errors=True)
    group.folder.mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__", "node_modules")
    for name in ("kartra_mcp", "tests"):
        shutil.copytree(ROOT / name, group.folder / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", group.folder)
    # A fixed profile of Hypothesis: the same examples in every run.
    options = ["-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-profile=ci"]
    options += ["-k", f"not ({group.deselect})"] if group.deselect else []
    settings = {
        "source_paths": ["kartra_mcp"],
        "only_mutate": group.modules,
        "pytest_add_cli_args_test_selection": group.tests,
        "pytest_add_cli_args": options,
        "timeout_multiplier": ["4"],
        "timeout_constant": ["3"],
        "use_git_change_detection": ["false"],
    }
    lines = [f"{name} =\n  " + "\n  ".join(values) for name, values in settings.items()]
    text = "\n".join(["[mutmut]", *lines, ""])
    (group.folder / "setup.cfg").write_text(text, encoding="utf-8")


def run_mutmut(group: Group, names: Iterable[str], expected: str) -> None:
    """Run mutmut on one core. It first checks that a mutant makes the selected tests fail."""
    command = [sys.executable, "-m", "mutmut", "run", "--max-children=1", *names]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    log = group.folder / "log"
    with log.open("w", encoding="utf-8") as output:
        subprocess.run(
            command,
            cwd=group.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if expected not in log.read_text(encoding="utf-8"):
        raise MutantsError(f"mutmut failed; see {log.relative_to(ROOT)}")


def find_mutants(group: Group, module: str) -> Iterator[str]:
    """Yield the mutants of a module that change more than the wording of a message."""
    tree = ast.parse((group.folder / "mutants" / module).read_text(encoding="utf-8"))
    functions = {
        node.name: node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    for name in read_meta(group, module)["exit_code_by_key"]:
        mutated = name.rpartition(".")[2]
        function = mutated.partition("__mutmut_")[0]
        original = functions[f"{function}__mutmut_orig"]
        at_import = function.removeprefix("x_") in group.at_import
        if not at_import and not is_rewording(original.body, functions[mutated].body):
            yield name


def is_rewording(one: Any, other: Any) -> bool:
    """Return whether two syntax trees differ only in messages and in the case of column names."""
    if is_prose(one) and (is_prose(other) or is_none(other)):
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, ast.AST):
        if is_column(one) and is_column(other):  # sqlite3.Row ignores case
            return ast.unparse(one).casefold() == ast.unparse(other).casefold()
        return all(is_rewording(getattr(one, f), getattr(other, f)) for f in one._fields)
    if isinstance(one, list):
        ours, theirs = cast("list[Any]", one), cast("list[Any]", other)
        return len(ours) == len(theirs) and all(map(is_rewording, ours, theirs))
    return one == other


def is_prose(node: Any) -> bool:
    """Return whether a node is a message, not a key or a code."""
    if isinstance(node, ast.JoinedStr):
        return any(map(is_prose, node.values))
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value


def is_column(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id == "row"
    )


def is_none(node: Any) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def is_sampled(name: str, percent: int) -> bool:
    """Choose by a hash of the function and the mutant's number: the same sample in every run."""
    digest = hashlib.sha256(name.rpartition(".")[2].encode()).digest()
    return int.from_bytes(digest[:4]) % 100 < percent


def read_meta(group: Group, module: str) -> dict[str, Any]:
    file = group.folder / "mutants" / f"{module}.meta"
    return json.loads(file.read_text(encoding="utf-8"))


def read_outcomes(group: Group, names: frozenset[str]) -> Iterator[tuple[str, str]]:
    for module in group.modules:
        for name, code in read_meta(group, module)["exit_code_by_key"].items():
            if name in names:
                yield name, OUTCOMES.get(code, "other")


def print_survivors(group: Group, outcomes: Mapping[str, str]) -> None:
    """Print the change of each survivor; of functions that no test reaches, only the name."""
    unreached = [name for name, outcome in outcomes.items() if outcome == "no tests"]
    for function, count in Counter(name.partition("__mutmut_")[0] for name in unreached).items():
        print(f"no tests: {function} ({count} mutants)")
    for name, outcome in outcomes.items():
        if outcome in {"survived", "other"}:
            print(f"{outcome}: {name}", *read_change(group, name), sep="\n", flush=True)


def read_change(group: Group, name: str) -> list[str]:
    """Return the changed lines of a mutant."""
    command = [sys.executable, "-m", "mutmut", "show", name]
    shown = subprocess.run(command, cwd=group.folder, capture_output=True, text=True, check=False)
    lines = shown.stdout.splitlines()
    return [f"  {x}" for x in lines if x[:1] in {"+", "-"} and x[:3] not in {"+++", "---"}]


def print_scores(results: Mapping[str, Mapping[str, str]]) -> None:
    print("\n| Group | Mutants | Killed | Timeout | Survived | No tests | Other | Score |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, counts in count_outcomes(results).items():
        cells = [name, counts.total(), *(counts[column] for column in COLUMNS), score(counts)]
        print("|", " | ".join(map(str, cells)), "|")


def count_outcomes(results: Mapping[str, Mapping[str, str]]) -> dict[str, Counter[str]]:
    """Return the number of mutants of each outcome, for each group and for all."""
    rows = {name: Counter(outcomes.values()) for name, outcomes in results.items()}
    return {**rows, "all": sum(rows.values(), Counter[str]())}


def score(counts: Counter[str]) -> str:
    return f"{100 * sum(counts[outcome] for outcome in DETECTED) / counts.total():.1f} %"


def write_scores(results: Mapping[str, Mapping[str, str]]) -> None:
    """Write the scores and the commit that was measured into docs/mutants.md."""
    rows = [
        (f"`{name}`" if name in results else name, f"{counts.total():,}", score(counts))
        for name, counts in count_outcomes(results).items()
    ]
    line = (shutil.which("git") or "git", "rev-parse", "--short", "HEAD")
    shown = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
    commit = shown.stdout.strip()
    scores = table(("Group", "Mutants", "Score"), rows)
    part = f"{scores}\n`make mutants WRITE=1`: mutmut {version('mutmut')}, commit `{commit}`.\n"
    PAGE.write_text(replace_part(PAGE.read_text("utf-8"), "scores", part), "utf-8", newline="\n")


if __name__ == "__main__":
    sys.exit(main())
