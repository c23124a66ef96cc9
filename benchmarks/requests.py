"""Requests to the sandbox's API by hand, on connections that are kept open."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from functools import partial
from http.client import HTTPConnection
from threading import Thread
from time import perf_counter
from typing import Any, Protocol
from urllib.parse import urlsplit

from benchmarks.accounts import READ, WHOM, Served
from benchmarks.client import Broken


class ApiAccount(Protocol):
    """An account behind the sandbox's API, and a token for it."""

    @property
    def url(self) -> str: ...

    @property
    def token(self) -> str: ...


@contextmanager
def act(account: ApiAccount, tool: str = READ, **given: Any) -> Generator[Callable[[], object]]:
    """Return the request that runs a tool's action once."""
    with sender(account, tool) as send:
        yield partial(send, **(given or WHOM))


@contextmanager
def sender(account: ApiAccount, tool: str) -> Generator[Callable[..., object]]:
    """Return the function that runs a tool's action with some input, on one connection."""
    with closing(HTTPConnection(urlsplit(account.url).netloc)) as connection:
        ask = partial(_asked, connection, account.token)
        connected = ask("GET", "/connections")["items"][0]["id"]
        actions = ask("GET", f"/actions?connectionId={connected}&limit=100")["items"]
        key = tool.removeprefix("kartra_").replace("_", "-")
        found = next(action["id"] for action in actions if action["key"] == key)

        def send(**given: Any) -> object:
            body = {"id": found, "connectionId": connected, "input": given}
            return ask("POST", "/act", json.dumps(body))

        yield send


def rate(account: Served, many: int, count: int) -> float:
    """Return the requests a second on so many connections, `count` in all."""
    each = [Thread(target=_repeat, args=(account, count // many)) for _ in range(many)]
    begun = perf_counter()
    for thread in each:
        thread.start()
    for thread in each:
        thread.join()
    return count // many * many / (perf_counter() - begun)


def _repeat(account: Served, count: int) -> None:
    with act(account) as once:
        for _ in range(count):
            once()


def _asked(
    connection: HTTPConnection, token: str, method: str, path: str, body: str | None = None
) -> Any:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    said = answer.read()
    if answer.status >= 300:  # noqa: PLR2004  every success is below
        raise Broken(f"{method} {path}: {answer.status} {said[:200]!r}")
    return json.loads(said)
