"""The files of the repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
MADE = frozenset(
    {".venv", ".git", ".pytest_cache", ".ruff_cache", ".hypothesis", "__pycache__", "build", "dist"}
)


def tracked() -> list[Path]:
    """Return the files of the repository; for a plain copy, all but what tools make."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    names = listed.stdout.decode().split("\0") if listed.returncode == 0 else []
    walked = (path for path in ROOT.rglob("*") if MADE.isdisjoint(path.relative_to(ROOT).parts))
    found = [ROOT / name for name in names if name] or list(walked)
    return [path for path in found if path.is_file()]
