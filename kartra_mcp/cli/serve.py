"""`kartra-mcp serve`: the MCP server on stdin and stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from kartra_mcp.core.exit_codes import EXIT_OK


def serve(words: Sequence[str]) -> int:
    """Answer `serve --help` and `serve --version`; everything else takes over stdio first."""
    from kartra_mcp.argument_parser import make_serve_parser

    make_serve_parser().parse_args(words)
    return serve_stdio(words)


def serve_stdio(words: Sequence[str]) -> int:
    """Serve until the client is gone. Wrong usage is reported on stderr; nothing starts."""
    # Before every other import: from here on nothing else can write to the client.
    from kartra_mcp.server import stdio

    claimed = stdio.claim_stdio()
    if claimed.on_terminal:
        sys.stderr.write("Waiting for an MCP client. Try `kartra-mcp demo` to see it work.\n")
    from kartra_mcp.argument_parser import make_serve_parser, settings_in

    given = make_serve_parser().parse_args(words[1:] if words[:1] == ["serve"] else words)
    import anyio

    from kartra_mcp.app.composition import build_app
    from kartra_mcp.settings import read_settings

    made = build_app(read_settings(settings_in(given)))
    server = made.mcp
    run = partial(
        stdio.serve,
        claimed,
        server.server,
        server.make_options(),
        make_oversized_result=server.make_oversized_result,
        on_stop=made.membrane.cancel_all,
        on_end=made.close,
    )
    anyio.run(run)
    return EXIT_OK
