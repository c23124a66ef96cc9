"""Entry point of `python -m kartra_mcp.sandbox.identity`: print its address, then serve."""

import argparse
import json
from functools import partial

from kartra_mcp.sandbox.identity.people import CLIENTS, PEOPLE
from kartra_mcp.sandbox.identity.server import serve


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="kartra_mcp.sandbox.identity",
        description="A stand-in identity provider for test people, on this machine only.",
    )
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    port = parser.parse_args().port
    print_line = partial(print, flush=True)

    def announce(issuer: str) -> None:
        people = {one.login: list(one.groups) for one in PEOPLE}
        clients = {one.id: one.secret for one in CLIENTS}
        print_line(json.dumps({"issuer": issuer, "people": people, "clients": clients}))

    serve(port, announce)


main()
