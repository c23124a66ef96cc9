"""The ranking of the list that is here, over what may be shown; its index is made once a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kartra_mcp.catalogue.catalogue import Catalogue, Entry
from kartra_mcp.catalogue.exposure import Exposure
from kartra_mcp.core.threads import run_in_thread

if TYPE_CHECKING:
    from kartra_mcp.catalogue.ranking import Index


class Finder:
    """Finds actions by what a person wants, among those that the rules do not hide."""

    def __init__(self, exposure: Exposure) -> None:
        self._exposure = exposure
        self._made: tuple[Catalogue, Index] | None = None

    async def find(self, intent: str, catalogue: Catalogue, most: int) -> list[Entry]:
        """At most so many, best first; the index of a long list is made off the event loop."""
        if self._made is None or self._made[0] is not catalogue:
            self._made = (catalogue, await run_in_thread(self._index, catalogue))
        return self._made[1].ranked(intent, most)

    def _index(self, catalogue: Catalogue) -> Index:
        from kartra_mcp.catalogue.ranking import Index

        return Index.of(self._exposure.shown(catalogue))
