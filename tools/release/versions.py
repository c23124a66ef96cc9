"""The version in every file that states it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kartra_mcp import __version__

ROOT = Path(__file__).parents[2]
CHART = "deploy/chart/kartra-mcp/Chart.yaml"
MANIFESTS = "deploy/manifests/kartra-mcp.yaml"


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def loaded(name: str) -> dict[str, Any]:
    return json.loads(read(name))


def _found(pattern: str, name: str) -> set[str]:
    return set(re.findall(pattern, read(name), re.MULTILINE))


PLACES: Mapping[str, Callable[[], set[str]]] = {
    "manifest.json": lambda: {loaded("manifest.json")["version"]},
    "server.json": lambda: {loaded("server.json")["version"]},
    "server.json's package": lambda: {loaded("server.json")["packages"][0]["version"]},
    "the newest heading of CHANGELOG.md": lambda: set(
        re.findall(r"^## \[([^\]]+)\]", read("CHANGELOG.md"), re.MULTILINE)[:1]
    ),
    "the chart": lambda: _found(r'^(?:version|appVersion): "?([^"\n]+)"?$', CHART),
    "the manifests": lambda: _found(
        r'(?:kubernetes\.io/version: "|image: kartra-mcp:)([^"\n]+)', MANIFESTS
    ),
}
"""Each place, and the versions that it states."""


def find_faults() -> Iterator[str]:
    """Yield each place whose version is not the program's."""
    for place, versions in PLACES.items():
        if versions() != {__version__}:
            yield f"{place} has the version {sorted(versions())}, the program has {__version__}"
