"""Build wheel and sdist, and install the wheel as users do: `make dist`.

Checks their contents, builds both again from the unpacked sdist, and installs the wheel with uv,
pipx and pip into temporary homes. There the installed program must print its version and run its
demo.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import ZipFile

from kartra_mcp import __version__

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
WHEEL = DIST / f"kartra_mcp-{__version__}-py3-none-any.whl"
SDIST = DIST / f"kartra_mcp-{__version__}.tar.gz"
IN_SDIST = (
    *("PKG-INFO", "pyproject.toml", "Makefile", "manifest.json", "server.json"),
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"),
    *("tests/conftest.py", "tools/dist.py", "docs/errors.md"),
    "examples/langchain_agent.py",
)
"""Files of the sdist that are needed to build it and to run its tests."""
SYSTEM = "/usr/local/bin:/usr/bin:/bin"
EPOCH = "1580601600"
"""Time stamp in wheel and sdist, as SOURCE_DATE_EPOCH: the build tool's own default, so that
whoever builds without the variable gets the same bytes."""


class Off(Exception):
    """A check failed."""


def main(tools: str) -> int:
    """Run every step; `tools` is the folder of the programs uv, uvx and pipx."""
    try:
        programs = Path(tools).absolute()
        build(programs / "uv")
        look_inside()
        rebuild(programs / "uv")
        with tempfile.TemporaryDirectory(prefix="kartra-mcp-dist-") as folder:
            install(programs, Path(folder))
    except (Off, OSError, subprocess.TimeoutExpired) as problem:
        print(f"dist: {problem}", file=sys.stderr)
        return 1
    print("dist: all checks passed.")
    return 0


def build(uv: Path) -> None:
    """Build both, each straight from this folder."""
    for made in (WHEEL, SDIST):
        made.unlink(missing_ok=True)
    ran([uv, "build", "--quiet", "--wheel", "--sdist", "--out-dir", DIST, ROOT])


def look_inside() -> None:
    """Check that the wheel holds only the program and its data, and the sdist also the docs."""
    packaged = {path.relative_to(ROOT).as_posix() for path in program_files()}
    wheel = set(ZipFile(WHEEL).namelist())
    beside = {name for name in wheel if not name.startswith("kartra_mcp/")}
    if wheel - beside != packaged:
        raise Off(f"the wheel and kartra_mcp/ differ: {sorted((wheel - beside) ^ packaged)}")
    if any(not name.startswith(f"kartra_mcp-{__version__}.dist-info/") for name in beside):
        raise Off(f"the wheel would install files outside the package: {sorted(beside)}")
    with tarfile.open(SDIST) as opened:
        source = {name.partition("/")[2] for name in opened.getnames()}
    missing = (packaged | set(IN_SDIST)) - source
    if missing:
        raise Off(f"the sdist lacks {sorted(missing)}")
    print(f"dist: {WHEEL.name}: {len(wheel)} files; {SDIST.name}: {len(source)} files")


def program_files() -> list[Path]:
    """Return every file of the program, its data included."""
    found = (path for path in (ROOT / "kartra_mcp").rglob("*") if path.is_file())
    return [path for path in found if path.parent.name != "__pycache__"]


def rebuild(uv: Path) -> None:
    """Check that the unpacked sdist, elsewhere and with other times, builds both once more."""
    with tempfile.TemporaryDirectory(prefix="kartra-mcp-sdist-") as folder:
        with tarfile.open(SDIST) as opened:
            opened.extractall(folder, filter="data")
        source = Path(folder) / SDIST.name.removesuffix(".tar.gz")
        for path in source.rglob("*"):
            os.utime(path)
        again = Path(folder) / "dist"
        ran([uv, "build", "--quiet", "--wheel", "--sdist", "--out-dir", again, source])
        for made in (WHEEL, SDIST):
            if (again / made.name).read_bytes() != made.read_bytes():
                raise Off(f"the unpacked sdist builds another {made.name} than this folder")
    print("dist: the unpacked sdist builds the same wheel and the same sdist, byte for byte")


def install(programs: Path, folder: Path) -> None:
    """Install with each of the three installers, and run without installing."""
    python, local = ("--quiet", "--python", sys.executable), Path(".local", "bin")
    own = folder / "pip" / "environment"
    pip = own / "bin" / "python"
    ways: Mapping[str, tuple[Path, Sequence[Sequence[str | Path]]]] = {
        "uv": (local, [(programs / "uv", "tool", "install", *python, WHEEL)]),
        "pipx": (local, [(programs / "pipx", "install", *python, WHEEL)]),
        "pip": (
            Path(own.name, "bin"),
            [
                (sys.executable, "-m", "venv", own),
                (pip, "-m", "pip", "install", "-qq", "--no-compile", WHEEL),
            ],
        ),
    }

    def install_by(name: str) -> str:
        bin_folder, lines = ways[name]
        env = thrown_away(folder / name)
        started = time.monotonic()
        for line in lines:
            ran(line, env=env, cwd=folder)
        seconds = time.monotonic() - started
        use([folder / name / bin_folder / "kartra-mcp"], env)
        return f"dist: installed by {name} in {seconds:.1f} s: its version, its demo"

    with ThreadPoolExecutor() as pool:  # most of it is waiting
        for told in pool.map(install_by, ways):
            print(told)
    at_once = [programs / "uvx", "--quiet", "--python", sys.executable, "--from", WHEEL]
    version([*at_once, "kartra-mcp"], thrown_away(folder / "uvx"))
    print("dist: run by uvx without installing: its version")


def use(program: Sequence[str | Path], env: Mapping[str, str]) -> None:
    """Check the version, and run the whole demo."""
    version(program, env)
    ran([*program, "demo"], env=env, cwd=Path("/"))


def version(program: Sequence[str | Path], env: Mapping[str, str]) -> None:
    said = ran([*program, "--version"], env=env, cwd=Path("/")).strip()
    if said != f"kartra-mcp {__version__}":
        raise Off(f"the installed program reports the version {said!r}")


def thrown_away(home: Path) -> dict[str, str]:
    """Return an environment with a temporary home, the system's PATH and the index's settings.

    Only what the installers downloaded before is shared, as each would fetch it again.
    """
    home.mkdir()
    kept = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "UV_", "SSL_", "LANG"))}
    cache = Path.home() / ".cache"
    shared = {"PIP_CACHE_DIR": str(cache / "pip"), "UV_CACHE_DIR": str(cache / "uv")}
    return {**shared, **kept, "HOME": str(home), "PATH": SYSTEM}


def ran(
    line: Sequence[str | Path],
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
) -> str:
    """Return a program's output; raise `Off` with all of it if it failed."""
    ended = subprocess.run(
        line,
        env={**(os.environ if env is None else env), "SOURCE_DATE_EPOCH": EPOCH},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if ended.returncode:
        raise Off(f"{Path(line[0]).name} failed:\n{ended.stdout}{ended.stderr}")
    return ended.stdout


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
