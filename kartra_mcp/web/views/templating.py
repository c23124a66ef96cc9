"""Templates to HTML: everything is escaped, and a name that is missing is a fault, not a blank."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kartra_mcp import __version__
from kartra_mcp.core.display import display_value
from kartra_mcp.web.views.formatting import format_duration, humanize, split_timestamps

TEMPLATES = Path(__file__).parents[1] / "templates"


def render(template: str, **told: Any) -> str:
    return _make_environment().get_template(template).render(version=__version__, **told)


@cache
def _make_environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    shown: dict[str, Callable[..., Any]] = {
        "tidy": display_value,
        "label": humanize,
        "lasting": format_duration,
        "parts": split_timestamps,
    }
    made.filters.update(shown)
    return made
