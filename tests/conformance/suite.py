"""The official conformance suite as a program: its installation, its lists, and its runs.

It is installed (and Node.js, if the machine's is older than 22) under build/conformance.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from conformance.verdict import Checks, Outcome, announced, required, scenario_of

BUILD = Path(__file__).parents[2] / "build" / "conformance"
LEAST_NODE = 22
LIST, RUN, INSTALL = 60, 300, 600
"""Seconds to wait for each."""


class NotRun(Exception):
    """The suite could not be run."""


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of the suite: its output and the checks by scenario."""

    printed: str
    checks: dict[str, Checks]
    exit_code: int
    seconds: float


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

    def check_requirements(
        self, url: str, revision: str, name: str = "", expected: Mapping[str, str] | None = None
    ) -> Outcome:
        """Return the outcome of what a revision requires, and of its unscored scenarios."""
        words = ("--requirements", revision)
        listed = self(LIST, "list", *words)
        scored, unscored = required(listed.stdout)
        if listed.returncode or not scored:
            raise NotRun(f"the suite lists no scenarios of {revision}:\n{listed.stdout[:2000]}")
        ran = self.run_scenarios(url, words)
        return Outcome(
            f"{name}required by {revision}",
            scored,
            unscored,
            ran.checks,
            ran.exit_code,
            ran.seconds,
            expected or {},
        )

    def check_active(self, url: str, revision: str) -> Outcome:
        """Return the outcome of all scenarios that the suite runs by default; every one counts."""
        ran = self.run_scenarios(url, ("--suite", "active", "--spec-version", revision))
        name = f"active suite at {revision}"
        return Outcome(name, announced(ran.printed), {}, ran.checks, ran.exit_code, ran.seconds)

    def run_scenarios(self, url: str, words: tuple[str, ...]) -> Ran:
        results = Path(tempfile.mkdtemp(dir=self.home))
        began = time.monotonic()
        ended = self(RUN, "server", "--url", url, *words, "-o", str(results))
        seconds = time.monotonic() - began
        checks: dict[str, Checks] = {}
        for file in results.glob("*/checks.json"):
            if scenario := scenario_of(file.parent.name):
                checks[scenario] = json.loads(file.read_text())
        return Ran(ended.stdout, checks, ended.returncode, seconds)


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
