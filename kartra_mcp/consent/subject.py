"""The subject of a consent: one call, or a bulk run; its facts and its preview."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from kartra_mcp.consent.changes import find_old_terms, overwrites_terms
from kartra_mcp.consent.collect import read_facts
from kartra_mcp.consent.facts import Facts, Read
from kartra_mcp.consent.preview import Preview, build_preview
from kartra_mcp.core.models import Call, ConsentArguments


class ConsentSubject(Protocol):
    """Call or bulk run that the user agrees to."""

    @property
    def consent(self) -> ConsentArguments:
        """Return the caller's consent arguments."""
        ...

    async def read_facts(self) -> Facts:
        """Return the current facts."""
        ...

    def make_preview(self, facts: Facts, *, sandbox: bool) -> Preview:
        """Return the preview of these facts."""
        ...


@dataclass(frozen=True, slots=True)
class CallSubject:
    """One call; `read` reads its facts, and `account` is the connection's name."""

    call: Call
    read: Read
    account: str = ""
    _found: list[Facts] = field(default_factory=list[Facts])

    @property
    def consent(self) -> ConsentArguments:
        return self.call.consent

    async def read_facts(self) -> Facts:
        found = await read_facts(self.call, self.read)
        self._found[:] = [found]
        return found

    async def find_old_terms(self) -> tuple[dict[str, Any], list[str]]:
        """Return the terms that the call overwrites, as the facts last had them.

        A gate that asks nobody has read none.
        """
        if not overwrites_terms(self.call):
            return {}, []
        found = self._found[0] if self._found else await self.read_facts()
        return find_old_terms(self.call, found.shown)

    def make_preview(self, facts: Facts, *, sandbox: bool) -> Preview:
        return build_preview(self.call, facts, account=self.account, sandbox=sandbox)
