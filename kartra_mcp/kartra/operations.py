"""Kind, target, amount and digest of a call, in normal form. Pure.

All are found by one table of aliases (`kartra/fields.py`), nested too, because the real names of
Membrane's actions may differ from Kartra's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.core.models import (
    Action,
    Command,
    Operation,
    OperationKind,
    RawRequest,
    Risk,
    Target,
    ValidatedCall,
    WritePart,
)
from kartra_mcp.kartra import action_words, command_identity, fields, request_path
from kartra_mcp.kartra.commands import COMMANDS
from kartra_mcp.kartra.fields import normalize_name
from kartra_mcp.kartra.request_path import MAX_NAME
from kartra_mcp.kartra.values import CENT, normalize_id, parse_amount

REFUND, CANCEL = "refund_transaction", "cancel_transaction"

_BY_COMMAND: Mapping[str, OperationKind] = {
    "refund_transaction": OperationKind.REFUND,
    "cancel_transaction": OperationKind.CANCELLATION,
    "revoke_membership_access": OperationKind.REVOCATION,
    "edit_subscription": OperationKind.CHANGE,
}
_KINDS: Mapping[OperationKind, tuple[str, ...]] = {
    OperationKind.REFUND: ("transaction",),
    OperationKind.CANCELLATION: ("subscription", "transaction"),
    OperationKind.CHANGE: ("subscription",),
    OperationKind.REVOCATION: ("lead",),
    OperationKind.OTHER: ("transaction", "subscription", "lead"),
}
UNKNOWN_KIND = "id"
"""Kind of a target of which only the field `id` is known."""
_NAMES_OF: Mapping[str, tuple[frozenset[str], ...]] = {
    kind: tuple(frozenset({flat, flat + "id"}) for flat in map(normalize_name, aliases))
    for kind, aliases in fields.TARGETS.items()
}
"""Normalized names of the object of each kind, the most specific first."""
_OF_LEAD = ("lead", "transaction", "subscription")
"""Kinds of target of a command that acts on a lead."""


@dataclass(frozen=True, slots=True)
class _Object:
    """Target of a call or of a command, and every amount that is named."""

    target: Target | None
    amounts: frozenset[Decimal | None]


def derive_operation(
    call: ValidatedCall, risk_of: Callable[[Command], Risk] | None = None
) -> Operation:
    """Return the operation of a call; `risk_of` is the risk of one command of a chain."""
    kind, given = _operation_kind(call), _call_arguments(call)
    name, target = _operation_name(call, kind), _find_call_target(call, given, kind)
    known, money = bool(call.commands), _moves_money(call)
    amounts = _collect_amounts(given, money=money or kind is OperationKind.CHANGE)
    return Operation(
        name=name,
        kind=kind,
        target=target,
        amount=next(iter(amounts)) if len(amounts) == 1 else None,
        # The fields of an unknown action are unknown too, so that no target is demanded of it.
        is_unambiguous=(target is not None or not known) and len(amounts) <= 1,
        email_count=_count_email_commands(call),
        moves_money=money,
        arguments=given,
        digest=_digest_arguments(call, name, given),
        parts=_split_parts(call, kind, risk_of, _Object(target, frozenset(amounts))),
    )


def _split_parts(
    call: ValidatedCall,
    kind: OperationKind,
    risk_of: Callable[[Command], Risk] | None,
    whole: _Object,
) -> tuple[WritePart, ...]:
    """Return each writing command of a call: every rule holds for each of them."""
    commands = _writing_commands(call)
    if isinstance(call.request, Action) or len(commands) <= 1:
        return (_whole_part(call, kind, whole),)
    return tuple(
        _command_part(command, call.risk if risk_of is None else risk_of(command))
        for command in commands
    )


def _command_part(command: Command, risk: Risk) -> WritePart:
    """Return one command of a chain as a part."""
    kind, given = _command_kind(command), {**command.lead, **command.arguments}
    money = action_words.moves_money(command.name)
    amounts = _collect_amounts(given, money=money or kind is OperationKind.CHANGE)
    found = _Object(_find_target(given, _command_target_kinds(command)), frozenset(amounts))
    return _make_part(_command_operation(command), given, risk, found, money=money)


def _whole_part(call: ValidatedCall, kind: OperationKind, whole: _Object) -> WritePart:
    """Return the only part of a call, whose object is that of the call."""
    name, request, commands = _operation_name(call, kind), call.request, _writing_commands(call)
    alone = not isinstance(request, Action) and len(commands) == 1
    given = {**commands[0].lead, **commands[0].arguments} if alone else _call_arguments(call)
    part = _make_part(name, given, call.risk, whole, money=_moves_money(call))
    if _count_email_commands(call):  # by an action's name, or by the words of a path
        leads = _find_mail_leads(given, part.target)
        part = replace(part, starts_mail=True, mail_leads=leads)
    if isinstance(request, Action):
        adds = not call.commands and command_identity.is_additive(request.name)
        return replace(part, additive=part.additive or adds)
    if call.commands:
        return part
    # Of a path without commands nothing is known but the request as it is.
    digest = _digest_arguments(call, name, given)
    return replace(part, digest=digest, additive=part.additive or request.method == "POST")


def _make_part(
    name: str, given: Mapping[str, Any], risk: Risk, found: _Object, *, money: bool
) -> WritePart:
    target, amounts = found.target, found.amounts
    mails = _starts_mail(name)
    return WritePart(
        name=name,
        risk=risk,
        target=target,
        amount=next(iter(amounts)) if len(amounts) == 1 else None,
        moves_money=money,
        additive=command_identity.is_additive(name),
        digest=command_identity.digest_fields(name, given, target),
        starts_mail=mails,
        mail_leads=_find_mail_leads(given, target) if mails else (),
    )


def _writing_commands(call: ValidatedCall) -> tuple[Command, ...]:
    return tuple(
        command
        for command in call.commands
        if command.name not in COMMANDS or COMMANDS[command.name].risk > Risk.READ
    )


def _command_operation(command: Command) -> str:
    """Return the ledger's name of one command."""
    names = {OperationKind.REFUND: REFUND, OperationKind.CANCELLATION: CANCEL}
    return names.get(_command_kind(command), command.name)


