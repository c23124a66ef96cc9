"""Every program of `examples/`, with its environment and the consent that it promises."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clients.environments import Environment
from clients.roster import LIBRARIES

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

_OF = {library.name: library for library in LIBRARIES}


@dataclass(frozen=True)
class Example:
    """One program. It shares the environment of the client of the same name (`make clients`)."""

    name: str
    title: str
    file: str
    consent: Literal["elicitation", "approval"]
    """Consent that the ledger records for a yes."""
    asks: str
    """The place in which the user is asked, for the page."""

    @property
    def path(self) -> Path:
        return EXAMPLES / self.file

    @property
    def environment(self) -> Environment:
        return _OF[self.name].environment

    @property
    def packages(self) -> tuple[str, ...]:
        return _OF[self.name].packages


PROGRAMS = (
    Example(
        "pydantic-ai",
        "Pydantic AI",
        "pydantic_ai_agent.py",
        "elicitation",
        "its `elicitation_handler`",
    ),
    Example(
        "langchain",
        "LangChain",
        "langchain_agent.py",
        "elicitation",
        "its `on_elicitation` callback",
    ),
    Example(
        "openai-agents",
        "OpenAI Agents",
        "openai_agents_agent.py",
        "approval",
        "`kartra-mcp approve`",
    ),
)
SMOKE = ("pydantic-ai",)
"""`make clients SMOKE=1` has installed it already."""
