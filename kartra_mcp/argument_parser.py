"""Command-line arguments: a parser with one-line errors, and the option table as flags.

Every command parses with `CommandParser`, so that `--name=value`, `--name value` and `--no-name`
mean the same in each of them. The doctor and setup read the arguments of a client's entry with the
parser of `serve`.
"""

from __future__ import annotations

import difflib
import re
import sys
from argparse import Action, ArgumentParser, BooleanOptionalAction, Namespace
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

from kartra_mcp.core.display import display_value
from kartra_mcp.core.exit_codes import EXIT_USAGE
from kartra_mcp.core.surroundings import surroundings
from kartra_mcp.options import OPTIONS, SWITCH, is_unset

PROGRAM = "kartra-mcp"
_SWITCHES = {setting.flag: setting for setting in OPTIONS if setting.is_switch}
_DIGITS = {"0", "1"}


class _UsageError(Exception):
    """Wrong usage in the arguments of a client's entry."""


class CommandParser(ArgumentParser):
    """Parser whose errors are one line on stderr: the mistake, the nearest name, how to get help.

    Attributes:
        keep_bad_values: pass on the value of a switch that is neither on nor off. `serve` starts
            with it: the settings replace it by the strictest value, and `kartra_status` reports it.
        is_silent: raise `_UsageError` instead of printing a line and exiting.
    """

    keep_bad_values = False
    is_silent = False

    def __init__(self, **given: Any) -> None:
        given.setdefault("allow_abbrev", False)
        super().__init__(**given)

    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, args: Any = None, namespace: Any = None
    ) -> tuple[Namespace, list[str]]:
        values = Namespace() if namespace is None else namespace
        words = self._resolve_switches(sys.argv[1:] if args is None else args, values)
        found, left = super().parse_known_args(words, values)
        if left:
            self._reject(" ".join(left), nearest(left[0].partition("=")[0], self.flags))
        return found, left

    @property
    def flags(self) -> Iterable[str]:
        return self._option_string_actions

    def error(self, message: str) -> NoReturn:
        given = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if given is None:
            self._reject(message, "")
        self._reject(given[1], nearest(given[1], re.findall(r"[\w-]+", given[2])))

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write a message; unlike argparse's own method, let a closed pipe raise."""
        if self.is_silent:
            raise _UsageError  # `--help` and `--version` start no server
        _find_stream(file).write(message)

    def _reject(self, given: str, near: str) -> NoReturn:
        if self.is_silent:
            raise _UsageError
        surroundings().stderr.write(format_usage_error(self.prog, given, near))
        sys.exit(EXIT_USAGE)

    def _resolve_switches(self, words: Sequence[str], values: Namespace) -> list[str]:
        """Turn `--page off` and `--page=off` into `--no-page`; drop `--page=`, which is unset."""
        has_positionals = any(not action.option_strings for action in self._actions)
        made: list[str] = []
        rest = list(words)
        while rest:
            word = rest.pop(0)
            flag, equals, value = word.partition("=")
            setting = _SWITCHES.get(flag)
            if setting is None or flag not in self._option_string_actions:
                made.append(word)
                continue
            if not equals and rest and self._takes(rest[0], has_positionals):
                equals, value = "=", rest.pop(0)
            if not equals:
                made.append(flag)
            elif not is_unset(value):
                made += self._resolve_switch(flag, setting.negation, value, values)
        return made

    def _takes(self, word: str, has_positionals: bool) -> bool:  # noqa: FBT001
        """Return True if the word after a switch is its value; a digit may be a positional's."""
        if has_positionals:
            return word not in _DIGITS and SWITCH.read(word) is not None
        return SWITCH.read(word) is not None or (self.keep_bad_values and word[:1] != "-")

    def _resolve_switch(
        self, flag: str, negation: str, value: str, values: Namespace
    ) -> Iterator[str]:
        on = SWITCH.read(value)
        if on is not None:
            yield flag if on else negation
        elif self.keep_bad_values:
            setattr(values, self._option_string_actions[flag].dest, value)
        else:
            self._reject(f"{flag}={value} (not {SWITCH.wanted})", "")


