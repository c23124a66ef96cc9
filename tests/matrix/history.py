"""History of one run, from three witnesses: the upstream, the ledger, and the clients."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

GENESIS = "0" * 64
TAG_WRITES = frozenset({"assign_tag", "unassign_tag"})
"""Operations of which only people can find out what became of two on one lead."""


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of a chain, as stored."""

    n: int
    at: float
    kind: str
    text: str
    prev: str
    hash: str

    @property
    def body(self) -> dict[str, Any]:
        return json.loads(self.text)


@dataclass(frozen=True, slots=True)
class Execution:
    """One effect on the account, by the journal of the upstream.

    `line` and `hash` are those of the intent's entry, as the request named them. `received_at`:
    when the upstream accepted the request.
    """

    intent: str
    attempt: str
    operation: str
    target: str
    amount: Decimal
    at: float
    line: int = 0
    hash: str = ""
    received_at: float | None = None


@dataclass(frozen=True, slots=True)
class ClientAnswer:
    """Answer that one client got. `executed` is yes, no or unknown; `intent` may be ""."""

    replica: str
    tool: str
    target: str
    began: float
    ended: float
    executed: str
    code: str = ""
    intent: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """A head that a replica saw committed."""

    replica: str
    n: int
    hash: str


@dataclass(frozen=True, slots=True)
class Caps:
    day_amount: Decimal | None = None
    day_count: int | None = None


@dataclass(frozen=True)
class History:
    """Everything that the checker judges.

    Args:
        chain: the entries that are in the ledger after everything healed.
        lost: entries that a client could have relied on and that a failover dropped.
        executions: by time.
        is_over: True if the story had its time to settle: nothing may still run.
        works: answers to fresh writes after everything healed; each must be done.
        is_durable: True if commits waited for the standby: no entry that was acknowledged is lost.
        is_calm: True if nothing failed, so that each answer must be an orderly one.
        requests: the intent of each write that reached the upstream, also without an effect.
        only_people: operations whose unknown outcome only people can settle.
        effect_seconds: the longest time from acceptance to effect under which the protocol holds.
    """

    chain: Sequence[Line]
    executions: Sequence[Execution]
    answers: Sequence[ClientAnswer] = ()
    heads: Sequence[Head] = ()
    lost: Sequence[Line] = ()
    caps: Caps = field(default_factory=Caps)
    is_over: bool = True
    works: Sequence[ClientAnswer] = ()
    is_durable: bool = True
    is_calm: bool = False
    effect_seconds: float | None = None
    requests: Sequence[str] = ()
    only_people: frozenset[str] = frozenset()


@dataclass
class IntentRecord:
    """One intent as the entries up to some point describe it."""

    id: str
    line: Line
    body: Mapping[str, Any]
    state: str = "running"
    changes: list[tuple[int, str]] = field(default_factory=list)
    """Number of the entry and the state that it gave."""

    @property
    def identity(self) -> tuple[str, str, str]:
        kind, target = self.body.get("target_kind") or "", self.body.get("target") or ""
        return (str(self.body["operation"]), str(kind), str(target))

    @property
    def amount(self) -> Decimal:
        return Decimal(str(self.body.get("known_amount") or self.body.get("amount") or 0))

    @property
    def is_open(self) -> bool:
        return self.state in ("running", "unknown")

    @property
    def counts(self) -> bool:
        """Return whether the caps count it."""
        return self.state in ("running", "unknown", "succeeded")


STATE_KINDS = frozenset({"outcome", "reconcile"})


def replay(chain: Sequence[Line]) -> Iterator[tuple[Line, dict[str, IntentRecord]]]:
    """Yield each entry with the intents as they are after it."""
    intents: dict[str, IntentRecord] = {}
    for line in chain:
        body = line.body if line.kind in STATE_KINDS or line.kind == "intent" else {}
        id_ = body.get("intent", "")
        if line.kind == "intent":
            intents[id_] = IntentRecord(id_, line, body)
        elif line.kind in STATE_KINDS and id_ in intents:
            intents[id_].state = body["state"]
            intents[id_].changes.append((line.n, body["state"]))
        yield line, intents


def final_intents(chain: Sequence[Line]) -> dict[str, IntentRecord]:
    found: dict[str, IntentRecord] = {}
    for _, intents in replay(chain):
        found = intents
    return found
