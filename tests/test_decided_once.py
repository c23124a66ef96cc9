"""Operation and decision of a call: computed in one place, carried to the ledger."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from consent_actors import CANCEL, REFUND, changed, confirmed, lines, sandbox
from harness import call, connect

from kartra_mcp.catalogue.builtin_tools import PROXY_WRITE
from kartra_mcp.catalogue.decided_calls import decide_call
from kartra_mcp.catalogue.raw_calls import make_raw_call
from kartra_mcp.core.models import (
    Action,
    Call,
    Command,
    Decision,
    Gate,
    Operation,
    Risk,
    ValidatedCall,
)
from kartra_mcp.kartra.values import normalize_amount
from kartra_mcp.policy.gates import Policy

ROOT = Path(__file__).parent.parent / "kartra_mcp"

# A function that decides about a call → the files that call it, and from how many places.
CALLERS: Mapping[str, dict[str, int]] = {
    "Call": {"catalogue/decided_calls": 1},
    "Operation": {"kartra/operations": 1},
    "Decision": {"policy/gates": 1},
    # Again where the labels of options became their ids.
    "derive_operation": {"catalogue/decided_calls": 1, "calls/argument_checks": 1},
    # Again where the account shows a higher risk than the arguments.
    "evaluate_call": {"catalogue/decided_calls": 2},
    # Of an action, of the same action after a refresh, of a raw request, of a bulk item, and of a
    # write that a run log has and a rolled-back ledger lacks.
    "decide_call": {"calls/dispatcher": 3, "bulk/item_calls": 1, "team/account_tools": 1},
    # Of a call, and of a whole bulk run.
    "make_intent_id": {"consent/intents": 2},
    # Again where a call or an item of a bulk run is only compared with earlier ones.
    "draft_intent": {"calls/writes": 2, "bulk/planning": 1, "team/account_tools": 1},
    # Again for an item of a bulk run, whose consent was obtained before.
    "add_facts": {"consent/flow": 1, "calls/item_grant": 1},
}


def callers(name: str) -> Counter[str]:
    """Return the files of the server that call a function of this name, and how often."""
    return Counter(file for file, called in all_calls() if called == name)


@cache
def all_calls() -> list[tuple[str, str]]:
    """Return (file, name of the called function) of every call in the server."""
    return [
        (file.relative_to(ROOT).with_suffix("").as_posix(), _name(node.func))
        for file in ROOT.rglob("*.py")
        if "sandbox" not in file.parts
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


@pytest.mark.parametrize("name", CALLERS)
def test_what_is_decided_about_a_call_is_decided_in_one_place(name: str):
    assert callers(name) == CALLERS[name]


def test_no_other_file_uses_the_module_that_derives_operations():
    module = "kartra_mcp.kartra.operations"
    users = {
        file.relative_to(ROOT).with_suffix("").as_posix()
        for file in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if (isinstance(node, ast.ImportFrom) and node.module == module)
        or (isinstance(node, ast.ImportFrom | ast.Import) and _imports_operations(node))
    }
    assert users == {"catalogue/decided_calls", "calls/argument_checks"}


def _imports_operations(node: ast.ImportFrom | ast.Import) -> bool:
    start = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
    return any(start + alias.name == "kartra_mcp.kartra.operations" for alias in node.names)


def test_no_call_exists_without_its_operation_and_decision():
    decided = [field for field in fields(Call) if field.name in {"deferred", "decision"}]
    parts = [*decided, *fields(Operation), *fields(Decision)]
    assert len(decided) == 2
    assert all(f.default is MISSING and f.default_factory is MISSING for f in parts)


def by_action(tool: str, command: str, risk: Risk, **given: Any) -> Call:
    """Return the call of an action of the sandbox with these arguments."""
    key = tool.removeprefix("kartra_").replace("_", "-")
    commands = (Command(command, given),)
    made = ValidatedCall(tool, key, Action(key, key, key), risk, frozenset(), commands, given)
    return decide_call(made, Policy())


def by_raw_request(**given: Any) -> Call:
    return decide_call(make_raw_call(PROXY_WRITE, given, ASKING), ASKING)


ASKING = Policy(dict.fromkeys(Risk, Gate.PREVIEW))
UNTAG: dict[str, Any] = {
    "method": "POST",
    "path": "/api",
    "json": {
        "lead": {"id": 48110},
        "actions": [{"cmd": "unassign_tag", "tag_name": "VIP"}],
    },
}
WRITES: Mapping[str, tuple[str, dict[str, Any], Call]] = {
    "a refund in full": (
        REFUND,
        {"transaction_id": 101},
        by_action(REFUND, "refund_transaction", Risk.IRREVERSIBLE, transaction_id=101),
    ),
    "a refund in part, in another spelling": (
        REFUND,
        {"transaction_id": "0101", "refund_amount": "10.5"},
        by_action(
            REFUND,
            "refund_transaction",
            Risk.IRREVERSIBLE,
            transaction_id=101,
            refund_amount=10.50,
        ),
    ),
    "a cancellation": (
        CANCEL,
        {"subscription_id": 201},
        by_action(CANCEL, "cancel_transaction", Risk.IRREVERSIBLE, subscription_id=201),
    ),
    "a raw request": (PROXY_WRITE.name, UNTAG, by_raw_request(**UNTAG)),
}


@pytest.mark.anyio
@pytest.mark.parametrize("case", WRITES)
async def test_the_ledger_has_the_operation_that_the_call_carries(tmp_path: Path, case: str):
    tool, given, made = WRITES[case]
    place = sandbox(tmp_path, GATE_DESTRUCTIVE="preview")
    async with connect(place, "legacy") as client:
        preview = await call(client, tool, **given)
        bound = changed(place, "SELECT binding FROM confirmations")
        done = await call(client, tool, **given, **confirmed(preview))
    assert done.structured is not None, done.text
    (intent,) = lines(place, "intent")
    carried = made.operation
    assert carried.target is not None
    assert normalize_amount(intent["amount"]) == normalize_amount(carried.amount)
    assert intent == intent | {
        "intent": done.structured["receipt"]["intent"],
        "operation": carried.name,
        "target_kind": carried.target.kind,
        "target": carried.target.id,
        "arguments_digest": carried.digest,
    }
    assert [carried.digest in binding for (binding,) in bound] == [True]
