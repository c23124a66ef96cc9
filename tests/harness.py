"""The front door for tests: an MCP client on the real server, and what it did to the account."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import (
    AbstractContextManager,
    asynccontextmanager,
    closing,
    contextmanager,
    nullcontext,
)
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import in_process
import pytest
from fake_membrane_api import words_of
from fork_server import forked
from mcp import Client, StdioServerParameters
from mcp_types import TextContent

import kartra_mcp
from kartra_mcp.app.composition import build_app
from kartra_mcp.core.timings import CallTimings, Clocks
from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.processes import runner
from kartra_mcp.sandbox.http import auth
from kartra_mcp.sandbox.store import request_journal
from kartra_mcp.sandbox.store.database import Account
from kartra_mcp.settings import read_settings

ERAS = ("legacy", "2026-07-28")
both_eras = pytest.mark.parametrize("protocol_version", ERAS)
"""For what may differ between the protocol's eras: questions, list changes, errors, the wire."""
SHORT = CallTimings(min_human=0.05, retry=0.02, progress=0.1, connect_poll=0.05, refresh_delay=0.02)
"""The waits of a server in this process; a server that is a process has the real ones."""
REAL_CLOCKS = Clocks()
_PUBLISHED = Path(kartra_mcp.__file__).parent / "sandbox" / "membrane" / "actions.json"
READING = frozenset(
    action["id"]
    for action in json.loads(_PUBLISHED.read_text(encoding="utf-8"))
    if action["key"].startswith(("get-", "retrieve-"))
)
"""Ids of the published actions that read."""


RAW_READS = ('--data={"get_lead"', '--data={"actions": [{"cmd": "get_subscription_details"')
"""Beginnings of the raw requests by which the server looks before a write."""


def _is_read(words: list[str]) -> bool:
    """Return whether a program runs a reading action, or reads by a raw request."""
    raw = any(word.startswith(RAW_READS) for word in words)
    return raw or not READING.isdisjoint(words)


STAND_IN = Path(__file__).with_name("fake_membrane.py")


