"""Gate enforcement: obtain consent to a call by two steps, by elicitation or by approval.

The names of consents are the contract's: flag and two_step are given by the caller, elicitation is
the client's report that the user answered, approval is a user with the PIN outside the client.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import NoReturn

import anyio

from kartra_mcp.consent import preview
from kartra_mcp.consent.facts import Facts
from kartra_mcp.consent.form_support import (
    ERROR,
    NO_ANSWER,
    REPEATED,
    UNREADABLE,
    FormSupport,
)
from kartra_mcp.consent.intents import add_facts
from kartra_mcp.consent.preview import Preview
from kartra_mcp.consent.subject import ConsentSubject
from kartra_mcp.consent.team_approval import (
    TeamApproval,
    find_amount,
    team_approval_required_error,
)
from kartra_mcp.core.deadline import ExtendableDeadline
from kartra_mcp.core.elicitation import (
    ELICITATION_TIMEOUT,
    ClientContext,
    ElicitationResponse,
    FormElicitation,
    InputRequired,
)
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Gate
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.core.timings import DEFAULT_TIMINGS, Clocks
from kartra_mcp.kartra.values import format_amount
from kartra_mcp.ledger.approval_records import ApprovalRequest
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.records import Binding, Intent, StoredQuestion
from kartra_mcp.ledger.rules import make_identity_keys
from kartra_mcp.policy.gates import strictest
from kartra_mcp.policy.limits import Limits

MAX_QUESTIONS = 2
_ACTIONS = frozenset({"accept", "decline", "cancel"})
_WAYS_TO_AGREE = frozenset({"confirmation_required", "facts_changed", "approval_required"})
MAX_REMEMBERED = 1_000
RESPONSE_RESERVE = 1.0
"""Seconds of a call that are reserved for its response while the page starts."""


@dataclass(frozen=True, slots=True)
class ConsentRequest:
    """One call or bulk run that needs consent: its gate, its binding, the client.

    `draft` is the intent without facts and consent; `patience` is the call's deadline.
    """

    subject: ConsentSubject
    gate: Gate
    binding: Binding
    client: ClientContext
    draft: Intent
    limits: Limits
    patience: ExtendableDeadline


@dataclass(frozen=True, slots=True)
class _Reading:
    """Facts as read, and the intent that the ledger would record with them."""

    facts: Facts
    intent: Intent


@dataclass(frozen=True, slots=True)
class _IssuedQuestion:
    """Begin and end of a question's recording, by the steady clock."""

    asked_at: float
    recorded_at: float


def no_approval_page(_: float) -> str:
    """Return no address: only the terminal is available."""
    return ""


