"""Arguments of every command: from the option table through argparse, and wrong usage in one line.

Exit statuses: `EXIT_OK`; `EXIT_FAILED`, refused, something found, or the reader of the output is
gone; `EXIT_USAGE`, wrong usage.
"""

from __future__ import annotations

import difflib
import re
import sys
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from kartra_mcp.core.display import display_value
from kartra_mcp.core.surroundings import surroundings
from kartra_mcp.options import OPTIONS, SWITCH

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2
_SWITCHES = {setting.flag: setting for setting in OPTIONS if setting.is_switch}
_DIGITS = {"0", "1"}


class Parser(ArgumentParser):
    """A parser whose errors are one line on stderr, with the nearest name and the way to help."""

    def __init__(self, **given: Any) -> None:
        given.setdefault("allow_abbrev", False)
        super().__init__(**given)

    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, args: Any = None, namespace: Any = None
    ) -> tuple[Namespace, list[str]]:
        words = self._switched(sys.argv[1:] if args is None else args)
        found, left = super().parse_known_args(words, namespace)
        if left:
            known = self._option_string_actions
            self._wrong(" ".join(left), nearest(left[0].partition("=")[0], known))
        return found, left

    def error(self, message: str) -> NoReturn:
        given = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if given is None:
            self._wrong(message, "")
        self._wrong(given[1], nearest(given[1], re.findall(r"[\w-]+", given[2])))

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write it; unlike argparse's own, let a closed pipe be seen."""
        _stream(file).write(message)

    def _wrong(self, what: str, near: str) -> NoReturn:
        surroundings().stderr.write(not_understood(self.prog, what, near))
        sys.exit(EXIT_USAGE)

    def _switched(self, words: Sequence[str]) -> list[str]:
        """Turn `--page off` and `--page=off` into `--no-page`; a number may be a position's."""
        positions = any(not action.option_strings for action in self._actions)
        made: list[str] = []
        rest = list(words)
        while rest:
            word = rest.pop(0)
            flag, equals, value = word.partition("=")
            setting = _SWITCHES.get(flag)
            if setting is None or flag not in self._option_string_actions:
                made.append(word)
                continue
            if not equals and rest and not (positions and rest[0] in _DIGITS):
                value = rest[0]
            on = SWITCH.read(value)
            if on is not None and not equals:
                rest.pop(0)
            said = {True: flag, False: setting.negation}
            made.append(said.get(on, word) if on is not None else word)
        return made


def _stream(file: Any) -> Any:
    """The command's own stream for what argparse would write to this process's."""
    around = surroundings()
    return around.stdout if file is sys.stdout else around.stderr


def not_understood(prog: str, what: str, near: str) -> str:
    """One line: what was wrong, that nothing ran, the nearest name, and the way to help."""
    hint = f"; did you mean {near}?" if near else "."
    said = display_value(what)
    return f"{prog}: not understood: {said}{hint} Nothing was done. Help: `{prog} --help`\n"


def nearest(word: str, names: Iterable[str]) -> str:
    return next(iter(difflib.get_close_matches(word, list(names), n=1)), "")


def add_settings(parser: ArgumentParser) -> None:
    """Add every setting as a flag of its name, and every switch as `--no-NAME` too."""
    for setting in OPTIONS:
        how: dict[str, Any] = {"metavar": "VALUE"}
        if setting.is_switch:
            how = {"action": BooleanOptionalAction}
        parser.add_argument(setting.flag, dest=setting.name, help=setting.help, **how)


def flags_in(given: Namespace) -> dict[str, str]:
    """Return the settings that were given as flags, by name, as their text."""
    found: dict[str, Any] = {setting.name: getattr(given, setting.name) for setting in OPTIONS}
    words: dict[Any, str] = {True: "on", False: "off"}
    return {name: words.get(said, str(said)) for name, said in found.items() if said is not None}
