"""The words that all rooms share, as frozen values; nothing here does anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any


class Risk(IntEnum):
    """What a call may do at worst. Ordered: `max` of two risks is the higher one."""

    READ = 0
    WRITE = 1
    DESTRUCTIVE = 2
    IRREVERSIBLE = 3

    @property
    def label(self) -> str:
        return self.name.lower()


class Gate(StrEnum):
    """What a risk must pass before it runs. Strictest last."""

    ALLOW = "allow"
    FLAG = "flag"
    PREVIEW = "preview"
    HUMAN = "human"
    DENY = "deny"


class Executed(StrEnum):
    """Whether something was done at Kartra, as far as is known."""

    NO = "no"
    YES = "yes"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Action:
    """One entry of `membrane action list`, as far as we rely on it.

    `schema` is the action's `inputSchema` exactly as it came (any JSON), None where there is none.
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
    """A direct Kartra API request through Membrane's proxy, already guarded by `proxy.py`.

    `body` is the text to send (JSON or form text) or None; `content_type` belongs to it.
    `commands` are the Kartra commands found in it, each with its own arguments.
    """

    method: str
    path: str
    path_params: Mapping[str, str] = field(default_factory=dict[str, str])
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: str | None = None
    content_type: str = ""
    commands: tuple[Command, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """One Kartra API command with its arguments, e.g. `refund_transaction` of transaction 101.

    `lead` holds the `lead[…]` fields that stood beside it in the same request.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    lead: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Connection:
    """One Membrane connection. `usable` says that it is READY and not disconnected.

    Where it waits for a person, `action_url` is the address to open and `instructions` are
    Membrane's words to agents: a stranger's text.
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
    """What a verb of Membrane's gave back: the result and the run it belongs to."""

    result: Any
    action_run_id: str | None = None


@dataclass(frozen=True, slots=True)
class ConsentArguments:
    """What the caller said of consent; `confirm_name` is what the flag is called on this tool."""

    confirm: bool = False
    confirmation_id: str | None = None
    confirmation_summary: str | None = None
    repeat: bool = False
    confirm_name: str = "confirm"


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call: the operation, its validated arguments, and what it may do at worst.

    `arguments` stand under the action's own names; a raw request has none. `policy_names` are all
    that allow and deny may call it. `consent` is what the caller said of consent.
    """

    tool: str
    title: str
    operation: Action | RawRequest
    risk: Risk
    policy_names: frozenset[str]
    commands: tuple[Command, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    consent: ConsentArguments = ConsentArguments()

    @property
    def writes(self) -> bool:
        return self.risk > Risk.READ
