"""Remedies name the exact tool, and never lead from a reading word to a writing tool.

The sweeps read every text of the server, and every remedy that the sandbox can provoke.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from harness import Answer, Sandbox, call, connect
from mcp import Client
from named_commands import commands_in, known_flags, usage_fault

from kartra_mcp.catalogue.builtin_tools import BUILTIN_TOOLS
from kartra_mcp.catalogue.command_tools import NAMES
from kartra_mcp.catalogue.remedies import find_named_tools
from kartra_mcp.cli import main
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Risk
from kartra_mcp.kartra.commands import COMMANDS, PUBLISHED_KEYS
from kartra_mcp.kartra.request_guard import (
    parse_request,
    reject_dedicated_commands,
    require_read_only,
)
from kartra_mcp.options import MIGRATE_VARIABLE, OPTIONS, SERVICE_OPTIONS

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


# Every text of the server

SOURCES = Path(__file__).parent.parent / "kartra_mcp"
ACTIONS = {f"kartra_{key.replace('-', '_')}" for key in PUBLISHED_KEYS}
NO_TOOLS = {
    "kartra_error": "a code",
    "kartra_mcp": "the package",
    "kartra_mcp_unreadable": "a mark of an answer that cannot be read",
    "kartra_mcp_intent": "a field of Membrane's metadata",
    "kartra_mcp_attempt": "a field of Membrane's metadata",
    "kartra_mcp_line": "a field of Membrane's metadata",
    "kartra_mcp_hash": "a field of Membrane's metadata",
    "kartra_page": "a cookie",
}
MEMBRANE: Mapping[str, set[str]] = {
    "": {"--version"},
    "login": {"--tenant"},
    "connect": {"--connectionId", "--connectorId"},
    "connection list": {"--json"},
    "connection get": {"--wait", "--json"},
    "search": {"--elementType", "--json"},
    "action list": {"--connectionId", "--json"},
}
"""Verbs and flags of Membrane's program, as its own documents have them."""


@cache
def texts() -> tuple[tuple[str, str], ...]:
    """Return each text in the server's code with its place; docstrings are left out."""
    files = sorted(
        f for f in SOURCES.rglob("*.py") if "sandbox" not in f.relative_to(SOURCES).parts
    )
    return tuple(
        (f"{name}:{line}", text)
        for file in files
        for name in (file.relative_to(SOURCES),)
        for line, text in _literals(ast.parse(file.read_text(encoding="utf-8")))
    )


def _literals(tree: ast.Module) -> Iterator[tuple[int, str]]:
    nodes = list(ast.walk(tree))
    parts = [part for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values]
    documents = [node.value for node in nodes if isinstance(node, ast.Expr)]
    inner = {id(node) for node in (*parts, *documents)}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(_part(part) for part in node.values)
        elif isinstance(node, ast.Constant) and id(node) not in inner:
            yield node.lineno, node.value if isinstance(node.value, str) else ""


def _part(part: ast.expr) -> str:
    if isinstance(part, ast.FormattedValue):
        return "{" + re.sub(r"[`{}]", "", ast.unparse(part.value)) + "}"
    return str(part.value) if isinstance(part, ast.Constant) else ""


def test_every_tool_that_a_text_names_exists():
    known = {*BUILTIN_TOOLS, *ACTIONS, *NAMES, *NO_TOOLS}
    named = [(place, tool) for place, text in texts() for tool in find_named_tools(text)]
    assert len(named) > 150
    assert [(place, tool) for place, tool in named if tool not in known] == []


def test_every_setting_that_a_text_names_exists():
    known = {*(setting.variable for setting in (*OPTIONS, *SERVICE_OPTIONS)), MIGRATE_VARIABLE}
    pattern = re.compile(r"KARTRA_MCP_[A-Z][A-Z_]*")
    named = [(place, name) for place, text in texts() for name in pattern.findall(text)]
    assert len(named) > 25
    assert [(place, name) for place, name in named if name not in known] == []


def test_a_text_that_sends_to_the_account_names_the_tool():
    """Bug: "Read the lead's transactions" named no tool."""
    sends = re.compile(r"(?:^|[.:] )(?:Read|Search for|Look for|Edit) (?:the|both) (?:lead|acc)")
    found = [(place, text) for place, text in texts() if sends.search(text)]
    assert found
    assert [(place, text) for place, text in found if not find_named_tools(text)] == []


