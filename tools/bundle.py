"""Build Claude Desktop's bundle, and start it as that host does: `make bundle`.

The bundle holds our wheel, a project that requires only it, and a lock with the exact version and
hash of every dependency (reasons: docs/decisions/0013). It is built twice from scratch, and both
must have the same bytes. Then the packer's own program unpacks it, its own resolver fills in the
form, and an MCP client uses it in its own folder, home and environment.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import anyio
from mcp import StdioServerParameters

import bundle_use
from bundle_use import Off, Use
from dist import EPOCH
from kartra_mcp import __version__

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build"
BUNDLE = ROOT / "dist" / f"kartra-{__version__}.mcpb"
WHEEL = f"kartra_mcp-{__version__}-py3-none-any.whl"
COPIED = ("manifest.json", "README.md", "LICENSE", "kartra_mcp/__main__.py")
HELD = {*COPIED, "pyproject.toml", "uv.lock", WHEEL}

NEXT = f"Open {BUNDLE.relative_to(ROOT).as_posix()} with Claude Desktop."

FIRST_DAY = struct.pack("<2H", 0, 1 << 5 | 1)
SYSTEM = "/usr/local/bin:/usr/bin:/bin"

PROJECT = """\
[project]
name = "kartra-mcp-bundle"
version = "{version}"
requires-python = "{python}"
dependencies = ["kartra-mcp"]

[tool.uv]
package = false

