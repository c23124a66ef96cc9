"""Membrane's published actions, and the tools made of them."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.intents import PUBLISHED
from kartra_mcp.catalogue.builder import build_catalogue

ACTIONS: list[dict[str, Any]] = json.loads(PUBLISHED.read_text(encoding="utf-8"))
ENTRIES = tuple(build_catalogue(ACTIONS).entries.values())
