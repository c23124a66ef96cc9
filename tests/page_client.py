"""Page fixtures for tests: a page in a process or a thread, and a client with raw headers."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import anyio
from consent_actors import ledger_folder
from harness import Sandbox
from polling import gone

from kartra_mcp.app.page_discovery import FILE, claim_page, find_page
from kartra_mcp.ledger.approval_records import ApprovalRequest
from kartra_mcp.ledger.records import Binding
from kartra_mcp.settings import read_settings
from kartra_mcp.web.server import serve
from kartra_mcp.web.timings import PageTimings

ROOT = Path(__file__).parent.parent
PIN, WRONG = "correct horse", "battery staple"
FACTS = {"transaction_id": "101", "buyer": "Ada Moreno <ada@example.com>", "effect": "pays"}
WITHIN = 60
TIMINGS = PageTimings(event_poll=0.05)


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    text: str


@dataclass
class ServedPage:
    """A running page and its login address."""

    address: str

    @property
    def port(self) -> int:
        return urlsplit(self.address).port or 0

    def visitor(self, address: str = "") -> Visitor:
        """Return a client with a session."""
        return Visitor(self.port).enter(address or self.address)


@dataclass
class Served(ServedPage):
    """A page process."""

    process: subprocess.Popen[str]


@dataclass
class ServedHere(ServedPage):
    """A page in a thread of this process."""

    thread: threading.Thread

    def ends_within(self, seconds: float) -> bool:
        self.thread.join(seconds)
        return not self.thread.is_alive()


class Stop:
    """Ends a page in a thread, as a signal ends a process."""

    def __init__(self) -> None:
        self._heard, self._told = socket.socketpair()

    async def wait_for_one(self) -> None:
        await anyio.wait_readable(self._heard)

    def ignore(self) -> None:
        """Further requests to stop cannot arrive in a thread."""

    def send(self) -> None:
        self._told.send(b"!")

    def close(self) -> None:
        self._heard.close()
        self._told.close()


@dataclass
class Visitor:
    """HTTP client that acts as a browser or as an attacker: tests control every header."""

    port: int
    cookie: str = ""
    own: dict[str, str] = field(default_factory=dict)

    def enter(self, address: str) -> Visitor:
        reply = self.get(urlsplit(address).path)
        assert reply.status == 303, reply
        self.cookie = reply.headers["set-cookie"].partition(";")[0]
        return self

    def get(self, path: str, headers: Any = (), method: str = "GET") -> Reply:
        return self.ask(method, path, headers)

    def post(self, path: str, headers: Any = None, **fields: str) -> Reply:
        """Post a form as a browser does from our own page."""
        said = {"origin": f"http://127.0.0.1:{self.port}", "sec-fetch-site": "same-origin"}
        body = urlencode({"csrf": self.csrf(), **fields})
        return self.ask("POST", path, said if headers is None else headers, body)

    def decide(self, number: int, decision: str, pin: str = PIN, reason: str = "") -> Reply:
        path = f"/approvals/{number}"
        return self.post(path, decision=decision, pin=pin, reason=reason, seen=self.seen(number))

    def seen(self, number: int) -> str:
        """Return the fingerprint of the facts that the card shows."""
        card = self.get("/").text.partition(f'action="/approvals/{number}"')[2]
        found = re.search(r'name="seen" value="([^"]+)"', card)
        return found[1] if found else ""

    def decided(self, number: int, decision: str, pin: str = PIN, reason: str = "") -> Reply:
        """Decide, then follow the redirect."""
        return self.after(self.decide(number, decision, pin, reason))

    def after(self, reply: Reply) -> Reply:
        """Follow a redirect."""
        assert reply.status == 303, reply
        return self.get(urlsplit(reply.headers["location"]).path)

    def csrf(self) -> str:
        if "csrf" not in self.own:
            forms = r'name="csrf" value="([^"]+)"'
            pages = (self.get(path).text for path in ("/", "/status"))
            self.own["csrf"] = next(found[1] for text in pages if (found := re.search(forms, text)))
        return self.own["csrf"]

    def ask(self, method: str, path: str, headers: Any = (), body: str | None = None) -> Reply:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=WITHIN)) as wire:
            self.send(wire, method, path, headers, body)
            answer = wire.getresponse()
            text = answer.read().decode("utf-8")
            return Reply(answer.status, {n.lower(): v for n, v in answer.getheaders()}, text)

    def send(self, wire: Any, method: str, path: str, headers: Any, body: str | None) -> None:
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        given = {name.lower() for name, _ in pairs}
        wire.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        usual = [("host", f"127.0.0.1:{self.port}"), ("cookie", self.cookie)]
        if body is not None:
            usual.append(("content-type", "application/x-www-form-urlencoded"))
            usual.append(("content-length", str(len(body.encode()))))
        pairs += [(name, value) for name, value in usual if value and name not in given]
        for name, value in pairs:
            if value is not None:
                wire.putheader(name, value)
        wire.endheaders(None if body is None else body.encode())

    @contextmanager
    def listening(self, event: str = "waiting") -> Generator[Iterable[dict[str, Any]]]:
        """Yield the payloads of the stream's events of one name until it ends."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=WITHIN)) as wire:
            self.send(wire, "GET", "/events", (), None)
            answer = wire.getresponse()
            assert answer.status == 200
            yield _events(answer, event)