class _StoreOnce(Action):
    """Store a value, and refuse a second one.

    The second flag would replace the first: dropping one of two `--deny` would allow more than the
    user intended.
    """

    def __call__(
        self,
        parser: ArgumentParser,
        namespace: Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        _refuse_second(self, parser, namespace, option_string)
        setattr(namespace, self.dest, values)


class _SwitchOnce(BooleanOptionalAction):
    def __call__(
        self,
        parser: ArgumentParser,
        namespace: Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        _refuse_second(self, parser, namespace, option_string)
        super().__call__(parser, namespace, values, option_string)


def _refuse_second(
    action: Action, parser: ArgumentParser, namespace: Namespace, flag: str | None
) -> None:
    if getattr(namespace, action.dest, None) is not None:
        parser.error(f"{flag} (given twice)")


def _find_stream(file: Any) -> Any:
    """Return the running command's stream instead of the stream of this process."""
    around = surroundings()
    return around.stdout if file is sys.stdout else around.stderr


def format_usage_error(prog: str, given: str, near: str) -> str:
    """Return one line: the mistake, that nothing ran, the nearest name, how to get help."""
    hint = f"; did you mean {near}?" if near else "."
    wrong = display_value(given)
    return f"{prog}: not understood: {wrong}{hint} Nothing was done. Help: `{prog} --help`\n"


def nearest(word: str, names: Iterable[str]) -> str:
    return next(iter(difflib.get_close_matches(word, list(names), n=1)), "")


def add_settings(parser: ArgumentParser, only: Sequence[str] = ()) -> None:
    """Add each setting as a flag, and each switch also as its `--no-` form.

    Args:
        parser: the command's parser.
        only: the names of the settings that the command takes; all by default.
    """
    for setting in OPTIONS:
        if only and setting.name not in only:
            continue
        how: dict[str, Any] = {"metavar": "VALUE", "action": _StoreOnce}
        if setting.is_switch:
            how = {"action": _SwitchOnce}
        parser.add_argument(setting.flag, dest=setting.name, help=setting.help, **how)


def settings_in(given: Namespace) -> dict[str, str]:
    """Return the settings that were given as flags, by name, as their text."""
    found = {setting.name: getattr(given, setting.name, None) for setting in OPTIONS}
    words: dict[Any, str] = {True: "on", False: "off"}
    return {
        name: words.get(value, str(value)) for name, value in found.items() if value is not None
    }


def make_serve_parser() -> CommandParser:
    """Return the parser of `serve`: all settings, and `--version`."""
    from kartra_mcp import __version__

    parser = CommandParser(
        prog=f"{PROGRAM} serve",
        description="Serve MCP on stdin and stdout. An MCP client starts this. "
        "A value that cannot be used becomes the strictest one, and kartra_status reports it.",
        epilog=f"`{PROGRAM} serve --http` serves a team over HTTP; `{PROGRAM} serve --http --help` "
        "lists its settings.",
    )
    parser.keep_bad_values = True
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    add_settings(parser)
    return parser


def parse_entry(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Parse the arguments that a client's entry gives to `serve`, flag by flag.

    Returns:
        The valid settings by name, even if another flag is wrong, and the words not understood.
    """
    parser = make_serve_parser()
    parser.is_silent = True
    flags: dict[str, str] = {}
    left: list[str] = []
    for group in _split_flags(words):
        try:
            found = settings_in(parser.parse_args(group))
        except _UsageError:
            left.append(group[0])
            continue
        if found.keys() & flags.keys():  # `serve` refuses a flag that is given twice
            left.append(group[0])
        flags = found | flags
    return flags, left


def _split_flags(words: Sequence[str]) -> list[list[str]]:
    """Split words before each flag."""
    groups: list[list[str]] = []
    for word in words:
        if word.startswith("--") or not groups:
            groups.append([word])
        else:
            groups[-1].append(word)
    return groups
