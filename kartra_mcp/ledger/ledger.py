"""Durable intents and outcomes: the record that decides which calls may run now.

Synchronous: call it from a worker thread. Every method raises `RefusedError` with the code
`ledger_unavailable` if the ledger cannot be used.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Executed
from kartra_mcp.core.timings import Clock, Clocks, read_steady_clock
from kartra_mcp.kartra.values import fold_id
from kartra_mcp.ledger import (
    admission,
    confirmations,
    projection,
    repair,
    rules,
)
from kartra_mcp.ledger import (
    decision_log as decisions,
)
from kartra_mcp.ledger import (
    statistics as figures,
)
from kartra_mcp.ledger.approvals import Approvals
from kartra_mcp.ledger.bulk_lookup import BulkLookup
from kartra_mcp.ledger.bulk_runs import BulkRuns
from kartra_mcp.ledger.database import WAIT, LedgerDatabase
from kartra_mcp.ledger.group_commit import GroupCommit
from kartra_mcp.ledger.identity import AccountKind
from kartra_mcp.ledger.pin import Pins
from kartra_mcp.ledger.pseudonyms import hash_email, load_or_create_key, mask_lead
from kartra_mcp.ledger.records import (
    Binding,
    Filters,
    FinalState,
    Intent,
    IssuedConfirmation,
    ReplacedLedger,
    StoredQuestion,
    VerificationReport,
)
from kartra_mcp.ledger.running_locks import IntentLocks, RunningIntent
from kartra_mcp.ledger.transaction import Transaction
from kartra_mcp.policy.limits import Limits

ROOM_BYTES = 16 * 1024
"""Bytes that a write needs for its intent and its outcome."""

NoteKind = Literal["start", "policy", "consent", "look"]


class Ledger:
    """The ledger of one state folder, shared by every process of this user.

    Args:
        folder: the state folder; nothing is opened before the first call.
        clock: seconds since the epoch.
        wait: seconds to wait for other processes' commits.
        fault: the reason why nothing may be written here, or "".
        steady: seconds of a clock that cannot be set.
        account: the kind of account whose writes are recorded here.
    """

    def __init__(
        self,
        folder: Path,
        clock: Clock = time.time,
        wait: float = WAIT,
        fault: str = "",
        *,
        steady: Clock = read_steady_clock,
        account: AccountKind = "",
    ) -> None:
        self._file = LedgerDatabase(folder, Clocks(clock, steady), wait, fault, account)
        self._commits = GroupCommit(self._file)
        self._locks = IntentLocks(folder / "locks")
        self._running: dict[str, RunningIntent] = {}
        self._key: bytes | None = None
        self.approvals = Approvals(self._file)
        self.pins = Pins(self._file)
        self.bulk = BulkRuns(self._file)
        self.bulk_lookup = BulkLookup(self._file)

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
        intent = rules.normalize_intent(intent)
        refusal = rules.no_target_refusal(intent)
        running: RunningIntent | None = None

        def admit(transaction: Transaction) -> None:
            nonlocal refusal, running
            self._settle(transaction)
            refusal = refusal or admission.admission_refusal(transaction, intent, limits, burns)
            if refusal is None:
                running = self._locks.hold(intent.id)
                admission.record(transaction, intent)

        try:
            self._commits.run(admit)
        except BaseException:
            self._drop(running)
            raise
        if refusal is not None:
            raise refusal
        assert running is not None  # noqa: S101  refused otherwise
        self._running[intent.id] = running
        return running

    def preflight(self, intent: Intent, limits: Limits) -> None:
        """Raise what `begin` would refuse with any consent: the user is not asked in vain."""
        intent = rules.normalize_intent(intent)
        with self._file.write_transaction() as transaction:
            self._settle(transaction)
        with self._file.read_transaction() as transaction:
            refusal = admission.preflight_refusal(transaction, intent, limits)
        if refusal is not None:
            raise refusal

    def find_repeats(self, intents: Sequence[Intent], limits: Limits) -> list[RefusedError | None]:
        """Return for each intent why it was declined or done before, or None; caps do not count."""
        normal = [rules.normalize_intent(intent) for intent in intents]
        with self._file.write_transaction() as transaction:
            self._settle(transaction)
        with self._file.read_transaction() as transaction:
            return [admission.repeat_refusal(transaction, intent, limits) for intent in normal]

    def finish(
        self,
        intent_id: str,
        state: FinalState,
        *,
        executed: Executed,
        detail: Mapping[str, Any] | None = None,
        action_run_id: str | None = None,
        undo: str = "",
    ) -> None:
        """Record the outcome and release the lock. Only `reconcile` changes an outcome later."""
        payload = {
            "intent": intent_id,
            "state": state,
            "executed": str(executed),
            "detail": dict(detail or {}),
            "action_run_id": action_run_id,
            "undo": undo,
        }

        def record(transaction: Transaction) -> None:
            admission.require_state(transaction, intent_id, "running")
            transaction.append("outcome", payload)

        self._commits.run(record, settles=True)
        self._release(intent_id, keep=state == "unknown")

    def mark_orphans_unknown(self) -> list[str]:
        """Record as unknown, and return, the intents whose owner and program have both ended."""
        with self._file.write_transaction(settles=True) as transaction:
            return self._settle(transaction)

    def is_running(self, intent_id: str) -> bool:
        """Return True while the owner of this intent or the program that it started lives."""
        with self._file.read_transaction() as transaction:
            known = projection.get_state(transaction.db, intent_id) is not None
        return known and self._locks.is_held(intent_id)

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
        with self._file.write_transaction() as transaction:
            self._settle(transaction)
            refusal = admission.reconcile_refusal(transaction, intent_id)
            if refusal is None and self._locks.is_held(intent_id):
                refusal = admission.still_running_error(intent_id)
            if refusal is None:
                executed = Executed.YES if to == "succeeded" else Executed.NO
                body = {"intent": intent_id, "state": to, "executed": str(executed)}
                transaction.append("reconcile", {**body, "evidence": dict(evidence)})
        if refusal is not None:
            raise refusal
        self._release(intent_id, keep=False)

    def issue_confirmation(
        self,
        binding: Binding,
        summary: str,
        facts_digest: str,
        kind: confirmations.Kind = "two_step",
        ttl: float = confirmations.LIFETIME,
    ) -> IssuedConfirmation:
        """Issue a confirmation id for exactly this call and summary, shown in full, valid once."""
        with self._file.write_transaction() as transaction:
            return confirmations.issue(transaction, binding, summary, facts_digest, kind, ttl)

    def validate_confirmation(
        self, id_: str, binding: Binding, summary: str, kind: confirmations.Kind = "two_step"
    ) -> str:
        """Return the digest of the facts shown with this id. `begin` consumes the id."""
        with self._file.read_transaction() as transaction:
            return confirmations.validate(transaction, id_, binding, summary, kind)

    def issue_question(
        self, binding: Binding, question: StoredQuestion, ttl: float
    ) -> IssuedConfirmation:
        """Issue the id of a question to the user, for exactly this call, usable once."""
        with self._file.write_transaction() as transaction:
            return confirmations.issue_question(transaction, binding, question, ttl)

    def validate_question(self, id_: str, binding: Binding) -> StoredQuestion:
        """Return the question of this id. It is not consumed: `begin` does that."""
        with self._file.read_transaction() as transaction:
            return confirmations.validate_question(transaction, id_, binding)

    def revoke_confirmation(self, id_: str) -> None:
        """Invalidate this id: its question was answered, and nothing ran on it."""
        with self._file.write_transaction() as transaction:
            confirmations.revoke(transaction, id_)

    def revoke_all(self, connection: str) -> None:
        """Invalidate every id issued on this connection."""
        with self._file.write_transaction() as transaction:
            confirmations.revoke_all(transaction, connection)

    def block(
        self,
        keys: str | Sequence[str],
        why: Literal["declined", "dismissed"],
        seconds: float = 600.0,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        """Record a decline: nothing with one of these identity keys runs for `seconds`.

        `about` is added to the entry of the decline: tool, target, actor, client.
        """
        every = [keys] if isinstance(keys, str) else keys
        with self._file.write_transaction() as transaction:
            for key in every:
                until = confirmations.block(transaction, key, seconds, why)
                body = {
                    **(about or {}),
                    "event": why,
                    "key": confirmations.hash_text(key),
                    "until": until,
                }
                transaction.append("consent", body)

    def remember_lead(self, connection: str, email: str, lead_id: str) -> None:
        """Record that these name one lead: what is done to one was done to the other."""
        target, id_ = mask_lead(email, self.lead_hash(email)), fold_id(lead_id)
        if id_ is None:
            return
        with self._file.read_transaction() as transaction:
            known = projection.list_lead_names(transaction.db, connection, "lead", target)
        if id_ not in known:
            with self._file.write_transaction() as transaction:
                projection.add_lead(transaction.db, connection, fold_id(target) or target, id_)

    def knows_lead(self, connection: str, target: str) -> bool:
        """Return whether both the id and an address of this lead were read."""
        with self._file.read_transaction() as transaction:
            names = projection.list_lead_names(
                transaction.db, connection, "lead", fold_id(target) or target
            )
        return len(names) > 1

    def find_lead_id(self, entry: Mapping[str, Any]) -> str:
        """Return the id of the lead of a write, or "" if only the mask of its address is known."""
        with self._file.read_transaction() as transaction:
            names = projection.list_names_in(transaction.db, entry)
        return next((name for name in names if name.isdecimal()), "")

    def list_on_lead(self, entry: Mapping[str, Any]) -> list[dict[str, Any]]:
        """List the other writes on the lead of this one, under any of its names, oldest first."""
        with self._file.read_transaction() as transaction:
            found = projection.list_on_lead(transaction.db, entry)
        return [row for row in found if row["intent"] != entry["intent"]]

    def append_note(self, kind: NoteKind, body: Mapping[str, Any]) -> None:
        """Append an entry that belongs to no intent.

        Such entries are a start, a policy, a read for reconciling, and an answer of the client
        itself.
        """
        with self._file.write_transaction() as transaction:
            transaction.append(kind, body)

    def latest(self, kind: NoteKind) -> dict[str, Any] | None:
        """Return the newest entry of this kind, with its `at`."""
        sql = "SELECT at, body FROM lines WHERE kind = ? ORDER BY n DESC LIMIT 1"
        with self._file.read_transaction() as transaction:
            row = transaction.fetch_one(sql, kind)
            return (
                None if row is None else {**projection.parse_payload(row["body"]), "at": row["at"]}
            )

    def list_decisions(self, count: int) -> list[decisions.ConsentEvent]:
        """List approval decisions and PIN attempts, newest first."""
        with self._file.read_transaction() as transaction:
            return decisions.latest(transaction, count)

    def find_completing_call(self, intent: Intent) -> dict[str, Any] | None:
        """Return the call that completed this operation on this target; None if none did."""
        intent = rules.normalize_intent(intent)
        with self._file.read_transaction() as transaction:
            past = projection.list_same_target(transaction.db, intent)
        found = rules.completing_call(intent.operation, past)
        return rules.prior_summary(found) if found else None

    def late_look_times(self, intent_id: str) -> list[float]:
        """List the reads for an unknown intent that found no effect and counted, newest first."""
        sql = "SELECT at, body FROM lines WHERE kind = 'look' ORDER BY n DESC LIMIT 200"
        with self._file.read_transaction() as transaction:
            rows = transaction.fetch_all(sql)
        looks = ((row["at"], projection.parse_payload(row["body"])) for row in rows)
        return [at for at, look in looks if look.get("intent") == intent_id]

    def emails_last_hour(self) -> int:
        """Count the writes of the last hour that could start mail."""
        with self._file.read_transaction() as transaction:
            return admission.count_recent_emails(transaction)

    def list_recent(self, count: int, filters: Filters | None = None) -> list[dict[str, Any]]:
        """List intents with their outcomes, newest first."""
        with self._file.read_transaction() as transaction:
            return projection.list_entries(
                transaction.db, max(count, 0), _normalize_filters(filters)
            )

    def export(self, filters: Filters | None = None) -> list[dict[str, Any]]:
        """List all intents with their outcomes, oldest first."""
        with self._file.read_transaction() as transaction:
            return projection.list_entries(transaction.db, -1, _normalize_filters(filters))[::-1]

    def get(self, intent_id: str) -> dict[str, Any] | None:
        """Return one intent as `list_recent` does, with its `lines` and whether it is `held`."""
        with self._file.read_transaction() as transaction:
            found = projection.get_entry(transaction.db, intent_id)
            if found is None:
                return None
            lines = projection.list_chain_entries(transaction.db, intent_id)
        entries = [
            {"n": x.n, "at": x.at, "kind": x.kind, **x.payload, "hash": x.hash} for x in lines
        ]
        return {**found, "lines": entries, "held": self._locks.is_held(intent_id)}

    def compute_statistics(self, since: float) -> figures.Statistics:
        """Return the statistics of all intents since a time (seconds since the epoch)."""
        with self._file.read_transaction() as transaction:
            return figures.compute_statistics(transaction.db, since)

    def tool_names(self) -> list[str]:
        """List every tool that ever wrote, by name."""
        with self._file.read_transaction() as transaction:
            return projection.list_tools(transaction.db)

    def entry_count(self) -> int:
        """Return the number of entries; it never decreases, so that a change is noticed by it."""
        with self._file.read_transaction() as transaction:
            return transaction.head.count

    def latest_at(self) -> float | None:
        """Return the time of the newest entry, or None if the ledger is empty."""
        with self._file.read_transaction() as transaction:
            row = transaction.fetch_one("SELECT at FROM lines ORDER BY n DESC LIMIT 1")
            return None if row is None else row["at"]

    def current_time(self) -> float:
        """Return the ledger's time: the clock, but never earlier than the newest entry."""
        with self._file.read_transaction() as transaction:
            return transaction.now

    def list_ages(self, ats: Sequence[float]) -> list[float]:
        """Return the seconds since each of these entries, by both clocks."""
        with self._file.read_transaction() as transaction:
            return [transaction.age(at) for at in ats]

    def lead_hash(self, email: str) -> str:
        """Return the keyed hash under which a lead is found."""
        if self._key is None:
            with self._file.write_transaction(settles=True):
                self._key = load_or_create_key(self._file.folder)
        return hash_email(self._key, email)

    def require_certain(self) -> None:
        """Raise while it is not certain that this is the account's ledger."""
        self._file.require_certain()

    def account_fault(self) -> str:
        """Return why an intact ledger is not that of this kind of account, or ""."""
        return self._file.account_fault()

    def require_writable(self) -> None:
        """Begin and commit an empty transaction; raise where a write would be refused."""
        with self._file.write_transaction():
            pass

    def require_room(self) -> None:
        """Write as much as a write records, outside the chain; raise if the disk has no room."""
        with self._file.write_transaction() as transaction:
            transaction.set_meta("room", secrets.token_hex(ROOM_BYTES // 2))

    def verify(self) -> VerificationReport:
        """Verify every entry, the head and the derived table."""
        return repair.verify(self._file)

    def replace_damaged(self) -> ReplacedLedger:
        """Replace a damaged ledger for the user who ran `ledger new`; the old file is kept."""
        return repair.replace_damaged(self._file, self._locks)

    def close(self) -> None:
        """Close the file. A running intent stays locked until its `RunningIntent` is closed."""
        self._file.close()

    def _settle(self, transaction: Transaction) -> list[str]:
        dead = [x for x in projection.list_running(transaction.db) if not self._locks.is_held(x)]
        for intent_id in dead:
            transaction.append("outcome", admission.lost_outcome(intent_id))
            self._locks.remove(intent_id)
        return dead

    def _release(self, intent_id: str, *, keep: bool) -> None:
        """Release the lock. An unknown intent's file stays while its program may live."""
        running = self._running.pop(intent_id, None)
        if running is not None:
            running.close()
        if not keep or not self._locks.is_held(intent_id):
            self._locks.remove(intent_id)

    def _drop(self, running: RunningIntent | None) -> None:
        """Release an intent that was not begun; record it as refused if it is on disk anyway.

        A commit can fail after it reached the disk, for example when the head cannot be written.
        """
        if running is None:
            return
        with suppress(RefusedError):
            self.finish(running.intent_id, "refused", executed=Executed.NO)
        running.close()
        self._locks.remove(running.intent_id)


def _normalize_filters(filters: Filters | None) -> Filters:
    if filters is None:
        return Filters()
    return replace(filters, target=fold_id(filters.target))