def test_every_command_that_a_text_names_is_understood(tmp_path: Path):
    """One test: each worker would read every text to number a test for each command."""
    commands = sorted({command for _, text in texts() for command in commands_in(text)})
    assert len(commands) > 25
    assert {"kartra-mcp ledger verify", "kartra-mcp page --end"} <= {*commands}
    faults = {command: usage_fault(command, tmp_path) for command in commands}
    assert {command: fault for command, fault in faults.items() if fault} == {}
    assert list(tmp_path.iterdir()) == []


def test_every_flag_that_a_sentence_names_exists():
    ledger = [f"ledger {name}" for name in ("list", "show", "export", "verify", "new")]
    bulk = [f"bulk {name}" for name in ("run", "list", "show", "continue", "cancel", "export")]
    jobs = ("check", "settle", "drift", "revoke", "anchor", "verify", "evidence")
    team = [f"team {name}" for name in jobs]
    known = known_flags([*(command.name for command in main.COMMANDS), *ledger, *bulk, *team])
    others = re.compile(r"`(?:membrane|npm|pipx)[^`]*`|^--.*|.*pip install.*")
    sentences = [(place, others.sub("", text)) for place, text in texts() if " " in text]
    named = [(p, f) for p, text in sentences for f in re.findall(r"(?<!\S)--[a-z][a-z-]+", text)]
    assert len(named) > 15
    assert [(place, flag) for place, flag in named if flag not in known] == []


def test_every_command_of_membrane_that_a_text_names_is_one_of_its_own():
    quoted = [x for _, text in texts() for x in re.findall(r"`membrane( [^`]+)`", text)]
    assert len(quoted) > 10
    assert [words for words in quoted if not _is_of_membrane(words)] == []


def _is_of_membrane(words: str) -> bool:
    plain = re.sub(r"\{[^}]*\}", "x", words).split()
    flags = {word.partition("=")[0] for word in plain if word.startswith("--")}
    verbs = [word for word in plain if not word.startswith("--")]
    rows = (" ".join(verbs[:count]) for count in (2, 1, 0))
    return any(flags <= MEMBRANE[row] for row in rows if row in MEMBRANE)


# Every remedy that the sandbox can provoke, under several exposures and policies


def raw(*commands: dict[str, Any]) -> dict[str, Any]:
    return {
        "method": "POST",
        "path": "/api",
        "json": {"actions": list(commands), "lead": {"id": 48110}},
    }


