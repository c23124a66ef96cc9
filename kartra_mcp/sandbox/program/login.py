"""Membrane's login: in a browser, or in two steps with a code."""

from __future__ import annotations

import os
import sys
from typing import Any

from kartra_mcp.sandbox.membrane.errors import MembraneError
from kartra_mcp.sandbox.program.argv import Arguments
from kartra_mcp.sandbox.program.surroundings import Surroundings
from kartra_mcp.sandbox.store.database import Account

Map = dict[str, Any]
ADDRESS = "https://console.getmembrane.com/sandbox/login"
STOPPED = 130


def status(account: Account, _line: Arguments) -> Map:
    logged_in = account.setting("login") == "yes"
    return {
        "loggedIn": logged_in,
        "apiUri": "https://api.getmembrane.com",
        "workspaceKey": "sandbox" if logged_in else None,
        "tenantKey": "sandbox" if logged_in else None,
    }


def login(account: Account, line: Arguments) -> Map:
    """Log in; on a terminal, wait until the user confirms."""
    if line.around.stdin.isatty() and not line.has("non-interactive"):
        _wait_for_the_person(line.around)
    return _entered(account, line)


def start(account: Account, _line: Arguments) -> Map:
    account.set("login_code", os.urandom(6).hex())
    return {"loggedIn": False, "url": ADDRESS}


def complete(account: Account, line: Arguments) -> Map:
    """Complete a login; each code is valid once."""
    code = account.setting("login_code")
    if not code or line.word(2, "code") != code:
        raise MembraneError("The code is wrong or was used", key="not_authenticated")
    account.set("login_code", "")
    return _entered(account, line)


def logout(account: Account, line: Arguments) -> Map:
    account.set("login", "no")
    return status(account, line)


def code(account: Account, _line: Arguments) -> Map:
    """Return the code that the page at the address would show."""
    return {"code": account.setting("login_code")}


def refuse(account: Account, line: Arguments) -> Map:
    """Refuse logins from now on; `login refuse off` allows them again."""
    account.set("login_refused", "no" if line.words[2:] == ["off"] else "yes")
    return {"refused": account.setting("login_refused")}


def _entered(account: Account, line: Arguments) -> Map:
    if account.setting("login_refused") == "yes":
        raise MembraneError("You may not use this workspace", key="access_denied")
    account.set("login", "yes")
    return status(account, line)


def _wait_for_the_person(around: Surroundings) -> None:
    print(f"Open {ADDRESS} in a browser.", file=around.stdout)
    print("Press Enter when you have agreed there. ", end="", file=around.stdout, flush=True)
    try:
        answer = around.stdin.readline()
    except KeyboardInterrupt:
        sys.exit(STOPPED)
    if not answer:
        raise MembraneError("The login was stopped", key="not_authenticated")
