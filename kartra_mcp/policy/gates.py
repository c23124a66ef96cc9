"""Gates, allow and deny lists: the decision on a call of some risk and names. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Decision, Gate, RawRequest, Risk, ValidatedCall, Verdict
from kartra_mcp.kartra import request_path
from kartra_mcp.kartra.commands import COMMANDS
from kartra_mcp.kartra.fields import normalize_name
from kartra_mcp.policy.risk import classify_command, policy_names_of_command
from kartra_mcp.policy.roles import Right, forbidden_role_error, required_right

PREFIX = "kartra_"


@dataclass(frozen=True, slots=True)
class GateTexts:
    """Descriptions of one gate.

    `requirement` fits a table cell, `meaning` completes "an operation …". `instruction` is for a
    model and completes "irreversible calls …". `user` is a sentence for the user.
    """

    requirement: str
    meaning: str
    instruction: str
    user: str


GATE_TEXTS: Mapping[Gate, GateTexts] = {
    Gate.ALLOW: GateTexts("nothing", "runs at once", "run at once.", "Runs at once"),
    Gate.FLAG: GateTexts(
        "confirm: true",
        "runs with confirm: true, which the caller sets itself",
        "need confirm: true. Set it only after the user agreed to exactly that call.",
        "Runs when the assistant sets `confirm`, which it can do by itself",
    ),
    Gate.PREVIEW: GateTexts(
        "a preview first",
        "shows the facts first and runs only with the facts shown",
        "need a preview. The first answer is the preview, nothing ran: show its summary and facts. "
        "Once the user agrees, repeat the same call with confirm: true and the preview's id and "
        "summary as confirmation_id and confirmation_summary. A client that asks the user itself "
        "needs one call.",
        "Shows the facts first, and runs when the assistant repeats them",
    ),
    Gate.HUMAN: GateTexts(
        "the user's yes",
        "runs only after the user's answer, in the client or with the PIN outside it",
        "need the user's own answer: in a form, or after approval_required by the command that it "
        "names. Wait for it, then repeat the same call.",
        "Runs only after the user agrees, in the client or with the PIN",
    ),
    Gate.DENY: GateTexts("is refused", "never runs", "are refused.", "Never runs"),
}

ALWAYS_ALLOWED = frozenset({"kartra_status", "kartra_read_more"})


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """The user's rules: read once, the same for tools, raw requests and the tool list.

    Compared by identity, because verdicts are cached per object.

    `rights`: of the caller's roles in a team; None for a single user, who has all of them.
    `faults`: the restrictions that could not be read, and the stricter value used instead.
    """

    gates: Mapping[Risk, Gate] = field(default_factory=dict[Risk, Gate])
    read_only: bool = False
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    tools: tuple[tuple[str, Gate], ...] = ()
    check_lead: bool = True
    commands: bool = True
    rights: frozenset[Right] | None = None
    faults: tuple[str, ...] = ()


_STRICTEST = (
    *(Verdict.READ_ONLY, Verdict.NOT_ALLOWED, Verdict.FORBIDDEN_ROLE),
    *(Verdict.CONFIRM, Verdict.RUN),
)
_HIDES = frozenset({Verdict.READ_ONLY, Verdict.NOT_ALLOWED, Verdict.FORBIDDEN_ROLE})


def evaluate(risk: Risk, names: Iterable[str], rules: Policy) -> Verdict:
    """Return the verdict on a call of this risk under these names.

    The order is the order of safety: read-only and the deny list win over every gate.
    """
    return _evaluate_once(risk, frozenset(names), rules)


def _evaluate(risk: Risk, named: frozenset[str], rules: Policy) -> Verdict:
    if rules.read_only and risk > Risk.READ:
        return Verdict.READ_ONLY
    if _is_always_allowed(named):
        return Verdict.RUN
    if not passes_allow_deny(named, rules):
        return Verdict.NOT_ALLOWED
    gate = resolve_gate(risk, named, rules)
    if gate is Gate.DENY:
        return Verdict.NOT_ALLOWED
    if rules.rights is not None and required_right(risk, named) not in rules.rights:
        return Verdict.FORBIDDEN_ROLE
    return Verdict.RUN if gate is Gate.ALLOW else Verdict.CONFIRM


# A call asks for the verdict and the gate of its tool in three places.
_evaluate_once = lru_cache(maxsize=4_096)(_evaluate)


def strictest(*gates: Gate) -> Gate:
    """Return the strictest of these gates; at least one is required."""
    return max(gates, key=tuple(Gate).index)


def takes_consent_arguments(risk: Risk, names: Iterable[str], rules: Policy) -> bool:
    """Return True if a tool takes the consent arguments.

    Each write does: `repeat` needs a preview under every gate.
    """
    return risk > Risk.READ or resolve_gate(risk, names, rules) is not Gate.ALLOW


def resolve_gate(risk: Risk, names: Iterable[str], rules: Policy) -> Gate:
    """Return the tool's own gate, the strictest if several match, else that of its risk.

    If the risk is denied, by choice or because of a bad value, no tool's own gate opens it. In a
    team an irreversible call needs at least an approver.
    """
    return _resolve_gate_once(risk, frozenset(names), rules)


def _resolve_gate(risk: Risk, named: frozenset[str], rules: Policy) -> Gate:
    own = [gate for pattern, gate in rules.tools if matches(named, (pattern,))]
    of_risk = rules.gates.get(risk, Gate.DENY)
    gate = strictest(*own) if own and of_risk is not Gate.DENY else of_risk
    needs_approver = rules.rights is not None and risk is Risk.IRREVERSIBLE
    return strictest(gate, Gate.HUMAN) if needs_approver else gate


_resolve_gate_once = lru_cache(maxsize=4_096)(_resolve_gate)


def resolve_effective_gate(risk: Risk, names: Iterable[str], rules: Policy) -> Gate:
    """Return the gate of a risk; `DENY` if read-only or a list refuses it."""
    named = tuple(names)
    verdict = evaluate(risk, named, rules)
    if verdict in _HIDES:
        return Gate.DENY
    return Gate.ALLOW if verdict is Verdict.RUN else resolve_gate(risk, named, rules)


def expand_tool_gates(patterns: Iterable[str], rules: Policy) -> dict[str, Gate]:
    """Return the gate of every command that a pattern matches.

    For a pattern that matches none, return its gate at each risk. Keys contain name and risk,
    because the gate of a command may depend on its arguments.
    """
    found: dict[str, Gate] = {}
    for pattern in patterns:
        commands = [c for c in COMMANDS if matches(policy_names_of_command(c), (pattern,))]
        for command in commands:
            for risk in {COMMANDS[command].risk, COMMANDS[command].lowest_risk}:
                gate = resolve_gate(risk, policy_names_of_command(command), rules)
                found[f"kartra_{command} ({risk.label})"] = gate
        for risk in () if commands else Risk:
            found[f"{pattern} ({risk.label})"] = resolve_gate(risk, (pattern,), rules)
    return found


def evaluate_call(call: ValidatedCall, rules: Policy, least: Risk = Risk.READ) -> Decision:
    """Return the decision on a call; of a raw request, the strictest of tool and commands.

    `least` is the risk that was found in the account, for the call and each of its commands.
    """
    judged = [(max(least, call.risk), call.policy_names)]
    if isinstance(call.request, RawRequest):
        judged += [
            (max(least, classify_command(c)), policy_names_of_command(c.name))
            for c in call.commands
        ]
        by_path = request_path.named_commands(call.request)
        judged += [(COMMANDS[c].risk, policy_names_of_command(c)) for c in by_path]
    verdicts = {evaluate(risk, names, rules) for risk, names in judged}
    return Decision(
        strictest(*(resolve_gate(risk, names, rules) for risk, names in judged)),
        next(verdict for verdict in _STRICTEST if verdict in verdicts),
        rules.check_lead,
        rules.faults,
    )


def hidden_reason(least: Risk, names: Iterable[str], rules: Policy) -> Verdict | None:
    """Return the reason why a tool is not listed, or None. An unlisted tool cannot be called."""
    verdict = evaluate(least, names, rules)
    return verdict if verdict in _HIDES else None


def is_unrestricted(rules: Policy) -> bool:
    """Return True if tools of every risk and name are listed."""
    if rules.read_only or rules.allow or rules.deny or rules.rights is not None:
        return False
    gates = (*rules.gates.values(), *(gate for _, gate in rules.tools))
    return all(risk in rules.gates for risk in Risk) and Gate.DENY not in gates


def passes_allow_deny(names: Collection[str], rules: Policy) -> bool:
    """Return whether allow and deny permit these names; deny wins."""
    if _is_always_allowed(names):
        return True
    if matches_any_spelling(names, rules.deny):
        return False
    return not rules.allow or matches(names, rules.allow)


def _is_always_allowed(names: Collection[str]) -> bool:
    return bool(names) and ALWAYS_ALLOWED.issuperset(names)


def matches(names: Iterable[str], patterns: tuple[str, ...]) -> bool:
    """Match exactly, or ignoring case, `_` and `-` if the name contains nothing else."""
    return any(
        fnmatchcase(name.lower(), pattern.lower())
        or (_is_worded(name) and _matches_ignoring_style(name, pattern))
        for name in names
        for pattern in patterns
    )


def matches_any_spelling(names: Iterable[str], patterns: tuple[str, ...]) -> bool:
    """Match like `_matches`, and also in any spelling, with or without `kartra_`."""
    if not patterns:
        return False
    bare = {name for full in names for name in (full, full.lower().removeprefix(PREFIX))}
    return matches(bare, patterns) or any(
        _matches_ignoring_style(n, p) for n in bare for p in patterns
    )


def _is_worded(name: str) -> bool:
    return re.fullmatch(r"[a-z0-9]+(?:[_-][a-z0-9]+)*", name.lower()) is not None


def _matches_ignoring_style(name: str, pattern: str) -> bool:
    return fnmatchcase(normalize_name(name), _normalize_pattern(pattern))


def _normalize_pattern(pattern: str) -> str:
    """Normalize like `normalize_name`, keeping wildcards."""
    return re.sub(r"(\[[^]]+\])|[^a-z0-9*?]", r"\1", pattern.lower())


def read_only(faults: Iterable[str] = ()) -> RefusedError:
    """Return the refusal of a write; `faults` are those of the policy."""
    found = [text for text in faults if _is_of_read_only(text)]
    return RefusedError(
        "read_only",
        "This server is read-only: only reads are listed and run. Nothing was done.",
        _correction(found) or "Ask the person who set KARTRA_MCP_READ_ONLY.",
    )


def not_allowed_error(faults: Iterable[str] = ()) -> RefusedError:
    """Return the refusal by a list or a gate; `faults` are those of the policy.

    A mistyped value denies, so that the setting to correct is named before the rules.
    """
    found = [text for text in faults if not _is_of_read_only(text)]
    ask = "Ask the person who set the allow and deny lists and the gates; kartra_status has them."
    return RefusedError(
        "not_allowed",
        "The settings of this server do not allow this. Nothing was done.",
        _correction(found) or ask,
    )


def _is_of_read_only(fault: str) -> bool:
    return fault.startswith("KARTRA_MCP_READ_ONLY ")


def _correction(faults: Sequence[str]) -> str:
    if not faults:
        return ""
    listed = ". ".join(faults)
    return (
        f"{listed}. The user should correct the setting and restart the server; kartra_status has "
        "all rules."
    )


def raise_for_verdict(verdict: Verdict | None, rules: Policy) -> None:
    """Raise if a tool is hidden: what is not listed cannot be called."""
    if verdict is Verdict.READ_ONLY:
        raise read_only(rules.faults)
    if verdict is Verdict.FORBIDDEN_ROLE:
        raise forbidden_role_error()
    if verdict is not None:
        raise not_allowed_error(rules.faults)
