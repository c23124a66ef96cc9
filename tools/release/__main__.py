"""Check what `make dist` and `make bundle` built: versions, dependencies, floors, checksums."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from zipfile import ZipFile

from bundle import BUNDLE
from bundle import WHEEL as BUNDLED

from dist import DIST, ROOT, SDIST, WHEEL, Off
from release import floors, licences, versions
from release.dependencies import SBOM, Tools, closure, write_sbom
from release.file_names import find_length_faults, find_name_faults

SUMS = DIST / "SHA256SUMS"
PARTS = (WHEEL, SDIST, BUNDLE, SBOM)


def main(programs: str, *flags: str) -> int:
    """Run every step; `programs` is the folder of uv and cyclonedx-py.

    With `--write` docs/licences.md is rewritten. With `--strict` it must not differ, otherwise
    a difference is only named: a new version of a dependency must not stop unrelated work.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="kartra-mcp-release-") as folder:
            tools = Tools(Path(programs).absolute(), Path(folder))
            step("versions", check_versions)
            step("archives", check_archives)
            step("dependencies", lambda: check_dependencies(tools, flags))
            step("floors", lambda: check_floors(tools))
            step("checksums", write_checksums)
    except (Off, OSError, subprocess.TimeoutExpired) as problem:
        print(f"release: {problem}", file=sys.stderr)
        return 1
    print("release: all checks passed. Not checked here: docs/publishing.md lists it.")
    return 0


def step(name: str, check: Callable[[], str]) -> None:
    started = time.monotonic()
    result = check()
    print(f"release: {name}: {result} ({time.monotonic() - started:.1f} s)", flush=True)


def refuse(faults: Iterable[str]) -> None:
    if found := list(faults):
        raise Off("\n".join(found))


def check_versions() -> str:
    refuse(versions.find_faults())
    return f"{len(versions.PLACES)} places agree with the program"


def check_archives() -> str:
    """Check the names in every archive, and that the bundle installs the released wheel."""
    with ZipFile(BUNDLE) as bundle:
        names = bundle.namelist()
        bundled = bundle.read(BUNDLED)
    if bundled != WHEEL.read_bytes():
        raise Off("the bundle contains another wheel than dist/: run `make dist bundle` again")
    wheel = ZipFile(WHEEL).namelist()
    with tarfile.open(SDIST) as opened:
        source = opened.getnames()
    # What the bundle unpacks to: its own files, and after the first start the wheel's.
    unpacked = [*names, *(f".venv/Lib/site-packages/{name}" for name in wheel)]
    refuse(find_name_faults([*unpacked, *source]))
    refuse(find_length_faults(unpacked))
    longest = max(map(len, unpacked))
    return f"pure Python, one wheel in both, longest path {longest} characters"


def check_dependencies(tools: Tools, flags: Iterable[str]) -> str:
    """Check licences, compare docs/licences.md, write the bill of materials."""
    installed = tools.environment("newest", f"kartra-mcp[team] @ {WHEEL.as_uri()}")
    found = closure(tools, installed)
    refuse(licences.find_faults(found))
    page = licences.written(found)
    if "--write" in flags:
        licences.PAGE.write_text(page, "utf-8", newline="\n")
    elif page != licences.PAGE.read_text("utf-8"):
        notice = "docs/licences.md differs: run `make release-check WRITE=1` and look at the change"
        if "--strict" in flags:
            raise Off(notice)
        print(f"release: NOTE: {notice}")
    components = write_sbom(tools, installed, {one.name: one.licence for one in found})
    return f"{len(found)} packages with allowed licences; {SBOM.name}: {components} components"


def check_floors(tools: Tools) -> str:
    pins = floors.resolve(tools)
    return f"no known fault in the lowest versions; {floors.check(tools, pins)}"


def write_checksums() -> str:
    """Write the checksums as `sha256sum --check` reads them."""
    lines = [f"{hashlib.sha256(one.read_bytes()).hexdigest()}  {one.name}\n" for one in PARTS]
    SUMS.write_text("".join(lines), "ascii", newline="\n")
    return f"{SUMS.relative_to(ROOT)} has {len(lines)} files"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
