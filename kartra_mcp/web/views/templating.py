"""Template rendering: everything is escaped, and an undefined name is an error."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kartra_mcp import __version__
from kartra_mcp.core.display import add_ledger_flags, display_value
from kartra_mcp.web.views.formatting import humanize, split_timestamps

TEMPLATES = Path(__file__).parents[1] / "templates"


def render(template: str, **context: Any) -> str:
    return _make_environment().get_template(template).render(version=__version__, **context)


@cache
def _make_environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    filters: dict[str, Callable[..., Any]] = {
        "tidy": display_value,
        "select_ledger": add_ledger_flags,
        "label": humanize,
        "parts": split_timestamps,
    }
    environment.filters.update(filters)
    return environment