def _events(answer: http.client.HTTPResponse, event: str) -> Generator[dict[str, Any]]:
    name = ""
    for line in answer:
        if line.startswith(b"event: "):
            name = line.removeprefix(b"event: ").decode().strip()
        if line.startswith(b"data: ") and name == event:
            yield json.loads(line.removeprefix(b"data: "))


def command(place: Sandbox, *words: str, program: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Start the page by Python itself: a fork may end otherwise in its last moment."""
    line = [*program, sys.executable, "-m", "kartra_mcp", "page", "--no-browser", *words]
    return subprocess.Popen(
        line,
        env=place.environment,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def served(place: Sandbox, *words: str) -> Generator[Served]:
    """Run `kartra-mcp page` in the foreground; end it on exit."""
    with command(place, "--json", *words) as process:
        try:
            assert process.stdout is not None
            told = process.stdout.readline()
            assert told, process.communicate(timeout=WITHIN)
            yield Served(json.loads(told)["address"], process)
        finally:
            process.kill()


@contextmanager
def served_here(place: Sandbox, timings: PageTimings = TIMINGS) -> Generator[ServedHere]:
    """Serve a page from a thread of this process, for tests that do not concern the process."""
    held = claim_page(ledger_folder(place))
    assert held is not None
    settings, addresses, begun = (
        read_settings({}, place.environment),
        list[str](),
        threading.Event(),
    )

    def tell(address: str) -> None:
        addresses.append(address)
        begun.set()

    with closing(Stop()) as stop:
        thread = threading.Thread(target=serve, args=(settings, held, tell, timings, stop))
        thread.start()
        try:
            assert begun.wait(WITHIN)
            yield ServedHere(addresses[0], thread)
        finally:
            stop.send()
            thread.join(WITHIN)
            assert not thread.is_alive()


def new_address(place: Sandbox) -> str:
    """Make another login address of the running page, as any process of this user can."""
    page = find_page(ledger_folder(place))
    assert page
    return page.make_login_url(time.time())


def another_address(place: Sandbox) -> str:
    """Return the login address that a second `kartra-mcp page` prints."""
    process = command(place, "--json")
    out, said = process.communicate(timeout=WITHIN)
    assert process.returncode == 0, said
    return json.loads(out)["address"]


def told(place: Sandbox) -> Any:
    """Return the contents of the state folder's `page.json`; None if there is none."""
    file = ledger_folder(place) / FILE
    return json.loads(file.read_text()) if file.exists() else None


def end(place: Sandbox) -> None:
    """End the page that a server started, and wait until it is gone."""
    page = told(place)
    if page is None:
        return
    assert page["pid"] != os.getpid()
    until = time.monotonic() + WITHIN
    while not gone(page["pid"]) and time.monotonic() < until:
        with suppress(ProcessLookupError):  # it ended meanwhile
            os.kill(page["pid"], signal.SIGTERM)
        os.sched_yield()
    assert gone(page["pid"])


def pages(place: Sandbox) -> list[int]:
    """Return the process ids of all pages of this account's folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            environment = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        here = f"KARTRA_MCP_STATE_DIR={place.folder}".encode()
        if b"kartra_mcp" in words and b"page" in words and here in environment:
            found.append(int(process.name))
    return found


def asked(facts: Mapping[str, Any] = FACTS, of: str = "101", summary: str = "") -> ApprovalRequest:
    """Make an approval request of a call that no client makes."""
    binding = Binding("kartra_refund_transaction", f"digest {of}", "c", "2026", "a", "r1", "p")
    words = summary or f"REFUND FULL 97.00 transaction {of}"
    return ApprovalRequest(binding, words, facts, f"facts {of}", "a chat 1.0", f"refund {of}")
