"""Questions of setup: a flag answers first, then `--yes`, then the user at the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.terminal import print_error, print_line, prompt, prompt_secret, spinner

RERUN_HINT = "Run `kartra-mcp setup` again to continue"


@dataclass(frozen=True, slots=True)
class Prompter:
    """The source of answers.

    Attributes:
        real: a terminal is available for questions.
        yes: skip every question that has a default.
        to_stderr: stdout is reserved for JSON; text goes to stderr.
    """

    real: bool
    yes: bool = False
    to_stderr: bool = False

    def print(self, text: str, style: str = "") -> None:
        if self.to_stderr:
            print_error(text)
        else:
            print_line(text, style)

    def show_progress(self, text: str) -> AbstractContextManager[Callable[[str], None]]:
        """Show a spinner while a slow step runs."""
        return spinner(text, errors=self.to_stderr)

    def confirm(self, question: str, *, flag: str = "--yes", default: bool = True) -> bool:
        """Ask a yes-or-no question."""
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
        """Ask for one option, by number or word; each option is (word, meaning)."""
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
            answer = prompt(f"Number or word{_format_default(default)}: ") or default
            found = numbered.get(answer) or next(
                (w for w in words if w.lower() == answer.lower()), ""
            )
            if found:
                return found
            print_line(f"Type a number from 1 to {len(words)}, or the word next to it.")

    def ask_text(
        self, question: str, fault: Callable[[str], str], *, flag: str, default: str | None = None
    ) -> str:
        """Ask for a line; `fault` returns the reason why it cannot be used, or ""."""
        if self.yes and default is not None:
            return default
        self._require(question, flag)
        while True:
            answer = prompt(f"{question}{_format_default(default)}: ") or default or ""
            why = fault(answer)
            if not why:
                return answer
            print_line(why)

    def ask_secret(self, question: str, *, flag: str) -> str:
        """Ask for a line without echo."""
        self._require(question, flag)
        return prompt_secret(f"{question}: ").strip()

    def _require(self, question: str, flag: str) -> None:
        if not self.real:
            raise RefusedError(
                "not_allowed",
                f"A question needs an answer, but this is not a terminal: “{question.strip()}”",
                f"Run it in a terminal, or pass {flag}.",
            )


def _format_default(default: str | None) -> str:
    return f" [{default}]" if default else ""
