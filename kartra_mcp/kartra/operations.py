"""What a call acts on, in normal form: its kind of act, its target and its amount. Pure.

Found by one table of aliases (`kartra.TARGETS`, `kartra.AMOUNTS`), nested too, because the real
names of Membrane's actions may differ from Kartra's.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.core.models import Action, Call, Command, Risk
from kartra_mcp.kartra import fields
from kartra_mcp.kartra.fields import plain

CENT = Decimal("0.01")


class Act(StrEnum):
    """Kinds of acts that share facts and identity, whatever their action is called."""

    REFUND = "refund"
    CANCELLATION = "cancellation"
    REVOCATION = "revocation"
    CHANGE = "change"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Target:
    """What a call acts on: `kind` as in `kartra.TARGETS`, `id` in normal form ("101")."""

    kind: str
    id: str

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


_BY_COMMAND: Mapping[str, Act] = {
    "refund_transaction": Act.REFUND,
    "cancel_transaction": Act.CANCELLATION,
    "revoke_membership_access": Act.REVOCATION,
    "edit_subscription": Act.CHANGE,
}
_BY_WORD: tuple[tuple[str, Act], ...] = (
    ("refund", Act.REFUND),
    ("cancel", Act.CANCELLATION),
    ("revoke", Act.REVOCATION),
)
_KINDS: Mapping[Act, tuple[str, ...]] = {
    Act.REFUND: ("transaction",),
    Act.CANCELLATION: ("subscription", "transaction"),
    Act.CHANGE: ("subscription",),
    Act.REVOCATION: ("lead",),
    Act.OTHER: ("transaction", "subscription", "lead"),
}


def act_of(call: Call) -> Act:
    """The kind of act; of a raw request, that of its most dangerous command."""
    if isinstance(call.operation, Action) and not call.commands:
        key = plain(call.operation.key or call.operation.name)
        return next((act for word, act in _BY_WORD if word in key), Act.OTHER)
    acts = [command_act(command) for command in call.commands]
    return next((act for act in Act if act in acts), Act.OTHER)


def command_act(command: Command) -> Act:
    if command.name == "modify_subscription_status":
        return Act.CHANGE if _wanted(command) in {"pause", "unpause"} else Act.CANCELLATION
    return _BY_COMMAND.get(command.name, Act.OTHER)


def operation_of(call: Call) -> str:
    """The name under which the ledger keeps it: the same for an action and its raw form."""
    act = act_of(call)
    if act in (Act.REFUND, Act.CANCELLATION):
        return "refund_transaction" if act is Act.REFUND else "cancel_transaction"
    if call.commands:
        return "+".join(sorted({command.name for command in call.commands}))
    operation = call.operation
    return (operation.key or operation.id) if isinstance(operation, Action) else "raw request"


def arguments_of(call: Call) -> dict[str, Any]:
    """Everything that was given; of a raw request each command's fields, none over another's."""
    if isinstance(call.operation, Action):
        return dict(call.arguments)
    given = [{**command.lead, **command.arguments} for command in call.commands]
    return given[0] if len(given) == 1 else {"commands": given}


def target_of(call: Call) -> Target | None:
    """What the call acts on; None where it cannot be found or is named in two ways."""
    given = arguments_of(call)
    act = act_of(call)
    kinds = _KINDS[act]
    named = {kind: {normal_id(value) for value in _named(given, kind)} for kind in kinds}
    found = [Target(kind, id_) for kind, ids in named.items() for id_ in ids]
    if found:
        first = [target for target in found if target.kind == found[0].kind]
        alone = found if act is Act.CANCELLATION else first
        return found[0] if len(alone) == 1 else None
    bare = {normal_id(value) for name, value in _scalars(given, "") if name == "id"}
    return Target(kinds[0], bare.pop()) if len(bare) == 1 else None


def amount_of(call: Call) -> Decimal | None:
    """The amount that was given, None where everything is meant."""
    amounts = _amounts(call)
    return amounts.pop() if len(amounts) == 1 else None


def is_plain(call: Call) -> bool:
    """Whether what it acts on can be found, and no two amounts are named."""
    return target_of(call) is not None and len(_amounts(call)) <= 1


def _amounts(call: Call) -> set[Decimal | None]:
    judged = act_of(call) in (Act.REFUND, Act.CHANGE)
    found = fields.find_amounts(arguments_of(call), money=judged)
    return {_in_units(name, money(value)) for name, value in found}


def _in_units(name: str, amount: Decimal | None) -> Decimal | None:
    """`amount_cents: 500` is 5.00."""
    return (amount / 100).quantize(CENT) if amount is not None and fields.in_cents(name) else amount


def money(value: Any) -> Decimal | None:
    """A sum of money with two decimals: 97, "97.0" and "97.00" are the same."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value).strip())
        return amount.quantize(CENT) if amount.is_finite() else None
    except InvalidOperation:
        return None


def normal_id(value: Any) -> str:
    """`101`, `"101"`, `" 0101 "` and `101.0` are one id; an address is compared in lower case."""
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    text = text.strip()
    if re.fullmatch(r"[0-9]{1,40}", text):
        return str(int(text))
    return text.lower() if "@" in text else text


def needs_target(call: Call) -> bool:
    """Whether the call may not run without knowing what it acts on."""
    return call.risk is Risk.IRREVERSIBLE


def _wanted(command: Command) -> str:
    names = frozenset({"subscriptionstatusmodification", "statusmodification", "status"})
    found = [v for _, v in fields.find_values(dict(command.arguments), names)]
    return found[0] if len(found) == 1 and isinstance(found[0], str) else ""


def _named(given: Mapping[str, Any], kind: str) -> list[Any]:
    """The values that go by a kind's names, the most believed name first alone."""
    for alias in fields.TARGETS[kind]:
        flat = plain(alias)
        found = [value for name, value in _scalars(given, "") if name in (flat, flat + "id")]
        if found:
            return found
    return []


def _scalars(value: Any, parent: str) -> Iterator[tuple[str, Any]]:
    """(plain name, value) of every text and number; `transaction: {id}` is `transactionid`."""
    if is_object(value):
        for name, inner in value.items():
            yield from _scalars_at(plain(name), inner, parent)
    elif is_array(value):
        for inner in value:
            yield from _scalars(inner, parent)


def _scalars_at(name: str, value: Any, parent: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        if str(value).strip():
            yield (parent + name if name == "id" and parent else name), value
    else:
        yield from _scalars(value, name)


def arguments_digest(call: Call) -> str:
    """The same for every spelling of the same call: ids and amounts in normal form."""
    said = {
        "operation": operation_of(call),
        "arguments": _normal(arguments_of(call)),
        "commands": [
            [c.name, _normal(dict(c.arguments)), _normal(dict(c.lead))] for c in call.commands
        ]
        if not isinstance(call.operation, Action)
        else [],
    }
    if not isinstance(call.operation, Action):
        request = call.operation
        said["request"] = [request.method, request.path, request.body, list(request.query)]
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def _normal(value: Any, name: str = "") -> Any:
    if is_object(value):
        return {n: _normal(v, plain(n)) for n, v in value.items()}
    if is_array(value):
        return [_normal(v, name) for v in value]
    if name in fields.AMOUNT_NAMES:
        return str(money(value))
    return normal_id(value) if name in fields.ID_NAMES and value is not None else value
