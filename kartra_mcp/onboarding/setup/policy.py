"""Policy step of setup: ask in plain words; Enter keeps the current value."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.models import Gate
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.onboarding.setup.existing_entries import find_strictest, is_looser
from kartra_mcp.onboarding.setup.report import SetupContext
from kartra_mcp.options import ENV_PREFIX, Option
from kartra_mcp.policy.gates import GATE_TEXTS
from kartra_mcp.settings import OPTIONS, read_settings

BY_NAME: Mapping[str, Option] = {setting.name: setting for setting in OPTIONS}
NO_LIMIT = "none"
MAY_BE_NONE = ("CAP_REFUND", "CAP_DAY_AMOUNT")
RULES = (
    *("READ_ONLY", "GATE_IRREVERSIBLE", "GATE_DESTRUCTIVE", "APPROVAL"),
    *("CAP_REFUND", "CAP_DAY_AMOUNT", "CAP_DAY_COUNT"),
)
OFFERED = {
    "GATE_IRREVERSIBLE": ("preview", "human", "deny"),
    "GATE_DESTRUCTIVE": ("flag", "preview", "human", "deny"),
}
WORDS = {
    "READ_ONLY": "Shall the assistant only read, and change nothing at all?",
    "GATE_IRREVERSIBLE": "Before a refund, a cancellation or anything else that cannot be undone:",
    "GATE_DESTRUCTIVE": "Before something is removed or overwritten:",
    "APPROVAL": "Where does the human agree?",
    "CAP_REFUND": "The largest single refund (a sum, or none)",
    "CAP_DAY_AMOUNT": "All refunds of a day together (a sum, or none)",
    "CAP_DAY_COUNT": "Irreversible operations in a day, at most (a number)",
}
PLACES = (
    ("client", "in the client if it can ask, else with the PIN on the page or in a terminal"),
    ("outside", "always with the PIN, on the page or in a terminal"),
)


def set_rules(setup: SetupContext) -> None:
    """Ask for every rule that no flag sets; write the answers into the entries' settings."""
    setup.person.print("\nRules for the assistant. Enter keeps the value in [brackets].")
    rules = {"READ_ONLY": _ask_rule(setup, "READ_ONLY")}
    if rules["READ_ONLY"] != "on":
        rules |= {name: _ask_rule(setup, name) for name in OFFERED}
        human = "human" in rules.values()
        names = (*(["APPROVAL"] if human else []), *RULES[4:])
        rules |= {name: _ask_rule(setup, name) for name in names}
    _keep(setup, rules)
    setup.record_done("Rules: " + _describe_rules(rules))
    if "human" in rules.values():
        _ensure_pin(setup)


def find_fault(name: str, text: str) -> str:
    """Return the reason why a value cannot be used, or ""."""
    if text.lower() == NO_LIMIT and name in MAY_BE_NONE:
        return ""
    problems = read_settings({name: text}, {}).errors
    return f"That is not {problems[0].expected}." if problems else ""


def usable_values(explicit: Mapping[str, str]) -> dict[str, str]:
    """Drop the values that mean "no limit": only setup accepts `none`."""
    return {name: text for name, text in explicit.items() if _normalize_unset(name, text)}


def _ask_rule(setup: SetupContext, name: str) -> str:
    """Return a rule's value ("" means no limit). A looser value than now is confirmed twice."""
    now = _valid_or_fallback(name, find_strictest(name, setup.entries))
    if name in setup.given.explicit:
        value = _normalize_unset(name, setup.given.explicit[name])
        if now is not None and is_looser(name, value, now):
            setup.record_done(f"Looser than before: {_change(name, now, value)}.")
        return value
    while True:
        value = _normalize_unset(
            name, _ask_value(setup, name, now or _format_default(BY_NAME[name].default))
        )
        if now is None or not is_looser(name, value, now):
            return value
        if setup.person.confirm(
            f"That is looser than now ({_change(name, now, value)}). Sure?",
            flag=BY_NAME[name].flag,
            default=False,
        ):
            return value


