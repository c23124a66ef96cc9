"""Texts of `--help`, and the check that a line of the sandbox's own commands matches them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from kartra_mcp.sandbox.membrane.errors import UsageError
from kartra_mcp.sandbox.program import verbs
from kartra_mcp.sandbox.program.argv import Arguments

OWN: Mapping[str, tuple[str, str]] = {
    "serve": (
        "[--host=127.0.0.1] [--port=N]",
        "the account as Membrane's REST API, on this machine alone, until Ctrl-C",
    ),
    "reset": ("", "make the account new"),
    "digest": ("", "a hash of all that Kartra keeps"),
    "journal": ("", "every invocation so far, but none of this verb's own"),
    "fault set": (
        "CMD TYPE [--times=N] [--effect] [--after=SECONDS] [--message=TEXT]",
        """\
CMD: a command of Kartra's, * for every one, or over HTTP an address: 'POST /act'.
TYPE: a type of Kartra's or Membrane's errors, or hang, killed, silent, garbage, cut, slow;
over HTTP also delayed (received later) and queued (accepted, executed later).
--after: over HTTP the effect follows the lost response by so many seconds""",
    ),
    "requests": ("", "every request over HTTP: its token, decision, effects and times"),
    "tokens": (
        "[--leeway=SECONDS|any] [--tenant=KEY]",
        "how long a signed token is accepted after its end, and for which tenant",
    ),
    "clock": ("[--ahead=SECONDS]", "the clock of the API; negative: behind this machine's"),
    "fault list": ("", "what is arranged and not used up"),
    "fault clear": ("", "nothing goes wrong any more"),
    "connection set-state": ("ID STATE [--disconnected]", "bring a connection into a state"),
    "connection add": (
        "[--id=ID] [--key=KEY] [--name=NAME] [--state=READY] [--integrationKey=kartra]",
        "one more connection",
    ),
    "login code": ("", "the code that the page of `login start` would show"),
    "login refuse": ("[off]", "refuse every login from now on"),
    "address": (
        "opened|ignored|refused",
        "what becomes of the address of a connection that is waited for (at first: opened)",
    ),
    "actions use": (
        "FILE|published",
        "serve another list: a JSON list of actions, or an object that has it as `items`",
    ),
    "actions paging": (
        "normal|ten|repeat|refuse",
        "list as older programs do: flags ignored or refused",
    ),
}
"""Verbs that Membrane's program does not have: arguments and purpose of each."""

_ALWAYS = {"account", "json"}
_LINE = "python -m kartra_mcp.sandbox [--account=FILE]"


def told(words: list[str]) -> str:
    """Return the usage of the named verb, of all that begin with its first word, or of all."""
    named = [verb for verb in (" ".join(words[:2]), *words[:1]) if verb in OWN]
    group = [verb for verb in OWN if words and verb.split()[0] == words[0]]
    chosen = named[:1] or group
    if not chosen:
        return f"usage: {_LINE} VERB … [--json]\n\n{_of_membrane()}\n{_rows(list(OWN))}"
    return f"usage: {_LINE} {words[0]} …\n\n{_rows(chosen)}"


def check(line: Arguments, verb: str) -> None:
    """Raise unless the line has only the flags and words of its usage."""
    follows = OWN[verb][0]
    flags = {*re.findall(r"--(\w+)", follows), *_ALWAYS}
    unknown = [name for name in line.flags if name not in flags]
    if unknown:
        raise UsageError(f"{verb} has no flag --{unknown[0]}")
    most = len(verb.split()) + sum(not word.startswith("[--") for word in follows.split())
    if len(line.words) > most:
        raise UsageError(f"{line.words[most]!r} is one word too many for {verb}")


def _of_membrane() -> str:
    import textwrap

    names = ", ".join(sorted({**verbs.OPEN, **verbs.VERBS}))
    lines = textwrap.fill(names, 88, initial_indent="  ", subsequent_indent="  ")
    return f"The verbs of Membrane's program, as it has them:\n{lines}\n\nThe sandbox's own:"


def _rows(chosen: list[str]) -> str:
    rows = [f"  {f'{verb} {OWN[verb][0]}'.strip()}\n{_indented(OWN[verb][1])}" for verb in chosen]
    return "\n".join(rows)


def _indented(text: str) -> str:
    return "\n".join(f"      {line}" for line in text.split("\n"))
