"""Many real servers on one ledger and account, all asked for the same refund again and again."""

from __future__ import annotations

import itertools
from collections import Counter
from contextlib import closing
from typing import Any

import anyio
from harness import ERAS, Answer, Sandbox, call, connect_stdio

from kartra_mcp.ledger.sqlite.store import open_ledger

REFUND = "kartra_refund_transaction"
AMOUNTS: tuple[Any, ...] = (97, 97.0, "97.00", " 97 ", None)
NUMBERS: tuple[Any, ...] = (101, "101", " 101 ")
OTHERS = {"already_done", "in_progress", "outcome_unknown"}


async def submit_many(
    sandbox: Sandbox, processes: int, submissions: int
) -> tuple[Counter[str], list[str]]:
    """Counts of each answer, and the faults."""
    sandbox.arrange("reset")
    answers: list[Answer] = []
    ready, go = anyio.CapacityLimiter(4), anyio.Event()
    waiting = itertools.count(1)

    async def one(number: int) -> None:
        async with connect_stdio(sandbox, ERAS[number % 2]) as client:
            async with ready:  # so many starts at once
                await client.list_tools()
            if next(waiting) == processes:
                go.set()
            await go.wait()
            for turn in range(number, number + submissions):
                answer = await call(client, REFUND, **said(sandbox, turn))
                answers.append(answer)

    async with anyio.create_task_group() as tasks:
        for number in range(processes):
            tasks.start_soon(one, number)
    codes = Counter(a.code if a.failed else "done" for a in answers)
    return codes, [*wrong(sandbox, answers), *lost(answers, processes * submissions)]


def said(sandbox: Sandbox, turn: int) -> dict[str, Any]:
    amount = AMOUNTS[turn % len(AMOUNTS)]
    flag = {"confirm": True} if sandbox.settings["GATE_IRREVERSIBLE"] == "flag" else {}
    written = {} if amount is None else {"refund_amount": amount}
    return {"transaction_id": NUMBERS[turn % len(NUMBERS)], **written, **flag}


def wrong(sandbox: Sandbox, answers: list[Answer]) -> list[str]:
    refunds = sandbox.rows("SELECT type, cents FROM transactions WHERE parent_id = 101")
    with closing(open_ledger(sandbox.folder / "sandbox")) as ledger:
        lines, report = ledger.export(), ledger.verify()
    states = [(e["state"], e["executed"]) for e in lines]
    found = [
        (refunds == [("refund", 9700)], f"the account has {refunds}"),
        (states == [("succeeded", "yes")], f"the ledger has {states}"),
        (sum(not a.failed for a in answers) == 1, "not exactly one is answered as done"),
        (all(a.executed == "no" for a in answers if a.failed), "a refusal that is no no"),
        (report.ok, f"the chain does not hold: {report.why}"),
    ]
    return [what for holds, what in found if not holds]


def lost(answers: list[Answer], expected: int) -> list[str]:
    codes = {a.code for a in answers if a.failed}
    missing = [] if len(answers) == expected else [f"{len(answers)} answers of {expected}"]
    return missing + ([f"answers that do not fit: {codes - OTHERS}"] if codes - OTHERS else [])