def _valid_or_fallback(name: str, now: str | None) -> str | None:
    """Replace a bad value by the one that the server would use instead."""
    return _format_default(BY_NAME[name].on_error) if now and find_fault(name, now) else now


def _ask_value(setup: SetupContext, name: str, now: str) -> str:
    person, flag = setup.person, BY_NAME[name].flag
    if name == "READ_ONLY":
        is_on = now.lower() in {"on", "1", "true", "yes"}
        yes = person.confirm(f"\n{WORDS[name]}", flag=f"{flag} or --no-read-only", default=is_on)
        return "on" if yes else "off"
    if name in OFFERED:
        words = OFFERED[name] if now in OFFERED[name] else (now, *OFFERED[name])
        options = [(word, _describe_gate(word)) for word in words]
        return person.select(WORDS[name], options, flag=f"{flag} GATE", default=now)
    if name == "APPROVAL":
        return person.select(WORDS[name], PLACES, flag=f"{flag} PLACE", default=now)
    shown = now or NO_LIMIT
    return person.ask_text(
        WORDS[name], lambda text: find_fault(name, text), flag=flag, default=shown
    )


def _describe_gate(word: str) -> str:
    return GATE_TEXTS[Gate(word)].user if word in set(Gate) else "The current value"


def _normalize_unset(name: str, text: str) -> str:
    return "" if name in MAY_BE_NONE and text.lower() in ("", NO_LIMIT) else text


def _change(name: str, now: str, then: str) -> str:
    before = now or _format_default(BY_NAME[name].default) or NO_LIMIT
    return (
        f"{ENV_PREFIX}{name} {before} → "
        f"{then or _format_default(BY_NAME[name].default) or NO_LIMIT}"
    )


def _format_default(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return "" if default is None else str(default)


def _keep(setup: SetupContext, values: Mapping[str, str]) -> None:
    """Keep the variables; one that becomes unset is written only if an entry has it."""
    for name, text in values.items():
        present = any(entry.get(name) for entry in setup.entries.values())
        is_default = name == "READ_ONLY" and text == "off"
        if (text and not is_default) or present:
            setup.story.env[ENV_PREFIX + name] = text


def _describe_rules(rules: Mapping[str, str]) -> str:
    if rules["READ_ONLY"] == "on":
        return "reads only."
    return (
        f"irreversible: {rules['GATE_IRREVERSIBLE']}; destructive: {rules['GATE_DESTRUCTIVE']}; "
        f"largest refund: {rules['CAP_REFUND'] or NO_LIMIT}; "
        f"a day: {rules['CAP_DAY_AMOUNT'] or NO_LIMIT}, {rules['CAP_DAY_COUNT']} operations."
    )


def _ensure_pin(setup: SetupContext) -> None:
    """Make sure that a PIN exists, for approvals."""
    command = f"kartra-mcp approve --set-pin{setup.settings.cli_flags}"
    with closing(
        open_ledger(
            setup.settings.state_dir,
            fault=setup.settings.ledger_fault,
            account=setup.settings.account_kind,
        )
    ) as ledger:
        try:
            if ledger.pins.is_set():
                setup.record_done("The PIN for approvals is already set.")
                return
            free = setup.person.real and not setup.person.yes
            if free and setup.person.confirm("\nChoose the PIN for approvals now?"):
                _choose_pin(setup, ledger)
                setup.record_done("The PIN for approvals is set.")
                return
        except KartraMCPError as problem:
            setup.person.print(f"{problem.message} {problem.remedy}")
    setup.story.left.append(("Choose the PIN for approvals", command))


def _choose_pin(setup: SetupContext, ledger: Ledger) -> None:
    while True:
        try:
            return setup.choose_pin(ledger.pins)
        except RefusedError as problem:
            if problem.code != "invalid_arguments":
                raise
            setup.person.print(f"{problem.message} Try again, or stop with Ctrl-C.")
