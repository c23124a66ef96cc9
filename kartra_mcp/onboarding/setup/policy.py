"""What the assistant may do, asked in plain words; the values now are the answers to Enter."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.onboarding.setup.existing_entries import looser, strictest
from kartra_mcp.onboarding.setup.report import Setup
from kartra_mcp.options import ENV_PREFIX, Option
from kartra_mcp.settings import OPTIONS, read_settings

BY_NAME: Mapping[str, Option] = {setting.name: setting for setting in OPTIONS}
NO_LIMIT = "none"
MAY_BE_NONE = ("CAP_REFUND", "CAP_DAY_AMOUNT")
RULES = (
    *("READ_ONLY", "GATE_IRREVERSIBLE", "GATE_DESTRUCTIVE", "APPROVAL"),
    *("CAP_REFUND", "CAP_DAY_AMOUNT", "CAP_DAY_COUNT"),
)
GATES = {
    "allow": "it runs at once",
    "flag": "the assistant has to say `confirm`; it can do that by itself",
    "preview": "the facts are shown first; the assistant repeats them, then it runs",
    "human": "a person has to agree to each, in the client or with a PIN",
    "deny": "never",
}
OFFERED = {
    "GATE_IRREVERSIBLE": ("preview", "human", "deny"),
    "GATE_DESTRUCTIVE": ("flag", "preview", "human", "deny"),
}
WORDS = {
    "READ_ONLY": "May the assistant only look, and change nothing at all?",
    "GATE_IRREVERSIBLE": "Before a refund, a cancellation, or whatever cannot be undone:",
    "GATE_DESTRUCTIVE": "Before something is removed or overwritten:",
    "APPROVAL": "Where does the person agree?",
    "CAP_REFUND": "The largest single refund (a sum, or none)",
    "CAP_DAY_AMOUNT": "All refunds of a day together (a sum, or none)",
    "CAP_DAY_COUNT": "Refunds, cancellations and the like in a day, at most (a number)",
}
PLACES = (
    ("client", "in the client if it can ask, else in a terminal with the PIN"),
    ("outside", "always in a terminal, with the PIN"),
)


def set_rules(setup: Setup) -> None:
    """Ask for every rule that no flag answers; the answers go into the entries' settings."""
    setup.person.tell("\nWhat the assistant may do. Enter keeps what stands in [brackets].")
    rules = {"READ_ONLY": _answer(setup, "READ_ONLY")}
    if rules["READ_ONLY"] != "on":
        rules |= {name: _answer(setup, name) for name in OFFERED}
        human = "human" in rules.values()
        names = (*(["APPROVAL"] if human else []), *RULES[4:])
        rules |= {name: _answer(setup, name) for name in names}
    _keep(setup, rules)
    setup.done("The rules are chosen: " + _in_words(rules))
    if "human" in rules.values():
        _pin(setup)


def fault(name: str, text: str) -> str:
    """Why a value cannot be used, or ""."""
    if text.lower() == NO_LIMIT and name in MAY_BE_NONE:
        return ""
    problems = read_settings({name: text}, {}).errors
    return f"That is not {problems[0].expected}." if problems else ""


def usable(said: Mapping[str, str]) -> dict[str, str]:
    """Those values that a server can be given: `none` is only said here."""
    return {name: text for name, text in said.items() if _unset(name, text)}


def _answer(setup: Setup, name: str) -> str:
    """A rule's value; "" is without a limit. What is looser than now is agreed to twice."""
    now = _sound(name, strictest(name, setup.entries))
    if name in setup.given.said:
        value = _unset(name, setup.given.said[name])
        if now is not None and looser(name, value, now):
            setup.done(f"Looser than before: {_change(name, now, value)}.")
        return value
    while True:
        value = _unset(name, _asked(setup, name, now or _text(BY_NAME[name].default)))
        if now is None or not looser(name, value, now):
            return value
        if setup.person.agrees(
            f"That is looser than now ({_change(name, now, value)}). Sure?",
            flag=BY_NAME[name].flag,
            default=False,
        ):
            return value


def _sound(name: str, now: str | None) -> str | None:
    """A value that cannot be used counts as what the server takes instead."""
    return _text(BY_NAME[name].on_error) if now and fault(name, now) else now


def _asked(setup: Setup, name: str, now: str) -> str:
    person, flag = setup.person, BY_NAME[name].flag
    if name == "READ_ONLY":
        is_on = now.lower() in {"on", "1", "true", "yes"}
        yes = person.agrees(f"\n{WORDS[name]}", flag=f"{flag} or --no-read-only", default=is_on)
        return "on" if yes else "off"
    if name in OFFERED:
        words = OFFERED[name] if now in OFFERED[name] else (now, *OFFERED[name])
        options = [(word, GATES.get(word, "as it stands now")) for word in words]
        return person.picks(WORDS[name], options, flag=f"{flag} GATE", default=now)
    if name == "APPROVAL":
        return person.picks(WORDS[name], PLACES, flag=f"{flag} PLACE", default=now)
    shown = now or NO_LIMIT
    return person.types(WORDS[name], lambda text: fault(name, text), flag=flag, default=shown)


def _unset(name: str, text: str) -> str:
    return "" if name in MAY_BE_NONE and text.lower() in ("", NO_LIMIT) else text


def _change(name: str, now: str, then: str) -> str:
    before = now or _text(BY_NAME[name].default) or NO_LIMIT
    return f"{ENV_PREFIX}{name} {before} → {then or _text(BY_NAME[name].default) or NO_LIMIT}"


def _text(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return "" if default is None else str(default)


def _keep(setup: Setup, values: Mapping[str, str]) -> None:
    """The variables; one that is to be unset is named only where it stands in an entry."""
    for name, text in values.items():
        stands = any(entry.get(name) for entry in setup.entries.values())
        quiet = name == "READ_ONLY" and text == "off"
        if (text and not quiet) or stands:
            setup.story.env[ENV_PREFIX + name] = text


def _in_words(rules: Mapping[str, str]) -> str:
    if rules["READ_ONLY"] == "on":
        return "reads only."
    return (
        f"irreversible: {rules['GATE_IRREVERSIBLE']}; destructive: {rules['GATE_DESTRUCTIVE']}; "
        f"largest refund: {rules['CAP_REFUND'] or NO_LIMIT}; "
        f"a day: {rules['CAP_DAY_AMOUNT'] or NO_LIMIT}, {rules['CAP_DAY_COUNT']} acts."
    )


def _pin(setup: Setup) -> None:
    """Have a PIN, for whoever approves."""
    command = f"kartra-mcp approve --set-pin{setup.settings.cli_flags}"
    with closing(Ledger(setup.settings.state_dir)) as ledger:
        try:
            if ledger.pins.is_set():
                setup.done("The PIN that approves was chosen before.")
                return
            free = setup.person.real and not setup.person.yes
            if free and setup.person.agrees("\nChoose the PIN that approves now?"):
                _chosen_pin(setup, ledger)
                setup.done("The PIN that approves is chosen.")
                return
        except KartraMCPError as problem:
            setup.person.tell(f"{problem.message} {problem.remedy}")
    setup.story.left.append(("Choose the PIN that approves", command))


def _chosen_pin(setup: Setup, ledger: Ledger) -> None:
    while True:
        try:
            return setup.choose_pin(ledger.pins)
        except RefusedError as problem:
            if problem.code != "invalid_arguments":
                raise
            setup.person.tell(f"{problem.message} Ctrl-C stops.")
