"""How dangerous an operation is, and whether it may run: ordered rules over data, pure.

Unknown is dangerous: a read needs a row in the table, or Membrane's word and a read verb.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any, TypeGuard

from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.core.models import Action, Call, Command, Executed, Gate, RawRequest, Risk
from kartra_mcp.kartra import commands as kartra
from kartra_mcp.kartra.commands import COMMANDS, plain

MOST_RETRIES = 3
PREFIX = "kartra_"
ALWAYS_ALLOWED = frozenset({"kartra_status", "kartra_read_more"})


@dataclass(frozen=True, slots=True)
class Rules:
    """What the person allows: read once, the same for tools, raw requests and the list."""

    gates: Mapping[Risk, Gate] = field(default_factory=dict[Risk, Gate])
    read_only: bool = False
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    tools: tuple[tuple[str, Gate], ...] = ()


class Verdict(Enum):
    """What `judge` says: run, ask first, or why not."""

    RUN = "run"
    CONFIRM = "confirm"
    READ_ONLY = "read_only"
    NOT_ALLOWED = "not_allowed"


_STRICTEST = (Verdict.READ_ONLY, Verdict.NOT_ALLOWED, Verdict.CONFIRM, Verdict.RUN)


def judge(risk: Risk, names: Iterable[str], rules: Rules) -> Verdict:
    """Whether something of this risk and these names may run. The order is the order of safety."""
    named = tuple(names)
    if rules.read_only and risk > Risk.READ:
        return Verdict.READ_ONLY
    if _is_always_allowed(named):
        return Verdict.RUN
    if not listed(named, rules):
        return Verdict.NOT_ALLOWED
    gate = gate_of(risk, named, rules)
    if gate is Gate.DENY:
        return Verdict.NOT_ALLOWED
    return Verdict.RUN if gate is Gate.ALLOW else Verdict.CONFIRM


def retry_after(problem: KartraMCPError, risk: Risk, tries: int) -> float | None:
    """Seconds after which a call is tried again, or None.

    Only what says that it was not executed is repeated, an irreversible call not even then; and
    a read once, when there was no readable answer.
    """
    turned_away = problem.code == "rate_limited" and problem.executed is Executed.NO
    if turned_away and risk < Risk.IRREVERSIBLE and tries < MOST_RETRIES:
        return 1.0
    unread = risk is Risk.READ and not problem.answered and tries == 0
    return 0.0 if unread else None


def stricter(*gates: Gate) -> Gate:
    """The strictest of these; at least one is given."""
    return max(gates, key=tuple(Gate).index)


def gated(risk: Risk, names: Iterable[str], rules: Rules) -> bool:
    """Whether a tool takes the consent arguments."""
    return risk >= Risk.DESTRUCTIVE or gate_of(risk, names, rules) is not Gate.ALLOW


def asks(call: Call, rules: Rules) -> bool:
    """Whether more than the caller's flag is needed, of a read too."""
    return call_gate(call, rules) in (Gate.PREVIEW, Gate.HUMAN)


def gate_of(risk: Risk, names: Iterable[str], rules: Rules) -> Gate:
    """The gate of a tool's own, the strictest where several fit, else that of its risk.

    Where the risk is denied, by choice or because a value was bad, no gate of its own widens it.
    """
    named = tuple(names)
    own = [gate for pattern, gate in rules.tools if _matches(named, (pattern,))]
    of_risk = rules.gates.get(risk, Gate.DENY)
    return stricter(*own) if own and of_risk is not Gate.DENY else of_risk


def tool_gates(patterns: Iterable[str], rules: Rules) -> dict[str, Gate]:
    """The gate of every known command that a pattern fits, and of what each other may stand for.

    By name and risk, because the gate of a command may depend on its arguments.
    """
    found: dict[str, Gate] = {}
    for pattern in patterns:
        commands = [c for c in COMMANDS if _matches(command_names(c), (pattern,))]
        for command in commands:
            for risk in {COMMANDS[command].risk, COMMANDS[command].lowest}:
                gate = gate_of(risk, command_names(command), rules)
                found[f"kartra_{command} ({risk.word})"] = gate
        for risk in () if commands else Risk:
            found[f"{pattern} ({risk.word})"] = gate_of(risk, (pattern,), rules)
    return found


def call_gate(call: Call, rules: Rules) -> Gate:
    """The gate that a call has to pass; of a raw request, the strictest of its commands."""
    gates = [gate_of(call.risk, call.names, rules)]
    if isinstance(call.operation, RawRequest):
        gates += [gate_of(command_risk(c), command_names(c.name), rules) for c in call.commands]
    return stricter(*gates)