def _operation_kind(call: ValidatedCall) -> OperationKind:
    """Return the kind of a call; of a raw request, that of its most dangerous command."""
    acts = [_command_kind(command) for command in call.commands]
    return next((act for act in OperationKind if act in acts), OperationKind.OTHER)


def _command_kind(command: Command) -> OperationKind:
    if command.name == "modify_subscription_status":
        return (
            OperationKind.CHANGE
            if fields.find_status(command.arguments) in {"pause", "unpause"}
            else OperationKind.CANCELLATION
        )
    return _BY_COMMAND.get(command.name, OperationKind.OTHER)


def _operation_name(call: ValidatedCall, kind: OperationKind) -> str:
    """Return the ledger's name of the operation: the same for an action and its raw form.

    Otherwise a refund could be repeated as a raw request without being recognized.
    """
    if kind in (OperationKind.REFUND, OperationKind.CANCELLATION):
        return REFUND if kind is OperationKind.REFUND else CANCEL
    if call.commands:
        told = _writing_commands(call) or call.commands
        return "+".join(sorted({command.name for command in told}))
    request = call.request
    if isinstance(request, Action):
        return request.key or request.id
    return request_path.operation_name(request)[:MAX_NAME] or "raw request"


def _call_arguments(call: ValidatedCall) -> dict[str, Any]:
    """Return all arguments; of a raw request the fields of each writing command, else of each.

    No field overrides another's.
    """
    if isinstance(call.request, Action):
        return dict(call.arguments)
    if not call.commands:
        return dict(call.request.fields)
    told = _writing_commands(call) or call.commands
    given = [{**command.lead, **command.arguments} for command in told]
    return given[0] if len(given) == 1 else {"commands": given}


def _target_kinds(call: ValidatedCall, kind: OperationKind) -> tuple[str, ...]:
    """Return the kinds of target that a call can have, the likeliest first."""
    told = _writing_commands(call) or call.commands
    of_lead = told and all(_command_target_kinds(command) == _OF_LEAD for command in told)
    return _OF_LEAD if of_lead else _KINDS[kind]


def _command_target_kinds(command: Command) -> tuple[str, ...]:
    """Return the kinds of target of one command; `id` alone is that of the lead where it has one.

    Every known command that is of no kind of its own acts on a lead.
    """
    kind = _command_kind(command)
    row = COMMANDS.get(command.name)
    if kind is OperationKind.OTHER and row is not None and row.risk > Risk.READ:
        return _OF_LEAD
    return _KINDS[kind]


def _find_call_target(
    call: ValidatedCall, given: Mapping[str, Any], kind: OperationKind
) -> Target | None:
    """Return the target of a whole call; of a chain on one lead that lead, as each part has it."""
    kinds = _target_kinds(call, kind)
    commands = _writing_commands(call)
    if isinstance(call.request, Action) or len(commands) <= 1 or kinds != _OF_LEAD:
        return _find_target(given, kinds)
    found = {_find_target({**c.lead, **c.arguments}, kinds) for c in commands}
    return found.pop() if len(found) == 1 else None


