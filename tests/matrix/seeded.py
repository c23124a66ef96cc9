"""Faults that are put into the protocol on purpose, each in the processes of a story alone.

Each must be caught by the checker; a fault that nothing catches shows a gap in the matrix. A
patch replaces a function of the product while a replica starts; `statements` change the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any

Patch = Callable[[], None]

CALLS: dict[str, int] = {}
"""Name of each function that a fault replaced in this process, and how often it was called.

A patch that is never called has lost the code that it is about, as after a rename.
"""


@dataclass(frozen=True)
class SeededFault:
    """One fault, and the story in which it has to be caught: a point and a fault, or a script."""

    name: str
    patch: Patch
    story: tuple[str, str] | str
    statements: tuple[str, ...] = ()


def apply(names: Iterable[str]) -> None:
    """Put faults into this process."""
    for name in names:
        BY_NAME[name].patch()


def put(owner: Any, name: str, function: Any) -> Any:
    """Replace a function of the product by one that counts its calls; return what it replaced."""
    was, label = getattr(owner, name), f"{owner.__name__}.{name}"
    CALLS[label] = 0

    @wraps(function)
    def count_and_call(*arguments: Any, **named: Any) -> Any:
        CALLS[label] += 1
        return function(*arguments, **named)

    setattr(owner, name, count_and_call)
    return was


def _nothing(*_: Any, **__: Any) -> None:
    """Do nothing, find nothing."""


def _no_fence() -> None:
    """The token of a write lives as long as one for reads."""
    from kartra_mcp.membrane.http_client import HttpClient

    def get_token(client: Any, _: Any) -> str:
        return client._get_token()

    put(HttpClient, "_mint_for", get_token)


def _takeover() -> None:
    """Settle an unknown write that shows no effect by sending it again."""
    from kartra_mcp.calls.gateway import Gateway
    from kartra_mcp.membrane.client import CallOptions

    async def settle_or_send(gateway: Any, intent_id: str, deadline: Any) -> Any:
        found = await reconcile(gateway, intent_id, deadline)
        entry = gateway.writes().ledger.get(intent_id)
        if found["state"] != "unknown":
            return found
        tool = await gateway.account.find_tool(entry["tool"], deadline)
        given = {"transaction_id": entry["target"], "refund_amount": entry["amount"]}
        connection = await gateway.account.connection_for_write(deadline)
        to_do = CallOptions(deadline, write=True)
        await gateway.membrane.run(tool.action, given, connection.id, to_do)
        return found

    reconcile = put(Gateway, "reconcile", settle_or_send)


def _no_quarantine() -> None:
    """A look counts at once, and one is enough."""
    from kartra_mcp.calls import reconciliation, writes

    def count_at_once(_: Any) -> Any:
        return reconciliation.ReconcileFinding("failed", "One look found no effect.")

    def require_no_fence(_: Any, found: Any, **__: Any) -> Any:
        return found

    put(reconciliation, "count_look", count_at_once)
    put(writes, "require_fence", require_no_fence)


def _no_rules() -> None:
    """The rules of identity find nothing, so that only the index of the database is left."""
    from kartra_mcp.ledger import rules

    put(rules, "duplicate_refusal", _nothing)
    put(rules, "equal_call_refusal", _nothing)


def _warning_ignored() -> None:
    from kartra_mcp.ledger.postgres.connections import BoundedConnection

    put(BoundedConnection, "add_notice_handler", _nothing)
    put(BoundedConnection, "remove_notice_handler", _nothing)


def _ambiguous_commit_sent() -> None:
    """A COMMIT without an answer counts as one that succeeded."""
    from kartra_mcp.ledger.postgres import store
    from kartra_mcp.ledger.postgres.errors import CommitUncertainError

    def commit_or_hope(*arguments: Any) -> None:
        with suppress(CommitUncertainError):
            commit(*arguments)

    commit = put(store, "commit", commit_or_hope)


def _retry_on_401() -> None:
    """A write whose token was refused gets another token."""
    from kartra_mcp.membrane.credentials import mint_token
    from kartra_mcp.membrane.http_client import HttpClient

    async def exchange_again(client: Any, asked: Any, content: Any, token: str, sent: Any) -> Any:
        found = await exchange(client, asked, content, token, sent)
        if found.status != 401 or not sent.to_do.write:
            return found
        sent.right = None
        fresh = mint_token(client.credentials, client.clocks.wall() + 60).token.reveal()
        return await exchange(client, asked, content, fresh, sent)

    exchange = put(HttpClient, "_exchange", exchange_again)


def _consent_not_burnt() -> None:
    from kartra_mcp.ledger import confirmations

    put(confirmations, "consume", _nothing)


def _cap_read_outside() -> None:
    """The caps are read before the lock, once, and not again under it."""
    from kartra_mcp.ledger import projection

    kept: list[Any] = []

    def read_once(*arguments: Any) -> Any:
        if not kept:
            kept.append(read(*arguments))
        return kept[0]

    read = put(projection, "list_irreversible_since", read_once)


def _rollback_unnoticed() -> None:
    """Neither the remembered head nor the timeline stops a write."""
    from kartra_mcp.ledger.postgres import history, store

    put(store, "require_same_history", _nothing)
    put(history.Timeline, "require_swept", _nothing)


def _late_outcome_ignored() -> None:
    from kartra_mcp.ledger import arrivals

    def ignore_late(*arguments: Any) -> Any:
        found = classify(*arguments)
        return "nothing" if found == "late_outcome" else found

    classify = put(arrivals, "classify_answer", ignore_late)


def _never_expires() -> None:
    """A running intent whose owner is gone stays running."""
    from kartra_mcp.ledger.postgres.send_rights import SendRights

    def list_ended(*_: Any) -> list[str]:
        return []

    put(SendRights, "list_ended", list_ended)


def _own_clock() -> None:
    """The end of a right to send is that of the replica's clock, and nobody compares clocks."""
    from kartra_mcp.membrane import http_client

    async def begin_by_own_clock(client: Any, *arguments: Any) -> Any:
        begun = await begin(client, *arguments)
        return replace(begun, begun_at=client.clocks.wall())

    begin = put(http_client.HttpClient, "_begin_write", begin_by_own_clock)
    put(http_client, "require_agreeing_clocks", _nothing)


