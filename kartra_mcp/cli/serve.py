"""`kartra-mcp serve`: the MCP server on stdin and stdout, or over HTTP."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from kartra_mcp.core.exit_codes import EXIT_OK


def serve(words: Sequence[str]) -> int:
    """Answer `serve --help` and `serve --version`; everything else takes over stdio first."""
    if serves_http(words):
        return _serve_http(words)
    from kartra_mcp.argument_parser import make_serve_parser

    make_serve_parser().parse_args(words)
    return serve_stdio(words)


def start_server(words: Sequence[str]) -> int:
    """Serve a team over HTTP if `--http` is given, else one client on stdio."""
    return _serve_http(words[1:]) if serves_http(words) else serve_stdio(words)


def serves_http(words: Sequence[str]) -> bool:
    return any(word == "--http" or word.startswith("--http=") for word in words)


def _serve_http(words: Sequence[str]) -> int:
    from kartra_mcp.cli.serve_http import serve_http

    return serve_http(words)


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
