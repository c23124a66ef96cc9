"""The sandbox as a web server for tests: start, arrange, inspect."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kartra_mcp.sandbox.kartra import fault_injection
from kartra_mcp.sandbox.store import seed
from kartra_mcp.sandbox.store.database import Account

ROOT = Path(__file__).parents[2]
ADA = {"lead_id": 48110}
REFUND = {"key": "refund-transaction", "input": {"transaction_id": 101}}
KARTRA = {"connectionId": seed.CONNECTION}
Ask = Callable[..., Any]


def start(file: Path, *words: str) -> "subprocess.Popen[str]":
    line = [sys.executable, "-m", "kartra_mcp.sandbox", f"--account={file}", "serve", *words]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(line, cwd=ROOT, stdin=subprocess.DEVNULL, **pipes)


def introduced(process: "subprocess.Popen[str]") -> dict[str, str]:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def put(account: Account, cmd: str, kind: str, message: str = "", *, effect: bool = False) -> None:
    with account.transaction():
        fault_injection.set_fault(account, cmd, kind, 1, message, effect=effect)


def refunds(account: Account, number: int = 101) -> int:
    return account.number("SELECT count(*) FROM transactions WHERE parent_id = ?", number)
