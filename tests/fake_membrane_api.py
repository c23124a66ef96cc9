"""Membrane's API by a plan, on a real socket of this machine; it is not the sandbox.

The plan is that of `fake_membrane.py`, by the words that the program would have been started with,
and so is the log: the same tables of steps work over HTTP. An `exit` other than 0 is an error
status, `signal` closes the connection, `hang` answers nothing until the client
is gone (a line in FOLDER/left). Only here: {"http": status, "headers": {…}, "cut": true (half of
`out`, then closed), "drip": seconds between the letters of `out`, "shut": true (closed after the
answer), "after": text sent when FOLDER/read is there}. Of every request FOLDER has a line in
`asked`, `tokens` and `ports` (the client's), of one with a body in `bodies`. "$token" in `out`
is replaced by the received token.
"""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from fake_membrane import step

STATUS = {
    "not_authenticated": 401,
    "access_denied": 403,
    "not_found": 404,
    "rate_limit_exceeded": 429,
}
JSON = {"Content-Type": "application/json; charset=utf-8"}


class Server(ThreadingHTTPServer):
    """One for a folder; it ends with everything that it holds back."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answerer)
        self.folder = folder
        self.ending = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that has disconnected."""


class Answerer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def ours(self) -> Server:
        assert isinstance(self.server, Server)
        return self.server

    def do_GET(self) -> None:
        self.answer({})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.note("bodies", body.decode())
        self.answer(json.loads(body))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's
        """Nothing on stderr."""

    def answer(self, body: dict[str, Any]) -> None:
        words = words_of(self.command, self.path, body)
        self.note("tokens", self.headers.get("Authorization", ""))
        self.note("asked", f"{self.command} {self.path}")
        self.note("ports", str(self.client_address[1]))
        self.note("log", json.dumps({"pid": 0, "words": words}))
        now: dict[str, Any] = cast("Any", step)(self.ours.folder, words)
        gate = self.ours.folder / str(now.get("gate"))
        if now.get("child"):
            self.note("children", "")
        if now.get("hang") or (now.get("gate") and not self.waited(gate)):
            self.hang()
            return
        if "signal" in now:
            self.close()
            return
        self.say(now, words)
        if "done" in now:
            (self.ours.folder / now["done"]).touch()

    def say(self, now: dict[str, Any], words: list[str]) -> None:
        out = now.get("out", "")
        text = (out if isinstance(out, str) else json.dumps(out)) or now.get("err", "")
        text = text.replace('"$words"', json.dumps(words))
        text = text.replace("$token", self.headers.get("Authorization", ""))
        text += "x" * (40_000_000 * ("flood" in now))
        raw = text.encode()
        self.send_response(now.get("http") or status_of(now, text))
        for name, value in {**JSON, **now.get("headers", {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        if now.get("cut"):
            self.wfile.write(raw[: len(raw) // 2])
            self.close()
        elif now.get("drip"):
            for letter in raw:
                self.wfile.write(bytes([letter]))
                time.sleep(now["drip"])
        else:
            self.wfile.write(raw)
        if now.get("shut"):
            self.close()
            self.note("shut", "")
        if "after" in now:
            self.say_unasked(now["after"])

    def say_unasked(self, text: str) -> None:
        """Continue once the test has read the answer: the client waits for nothing then."""
        self.wfile.flush()
        if self.waited(self.ours.folder / "read"):
            self.wfile.write(text.encode())
            self.wfile.flush()
            (self.ours.folder / "after").touch()

    def waited(self, gate: Path) -> bool:
        while not gate.exists():
            if self.is_gone(0.01):
                return False
        return True

    def hang(self) -> None:
        while not self.is_gone(0.05):
            pass
        self.note("left", "")
        self.close_connection = True

    def is_gone(self, seconds: float) -> bool:
        if self.ours.ending.is_set():
            return True
        readable, _, _ = select.select([self.connection], [], [], seconds)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def close(self) -> None:
        self.wfile.flush()
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def note(self, name: str, line: str) -> None:
        with (self.ours.folder / name).open("a") as file:
            file.write(line + "\n")


def status_of(now: dict[str, Any], text: str) -> int:
    if now.get("exit", 0) == 0 or "signal" in now:
        return 200
    try:
        error = json.loads(text)
    except ValueError:
        return 500
    error = error.get("error", error)
    if not isinstance(error, dict) or error.get("type") == "internal":
        return 500
    return STATUS.get(error.get("key", ""), 400)


VERBS = {
    "GET /connections": "connection list",
    "GET /connections/*": "connection get",
    "GET /actions": "action list",
    "GET /search": "search",
    "GET /action-run-logs": "action-run-log list",
    "POST /act": "action run",
    "POST /connect": "connect",
    "POST /connections": "connection create",
    "POST /connections/*/request": "request",
    "POST /connections/*/reconnect": "reconnect",
}


def words_of(method: str, address: str, body: dict[str, Any]) -> list[str]:
    """A request as the words that would have asked the program the same."""
    parts = [unquote(part) for part in urlsplit(address).path.strip("/").split("/")]
    shape = "/".join([*parts[:1], *["*"] * len(parts[1:2]), *parts[2:]])
    said = [body[name] for name in ("id", "path") if name in body]
    rest = {name: value for name, value in body.items() if name not in ("id", "path")}
    flags = [*parse_qsl(urlsplit(address).query, keep_blank_values=True), *rest.items()]
    words = [
        f"--{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in flags
    ]
    verb = VERBS.get(f"{method} /{shape}", f"{method} /{shape}")
    return [*verb.split(), *parts[1:2], *said, *words, "--json"]


@contextmanager
def serving(folder: Path) -> Generator[str]:
    """The address of a stand-in that plays the plan of this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    server = Server(folder)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.ending.set()
        server.shutdown()
        server.server_close()
        thread.join()
