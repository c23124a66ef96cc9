"""Questions of setup: a flag answers first, then `--yes`, then the person at the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.terminal import print_error, print_line, prompt, prompt_secret, spinner

RERUN_HINT = "Run `kartra-mcp setup` again to go on"


@dataclass(frozen=True, slots=True)
class Prompter:
    """Who answers.

    Attributes:
        real: there is a terminal to ask on.
        yes: every question that has an answer already is not asked.
        aside: stdout is for a program; what people read goes to stderr.
    """

    real: bool
    yes: bool = False
    aside: bool = False

    def print(self, text: str, style: str = "") -> None:
        if self.aside:
            print_error(text)
        else:
            print_line(text, style)

    def show_progress(self, text: str) -> AbstractContextManager[Callable[[str], None]]:
        """Show that something takes its time."""
        return spinner(text, errors=self.aside)

    def confirm(self, question: str, *, flag: str = "--yes", default: bool = True) -> bool:
        """Whether the person says yes."""
        if self.yes:
            return default
        self._require(question, flag)
        while True:
            word = prompt(f"{question} [{'Y/n' if default else 'y/N'}] ").lower()
            if not word or word in {"y", "yes", "n", "no"}:
                return default if not word else word[0] == "y"
            print_line("Type y for yes or n for no.")

    def select(
        self, question: str, options: Sequence[tuple[str, str]], *, flag: str, default: str = ""
    ) -> str:
        """One of the options, by its number or its word; each option is (word, meaning)."""
        if self.yes and default:
            return default
        self._require(question, flag)
        self.print(f"\n{question}")
        wide = max(len(word) for word, _ in options)
        for number, (word, meaning) in enumerate(options, 1):
            self.print(f"  {number}  {word:<{wide}}  {meaning}")
        words = [word for word, _ in options]
        numbered = {str(number): word for number, word in enumerate(words, 1)}
        while True:
            said = prompt(f"Number or word{_format_default(default)}: ") or default
            found = numbered.get(said) or next((w for w in words if w.lower() == said.lower()), "")
            if found:
                return found
            print_line(f"Type a number from 1 to {len(words)}, or the word beside it.")

    def ask_text(
        self, question: str, fault: Callable[[str], str], *, flag: str, default: str | None = None
    ) -> str:
        """A typed line; `fault` says why one cannot be used, "" where it can."""
        if self.yes and default is not None:
            return default
        self._require(question, flag)
        while True:
            said = prompt(f"{question}{_format_default(default)}: ") or default or ""
            why = fault(said)
            if not why:
                return said
            print_line(why)

    def ask_secret(self, question: str, *, flag: str) -> str:
        """A typed line that is not shown; what is typed wrong may be asked again."""
        self._require(question, flag)
        return prompt_secret(f"{question}: ").strip()

    def _require(self, question: str, flag: str) -> None:
        if not self.real:
            raise RefusedError(
                "not_allowed",
                f"Nobody can be asked here: “{question.strip()}”",
                f"Run it in a terminal, or say {flag}.",
            )


def _format_default(default: str | None) -> str:
    return f" [{default}]" if default else ""
