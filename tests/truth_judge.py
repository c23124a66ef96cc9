"""The judge of every call: answer and ledger against the account before and after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from consent_actors import confirmed, lines
from harness import Answer, Sandbox
from truth_account import BACK, State, overwritten, read_state
from truth_calls import Request

MONEY = frozenset({"refund_transaction", "cancel_transaction"})
ADDITIVE = frozenset(
    {
        "give_points_to_lead",
        "remove_points_from_lead",
        "subscribe_lead_to_sequence_at_step",
        "create_lead",
    }
)
ONCE = MONEY | ADDITIVE
"""Commands of which a second equal one has a second effect."""
JUST_NOW = 60.0

LEDGER_STATES: Mapping[str, frozenset[str]] = {
    "yes": frozenset({"succeeded"}),
    "no": frozenset({"failed", "refused"}),
    "unknown": frozenset({"unknown"}),
}
"""States of an intent for each `executed` of an answer."""
TRUE_STATES: Mapping[str, frozenset[str]] = {
    "succeeded": frozenset({"done", "same"}),
    "failed": frozenset({"not", "same"}),
    "refused": frozenset({"not", "same"}),
    "unknown": frozenset({"done", "not", "same"}),
}
"""Truths that each state of an intent allows; `same` where the account cannot show it."""


@dataclass(frozen=True)
class Shown:
    """A preview that a user may agree to later, or that is misused."""

    request: Request
    repeat: bool
    answer: Answer

    @property
    def summary(self) -> str:
        return self.answer.error.get("confirmation", {}).get("summary", "")

    @property
    def agreement(self) -> dict[str, Any]:
        """Return what a second call adds; under gate `flag` there is nothing to repeat."""
        return confirmed(self.answer) if self.summary else {"confirm": True}


@dataclass(frozen=True)
class Before:
    """State just before a call: the account, and the states of the ledger's intents."""

    at: float
    account: State
    intents: Mapping[str, str]


@dataclass(frozen=True)
class Effect:
    """An effect that the account shows: when, by the servers' clock, and of which call."""

    at: float
    meaning: tuple[Any, ...]


