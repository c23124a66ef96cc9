"""Puts a browser and axe-core where `make browser` looks for them.

The browser is the machine's Chromium: Debian's package, installed here where it is missing and
this is root. axe-core comes from npm into `build/browser`. Exit code 1 if either is not to be had.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "build" / "browser"
BROWSERS = ("chromium", "chromium-browser")
WANTED = ("chromium", "fonts-liberation")
PATIENCE = 900


class Off(Exception):
    """Something is missing and could not be got."""


def main(package: str) -> int:
    try:
        chromium()
        axe(package)
    except (Off, subprocess.TimeoutExpired) as problem:
        print(f"browser: {problem}", file=sys.stderr)
        return 1
    return 0


def chromium() -> None:
    """Chromium on the path, by apt where that may be."""
    if any(map(shutil.which, BROWSERS)):
        return
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid():
        raise Off("Chromium was not found. On Debian, as root: apt-get install chromium")
    print("Installing Chromium, once…")
    done(apt, "-qq", "update")
    done(apt, "-qq", "install", "--yes", "--no-install-recommends", *WANTED)
    if not any(map(shutil.which, BROWSERS)):
        raise Off("apt-get installed no Chromium")


def axe(package: str) -> None:
    """axe-core in a folder of its own, unless it is there already."""
    npm, mark = shutil.which("npm"), FOLDER / "installed"
    if npm is None:
        raise Off("npm was not found; axe-core, which judges the page, comes from it")
    if mark.exists() and mark.read_text(encoding="utf-8") == package:
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    quiet = ("--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--loglevel=error")
    done(npm, "install", "--prefix", str(FOLDER), *quiet, package)
    mark.write_text(package, encoding="utf-8")


def done(*line: str) -> None:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    ended = subprocess.run(
        line, stdin=subprocess.DEVNULL, env=env, timeout=PATIENCE, check=False, stdout=sys.stderr
    )
    if ended.returncode:
        raise Off(f"this ended with {ended.returncode}: {' '.join(line)}")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
