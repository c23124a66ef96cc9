"""Run the official conformance suite against the composed server, in both revisions.

Installs the suite (and Node.js, if the machine's is older than 22) under build/conformance, starts
`serve.py` on its own sandbox, runs each set of scenarios and prints the outcome. Exit code 1 if a
scored scenario does not pass, 2 if the suite could not be run. Run by `make conformance`; README.md
here describes the fixtures.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from conformance.verdict import Checks, Outcome, announced, report, required, scenario_of

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "conformance"
LEAST_NODE = 22
OLDER, NEWER = "2025-11-25", "2026-07-28"
START, LIST, RUN, INSTALL, END = 30, 60, 300, 600, 10
"""Seconds to wait for each."""


class NotRun(Exception):
    """The suite could not be run."""


@dataclass(frozen=True, slots=True)
class Suite:
    """The suite's program and its runtime, with its own home folder."""

    node: str
    program: str
    home: Path

    def __call__(self, seconds: float, *words: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [self.node, self.program, *words],
                env={"PATH": os.environ["PATH"], "HOME": str(self.home)},
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise NotRun(f"the suite took more than {seconds:.0f} s: {' '.join(words)}") from None


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of the suite: its output and the checks by scenario."""

    printed: str
    checks: dict[str, Checks]
    exit_code: int
    seconds: float


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
    _say([f"conformance: {verdict} ({options.suite})."])
    return 0 if passed else 1


def _say(lines: list[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", help="the npm package of the suite, as name@version")
    parser.add_argument("node", help="the npm package of Node.js for Linux on x64, likewise")
    parser.add_argument("--smoke", action="store_true", help=f"only what {NEWER} requires")
    return parser.parse_args()


def _run(options: argparse.Namespace, folder: Path) -> list[Outcome]:
    suite = Suite(find_node(options.node), find_suite(options.suite), folder)
    outcomes: list[Outcome] = []
    with _served(folder) as url:
        for revision in (NEWER,) if options.smoke else (NEWER, OLDER):
            outcomes.append(_requirements(suite, url, revision))
            _say(report(outcomes[-1]))
        if not options.smoke:
            outcomes.append(_active(suite, url))
            _say(report(outcomes[-1]))
        if not all(outcome.passed for outcome in outcomes):
            sys.stderr.write(f"What the server wrote:\n{(folder / 'log').read_text()}")
    return outcomes


def _requirements(suite: Suite, url: str, revision: str) -> Outcome:
    """Return the requirements of a revision, and its unscored scenarios."""
    words = ("--requirements", revision)
    listed = suite(LIST, "list", *words)
    scored, unscored = required(listed.stdout)
    if listed.returncode or not scored:
        raise NotRun(f"the suite lists no scenarios of {revision}:\n{listed.stdout[:2000]}")
    ran = _scenarios(suite, url, words)
    name = f"required by {revision}"
    return Outcome(name, scored, unscored, ran.checks, ran.exit_code, ran.seconds)


def _active(suite: Suite, url: str) -> Outcome:
    """Return all scenarios that the suite runs by default; every one counts."""
    ran = _scenarios(suite, url, ("--suite", "active", "--spec-version", OLDER))
    name = f"active suite at {OLDER}"
    return Outcome(name, announced(ran.printed), {}, ran.checks, ran.exit_code, ran.seconds)


def _scenarios(suite: Suite, url: str, words: tuple[str, ...]) -> Ran:
    results = Path(tempfile.mkdtemp(dir=suite.home))
    began = time.monotonic()
    ended = suite(RUN, "server", "--url", url, *words, "-o", str(results))
    seconds = time.monotonic() - began
    checks: dict[str, Checks] = {}
    for file in results.glob("*/checks.json"):
        if scenario := scenario_of(file.parent.name):
            checks[scenario] = json.loads(file.read_text())
    return Ran(ended.stdout, checks, ended.returncode, seconds)


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


def find_node(package: str) -> str:
    """Return the machine's Node.js if it is new enough, else the package's."""
    own = shutil.which("node")
    if own and _major(own) >= LEAST_NODE:
        return own
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise NotRun(f"the suite needs Node.js {LEAST_NODE} or newer; install it and run again")
    return str(_installed(package) / "bin" / "node")


def _major(node: str) -> int:
    ended = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    number = ended.stdout.strip().removeprefix("v").partition(".")[0]
    return int(number) if number.isdigit() else 0


def find_suite(package: str) -> str:
    return str(_installed(package) / "dist" / "index.js")


def _installed(package: str) -> Path:
    """Return the folder of a package at its exact version; install it by npm if it is missing."""
    name, _, version = package.rpartition("@")
    folder = BUILD / "node_modules" / name
    about = folder / "package.json"
    if about.exists() and json.loads(about.read_text())["version"] == version:
        return folder
    npm = shutil.which("npm")
    if npm is None:
        raise NotRun("npm is needed to get the suite, and was not found; install Node.js with npm")
    BUILD.mkdir(parents=True, exist_ok=True)
    words = ["install", "--prefix", str(BUILD), "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        ended = subprocess.run(
            [npm, *words, "--loglevel=error", package],
            stdin=subprocess.DEVNULL,
            timeout=INSTALL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotRun(f"npm did not install {package} within {INSTALL} s") from None
    if ended.returncode or not about.exists():
        raise NotRun(f"npm could not install {package}; see its words above")
    return folder


if __name__ == "__main__":
    sys.exit(main())
