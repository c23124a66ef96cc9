"""Check that this Python can run the server. Imports only the standard library."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
import shlex
import sys

from kartra_mcp.onboarding.doctor.findings import CheckResult, failed, passed

OLDEST = (3, 11)
USED = (
    "kartra_mcp.app.composition",
    "kartra_mcp.calls.writes",
    "kartra_mcp.ledger.ledger",
    "kartra_mcp.client_config.install",
    "kartra_mcp.core.terminal",
    "jsonschema",
    "platformdirs",
    "ruamel.yaml",
)
"""Modules whose imports cover all that the server and its commands need.

The last three are imported only on use."""


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> CheckResult:
    """Check the version, and that every package the server imports is installed and fits."""
    shown = ".".join(map(str, version))
    if version[:2] < OLDEST:
        return failed(
            "python",
            f"This is Python {shown}; the server needs 3.11 or newer.",
            "Install a newer one, then run `pipx install --python python3.11 kartra-mcp`.",
        )
    for module in USED:
        try:
            importlib.import_module(module)
        except ImportError as problem:
            return _missing_module(problem)
    return passed(
        "python", f"Python {shown} at {sys.executable}; all required packages are installed."
    )


def _missing_module(problem: ImportError) -> CheckResult:
    name = (problem.name or "").partition(".")[0]
    wanted = _find_requirement(name)
    return failed(
        "python",
        f"The package {name or '(unknown)'} cannot be imported by {sys.executable}.",
        f"Run `{_find_installer()} {shlex.quote(wanted)}`, or reinstall kartra-mcp.",
        str(problem)[:300],
    )


def _find_requirement(name: str) -> str:
    """Return our requirement that installs a module; else kartra-mcp itself."""
    try:
        wanted = importlib.metadata.requires("kartra-mcp") or []
    except importlib.metadata.PackageNotFoundError:
        wanted = []
    plain = name.replace("_", "-").lower()
    for requirement in wanted:
        package = re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower()
        if plain and plain in (package, package.partition(".")[0]):
            return requirement
    return "kartra-mcp"


def _find_installer() -> str:
    """Return the install command. An environment that uv created has no pip."""
    here = shlex.quote(sys.executable)
    if importlib.util.find_spec("pip") is None:
        return f"uv pip install --reinstall --python {here}"
    return f"{here} -m pip install --force-reinstall"
