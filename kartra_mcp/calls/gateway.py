"""One guarded call, top to bottom: authorize, obtain consent, execute, map errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import anyio

from kartra_mcp.account.account import Account
from kartra_mcp.account.selection import require_usable
from kartra_mcp.calls import retry
from kartra_mcp.calls.account_names import AccountNames
from kartra_mcp.calls.read_commands import plan_read
from kartra_mcp.catalogue.catalogue import ActionTool
from kartra_mcp.catalogue.decided_calls import raise_gate, raise_risk
from kartra_mcp.consent import confirmation
from kartra_mcp.core.deadline import Deadline, ExtendableDeadline
from kartra_mcp.core.elicitation import ClientContext
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.models import (
    Action,
    ActionResult,
    Call,
    Command,
    Connection,
    Executed,
    Gate,
    Risk,
    ValidatedCall,
    Verdict,
)
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.kartra.errors import raise_for_error
from kartra_mcp.kartra.response_search import find_named_object, first_field
from kartra_mcp.membrane.client import CallOptions, MembraneClient, Record
from kartra_mcp.membrane.responses import RunLog, raise_for_status
from kartra_mcp.policy.gates import not_allowed_error, read_only
from kartra_mcp.policy.roles import forbidden_role_error

if TYPE_CHECKING:
    from kartra_mcp.calls.argument_checks import ArgumentChecks
    from kartra_mcp.calls.examination import Examination
    from kartra_mcp.calls.item_grant import ItemGrant
    from kartra_mcp.calls.writes import GuardedWrites
    from kartra_mcp.consent.fact_reader import FactReader
    from kartra_mcp.consent.facts import Read
    from kartra_mcp.consent.lead_edit import LeadEdit


MAX_REMEMBERED_LEADS = 10_000


@dataclass(frozen=True, slots=True)
class CallResult:
    """Result of a call; a write has a receipt.

    `before` has the values that an edit overwrote. `notice` is what the answer states
    about mail and consent. `own`: it is this server's own answer. `truncated` is the notice of a
    result that was cut where it was made.
    """

    reply: ActionResult
    receipt: dict[str, Any] | None = None
    before: Mapping[str, Any] = field(default_factory=dict[str, Any])
    notice: str = ""
    own: bool = False
    truncated: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Gateway:
    """The only path from a validated call to Membrane.

    Attributes:
        writes: returns the guarded writes, which are created on first use.
        pause: seconds between two tries of a call refused by Membrane's rate limit.
        leads: connection, id and address of each lead that was read and recorded.
    """

    membrane: MembraneClient
    account: Account
    writes: Callable[[], GuardedWrites]
    pause: float
    names: AccountNames = field(default_factory=AccountNames)
    leads: set[tuple[str, str, str]] = field(default_factory=set[tuple[str, str, str]])

    async def execute(
        self,
        call: Call,
        deadline: Deadline,
        current: Callable[[], Call],
        client: ClientContext,
        grant: ItemGrant | None = None,
    ) -> CallResult:
        """Execute a call that is permitted and has consent.

        Args:
            call: already validated.
            deadline: of the whole call; the user's time to answer is added to it.
            current: returns the same call by the current list, which a refresh may have changed.
            client: the calling client, through which the user can be asked.
            grant: the consent of a bulk run, if the call is one of its items.

        Raises:
            KartraMCPError: `executed` is no, yes or unknown; for a read always no.
            InputRequired: the user is asked first.
        """
        granted = grant is not None
        self.authorize(call, granted=granted)
        try:
            connection = await self._pick_connection(call, deadline)
            call = current()
            self.authorize(call, granted=granted)
            if call.is_guarded:
                return await self._write(call, connection, deadline, client, grant)
            return CallResult(await self._call_with_retry(call, connection, deadline))
        except KartraMCPError as problem:
            if not call.writes:
                problem.executed = Executed.NO
            elif problem.code == "connection_not_ready" and self.account.snapshot.connection:
                await self.writes().revoke_confirmations(self.account.snapshot.connection.id)
            raise

    def authorize(self, call: Call, changes: Sequence[str] = (), *, granted: bool = False) -> None:
        """Raise unless policy lets the call run and, under gate flag, the flag is set.

        `changes` are what was read of the fields that it changes, for the user. `granted`: it is an
        item of a bulk run that was agreed to.
        """
        match call.decision.verdict:
            case Verdict.READ_ONLY:
                raise read_only(call.decision.faults)
            case Verdict.NOT_ALLOWED:
                raise not_allowed_error(call.decision.faults)
            case Verdict.FORBIDDEN_ROLE:
                raise forbidden_role_error()
            case Verdict.CONFIRM if not granted and _lacks_flag(call):
                raise confirmation.confirmation_required_error(call, changes)
            case _:
                pass

    async def search(self, intent: str, deadline: Deadline) -> list[ActionTool]:
        """Return the actions that Membrane's search finds; none if it is unavailable."""
        try:
            connection = await self.account.connection_for_read(deadline)
            found = await self.membrane.search(intent, connection.id, deadline)
        except KartraMCPError:
            return []
        entries = self.account.snapshot.catalogue.entries.values()
        by_id = {entry.action.id: entry for entry in entries if entry.is_action}
        return [by_id[identity] for identity in found if identity in by_id]

    async def read(self, command: Command, connection: Connection, deadline: Deadline) -> Any:
        """Return Kartra's response to one read command, for facts: by its action, else raw."""
        call = plan_read(command, self.account.snapshot.catalogue.entries.values())
        return (await self._call_with_retry(call, connection, deadline, alone=True)).result

    async def reconcile(self, intent_id: str, deadline: Deadline) -> dict[str, Any]:
        """Settle an unknown write by reading the account; the write is never repeated."""
        connection = await self._require_usable(self.account.connection_for_read, deadline)

        async def read(command: Command) -> Any:
            return await self.read(command, connection, deadline)

        async def run_logs(since: float) -> tuple[RunLog, ...]:
            try:
                return await self.membrane.run_logs(connection.id, intent_id, since, deadline)
            except KartraMCPError:
                return ()

        async def refuses_token(ended_at: float) -> bool | None:
            return await self.membrane.refuses_token(ended_at, deadline)

        return await self.writes().reconcile(intent_id, connection, read, run_logs, refuses_token)

    async def examine(self, call: Call, deadline: Deadline) -> Examination:
        """Check an item of a bulk run against the account, for the preview; nothing is written.

        Raises:
            KartraMCPError: it cannot run, or the account could not be read; nothing was done.
        """
        # Not for the first list:
        from kartra_mcp.calls import examination
        from kartra_mcp.consent.fact_reader import FactReader

        self.authorize(call, granted=True)
        connection = await self._pick_connection(call, deadline)
        if not call.writes:
            return examination.Examination(call, connection)
        sent = self._reader(connection, ExtendableDeadline(deadline))
        reader = FactReader(examination.remember_reads(sent))
        checks, checked, edit = await self._check_write(call, connection, reader, granted=True)
        await checks.check_names(checked)
        await self._require_new_lead(checked, connection, reader.read)
        return await examination.examine_write(checked, connection, edit, reader.read)

    async def _write(
        self,
        call: Call,
        connection: Connection,
        deadline: Deadline,
        client: ClientContext,
        grant: ItemGrant | None,
    ) -> CallResult:
        # Not for the first list:
        from kartra_mcp.calls.writes import WriteRequest
        from kartra_mcp.consent.fact_reader import FactReader
        from kartra_mcp.consent.mail_check import answer_notice

        patience = ExtendableDeadline(deadline)
        reader = FactReader(self._reader(connection, patience))
        granted = grant is not None
        checks, checked, edit = await self._check_write(call, connection, reader, granted=granted)
        await self._require_new_lead(checked, connection, reader.read, client)
        checked = await self._judge_mail(checked, reader, checks, grant)

        async def run_once(record: Record) -> ActionResult:
            return await self._call_with_retry(
                checked, connection, patience.deadline, record, finish=granted
            )

        try:
            asked = WriteRequest(checked, connection, client, patience, reader.read, grant)
            reply, receipt = await self.writes().execute(asked, run_once)
        except KartraMCPError as problem:
            await checks.explain(problem, checked)
            raise
        changed = edit.changed if len(checked.commands) == 1 else None
        written = receipt.with_change(changed).with_unread(edit.unknown).as_dict()
        return CallResult(reply, written, edit.before or receipt.before, answer_notice(checked))

    def _reader(self, connection: Connection, patience: ExtendableDeadline) -> Read:
        async def read(command: Command) -> Any:
            try:
                return await self.read(command, connection, patience.deadline)
            except KartraMCPError as problem:
                if problem.code == "membrane_error":
                    await self._require_still_usable(patience.deadline)
                raise

        return read

    async def _check_write(
        self, call: Call, connection: Connection, reader: FactReader, *, granted: bool
    ) -> tuple[ArgumentChecks, Call, LeadEdit]:
        """Return the call as Kartra takes it, and what it changes if it edits a lead."""
        from kartra_mcp.calls.argument_checks import ArgumentChecks  # not for the first list

        entries = self.account.snapshot.catalogue.entries.values()
        checks = ArgumentChecks(self.names, connection, reader.read, entries)
        checked, edit = await self._judge_edit(await checks.check(call), reader, granted=granted)
        return checks, checked, edit

    async def _require_new_lead(
        self,
        call: Call,
        connection: Connection,
        read: Read,
        client: ClientContext | None = None,
    ) -> None:
        """Refuse a chain that creates a lead which exists: it would change that one instead.

        Where an equal call made it, the answer is that of a repeated call.
        """
        from kartra_mcp.calls.new_lead_checks import find_existing_lead  # not for the first list

        refusal = await find_existing_lead(call, read)
        if refusal is None:
            return
        repeated = await self.writes().find_repeat(call, connection, client) if client else None
        raise repeated or refusal

    async def _judge_edit(
        self, call: Call, reader: FactReader, *, granted: bool
    ) -> tuple[Call, LeadEdit]:
        """Return an edit of a lead with the risk of what it overwrites, and what it changes."""
        from kartra_mcp.consent.lead_edit import NO_EDIT, edits_lead, read_lead_edit

        if not edits_lead(call):
            return call, NO_EDIT
        edit = await read_lead_edit(call, reader)
        if edit.overwrites and call.risk < Risk.DESTRUCTIVE:
            call = raise_risk(call, Risk.DESTRUCTIVE, self.writes().rules)
            self.authorize(call, tuple(map(str, edit.changes)), granted=granted)
        return call, edit

    async def _judge_mail(
        self, call: Call, reader: FactReader, checks: ArgumentChecks, grant: ItemGrant | None
    ) -> Call:
        """Return the call; one that may mail a suppressed lead has at least the gate `preview`."""
        from kartra_mcp.consent.mail_check import check_mail, checks_lead, suppressed_error

        # From `preview` on, the facts of the call contain the same check.
        previewed = call.decision.gate in (Gate.PREVIEW, Gate.HUMAN)
        if not checks_lead(call) or (previewed if grant is None else grant.skips_look):
            return call
        try:
            found = await check_mail(call, replace(reader, strict=True))
        except KartraMCPError as problem:
            problem.executed = Executed.NO
            problem.message = f"The lead could not be read before mail. {problem.message}"
            raise
        if not found.needs_consent:
            return call
        if grant is not None:
            raise suppressed_error(found)
        call = raise_gate(call, Gate.PREVIEW)
        await checks.check_names(call)
        return call

    async def _require_still_usable(self, deadline: Deadline) -> None:
        """Check the connection again: one that left READY is an error, not a missing fact."""
        found = await self.account.refresh_now(deadline)
        if found.connection is not None:
            require_usable(found.connection)

    async def _pick_connection(self, call: Call, deadline: Deadline) -> Connection:
        wanted = (
            self.account.connection_for_write if call.writes else self.account.connection_for_read
        )
        return await self._require_usable(wanted, deadline)

    async def _require_usable(
        self, wanted: Callable[[Deadline], Awaitable[Connection]], deadline: Deadline
    ) -> Connection:
        connection = await wanted(deadline)
        require_usable(connection)
        return connection

    async def _call_with_retry(
        self,
        call: ValidatedCall,
        connection: Connection,
        deadline: Deadline,
        record: Record | None = None,
        *,
        alone: bool = False,
        finish: bool = False,
    ) -> ActionResult:
        """Run the call. Retry only if it certainly was not executed.

        An irreversible call, and one with `finish`, ends even if it is cancelled: its outcome must
        be known.
        """
        finish = finish or call.risk is Risk.IRREVERSIBLE
        to_do = CallOptions(
            deadline,
            call.writes,
            finish,
            rate_limited=True,
            write_record=record,
            fresh_connection=alone,
            irreversible=call.risk is Risk.IRREVERSIBLE,
        )
        for tries in count():
            try:
                return await self._call_once(call, connection, to_do)
            except KartraMCPError as problem:
                wait = retry.retry_delay(problem, call.risk, tries, self.pause)
                if wait is None or not deadline.allows_start(call.writes, after=wait):
                    raise
                await anyio.sleep(wait)
        raise AssertionError  # count() has no end

    async def _call_once(
        self, call: ValidatedCall, connection: Connection, to_do: CallOptions
    ) -> ActionResult:
        if isinstance(call.request, Action):
            reply = await self.membrane.run(call.request, call.arguments, connection.id, to_do)
        else:
            answer = await self.membrane.request(call.request, connection.id, to_do)
            raise_for_status(answer, write=call.writes)
            reply = ActionResult(answer.body)
        raise_for_error(reply.result, write=call.writes)
        await self._remember_lead(reply.result, connection)
        return reply

    async def _remember_lead(self, result: Any, connection: Connection) -> None:
        """Record that an id and an address name one lead; a failure costs no call its answer."""
        found = find_named_object(result, "lead_details")
        id_, email = first_field(found, "id", "lead_id"), first_field(found, "email", "lead_email")
        if not isinstance(id_, str | int) or not isinstance(email, str) or "@" not in email:
            return
        pair = (connection.id, str(id_), email)
        if pair in self.leads:
            return
        with suppress(KartraMCPError):
            await run_in_thread(self.writes().ledger.leads.remember, connection.id, email, str(id_))
            if len(self.leads) >= MAX_REMEMBERED_LEADS:
                self.leads.clear()
            self.leads.add(pair)


def _lacks_flag(call: Call) -> bool:
    flagged = call.decision.gate is Gate.FLAG and not call.consent.repeat
    return flagged and not call.consent.confirm
