"""A replica of the team service with the suite's fixtures: `kartra-mcp serve --http` and its words.

Everything is the service's own; only the servers of its accounts get the suite's tools, resources
and prompts. Usage, with tests/ in PYTHONPATH: python -m conformance.serve_replica --http=… --team=…
"""

from __future__ import annotations

import sys

from conformance.protocol_fixture import LISTED, add_to
from conformance.tools_fixture import FixtureReader, FixtureTools
from kartra_mcp.app import composition
from kartra_mcp.app.composition import AccountParts
from kartra_mcp.calls.dispatcher import ToolDispatcher
from kartra_mcp.cli.serve_http import serve_http
from kartra_mcp.server.mcp_server import MCPServer
from kartra_mcp.service import accounts


def build_server(
    parts: AccountParts, tools: ToolDispatcher, *, over_http: bool = False
) -> MCPServer:
    """Build the MCP surface of the shipped tools and of the suite's."""
    fixtures = FixtureTools.around(tools, LISTED)
    made = composition.build_server(parts, fixtures, over_http=over_http)
    made._reader = FixtureReader.around(made._reader)
    add_to(made.server, made._bus)
    return made


if __name__ == "__main__":
    accounts.build_server = build_server
    sys.exit(serve_http(sys.argv[1:]))
