"""The judge of every call: answer and ledger against the account before and after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from consent_actors import confirmed, lines
from harness import Answer, Sandbox
from truth_account import (
    BACK,
    OF_SUBSCRIPTIONS,
    State,
    Write,
    apply,
    overwritten,
    read_state,
    remains,
)
from truth_calls import Request
from truth_effects import effect_of

MONEY = frozenset({"refund_transaction", "cancel"})
ADDITIVE = frozenset(
    {
        "give_points_to_lead",
        "remove_points_from_lead",
        "subscribe_lead_to_sequence_at_step",
        "create_lead",
        "calendar_subscribe",
    }
)
ONCE = MONEY | ADDITIVE
"""Kinds of writes of which a second equal one has a second effect."""
JUST_NOW = 60.0
MONTH = 30 * 86_400.0
"""Time in which an equal partial refund is a repetition; `KARTRA_MCP_REPEAT_WINDOW_DAYS`."""
DECLINE_HOLDS = 600.0
Meaning = tuple[Any, ...]

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
    def confirmation(self) -> Mapping[str, Any]:
        return self.answer.error.get("confirmation", {})

    @property
    def summary(self) -> str:
        return self.confirmation.get("summary", "")

    @property
    def number(self) -> int | None:
        """Return the number to approve, if that is what is wanted."""
        return self.confirmation.get("number")

    @property
    def agreement(self) -> dict[str, Any]:
        """Return what a second call adds; under gate `flag` there is nothing to repeat."""
        if self.number is not None:
            return {}
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
    meaning: Meaning


@dataclass
class Judge:
    """Everything that answers claimed about one account.

    Args:
        truth: intent → `done`, `not` or `same`, as the account shows it.
        meanings: intent → the meanings of its writes.
        summaries: summary → the meaning of the call that had it first.
        declined: operation and target that a user declined → when.
        told: every step in words, for the message of a failure.
        reads_fail: faults keep the servers from reading the account.
        first_fails: a fault is set for the first command of a chain.
    """

    place: Sandbox
    truth: dict[str, str] = field(default_factory=dict[str, str])
    meanings: dict[str, list[Meaning]] = field(default_factory=dict[str, list[Meaning]])
    summaries: dict[str, Meaning] = field(default_factory=dict[str, Meaning])
    declined: dict[Meaning, float] = field(default_factory=dict[Meaning, float])
    effects: list[Effect] = field(default_factory=list[Effect])
    told: list[str] = field(default_factory=list[str])
    reads_fail: bool = False
    first_fails: bool = False

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
        in_part = [request.without_first(before.account)] if self._fails_in_part(request) else []
        allowed = {"yes": [expected, *in_part], "no": [before.account]}
        possible = allowed.get(executed, [before.account, expected, *in_part])
        assert after in possible, self.say(f"executed: {executed}", before.account, after)
        assert done or executed != "yes", self.say("a success of what Kartra refuses")
        added = self._added(before)
        moved = after != before.account
        assert len(added) == 1 or not (added or moved), self.say(f"intents of one call: {added}")
        for intent, state in added.items():
            assert state in LEDGER_STATES[executed], self.say(f"the ledger has {state}")
            unseen = "same" if expected == before.account else "not"
            self.truth[intent] = "done" if moved else unseen
            self.meanings[intent] = [_identify(w, before) for w in request.writes]
        if moved:
            self._check_once(request, before, after, repeat=repeat)
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
            self.meanings[intent] = [_identify(w, before) for w in request.writes]
            unseen = "same" if expected == before.account else "not"
            self.truth[intent] = "done" if moved else unseen
        if moved:
            self._check_once(request, before, after, repeat=repeat)

    def judge_many(
        self, request: Request, answers: list[Answer], before: Before, *, repeat: bool
    ) -> None:
        """Judge equal calls that ran at the same moment: together they have one effect.

        With `repeat` and a preview of its own, each may have one.
        """
        again = " again" if repeat else ""
        self.told.append(f"at once {request}{again} → {sorted(map(summarize, answers))}")
        after, (expected, _) = read_state(self.place), request.run(before.account)
        possible = [before.account, expected]
        for _ in answers if repeat else ():
            possible.append(request.run(possible[-1])[0])
        assert after in possible, self.say("more", before.account, after)
        succeeded = sum(not answer.failed for answer in answers)
        assert not succeeded or after in possible[1:], self.say("a success without an effect")
        once = request.kinds & ONCE and not repeat
        assert succeeded <= 1 or not once, self.say("several successes")
        for intent, state in self._added(before).items():
            self.meanings[intent] = [_identify(w, before) for w in request.writes]
            seen = expected == before.account or state == "succeeded"
            self.truth[intent] = "same" if seen else "not"
        if after != before.account:
            self._check_once(request, before, after, repeat=repeat)

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

    def _fails_in_part(self, request: Request) -> bool:
        return self.first_fails and len(request.writes) > 1

    def _check_once(self, request: Request, before: Before, after: State, *, repeat: bool) -> None:
        """Require that no equal write had an effect, or may have had one, unless by `repeat`.

        And that no user declined it just before.
        """
        in_part = self._fails_in_part(request) and after == request.without_first(before.account)
        found = _list_effects(request.writes[1:] if in_part else request.writes, before)
        for one, meaning in found:
            held = before.at - self.declined.get(_operation(one), -MONTH) < DECLINE_HOLDS
            assert not held, self.say("an effect of what a user declined")
            if not repeat:
                self._check_first(one, meaning, before)
        self.effects += [Effect(before.at, meaning) for _, meaning in found]

    def _check_first(self, one: Write, meaning: Meaning, before: Before) -> None:
        lasts = MONTH if one.kind in MONEY else JUST_NOW if one.kind in ONCE else 0
        equal = [past for past in self.effects if past.meaning == meaning]
        twice = [past for past in equal if before.at - past.at < lasts]
        assert not twice, self.say(f"done twice: {one}")
        unsettled = [intent for intent, state in before.intents.items() if state == "unknown"]
        unsettled = [intent for intent in unsettled if meaning in self.meanings[intent]]
        assert not unsettled, self.say(f"an effect of {one} while {unsettled} is unknown")

    def decline(self, request: Request, at: float) -> None:
        """Note that a user declined a call: none of its operations runs for ten minutes."""
        self.told.append("  a user declined this")
        self.declined |= {_operation(one): at for one in request.writes}

    def appear(self, intent: str, request: Request, before: Before) -> None:
        """Note that Kartra applied an unknown write only now."""
        moved = read_state(self.place) != before.account
        self.told.append(f"late: {request} → {'effect' if moved else 'refused'}")
        self.truth[intent] = "done" if moved else self.truth[intent]
        found = _list_effects(request.writes, before)
        self.effects += [Effect(before.at, meaning) for _, meaning in found]

    # ── Previews ──

    def check_preview(self, shown: Shown, before: Before) -> None:
        """Require that a preview shows what the account has, and a summary of its own."""
        self.check_summary(shown.summary, shown.request, before, repeat=shown.repeat)
        wrong = false_facts(shown, before.account)
        assert not wrong, self.say(f"the preview shows {wrong}")

    def check_summary(
        self, summary: str, request: Request, before: Before, *, repeat: bool
    ) -> None:
        """Require that no two different calls have one summary, and that it has the amount."""
        meaning = (*request.meaning(before.account), repeat)
        if "NOT READ" in summary:
            return
        first = self.summaries.setdefault(summary, meaning)
        assert first == meaning, self.say(f"one summary, two calls: {summary!r}, {first}")
        amounts = [one.money(before.account) for one in request.writes]
        for cents in amounts if len(amounts) == 1 else ():
            present = cents is None or f" {cents / 100:.2f} " in summary
            assert present, self.say(f"no amount in {summary!r}")

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


def _identify(one: Write, before: Before) -> Meaning:
    """Return what equal writes share; a lead that no call read is not the same by its address."""
    meaning = one.meaning(before.account)
    return meaning if one.kind in MONEY else (*meaning, one["lead_id"] or one["email"])


def _operation(one: Write) -> Meaning:
    """Return what a decline blocks, in the call's own spelling."""
    named = ("transaction_id", "subscription_id", "lead_id", "email")
    return one.kind, *(one[name] for name in named)


