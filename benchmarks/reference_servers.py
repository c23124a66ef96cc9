"""Other servers to compare the start with, installed once into build/bench.

A server that cannot be installed is left out.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

from benchmarks.client import HELLO, ROOT, Broken

BUILD = ROOT / "build" / "bench"
FASTMCP = "fastmcp==4.2.3"
VENDOR = BUILD / "vendor-mcp"
"""A manual checkout of the vendor's MCP server, v1.3.0, after `npm ci`."""

ERA = "2025-06-18"
"""The newest revision that the vendor's server supports."""
_PATIENCE, _LOOK = 60.0, 0.002


def fastmcp() -> list[str] | None:
    """Return the command of an empty server on FastMCP, in its own environment."""
    python = BUILD / "fastmcp" / "bin" / "python"
    installed = BUILD / "fastmcp" / FASTMCP
    if not installed.exists():
        made = _done(sys.executable, "-m", "venv", "--clear", str(BUILD / "fastmcp"))
        if not made or not _done(str(python), "-m", "pip", "install", "-qq", FASTMCP):
            return None
        installed.touch()
    return [str(python), str(Path(__file__).parent / "programs" / "empty_fastmcp.py")]


def vendor() -> float | None:
    """Return the seconds from the spawn of the vendor's server to its list, in its own test mode.

    It serves over HTTP, and its address of Membrane is fixed in its code. Its test mode lists two
    built-in actions, so its requests to Membrane at each start are not counted.
    """
    node, main = shutil.which("node"), VENDOR / "src" / "server" / "index.ts"
    if node is None or not main.exists():
        return None
    port = _free_port()
    env = {"NODE_ENV": "test", "PORT": str(port), "PATH": os.defpath}
    command = [node, str(VENDOR / "node_modules" / "tsx" / "dist" / "cli.mjs"), str(main)]
    begun = perf_counter()
    with subprocess.Popen(
        command,
        cwd=VENDOR,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            _list_over_http(port, begun + _PATIENCE)
            return perf_counter() - begun
        finally:
            process.terminate()


def _list_over_http(port: int, until: float) -> None:
    session = _first_answer(port, until)
    _asked(port, session, {"method": "notifications/initialized"})
    said, _ = _asked(port, session, {"id": 2, "method": "tools/list", "params": {}})
    if b'"tools":[{' not in said:
        raise Broken(f"the vendor's server listed nothing: {said[:200]!r}")


def _first_answer(port: int, until: float) -> str:
    while True:
        try:
            return _asked(
                port,
                "",
                {"id": 1, "method": "initialize", "params": {**HELLO, "protocolVersion": ERA}},
            )[1]
        except (OSError, HTTPException):
            if perf_counter() > until:
                raise Broken("the vendor's server did not begin to serve") from None
            sleep(_LOOK)


def _asked(port: int, session: str, message: dict[str, Any]) -> tuple[bytes, str]:
    """Make one request; return the answer and the session."""
    connection = HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "Authorization": f"Bearer {_token()}",
        "MCP-Protocol-Version": ERA,
    }
    if session:
        headers["Mcp-Session-Id"] = session
    try:
        connection.request("POST", "/mcp", json.dumps({"jsonrpc": "2.0", **message}), headers)
        answer = connection.getresponse()
        return answer.read(), answer.getheader("Mcp-Session-Id") or session
    finally:
        connection.close()


def _token() -> str:
    """Make a token that names a user: that server requires no signature."""
    parts = ({"alg": "none"}, {"id": "benchmarks"})
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()) for part in parts)
    return ".".join(part.decode().rstrip("=") for part in encoded) + "."


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _done(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
