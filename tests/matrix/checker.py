"""The nine properties of the team's ledger, judged on one history. Pure; it knows no fault."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

from matrix.history import (
    GENESIS,
    TAG_WRITES,
    Execution,
    History,
    IntentRecord,
    Line,
    final_intents,
    replay,
)

OPENING_KINDS = frozenset({"sweep", "epoch"})
"""Entries by which writes are opened again after a failover."""


DISORDERLY = frozenset({"ledger_unavailable", "internal_error", "bug", "lost", "no_answer"})
"""Codes that only a fault explains."""


APPROVING = frozenset({"approval_approved", "approval_agreed"})
"""Entries by which a person approves; the second of them is not the last that is needed."""

NOT_JUDGED = 0


@dataclass(frozen=True, slots=True)
class Violation:
    """Violation of a property; `NOT_JUDGED` for a story that did not get to what it is about."""

    number: int
    text: str

    def __str__(self) -> str:
        return f"property {self.number}: {self.text}" if self.number else f"not judged: {self.text}"


def check(history: History) -> list[Violation]:
    """Return every violation of the properties 1 to 9, in their order."""
    return [
        Violation(number, text)
        for number, judge in enumerate(PROPERTIES, 1)
        for text in judge(history)
    ]


def judge(history: History) -> list[Violation]:
    """Return every violation; the story is not judged where the machine was too slow for it."""
    found, late = check(history), list(effects_after_their_time(history))
    if not late:
        return found
    return [Violation(NOT_JUDGED, f"{late[0]} (else: {'; '.join(map(str, found)) or 'holds'})")]


def effects_after_their_time(history: History) -> Iterator[str]:
    """List effects that came later than the protocol assumes: it promises nothing then."""
    for done in history.executions:
        if history.effect_seconds is None or done.received_at is None:
            continue
        took = done.at - done.received_at
        if took > history.effect_seconds:
            yield f"the effect of {done.intent} came {took:.1f} s after its acceptance"


def executed_once(history: History) -> Iterator[str]:
    """1: an intent at most once; an identity again only after a success settled before.

    The success must be on the chain before the intent of the second execution.
    """
    by_intent = _group(history.executions, lambda one: one.intent)
    for intent, found in by_intent.items():
        if len(found) > 1:
            yield f"the intent {intent} was executed {len(found)} times"
    intents = {**final_intents(history.lost), **final_intents(history.chain)}
    for identity, found in _group(history.executions, _identity).items():
        for first, second in pairwise(found):
            if first.intent == second.intent:
                continue
            earlier, later = intents.get(first.intent), intents.get(second.intent)
            if not _succeeded_before(earlier, later):
                yield (
                    f"{identity} was executed again by {second.intent}, and {first.intent} "
                    "had not been settled as succeeded before"
                )


def _identity(done: Execution) -> str:
    return f"{done.operation} {done.target}"


def _succeeded_before(earlier: IntentRecord | None, later: IntentRecord | None) -> bool:
    if earlier is None or later is None:
        return False
    return any(n < later.line.n and state == "succeeded" for n, state in earlier.changes)


def executions_have_intents(history: History) -> Iterator[str]:
    """2: each execution has exactly one earlier intent, with its attempt; a request has one.

    Where commits wait for the standby, the intent is not one that a failover lost.
    """
    entries: dict[str, list[Line]] = defaultdict(list)
    for line in (*history.lost, *history.chain) if not history.is_durable else history.chain:
        found = entries[line.body["intent"]] if line.kind == "intent" else []
        # A sweep of the run logs records a lost intent anew; that is no right to send it.
        if line.kind == "intent" and line not in found and "adopted" not in line.body:
            found.append(line)
    for done in history.executions:
        found = entries[done.intent]
        if len(found) != 1:
            yield f"the execution {done.intent or '(no intent)'} has {len(found)} intents"
        elif found[0].at > done.at:
            yield f"the intent {done.intent} was recorded after its execution"
        elif found[0].body.get("attempt", "") != done.attempt:
            yield f"{done.intent} was executed under another attempt than recorded"
    yield from _requests_without_intent(history, entries)


def _requests_without_intent(
    history: History, entries: Mapping[str, Sequence[Line]]
) -> Iterator[str]:
    for intent in dict.fromkeys(history.requests):
        count = len(entries.get(intent, ()))
        if count != 1:
            yield f"the request {intent or '(no intent)'} has {count} intents"


def one_open_intent(history: History) -> Iterator[str]:
    """3: in no prefix of the chain has an identity two open intents."""
    for line, intents in replay(history.chain):
        if line.kind != "intent":
            continue
        new = intents[line.body["intent"]]
        rivals = [
            one.id
            for one in intents.values()
            if one.is_open and one.identity == new.identity and one.id != new.id
        ]
        if rivals:
            yield f"entry {line.n}: {new.id} and {rivals[0]} are open for {new.identity}"


def caps_hold(history: History) -> Iterator[str]:
    """4: the caps of the day hold in each prefix. A history is shorter than a day."""
    caps = history.caps
    for line, intents in replay(history.chain):
        if line.kind != "intent":
            continue
        counted = [one for one in intents.values() if one.counts]
        total = sum((one.amount for one in counted), Decimal(0))
        if caps.day_amount is not None and total > caps.day_amount:
            yield f"entry {line.n}: {total} is above the cap of {caps.day_amount}"
        if caps.day_count is not None and len(counted) > caps.day_count:
            yield f"entry {line.n}: {len(counted)} writes are above the cap of {caps.day_count}"


def consents_burn(history: History) -> Iterator[str]:
    """5: a consent serves one intent; who approved is not who asked."""
    used: dict[tuple[str, str], str] = {}
    approvers = _approvers(history)
    for line in history.chain:
        body = line.body if line.kind == "intent" else {}
        if body.get("bulk"):
            continue  # the items of a run share one consent
        for kind in ("confirmation", "approval"):
            consent = body.get(kind)
            first = used.setdefault((kind, str(consent)), body.get("intent", ""))
            if consent is not None and first != body["intent"]:
                yield f"{kind} {consent} served {first} and {body['intent']}"
        if body.get("approval") is not None:
            yield from _approved_by_another(body, approvers)


def _approved_by_another(
    body: Mapping[str, Any], approvers: Mapping[str, set[str]]
) -> Iterator[str]:
    asked, approved = body["requester"]["key"], approvers.get(str(body["approval"]))
    if approved is None:
        yield f"{body['intent']} ran on approval {body['approval']}, which nobody gave"
    elif asked in approved:
        yield f"{body['intent']} was approved by its requester, {asked}"


def _approvers(history: History) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for line in history.chain:
        if line.kind == "consent" and line.body["event"] in APPROVING:
            found[str(line.body["number"])].add(line.body["person"])
    return found


def failed_means_not_done(history: History) -> Iterator[str]:
    """6: what was ever recorded or answered as not done was never done; what was as done, was."""
    done = {one.intent for one in history.executions}
    for intent in final_intents(history.chain).values():
        states = {state for _, state in intent.changes}
        if intent.id in done and states & {"failed", "refused"}:
            yield f"{intent.id} is recorded as {intent.state}, and was executed"
        if intent.id not in done and "succeeded" in states:
            yield f"{intent.id} is recorded as succeeded, and was not executed"
    for answer in history.answers:
        if answer.intent and answer.executed == "no" and answer.intent in done:
            yield f"a client was told that {answer.intent} was not done, and it was"
        if answer.intent and answer.executed == "yes" and answer.intent not in done:
            yield f"a client was told that {answer.intent} was done, and it was not"


def one_line_of_history(history: History) -> Iterator[str]:
    """7: the chain is whole, and the heads that replicas saw are on it.

    A failover that lost commits makes two lines of history. Then a replica that saw the lost one
    must not add to the other before somebody has opened it.
    """
    yield from _broken_chain(history.chain)
    hashes = {line.n: line.hash for line in history.chain}
    lost = {line.n: line.hash for line in history.lost}
    for head in history.heads:
        if head.n == 0 or hashes.get(head.n) == head.hash:
            continue
        if lost.get(head.n) != head.hash:
            yield f"{head.replica} saw entry {head.n} as {head.hash[:8]}, which is on no chain"
        elif added := _added_after_fork(history, head.replica):
            yield f"{head.replica} saw the lost entry {head.n}, and added {added[0]} to the other"
    for done in history.executions:
        known = {hashes.get(done.line), lost.get(done.line)}
        if done.line and done.hash not in known:
            yield f"{done.intent} was sent on entry {done.line}, which is on no chain"


def _added_after_fork(history: History, replica: str) -> list[str]:
    """Return the intents of a replica on the chain alone, before it was opened after a failover."""
    mine = {one.intent for one in history.answers if one.replica == replica and one.intent}
    shared = {line.hash for line in history.lost}
    apart = [line for line in history.chain if line.hash not in shared]
    until = next((line.n for line in apart if line.kind in OPENING_KINDS), len(history.chain) + 1)
    new = [line.body for line in apart if line.kind == "intent" and line.n < until]
    return [body["intent"] for body in new if body["intent"] in mine and "adopted" not in body]


def _broken_chain(chain: Sequence[Line]) -> Iterator[str]:
    expected, prev = 1, GENESIS
    for line in chain:
        if line.n != expected or line.prev != prev:
            yield f"entry {line.n} does not follow entry {expected - 1}"
            return
        expected, prev = line.n + 1, line.hash


def settles_in_time(history: History) -> Iterator[str]:
    """8: after healing no intent runs or stays unknown, and writes work; without a fault always."""
    if history.is_calm:
        yield from _disorderly(history)
    intents = final_intents(history.chain).values() if history.is_over else ()
    for intent in intents:
        if intent.is_open and not _is_left_to_people(intent, intents, history.only_people):
            yield f"{intent.id} is still {intent.state}"
    for answer in history.works:
        if answer.executed != "yes":
            yield f"a fresh write was answered with {answer.code or answer.executed}"


def _is_left_to_people(
    intent: IntentRecord, intents: Iterable[IntentRecord], only_people: Collection[str]
) -> bool:
    """Return whether only people can find out what became of an unknown write.

    A look at a lead cannot tell two writes of one tag apart (`calls/lead_settlement.py`).
    """
    if intent.state != "unknown":
        return False
    own = intent.body["operation"]
    return own in only_people or any(
        other.id != intent.id
        and {own, other.body["operation"]} <= TAG_WRITES
        and other.body["target"] == intent.body["target"]
        for other in intents
    )


def stopped_means_stopped(history: History) -> Iterator[str]:
    """9: no write begins between the stop of all writes and the second person's resume."""
    stop = ""
    for line in history.chain:
        if line.kind == "switch":
            stop = "" if line.body["event"] == "resumed" else stop or str(line.n)
        elif line.kind == "intent" and stop and "adopted" not in line.body:
            yield f"entry {line.n}: {line.body['intent']} began after the stop of entry {stop}"


def _disorderly(history: History) -> Iterator[str]:
    for answer in history.answers:
        if answer.code in DISORDERLY:
            yield f"{answer.replica} answered with {answer.code}, and nothing had failed"


PROPERTIES: tuple[Callable[[History], Iterator[str]], ...] = (
    executed_once,
    executions_have_intents,
    one_open_intent,
    caps_hold,
    consents_burn,
    failed_means_not_done,
    one_line_of_history,
    settles_in_time,
    stopped_means_stopped,
)


def _group(
    found: Sequence[Execution], key: Callable[[Execution], str]
) -> dict[str, list[Execution]]:
    groups: dict[str, list[Execution]] = defaultdict(list)
    for one in sorted(found, key=lambda done: done.at):
        groups[key(one)].append(one)
    return groups
