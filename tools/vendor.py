"""Test the sandbox's HTTP API with the vendor's own JavaScript client: `make vendor`.

Installs the client from npm into `build/vendor`, starts `serve` on a new account, and runs
`tests/vendor/vendor.mjs` against it. Exit code 1 if a check failed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from npm_package import InstallError, install

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "build" / "vendor"
CHECKS = ROOT / "tests" / "vendor" / "vendor.mjs"
COMMANDS = ROOT / "tests" / "vendor_commands.py"
PATIENCE = 300


class Off(Exception):
    """A check failed."""


def main(package: str) -> int:
    try:
        install(package, FOLDER, PATIENCE)
        write_commands()
        with tempfile.TemporaryDirectory(prefix="kartra-mcp-vendor-") as folder:
            account = Path(folder) / "account.db"
            with served(account) as introduction:
                return judged(account, introduction)
    except (Off, InstallError, subprocess.TimeoutExpired) as problem:
        print(f"vendor: {problem}", file=sys.stderr)
        return 1


def write_commands() -> None:
    """Write the request of each command for the checks."""
    with (FOLDER / "commands.json").open("wb") as file:
        subprocess.run([sys.executable, str(COMMANDS)], stdout=file, timeout=PATIENCE, check=True)


@contextmanager
def served(account: Path) -> Generator[str]:
    """Run the sandbox on its own port; yield its output once it listens."""
    line = [sys.executable, "-m", "kartra_mcp.sandbox", f"--account={account}", "serve"]
    with subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            introduction = server.stdout.readline().decode()
            if not introduction:
                raise Off("the sandbox did not listen")
            yield introduction
        finally:
            server.terminate()
            ended = server.wait(PATIENCE)
    if ended:
        raise Off(f"the sandbox ended with {ended}")


def judged(account: Path, introduction: str) -> int:
    node = shutil.which("node")
    if node is None:
        raise Off("Node.js is needed and was not found")
    line = [node, str(CHECKS), str(FOLDER), sys.executable, str(account), introduction]
    return subprocess.run(
        line, stdin=subprocess.DEVNULL, timeout=PATIENCE, cwd=ROOT, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