def _switch_ignored() -> None:
    """A person stopped all writes, and this replica does not look."""
    from kartra_mcp.ledger.switch import Switch

    put(Switch, "find_refusal", _nothing)


_NO_LOCK = """
DO $$ DECLARE
  was TEXT := pg_get_functiondef('begin_transaction'::regproc);
  unlocked TEXT := replace(was, 'FROM head FOR UPDATE', 'FROM head');
BEGIN
  ASSERT unlocked <> was, 'the lock of the head is elsewhere';
  EXECUTE unlocked;
END $$
"""
_INDEXES = ("DROP INDEX parts_one_running", "DROP INDEX parts_one_unsettled")

SEEDED: tuple[SeededFault, ...] = (
    SeededFault("no head lock", _nothing, "race", (_NO_LOCK,)),
    SeededFault("no fence", _no_fence, ("written", "upstream dropped")),
    SeededFault("takeover", _takeover, "effect after a lost answer"),
    SeededFault("no quarantine", _no_quarantine, "effect after a lost answer"),
    SeededFault("no rules and no unique index", _no_rules, "race", _INDEXES),
    SeededFault("warning ignored", _warning_ignored, ("commit_due", "commit cancelled and lost")),
    SeededFault("ambiguous commit sent", _ambiguous_commit_sent, ("commit_due", "database reset")),
    SeededFault("retry on 401", _retry_on_401, ("written", "upstream dropped")),
    SeededFault("consent not burnt", _consent_not_burnt, "consent used again"),
    SeededFault("cap read outside the lock", _cap_read_outside, "race for a cap"),
    SeededFault("rollback unnoticed", _rollback_unnoticed, ("written", "failover that forgets")),
    SeededFault("late outcome ignored", _late_outcome_ignored, "late outcome"),
    SeededFault("running for ever", _never_expires, ("written", "killed")),
    SeededFault("the replica's own clock", _own_clock, "late request under a wrong clock"),
    SeededFault("stop of writes ignored", _switch_ignored, "writes stopped"),
)
BY_NAME = {fault.name: fault for fault in SEEDED}
