"""The PIN at the terminal: chosen twice, asked without echo, and how many attempts are left."""

from __future__ import annotations

from kartra_mcp.errors import Refused
from kartra_mcp.ledger.pins import LOCKED, SHORTEST, Pins
from kartra_mcp.terminal import ask_secret, os_user, require_real, say


def set_pin(pins: Pins) -> None:
    """Choose the PIN, or another one.

    Raises:
        Refused: no real terminal, the old one was wrong, or the new one will not do.
    """
    require_real("A PIN is chosen")
    if pins.is_set():
        require_pin(pins, "The PIN as it is now: ")
    chosen = ask_secret(f"The new PIN, at least {SHORTEST} characters: ")
    if len(chosen) < SHORTEST:
        raise _unfit(f"It is shorter than {SHORTEST} characters")
    if ask_secret("The new PIN again: ") != chosen:
        raise _unfit("The two are not the same")
    pins.set(chosen, os_user())
    say("The PIN is set. Whoever knows it can approve.")


def require_pin(pins: Pins, question: str = "PIN: ") -> None:
    """Ask for the PIN once; every attempt is in the ledger before its answer is told.

    Raises:
        Refused: it is wrong, or locked.
    """
    if not pins.check(ask_secret(question), os_user()):
        raise _wrong(pins.left())


def _wrong(left: int) -> Refused:
    if left:
        attempts = "1 attempt is" if left == 1 else f"{left} attempts are"
        what = f"{attempts} left before it is locked for {LOCKED / 60:.0f} minutes"
    else:
        what = f"It is locked for {LOCKED / 60:.0f} minutes now"
    return Refused(
        "not_allowed",
        f"The PIN is wrong. {what}.",
        "Nothing was decided. Every attempt stands in the ledger.",
    )


def _unfit(why: str) -> Refused:
    return Refused("invalid_arguments", f"{why}.", "Nothing was changed. Run the command again.")
