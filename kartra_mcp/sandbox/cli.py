"""The stand-in program: parse the command line, open the account, run the verb, print the result.

Exit status: 0 done, 1 an error of Membrane (its envelope is on stdout), 2 wrong usage. The commands
that only the sandbox has are in `program/admin_commands.py`.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time

from kartra_mcp.sandbox.kartra import fault_injection
from kartra_mcp.sandbox.membrane.errors import MembraneError, ProgramEnd, UsageError
from kartra_mcp.sandbox.program import admin_commands, help_text, verbs
from kartra_mcp.sandbox.program.argv import Arguments
from kartra_mcp.sandbox.program.surroundings import Surroundings
from kartra_mcp.sandbox.store import php_values
from kartra_mcp.sandbox.store.database import Account

DEFAULT = ".kartra-mcp-sandbox.db"
_OF_MEMBRANE = {**verbs.OPEN, **verbs.VERBS}
_EVERY = {**_OF_MEMBRANE, **admin_commands.VERBS, **admin_commands.UNRECORDED}


def main(argv: list[str], around: Surroundings | None = None) -> int:
    """Run a command line and return its exit code; `around` None is this process."""
    line = Arguments(argv, around)
    out, err = line.around.stdout, line.around.stderr
    if line.has("help"):
        print(help_text.told(line.words), file=out)
        return 0
    path = line.get("account") or os.path.join(line.around.home(), DEFAULT)  # noqa: PTH118
    try:
        account = Account(path)
    except (sqlite3.Error, OSError) as error:
        return _fail(MembraneError(f"{path}: {error}", kind="internal", key="").envelope(), line)
    try:
        return _obey(account, line, argv)
    except UsageError as error:
        print(f"membrane (sandbox): {error}", file=err)
        if _name(line) not in _OF_MEMBRANE:
            print(f"\n{help_text.told(line.words)}", file=err)
        return 2
    except ProgramEnd as end:
        account.close()
        return _end(end.kind, line)
    finally:
        account.close()


def _obey(account: Account, line: Arguments, argv: list[str]) -> int:
    name = _name(line)
    if name not in admin_commands.UNRECORDED:
        account.note([word for word in argv if not word.startswith("--account=")])
    if line.has("version"):
        print(verbs.NUMBER, file=line.around.stdout)
        return 0
    if name in help_text.OWN:
        help_text.check(line, name)
    if name == "serve":
        from kartra_mcp.sandbox.http.server import serve

        return serve(account, line)
    if name == "reset":
        account.reset()
        return _show({"reset": True}, line)
    if name not in _EVERY:
        raise UsageError(_describe_unknown(line))
    return _run_verb(account, line, name)


def _name(line: Arguments) -> str:
    pair = " ".join(line.words[:2])
    return pair if pair in _EVERY else "".join(line.words[:1])


def _describe_unknown(line: Arguments) -> str:
    said = " ".join(line.words[:2])
    return f"unknown command {said!r}" if said else "no verb is given"


def _run_verb(account: Account, line: Arguments, name: str) -> int:
    """Run the verb in one transaction. An error is a response, so its log entry is kept."""
    ended: ProgramEnd | None = None
    found: object = None
    code = 0
    with account.transaction():
        try:
            _require_login(account, name)
            found = _EVERY[name](account, line)
        except MembraneError as error:
            found, code = error.envelope(), 1
        except ProgramEnd as end:
            ended = end
    if ended:
        raise ended
    _apply_late_fault(account)
    return _show(found, line) if code == 0 else _fail(found, line)


def _apply_late_fault(account: Account) -> None:
    """Apply a fault that delays or loses the response after the effect."""
    kind, message = account.after or ("", "")
    if kind == fault_injection.SLOW:
        time.sleep(fault_injection.parse_delay(message))
    elif kind:
        raise ProgramEnd(kind)


def _require_login(account: Account, name: str) -> None:
    if name in verbs.VERBS and account.setting("login") != "yes":
        raise MembraneError("Not logged in", key="not_authenticated")


def _fail(envelope: object, line: Arguments) -> int:
    print(json.dumps(envelope), file=line.around.stdout)
    return 1


def _show(found: object, line: Arguments) -> int:
    told = json.dumps(found) if line.has("json") else _format_for_terminal(found)
    print(told, file=line.around.stdout)
    return 0


def _format_for_terminal(found: object) -> str:
    """Format a result as the program prints it to a terminal."""
    if not php_values.is_map(found):
        return str(found)
    if "url" in found:
        return f"Open {found['url']} and come back with the code."
    if "loggedIn" in found:
        return "Logged in" if found["loggedIn"] else "Not logged in"
    if "items" in found:
        return "\n".join(_format_line(one) for one in found["items"])
    shown = found.get("body", found.get("output", found))
    return shown if isinstance(shown, str) else json.dumps(shown, indent=2)


def _format_line(one: object) -> str:
    if not php_values.is_map(one):
        return str(one)
    element = one.get("element", one)
    named = [str(element[name]) for name in ("id", "key", "name", "state") if element.get(name)]
    return "  ".join(named) if named else json.dumps(one)


def _end(kind: str, line: Arguments) -> int:
    """End without a response, as the fault requires."""
    if kind == "hang":
        time.sleep(3600)
    if kind == "killed":
        os._exit(137)
    if kind == "garbage":
        print("\x1b[31mfatal\x1b[0m <html><h1>502 Bad Gateway</h1>", file=line.around.stdout)
        return 0
    if kind == "cut":
        print(fault_injection.HALF, end="", file=line.around.stdout)
        return 0
    return 1
