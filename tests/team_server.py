"""The server of one user on the ledger of a team: `team_server.py`, for the soak.

It is built by the product's own composition, as a replica is. The variable `TEAM_LEDGER` has the
address of the database, the account, and the seconds of the right to send and of its answer.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from kartra_mcp.app import composition
from kartra_mcp.cli.main import main
from kartra_mcp.core.timings import CallTimings, WriteTimings
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.postgres.connections import Connections
from kartra_mcp.ledger.postgres.send_rights import SendRights
from kartra_mcp.ledger.postgres.store import StoreOptions, open_team_ledger

VARIABLE = "TEAM_LEDGER"
KEY = b"k" * 32


def open_named(words: str) -> Ledger:
    """Open the ledger that a value of the variable names."""
    dsn, account, send_seconds, answer_seconds = json.loads(words)
    rights = SendRights(send_seconds, answer_seconds)
    options = StoreOptions(rights=rights, durable=False)
    return open_team_ledger(Connections(dsn), account, KEY, options=options)


def install(words: str) -> None:
    """Let the server of this process use that ledger."""
    timings = CallTimings(writes=WriteTimings(send_seconds=json.loads(words)[2]))
    opened = partial(open_named, words)
    composition.build_app = partial(composition.build_app, open_ledger=opened, timings=timings)


if __name__ == "__main__":
    install(os.environ[VARIABLE])
    main(["serve"])