@dataclass(frozen=True, slots=True)
class ConsentFlow:
    """The gates above `flag`, on one ledger.

    `flags` are flags that `kartra-mcp approve` needs too. `page` returns, within so many seconds, a
    one-time address of the approval page, or ""; it is never recorded. `min_human`
    is the least time of a human's answer, in seconds. `issued` maps a question's state to the
    moments of its recording. `clocks` judge the age of an answer. `timeout` is the seconds that
    the user has to answer; `forms` are the clients that did not show a question. `team` approves
    the calls of a principal: the gate human is never answered by a form of its own client.
    """

    ledger: Ledger
    sandbox: bool = False
    outside: bool = False
    flags: str = ""
    page: Callable[[float], str] = no_approval_page
    min_human: float = DEFAULT_TIMINGS.min_human
    issued: dict[str, _IssuedQuestion] = field(default_factory=dict[str, "_IssuedQuestion"])
    clocks: Clocks = field(default_factory=Clocks)
    timeout: float = ELICITATION_TIMEOUT
    forms: FormSupport = field(default_factory=FormSupport)
    team: TeamApproval = field(default_factory=TeamApproval)

    async def obtain(self, asked: ConsentRequest) -> Intent:
        """Return the intent to record, with the consent by which the call may run.

        Raises:
            RefusedError: consent was not given; nothing was done.
            InputRequired: the user is asked first.
        """
        gate = strictest(asked.gate, Gate.PREVIEW) if asked.subject.consent.repeat else asked.gate
        if gate in (Gate.ALLOW, Gate.FLAG):
            return replace(asked.draft, consent="none" if gate is Gate.ALLOW else "flag")
        asked = replace(asked, gate=gate)
        if not self._asks_by_form(asked):
            return await self._without_form(asked)
        return await (
            self._by_elicitation if asked.client.elicit_form else self._by_input_required
        )(asked)

    def _asks_by_form(self, asked: ConsentRequest) -> bool:
        """Return whether the client is asked, or answers a question that it was asked."""
        client = asked.client
        by_others = asked.draft.requester is not None and asked.gate is Gate.HUMAN
        if self.outside or by_others or not client.supports_forms:
            return False
        if client.elicit_form is None and client.response is not None:
            return True
        returns_nothing = client.elicit_form is None and client.request_state is None
        if returns_nothing and self.forms.has_open_question(client, asked.binding):
            self.forms.close_question(client, asked.binding)
            self.forms.add_failure(client, REPEATED)
        return self.forms.is_usable(client)

    async def _without_form(self, asked: ConsentRequest) -> Intent:
        """Obtain consent in two calls or outside; the answer names a form that was not shown."""
        try:
            by = self._by_approval if asked.gate is Gate.HUMAN else self._by_two_step
            return await by(asked)
        except RefusedError as problem:
            why = "" if self.outside else self.forms.describe_failure(asked.client)
            if why and problem.code in _WAYS_TO_AGREE:
                problem.message = f"{why} {problem.message}"
            raise

    async def _by_two_step(self, asked: ConsentRequest) -> Intent:
        """Accept the repeated preview, after reading the facts again."""
        words = asked.subject.consent
        given = words.confirmation_id
        if not words.confirm or not given:
            now = await self._read_possible(asked)
            return await self._raise_preview("confirmation_required", asked, now.facts)
        summary = words.confirmation_summary or ""
        digest = await run_in_thread(self.ledger.consents.validate, given, asked.binding, summary)
        now = await self._read_possible(asked)
        if now.facts.digest != digest:
            return await self._raise_preview("facts_changed", asked, now.facts)
        return replace(now.intent, consent="two_step", confirmation_id=given)

    async def _raise_preview(self, code: str, asked: ConsentRequest, facts: Facts) -> NoReturn:
        shown = self._make_preview(asked, facts)
        minted = await run_in_thread(
            self.ledger.consents.issue, asked.binding, shown.summary, facts.digest
        )
        raise preview.preview_required_error(code, shown, minted)

    async def _by_elicitation(self, asked: ConsentRequest) -> Intent:
        """Ask the user during the call; ask again only if the facts changed meanwhile."""
        assert asked.client.elicit_form is not None  # noqa: S101  `obtain` has checked it
        now = await self._read_possible(asked)
        for _ in range(MAX_QUESTIONS):
            question = self._make_question(asked, now.facts)
            answered = await self._await_answer(asked, asked.client.elicit_form, question)
            asked.patience.extend(answered.seconds)
            if answered.action == "error":
                self.forms.add_failure(asked.client, ERROR)
                return await self._without_form(asked)
            await self._require_yes(asked, now.intent, answered, question)
            before, now = now, await self._read_possible(asked)
            if now.facts.digest == before.facts.digest:
                return replace(now.intent, consent="elicitation")
        raise _facts_changing_error()

    async def _await_answer(
        self,
        asked: ConsentRequest,
        ask: Callable[[FormElicitation], Awaitable[ElicitationResponse]],
        question: FormElicitation,
    ) -> ElicitationResponse:
        started = self.clocks.steady()
        with anyio.move_on_after(self.timeout):
            answered = await ask(question)
            seconds = self.clocks.steady() - started
            return ElicitationResponse(answered.action, answered.content, seconds)
        self.forms.add_failure(asked.client, NO_ANSWER)
        raise _unanswered_error(self.timeout)

    async def _by_input_required(self, asked: ConsentRequest) -> Intent:
        """Return the question as the call's result; accept the answer with the same call, once."""
        client = asked.client
        if client.request_state is None:
            if client.response is not None:
                raise _mismatched_answer_error()
            now = await self._read_possible(asked)
            return await self._return_question(asked, now.facts, 1)
        stored = await run_in_thread(
            self.ledger.consents.validate_question, client.request_state, asked.binding
        )
        if client.response is None:
            self.forms.add_failure(client, REPEATED)
            raise _mismatched_answer_error()
        self.forms.close_question(client, asked.binding)
        if client.response.action == "error":
            await run_in_thread(self.ledger.consents.revoke, client.request_state)
            self.forms.add_failure(client, ERROR)
            return await self._without_form(asked)
        seconds = self._answer_seconds(client, stored)
        answered = ElicitationResponse(client.response.action, client.response.content, seconds)
        question = FormElicitation("", stored.typed_confirmation)
        now = await self._read(asked)
        await self._require_yes(asked, now.intent, answered, question)
        await self._require_possible(asked, now)
        if now.facts.digest == stored.facts_digest:
            return replace(now.intent, consent="elicitation", confirmation_id=client.request_state)
        await run_in_thread(self.ledger.consents.revoke, client.request_state)
        if stored.number >= MAX_QUESTIONS:
            raise _facts_changing_error()
        return await self._return_question(asked, now.facts, stored.number + 1)

    async def _return_question(self, asked: ConsentRequest, facts: Facts, number: int) -> NoReturn:
        question = self._make_question(asked, facts)
        asked_at, started = self.clocks.wall(), self.clocks.steady()
        stored = StoredQuestion(facts.digest, asked_at, number, question.typed_confirmation)
        minted = await run_in_thread(
            self.ledger.consents.issue_question, asked.binding, stored, self.timeout
        )
        self.forms.open_question(asked.client, asked.binding)
        self._remember(minted.id, _IssuedQuestion(started, self.clocks.steady()))
        raise InputRequired(question, minted.id)

    def _answer_seconds(self, client: ClientContext, stored: StoredQuestion) -> float:
        """Return the seconds between recording the question and receiving the answer.

        The work on either side does not count: a slow ledger or program must not let an automatic
        answer pass as a human's. Neither must a step of the wall clock, so the shorter of both
        clocks counts. For a question of another process only `asked_at` is known.
        """
        seconds = client.received_at - stored.asked_at
        issued = self.issued.get(client.request_state or "")
        if issued is None:
            return seconds
        seconds -= issued.recorded_at - issued.asked_at
        if client.received_steady is None:
            return seconds
        return min(seconds, client.received_steady - issued.recorded_at)

    def _remember(self, state: str, issued: _IssuedQuestion) -> None:
        while len(self.issued) >= MAX_REMEMBERED:
            del self.issued[next(iter(self.issued))]
        self.issued[state] = issued

    async def _require_yes(
        self,
        asked: ConsentRequest,
        intent: Intent,
        answered: ElicitationResponse,
        question: FormElicitation,
    ) -> None:
        readable = answered.action in _ACTIONS
        verdict = preview.interpret_answer(answered, question, self.min_human)
        if readable and verdict != "answered_by_host":
            self.forms.add_answer(asked.client)
        if verdict == "yes":
            return
        if asked.client.request_state:
            await run_in_thread(self.ledger.consents.revoke, asked.client.request_state)
        if not readable:  # not a decision of the user, so that nothing is recorded or blocked
            self.forms.add_failure(asked.client, UNREADABLE)
            raise preview.unreadable_answer_error()
        about = {"tool": intent.tool, "target": intent.target, "client": intent.client}
        if verdict == "answered_by_host":
            await run_in_thread(self.ledger.append_note, "consent", {"event": verdict, **about})
            raise preview.auto_answered_error()
        await run_in_thread(
            self.ledger.consents.block, make_identity_keys(intent), verdict, about=about
        )
        raise preview.declined_error(verdict)

    async def _by_approval(self, asked: ConsentRequest) -> Intent:
        """Require an approval outside the client, with the PIN or of other people; it runs once."""
        declined = await run_in_thread(self.ledger.approvals.find_declined, asked.binding)
        if declined is not None:
            raise preview.declined_error("declined", declined.reason)
        now = await self._read_possible(asked)
        facts, intent = now.facts, now.intent
        amount = find_amount(intent)
        needed = 1 if intent.requester is None else self.team.needed(amount)
        found = await run_in_thread(self.ledger.approvals.find_approved, asked.binding)
        if found is not None and found.facts_digest == facts.digest and found.is_enough(needed):
            return replace(intent, consent="approval", approval=found.number)
        shown = self._make_preview(asked, facts)
        request = ApprovalRequest(
            asked.binding,
            shown.summary,
            {**shown.facts, "effect": shown.effect, "undo": shown.undo, "risk": intent.risk.label},
            facts.digest,
            f"{intent.actor}, through {intent.client}",
            "\n".join(make_identity_keys(intent)),
            typed=preview.typed_confirmation(facts),
            requester=intent.requester,
            needed=needed,
            amount=format_amount(amount) or "",
        )
        number = await run_in_thread(self.ledger.approvals.request, request)
        if intent.requester is not None:
            self.team.announce(number)
            asked_for = await run_in_thread(self.ledger.approvals.get, number)
            given = len(asked_for.team.voters) if asked_for and asked_for.team else 0
            raise team_approval_required_error(number, shown, self.team, needed=needed, given=given)
        address = await run_in_thread(
            self.page, asked.patience.deadline.remaining - RESPONSE_RESERVE
        )
        has_pin = await run_in_thread(self.ledger.pins.is_set)
        raise preview.approval_required_error(
            number, shown, address, flags=self.flags, has_pin=has_pin
        )

    async def _read(self, asked: ConsentRequest) -> _Reading:
        facts = await asked.subject.read_facts()
        return _Reading(facts, add_facts(asked.draft, facts, self.ledger))

    async def _read_possible(self, asked: ConsentRequest) -> _Reading:
        """Return the current facts; refuse what could not run even with consent."""
        now = await self._read(asked)
        await self._require_possible(asked, now)
        return now

    async def _require_possible(self, asked: ConsentRequest, now: _Reading) -> None:
        if now.facts.impossible is not None:
            raise preview.not_possible_error(now.facts, now.facts.impossible)
        if now.facts.already_done:
            first = await run_in_thread(self.ledger.find_completing_call, now.intent)
            raise preview.already_done_error(now.facts, first)
        await run_in_thread(self.ledger.preflight, now.intent, asked.limits)

    def _make_question(self, asked: ConsentRequest, facts: Facts) -> FormElicitation:
        return preview.make_question(self._make_preview(asked, facts), facts, asked.gate)

    def _make_preview(self, asked: ConsentRequest, facts: Facts) -> Preview:
        return asked.subject.make_preview(facts, sandbox=self.sandbox)


def _mismatched_answer_error() -> RefusedError:
    return RefusedError(
        "confirmation_mismatch",
        "An answer came without its question, or a question without its answer. Nothing was done.",
        "Call the tool again without either; the user is then asked.",
    )


def _facts_changing_error() -> RefusedError:
    return RefusedError(
        "facts_changed",
        "The account changed again while the user was asked. Nothing was done.",
        "Call the tool again when the account is no longer changing; the user is then asked.",
    )


def _unanswered_error(seconds: float) -> RefusedError:
    return RefusedError(
        "dismissed",
        f"No answer came within {seconds:.0f} seconds. Nothing was done, and nothing is blocked.",
        "Call the tool again when the user is available. If this client never showed a question, "
        "that call returns a preview, or an approval number, instead.",
    )