@dataclass
class Sandbox:
    """A sandbox account in a folder of its own.

    Its ledger is that of the state folder, or that of `ledger_place` (`ledger_stores.py`).
    """

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    ledger_place: Any = field(default=None, kw_only=True)

    @property
    def environment(self) -> dict[str, str]:
        return environment(self.folder, {"SANDBOX": "on", **self.settings})

    @property
    def file(self) -> Path:
        return self.folder / "sandbox" / "account.db"

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.file)) as database, database:
            return database.execute(sql, values).fetchall()

    def started(self) -> list[list[str]]:
        """The words of every program that was started on this account."""
        if not self.file.exists():
            return []
        return [json.loads(argv) for (argv,) in self.rows("SELECT argv FROM journal ORDER BY n")]

    def runs(self) -> list[list[str]]:
        """The starts that ran an action or sent a request."""
        return [w for w in self.started() if w[:2] == ["action", "run"] or w[0] == "request"]

    def writes(self) -> list[list[str]]:
        """The runs, but for the reads by which the server checks a write."""
        return [words for words in self.runs() if not _is_read(words)]

    def dump(self) -> list[str]:
        """The whole account but for the journals and the logs of runs."""
        ours = ('"journal"', "'journal'", '"run_logs"', '"requests"', "'requests'")
        with closing(sqlite3.connect(self.file)) as database:
            return [line for line in database.iterdump() if not any(x in line for x in ours)]

    def arrange(self, *words: str) -> Sandbox:
        """Arrange the account by the sandbox's own verbs; the account is made if it is not."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        done = in_process.sandbox(f"--account={self.file}", *words)
        assert done.exit_code == 0, done
        return self


@dataclass
class StandIn:
    """The stand-in program with a plan; what was started is in its log."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    def plan(self, **verbs: Any) -> StandIn:
        """Set the answers; `action_list` is the verb `action list`. Others stay as they are."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "plan.json"
        now = json.loads(file.read_text()) if file.exists() else {}
        now |= {verb.replace("_", " "): answer for verb, answer in verbs.items()}
        file.write_text(json.dumps(now))
        return self

    @property
    def environment(self) -> dict[str, str]:
        command = json.dumps([sys.executable, str(STAND_IN), str(self.folder)])
        # A list of a test's own actions is what the test is about, and it has no leads.
        own = {"MEMBRANE": command, "COMMANDS": "off", "CHECK_LEAD": "off", **self.settings}
        return environment(self.folder / "state", own)

    def started(self) -> list[list[str]]:
        return [words for _, words in self.log()]

    def runs(self) -> list[list[str]]:
        return [w for w in self.started() if w[:2] == ["action", "run"] or w[0] == "request"]

    def pids(self) -> list[int]:
        children = self.folder / "children"
        left = children.read_text().split() if children.exists() else []
        pids = [pid for pid, _ in self.log()] + [int(pid) for pid in left]
        assert 0 not in pids, "some starts were no processes: use the fixture real_processes"
        return pids

    def log(self) -> list[tuple[int, list[str]]]:
        """Every start: its process id, 0 in this process, and its words."""
        log = self.folder / "log"
        lines = map(json.loads, log.read_text().splitlines()) if log.exists() else ()
        return [(line["pid"], line["words"]) for line in lines]


@dataclass
class APIStandIn(StandIn):
    """The same plan, played by Membrane's API on a socket of this machine."""

    address: str = ""
    token: str = "a-token-of-the-tests"

    @property
    def environment(self) -> dict[str, str]:
        settings = {"CHECK_LEAD": "off", **self.settings}
        return api_environment(self.folder / "state", self.address, self.token, settings)

    def pids(self) -> list[int]:
        return []

    def lines(self, name: str) -> list[str]:
        """Return its files besides the log: `bodies`, `tokens`, `left`."""
        file = self.folder / name
        return file.read_text().splitlines() if file.exists() else []


@dataclass
class APISandbox(Sandbox):
    """A sandbox account behind `serve`: to the server it is a real one, on an API of its own.

    With `token` it sends that fixed access token, else tokens that it mints.
    """

    address: str = ""
    token: str = ""

    @property
    def environment(self) -> dict[str, str]:
        state = self.folder / "sandbox"
        return api_environment(state, self.address, self.token, self.settings)

    def entries(self, intent: str) -> list[dict[str, Any]]:
        """Return every entry of an intent in the ledger, oldest first."""
        with closing(open_ledger(self.folder / "sandbox")) as ledger:
            found = ledger.get(intent)
        assert found is not None
        return found["lines"]

    def requests(self, action: str = "") -> list[dict[str, Any]]:
        """Return the API's journal, of one action or of all requests."""
        with closing(Account(str(self.file))) as account:
            found = request_journal.list_requests(account)
        return [row for row in found if not action or row["action"] == action]

    def started(self) -> list[list[str]]:
        """The words of every program, and of every request as a program's."""
        return [_as_words(words) for words in super().started()]


def _as_words(words: list[str]) -> list[str]:
    if len(words) != 3 or words[0] not in {"GET", "POST"}:
        return words
    return words_of(words[0], words[1], json.loads(words[2] or "{}"))


@contextmanager
def sandbox_served(place: Sandbox) -> Generator[APISandbox]:
    """The account of a folder with `serve` in front of it."""
    place.file.parent.mkdir(parents=True, exist_ok=True)
    with in_process.served(place.file) as address:
        yield APISandbox(place.folder, place.settings, address)


def sandbox_by(way: str, place: Sandbox) -> AbstractContextManager[Sandbox]:
    return nullcontext(place) if way == "cli" else sandbox_served(place)


CONNECTION = {"id": "c1", "name": "Kartra", "state": "READY", "integration": {"key": "kartra"}}


