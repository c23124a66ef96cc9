"""`kartra-mcp approve`: what waits for a person, and the person's decision with the PIN."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any

from kartra_mcp.cli_pin import require_pin, set_pin
from kartra_mcp.cli_words import DONE, FOUND, Place, add_place, put_json, run, whole
from kartra_mcp.errors import Refused
from kartra_mcp.ledger.approvals import Approval
from kartra_mcp.ledger.words import moment
from kartra_mcp.terminal import (
    ask,
    local_time,
    os_user,
    pairs,
    require_real,
    say,
    say_error,
    table,
    tidy,
)
from kartra_mcp.text import shown

USAGE = "kartra-mcp approve [NUMBER | --set-pin | --json] [--sandbox] [--state-dir DIR]"
REASON = 200


def approve(words: Sequence[str]) -> int:
    """0: listed, decided or set. 1: refused, or stopped; nothing was decided."""
    parser = _parser()
    given = parser.parse_args(words)
    if (given.number is not None) + given.set_pin + given.json > 1:
        parser.error("one of NUMBER, --set-pin and --json")
    if given.set_pin:
        return run(given, _set_pin)
    return run(given, _list if given.number is None else _decide)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="kartra-mcp approve",
        usage=USAGE,
        description="Without a number: what waits. With one: see it whole, approve or decline it.",
        allow_abbrev=False,
    )
    parser.add_argument("number", nargs="?", type=whole, metavar="NUMBER")
    parser.add_argument("--set-pin", action="store_true", help="choose the PIN that approves")
    parser.add_argument("--json", action="store_true", help="the list, for a program")
    add_place(parser)
    return parser


def _list(given: Namespace, place: Place) -> int:
    waiting = place.ledger.approvals.pending()
    if given.json:
        put_json({"waiting": [_told(asked) for asked in waiting]})
        return DONE
    if not waiting:
        say(f"Nothing waits for approval in {place.folder}.")
        return DONE
    titles = ("No.", "What", "Asked by", "Since", "Until")
    table(titles, [_row(asked) for asked in waiting])
    say(f"\nTo see one whole and decide: kartra-mcp approve NUMBER{place.flags}")
    return DONE


def _row(asked: Approval) -> tuple[str, ...]:
    return (
        str(asked.number),
        tidy(asked.summary),
        tidy(asked.asked_by, 60),
        local_time(asked.asked_at),
        local_time(asked.expires_at),
    )


def _told(asked: Approval) -> dict[str, Any]:
    return {
        "number": asked.number,
        "tool": asked.binding.tool,
        "summary": asked.summary,
        "facts": dict(asked.facts),
        "asked_by": asked.asked_by,
        "asked_at": moment(asked.asked_at),
        "expires_at": moment(asked.expires_at),
    }


def _set_pin(_: Namespace, place: Place) -> int:
    try:
        set_pin(place.ledger.pins)
    except (KeyboardInterrupt, EOFError):
        say_error("\nStopped. The PIN is as it was.")
        return FOUND
    return DONE


def _decide(given: Namespace, place: Place) -> int:
    require_real("A decision is made")
    approvals, pins = place.ledger.approvals, place.ledger.pins
    asked = _waiting(approvals.get(given.number), given.number, place)
    if not pins.is_set():
        raise _no_pin(place)
    _show(asked)
    try:
        require_pin(pins)
        yes = _choice()
        reason = _reason(needed=not yes)
    except (KeyboardInterrupt, EOFError):
        say_error("\nStopped. Nothing was decided.")
        return FOUND
    decided = approvals.decide(given.number, approve=yes, reason=reason, who=os_user())
    _confirm(decided)
    return DONE


def _waiting(asked: Approval | None, number: int, place: Place) -> Approval:
    """The approval, if it waits; else why it does not, in a sentence."""
    if asked is None:
        raise Refused(
            "invalid_arguments",
            f"Nothing waits under the number {number} in {place.folder}.",
            "Run `kartra-mcp approve` for what waits; --sandbox and --state-dir name the ledger.",
        )
    if asked.state == "pending":
        return asked
    code = "confirmation_expired" if asked.decided_at is None else "confirmation_used"
    raise Refused(
        code,
        f"Number {number} waits no longer: {_ended(asked)}.",
        "If it is still wanted, let the call be made again: that asks anew.",
    )


def _ended(asked: Approval) -> str:
    if asked.state == "superseded":
        return "the account changed since, and the call asks under a newer number"
    if asked.state == "expired":
        return f"it expired on {local_time(asked.expires_at)}"
    decided = f"{asked.state} by {tidy(asked.who)} on {local_time(asked.decided_at)}"
    why = f" ({tidy(asked.reason)})" if asked.reason else ""
    used = f", and used by {asked.used_by}" if asked.used_by else ""
    return f"{decided}{why}{used}"


def _no_pin(place: Place) -> Refused:
    return Refused(
        "approval_required",
        "No PIN was chosen yet, so nobody can approve.",
        f"Choose one first, in this terminal: kartra-mcp approve --set-pin{place.flags}",
    )


def _show(asked: Approval) -> None:
    """Everything that is agreed to: the summary, every fact, effect and undo, who asked, when."""
    facts = dict(asked.facts)
    effect, undo = facts.pop("effect", ""), facts.pop("undo", "")
    say(f"\n{tidy(asked.summary)}\n", "bold")
    pairs(sorted(facts.items()))
    say("")
    pairs(
        (
            ("effect", effect),
            ("undo", undo),
            ("tool", asked.binding.tool),
            ("asked by", asked.asked_by),
            ("since", local_time(asked.asked_at)),
            ("until", local_time(asked.expires_at)),
        )
    )
    say("")


def _choice() -> bool:
    while True:
        word = ask("approve or decline? ").lower()
        if word in {"approve", "decline"}:
            return word == "approve"
        say("Type the word approve or the word decline; Ctrl-C leaves it undecided.")


def _reason(*, needed: bool) -> str:
    question = "Why? " if needed else "Why? (Enter: no reason) "
    while True:
        reason = shown(ask(question), REASON)
        if reason or not needed:
            return " ".join(reason.split())
        say("A decline needs a reason: it stands in the ledger.")


def _confirm(decided: Approval) -> None:
    if decided.state == "approved":
        until = local_time(decided.expires_at)
        say(f"Approved. The same call goes through once, until {until}.", "bold")
    else:
        say("Declined. Nothing runs by it.", "bold")