FAILURES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "an unknown tool": ("kartra_get_leed", {"email": "a@example.com"}),
    "a lead that does not exist": ("kartra_get_lead", {"email": "nobody@example.com"}),
    "an unknown tag": ("kartra_assign_tag", {"lead_id": 48110, "tag_name": "VIIP"}),
    "an unknown list": ("kartra_subscribe_lead_to_list", {"lead_id": 48110, "list_name": "Nwes"}),
    "an unknown custom field": (
        "kartra_edit_lead",
        {"lead_id": 48110, "custom_fields": [{"field_identifier": "nope", "field_value": "1"}]},
    ),
    "a membership that is not held": (
        "kartra_revoke_membership_access",
        {"lead_id": 48110, "membership_name": "Nope", "confirm": True},
    ),
    "a refund of a transaction that does not exist": (
        "kartra_refund_transaction",
        {"transaction_id": 999_999},
    ),
    "a refund of a row that is no sale": ("kartra_refund_transaction", {"transaction_id": 143}),
    "a refund of more than was paid": (
        "kartra_refund_transaction",
        {"transaction_id": 101, "refund_amount": 9_700},
    ),
    "a subscription that does not exist": (
        "kartra_cancel_subscription",
        {"subscription_id": 999_999},
    ),
    "a bulk run of an unknown tool": ("kartra_bulk_run", {"tool": "kartra_nope", "items": [{}]}),
    "a bulk run of a built-in tool": ("kartra_bulk_run", {"tool": "kartra_status", "items": [{}]}),
    "a bulk run that does not exist": ("kartra_bulk_status", {"bulk_id": "bulk_none"}),
    "a confirmation that does not exist": (
        "kartra_refund_transaction",
        {
            "transaction_id": 101,
            "confirm": True,
            "confirmation_id": "c_none",
            "confirmation_summary": "x",
        },
    ),
    "a raw typo of a read": ("kartra_proxy_read", raw({"cmd": "get_leed"})),
    "a raw write of the read tool": ("kartra_proxy_read", raw({"cmd": "give_points_to_lead"})),
    "a raw refund of the read tool": ("kartra_proxy_read", raw({"cmd": "refund_transaction"})),
    "another method of the read tool": ("kartra_proxy_read", {"method": "PUT", "path": "/api"}),
    "a raw path that refunds": (
        "kartra_proxy_read",
        {"method": "POST", "path": "/transactions/101/refund"},
    ),
    "a raw refund": ("kartra_proxy_write", raw({"cmd": "refund_transaction"})),
    "a raw cancellation": ("kartra_proxy_write", raw({"cmd": "cancel_transaction"})),
    "an intent that does not exist": ("kartra_reconcile", {"intent": "int_none"}),
    "a result that does not exist": ("kartra_read_more", {"result_id": "r_none"}),
    "a write by the tool that reads": (
        "kartra_run_read",
        {"action": "kartra_assign_tag", "arguments": {"lead_id": 48110, "tag_name": "VIP"}},
    ),
    "a built-in tool as an action": ("kartra_run_read", {"action": "kartra_status"}),
}
SEARCHES = [
    "cancel a refund",
    "delete a lead",
    "merge two leads",
    "find a lead by name",
    "import leads from a file",
    "list all leads",
    "report of all sales",
    "create a tag",
    "create a list",
    "create a sequence",
    "delete a custom field",
    "create a page",
]
WORLDS: Mapping[str, dict[str, str]] = {
    "every action is listed": {"EXPOSE": "all"},
    "search": {"EXPOSE": "search"},
    "search without the run tools": {
        "EXPOSE": "search",
        "DENY": "kartra_run_read,kartra_run_write",
    },
    "read-only": {"READ_ONLY": "on"},
    "no raw requests": {"DENY": "kartra_proxy_*"},
    "one tool": {"ALLOW": "kartra_assign_tag,kartra_refund_transaction"},
    "no command tools": {"COMMANDS": "off"},
    "no command tools, no raw requests": {"COMMANDS": "off", "DENY": "kartra_proxy_*"},
    "no lists of names": {"DENY": "kartra_retrieve_*,kartra_get_lead"},
}


@pytest.mark.anyio
@pytest.mark.parametrize("world", WORLDS)
async def test_every_tool_of_a_remedy_can_be_called_or_is_reported_as_not_offered(
    world: str, tmp_path: Path
):
    """Bug: remedies named tools that the policy hides, or that search exposure does not list."""
    place = Sandbox(tmp_path, WORLDS[world]).arrange("reset")
    wrong: dict[str, str] = {}
    async with connect(place, "legacy") as client:
        listed = {tool.name for tool in (await client.list_tools()).tools}
        # The tools that run actions by name work unlisted too.
        codes = {name: await _code(client, name) for name in BUILTIN_TOOLS}
        listed |= {name for name, code in codes.items() if code not in HIDDEN}
        for case, (tool, given) in FAILURES.items():
            answer = await call(client, tool, **given)
            remedy = answer.error["remedy"]
            assert remedy.endswith(".")
            if not _is_followable(remedy, listed):
                wrong[case] = remedy
        for intent in SEARCHES:
            found = await _search(client, intent)
            if found and not _is_followable(found, listed):
                wrong[intent] = found
    assert wrong == {}


HIDDEN = {"not_allowed", "read_only", "unknown_tool"}


async def _code(client: Client, tool: str) -> str:
    answer = await call(client, tool)
    return answer.code if answer.failed else ""


async def _search(client: Client, intent: str) -> str:
    answer: Answer = await call(client, "kartra_search_actions", intent=intent)
    return "" if answer.structured is None else answer.structured["result"].get("instead", "")


def _is_followable(remedy: str, listed: set[str]) -> bool:
    """Return whether each named tool is listed, or the remedy has its runner or its absence."""
    absent = set(re.findall(r"(kartra_\w+)(?:,)? (?:which )?is not offered here", remedy))
    by_name = dict(re.findall(r"Run (kartra_\w+) by (kartra_run_\w+)\.", remedy))
    return all(
        (tool in listed and tool not in absent)
        or (tool in absent and tool not in listed)
        or by_name.get(tool) in listed
        for tool in find_named_tools(remedy)
    )
