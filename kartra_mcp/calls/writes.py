"""Guarded write: consent, intent, run, outcome; nothing runs that could not be recorded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from kartra_mcp.calls.item_grant import ItemGrant
from kartra_mcp.calls.joined_commits import JoinedCommits
from kartra_mcp.calls.lead_settlement import READ_THE_LEAD, evaluate_lead
from kartra_mcp.calls.receipt import Receipt, make_receipt
from kartra_mcp.calls.reconciliation import (
    WHAT_TO_CHECK,
    PastLooks,
    ReconcileFinding,
    RunLogProof,
    evaluate_evidence,
    evaluate_run_logs,
    past_looks,
    require_fence,
)
from kartra_mcp.calls.running_writes import RunningWrites
from kartra_mcp.calls.write_errors import (
    no_target_error,
    not_unknown_error,
    other_connection_error,
)
from kartra_mcp.calls.write_record import CONTRADICTS, WriteRecord, final_state
from kartra_mcp.consent.call_effects import call_effect
from kartra_mcp.consent.collect import facts_for_entry
from kartra_mcp.consent.fact_reader import FactReader
from kartra_mcp.consent.facts import Facts, Read
from kartra_mcp.consent.flow import ConsentFlow, ConsentRequest
from kartra_mcp.consent.intents import draft_intent, mask_target
from kartra_mcp.consent.subject import CallSubject
from kartra_mcp.core.deadline import ExtendableDeadline
from kartra_mcp.core.elicitation import ClientContext
from kartra_mcp.core.errors import KartraMCPError, RefusedError, internal_error
from kartra_mcp.core.models import (
    FENCED,
    Action,
    ActionResult,
    Call,
    Connection,
    Executed,
    Gate,
    Risk,
)
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.core.timings import DEFAULT_TIMINGS, WriteTimings
from kartra_mcp.kartra.effects import describe_bulk_undo
from kartra_mcp.kartra.lead_state import find_object, read_held_before
from kartra_mcp.ledger.entry_fields import model_view
from kartra_mcp.ledger.errors import explain
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.records import Binding, Filters, Intent, format_utc
from kartra_mcp.ledger.settlement import conflict_error
from kartra_mcp.membrane.responses import RunLog
from kartra_mcp.policy.fingerprint import policy_as_dict, policy_digest, relaxations
from kartra_mcp.policy.gates import Policy
from kartra_mcp.policy.limits import Limits

ITEM_PATIENCE = 0.01
"""Seconds that the outcome of a bulk item waits, to be committed with the intent of the next."""
RefusesToken = Callable[[float], Awaitable[bool | None]]
"""Return whether Membrane refuses a token that ended at this time; None if not known."""

RunOnce = Callable[[WriteRecord], Awaitable[ActionResult]]
ReadRunLogs = Callable[[float], Awaitable[tuple[RunLog, ...]]]


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """One write that passed the checks of its arguments.

    `read` reads its facts, and `patience` is its deadline. `grant` is the consent of a bulk run.
    """

    call: Call
    connection: Connection
    client: ClientContext
    patience: ExtendableDeadline
    read: Read
    grant: ItemGrant | None = None


@dataclass(slots=True)
class GuardedWrites:
    """All writes of this server, on one ledger, under one policy."""

    ledger: Ledger
    rules: Policy
    limits: Limits
    actor: str
    consent: ConsentFlow
    timings: WriteTimings = DEFAULT_TIMINGS.writes
    process: RunningWrites = field(default_factory=RunningWrites)
    opened: bool = False
    commits: JoinedCommits = field(init=False)

    def __post_init__(self) -> None:
        self.commits = JoinedCommits(self.ledger)

    @property
    def policy(self) -> dict[str, Any]:
        return policy_as_dict(self.rules, self.limits, outside=self.consent.outside)

    async def open(self) -> None:
        """Open once: orphans become unknown, and a relaxed policy is recorded."""
        if not self.opened:
            await run_in_thread(self._open)
            self.opened = True

    async def revoke_confirmations(self, connection: str) -> None:
        """Revoke the confirmations of a connection that is no longer READY."""
        with suppress(KartraMCPError):  # without a ledger no id counts anyway
            await run_in_thread(self.ledger.consents.revoke_all, connection)

    async def get_status(self) -> dict[str, Any]:
        """Return the ledger's part of `kartra_status`: whether it is writable, and the policy."""
        try:
            await self.open()
            await run_in_thread(self.ledger.require_room)
            await run_in_thread(self.ledger.switch.require_running)
            newest = await run_in_thread(self.ledger.latest, "policy") or {}
            unknown = await run_in_thread(self.ledger.list_recent, 100, Filters(state="unknown"))
            conflicts = await run_in_thread(self.ledger.list_conflicts)
        except KartraMCPError as problem:
            return {"usable": False, "problem": explain(problem), "remedy": problem.remedy}
        if conflicts:
            stopped = conflict_error(conflicts[0][0])
            return {"usable": False, "problem": explain(stopped), "remedy": stopped.remedy}
        return {
            "usable": True,
            "policy": policy_digest(self.policy),
            "policy_since": format_utc(newest["at"]) if "at" in newest else None,
            "loosened": newest.get("loosened", []),
            "unknown": [line["intent"] for line in unknown],
        }

    async def recent_entries(self, wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the newest entries, for a model; also while the clock is wrong."""
        await run_in_thread(self.ledger.mark_orphans_unknown)
        lead = wanted.get("lead")
        filters = Filters(
            tool=wanted.get("tool"),
            state=wanted.get("state"),
            target=mask_target(wanted["target"], self.ledger) if "target" in wanted else None,
            lead_hash=await run_in_thread(self.ledger.leads.hash, lead) if lead else None,
        )
        lines = await run_in_thread(self.ledger.list_recent, wanted.get("count", 20), filters)
        return [model_view(line) for line in lines]

    async def reconcile(
        self,
        intent_id: str,
        connection: Connection,
        read: Read,
        run_logs: ReadRunLogs,
        refuses_token: RefusesToken,
    ) -> dict[str, Any]:
        """Settle one unknown write by evidence; otherwise return what the user can check.

        Membrane's run logs come first, then Kartra's account. A write over HTTP is settled as
        failed only if Membrane refuses its token.
        """
        await self.open()
        await run_in_thread(self.ledger.mark_orphans_unknown)
        await run_in_thread(
            self.ledger.require_ended, intent_id
        )  # before the look: another process may finish the write meanwhile
        entry = await run_in_thread(self.ledger.get, intent_id)
        if entry is None or entry["state"] != "unknown":
            raise not_unknown_error(entry)
        if entry["connection"] != self.ledger.identify(connection.id):
            raise other_connection_error()
        proof = evaluate_run_logs(await run_logs(float(entry["at"])), str(entry["risk"]))
        if proof:
            return await self._settle_by_log(intent_id, proof)
        # Before the read: its own time must not count.
        looks = await run_in_thread(self.ledger.late_look_times, intent_id)
        age, *ages = await run_in_thread(self.ledger.list_ages, [entry["at"], *looks])
        past = past_looks(entry, age, ages, self.timings)
        found, facts = await self._look(entry, read, past)
        ended: dict[str, Any] = {}
        if found.state == "failed" and entry.get("fence") == FENCED:
            ended["token_ended"] = await refuses_token(float(entry["send_until"]))
        found = require_fence(entry, found, token_ended=ended.get("token_ended"))
        seen = {"why": found.why, "evidence": list(facts.evidence), **ended}
        return await self._record_finding(intent_id, found, seen)

    async def _record_finding(
        self, intent_id: str, found: ReconcileFinding, seen: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Record what a look proves, and return it."""
        if found.state != "unknown":
            await run_in_thread(self.ledger.reconcile, intent_id, found.state, seen)
        elif found.late_look:
            await run_in_thread(self.ledger.append_note, "look", {"intent": intent_id, **seen})
        settled = {"intent": intent_id, "state": found.state, "why": found.why}
        if found.state != "unknown":
            return settled
        return {**settled, "check": found.check or WHAT_TO_CHECK}

    async def _look(
        self, entry: Mapping[str, Any], read: Read, past: PastLooks
    ) -> tuple[ReconcileFinding, Facts]:
        """Read the account once, and return what that proves."""
        operation = str(entry["operation"])
        lead_id = await run_in_thread(self.ledger.leads.find_id, entry)
        facts = await facts_for_entry(operation, entry, read, lead_id)
        if find_object(operation) is None:
            return evaluate_evidence(entry, facts, past), facts
        if not lead_id:
            why = "The lead of this write is not known by its id."
            return ReconcileFinding("unknown", why, check=READ_THE_LEAD), facts
        if facts.missing:
            why = f"Not everything could be read: {facts.missing[0]}."
            return ReconcileFinding("unknown", why), facts
        # After the read, which may have shown that two names are one lead.
        others = await run_in_thread(self.ledger.leads.list_writes, entry)
        return evaluate_lead(entry, facts.held, others, past), facts

    async def _settle_by_log(self, intent_id: str, proof: RunLogProof) -> dict[str, Any]:
        seen = {"why": proof.why, "source": "run_log", "action_run_id": proof.run}
        await run_in_thread(self.ledger.reconcile, intent_id, proof.state, seen)
        return {"intent": intent_id, "state": proof.state, **seen}

    async def find_repeat(
        self, call: Call, connection: Connection, client: ClientContext
    ) -> RefusedError | None:
        """Return the refusal of a call that an equal one has made, or None."""
        await self.open()
        draft = draft_intent(call, connection, client, self.actor, self.ledger)
        (found,) = await run_in_thread(self.ledger.find_repeats, [draft], self.limits)
        return found

    async def execute(self, asked: WriteRequest, run_once: RunOnce) -> tuple[ActionResult, Receipt]:
        """Return the result and the receipt; with a grant, on the consent of a bulk run.

        Raises:
            KartraMCPError: `executed` is the state that the ledger has.
            InputRequired: the user is asked first.
        """
        call, connection, client = asked.call, asked.connection, asked.client
        await self.open()
        await self._require_writable(asked)
        if call.risk is Risk.IRREVERSIBLE and not call.operation.is_unambiguous:
            raise no_target_error()
        binding = self.make_binding(call, connection, client)
        draft = draft_intent(call, connection, client, self.actor, self.ledger)
        if asked.grant is not None:
            intent = await asked.grant.make_intent(call, draft, asked.read, self.ledger)
            old_terms, unread = dict[str, Any](), list[str]()
        else:
            account = connection.name or connection.key or connection.id
            gate = await self.resolve_gate(call.decision.gate, draft.mail)
            subject = CallSubject(call, asked.read, account)
            request = ConsentRequest(
                subject,
                gate,
                binding,
                client,
                draft,
                self.limits,
                asked.patience,
            )
            intent = await self.consent.obtain(request)
            old_terms, unread = await subject.find_old_terms()
        undo = call_effect(call, mask=True, held=read_held_before(intent.facts)).undo_if_changed
        undo = undo if asked.grant is None else describe_bulk_undo(undo)
        intent = replace(intent, undo=undo)
        await self._identify_leads(call, connection, asked.read)
        recorded = self._make_record(intent, binding, client)
        reply, receipt = await self._run_in_scope(recorded, run_once, call, asked.grant)
        return reply, replace(receipt.with_unread(unread), before=old_terms)

    async def _identify_leads(self, call: Call, connection: Connection, read: Read) -> None:
        """Read the leads of additive commands whose other name the ledger does not know.

        Points given to an address and then to its id would else be two writes, with two effects.
        A lead that cannot be read is known by the given name only.
        """
        for part in call.operation.parts:
            target = part.target
            is_lead = target is not None and target.kind == "lead"
            if not part.additive or part.name == "create_lead" or target is None or not is_lead:
                continue
            name = mask_target(target.id, self.ledger)
            if not await run_in_thread(self.ledger.leads.is_known, connection.id, name):
                await FactReader(read).read_lead(target.id, "the lead")

    async def _require_writable(self, asked: WriteRequest) -> None:
        """Refuse before the user is asked: whatever the answer is, nothing could run."""
        self.process.require_open()
        if asked.grant is None:
            await run_in_thread(self.ledger.require_writable)

    def _make_record(self, intent: Intent, binding: Binding, client: ClientContext) -> WriteRecord:
        outlives = client.principal is not None
        return WriteRecord(
            self.commits, intent, self.limits, binding, self.process, outlives_caller=outlives
        )

    async def _run_in_scope(
        self, recorded: WriteRecord, run_once: RunOnce, call: Call, grant: ItemGrant | None
    ) -> tuple[ActionResult, Receipt]:
        with self.process.track(), recorded.scope:
            return await self._run_recorded(recorded, run_once, call, grant)
        raise AssertionError  # nothing cancels the scope of a write itself

    async def _run_recorded(
        self, recorded: WriteRecord, run_once: RunOnce, call: Call, grant: ItemGrant | None
    ) -> tuple[ActionResult, Receipt]:
        try:
            reply = await run_once(recorded)
        except KartraMCPError as problem:
            state = final_state(problem)
            missed = await recorded.finish(state, problem.executed, code=problem.code)
            if missed == CONTRADICTS:
                problem.remedy += f" {CONTRADICTS[0].upper()}{CONTRADICTS[1:]}"
            raise _add_settlement_hint(problem, recorded) from None
        except Exception as error:
            raise _add_settlement_hint(
                internal_error(await recorded.finish_lost()), recorded
            ) from error
        except BaseException:  # a cancellation
            await recorded.finish_lost()
            raise
        patience = 0.0
        if grant is not None:
            patience = ITEM_PATIENCE
            grant.on_answer()
        missed = await recorded.finish(
            "succeeded", Executed.YES, reply.action_run_id, patience=patience
        )
        effect = call_effect(call, held=read_held_before(recorded.intent.facts))
        return reply, make_receipt(recorded.intent, effect, missed)

    async def resolve_gate(self, gate: Gate, mails: int) -> Gate:
        """Return the gate of a call; above the hourly number of mails, a human's."""
        if not mails or gate in (Gate.HUMAN, Gate.DENY):
            return gate
        over = await run_in_thread(self.ledger.emails_last_hour) + mails > self.limits.mail_per_hour
        return Gate.HUMAN if over else gate

    def make_binding(self, call: Call, connection: Connection, client: ClientContext) -> Binding:
        """Return the one call that a consent is valid for, of one principal."""
        request = call.request
        is_action = isinstance(request, Action)
        return Binding(
            tool=call.tool,
            arguments=call.operation.digest,
            connection=connection.id,
            connection_created=connection.created_at,
            action=request.id if is_action else "raw request",
            revision=request.revision if is_action else "",
            policy=policy_digest(self.policy),
            repeat=call.consent.repeat,
            requester="" if client.principal is None else client.principal.key,
        )

    def _open(self) -> None:
        self.ledger.mark_orphans_unknown()
        self.ledger.leads.hash("")  # its key is read once, here, off the event loop
        now = self.policy
        before = self.ledger.latest("policy")
        if before is None or before.get("digest") != policy_digest(now):
            looser = relaxations(before.get("policy", {}), now) if before else []
            self.ledger.append_note(
                "policy", {"digest": policy_digest(now), "policy": now, "loosened": looser}
            )


def _add_settlement_hint(problem: KartraMCPError, recorded: WriteRecord) -> KartraMCPError:
    """Add intent id and `kartra_reconcile` to an error with an unknown outcome."""
    if problem.executed is Executed.UNKNOWN and recorded.running is not None:
        intent = recorded.intent.id
        problem.remedy += f" Call kartra_reconcile with the intent {intent} to settle it."
    return problem
