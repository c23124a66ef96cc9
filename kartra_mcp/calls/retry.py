"""Retry rule: repeat a call only if it certainly was not executed. Pure."""

from __future__ import annotations

from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.models import Executed, Risk

MAX_RETRIES = 3


def retry_delay(problem: KartraMCPError, risk: Risk, tries: int, pause: float) -> float | None:
    """Return the seconds after which a call is retried, or None.

    A call is retried only if it certainly was not executed, an irreversible call never. A read is
    retried once if there was no readable response. `pause` is the delay after a rate limit.
    """
    turned_away = problem.code == "rate_limited" and problem.executed is Executed.NO
    if turned_away and risk < Risk.IRREVERSIBLE and tries < MAX_RETRIES:
        return pause
    unread = risk is Risk.READ and not problem.has_response and tries == 0
    return 0.0 if unread else None
