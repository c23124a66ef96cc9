"""List and call the tools of the sandbox server with the official MCP inspector's command line.

Lists with `--strict` (no schema that some client cannot read) and calls tools, in both protocol
eras. Prints each step; exit code 1 if a check failed. Run by `make inspector`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ERAS = ("legacy", "modern")
OK, TOOL_ERROR = 0, 5
PATIENCE = 300
FEWEST = 20

HIDDEN = {
    "method": "POST",
    "path": "/api",
    "json": {"actions": [{"cmd": "refund_transaction", "transaction_id": 102}]},
}
CALLS: tuple[tuple[str, dict[str, Any], str, str], ...] = (
    ("kartra_status", {}, "", "SANDBOX"),
    ("kartra_get_lead", {"email": "ada@example.com"}, "", "Moreno"),
    (
        "kartra_assign_tag",
        {"email": "ada@example.com", "tag_name": "Spring retreat"},
        "",
        "Success",
    ),
    ("kartra_refund_transaction", {"transaction_id": 101}, "confirmation_required", ""),
    ("kartra_proxy_read", HIDDEN, "forbidden_request", ""),
)
"""Tool, arguments, the expected error code or "", and a word that a success contains."""


class Off(Exception):
    """A check failed."""


@dataclass(frozen=True)
class Inspector:
    """The inspector's program, with its own home and sandbox account in `folder`."""

    node: str
    program: str
    folder: Path

    def run(self, era: str, *words: str) -> tuple[int, str]:
        """Return its exit code and all of its output."""
        server = Path(sys.executable).with_name("kartra-mcp")
        settings = ("-e", "KARTRA_MCP_SANDBOX=on", "-e", f"KARTRA_MCP_STATE_DIR={self.folder}")
        line = [self.node, self.program, "--cli", str(server), *settings]
        line += ["--format", "json", "-q", "--protocol-era", era, *words]
        ended = subprocess.run(
            line,
            env={**os.environ, "HOME": str(self.folder)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return ended.returncode, ended.stdout + ended.stderr


def main(package: str) -> int:
    """Run every step in both eras."""
    try:
        node, program = find(package)
        for era in ERAS:
            with tempfile.TemporaryDirectory(prefix="kartra-mcp-inspector-") as folder:
                inspect(Inspector(node, program, Path(folder)), era)
    except (Off, subprocess.TimeoutExpired) as problem:
        print(f"inspector: {problem}", file=sys.stderr)
        return 1
    print(f"inspector: all checks passed ({package}).")
    return 0


def find(package: str) -> tuple[str, str]:
    """Return Node.js and the inspector's script; npx downloads it if needed."""
    node, npx = shutil.which("node"), shutil.which("npx")
    if not node or not npx:
        raise Off("Node.js with npx is needed and was not found")
    fetch = [npx, "--yes", "--loglevel=error", "--package", package, "--call"]
    ended = subprocess.run(
        [*fetch, "command -v mcp-inspector"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    program = ended.stdout.strip()
    if ended.returncode or not program:
        raise Off(f"npx could not download {package}")
    return node, str(Path(program).resolve())


def inspect(inspector: Inspector, era: str) -> None:
    """List and call in one era."""
    code, printed = inspector.run(era, "--method", "tools/list", "--strict")
    if code != OK:
        raise Off(f"{era}: tools/list --strict ended with {code}:\n{printed}")
    names = {tool["name"] for tool in parsed(printed)["tools"]}
    if len(names) < FEWEST:
        raise Off(f"{era}: only {len(names)} tools are listed")
    print(f"{era}: tools/list --strict: {len(names)} tools, no schema errors")
    for tool, arguments, refusal, word in CALLS:
        called = ("--tool-name", tool, "--tool-args-json", json.dumps(arguments))
        code, printed = inspector.run(era, "--method", "tools/call", *called)
        if code != (TOOL_ERROR if refusal else OK) or (refusal or word) not in printed:
            raise Off(f"{era}: {tool} ended with {code}:\n{printed}")
        said = f"refused ({refusal}), as it must be" if refusal else "answered"
        print(f"{era}: {tool} {json.dumps(arguments)}: {said}")


def parsed(printed: str) -> dict[str, Any]:
    """Return the inspector's JSON; its result may be under `result`."""
    try:
        found: dict[str, Any] = json.loads(printed)
    except ValueError:
        raise Off(f"the inspector did not print JSON:\n{printed[:2000]}") from None
    return found.get("result", found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