def action(key: str, **more: Any) -> dict[str, Any]:
    """One entry of an action list."""
    return {"id": f"id-{key}", "key": key, "name": key.replace("-", " ").title(), **more}


def healthy(*actions: dict[str, Any]) -> dict[str, Any]:
    """A plan in which everything answers; runs echo `ok`."""
    return {
        "--version": {"out": "1.18.3\n"},
        "connection list": {"out": {"items": [CONNECTION]}},
        "action list": {"out": {"items": list(actions)}},
        "action run": {"out": {"output": {"status": "Success"}, "actionRunId": "run-1"}},
        "request": {"out": {"status": 200, "headers": {}, "body": {"status": "Success"}}},
    }


def environment(state: Path, settings: dict[str, str]) -> dict[str, str]:
    # A page process would outlive the test, and a rate limit would slow it down.
    defaults = {"PAGE": "off", "RATE": "0"}
    own = {f"KARTRA_MCP_{name}": value for name, value in {**defaults, **settings}.items()}
    return {"KARTRA_MCP_STATE_DIR": str(state), "PATH": "/usr/bin:/bin", "HOME": str(state), **own}


def api_environment(
    state: Path, address: str, token: str, settings: dict[str, str]
) -> dict[str, str]:
    pair = {
        "MEMBRANE_WORKSPACE_KEY": auth.WORKSPACE,
        "MEMBRANE_WORKSPACE_SECRET": auth.SECRET,
        "MEMBRANE_TENANT_KEY": auth.TENANT,
    }
    api = {"MEMBRANE_ACCESS_TOKEN": token} if token else pair
    return {**environment(state, settings), "MEMBRANE_API_URI": address, **api}


class Programs:
    """True if programs run as functions of this process; the fixture `real_processes` clears it."""

    real = False


def run_program() -> runner.Run:
    return runner.run if Programs.real else in_process.run


@asynccontextmanager
async def connect(
    place: Sandbox | StandIn,
    era: str,
    *,
    timings: CallTimings = SHORT,
    clocks: Clocks = REAL_CLOCKS,
    **client: Any,
) -> AsyncGenerator[Client]:
    """A client on the real server in this process, and so are the programs where they can be."""
    ledger_place = place.ledger_place if isinstance(place, Sandbox) else None
    made = build_app(
        read_settings({}, place.environment),
        clocks.wall,
        steady=clocks.steady,
        run_program=run_program(),
        timings=timings,
        open_ledger=ledger_place and ledger_place.open,
    )
    try:
        async with Client(made.mcp.server, mode=era, **client) as connected:
            yield connected
    finally:
        await made.close()


@asynccontextmanager
async def connect_stdio(
    place: Sandbox | StandIn, era: str, *words: str, **client: Any
) -> AsyncGenerator[Client]:
    """Connect a client to the real server as a real process; `words` are its arguments."""
    command, *args = forked("-m", "kartra_mcp", "serve", *words)
    parameters = StdioServerParameters(command=command, args=args, env=place.environment)
    async with Client(parameters, mode=era, **client) as connected:
        yield connected


async def call(client: Client, tool: str, /, **arguments: Any) -> Answer:
    """The answer of a tool, success or failure."""
    result = await client.call_tool(tool, arguments)
    block = result.content[0]
    assert isinstance(block, TextContent)
    return Answer(bool(result.is_error), block.text, result.structured_content)


@dataclass
class Answer:
    failed: bool
    text: str
    structured: dict[str, Any] | None

    @property
    def error(self) -> dict[str, Any]:
        assert self.failed, self.text
        return json.loads(self.text)["error"]

    @property
    def code(self) -> str:
        return self.error["code"]

    @property
    def executed(self) -> str:
        return self.error["executed"]

    @property
    def result(self) -> Any:
        assert not self.failed, self.text
        assert self.structured is not None
        return self.structured["result"]
