"""Settings of the account by which the API judges tokens and tells the time."""

from __future__ import annotations

import time

from kartra_mcp.sandbox.store.database import Account

LEEWAY, TENANT, AHEAD = "token_leeway", "token_tenant", "clock_ahead"
ANY_AGE = "any"
"""Leeway of an API that does not look at the end of a token."""
DEFAULT_TENANT = "sandbox"


def get_leeway(account: Account) -> float | None:
    """Return the seconds for which a token is accepted after its end; None: for ever."""
    text = account.setting(LEEWAY)
    return None if text == ANY_AGE else float(text or 0)


def get_tenant(account: Account) -> str:
    return account.setting(TENANT) or DEFAULT_TENANT


def now(account: Account) -> float:
    """Return the API's time in seconds since the epoch."""
    return time.time() + float(account.setting(AHEAD) or 0)
