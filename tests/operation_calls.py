"""Calls for tests of operations: an action, a chain of raw commands, a raw request."""

from __future__ import annotations

from typing import Any

from kartra_mcp.core.models import Action, Command, RawRequest, Risk, ValidatedCall
from kartra_mcp.kartra.commands import find_action_command

REFUND, CANCEL = "refund-transaction", "cancel-subscription"
WORST = Risk.IRREVERSIBLE


def by_action(key: str, **given: Any) -> ValidatedCall:
    command = find_action_command(key)
    commands = (Command(command, given),) if command else ()
    operation = Action("id", key, key)
    return ValidatedCall("kartra_x", key, operation, WORST, frozenset(), commands, given)


def raw(*commands: Command) -> ValidatedCall:
    request = RawRequest("POST", "/api", body="{}", commands=commands)
    return ValidatedCall("kartra_proxy_write", "Raw", request, WORST, frozenset(), commands)


def raw_request(**instead: Any) -> ValidatedCall:
    said: dict[str, Any] = {"method": "POST", "path": "/api", "body": "{}", "query": (("a", "1"),)}
    request = RawRequest(**{**said, **instead})
    return ValidatedCall("kartra_proxy_write", "Raw", request, WORST, frozenset())
