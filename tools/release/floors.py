"""The lowest versions that pyproject.toml allows, used by a sample of the tests."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping

from dist import ROOT, WHEEL, Off, ran, use
from release.advisories import find_faulty
from release.dependencies import Tools

SAMPLE = (
    "tests/test_http_readers.py",
    "tests/test_page_views.py",
    "tests/test_service_requests.py",
    "tests/test_team_anchors.py",
    "tests/test_team_file.py",
)
"""Tests that use most dependencies in few seconds; the demo uses the rest."""

TEST_TOOLS = ("hypothesis", "pexpect", "pytest", "pytest-xdist")


def resolve(tools: Tools) -> dict[str, str]:
    """Return the lowest versions; what only dependencies need has the newest one.

    Raises:
        Off: one of them has a fault that is known.
    """
    found = tools.compile("--resolution", "lowest-direct", "--extra", "team")
    pins = {name: version for name, (version, _) in found.items()}
    if faults := list(find_faulty(pins)):
        raise Off("the floors in pyproject.toml allow faulty versions:\n" + "\n".join(faults))
    return pins


def check(tools: Tools, pins: Mapping[str, str]) -> str:
    """Install the wheel with the lowest versions, run the sample; return pytest's last line."""
    exact = [f"{name}=={version}" for name, version in pins.items()]
    more = [*exact, *(line for line in test_tools() if not line.startswith(tuple(pins)))]
    environment = tools.environment("lowest", WHEEL, more=more)
    use([environment / "bin" / "kartra-mcp"], {**os.environ})
    # `pytest`, not `python -m pytest`: the folder is not on the path, so that the wheel is used.
    words = ("-q", "-n", "2", "--dist", "worksteal", "-p", "no:cacheprovider")
    vocabulary = {"TIKTOKEN_CACHE_DIR": str(ROOT / ".venv" / "vocabulary")}
    output = ran(
        [environment / "bin" / "pytest", *words, *SAMPLE], env={**os.environ, **vocabulary}
    )
    return output.strip().splitlines()[-1]


def test_tools() -> Iterator[str]:
    """Yield what the sample needs of the group `dev`, as pyproject.toml has it."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    for line in groups["dev"]:
        if line.partition(">=")[0] in TEST_TOOLS:
            yield line
