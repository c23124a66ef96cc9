"""Durable intents and outcomes: the record that decides which calls may run now.

Synchronous: call it from a worker thread. Every method raises `RefusedError` with the code
`ledger_unavailable` if the ledger cannot be used.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Executed
from kartra_mcp.ledger import admission, arrivals, projection, rules
from kartra_mcp.ledger.admission_reads import AdmissionReads
from kartra_mcp.ledger.approvals import Approvals
from kartra_mcp.ledger.bulk_lookup import BulkLookup
from kartra_mcp.ledger.bulk_runs import BulkRuns
from kartra_mcp.ledger.consent_ids import ConsentIds
from kartra_mcp.ledger.database import Query
from kartra_mcp.ledger.group_commit import GroupCommit, PendingWrite
from kartra_mcp.ledger.leads import Leads
from kartra_mcp.ledger.pin import Pins
from kartra_mcp.ledger.reader import LedgerReader, NoteKind
from kartra_mcp.ledger.records import (
    Answer,
    Binding,
    Intent,
    ReplacedLedger,
    VerificationReport,
)
from kartra_mcp.ledger.revocations import Revocations
from kartra_mcp.ledger.running import RunningIntent
from kartra_mcp.ledger.settlement import (
    Arrival,
    SettledState,
    Statement,
    describe_conflict,
)
from kartra_mcp.ledger.store import LedgerStore
from kartra_mcp.ledger.switch import NEWEST, Switch
from kartra_mcp.ledger.transaction import Transaction
from kartra_mcp.policy.limits import Limits

ROOM_BYTES = 16 * 1024
"""Bytes that a write needs for its intent and its outcome."""


class Ledger(LedgerReader):
    """The rules over one store. `ledger.sqlite.store.open_ledger` opens that of a state folder."""

    def __init__(self, store: LedgerStore) -> None:
        super().__init__(store)
        self._commits = GroupCommit(store)
        self._running: dict[str, RunningIntent] = {}
        self.consents = ConsentIds(store)
        self.leads = Leads(store)
        self.approvals = Approvals(store)
        self.pins = Pins(store)
        self.bulk = BulkRuns(store)
        self.bulk_lookup = BulkLookup(store)
        self.switch = Switch(store)
        self.revocations = Revocations(store)

    def begin(self, intent: Intent, limits: Limits, burns: Binding | None = None) -> RunningIntent:
        """Record that this intent is about to run, and consume its consent in the same commit.

        Args:
            intent: as read from the call; targets and amounts in any spelling.
            limits: the caps in force.
            burns: the binding that the confirmation or approval of the intent must have.

        Returns:
            The lock to hand to the program; close it in a `finally`.

        Raises:
            RefusedError: the intent may not run, or it could not be recorded. Nothing was started.
        """
        write = self.beginning(intent, limits, burns)
        self.commit([write])
        return write.take_result()

    def beginning(
        self, intent: Intent, limits: Limits, burns: Binding | None = None
    ) -> PendingWrite[RunningIntent]:
        """Return the write of `begin`, for `commit`; it does not block."""
        intent = rules.normalize_intent(intent)
        refusal = rules.no_target_refusal(intent)
        reads = AdmissionReads(intent, (NEWEST, arrivals.OPEN_CONFLICTS))
        running: RunningIntent | None = None

        def admit(transaction: Transaction) -> None:
            nonlocal refusal, running
            self._settle(transaction)
            reads.run(transaction)
            refusal = (
                refusal
                or self.switch.find_refusal(transaction)
                or arrivals.conflict_refusal(transaction, intent.connection)
                or admission.admission_refusal(transaction, intent, limits, burns)
            )
            if refusal is None:
                recorded, running = self._store.owners.hold(transaction, intent)
                line = admission.record(transaction, recorded)
                running.line, running.hash, running.begun_at = line.n, line.hash, line.at

        def conclude(problem: BaseException | None) -> RunningIntent:
            if problem is not None:
                self._drop(running)
                raise problem
            if refusal is not None:
                raise refusal
            assert running is not None  # noqa: S101  refused otherwise
            self._running[intent.id] = running
            return running

        return PendingWrite(admit, conclude, reads=reads.list_first)

    def commit(self, writes: Sequence[PendingWrite[Any]]) -> None:
        """Commit writes that wait at the same time; each holds its own result or error."""
        try:
            self._commits.run(writes)
        finally:
            for write in writes:
                write.conclude()

    def wait_seconds(self, *, settles: bool) -> float:
        """Return how long a write may wait for others: within the time of its call."""
        return self._store.wait_seconds(settles=settles)

    def preflight(self, intent: Intent, limits: Limits) -> None:
        """Raise what `begin` would refuse with any consent: the user is not asked in vain."""
        intent = rules.normalize_intent(intent)
        with self._store.write_transaction() as transaction:
            self._settle(transaction)
        with self._store.read_transaction() as transaction:
            refusal = (
                self.switch.find_refusal(transaction)
                or arrivals.conflict_refusal(transaction, intent.connection)
                or admission.preflight_refusal(transaction, intent, limits)
            )
        if refusal is not None:
            raise refusal

    def identify(self, connection: str) -> str:
        """Return the account of a connection, as the entries of its writes name it."""
        return self._store.identify(connection)

    def find_repeats(self, intents: Sequence[Intent], limits: Limits) -> list[RefusedError | None]:
        """Return for each intent why it was declined or done before, or None; caps do not count."""
        normal = [rules.normalize_intent(intent) for intent in intents]
        with self._store.write_transaction() as transaction:
            self._settle(transaction)
        with self._store.read_transaction() as transaction:
            return [admission.repeat_refusal(transaction, intent, limits) for intent in normal]

    def finish(self, intent_id: str, answer: Answer) -> Arrival:
        """Record the answer to an attempt and release the intent; return what that changed.

        An answer after the outcome was recorded as unknown replaces it. One that contradicts a
        settled outcome is recorded as a conflict, which stops the writes of its account.
        """
        write = self.finishing(intent_id, answer)
        self.commit([write])
        return write.take_result()

    def finishing(self, intent_id: str, answer: Answer) -> PendingWrite[Arrival]:
        """Return the write of `finish`, for `commit`; it does not block."""
        if answer.attempt is None:
            running = self._running.get(intent_id)
            answer = replace(answer, attempt=running.attempt if running is not None else "")
        found: list[Arrival] = []

        def list_reads(_: float) -> Sequence[Query]:
            return (arrivals.standing_query(intent_id),)

        def record(transaction: Transaction) -> None:
            found.append(arrivals.record_answer(transaction, intent_id, answer))

        def conclude(problem: BaseException | None) -> Arrival:
            if problem is not None:
                raise problem
            self._release(intent_id, keep=answer.state == "unknown")
            return found[-1]

        return PendingWrite(record, conclude, settles=True, reads=list_reads)

    def mark_orphans_unknown(self) -> list[str]:
        """Record as unknown, and return, the intents whose owner and program have both ended."""
        with self._store.write_transaction(settles=True) as transaction:
            return self._settle(transaction)

    def is_running(self, intent_id: str) -> bool:
        """Return True while the owner of this intent or the program that it started lives."""
        with self._store.read_transaction() as transaction:
            state = projection.get_state(transaction.db, intent_id)
            return state is not None and self._store.owners.is_held(transaction, intent_id)

    def require_ended(self, intent_id: str) -> None:
        """Raise `in_progress` while the intent's owner or program lives: it has no outcome."""
        if self.is_running(intent_id):
            raise admission.still_running_error(intent_id)

    def reconcile(
        self, intent_id: str, to: Literal["succeeded", "failed"], evidence: Mapping[str, Any]
    ) -> None:
        """Settle an unknown outcome by evidence; `failed` means that nothing was executed.

        Raises:
            RefusedError: `in_progress` while it runs; `invalid_arguments` unless it is unknown.
        """
        with self._store.write_transaction(looks=True) as transaction:
            self._settle(transaction)
            refusal = admission.reconcile_refusal(transaction, intent_id)
            if refusal is None and self._store.owners.is_held(transaction, intent_id):
                refusal = admission.still_running_error(intent_id)
            if refusal is None:
                executed = Executed.YES if to == "succeeded" else Executed.NO
                body = {"intent": intent_id, "state": to, "executed": str(executed)}
                transaction.append("reconcile", {**body, "evidence": dict(evidence)})
        if refusal is not None:
            raise refusal
        self._release(intent_id, keep=False)

    def require_statable(self, intent_id: str, to: SettledState) -> None:
        """Raise unless a user may state this outcome now."""
        with self._store.write_transaction(looks=True) as transaction:
            self._settle(transaction)
            refusal = self._statement_refusal(transaction, intent_id, to)
        if refusal is not None:
            raise refusal

    def state_outcome(
        self, intent_id: str, statement: Statement, *, persons: int = 1
    ) -> SettledState | None:
        """Record the outcome that a user states; return the outcome once enough users agree.

        It is accepted for a conflict, and for an unknown write whose access token stays valid.

        Raises:
            RefusedError: this outcome cannot be stated now. Nothing was recorded.
        """
        with self._store.write_transaction(looks=True) as transaction:
            self._settle(transaction)
            refusal = self._statement_refusal(transaction, intent_id, statement.state)
            if refusal is not None:
                raise refusal
            return arrivals.record_statement(transaction, intent_id, statement, persons)

    def _statement_refusal(
        self, transaction: Transaction, intent_id: str, to: SettledState
    ) -> RefusedError | None:
        if self._is_held(transaction, intent_id):
            return admission.still_running_error(intent_id)
        return arrivals.find_statement_refusal(transaction, intent_id, to)

    def append_note(self, kind: NoteKind, body: Mapping[str, Any]) -> None:
        """Append an entry that belongs to no intent.

        Such entries are a start, a policy, a read for reconciling, and an answer of the client
        itself.
        """
        with self._store.write_transaction(looks=True) as transaction:
            transaction.append(kind, body)

    def require_certain(self) -> None:
        """Raise while it is not certain that this is the account's ledger."""
        self._store.require_certain()

    def account_fault(self) -> str:
        """Return why an intact ledger is not that of this kind of account, or ""."""
        return self._store.account_fault()

    def require_writable(self) -> None:
        """Begin and commit an empty transaction; raise where a write would be refused."""
        with self._store.write_transaction() as transaction:
            refusal = self.switch.find_refusal(transaction)
        if refusal is not None:
            raise refusal

    def require_room(self) -> None:
        """Write as much as a write records, outside the chain; raise if the disk has no room."""
        with self._store.write_transaction() as transaction:
            transaction.set_meta("room", secrets.token_hex(ROOM_BYTES // 2))

    def verify(self) -> VerificationReport:
        """Verify every entry, the head and the derived tables.

        The report of an intact ledger has the reason for which writes are refused all the same.
        """
        report = self._store.verify()
        conflicts = self.list_conflicts() if report.ok else []
        if not conflicts:
            return report
        return replace(report, ok=False, refused=describe_conflict(conflicts[0][0]))

    def replace_damaged(self) -> ReplacedLedger:
        """Replace a damaged ledger for the user who ran `ledger new`; the old file is kept."""
        return self._store.replace_damaged()

    def close(self) -> None:
        """Close the store. A running intent is held until its `RunningIntent` is closed."""
        self._store.close()

    def _settle(self, transaction: Transaction) -> list[str]:
        """Record the intents whose owner and program have ended, once in a transaction."""
        if transaction.is_settled:
            return []
        own = [id_ for id_, running in self._running.items() if running.lock_fd >= 0]
        dead = self._store.owners.list_ended(transaction, own)
        for intent_id in dead:
            transaction.append("outcome", admission.lost_outcome(intent_id))
            self._store.owners.remove(intent_id)
        transaction.is_settled = True
        return dead

    def _is_held(self, transaction: Transaction, intent_id: str) -> bool:
        """Return as the owners do; of an intent whose lock this process holds, without a look."""
        running = self._running.get(intent_id)
        holds = running is not None and running.lock_fd >= 0
        return holds or self._store.owners.is_held(transaction, intent_id)

    def _release(self, intent_id: str, *, keep: bool) -> None:
        """Release the hold of this process on an intent that has ended.

        An unknown one is kept while its program may live.
        """
        running = self._running.pop(intent_id, None)
        if running is not None:
            running.close()
        self._store.owners.remove(intent_id, unless_held=keep)

    def _drop(self, running: RunningIntent | None) -> None:
        """Release an intent that was not begun; record it as refused if it is on disk anyway.

        A commit can fail after it reached the disk, for example when the head cannot be written.
        """
        if running is None:
            return
        with suppress(RefusedError):
            answer = Answer("refused", Executed.NO, attempt=running.attempt)
            self.finish(running.intent_id, answer)
        running.close()
        self._store.owners.remove(running.intent_id)