[tool.uv.sources]
kartra-mcp = {{ path = "{wheel}" }}
"""

RESOLVE = """
import { readFileSync } from "node:fs";
const { getMcpConfigForManifest } = await import(process.argv[1]);
console.log(JSON.stringify(await getMcpConfigForManifest(JSON.parse(readFileSync(0, "utf8")))));
"""


@dataclass(frozen=True)
class Packer:
    """The official packer: Node.js and its command line's script."""

    node: str
    program: Path

    def run(self, *words: str | Path) -> None:
        ran([self.node, self.program, *words])

    def resolved(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Resolve a manifest, a folder and a filled-in form as the host does."""
        module = self.program.parents[1] / "index.js"
        line = [self.node, "--input-type=module", "-e", RESOLVE, module.as_uri()]
        found = json.loads(ran(line, stdin=json.dumps(asked)))
        if not found:
            raise Off("the host would not start it: a required field of the form is missing")
        return found


@dataclass(frozen=True)
class Form:
    """A filled-in form: the typed values, whether the manifest has defaults, and the use of it."""

    title: str
    typed: Mapping[str, Any]
    use: Use
    does: str
    defaults: bool = True
    stand_in: tuple[tuple[str, ...], ...] = ()
    """Commands that bring the stand-in for Membrane's program into its state; none: no program."""


def main(package: str, uv: str, quick: str = "") -> int:
    """Build twice, compare, check. `package` is the packer's name and version for npx.

    `--quick` builds once and starts once, for a user who wants the bundle and not its checks.
    """
    try:
        packer = found_packer(package)
        program = Path(uv).absolute()
        build(packer, program, twice=not quick)
        with tempfile.TemporaryDirectory(prefix="kartra-mcp-bundle-") as folder:
            check(packer, program, Path(folder), 1 if quick else None)
    except (Off, OSError, TimeoutError) as problem:
        print(f"bundle: {problem}", file=sys.stderr)
        return 1
    print(f"bundle: {'it starts' if quick else f'all checks passed ({package})'}. {NEXT}")
    return 0


def build(packer: Packer, uv: Path, *, twice: bool) -> None:
    """Build the bundle, and a second one that must be equal."""
    first = built(packer, uv, BUNDLE)
    if twice and built(packer, uv, BUILD / "again.mcpb") != first:
        raise Off("two builds differ; did a file change meanwhile? If not, build/ holds the second")
    size = BUNDLE.stat().st_size // 1024
    same = ", the same twice" if twice else ""
    print(f"bundle: {BUNDLE.relative_to(ROOT)}, {size} KiB, sha256 {first}{same}", flush=True)


def found_packer(package: str) -> Packer:
    """Return Node.js and the packer's script; npx downloads it if needed."""
    node, npx = shutil.which("node"), shutil.which("npx")
    if not node or not npx:
        raise Off("Node.js with npx is needed and was not found")
    fetch = [npx, "--yes", "--loglevel=error", "--package", package, "--call", "command -v mcpb"]
    return Packer(node, Path(ran(fetch).strip()).resolve())


def built(packer: Packer, uv: Path, target: Path) -> str:
    """Build one bundle from a clean folder; return its sha256."""
    staged = BUILD / "bundle"
    shutil.rmtree(staged, ignore_errors=True)
    stage(staged, uv)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    packer.run("pack", staged, target)
    forget_the_time(target)
    return hashlib.sha256(target.read_bytes()).hexdigest()


def forget_the_time(archive: Path) -> None:
    """Set each entry to the first day of the zip format: the packer writes the current time.

    A local header has time and date at byte 10. An entry of the directory at the end has them at
    byte 12, and from byte 28 on the lengths of its three variable parts.
    """
    data = bytearray(archive.read_bytes())
    with ZipFile(archive) as opened:
        entries, at = opened.infolist(), opened.start_dir
    for entry in entries:
        local = entry.header_offset + 10
        data[local : local + 4] = data[at + 12 : at + 16] = FIRST_DAY
        at += 46 + sum(struct.unpack_from("<3H", data, at + 28))
    archive.write_bytes(data)
    with ZipFile(archive) as opened:
        if opened.testzip() or {entry.date_time[:3] for entry in opened.infolist()} != {
            (1980, 1, 1)
        }:
            raise Off("the packer wrote an archive whose times cannot be reset")


def stage(folder: Path, uv: Path) -> None:
    """Put exactly the bundle's files into a folder.

    uv writes the lock with its own defaults, independent of this machine's settings. uv on the
    user's machine uses the same index, so the lock fits there and contains no mirror's name.
    """
    ran([uv, "build", "--quiet", "--wheel", "--no-create-gitignore", "--out-dir", folder, ROOT])
    for name in COPIED:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    python = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    project = PROJECT.format(version=__version__, python=python["requires-python"], wheel=WHEEL)
    (folder / "pyproject.toml").write_text(project, "utf-8", newline="\n")
    env = {**unset("UV_"), "UV_SYSTEM_CERTS": "1"}
    ran([uv, "--no-config", "lock", "--quiet", "--directory", folder], env=env)
    look_at(folder)


def look_at(folder: Path) -> None:
    """Refuse a bundle with unexpected files, several indexes, or a path of this machine."""
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if files != HELD:
        raise Off(f"the bundle has missing or unexpected files: {sorted(files ^ HELD)}")
    lock = tomllib.loads((folder / "uv.lock").read_text("utf-8"))["package"]
    indexes = {entry["source"]["registry"] for entry in lock if "registry" in entry["source"]}
    if len(indexes) != 1:
        raise Off(f"the lock names {len(indexes)} package indexes: {sorted(indexes)}")
    for name in HELD:
        if str(ROOT).encode() in (folder / name).read_bytes():
            raise Off(f"{name} contains a path of this machine: {ROOT}")


def check(packer: Packer, uv: Path, folder: Path, most: int | None) -> None:
    """Unpack it elsewhere, and use it with the first `most` variants of the form; None: all."""
    place = folder / "Claude Extensions" / "kartra-mcp"
    packer.run("unpack", BUNDLE, place)
    home = folder / "home"
    home.mkdir()
    manifest = json.loads((place / "manifest.json").read_text("utf-8"))
    try:
        for form in forms(manifest)[:most]:
            print(f"bundle: {tried(packer.resolved(asked(manifest, form, place)), uv, home, form)}")
    finally:
        end_page(place, home)
    if (place / "uv.lock").read_bytes() != (BUILD / "bundle" / "uv.lock").read_bytes():
        raise Off("uv rewrote the lock on the first start, so the built lock is invalid")


def tried(config: Mapping[str, Any], uv: Path, home: Path, form: Form) -> str:
    """Start the server with a resolved form and use it; return the line that reports it."""
    if form.stand_in:
        bundle_use.install_stand_in(home, *form.stand_in)
    started = time.monotonic()
    seconds, tools = anyio.run(bundle_use.used, parameters(config, uv, home), started, form.use)
    return f"{form.title}: {tools} tools {seconds:.1f} s after the start, {form.does}"


def end_page(place: Path, home: Path) -> None:
    """End the approval page, which outlives the server that started it."""
    program = place / ".venv" / "bin" / "kartra-mcp"
    if program.exists():
        ran([program, "page", "--end", "--sandbox"], env={"HOME": str(home), "PATH": SYSTEM})


def forms(manifest: Mapping[str, Any]) -> tuple[Form, ...]:
    """Return the variants of the form: the README's steps, and what a host may send instead.

    An emptied text arrives as "", and one that was never filled in as `${…}`.
    """
    rehearse = {"sandbox": True}
    human = {"gate_irreversible": "human"}
    fields = manifest["user_config"].items()
    emptied = {name: "" for name, field in fields if field["type"] == "string"}
    return (
        Form("Rehearse on", rehearse, bundle_use.refund, "a read, a refund rehearsed"),
        Form("every text emptied", rehearse | emptied, bundle_use.read, "a read"),
        Form("no defaults", rehearse, bundle_use.read, "a read", defaults=False),
        Form("refunds: human", rehearse | human, bundle_use.ask_for_approval, "asks on the page"),
        *own_account_forms(),
    )


def own_account_forms() -> tuple[Form, ...]:
    """Return the steps to the own account: no program, no login, no connection, connected."""
    state = ("connection", "set-state", bundle_use.CONNECTION, "READY")
    logged_out = (("logout",), (*state, "--disconnected"))
    return (
        Form("Rehearse off", {}, bundle_use.miss_the_program, "names the program to install"),
        Form("installed", {}, bundle_use.miss_the_login, "names the login", True, logged_out),
        Form(
            "logged in",
            {},
            bundle_use.ask_to_connect,
            "gives the address that connects Kartra",
            stand_in=(("login", "--tenant"),),
        ),
        Form("address opened", {}, bundle_use.connect, "a read, a preview", stand_in=(state,)),
    )


def asked(manifest: Mapping[str, Any], form: Form, place: Path) -> dict[str, Any]:
    """Return the resolver's arguments, as the host passes them."""
    hidden = set[str]() if form.defaults else {"default"}
    fields = {
        name: {key: value for key, value in field.items() if key not in hidden}
        for name, field in manifest["user_config"].items()
    }
    return {
        "manifest": {**manifest, "user_config": fields},
        "extensionPath": str(place),
        "systemDirs": {},
        "userConfig": dict(form.typed),
        "pathSeparator": os.sep,
    }


def parameters(config: Mapping[str, Any], uv: Path, home: Path) -> StdioServerParameters:
    """Return the server's parameters as the host starts it: own uv, system PATH, own home.

    Certificates of this machine are kept, because no index can be reached without them. If the
    system has no suitable Python, uv would download one; here it uses ours.
    """
    if config["command"] != "uv":
        raise Off(f"the manifest starts {config['command']!r}; the host has only its own uv")
    kept = {
        name: os.environ[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ
    }
    kept |= {"UV_SYSTEM_CERTS": "1"}
    env = {**config["env"], **kept, "HOME": str(home), "PATH": SYSTEM}
    look = [uv, "--no-config", "python", "find", "--no-python-downloads", "--system", ">=3.11"]
    if subprocess.run(look, env=env, capture_output=True, check=False, cwd="/").returncode:
        env["UV_PYTHON"] = str(getattr(sys, "_base_executable", sys.executable))
    return StdioServerParameters(command=str(uv), args=config["args"], env=env, cwd="/")


def unset(prefix: str) -> dict[str, str]:
    """Return this process's environment without the variables with this prefix."""
    return {name: value for name, value in os.environ.items() if not name.startswith(prefix)}


def ran(line: Sequence[str | Path], stdin: str = "", env: Mapping[str, str] | None = None) -> str:
    """Return a program's output; raise `Off` with all of it if it failed."""
    ended = subprocess.run(
        line,
        input=stdin,
        env={**(os.environ if env is None else env), "SOURCE_DATE_EPOCH": EPOCH},
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