def _find_target(given: Mapping[str, Any], kinds: tuple[str, ...]) -> Target | None:
    """Return the target; None if it cannot be found or is named in two ways."""
    scalars = tuple(_iter_scalars(given, ""))
    named = {
        kind: {normalize_id(value) for value in _find_named_values(scalars, kind)} for kind in kinds
    }
    found = [Target(kind, id_) for kind, ids in named.items() for id_ in ids]
    if found:
        first = [target for target in found if target.kind == found[0].kind]
        # A cancellation that names a subscription and a transaction may mean either.
        alone = found if kinds == _KINDS[OperationKind.CANCELLATION] else first
        return found[0] if len(alone) == 1 else None
    bare = {normalize_id(value) for name, value in scalars if name == "id"}
    # The object of an unknown operation is unknown: its `id` must not be called a transaction's.
    kind = UNKNOWN_KIND if kinds == _KINDS[OperationKind.OTHER] else kinds[0]
    return Target(kind, bare.pop()) if len(bare) == 1 else None


def _moves_money(call: ValidatedCall) -> bool:
    if isinstance(call.request, RawRequest) and request_path.moves_money(call.request):
        return True
    if not call.commands and isinstance(call.request, Action):
        return any(map(action_words.moves_money, (call.request.key, call.request.name)))
    return any(action_words.moves_money(command.name) for command in call.commands)


def _count_email_commands(call: ValidatedCall) -> int:
    """Return how many of the call's commands can start mail or automations."""
    if not call.commands and isinstance(call.request, Action):
        names = (call.request.key, call.request.name)
        return int(any(action_words.sends(name) for name in names))
    by_path = isinstance(call.request, RawRequest) and request_path.sends(call.request)
    by_command = sum(_starts_mail(command.name) for command in call.commands)
    return max(int(by_path), by_command)


def _starts_mail(name: str) -> bool:
    """Return whether a command of this name can start mail or automations."""
    return COMMANDS[name].may_send_email if name in COMMANDS else action_words.sends(name)


def _find_mail_leads(given: Mapping[str, Any], target: Target | None) -> tuple[Target, ...]:
    """Return the leads that get the mail of a command; several where its arguments name several."""
    if target is not None and target.kind == "lead":
        return (target,)
    scalars = tuple(_iter_scalars(given, ""))
    ids = {normalize_id(value) for value in _find_named_values(scalars, "lead")}
    return tuple(Target("lead", id_) for id_ in sorted(ids))


def _collect_amounts(given: Mapping[str, Any], *, money: bool) -> set[Decimal | None]:
    found = fields.find_amounts(given, money=money)
    return {_to_units(name, parse_amount(value)) for name, value in found}


def _to_units(name: str, amount: Decimal | None) -> Decimal | None:
    """Convert cents: `amount_cents: 500` is 5.00."""
    return (
        (amount / 100).quantize(CENT)
        if amount is not None and fields.is_cents_field(name)
        else amount
    )


def _find_named_values(scalars: Sequence[tuple[str, Any]], kind: str) -> list[Any]:
    """Return the values under a kind's names; the most specific name wins."""
    for names in _NAMES_OF[kind]:
        found = [value for name, value in scalars if name in names]
        if found:
            return found
    return []


def _iter_scalars(value: Any, parent: str) -> Iterator[tuple[str, Any]]:
    """Yield (normalized name, value) of every text and number.

    `transaction: {id}` is `transactionid`.
    """
    if is_object(value):
        for name, inner in value.items():
            yield from _iter_scalars_at(normalize_name(name), inner, parent)
    elif is_array(value):
        for inner in value:
            yield from _iter_scalars(inner, parent)


def _iter_scalars_at(name: str, value: Any, parent: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        if str(value).strip():
            yield (parent + name if name == "id" and parent else name), value
    else:
        yield from _iter_scalars(value, name)


def _digest_arguments(call: ValidatedCall, name: str, given: Mapping[str, Any]) -> str:
    """Return one digest for every spelling of a call: ids and amounts are in normal form."""
    said = {
        "operation": name,
        "arguments": _normalize(given),
        "commands": [
            [c.name, _normalize(dict(c.arguments)), _normalize(dict(c.lead))] for c in call.commands
        ]
        if not isinstance(call.request, Action)
        else [],
    }
    if not isinstance(call.request, Action):
        request = call.request
        path = request_path.fill_path(request)
        said["request"] = [request.method, path, request.body, list(request.query)]
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def _normalize(value: Any, name: str = "") -> Any:
    if is_object(value):
        return {n: _normalize(v, normalize_name(n)) for n, v in value.items()}
    if is_array(value):
        return [_normalize(v, name) for v in value]
    if name in fields.AMOUNT_NAMES:
        return str(parse_amount(value))
    return normalize_id(value) if name in fields.ID_NAMES and value is not None else value
