"""Installation of an npm package into a folder of its own, for a tool that needs it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

QUIET = ("--no-audit", "--no-fund", "--no-save", "--loglevel=error")


class InstallError(Exception):
    """The package is not installed; the text has the reason."""


def install(package: str, folder: Path, seconds: float, *options: str) -> None:
    """Install a package, unless the folder has it in this version.

    Raises:
        InstallError: npm is missing or failed.
        subprocess.TimeoutExpired: npm took too long.
    """
    npm, mark = shutil.which("npm"), folder / "installed"
    if npm is None:
        raise InstallError(f"Node.js with npm is needed for {package} and was not found")
    if mark.exists() and mark.read_text(encoding="utf-8") == package:
        return
    folder.mkdir(parents=True, exist_ok=True)
    line = [npm, "install", "--prefix", str(folder), *QUIET, *options, package]
    if subprocess.run(line, stdin=subprocess.DEVNULL, timeout=seconds, check=False).returncode:
        raise InstallError(f"npm could not install {package}")
    mark.write_text(package, encoding="utf-8")
