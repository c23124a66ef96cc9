"""The approval page of a replica: the team's page over the parts of each account."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import anyio

from kartra_mcp.app.composition import AccountParts, build_tools, policy_from_settings
from kartra_mcp.calls.dispatcher import ToolDispatcher
from kartra_mcp.core.deadline import Deadline
from kartra_mcp.identity.login import LoginClient
from kartra_mcp.identity.providers import Providers
from kartra_mcp.ledger.postgres.page_tables import PageTables
from kartra_mcp.policy.roles import Right
from kartra_mcp.service.server import Replica
from kartra_mcp.team.config import PageLogin
from kartra_mcp.web.backend import STATUS_TTL
from kartra_mcp.web.team.accounts import PageAccount
from kartra_mcp.web.team.addresses import redirect_uri
from kartra_mcp.web.team.page import TeamPage, make_team_page
from kartra_mcp.web.team.page_store import DatabasePageStore

_RIGHTS = frozenset({Right.READ, Right.LEDGER})


@dataclass(slots=True)
class AccountBackend:
    """Requests of the page to an account, which run one at a time."""

    tools: ToolDispatcher
    timeout: float
    _status: Mapping[str, Any] | None = None
    _status_at: float = 0.0
    _lock: anyio.Lock = field(default_factory=anyio.Lock)

    @classmethod
    def of(cls, parts: AccountParts) -> AccountBackend:
        rules = replace(policy_from_settings(parts.settings), rights=_RIGHTS)
        return cls(build_tools(parts, rules), parts.settings.timeout)

    async def get_status(self) -> Mapping[str, Any]:
        """Return the answer of `kartra_status`, cached for `STATUS_TTL`."""
        async with self._lock:
            if self._status is None or time.monotonic() - self._status_at > STATUS_TTL:
                self._status = await self.tools.get_status(Deadline.after(self.timeout))
                self._status_at = time.monotonic()
            return self._status

    async def reconcile(self, intent: str) -> Mapping[str, Any]:
        """Read the account to find out whether an unknown write was executed."""
        async with self._lock:
            return await self.tools.gateway.reconcile(intent, Deadline.after(self.timeout))


def make_page(replica: Replica, login: PageLogin) -> TeamPage:
    """Return the page of a replica, below `/page`.

    Raises:
        RefusedError: the file of the client's secret cannot be used.
    """
    team = replica.team
    secret = team.read_secret(login.client_secret_file) if login.client_secret_file else None
    providers = Providers.of(team.config.issuers)
    client = LoginClient(login, providers, redirect_uri(team.config.public_url), secret)
    accounts = [
        PageAccount(
            team.config.accounts[name],
            service.parts.consent().ledger,
            service.parts.settings.limits,
            AccountBackend.of(service.parts),
            partial(replica.revocations.has, name),
        )
        for name, service in replica.accounts.items()
    ]
    store = DatabasePageStore(PageTables(replica.connections))
    return make_team_page(team.config, accounts, client, store)