def judge_call(call: Call, rules: Rules) -> Verdict:
    """The verdict on a call; of a raw request, the strictest on the tool and on each command."""
    if not isinstance(call.operation, RawRequest):
        return judge(call.risk, call.names, rules)
    verdicts = {judge(call.risk, call.names, rules)}
    verdicts |= {judge(command_risk(c), command_names(c.name), rules) for c in call.commands}
    return next(verdict for verdict in _STRICTEST if verdict in verdicts)


def hidden(least: Risk, names: Iterable[str], rules: Rules) -> Verdict | None:
    """Why something is not listed, or None. What is not listed cannot be called."""
    verdict = judge(least, names, rules)
    return verdict if verdict in (Verdict.READ_ONLY, Verdict.NOT_ALLOWED) else None


def hides_nothing(rules: Rules) -> bool:
    """Whether everything is listed, whatever its risk and names."""
    gates = (*rules.gates.values(), *(gate for _, gate in rules.tools))
    of_all = all(risk in rules.gates for risk in Risk) and Gate.DENY not in gates
    return of_all and not (rules.read_only or rules.allow or rules.deny)


def listed(names: tuple[str, ...], rules: Rules) -> bool:
    """What allow and deny say of something with these names; deny wins."""
    if _is_always_allowed(names):
        return True
    if _denied(names, rules.deny):
        return False
    return not rules.allow or _matches(names, rules.allow)


def _is_always_allowed(names: tuple[str, ...]) -> bool:
    return bool(names) and ALWAYS_ALLOWED.issuperset(names)


def action_names(tool: str, key: str, command: str) -> frozenset[str]:
    """All the names that allow and deny may use for an action."""
    spelled = re.sub(r"[^a-z0-9_]+", "_", key.lower())
    keyed = {f"kartra_{key.lower()}", f"kartra_{spelled}"} if key else set[str]()
    return frozenset({tool} | keyed | ({f"kartra_{command}"} if command else set[str]()))


def command_names(command: str) -> frozenset[str]:
    """The names of a Kartra command inside a raw request: its own and its action's."""
    key = next((k for k, c in kartra.ACTION_COMMANDS.items() if c == command), command)
    return frozenset({f"kartra_{command}", f"kartra_{key}", f"kartra_{key.replace('_', '-')}"})


def action_command(action: Action) -> str:
    """The Kartra command behind an action; where it has no key, by its name."""
    return kartra.action_command(action.key or action.name)


def action_risk(action: Action) -> Risk:
    """The highest that the action can reach, whatever its arguments. For the list."""
    command = action_command(action)
    return _with_command(action, COMMANDS[command].risk if command else None)


def least_risk(action: Action) -> Risk:
    """The lowest that the action can reach: what hides it."""
    command = action_command(action)
    return _with_command(action, COMMANDS[command].lowest if command else None)


def call_risk(action: Action, arguments: Mapping[str, Any]) -> Risk:
    """The risk of the action with these arguments."""
    command = action_command(action)
    return _with_command(action, command_risk(Command(command, arguments)) if command else None)


def _with_command(action: Action, risk: Risk | None) -> Risk:
    """A key names its command; a name alone only adds to what is unknown."""
    if risk is None:
        return _unknown_action_risk(action)
    if action.key:
        return max(risk, *_declared(action, known=True))
    return max(risk, _unknown_action_risk(action))


def command_risk(command: Command) -> Risk:
    """The risk of one Kartra command with its arguments."""
    row = COMMANDS.get(command.name)
    if row is None:
        return max(Risk.DESTRUCTIVE, _by_words(command.name))
    by_arguments = _BY_ARGUMENTS.get(command.name)
    return by_arguments(command) if by_arguments else row.risk


def request_risk(request: RawRequest) -> Risk:
    """The highest risk of a raw request's commands; without any, a GET without a body reads."""
    if request.commands:
        by_method = Risk.DESTRUCTIVE if request.method == "DELETE" else Risk.READ
        return max(by_method, *(command_risk(c) for c in request.commands))
    reads = request.method == "GET" and request.body is None
    return Risk.READ if reads else Risk.DESTRUCTIVE


