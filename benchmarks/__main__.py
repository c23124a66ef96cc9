"""`python -m benchmarks [CASE…]`: exit code 1 if a promise is missed or a case is broken."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence

from benchmarks import report
from benchmarks.cases import NAMES
from benchmarks.client import Broken
from benchmarks.plots import Plot
from benchmarks.report import Measured
from benchmarks.stats import Row

DONE, MISSED, USAGE = 0, 1, 2


def main(asked: Sequence[str]) -> int:
    unknown = [name for name in asked if name not in NAMES]
    if unknown:
        print(f"No such case: {' '.join(unknown)}. There are: {' '.join(NAMES)}.", file=sys.stderr)
        return USAGE
    print(report.machine())
    failures = [line for name in NAMES if not asked or name in asked for line in measured(name)]
    for line in failures:
        print(f"missed: {line}", file=sys.stderr)
    return MISSED if failures else DONE


def measured(name: str) -> list[str]:
    """Run a case, print it and write it; return the missed promises."""
    case = importlib.import_module(f"benchmarks.cases.{name}")
    machine = report.machine()
    try:
        rows = case.run()
        draws = getattr(case, "plots", _none)
        plots = draws({row.what: row for row in rows})
        found = Measured(name, case.TITLE, case.ABOUT, rows, machine, plots)
    except Broken as problem:
        return [f"{name}: no figures, {problem}"]
    print("\n" + report.on_terminal(found), flush=True)
    report.write(found)
    return found.missed()


def _none(_: Mapping[str, Row]) -> list[Plot]:
    return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
