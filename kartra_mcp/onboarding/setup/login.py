"""Login step of setup: in the browser, or with a code. Nothing of the login is stored here."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kartra_mcp.app import membrane_factory
from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.display import display_value
from kartra_mcp.core.errors import KartraMCPError, RefusedError, UpstreamError
from kartra_mcp.core.models import Executed
from kartra_mcp.membrane.connections import find_url
from kartra_mcp.onboarding.setup import subprocesses
from kartra_mcp.onboarding.setup.prompts import RERUN_HINT
from kartra_mcp.onboarding.setup.report import SetupContext
from kartra_mcp.processes.runner import CompletedProcess
from kartra_mcp.settings import Settings

LOOK, IN_THE_BROWSER = 30.0, 900.0
ATTEMPTS = 3
CODE = re.compile(r"[\w.~+/=#:][\w.~+/=#:-]{0,1999}", re.ASCII)
TOKENS = ("MEMBRANE_ACCESS_TOKEN", "MEMBRANE_TOKEN", "MEMBRANE_WORKSPACE_SECRET")


def log_in(setup: SetupContext) -> None:
    """Log in to Membrane, unless the user is logged in already.

    Raises:
        KartraMCPError: the login failed or was declined.
    """
    if is_logged_in(setup):
        setup.record_done("You are logged in to Membrane.")
        _print_token_note(setup)
        return
    setup.person.print(
        "\nMembrane keeps the login and your Kartra keys; kartra-mcp never requests a key."
    )
    if setup.given.code:
        _complete_login(setup, setup.given.code)
    elif is_headless(setup):
        _log_in_by_code(setup)
    else:
        _log_in_by_browser(setup)
    if not is_logged_in(setup):
        raise RefusedError(
            "not_logged_in",
            "Membrane reports that you are not logged in.",
            f"{RERUN_HINT}, or log in with `membrane login --tenant`.",
        )
    setup.record_done("You are logged in to Membrane.")


def is_logged_in(setup: SetupContext) -> bool:
    """Read the login state from `status`; if it is unreadable, try to list the connections."""
    reported = subprocesses.run_client(setup, lambda m: m.is_logged_in(Deadline.after(LOOK)))
    if reported is not None:
        return reported
    try:
        subprocesses.run_client(setup, lambda m: m.list_connections(Deadline.after(LOOK)))
    except KartraMCPError as problem:
        if problem.code == "not_logged_in":
            return False
        raise
    return True


def is_headless(setup: SetupContext) -> bool:
    """Return true if a browser cannot open for this user."""
    if setup.given.headless is not None:
        return setup.given.headless
    env, platform = setup.settings.environment, setup.settings.platform
    no_screen = platform == "linux" and not (env.get("DISPLAY") or env.get("WAYLAND_DISPLAY"))
    return not setup.person.real or no_screen or "SSH_CONNECTION" in env


def _log_in_by_browser(setup: SetupContext) -> None:
    if not setup.person.confirm("Log in to Membrane now? It opens your browser."):
        raise _login_declined_error()
    code = subprocesses.run_interactive(
        setup.settings, _find_program(setup.settings), ["login", "--tenant"], IN_THE_BROWSER
    )
    if code != 0:
        raise RefusedError(
            "not_logged_in",
            f"The login failed: membrane ended with exit code {code}.",
            f"{RERUN_HINT}. Without a browser, run `kartra-mcp setup --headless`.",
        )


def _log_in_by_code(setup: SetupContext) -> None:
    """Show the address and ask for the code; a wrong code may be corrected."""
    setup.person.print("\nOpen this address in a browser, on any machine, and log in:")
    address = _start_login(setup)
    setup.person.print(f"\n  {address}\n", "bold")
    for left in reversed(range(ATTEMPTS)):
        try:
            _complete_login(setup, _ask_code(setup, address))
            break
        except RefusedError as problem:
            if not left or problem.code != "not_logged_in":
                raise
            setup.person.print(f"{problem.message} Try again, or stop with Ctrl-C.")


def _ask_code(setup: SetupContext, address: str) -> str:
    question = "The code from that page (input is hidden)"
    try:
        return setup.person.ask_secret(question, flag="--code CODE, with that code")
    except RefusedError as unanswered:
        unanswered.detail = {"address": address} if unanswered.code == "not_allowed" else None
        raise


def _start_login(setup: SetupContext) -> str:
    """Return the address that `login start` prints."""
    for words in (["login", "start", "--json"], ["login", "start"]):
        done = _run(setup, words)
        found = find_url(done.stdout.decode("utf-8", errors="replace")) or find_url(
            done.stderr.decode("utf-8", errors="replace")
        )
        if found:
            return found
    raise UpstreamError(
        "unreadable_answer",
        "membrane printed no address for the login.",
        "Log in with `membrane login --tenant` in a terminal, then run `kartra-mcp setup` again.",
        detail={"membrane": _output_text(done)},
        executed=Executed.NO,
    )


def _complete_login(setup: SetupContext, code: str) -> None:
    if not CODE.fullmatch(code):
        raise _wrong_code_error("That is not a code")
    done = _run(setup, ["login", "complete", code, "--json"])
    if done.exit_code != 0 or not is_logged_in(setup):
        raise _wrong_code_error(
            "Membrane rejected the code", _output_text(done).replace(code, "[the code]")
        )


def _wrong_code_error(what: str, output: str = "") -> RefusedError:
    return RefusedError(
        "not_logged_in",
        f"{what}; you are not logged in.",
        f"A code works once and expires soon. {RERUN_HINT} with a new address.",
        detail={"membrane": output} if output else None,
    )


def _run(setup: SetupContext, words: Sequence[str]) -> CompletedProcess:
    return subprocesses.run(setup, _find_program(setup.settings), words, LOOK)


def _find_program(settings: Settings) -> tuple[str, ...]:
    command = membrane_factory.membrane_command(settings)
    if isinstance(command, KartraMCPError):
        raise command
    return command


def _output_text(done: CompletedProcess) -> str:
    return display_value((done.stdout + b" " + done.stderr).decode("utf-8", errors="replace"), 300)


def _print_token_note(setup: SetupContext) -> None:
    given = [name for name in TOKENS if setup.settings.environment.get(name)]
    if given:
        setup.person.print(
            f"Note: {given[0]} is set in this shell. A client that is started elsewhere lacks it "
            "and needs `membrane login --tenant`."
        )


def _login_declined_error() -> RefusedError:
    return RefusedError(
        "not_logged_in",
        "You are not logged in to Membrane.",
        f"{RERUN_HINT}, or log in with `membrane login --tenant`.",
    )
