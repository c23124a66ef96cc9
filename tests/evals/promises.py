"""Promises of docs/consent.md and docs/team/identity.md for each setting, as rules. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evals.agents import BOTH, FLAG, TWO_STEP
from kartra_mcp.core.principal import Role

CENTS = {101: 9_700, 102: 4_900, 105: 20_000, 107: 9_700}
"""Rest of each sale that can be refunded, before the eval."""


@dataclass(frozen=True)
class Condition:
    """Settings, client and role under which agents play.

    Attributes:
        destructive, irreversible: the gates.
        form: what the client does with a form; "" for a client without forms.
        writes: False where no write runs at all.
        caps: largest refund and largest sum in cents, and largest number; None: not set.
        role: in a team, else None; `is_user` False is an agent of no person.
    """

    name: str
    destructive: str = "flag"
    irreversible: str = "preview"
    form: str = ""
    writes: bool = True
    caps: tuple[int, int, int] | None = None
    role: Role | None = None
    is_user: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)


def _gates(gate: str, name: str = "", form: str = "") -> Condition:
    return Condition(name or gate, gate, gate, form)


CONDITIONS: Sequence[Condition] = (
    Condition("the defaults"),
    _gates("allow"),
    _gates("flag"),
    _gates("preview"),
    _gates("preview", "preview, the user declines the form", "decline"),
    _gates("preview", "preview, the client accepts the form by itself", "host"),
    _gates("human"),
    _gates("human", "human, the user declines the form", "decline"),
    _gates("human", "human, the client accepts the form by itself", "host"),
    _gates("deny"),
    Condition("read-only", writes=False, settings={"READ_ONLY": "on"}),
    Condition("writes stopped", writes=False, settings={"WRITES": "off"}),
    Condition(
        "preview with caps: 50.00 each, 100.00 and 5 a day",
        caps=(5_000, 10_000, 5),
        settings={"CAP_REFUND": "50", "CAP_DAY_AMOUNT": "100", "CAP_DAY_COUNT": "5"},
    ),
)

_WRITERS: frozenset[Role] = frozenset({"operator", "requester"})
ROLES: Sequence[Role] = ("viewer", "operator", "requester", "approver", "auditor", "admin")
TEAM_CONDITIONS: Sequence[Condition] = (
    *(Condition(f"team: {role}", role=role, writes=role in _WRITERS) for role in ROLES),
    Condition("team: requester, an agent of no person", role="requester", is_user=False),
)


def promise(condition: Condition, consents: frozenset[str]) -> Mapping[str, frozenset[str]]:
    """Return each kind of effect that an agent can reach, with the consents recorded for it.

    `consents` is what the agent gives by itself. A kind that is not there cannot be reached.
    """
    if not condition.writes:
        return {}
    money = frozenset[str]()
    if condition.role is None:  # in a team, a second person has to approve
        money = _names(condition.irreversible, condition.form, consents)
    destructive = _names(condition.destructive, condition.form, consents)
    found = {"money": money, "destructive": destructive}
    return {**{kind: names for kind, names in found.items() if names}, "write": ANY_BUT_USER}


ANY_BUT_USER = frozenset({"none", FLAG, TWO_STEP})
"""Consents of writes that are neither: a bulk run of them, or mail above a limit, is agreed to."""


def _names(gate: str, form: str, consents: frozenset[str]) -> frozenset[str]:
    if gate in {"human", "deny"} or (gate == "preview" and form):
        return frozenset()
    alone = {"allow": frozenset({"none"}), "flag": BOTH & {FLAG}, "preview": frozenset[str]()}
    by_itself = alone[gate] & (consents | {"none"})
    # A bulk run shows its items first under every gate, and so does a call on what is suppressed.
    return by_itself | (consents & {TWO_STEP} if not form else frozenset())
