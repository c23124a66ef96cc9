"""The PIN at the terminal: chosen twice, asked without echo, and how many attempts are left."""

from __future__ import annotations

from kartra_mcp.consent.decisions import require_pin
from kartra_mcp.core.display import get_os_user
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.terminal import print_line, prompt_secret, require_interactive
from kartra_mcp.ledger.pin import MIN_LENGTH, Pins


def set_pin(pins: Pins) -> None:
    """Choose the PIN, or another one.

    Raises:
        RefusedError: no real terminal, the old one was wrong, or the new one will not do.
    """
    require_interactive("A PIN is chosen")
    if pins.is_set():
        require_pin(pins, prompt_pin("The PIN as it is now: "))
    chosen = prompt_secret(f"The new PIN, at least {MIN_LENGTH} characters: ")
    if len(chosen) < MIN_LENGTH:
        raise _unfit_pin_error(f"It is shorter than {MIN_LENGTH} characters")
    if prompt_secret("The new PIN again: ") != chosen:
        raise _unfit_pin_error("The two are not the same")
    pins.set(chosen, get_os_user())
    print_line("The PIN is set. Whoever knows it can approve.")


def prompt_pin(question: str = "PIN: ") -> str:
    """Ask for the PIN once, without echo."""
    return prompt_secret(question)


def _unfit_pin_error(why: str) -> RefusedError:
    return RefusedError(
        "invalid_arguments", f"{why}.", "Nothing was changed. Run the command again."
    )