def _list_effects(writes: Iterable[Write], before: Before) -> list[tuple[Write, Meaning]]:
    """Return the writes that change the account one after another, and their meanings before it."""
    state, found = before.account, list[tuple[Write, Meaning]]()
    for one in writes:
        after = apply(state, effect_of(one, state) or {})
        if after != state:
            found.append((one, _identify(one, before)))
        state = after
    return found


def false_facts(shown: Shown, account: State) -> list[str]:
    """Return the facts of a preview of one write that differ from the account."""
    if len(shown.request.writes) != 1 or "could_not_be_read" in shown.confirmation["facts"]:
        return []
    one, facts = shown.request.writes[0], shown.confirmation["facts"]
    number = one.target(account)
    if one.kind == "refund_transaction":
        left = f"{remains(account, number) / 100:.2f}"
        return [] if facts["remaining"] == left else [f"{facts['remaining']} remaining: {left}"]
    if one.command not in OF_SUBSCRIPTIONS:
        return []
    true: dict[str, Any] = {n: account.get((key, number)) for n, key in _SHOWN_TERMS.items()}
    if true["status"] is None:
        return []
    true["price"] = f"{true['price'] / 100:.2f}"
    true["installments_left"] = true["installments_left"] or "Until cancelled"
    active = true["status"] == "Active"
    kept = {
        name: v for name, v in facts.items() if name in true and (active or name != "next_payment")
    }
    return [f"{n}: {v}, not {true[n]}" for n, v in kept.items() if str(v) != str(true[n])]


_SHOWN_TERMS = {
    "status": "status",
    "price": "price",
    "quantity": "quantity",
    "recurring": "period",
    "next_payment": "next payment",
    "product_id": "product",
    "price_point": "point",
    "installments_left": "installments left",
}


def summarize(answer: Answer) -> str:
    return f"{answer.code} ({answer.executed})" if answer.failed else "success"


def find_receipt(answer: Answer) -> Mapping[str, Any]:
    return (answer.structured or {})["receipt"]
