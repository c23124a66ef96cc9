"""Refunds whose server, program or answer is lost at some point, and what must hold after it all.

Used by `test_crash.py` for a sample and by `soak.py` for many. One `Story` is one transaction to
refund: a server dies during the call, perhaps while another handles the same call. New servers
then get it again, in other spellings and in both eras, and reconcile.
"""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from fork_server import forked
from harness import ERAS, Answer, Sandbox, api_environment, call, environment
from mcp import Client, StdioServerParameters
from polling import gone, until

from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.sqlite.store import open_ledger

HERE = Path(__file__).parent
REFUND = "kartra_refund_transaction"
FIRST = 1001
CENTS = 9700
FULL: tuple[Any, ...] = (97, 97.0, "97.00", " 97 ", "97", None)
PART: tuple[Any, ...] = (40, 40.0, "40.00", " 40 ", "40.0")
SETTLED = {"succeeded", "failed", "refused", "unknown"}
PATIENCE = 90.0
LATEST = 20.0


@dataclass
class House(Sandbox):
    """An account, its ledger, and a program whose effects may come late."""

    @property
    def environment(self) -> dict[str, str]:
        command = json.dumps(forked(str(HERE / "slow_program.py"), str(self.folder)))
        more = {"MEMBRANE": command, "CAP_DAY_COUNT": "100000", "RATE": "0", "TIMEOUT": "12"}
        return environment(self.folder, {**more, **self.settings})

    def build(self, sales: int) -> House:
        """So many sales of 97.00 to customers of their own."""
        (self.folder / "plans").mkdir(parents=True)
        self.arrange("reset")
        for number in range(FIRST, FIRST + sales):
            self.rows(
                "INSERT INTO leads (id, email, first_name, date_joined) VALUES (?, ?, 'Soak',"
                " '2026-01-01 00:00:00')",
                *(number, f"soak{number}@example.com"),
            )
            self.rows(
                "INSERT INTO transactions (id, lead_id, lead_email, type, cents, quantity,"
                " product_id, point, at) SELECT ?, ?, ?, type, cents, quantity, product_id, point,"
                " at FROM transactions WHERE id = 101",
                *(number, number, f"soak{number}@example.com"),
            )
        return self

    def plan(self, number: int, how: str, seconds: float) -> None:
        (self.folder / "plans" / f"{number}.json").write_text(json.dumps([how, seconds]))

    def go(self, number: int) -> None:
        (self.folder / "plans" / f"{number}.go").touch()

    def came(self, number: int) -> bool:
        return (self.folder / "plans" / f"{number}.done").exists()

    def refunds(self, number: int) -> list[tuple[str, int]]:
        sql = "SELECT type, cents FROM transactions WHERE parent_id = ?"
        return [(kind, cents) for kind, cents in self.rows(sql, number)]

    def pids(self, number: int) -> list[int]:
        """Every program that was started to refund this transaction."""
        file = self.folder / "starts"
        lines = file.read_text().splitlines() if file.exists() else []
        return [int(pid) for of, pid in map(str.split, lines) if int(of) == number]

    def struck(self) -> list[str]:
        """The points at which a server or a program was killed."""
        file = self.folder / "struck"
        return file.read_text().split() if file.exists() else []

    @property
    def server_words(self) -> list[str]:
        return ["-m", "kartra_mcp", "serve"]

    def open_ledger(self) -> Ledger:
        return open_ledger(self.folder)

    async def await_ends(self, target: str | None = None) -> None:
        """Wait until no intent runs whose server is dead: in a file they end at once."""

    @asynccontextmanager
    async def server(
        self, era: str, gate: str, *fault: str, **client: Any
    ) -> AsyncGenerator[Client]:
        """A client on a real process; with a fault it is the server that kills itself."""
        words = self.server_words if not fault else [str(HERE / "fault_server.py")]
        command, *args = forked(*words, *fault)
        env = {**self.environment, "KARTRA_MCP_GATE_IRREVERSIBLE": gate}
        parameters = StdioServerParameters(command=command, args=args, env=env)
        async with Client(parameters, mode=era, **client) as connected:
            yield connected


@dataclass
class APIHouse(House):
    """The same account behind Membrane's API."""

    address: str = ""

    @property
    def environment(self) -> dict[str, str]:
        more = {"CAP_DAY_COUNT": "100000", "RATE": "0", "TIMEOUT": "12", **self.settings}
        return api_environment(self.folder, self.address, "", more)


@dataclass
class Story:
    """Result of one transaction."""

    number: int
    gate: str
    point: str
    nth: int = 1
    delay: float = 0.2
    how: str = "plain"
    seconds: float = 0.0
    partial: bool = False
    beside: bool = False
    seed: int = 0
    answers: list[Answer] = field(default_factory=list)
    crashed: bool = False
    lost: int = 0
    trouble: list[str] = field(default_factory=list)

    def dice(self) -> random.Random:
        return random.Random(self.seed)

    def arguments(self, dice: random.Random) -> dict[str, Any]:
        amount = dice.choice(PART if self.partial else FULL)
        number = dice.choice([self.number, str(self.number), f" {self.number} "])
        return {"transaction_id": number, **({} if amount is None else {"refund_amount": amount})}

    def __str__(self) -> str:
        codes = [a.code if a.failed else "done" for a in self.answers]
        return (
            f"{self.number} gate {self.gate}, {self.point}:{self.nth} ({self.delay:.2f} s), program"
            f" {self.how} ({self.seconds:.1f} s), {'partial' if self.partial else 'full'},"
            f" crashed {self.crashed}, answers {codes}"
        )


