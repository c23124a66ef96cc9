"""`serve`: the sandbox as an HTTP server on loopback, until it is stopped.

Once it listens it prints one line of JSON: `url` and the credentials. Starlette and uvicorn are
imported here and below, so that the program's other verbs start fast.
"""

from __future__ import annotations

import ipaddress
import json
import signal
import socket
from typing import TextIO

from uvicorn import Config, Server

from kartra_mcp.sandbox.http import auth
from kartra_mcp.sandbox.http.app import make_application
from kartra_mcp.sandbox.http.connection_faults import Protocol
from kartra_mcp.sandbox.membrane.errors import UsageError
from kartra_mcp.sandbox.program.argv import Arguments
from kartra_mcp.sandbox.store import judging
from kartra_mcp.sandbox.store.database import Account

HOST = "127.0.0.1"
_PATIENCE = 1
"""Seconds that open requests get when the server ends."""


class Serving(Server):
    """uvicorn server that reports when it listens."""

    def __init__(self, account: Account, url: str, told: TextIO) -> None:
        super().__init__(_config(account))
        self._url, self._told, self._tenant = url, told, judging.get_tenant(account)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(json.dumps(make_introduction(self._url, self._tenant)), file=self._told, flush=True)


def serve(account: Account, line: Arguments) -> int:
    """Listen and respond; return 0 after SIGTERM or SIGINT."""
    listening = listen(line.get("host", HOST), line.number("port", 0))
    server = Serving(account, format_address(listening), line.around.stdout)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    server.run(sockets=[listening])
    return 0


def _config(account: Account) -> Config:
    return Config(
        make_application(account),
        http=Protocol,
        ws="none",
        lifespan="off",
        access_log=False,
        date_header=False,  # the account's own clock writes it
        proxy_headers=False,
        log_level="error",
        timeout_keep_alive=120,
        timeout_graceful_shutdown=_PATIENCE,
    )


def make_introduction(url: str, tenant: str = auth.TENANT) -> dict[str, str]:
    return {
        "url": url,
        "workspaceKey": auth.WORKSPACE,
        "workspaceSecret": auth.SECRET,
        "tenantKey": tenant,
        "token": auth.TOKEN,
    }


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket on a loopback address; other addresses are refused."""
    number = HOST if host == "localhost" else host
    try:
        here = ipaddress.ip_address(number)
    except ValueError as error:
        raise UsageError(f"--host takes a loopback address, not {host}") from error
    if not here.is_loopback:
        raise UsageError(f"the sandbox listens on this machine alone, not on {host}")
    family = socket.AF_INET if here.version == 4 else socket.AF_INET6
    # Only a socket that is called TCP gets asyncio's TCP_NODELAY; without it answers wait 40 ms.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((number, port))
        made.listen()
        return made
    except (OSError, OverflowError) as error:
        made.close()
        raise UsageError(f"cannot listen on {host}, port {port}: {error}") from error


def format_address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
