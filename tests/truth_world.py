"""A sandbox account and several servers on its one state folder; every call is judged."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal
from harness import ERAS, Answer, Clocks, Sandbox, call, connect
from mcp import Client, MCPError
from polling import until
from truth_account import State, read_state, without_remains
from truth_calls import Request, alone
from truth_judge import Judge, Shown, find_receipt, summarize
from truth_undo import FOR_GOOD, parse_undo, replaces
from truth_users import IMPATIENT, User, decide, unanswered

from kartra_mcp.sandbox.kartra import api
from kartra_mcp.sandbox.store.database import Account


@cache
def make_account() -> bytes:
    """Return the file of a new account, which is made once."""
    with tempfile.TemporaryDirectory() as folder:
        return Sandbox(Path(folder)).arrange("reset").file.read_bytes()


WITH_FORMS = frozenset({3, 4})
"""Servers whose clients show forms."""


class World:
    """One account, its servers, their clock and their user, and the judge of what they answer."""

    def __init__(self, gate: str) -> None:
        self.ahead = 0.0
        self._closing = ExitStack()
        folder = Path(self._closing.enter_context(tempfile.TemporaryDirectory()))
        gates = {"GATE_DESTRUCTIVE": gate, "GATE_IRREVERSIBLE": gate}
        self.place = Sandbox(folder, {**gates, "CAP_DAY_COUNT": "1000", "MAIL_PER_HOUR": "1000"})
        self.place.file.parent.mkdir(mode=0o700, parents=True)
        self.place.file.touch(mode=0o600)
        self.place.file.write_bytes(make_account())
        self.last: Request | None = None
        self.judge = Judge(self.place, told=[f"gate {gate}"])
        self.user = User()
        self._portal: BlockingPortal = self._closing.enter_context(start_blocking_portal())
        self._servers: dict[int, tuple[Client, AbstractContextManager[Client, bool | None]]] = {}

    def close(self) -> None:
        for number in [*self._servers]:
            self.stop(number)
        self._closing.close()

    def now(self) -> float:
        return time.time() + self.ahead

    def steady(self) -> float:
        return time.monotonic() + self.ahead

    # ── Servers ──

    def server(self, number: int) -> Client:
        """Return a client on a server, which is started if it does not run."""
        if number not in self._servers:
            clocks, era = Clocks(self.now, self.steady), ERAS[number % len(ERAS)]
            forms = {"elicitation_callback": self.user} if number in WITH_FORMS else {}
            opened = connect(self.place, era, clocks=clocks, timings=IMPATIENT, **forms)
            context = self._portal.wrap_async_context_manager(opened)
            self._servers[number] = context.__enter__(), context
        return self._servers[number][0]

    def stop(self, number: int) -> None:
        """End a server if it runs; its state folder stays."""
        _, context = self._servers.pop(number, (None, None))
        if context is not None:
            context.__exit__(None, None, None)

    def call(self, server: int, tool: str, **arguments: Any) -> Answer:
        client = self.server(server)

        async def go() -> Answer:
            try:
                return await call(client, tool, **arguments)
            except MCPError:  # the client failed to show the form
                return unanswered()

        return self._portal.call(go)

    @contextmanager
    def faults(
        self, commands: Sequence[str], kind: str, *, effect: bool = False, times: int = 1
    ) -> Generator[None]:
        """Let each of these commands fail in this way, until the end of the block."""
        for command in commands:
            flags = [f"--times={times}", *(["--effect"] if effect else [])]
            self.place.arrange("fault", "set", command, kind, *flags)
        self.judge.told.append(f"fault {kind}{' after the effect' * effect}, {commands[0]}:")
        self.judge.reads_fail = any(name.startswith("get_") for name in commands)
        self.judge.first_fails = not self.judge.reads_fail
        yield
        self.judge.reads_fail = self.judge.first_fails = False
        self.place.arrange("fault", "clear")

    # ── Calls ──

    def attempt(self, server: int, request: Request, *, repeat: bool, **consent: Any) -> Answer:
        """Call once and judge the answer."""
        before = self.judge.look(self.now())
        given = {**request.arguments, **({"repeat": True} if repeat else {}), **consent}
        answer = self.call(server, request.tool, **given)
        for summary in (forms := self.user.read()):
            self.judge.check_summary(summary, request, before, repeat=repeat)
        self.judge.judge(request, answer, before, repeat=repeat)
        if forms and self.user.action == "decline":
            assert answer.failed, self.judge.say("a declined call ran")
            if answer.code == "declined":
                self.judge.decline(request, before.at)
        return answer

    def propose(self, server: int, request: Request, *, repeat: bool) -> Shown | Answer:
        """Call without consent: the preview, or the answer of what needed none or was refused."""
        before = self.judge.look(self.now())
        answer = self.attempt(server, request, repeat=repeat)
        wanted = {"confirmation_required", "approval_required"}
        if not answer.failed or answer.code not in wanted:
            return answer
        shown = Shown(request, repeat, answer)
        if shown.summary:
            self.judge.check_preview(shown, before)
        return shown

    def agree(self, server: int, shown: Shown, **tampered: Any) -> Answer:
        if shown.number is not None:
            self.decide(shown, approve=True)
        consent = {**shown.agreement, **tampered}
        repeat = bool(consent.pop("repeat", shown.repeat))
        return self.attempt(server, shown.request, repeat=repeat, **consent)

    def decide(self, shown: Shown, *, approve: bool) -> bool:
        """Decide an approval outside the client; return False if it was not pending."""
        assert shown.number is not None
        told = decide(self.place, Clocks(self.now, self.steady), shown.number, approve=approve)
        if told and not approve:
            self.judge.decline(shown.request, self.now())
        return told

    def perform(self, server: int, request: Request, *, repeat: bool = False) -> Answer:
        """Call, and agree to the preview if there is one."""
        self.last = request
        shown = self.propose(server, request, repeat=repeat)
        return shown if isinstance(shown, Answer) else self.agree(server, shown)

    def abandon(self, server: int, request: Request, after: float) -> None:
        """Agree to a call, and cancel it while it may be running."""
        shown = self.propose(server, request, repeat=False)
        if isinstance(shown, Answer):
            return
        if shown.number is not None:
            self.decide(shown, approve=True)
        before, client = self.judge.look(self.now()), self.server(server)

        async def go() -> None:
            with anyio.move_on_after(after):
                await call(client, request.tool, **request.arguments, **shown.agreement)
            await call(client, "kartra_status")  # answered after the cancellation was heard
            await until(lambda: "running" not in self.judge.intents().values())

        self._portal.call(go)
        self.judge.judge_abandoned(request, before, repeat=False)

    def undo(self, server: int, request: Request, before: State, answer: Answer) -> bool:
        """Carry out the undo of a receipt; the account must then be what it was before.

        Returns:
            False if it is for good or replaces what Kartra does not show, or if a user's earlier
            decline blocks it.
        """
        if request.kinds & FOR_GOOD or answer.failed:
            return False
        say, undo = self.judge.say, str(find_receipt(answer).get("undo", ""))
        old = (answer.structured or {}).get("before", {})
        calls = parse_undo(undo, request.writes, before, old)
        if not calls and any(replaces(one, before) for one in request.writes):
            return False
        assert undo, say("a change that can be undone has no undo")
        for one in map(alone, calls):
            undone = self.perform(server, one)
            if undone.failed and undone.code in {"outcome_unknown", "already_done"}:
                undone = self.perform(server, one, repeat=True)
            if undone.failed and undone.code == "declined":
                return False
            assert not undone.failed, say(f"the undo {one} failed: {undone.text}")
        now = read_state(self.place)
        assert without_remains(now) == without_remains(before), say(
            f"not undone by {undo!r}", before, now
        )
        return True

    def reconcile(self, server: int, number: int) -> None:
        """Look at one unknown write; the account must not change by it."""
        states = self.judge.intents()
        unknown = [intent for intent, state in states.items() if state == "unknown"]
        intent, before = unknown[number % len(unknown)], read_state(self.place)
        answer = self.call(server, "kartra_reconcile", intent=intent)
        state = states[intent] if answer.failed else answer.result["state"]
        self.judge.told.append(f"reconcile {self.judge.meanings[intent]} → {state}")
        assert read_state(self.place) == before, self.judge.say("a look changed the account")
        assert state == self.judge.intents()[intent], self.judge.say(summarize(answer))

    def appear(self, intent: str, request: Request) -> None:
        """Let Kartra apply a write only now, long after its answer was lost."""
        before = self.judge.look(self.now())
        with closing(Account(str(self.place.file))) as account, account.transaction():
            api.answer(account, request.body)
        self.judge.appear(intent, request, before)

    def at_once(self, request: Request, servers: list[int], *, repeat: bool) -> None:
        """Send equal calls at the same moment, each with its own preview if it needs one."""
        before = self.judge.look(self.now())
        clients = [self.server(number) for number in servers]
        given = {**request.arguments, **({"repeat": True} if repeat else {})}
        answers: list[Answer] = []

        async def one(client: Client) -> None:
            answer = await call(client, request.tool, **given)
            if answer.failed and answer.code in {"confirmation_required", "approval_required"}:
                shown = Shown(request, repeat, answer)
                if shown.number is not None:
                    await anyio.to_thread.run_sync(lambda: self.decide(shown, approve=True))
                answer = await call(client, request.tool, **given, **shown.agreement)
            answers.append(answer)

        async def every() -> None:
            async with anyio.create_task_group() as tasks:
                for client in clients:
                    tasks.start_soon(one, client)

        self._portal.call(every)
        self.user.read()
        self.judge.judge_many(request, answers, before, repeat=repeat)
