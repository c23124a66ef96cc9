"""Spelling of values: a sum of money as text. Pure."""

from __future__ import annotations

import re
from decimal import Decimal


def amount(text: str) -> Decimal | None:
    """Parse a sum such as 250 or 250.00; None for any other text."""
    return Decimal(text) if re.fullmatch(r"[0-9]{1,12}(?:\.[0-9]{1,2})?", text) else None
