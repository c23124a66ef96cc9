"""Refusals of writes, and of their settlement. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kartra_mcp.core.errors import RefusedError


def not_unknown_error(entry: Mapping[str, Any] | None) -> RefusedError:
    what = f"is {entry['state']!r}, not unknown" if entry else "is not in the ledger"
    return RefusedError(
        "invalid_arguments",
        f"This intent {what}; there is nothing to settle.",
        "Call kartra_ledger to list intents with an unknown outcome.",
    )


def other_connection_error() -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        "This intent belongs to another connection than the one being served.",
        "Serve that connection (KARTRA_MCP_CONNECTION), then repeat the call.",
    )


def no_target_error() -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        "The arguments name no target, or two different targets or amounts. Nothing was done.",
        "Give one id, of the transaction or the subscription, and at most one amount.",
    )
