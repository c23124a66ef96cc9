"""The PIN at the terminal: chosen twice, read without echo."""

from __future__ import annotations

from kartra_mcp.consent.decisions import require_pin
from kartra_mcp.core.display import get_os_user
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.terminal import print_line, prompt_secret, require_interactive
from kartra_mcp.ledger.pin import MIN_LENGTH, Pins


def set_pin(pins: Pins) -> None:
    """Choose the PIN, or replace it.

    Raises:
        RefusedError: no terminal, the old PIN was wrong, or the new one is too short.
    """
    require_interactive("A PIN is chosen")
    if pins.is_set():
        require_pin(pins, prompt_pin("Current PIN (not shown): "))
    chosen = prompt_secret(f"New PIN, at least {MIN_LENGTH} characters (not shown): ")
    if len(chosen) < MIN_LENGTH:
        raise _unfit_pin_error(f"The PIN is shorter than {MIN_LENGTH} characters")
    if prompt_secret("Repeat the new PIN (not shown): ") != chosen:
        raise _unfit_pin_error("The two PINs differ")
    pins.set(chosen, get_os_user())
    print_line("The PIN is set. Keep it secret: it approves calls.")


def prompt_pin(question: str = "PIN (not shown): ") -> str:
    """Read the PIN once, without echo."""
    return prompt_secret(question)


def _unfit_pin_error(why: str) -> RefusedError:
    return RefusedError(
        "invalid_arguments", f"{why}.", "Nothing was changed. Run the command again."
    )
