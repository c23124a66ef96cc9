"""Instructions and resources for the served account."""

from __future__ import annotations

from dataclasses import dataclass

from kartra_mcp.account.account import Account
from kartra_mcp.catalogue.builtin_tools import BUILTIN_TOOLS
from kartra_mcp.catalogue.definitions import APPROVAL_CARD
from kartra_mcp.core.threads import run_in_thread
from kartra_mcp.policy.gates import Policy
from kartra_mcp.server.approval_card import CARD_TYPE, read_card
from kartra_mcp.server.instructions import make_instructions
from kartra_mcp.settings import Settings


@dataclass(frozen=True, slots=True)
class ResourceReader:
    """Texts that a client may read, under the user's policy."""

    settings: Settings
    rules: Policy
    account: Account

    def instructions(self) -> str:
        """Return the server instructions; they name the account as far as known at the start."""
        by_name = self.settings.expose != "all"
        return make_instructions(
            self._label_account(), self.rules, sandbox=self.settings.sandbox, by_name=by_name
        )

    def _label_account(self) -> str:
        if self.settings.team_title:
            return self.settings.team_title
        connection = None if self.settings.sandbox else self.account.last_connection_id()
        return f"connection {connection}" if connection else ""

    async def read(self, uri: str) -> tuple[str, str]:
        """Return the MIME type and the text of a resource."""
        from kartra_mcp.server.resources import read_resource, select_limits

        if uri == APPROVAL_CARD and self.rules.rights is not None:
            return CARD_TYPE, await run_in_thread(read_card)
        listed = await self.account.catalogue()
        own, limits = BUILTIN_TOOLS.values(), select_limits(self.settings)
        return read_resource(uri, listed, own, self.rules, limits)
