"""The parts of one account of a running team service: on its database instead of a state folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from pathlib import Path

from kartra_mcp.app.composition import AccountParts, TeamSeams, build_parts
from kartra_mcp.app.database_contact import OFFLINE_SECONDS, DatabaseContact
from kartra_mcp.app.team_account import make_account_settings, make_write_timings
from kartra_mcp.calls.result_store import TTL
from kartra_mcp.calls.running_writes import RunningWrites
from kartra_mcp.consent.team_approval import TeamApproval
from kartra_mcp.core.state_dir import StateDir
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.core.timings import DEFAULT_CLOCKS, DEFAULT_TIMINGS, CallTimings
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.postgres.connections import Connections
from kartra_mcp.ledger.postgres.send_rights import SendRights
from kartra_mcp.ledger.postgres.shared_state import SharedBucket, SharedResults
from kartra_mcp.ledger.postgres.store import PostgresStore, StoreOptions
from kartra_mcp.membrane.limiter import LocalPace, TokenBucket
from kartra_mcp.team.config import ApprovalBand, TeamAccount
from kartra_mcp.team.loading import Team
from kartra_mcp.team.notice import Notice, make_notice

ACTOR = "team"
"""Actor of what no principal asked for."""


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """Options of a replica for every account.

    Attributes:
        state_dir: folder of caches; nothing in it is needed by another replica.
        given: settings of the environment and of flags, by name.
        timings: waits of calls; the times of a write are those of the team file.
        durable: refuse a database that may lose a commit.
        offline_seconds: seconds for which reads go on without the database.
    """

    state_dir: Path
    given: Mapping[str, str] = field(default_factory=dict[str, str])
    timings: CallTimings = DEFAULT_TIMINGS
    durable: bool = True
    offline_seconds: float = OFFLINE_SECONDS


@dataclass(frozen=True, slots=True)
class ReplicaSeams:
    """Settings that the accounts of a replica share.

    Attributes:
        process: the writes of this process.
        send_notice: takes the notice of a request that waits; None: nobody gets one.
    """

    process: RunningWrites
    send_notice: Callable[[Notice], None] | None = None


@dataclass(frozen=True, slots=True)
class TeamPace:
    """Rate limit of an account for every replica; without the database, that of this one.

    Attributes:
        contact: ends the calls of a replica that lost the database.
        shared: the limit of every replica; None without a limit.
        own: the limit of this replica.
    """

    contact: DatabaseContact
    shared: SharedBucket | None
    own: LocalPace

    async def reserve(self) -> float:
        found = await run_in_thread(self.shared.reserve) if self.shared else None
        if found is not None:
            return found
        await self.contact.require()
        return await self.own.reserve()

    async def release(self) -> None:
        if self.shared is None or not await run_in_thread(self.shared.release):
            await self.own.release()


def open_store(
    team: Team, account: TeamAccount, connections: Connections, *, durable: bool = True
) -> PostgresStore:
    """Return the store of an account's ledger, with the times of the team file."""
    rights = SendRights(send_seconds=team.config.writes.send_seconds)
    options = StoreOptions(rights=rights, durable=durable)
    return PostgresStore(connections, account.name, team.make_lead_key(account), options=options)


def make_approval(
    team: Team, account: TeamAccount, send: Callable[[Notice], None] | None = None
) -> TeamApproval:
    """Return the approvals of an account: its bands, and the address of a request on the page.

    `send` takes the notice of a request that waits; None: nobody gets one.
    """
    page = f"{team.config.public_url}/page/a/{account.name}/approvals"
    made = TeamApproval(
        needed=partial(count_approvers, account.approvals),
        address=lambda number: f"{page}/{number}" if team.config.page else "",
    )
    if send is None:
        return made

    def announce(number: int) -> None:
        send(make_notice(account.name, account.title, number, made.address(number)))

    return replace(made, announce=announce)


def count_approvers(bands: Sequence[ApprovalBand], amount: Decimal | None) -> int:
    """Return the approvers of the first band that covers an amount; of the last if not known."""
    covering = (
        band.approvers
        for band in bands
        if band.up_to is None or (amount is not None and amount <= band.up_to)
    )
    return next(covering, bands[-1].approvers)


def open_parts(
    team: Team,
    account: TeamAccount,
    store: PostgresStore,
    connections: Connections,
    replica: ReplicaSeams,
    options: ServiceOptions,
) -> AccountParts:
    """Build the shared parts of an account. Nothing is started or opened."""
    settings = make_account_settings(team, account, options.state_dir, ACTOR, options.given)
    ledger = Ledger(store)
    rate = settings.rate
    pace = TeamPace(
        DatabaseContact(connections, options.offline_seconds),
        SharedBucket(connections, account.name, rate) if rate else None,
        LocalPace(TokenBucket(rate)),
    )
    results = SharedResults(connections, account.name, TTL)
    approval = make_approval(team, account, replica.send_notice)
    seams = TeamSeams(lambda: ledger, results, pace, replica.process, approval)
    timings = replace(options.timings, writes=make_write_timings(team.config.writes))
    state = StateDir(settings.state_dir)
    return build_parts(settings, state, DEFAULT_CLOCKS, seams, timings=timings)
