"""Serve the composed server with the suite's fixtures over HTTP on 127.0.0.1.

The server is the one of `kartra-mcp serve` on the sandbox: `build_app` builds it, and only its
tools are replaced by `FixtureTools`. Prints its address when it listens; ends on SIGTERM.
Usage, in tests/: python -m conformance.serve STATE_FOLDER
"""

from __future__ import annotations

import socket
import sys

import uvicorn

from conformance.protocol_fixture import LISTED, add_to
from conformance.tools_fixture import FixtureReader, FixtureTools
from kartra_mcp.app.composition import build_app
from kartra_mcp.settings import read_settings


def main(folder: str) -> None:
    environment = {"KARTRA_MCP_SANDBOX": "on", "KARTRA_MCP_STATE_DIR": folder}
    made = build_app(read_settings({}, {**environment, "HOME": folder, "PATH": "/usr/bin:/bin"}))
    made.mcp._tools = FixtureTools.around(made.mcp._tools, LISTED)
    made.mcp._reader = FixtureReader.around(made.mcp._reader)
    add_to(made.mcp.server, made.mcp._bus)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sys.stdout.write(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp\n")
        sys.stdout.flush()
        app = made.mcp.server.streamable_http_app()
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
    made.state.close()


if __name__ == "__main__":
    main(sys.argv[1])
