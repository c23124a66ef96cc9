"""Targets of the Makefile that need Node.js: checked before anything is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
FROM_NPM = set(re.findall(r"^([A-Z]+) +=.* (?:@[\w-]+/)?[\w-]+@\d", MAKEFILE, re.MULTILINE))
"""Variables that name a package of npm."""


def find_recipes() -> dict[str, str]:
    """Return the recipe of each target that `make help` lists."""
    found = re.findall(r"^([a-z-]+):.*## .*\n((?:\t.*\n)*)", MAKEFILE, re.MULTILINE)
    return dict(found)


def uses_npm(recipe: str) -> bool:
    return any(f"$({name})" in recipe for name in FROM_NPM)


NEEDS_NODE = sorted({name for name, recipe in find_recipes().items() if uses_npm(recipe)})


def test_the_targets_are_found() -> None:
    assert {"INSPECTOR", "MCPB", "VENDOR", "AXE", "OIDC", "SUITE"} <= FROM_NPM
    assert {"bundle", "manifest", "inspector", "vendor", "identity", "browser"} <= set(NEEDS_NODE)


def test_environments_install_all_that_targets_need() -> None:
    """Two targets that run beside each other would install into one folder at once."""
    needs = dict(
        re.findall(r"^(environments|\$\(VENV\)/[\w/-]+): (.*?)(?: ##.*)?$", MAKEFILE, re.MULTILINE)
    )
    installed, left = set[str](), ["environments"]
    while left:
        found = set(needs.get(left.pop(), "").split()) - installed
        installed |= found
        left += found
    vocabulary = {"$(VENV)/vocabulary"}  # a file of its own, made for `make test`
    assert needs.keys() - {"environments"} - vocabulary <= installed


@pytest.mark.skipif(sys.platform == "win32", reason="recipes are for a POSIX shell")
@pytest.mark.parametrize("target", [*NEEDS_NODE, "release-check"])
def test_without_nodejs_nothing_is_installed(target: str, tmp_path: Path) -> None:
    """Bug: `make bundle` set up Python for a minute before it named the missing program."""
    make = shutil.which("make")
    assert make
    venv, empty = tmp_path / "venv", tmp_path / "empty"
    empty.mkdir()
    done = subprocess.run(
        [make, "-C", str(ROOT), f"VENV={venv}", target],
        env={"PATH": str(empty), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode != 0
    assert f"make {target} needs Node.js with npm" in done.stderr
    assert "https://nodejs.org/" in done.stderr
    assert "Setting up" not in done.stdout + done.stderr
    assert not venv.exists()