@dataclass
class Judge:
    """Everything that answers claimed about one account.

    Args:
        truth: intent → `done`, `not` or `same`, as the account shows it.
        meanings: intent → the meaning of its call.
        summaries: summary → the meaning of the call that had it first.
        told: every step in words, for the message of a failure.
        reads_fail: faults keep the servers from reading the account.
    """

    place: Sandbox
    truth: dict[str, str] = field(default_factory=dict[str, str])
    meanings: dict[str, tuple[Any, ...]] = field(default_factory=dict[str, tuple[Any, ...]])
    summaries: dict[str, tuple[Any, ...]] = field(default_factory=dict[str, tuple[Any, ...]])
    effects: list[Effect] = field(default_factory=list[Effect])
    told: list[str] = field(default_factory=list[str])
    reads_fail: bool = False

    def look(self, at: float) -> Before:
        return Before(at, read_state(self.place), self.intents())

    def intents(self) -> dict[str, str]:
        """Return the state of every intent by the ledger's own lines."""
        states = {line["intent"]: "running" for line in lines(self.place, "intent")}
        for line in (*lines(self.place, "outcome"), *lines(self.place, "reconcile")):
            states[line["intent"]] = line["state"]
        return states

    # ── One call ──

    def judge(self, request: Request, answer: Answer, before: Before, *, repeat: bool) -> None:
        """Compare the account with the answer and with the ledger."""
        self.told.append(f"{request}{' again' if repeat else ''} → {summarize(answer)}")
        after = read_state(self.place)
        expected, done = request.run(before.account)
        executed = answer.executed if answer.failed else "yes"
        allowed = {"yes": [expected], "no": [before.account]}
        possible = allowed.get(executed, [before.account, expected])
        assert after in possible, self.say(f"executed: {executed}", before.account, after)
        assert done or executed != "yes", self.say("a success of what Kartra refuses")
        added = self._added(before)
        moved = after != before.account
        assert len(added) == 1 or not (added or moved), self.say(f"intents of one call: {added}")
        for intent, state in added.items():
            assert state in LEDGER_STATES[executed], self.say(f"the ledger has {state}")
            unseen = "same" if expected == before.account else "not"
            self.truth[intent] = "done" if moved else unseen
            self.meanings[intent] = _identify(request, before)
        if moved:
            self._check_once(request, before, repeat=repeat)
        if not answer.failed:
            self._check_receipt(answer, added, moved=moved)
            self._check_old_values(request, answer, before)

    def judge_abandoned(self, request: Request, before: Before, *, repeat: bool) -> None:
        """Judge a call that its client cancelled: it had its effect or none."""
        self.told.append(f"abandoned {request}")
        after, (expected, _) = read_state(self.place), request.run(before.account)
        assert after in (before.account, expected), self.say("half", before.account, after)
        added, moved = self._added(before), after != before.account
        assert added or not moved, self.say("an effect without an intent")
        for intent in added:
            self.meanings[intent] = _identify(request, before)
            unseen = "same" if expected == before.account else "not"
            self.truth[intent] = "done" if moved else unseen
        if moved:
            self._check_once(request, before, repeat=repeat)

    def judge_many(
        self, request: Request, answers: list[Answer], before: Before, *, repeat: bool
    ) -> None:
        """Judge equal calls that ran at the same moment: together they have one effect."""
        self.told.append(f"at once {request} → {sorted(map(summarize, answers))}")
        after, (expected, _) = read_state(self.place), request.run(before.account)
        assert after in (before.account, expected), self.say("more", before.account, after)
        succeeded = sum(not answer.failed for answer in answers)
        assert not succeeded or after == expected, self.say("a success without an effect")
        assert succeeded <= 1 or not request.commands & ONCE, self.say("several successes")
        for intent, state in self._added(before).items():
            self.meanings[intent] = _identify(request, before)
            seen = expected == before.account or state == "succeeded"
            self.truth[intent] = "same" if seen else "not"
        if after != before.account:
            self._check_once(request, before, repeat=repeat)

    def _added(self, before: Before) -> dict[str, str]:
        return {i: state for i, state in self.intents().items() if i not in before.intents}

    def _check_receipt(self, answer: Answer, added: Iterable[str], *, moved: bool) -> None:
        receipt = find_receipt(answer)
        assert [receipt["intent"]] == [*added], self.say("the receipt names another intent")
        claimed = receipt.get("changed")
        assert claimed in (None, moved), self.say(f"changed: {claimed}, but {moved}")
        assert moved or claimed is None or "undo" not in receipt, self.say("undo of nothing")

    def _check_old_values(self, request: Request, answer: Answer, before: Before) -> None:
        """Require that the answer to an edit has every old value that it replaced."""
        if request.commands == {"edit_lead"} and not self.reads_fail:
            old = overwritten(request.writes[0], before.account)
            claimed = (answer.structured or {}).get("before", {})
            assert claimed == old, self.say(f"before: {claimed}, but it was {old}")

    def _check_once(self, request: Request, before: Before, *, repeat: bool) -> None:
        """Require that no equal write had an effect, or may have had one, unless by `repeat`."""
        meaning = _identify(request, before)
        equal = [past for past in self.effects if past.meaning == meaning]
        self.effects.append(Effect(before.at, meaning))
        if repeat:
            return
        recent = [past for past in equal if before.at - past.at < JUST_NOW]
        twice = equal if request.commands & MONEY else recent if request.commands & ONCE else []
        assert not twice, self.say("done twice")
        unsettled = [intent for intent, state in before.intents.items() if state == "unknown"]
        unsettled = [intent for intent in unsettled if self.meanings[intent] == meaning]
        assert not unsettled, self.say(f"an effect while {unsettled} is unknown")

    def check_summary(self, shown: Shown, before: Before) -> None:
        """Require that no two different calls have one summary, and that it has the amount."""
        meaning = (*shown.request.meaning(before.account), shown.repeat)
        if "NOT READ" in shown.summary:
            return
        first = self.summaries.setdefault(shown.summary, meaning)
        assert first == meaning, self.say(f"one summary, two calls: {shown.summary!r}, {first}")
        amounts = [write.money(before.account) for write in shown.request.writes]
        for cents in amounts:
            present = cents is None or f" {cents / 100:.2f} " in shown.summary
            assert present, self.say(f"no amount in {shown.summary!r}")

    # ── Every step ──

    def check_always(self) -> None:
        """Require what holds at every step: settled states are true, no sale is exceeded."""
        for intent, claimed in self.intents().items():
            true = self.truth[intent]
            assert true in TRUE_STATES[claimed], self.say(f"{intent}: {claimed}, but {true}")
        rows = [str(v).split() for key, v in read_state(self.place).items() if key[0] == "row"]
        account = {key[1]: str(v) for key, v in read_state(self.place).items() if key[0] == "row"}
        back: dict[int, int] = {}
        for kind, cents, _, parent in rows:
            back[int(parent)] = back.get(int(parent), 0) + int(cents) * (kind in BACK)
        over = [n for n, row in account.items() if back.get(n, 0) > int(row.split()[1])]
        assert not over, self.say(f"more was paid back than was paid: {over}")

    def say(self, wrong: str, before: State | None = None, after: State | None = None) -> str:
        """Return what is wrong, the difference of two states, and all steps so far."""
        old, new = before or {}, after or {}
        keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        differences = [f"{key}: {old.get(key)!r} → {new.get(key)!r}" for key in keys]
        return "\n  ".join([wrong, *differences, "after these steps:", *self.told])


def _identify(request: Request, before: Before) -> tuple[Any, ...]:
    """Return what equal calls share; a lead that no call read is not the same by its address."""
    meaning = request.meaning(before.account)
    is_read = request.commands <= MONEY
    return meaning if is_read else (*meaning, *(w["lead_id"] or w["email"] for w in request.writes))


def summarize(answer: Answer) -> str:
    return f"{answer.code} ({answer.executed})" if answer.failed else "success"


def find_receipt(answer: Answer) -> Mapping[str, Any]:
    return (answer.structured or {})["receipt"]
