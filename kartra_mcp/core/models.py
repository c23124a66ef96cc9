"""Value types shared by all packages; frozen, without behavior."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any, Literal

from kartra_mcp.core.deferred import Deferred


class Risk(IntEnum):
    """Worst effect of a call. Ordered: `max` of two risks is the higher one."""

    READ = 0
    WRITE = 1
    DESTRUCTIVE = 2
    IRREVERSIBLE = 3

    @property
    def label(self) -> str:
        return self.name.lower()


class Gate(StrEnum):
    """Condition that a call of some risk must meet before it runs. Strictest last."""

    ALLOW = "allow"
    FLAG = "flag"
    PREVIEW = "preview"
    HUMAN = "human"
    DENY = "deny"


class Verdict(Enum):
    """Result of the policy: run, ask first, or the reason why not."""

    RUN = "run"
    CONFIRM = "confirm"
    READ_ONLY = "read_only"
    NOT_ALLOWED = "not_allowed"
    FORBIDDEN_ROLE = "forbidden_role"


class OperationKind(StrEnum):
    """Kinds of operations that share facts and identity, whatever their action is called."""

    REFUND = "refund"
    CANCELLATION = "cancellation"
    REVOCATION = "revocation"
    CHANGE = "change"
    OTHER = "other"


class Executed(StrEnum):
    """Knowledge about the effect at Kartra: executed, not executed, or unknown."""

    NO = "no"
    YES = "yes"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Action:
    """One entry of `membrane action list`, as far as it is used.

    `schema` is the action's `inputSchema` exactly as received (any JSON), None if it has none.
    """

    id: str
    key: str
    name: str
    description: str = ""
    type: str = ""
    method: str = ""
    schema: Any = None
    revision: str = ""


@dataclass(frozen=True, slots=True)
class RawRequest:
    """Direct request to Kartra's API through Membrane's proxy.

    It was validated by `kartra/request_guard.py`. `body` is the text to send (JSON or form) or
    None; `content_type` belongs to it. `commands` are the Kartra commands in it, each with its
    arguments; `fields` are the fields of query and body where there are no commands.
    """

    method: str
    path: str
    path_params: Mapping[str, str] = field(default_factory=dict[str, str])
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: str | None = None
    content_type: str = ""
    commands: tuple[Command, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Command:
    """One Kartra command with its arguments, e.g. `refund_transaction` of transaction 101.

    `lead` has the `lead[…]` fields of the same request.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    lead: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Connection:
    """One Membrane connection. `usable`: it is READY and not disconnected.

    A connection that waits for the user has an `action_url` to open, and Membrane's `instructions`
    to agents, which are untrusted.
    """

    id: str
    key: str = ""
    name: str = ""
    app: str = ""
    state: str = ""
    usable: bool = True
    created_at: str = ""
    error: str = ""
    action_url: str = ""
    instructions: str = ""


@dataclass(frozen=True, slots=True)
class ActionResult:
    """Result of a Membrane operation, and the run it belongs to.

    `size`: bytes of the response that it came in; None if they were not counted.
    """

    result: Any
    action_run_id: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class ConsentArguments:
    """The caller's consent arguments; `confirm_name` is the flag's name on this tool."""

    confirm: bool = False
    confirmation_id: str | None = None
    confirmation_summary: str | None = None
    repeat: bool = False
    confirm_name: str = "confirm"


@dataclass(frozen=True, slots=True)
class Target:
    """Object of a call: `kind` as in `TARGETS`, `id` in normal form ("101")."""

    kind: str
    id: str

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


@dataclass(frozen=True, slots=True)
class WritePart:
    """One writing command of a call, with an identity of its own.

    Args:
        name: the ledger's name of the operation, e.g. `refund_transaction`.
        risk: of this command.
        target: None if it cannot be found or is named in two ways.
        amount: the amount of money in it; None if there is none.
        moves_money: it counts against the caps on amounts.
        additive: a second equal write has a second effect.
        starts_mail: it can start mail or automations.
        mail_leads: the leads that get this mail, as far as the arguments name them.
        digest: one for every spelling of its fields, without those that name the target.
    """

    name: str
    risk: Risk
    target: Target | None
    amount: Decimal | None
    moves_money: bool
    additive: bool
    digest: str
    starts_mail: bool = False
    mail_leads: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """Effect of a call in normal form: the same for an action and its raw request.

    Args:
        name: name of the operation in the ledger, e.g. `refund_transaction`.
        kind: kind of the most dangerous command.
        target: None if it cannot be found or is named in two ways.
        amount: None for everything, and if two amounts are named.
        is_unambiguous: no two amounts are named, and the target of a known command was found.
        email_count: number of commands that can start mail.
        moves_money: counts against the caps on amounts, also if no amount can be read.
        arguments: all arguments; of a raw request the fields of its commands.
        digest: equal for every spelling of the call.
        parts: its writing commands; of an action or a single command, one.
    """

    name: str
    kind: OperationKind
    target: Target | None
    amount: Decimal | None
    is_unambiguous: bool
    email_count: int
    moves_money: bool
    arguments: Mapping[str, Any]
    digest: str
    parts: tuple[WritePart, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """Decision of the policy on a call; of a raw request, the strictest on its commands.

    `check_lead`: the lead is read before a write that can start mail. `faults` are those of the
    policy: restrictions that could not be read.
    """

    gate: Gate
    verdict: Verdict
    check_lead: bool
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ValidatedCall:
    """One tool call before the policy decides: request, validated arguments, worst effect.

    `arguments` are under the action's own names; a raw request has none. `policy_names` are all
    names under which allow and deny may refer to it. `consent` are the caller's consent arguments.
    """

    tool: str
    title: str
    request: Action | RawRequest
    risk: Risk
    policy_names: frozenset[str]
    commands: tuple[Command, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    consent: ConsentArguments = ConsentArguments()

    @property
    def writes(self) -> bool:
        return self.risk > Risk.READ


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(ValidatedCall):
    """One tool call with its operation and the policy's decision.

    Both are decided once, in `catalogue/decided_calls.py`, and only read from here. The operation
    is derived on first use: a read that runs at once has no use for it.
    """

    deferred: Deferred[Operation] = field(repr=False, compare=False)
    decision: Decision

    @property
    def operation(self) -> Operation:
        return self.deferred.value

    @property
    def is_guarded(self) -> bool:
        """Return whether it is recorded, or asked for with a preview: every write, some reads."""
        return self.writes or self.decision.gate in (Gate.PREVIEW, Gate.HUMAN)


Fence = Literal["short_token", "fixed_token"]
FENCED: Fence = "short_token"
"""The write is sent under a token of its own, which ends with its right to send."""

UNFENCED: Fence = "fixed_token"
"""The write is sent under an access token that stays valid: Membrane could accept it later."""


@dataclass(frozen=True, slots=True)
class SendRight:
    """The right to send one write over HTTP, once.

    Attributes:
        attempt: id of the one attempt, also the id of its token.
        seconds: the right ends so long after the intent began.
        fence: whether Membrane enforces the end.
        deadline: its end on the steady clock of this process, counted from before the commit.
    """

    attempt: str
    seconds: float
    fence: Fence
    deadline: float
