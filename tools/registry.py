"""Write server.json for the MCP registry: `python tools/registry.py`, or `make fix`.

Version, description and variables come from their sources in the code. `tests/test_registry.py`
compares them, and `make registry` checks the file against the registry's schema.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kartra_mcp import __version__
from kartra_mcp.core.models import Gate
from kartra_mcp.settings import OPTIONS, Option

ROOT = Path(__file__).parents[1]
FILE = ROOT / "server.json"
SCHEMA = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"
NAME = "io.github.kartra-mcp/kartra-mcp"
"""Must belong to the publisher and be in the README: docs/publishing.md."""

FORMATS: Mapping[str, str] = {
    "switch": "boolean",
    **dict.fromkeys(("seconds", "rate", "count", "number", "chars"), "number"),
}
"""The schema's type for a setting's kind; all others are strings."""
PATHS = frozenset({"STATE_DIR", "POLICY"})
CHOICES: Mapping[str, list[str]] = {
    "gate": [str(gate) for gate in Gate],
    "approval": ["client", "outside"],
    "transport": ["cli", "api", "auto"],
}


def main() -> int:
    FILE.write_text(written(), encoding="utf-8", newline="\n")
    return 0


def written() -> str:
    """Return the whole file."""
    manifest = json.loads((ROOT / "manifest.json").read_text(encoding="utf-8"))
    server = {
        "$schema": SCHEMA,
        "name": NAME,
        "title": manifest["display_name"],
        "description": manifest["description"],
        "version": __version__,
        "packages": [
            {
                "registryType": "pypi",
                "identifier": "kartra-mcp",
                "version": __version__,
                "runtimeHint": "uvx",
                "transport": {"type": "stdio"},
                "environmentVariables": [variable(setting) for setting in OPTIONS],
            }
        ],
    }
    return json.dumps(server, indent=2, ensure_ascii=False) + "\n"


def variable(setting: Option) -> dict[str, Any]:
    """Describe one setting as the registry does; none is required, none is secret."""
    format_ = "filepath" if setting.name in PATHS else FORMATS.get(setting.kind, "string")
    made = {
        "name": setting.variable,
        "description": setting.help.replace("`", ""),
        "format": format_,
        "isRequired": False,
        "isSecret": False,
        "default": default(setting.default),
        "choices": CHOICES.get(setting.kind),
    }
    return {key: value for key, value in made.items() if value is not None}


def default(value: Any) -> str | None:
    """Return the default as the variable's value; None if it is unset."""
    match value:
        case None | ():
            return None
        case bool(on):
            return "true" if on else "false"
        case float(number):
            return f"{number:g}"
        case other:
            return str(other)


if __name__ == "__main__":
    sys.exit(main())
