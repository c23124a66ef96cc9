"""Search of the loaded list, over visible tools; its index is built once per list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kartra_mcp.catalogue.catalogue import ActionTool, Catalogue
from kartra_mcp.catalogue.exposure import Exposure
from kartra_mcp.core.threads import run_in_thread

if TYPE_CHECKING:
    from kartra_mcp.catalogue.ranking import Index


class ToolSearch:
    """Find actions for a task among those that the policy does not hide."""

    def __init__(self, exposure: Exposure) -> None:
        self._exposure = exposure
        self._cached: tuple[Catalogue, Index] | None = None

    async def find(self, intent: str, catalogue: Catalogue, most: int) -> list[ActionTool]:
        """Return at most `limit` tools, best first.

        The index of a long list is built off the event loop.
        """
        if self._cached is None or self._cached[0] is not catalogue:
            self._cached = (catalogue, await run_in_thread(self._get_index, catalogue))
        return self._cached[1].search(intent, most)

    def _get_index(self, catalogue: Catalogue) -> Index:
        from kartra_mcp.catalogue.ranking import Index

        return Index.build(self._exposure.visible(catalogue))
