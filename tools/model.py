"""Check the model of the write protocol with spin: `make model` (WRITE=1: docs/team/ledger.md).

Each row of `VARIANTS` sets the constants of `model/write_once.pml` and names the expected result.
The rows `reached: …` make sure that the property does not hold for want of anything happening.
Exit code 1 if a result differs, or if spin or gcc is missing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from readme import replace_part, table

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "model" / "write_once.pml"
PAGE = ROOT / "docs" / "team" / "ledger.md"
PROGRAMS = {"spin": "spin", "gcc": "gcc libc6-dev"}
"""Programs and the Debian packages that have them."""
MAX_DEPTH = 1_000_000
TIMEOUT = 300
"""Seconds for one variant; the largest one takes five."""

HOLDS = "holds"
VIOLATED = "violated"
REACHED = "reached"

BASE: Mapping[str, int] = {
    "REPLICAS": 2,
    "TMAX": 9,
    "EXP": 2,
    "D": 2,
    "FENCE": 1,
    "CHECK": 1,
    "QUARANTINE": 2,
    "SKEW": 0,
    "TAKEOVER": 0,
    "FAILOVER": 0,
    "WITNESS": 0,
}
"""The protocol as it is built: a fence, a local check, and a quarantine of at least D."""


@dataclass(frozen=True, eq=False)
class Variant:
    """A variant of the protocol or of its surroundings, and the expected result."""

    name: str
    expected: str
    changes: Mapping[str, int] = field(default_factory=dict[str, int])


VARIANTS = (
    Variant("a lease only", VIOLATED, {"FENCE": 0, "CHECK": 0, "QUARANTINE": 0}),
    Variant("a lease and a local deadline check", VIOLATED, {"FENCE": 0, "QUARANTINE": 0}),
    Variant("a lease, a local check and quarantine 2", VIOLATED, {"FENCE": 0}),
    Variant("a fence, but quarantine 0", VIOLATED, {"QUARANTINE": 0}),
    Variant("a fence and a quarantine of at least D", HOLDS),
    Variant("… without the local check", HOLDS, {"CHECK": 0}),
    Variant("… to tick 16", HOLDS, {"TMAX": 16}),
    Variant("… with 3 replicas, to tick 10", HOLDS, {"REPLICAS": 3, "TMAX": 10}),
    Variant("… takeover by another replica", VIOLATED, {"TAKEOVER": 1}),
    Variant("… a failover that forgets", VIOLATED, {"FAILOVER": 1}),
    Variant("… upstream's clock 2 slow, quarantine 2", VIOLATED, {"TMAX": 12, "SKEW": 2}),
    Variant(
        "… upstream's clock 2 slow, quarantine 4",
        HOLDS,
        {"TMAX": 12, "SKEW": 2, "QUARANTINE": 4},
    ),
    Variant("… effects later than assumed (D 4)", VIOLATED, {"TMAX": 12, "D": 4}),
    Variant("reached: a second attempt after an honest failure", REACHED, {"WITNESS": 1}),
    Variant("reached: an ended credential is refused", REACHED, {"WITNESS": 2}),
    Variant("reached: an effect after the intent became unknown", REACHED, {"WITNESS": 3}),
    Variant("reached: the answer is recorded", REACHED, {"WITNESS": 4}),
)


class ModelError(Exception):
    """The model could not be checked."""


@dataclass(frozen=True)
class Verdict:
    """Result of one variant, and the number of states that were visited."""

    result: str
    states: int


def main(*flags: str) -> int:
    try:
        find_programs()
        print(f"{'variant':<54}  {'expected':<8}  {'result':<8}  {'states':>9}")
        found = {variant: check_and_print(variant) for variant in VARIANTS}
    except (ModelError, subprocess.TimeoutExpired) as problem:
        print(f"model: {problem}", file=sys.stderr)
        return 1
    differs = [one.name for one, verdict in found.items() if verdict.result != one.expected]
    for name in differs:
        print(f"model: not as expected: {name}", file=sys.stderr)
    if "--write" in flags and not differs:
        write_page(found)
    return 1 if differs else 0


def check_and_print(variant: Variant) -> Verdict:
    """Check a variant and print its row."""
    found = check(variant)
    row = f"{variant.name:<54}  {variant.expected:<8}  {found.result:<8}  {found.states:>9,}"
    print(row, flush=True)
    return found


def write_page(found: Mapping[Variant, Verdict]) -> None:
    """Write the table of the variants, without the rows that only reach something."""
    rows = [
        (one.name, verdict.result, f"{verdict.states:,}")
        for one, verdict in found.items()
        if one.expected != REACHED
    ]
    part = table(("Variant", "Result", "States"), rows)
    PAGE.write_text(replace_part(PAGE.read_text("utf-8"), "model", part), "utf-8", newline="\n")


def find_programs() -> None:
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        packages = " ".join(PROGRAMS[name] for name in missing)
        raise ModelError(
            f"{' and '.join(missing)} not found. Nothing was checked."
            f" On Debian, as root: apt-get install {packages}"
        )


def check(variant: Variant) -> Verdict:
    """Generate, compile and run the verifier of a variant, in a folder of its own."""
    constants = {**BASE, **variant.changes}
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(MODEL, folder)
        run(folder, "spin", *(f"-D{k}={v}" for k, v in constants.items()), "-a", MODEL.name)
        # The generated code warns about an index that the model keeps in bounds.
        run(folder, "gcc", "-w", "-O1", "-DSAFETY", "-o", "verifier", "pan.c")
        output = run(folder, str(Path(folder, "verifier")), f"-m{MAX_DEPTH}")
    return read_verdict(output, witness=bool(constants["WITNESS"]))


def read_verdict(output: str, *, witness: bool) -> Verdict:
    """Read the verifier's output.

    Raises:
        ModelError: the search was not exhaustive, or found another error than the assertion, such
            as a deadlock.
    """
    errors, states = (
        re.search(pattern, output) for pattern in (r"errors: (\d+)", r"(\d+) states, stored\b")
    )
    if errors is None or states is None or "max search depth too small" in output:
        raise ModelError(f"the search did not end:\n{output}")
    asserted = "assertion violated" in output
    if bool(int(errors[1])) != asserted:
        raise ModelError(f"another error than the property's:\n{output}")
    if not asserted and "Search not completed" in output:
        raise ModelError(f"the search was not completed:\n{output}")
    names = ("not reached", REACHED) if witness else (HOLDS, VIOLATED)
    return Verdict(names[asserted], int(states[1]))


def run(folder: str, *line: str) -> str:
    ended = subprocess.run(
        line,
        cwd=folder,
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if ended.returncode:
        raise ModelError(f"exit code {ended.returncode}: {' '.join(line)}\n{ended.stderr}")
    return ended.stdout


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