async def ask(client: Client, story: Story, dice: random.Random) -> None:
    """Once, with whatever agreement the gate wants; every answer is kept."""
    given = story.arguments(dice)
    try:
        with anyio.fail_after(PATIENCE):
            flag = {"confirm": True} if story.gate == "flag" else {}
            answer = await call(client, REFUND, **given, **flag)
            story.answers.append(answer)
            while answer.failed and answer.code in {"confirmation_required", "facts_changed"}:
                shown = answer.error["confirmation"]
                answer = await call(
                    client,
                    REFUND,
                    **given,
                    confirm=True,
                    confirmation_id=shown["id"],
                    confirmation_summary=shown["summary"],
                )
                story.answers.append(answer)
    except TimeoutError:
        story.trouble.append(f"no answer within {PATIENCE:.0f} s")
    except Exception:
        story.lost += 1
        raise


async def crash(house: House, story: Story, dice: random.Random) -> None:
    """Ask the server that dies of it."""
    fault = (story.point, str(story.nth), str(story.delay))
    with suppress(Exception):
        async with house.server(dice.choice(ERAS), story.gate, *fault) as client:
            await ask(client, story, dice)
    story.crashed = story.lost > 0


async def ask_beside(house: House, story: Story, dice: random.Random) -> None:
    async with house.server(dice.choice(ERAS), story.gate) as client:
        await ask(client, story, dice)


async def tell(house: House, story: Story) -> None:
    """The whole of one story, until nothing more can happen to it."""
    dice = story.dice()
    house.plan(story.number, story.how, story.seconds)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(crash, house, story, dice)
        if story.beside:
            tasks.start_soon(ask_beside, house, story, random.Random(story.seed + 1))
    async with house.server(dice.choice(ERAS), story.gate) as client:
        await ask(client, story, dice)
        await house.await_ends(str(story.number))
        await settle(client, story)
        await ask(client, story, dice)
        await out(house, story)
        await house.await_ends(str(story.number))
        await settle(client, story)
        await ask(client, story, dice)
        if story.how == "plain" and story.point in {"preview", "minted", "before_begin"}:
            require(story, house.refunds(story.number), "it could not be refunded any more")


async def settle(client: Client, story: Story) -> None:
    """Ask to reconcile all of this transaction that is unknown."""
    listed = await call(client, "kartra_ledger", target=str(story.number), count=100)
    for line in listed.result["lines"]:
        if line["state"] == "unknown":
            answer = await call(client, "kartra_reconcile", intent=line["intent"])
            if not answer.failed and answer.result["state"] == "failed":
                story.trouble.append("reconciled as failed though 15 minutes had not passed")


async def out(house: House, story: Story) -> None:
    """Until what comes late has come, and no program of it is left."""
    if house.pids(story.number) and story.how in {"late", "killed", "hangs"}:
        with suppress(TimeoutError):
            await until(lambda: house.came(story.number), within=story.seconds + LATEST)
    for pid in house.pids(story.number):
        if story.how == "hangs" and not gone(pid):
            os.kill(pid, signal.SIGKILL)
        await until(lambda pid=pid: gone(pid), within=story.seconds + LATEST)


def require(story: Story, holds: object, what: str) -> None:
    if not holds:
        story.trouble.append(what)


def judge(house: House, stories: list[Story]) -> list[str]:
    """Every violation, over the whole account and the whole ledger."""
    with closing(house.open_ledger()) as ledger:
        ledger.mark_orphans_unknown()
        report, lines = ledger.verify(), ledger.export()
    for story in stories:
        of_it = [e for e in lines if e["target"] == str(story.number)]
        judge_one(house, story, of_it, len(house.pids(story.number)))
    found = [f"{what}: {story}" for story in stories for what in story.trouble]
    return found + ([] if report.ok else [f"the chain does not hold: {report.why}"])


def judge_one(house: House, story: Story, intents: list[dict[str, Any]], starts: int) -> None:
    refunds = house.refunds(story.number)
    states = [e["state"] for e in intents]
    may_be_done = [s for s in states if s in {"succeeded", "unknown"}]
    require(story, len(refunds) <= 1, f"two refunds: {refunds}")
    require(story, sum(cents for _, cents in refunds) <= CENTS, f"more than its amount: {refunds}")
    require(story, set(states) <= SETTLED, f"not settled: {states}")
    require(story, len(refunds) <= len(may_be_done), f"refunded, and the ledger says {states}")
    require(story, starts <= len(intents), f"{starts} starts, {len(intents)} intents")
    require(story, states.count("succeeded") <= len(refunds), f"not refunded, but {states}")
    told = [a for a in story.answers if not a.failed or a.executed != "no"]
    silent = refunds and not told and not story.lost
    require(story, not silent, "it happened, and every answer says executed: no")
    succeeded = {e["intent"] for e in intents if e["state"] == "succeeded"}
    for answer in story.answers:
        if not answer.failed and answer.structured:
            intent = answer.structured["receipt"]["intent"]
            require(story, intent in succeeded, f"answered as done, and {intent} is not")
