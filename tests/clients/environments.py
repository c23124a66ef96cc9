"""One environment for each client, under build/clients/NAME, created once per pin."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clients.record import BUILD

INSTALL = 900
"""Seconds for one installation."""
PROGRAMS = Path(__file__).with_name("programs")
SHARED = ("plan.mjs", "http_access.mjs")
"""Modules of the JavaScript programs."""


class NotHad(Exception):
    """The client could not be installed: Node.js is missing, or the registry failed."""


@dataclass(frozen=True)
class Environment:
    """One client's environment: `packages` exactly pinned, `node` or Python."""

    name: str
    packages: tuple[str, ...]
    node: bool = False

    @property
    def folder(self) -> Path:
        return BUILD / self.name

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def python(self) -> Path:
        return self.folder / "venv" / "bin" / "python"

    def command(self, program: str) -> list[str]:
        """Return the command that starts a program of `programs/` here."""
        if not self.node:
            return [str(self.python), "-B", str(PROGRAMS / program)]
        # Node.js searches for packages in the program's folder.
        for file in (program, *SHARED):
            shutil.copyfile(PROGRAMS / file, self.folder / file)
        return [found("node"), str(self.folder / program)]

    def ready(self) -> None:
        """Install, unless the pins are unchanged."""
        self.home.mkdir(parents=True, exist_ok=True)
        stamp, pins = self.folder / "pins.json", json.dumps(self.packages)
        if stamp.exists() and stamp.read_text() == pins:
            return
        stamp.unlink(missing_ok=True)
        if self.node:
            self.install_node()
        else:
            self.install_python()
        stamp.write_text(pins)

    def install_python(self) -> None:
        """Install by our own pip: to install one in each environment takes longer than the rest."""
        venv.create(self.folder / "venv", clear=True, with_pip=False)
        pip = (sys.executable, "-m", "pip", "--python", str(self.python), "install", "-qq")
        install((*pip, "--disable-pip-version-check", "--no-input", *self.packages), self.folder)

    def install_node(self) -> None:
        shutil.rmtree(self.folder / "node_modules", ignore_errors=True)
        (self.folder / "package-lock.json").unlink(missing_ok=True)
        (self.folder / "package.json").write_text('{"private": true}\n')
        npm = (found("npm"), "install", "--no-audit", "--no-fund", "--loglevel=error")
        install((*npm, "--save-exact", *self.packages), self.folder)


def install(command: tuple[str, ...], folder: Path) -> None:
    """Install with the user's own environment, so that the registry's settings apply."""
    try:
        ended = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotHad(f"the installation took more than {INSTALL} s") from None
    if ended.returncode:
        sys.stderr.write((ended.stdout + ended.stderr)[-2000:])
        raise NotHad("the registry did not give it, or it did not install")


def found(program: str) -> str:
    """Return the path of a program of this machine."""
    path = shutil.which(program)
    if not path:
        raise NotHad(f"{program} was not found")
    return path


def clean(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a client: its own HOME, no telemetry, a dead proxy.

    The proxy is a closed port: every connection beyond loopback fails at once, so a run proves
    that it needs none. `KARTRA_CANARY` shows on the wire if a client passes its own environment to
    a server.
    """
    dead = "http://127.0.0.1:9"
    proxies = {f"{name}_PROXY": dead for name in ("HTTP", "HTTPS", "ALL")}
    return {
        "PATH": os.pathsep.join(dict.fromkeys((*node_folder(), "/usr/bin", "/bin"))),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "KARTRA_CANARY": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "DO_NOT_TRACK": "1",
        "OTEL_SDK_DISABLED": "true",
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
        "ANONYMIZED_TELEMETRY": "false",
        "LANGSMITH_TRACING": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_UPDATE_NOTIFIER": "1",
        "PYTHONWARNINGS": "ignore",
        **proxies,
        **(more or {}),
    }


def node_folder() -> tuple[str, ...]:
    """Return the folder of node, which scripts with `env node` need."""
    path = shutil.which("node")
    return (str(Path(path).parent),) if path else ()
