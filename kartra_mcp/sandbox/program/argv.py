"""Command line as minimist parses it: positionals, `--flag=value`, `--flag value`, `-x value`."""

from __future__ import annotations

from kartra_mcp.sandbox.membrane.errors import UsageError
from kartra_mcp.sandbox.program.surroundings import Surroundings, of_this_process

BOOLEANS = {
    "json",
    "rawData",
    "wait",
    "details",
    "non-interactive",
    "tenant",
    "allowMultipleConnections",
    "effect",
    "disconnected",
    "version",
    "help",
}
SHORT = {"X": "method", "H": "header", "d": "data", "v": "version", "h": "help"}


class Arguments:
    """Words of a command line, by kind, and the environment and streams it was given in."""

    def __init__(self, argv: list[str], around: Surroundings | None = None) -> None:
        self.around = around or of_this_process()
        self.words: list[str] = []
        self.flags: dict[str, list[str]] = {}
        self._read(argv)

    def _read(self, argv: list[str]) -> None:
        rest = list(argv)
        while rest:
            word = rest.pop(0)
            if word == "--":
                self.words += rest
                return
            if word.startswith("-") and len(word) > 1:
                self._flag(word, rest)
            else:
                self.words.append(word)

    def _flag(self, word: str, rest: list[str]) -> None:
        name, equals, value = word.lstrip("-").partition("=")
        name = SHORT.get(name, name) if not word.startswith("--") else name
        if not equals and name in BOOLEANS:
            value = rest.pop(0) if rest[:1] in (["true"], ["false"]) else "true"
        elif not equals and rest and not rest[0].startswith("-"):
            value = rest.pop(0)
        self.flags.setdefault(name, []).append(value)

    def has(self, name: str) -> bool:
        """Return whether a boolean flag is on."""
        return self.flags.get(name, ["false"])[-1] != "false"

    def get(self, name: str, default: str = "") -> str:
        return self.flags.get(name, [default])[-1]

    def all(self, name: str) -> list[str]:
        return self.flags.get(name, [])

    def word(self, at: int, meaning: str) -> str:
        if at >= len(self.words) or not self.words[at]:
            raise UsageError(f"missing <{meaning}>")
        return self.words[at]

    def number(self, name: str, default: int) -> int:
        value = self.get(name, str(default))
        if not (value.isascii() and value.isdigit()):
            raise UsageError(f"--{name} takes a number")
        return int(value)
