"""Remedies name the exact tool, and never lead from a reading word to a writing tool."""

from __future__ import annotations

from typing import Any

import pytest

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Risk
from kartra_mcp.kartra.commands import COMMANDS
from kartra_mcp.kartra.request_guard import (
    parse_request,
    reject_dedicated_commands,
    require_read_only,
)

WRITERS = ("kartra_proxy_write", "kartra_cancel", "kartra_refund", "kartra_assign")
READING_TYPOS = [
    ("get_leed", "get_lead"),
    ("retrieve_account_tag", "retrieve_account_tags"),
    ("get_subscription", "get_subscription_details"),
    ("get_transaction_detail", "get_transaction_details"),
    ("get_refunds", ""),
    ("list_cancellations", ""),
    ("search_refund", ""),
]


def refuse(check: Any, cmd: str) -> RefusedError:
    request = parse_request(
        {"path": "/api", "method": "POST", "json": {"actions": [{"cmd": cmd}], "lead": {"id": 1}}}
    )
    with pytest.raises(RefusedError) as refused:
        check(request)
    return refused.value


@pytest.mark.parametrize(("typed", "meant"), READING_TYPOS)
def test_a_raw_typo_of_a_read_is_answered_by_reads(typed, meant):
    """Bug: it was answered with "use kartra_proxy_write", or with the cancellation tool."""
    remedy = refuse(require_read_only, typed).remedy
    assert meant in remedy
    assert not any(tool in remedy for tool in WRITERS)


@pytest.mark.parametrize("typed", ["get_refund", "list_cancellations"])
def test_a_reading_word_in_a_raw_write_does_not_lead_to_a_refund(typed):
    remedy = refuse(reject_dedicated_commands, typed).remedy
    assert not any(tool in remedy for tool in WRITERS)
    assert "kartra_proxy_read" in remedy


@pytest.mark.parametrize(
    "command", [name for name, row in COMMANDS.items() if row.risk > Risk.READ]
)
def test_a_writing_command_of_a_raw_read_is_answered_with_its_own_tool(command):
    assert "Use kartra_" in refuse(require_read_only, command).remedy


BROKEN_PATHS = ["api", "", "https://app.kartra.com/api"]


@pytest.mark.parametrize("path", BROKEN_PATHS)
def test_a_path_error_does_not_say_the_opposite(path):
    """Bug: "path breaks a rule: it begins with a slash" for a path that begins with none."""
    with pytest.raises(RefusedError) as refused:
        parse_request({"path": path})
    assert "must begin with one slash" in refused.value.message
