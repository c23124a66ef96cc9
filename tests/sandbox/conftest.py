"""Fixtures: an own account for each test, and short helpers to use it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from http_process import introduced, start

from kartra_mcp.sandbox.kartra import api as kartra_api
from kartra_mcp.sandbox.store.database import Account

Ask = Callable[..., Any]


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    found = Account(str(tmp_path / "account.db"))
    yield found
    found.close()


@pytest.fixture
def ask(account: Account) -> Ask:
    """Send one command; return its own part of the answer."""

    def send(cmd: str, lead: Any = None, **parameters: Any) -> Any:
        body = {"lead": lead, "actions": [{"cmd": cmd, **parameters}]}
        with account.transaction():
            answer = kartra_api.answer(account, body)
        return answer["actions"][0][cmd] if "actions" in answer else answer

    return send


@pytest.fixture
def look(account: Account) -> Ask:
    """Return a lead as `get_lead` shows it now."""

    def send(**lead: Any) -> Any:
        return kartra_api.answer(account, {"get_lead": lead})["lead_details"]

    return send


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """Start one web server for all tests; yield its output. It must exit cleanly."""
    file = tmp_path_factory.mktemp("served") / "account.db"
    process = start(file)
    yield file, introduced(process)
    process.terminate()
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, "")


@pytest.fixture
def live(served: tuple[Path, dict[str, str]]) -> Iterator[Account]:
    """Reset the account behind the web server."""
    found = Account(str(served[0]))
    found.reset()
    yield found
    found.close()


@pytest.fixture
def client(served: tuple[Path, dict[str, str]], live: Account) -> Iterator[httpx2.Client]:
    _, says = served
    headers = {"authorization": f"Bearer {says['token']}"}
    with httpx2.Client(base_url=says["url"], headers=headers, timeout=30) as found:
        yield found


@pytest.fixture
def api(client: httpx2.Client) -> Ask:
    """`api("GET /path", json=…)`: return the answer's JSON; require status 200, or `status`."""

    def send(what: str, status: int = 200, **more: Any) -> Any:
        method, _, address = what.partition(" ")
        answer = client.request(method, address, **more)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    return send


@pytest.fixture
def act(api: Ask) -> Ask:
    """Send a body to `/act`."""

    def send(status: int = 200, **body: Any) -> Any:
        return api("POST /act", status, json=body)

    return send
