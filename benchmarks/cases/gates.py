"""Cost of the guard, the ledger and each gate for a write by the API."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import accounts, requests
from benchmarks.accounts import READ, WHOM
from benchmarks.client import Client, served
from benchmarks.stats import Row, in_turn
from kartra_mcp.ledger.sqlite.store import open_ledger

TITLE = "The guard, the ledger and the gates"
ABOUT = (
    "By the API, because its own cost is small. A tag is removed from a lead and assigned "
    "again, by hand and through servers with each gate, in turn; the account has no other user "
    "meanwhile. The read of the lead before mail, one more request, is turned off "
    "(`KARTRA_MCP_CHECK_LEAD=off`). A gate with a preview reads facts first, so it makes more "
    "requests. Two steps are two calls, and each of them reads the facts. The user's own time is "
    "not counted. The added time is relative to the same request by hand."
)
TAKE, GIVE = "kartra_unassign_tag", "kartra_assign_tag"
TAG = {"lead_id": 48110, "tag_name": "VIP"}
GATES = ("allow", "flag", "preview", "human")
SETTINGS = {"MAIL_PER_HOUR": "1000000", "APPROVAL": "outside", "CHECK_LEAD": "off"}
TIMES = 40

Steps = list[Callable[[], object]]


@dataclass(slots=True)
class Asked:
    """A tool under a gate: each step is one call that uses the answer of the one before."""

    client: Client
    ledger: Path
    more: dict[str, Any] = field(default_factory=dict[str, Any])

    def ask(self) -> None:
        """Make the first call: nothing is executed, and the answer names the missing consent."""
        shown = self.client.refusal(TAKE, TAG)["confirmation"]
        if "id" in shown:
            words = {"confirmation_id": shown["id"], "confirmation_summary": shown["summary"]}
            self.more = {"confirm": True, **words}

    def approve(self) -> None:
        """Approve in the same ledger, as the user does with `kartra-mcp approve`."""
        with closing(open_ledger(self.ledger)) as ledger:
            (waiting,) = ledger.approvals.list_pending()
            ledger.approvals.decide(
                waiting.number, approve=True, reason="", who="benchmarks", seen=waiting.fingerprint
            )

    def act(self) -> None:
        self.client.call(TAKE, **TAG, **self.more)


def run() -> list[Row]:
    with ExitStack() as stack:
        account = stack.enter_context(accounts.served_sandbox())
        by_hand = {
            tool: stack.enter_context(requests.act(account, tool, **given))
            for tool, given in ((READ, WHOM), (TAKE, TAG), (GIVE, TAG))
        }
        gated = {gate: _gated(stack, account, gate) for gate in GATES}
        return _measured(by_hand, gated)


def _gated(stack: ExitStack, account: accounts.Served, gate: str) -> Asked:
    own = account.elsewhere(gate)
    env = own.environment(GATE_DESTRUCTIVE=gate, **SETTINGS)
    client = stack.enter_context(served(env))
    client.call("kartra_status")
    return Asked(client, own.folder / "state")


def _measured(by_hand: dict[str, Callable[[], object]], gated: dict[str, Asked]) -> list[Row]:
    """Remove and restore the tag once per gate in every round."""
    allowed = gated["allow"].client
    steps: Steps = [by_hand[READ], partial(allowed.call, READ, **WHOM)]
    steps += [by_hand[TAKE], by_hand[GIVE], gated["allow"].act, partial(allowed.call, GIVE, **TAG)]
    flagged = gated["flag"]
    flagged.more = {"confirm": True}
    steps += [flagged.act, by_hand[GIVE]]
    previewed, human = gated["preview"], gated["human"]
    steps += [previewed.ask, previewed.act, by_hand[GIVE]]
    steps += [human.ask, human.approve, human.act, by_hand[GIVE]]
    in_turn(steps, 2)
    (read, ours, take, give, allow, write, flag, _, ask, act, _, want, _, done, _) = in_turn(
        steps, TIMES
    )
    return [
        Row("a read, added: the guard", _less(ours, read), "ms"),
        Row("a write, added: the guard and the ledger", _less(write, give), "ms"),
        Row("a destructive write under allow, added", _less(allow, take), "ms"),
        Row("under flag, added", _less(flag, take), "ms"),
        Row("under preview, the preview", ask, "ms"),
        Row("under preview, the agreed call, added", _less(act, take), "ms"),
        Row("under human, the question", want, "ms"),
        Row("under human, the approved call, added", _less(done, take), "ms"),
        Row("the request by hand", take, "ms"),
    ]


def _less(ours: tuple[float, ...], theirs: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(a - b for a, b in zip(ours, theirs, strict=True))
