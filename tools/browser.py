"""Install a browser and axe-core for `make browser`.

The browser is the machine's Chromium: Debian's package, installed here if it is missing and this
is root. axe-core comes from npm into `build/browser`. Exit code 1 if either cannot be installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from npm_package import InstallError, install

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "build" / "browser"
BROWSERS = ("chromium", "chromium-browser")
WANTED = ("chromium", "fonts-liberation")
PATIENCE = 900


class Off(Exception):
    """A required program is missing and could not be installed."""


def main(package: str) -> int:
    try:
        chromium()
        install(package, FOLDER, PATIENCE, "--ignore-scripts")  # axe-core, which checks the page
    except (Off, InstallError, subprocess.TimeoutExpired) as problem:
        print(f"browser: {problem}", file=sys.stderr)
        return 1
    return 0


def chromium() -> None:
    """Return Chromium on the PATH; install it by apt if that is allowed."""
    if any(map(shutil.which, BROWSERS)):
        return
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid():
        raise Off("Chromium was not found. On Debian, as root: apt-get install chromium")
    print("Installing Chromium, once…")
    done(apt, "-qq", "update")
    done(apt, "-qq", "install", "--yes", "--no-install-recommends", *WANTED)
    if not any(map(shutil.which, BROWSERS)):
        raise Off("apt-get failed to install Chromium")


def done(*line: str) -> None:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    ended = subprocess.run(
        line, stdin=subprocess.DEVNULL, env=env, timeout=PATIENCE, check=False, stdout=sys.stderr
    )
    if ended.returncode:
        raise Off(f"exit code {ended.returncode}: {' '.join(line)}")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
