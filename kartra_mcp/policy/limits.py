"""Limits on what may be done: the largest refund, sums and numbers a day, mail an hour."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Limits:
    """The caps in force; None is no cap."""

    cap_refund: Decimal | None = None
    cap_day_amount: Decimal | None = None
    cap_day_count: int | None = 20
    mail_per_hour: int = 100
    repeat_window_days: int = 30
