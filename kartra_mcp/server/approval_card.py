"""Card of MCP Apps for a request that waits for other people: a link to the page, no decision.

A host shows it in a frame without network. It calls no tool: an MCP token cannot approve, and a
click in a frame proves nobody.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

APPS_EXTENSION = "io.modelcontextprotocol/ui"
CARD_TYPE = "text/html;profile=mcp-app"
CARD_META: dict[str, Any] = {"ui": {"csp": {}, "prefersBorder": True}}
"""No domain of a content security policy is named: the card loads and sends nothing."""


@cache
def read_card() -> str:
    """Return the HTML document."""
    return (files("kartra_mcp.server") / "approval_card.html").read_text("utf-8")
