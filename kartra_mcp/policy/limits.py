"""Limits on operations: the largest refund, amount and count per day, mail per hour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any

from kartra_mcp.core.principal import Role


@dataclass(frozen=True, slots=True)
class LimitInfo:
    """Names of one limit.

    Args:
        option: the setting, without its prefix.
        label: for the user.
        file_key: its key in `[caps]` of the policy file; "" if the file cannot set it.
        whole: a whole number; otherwise a sum of money.
        optional: None is possible, and is no cap.
    """

    option: str
    label: str
    file_key: str = ""
    whole: bool = False
    optional: bool = False

    @property
    def variable(self) -> str:
        return "KARTRA_MCP_" + self.option


def _named(
    option: str, label: str, file_key: str = "", *, whole: bool = False, optional: bool = False
) -> Mapping[str, LimitInfo]:
    return {"info": LimitInfo(option, label, file_key, whole, optional)}


@dataclass(frozen=True, slots=True)
class GroupCaps:
    """Caps of each person of a team, or of all that have a role; None is no cap.

    Fields as in `Limits`.
    """

    cap_refund: Decimal | None = None
    cap_day_amount: Decimal | None = None
    cap_day_count: int | None = None
    mail_per_hour: int | None = None

    @property
    def limits_operations(self) -> bool:
        """Return whether irreversible operations are limited, and not mail alone."""
        return (self.cap_refund, self.cap_day_amount, self.cap_day_count) != (None, None, None)


NO_CAPS = GroupCaps()


@dataclass(frozen=True, slots=True)
class Limits:
    """The caps in force; None means unlimited.

    `person` holds for each person of a team alone, `roles` for all people with one role together.
    """

    cap_refund: Decimal | None = field(
        default=None, metadata=_named("CAP_REFUND", "Largest refund", "refund", optional=True)
    )
    cap_day_amount: Decimal | None = field(
        default=None,
        metadata=_named("CAP_DAY_AMOUNT", "Refunds in 24 hours", "day_amount", optional=True),
    )
    cap_day_count: int | None = field(
        default=20,
        metadata=_named(
            "CAP_DAY_COUNT",
            "Irreversible operations in 24 hours",
            "day_count",
            whole=True,
            optional=True,
        ),
    )
    mail_per_hour: int = field(
        default=100,
        metadata=_named(
            "MAIL_PER_HOUR", "Writes that can start mail, per hour", "mail_per_hour", whole=True
        ),
    )
    repeat_window_days: int = field(
        default=30,
        metadata=_named(
            "REPEAT_WINDOW_DAYS", "Days in which an equal refund is a repeat", whole=True
        ),
    )
    person: GroupCaps = NO_CAPS
    roles: tuple[tuple[Role, GroupCaps], ...] = ()

    def list_group_caps(self, roles: Iterable[Role]) -> list[tuple[str, Role | None, GroupCaps]]:
        """List the caps of a person with these roles: table of the policy file, role, caps."""
        own = set(roles)
        found: list[tuple[str, Role | None, GroupCaps]] = [("[caps.person]", None, self.person)]
        for role, caps in self.roles:
            if role in own:
                found.append((f"[caps.role.{role}]", role, caps))
        return found


LIMITS: Mapping[str, LimitInfo] = {
    one.name: one.metadata["info"] for one in fields(Limits) if "info" in one.metadata
}
"""Every limit by its field, in the order of display."""

CAPS: Mapping[str, LimitInfo] = {name: info for name, info in LIMITS.items() if info.file_key}
"""The limits that the policy file can set."""


def limits_as_dict(limits: Limits) -> dict[str, Any]:
    """Return every limit by its field; a sum of money as text, so that no digit is lost."""
    return {name: _keep_digits(getattr(limits, name)) for name in LIMITS}


def _keep_digits(limit: Decimal | int | None) -> str | int | None:
    return f"{limit:f}" if isinstance(limit, Decimal) else limit
