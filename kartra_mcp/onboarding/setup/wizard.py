"""`kartra-mcp setup`: the steps from nothing to a client that serves Kartra.

Each step checks the actual state, does what is missing, and reports it. Therefore a run that was
stopped is finished by the next one. No client is written before the last question is answered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from kartra_mcp.client_config.command import check_name
from kartra_mcp.client_config.entry import REAL, REHEARSAL
from kartra_mcp.client_config.install import get_client
from kartra_mcp.core.display import display_value
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.state_location import make_absolute
from kartra_mcp.ledger.pin import Pins
from kartra_mcp.onboarding.setup import existing_entries
from kartra_mcp.onboarding.setup.clients import set_clients
from kartra_mcp.onboarding.setup.connection import connect
from kartra_mcp.onboarding.setup.executable import find
from kartra_mcp.onboarding.setup.login import log_in
from kartra_mcp.onboarding.setup.policy import (
    BY_NAME,
    NO_LIMIT,
    RULES,
    find_fault,
    set_rules,
    usable_values,
)
from kartra_mcp.onboarding.setup.prompts import Prompter
from kartra_mcp.onboarding.setup.report import SetupContext, SetupOptions, SetupReport
from kartra_mcp.onboarding.setup.state_folder import set_state_folder
from kartra_mcp.options import ENV_PREFIX
from kartra_mcp.processes import runner
from kartra_mcp.processes.signals import raise_interrupt, termination_handler
from kartra_mcp.settings import OPTIONS, read_settings

PATHS = ("STATE_DIR", "POLICY")
OF_MEMBRANE = ("MEMBRANE", "CONNECTION")


def run_setup(
    given: SetupOptions,
    person: Prompter,
    choose_pin: Callable[[Pins], None],
    run_program: runner.Run = runner.run,
) -> SetupReport:
    """Run all steps; errors end up in the report, and none is raised.

    Args:
        given: the flags.
        person: the source of all other answers.
        choose_pin: prompts for a PIN at the terminal.
        run_program: runs npm and Membrane's program.
    """
    story = SetupReport()
    try:
        with termination_handler(raise_interrupt):
            begun = _begin(given, person, choose_pin, story)
            _run_steps(replace(begun, run_program=run_program))
        story.whole = not story.refused
    except KartraMCPError as problem:
        story.problem = problem
    except (KeyboardInterrupt, EOFError):
        story.stopped = True
    return story


def validate_options(given: SetupOptions) -> None:
    """Raise `invalid_arguments` for flags that cannot be used, before anything starts."""
    if given.name is not None:
        check_name(given.name)
    for name in given.clients:
        get_client(name)
    for name, text in given.explicit.items():
        why = find_fault(name, text)
        if why:
            variable = ENV_PREFIX + name
            remedy = "Correct the value. `kartra-mcp setup --help` lists all settings."
            raise RefusedError("invalid_arguments", f"{variable}: {why} Nothing was done.", remedy)


def _begin(
    given: SetupOptions, person: Prompter, choose_pin: Callable[[Pins], None], story: SetupReport
) -> SetupContext:
    """Build the context of the first step from the flags and the existing entries."""
    explicit = {name: _expand_path(name, text) for name, text in given.explicit.items()}
    sandbox = {"SANDBOX": "on" if given.sandbox else "off"}
    name = given.name or (REHEARSAL if given.sandbox else REAL)
    there = existing_entries.read_entries(read_settings(usable_values(explicit) | sandbox), name)
    asked = (*RULES, "SANDBOX")
    kept = {
        s.name: existing_entries.merged_entry(s.name, there) for s in OPTIONS if s.name not in asked
    }
    kept = {name: text for name, text in kept.items() if text}
    unlike = [name for name in existing_entries.INCOMPARABLE if name not in explicit]
    kept |= {n: text for n in unlike if (text := _choose_one_of(person, n, there)) is not None}
    settings = read_settings({**kept, **usable_values(explicit), **sandbox})
    # Kept values go into further clients too, so that none is looser than the existing ones.
    story.env |= {
        ENV_PREFIX + name: text for name, text in {**kept, **usable_values(explicit)}.items()
    }
    if given.sandbox:
        story.env = {
            n: v for n, v in story.env.items() if n.removeprefix(ENV_PREFIX) not in OF_MEMBRANE
        }
    return SetupContext(
        replace(given, explicit=explicit), person, settings, story, choose_pin, there
    )


def _choose_one_of(
    person: Prompter, name: str, there: Mapping[str, Mapping[str, str]]
) -> str | None:
    """Choose between differing values. "" means unset; None means that they do not differ."""
    found = existing_entries.group_values(name, there)
    if len(found) < 2:  # noqa: PLR2004  one value is all alike
        return None
    flag = BY_NAME[name].flag
    options = [(text or NO_LIMIT, "as in " + ", ".join(have)) for text, have in found.items()]
    if not person.yes:
        question = (
            f"Your clients differ in {ENV_PREFIX}{name}. Which value shall those you choose get?"
        )
        picked = person.select(question, options, flag=f"{flag} VALUE")
        return "" if picked == NO_LIMIT else picked
    listed = "; ".join(f"{display_value(text, 200)} {where}" for text, where in options)
    raise RefusedError(
        "not_allowed",
        f"Your clients differ in {ENV_PREFIX}{name} ({listed}), and neither is the stricter. "
        "Nothing was done.",
        f"Choose one with `{flag} VALUE`, or run `kartra-mcp setup` without --yes.",
    )


def _expand_path(name: str, text: str) -> str:
    return make_absolute(text) if name in PATHS else text


def _run_steps(setup: SetupContext) -> None:
    if not setup.given.sandbox:
        setup = find(setup)
        log_in(setup)
        connect(setup)
        setup = set_state_folder(setup, setup.given.name or REAL)
    set_rules(setup)
    set_clients(setup)