def _edit_lead_risk(command: Command) -> Risk:
    """Changing the address changes who the lead is; an empty value erases."""
    fields = [given for given in (command.lead, command.arguments) if given]
    named = [(plain(name), value) for name, value in kartra.named_in(fields)]
    addresses = {name for name, _ in named if "mail" in name}
    beside = len(addresses) > 1 or any(_names_the_lead(name, value) for name, value in named)
    changes = any(name.startswith("new") for name in addresses) or (addresses and beside)
    several = len({value.lower() for _, value in named if _is_address(value)}) > 1
    return Risk.DESTRUCTIVE if changes or several or _empties(fields) else Risk.WRITE


def _names_the_lead(name: str, value: Any) -> bool:
    """Whether a field says who is meant by more than the address."""
    alone = name in kartra.LEADS and isinstance(value, str | int | float)
    return alone or name in kartra.LEAD_ID_NAMES


def _is_address(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and re.fullmatch(r"\s*[^@\s]+@[^@\s]+\s*", value) is not None


def _status_risk(command: Command) -> Risk:
    """Only `pause` and `unpause` are known to be undoable; all else may be a cancellation."""
    values = kartra.find_values(
        {**command.lead, **command.arguments},
        frozenset({"subscriptionstatusmodification", "statusmodification", "status"}),
    )
    wanted = {value if isinstance(value, str) else "" for _, value in values}
    undoable = bool(wanted) and wanted <= {"pause", "unpause"}
    return Risk.DESTRUCTIVE if undoable else Risk.IRREVERSIBLE


_BY_ARGUMENTS: Mapping[str, Callable[[Command], Risk]] = {
    "edit_lead": _edit_lead_risk,
    "modify_subscription_status": _status_risk,
}


def _declared(action: Action, *, known: bool) -> tuple[Risk, ...]:
    """What Membrane's type and method say, as lower bounds.

    Kartra's reads are POSTs too, so for a known command POST says nothing.
    """
    by_type = kartra.TYPE_RISKS.get(action.type, Risk.READ)
    method = action.method.upper()
    says_nothing = known and method == "POST"
    by_method = Risk.READ if says_nothing else kartra.METHOD_RISKS.get(method, Risk.READ)
    return by_type, by_method


def _unknown_action_risk(action: Action) -> Risk:
    said = _by_words(f"{action.key} {action.name}")
    if said > Risk.READ:
        return said
    verb = next(iter(kartra.words(action.key or action.name)), "")
    if action.type in kartra.READ_TYPES and verb in kartra.READ_VERBS:
        return max(_declared(action, known=False))
    declared = kartra.TYPE_RISKS.get(action.type, Risk.DESTRUCTIVE)
    return max(declared, *_declared(action, known=False))


def _by_words(name: str) -> Risk:
    """What the words of an unknown name say, as a lower bound."""
    words = kartra.words(name)
    if any(kartra.holds_word(name, word) for word in kartra.IRREVERSIBLE_WORDS):
        return Risk.IRREVERSIBLE
    if any(word.startswith(kartra.IRREVERSIBLE_STARTS) for word in words):
        return Risk.IRREVERSIBLE
    destroys = any(word.startswith(kartra.DESTRUCTIVE_WORDS) for word in words)
    return Risk.DESTRUCTIVE if destroys else Risk.READ


def _empties(value: Any) -> bool:
    if is_object(value):
        return not value or any(_empties(inner) for inner in value.values())
    if is_array(value):
        return not value or any(_empties(inner) for inner in value)
    return value is None or (isinstance(value, str) and not value.strip())


def _matches(names: Iterable[str], patterns: tuple[str, ...]) -> bool:
    """By the letter, or but for `_`, `-` and capitals where a name has nothing else to lose."""
    return any(
        fnmatchcase(name.lower(), pattern.lower()) or (_is_worded(name) and _alike(name, pattern))
        for name in names
        for pattern in patterns
    )


def _denied(names: Iterable[str], patterns: tuple[str, ...]) -> bool:
    """As `_matches`, and in doubt yes: in any spelling, and without `kartra_` before it."""
    bare = {name for full in names for name in (full, full.lower().removeprefix(PREFIX))}
    return _matches(bare, patterns) or any(_alike(n, p) for n in bare for p in patterns)


def _is_worded(name: str) -> bool:
    return re.fullmatch(r"[a-z0-9]+(?:[_-][a-z0-9]+)*", name.lower()) is not None


def _alike(name: str, pattern: str) -> bool:
    return fnmatchcase(plain(name), _plain_pattern(pattern))


def _plain_pattern(pattern: str) -> str:
    """As `kartra.plain`, with what makes it a pattern."""
    return re.sub(r"(\[[^]]+\])|[^a-z0-9*?]", r"\1", pattern.lower())
