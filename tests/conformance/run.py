"""Run the official conformance suite against the composed server and the team service.

Installs the suite, and Node.js if the machine's is too old. The composed server is `serve.py` on
its own sandbox; the service is a whole team on this machine (`service.py`). Prints the outcome of
each set of scenarios. Exit code 1 if a scored scenario does not pass, but for the expected failures
of the service; 2 if the suite could not be run. Run by `make conformance`; README.md here describes
the fixtures.
"""

from __future__ import annotations

import argparse
import select
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from conformance.service import check_service
from conformance.suite import NotRun, Suite, find_node, find_suite
from conformance.verdict import Outcome, count, report

HERE = Path(__file__).parent
PAGE, BEGIN, END_OF_PART = HERE / "README.md", "<!-- begin scored -->\n", "<!-- end scored -->"
OLDER, NEWER = "2025-11-25", "2026-07-28"
START, END = 30, 10
"""Seconds to wait for each."""


def main() -> int:
    options = _options()
    try:
        with tempfile.TemporaryDirectory(prefix="kartra-mcp-conformance-") as folder:
            outcomes = _run(options, Path(folder))
    except NotRun as problem:
        sys.stderr.write(f"conformance: not run: {problem}\n")
        return 2
    passed = all(outcome.passed for outcome in outcomes)
    verdict = "every scored scenario passes" if passed else "NOT every scored scenario passes"
    excused = passed and any(outcome.expected for outcome in outcomes)
    but = ", but for the expected failures of the service" if excused else ""
    _say([f"conformance: {verdict}{but} ({options.suite})."])
    if options.write and passed:
        _write(outcomes, options.suite)
    return 0 if passed else 1


def _write(outcomes: list[Outcome], suite: str) -> None:
    """Write the numbers of scenarios into README.md."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    rows = [f"| {outcome.name} | {count(outcome)} |" for outcome in outcomes]
    table = "\n".join(["| Scenarios | Pass |", "|---|---|", *rows])
    part = f"{BEGIN}{table}\n\n`make conformance WRITE=1`: `{suite}`.\n"
    after = rest[rest.index(END_OF_PART) :]
    PAGE.write_text(before + part + after, "utf-8", newline="\n")


def _say(lines: list[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", help="the npm package of the suite, as name@version")
    parser.add_argument("node", help="the npm package of Node.js for Linux on x64, likewise")
    parser.add_argument(
        "--smoke",
        action="store_true",
        help=f"only what {NEWER} requires, and of the service only with fixtures",
    )
    parser.add_argument("--write", action="store_true", help="write the numbers into README.md")
    options = parser.parse_args()
    if options.write and options.smoke:
        parser.error("--write needs every set of scenarios")
    return options


def _run(options: argparse.Namespace, folder: Path) -> list[Outcome]:
    suite = Suite(find_node(options.node), find_suite(options.suite), folder)
    revisions = (NEWER,) if options.smoke else (NEWER, OLDER)
    outcomes: list[Outcome] = []
    with _served(folder) as url:
        for outcome in _check_composed(suite, url, revisions, active=not options.smoke):
            outcomes.append(outcome)
            _say(report(outcome))
        if not all(outcome.passed for outcome in outcomes):
            sys.stderr.write(f"What the server wrote:\n{(folder / 'log').read_text()}")
    for outcome in check_service(suite, folder / "team", revisions, shipped=not options.smoke):
        outcomes.append(outcome)
        _say(report(outcome))
    return outcomes


def _check_composed(
    suite: Suite, url: str, revisions: tuple[str, ...], *, active: bool
) -> Iterator[Outcome]:
    for revision in revisions:
        yield suite.check_requirements(url, revision)
    if active:
        yield suite.check_active(url, OLDER)


@contextmanager
def _served(folder: Path) -> Generator[str]:
    """Start the server and yield its address; end it afterwards."""
    command = [sys.executable, "-m", "conformance.serve", str(folder / "state")]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=HERE.parent, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        yield _address(server, folder / "log")
    finally:
        server.terminate()
        try:
            server.wait(END)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _address(server: subprocess.Popen[str], log: Path) -> str:
    assert server.stdout is not None
    ready, _, _ = select.select([server.stdout], [], [], START)
    line = server.stdout.readline().strip() if ready else ""
    if not line:
        raise NotRun(f"the server did not start:\n{log.read_text()}")
    return line


if __name__ == "__main__":
    sys.exit(main())
