"""An account of its own for each test, and short words for what is asked of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kartra_mcp.sandbox import kartra_api
from kartra_mcp.sandbox.account import Account

Ask = Callable[..., Any]


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    found = Account(str(tmp_path / "account.db"))
    yield found
    found.close()


@pytest.fixture
def ask(account: Account) -> Ask:
    """Send one command; its own part of the answer."""

    def send(cmd: str, lead: Any = None, **parameters: Any) -> Any:
        body = {"lead": lead, "actions": [{"cmd": cmd, **parameters}]}
        with account.transaction():
            answer = kartra_api.answer(account, body)
        return answer["actions"][0][cmd] if "actions" in answer else answer

    return send


@pytest.fixture
def look(account: Account) -> Ask:
    """A lead as `get_lead` shows it now."""

    def send(**lead: Any) -> Any:
        return kartra_api.answer(account, {"get_lead": lead})["lead_details"]

    return send
