"""Program step of setup: find Membrane's program and verify it, or install it by npm."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.display import display_value
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.surroundings import expand_home
from kartra_mcp.membrane import executable as program
from kartra_mcp.membrane.cli_client import parse_version
from kartra_mcp.membrane.client import ProgramInfo
from kartra_mcp.onboarding.setup import subprocesses
from kartra_mcp.onboarding.setup.prompts import RERUN_HINT
from kartra_mcp.onboarding.setup.report import SetupContext
from kartra_mcp.settings import Settings

PACKAGE = "@membranehq/cli"
INSTALL = f"npm install -g {PACKAGE}"
LOOK, NPM = 20.0, 600.0
LINES = 15
"""Lines of npm's output that are shown if it failed."""


@dataclass(frozen=True, slots=True)
class ProgramCheck:
    """The program to which KARTRA_MCP_MEMBRANE resolves.

    `setting` is None for the default search.
    """

    setting: str | None
    command: tuple[str, ...] = ()
    program: ProgramInfo = field(default_factory=ProgramInfo)
    why: str = ""

    @property
    def right(self) -> bool:
        return self.program.is_membrane is True


def find(setup: SetupContext) -> SetupContext:
    """Find Membrane's program; return a context whose settings resolve to it."""
    settings = setup.settings
    seen = look(setup, settings.membrane)
    if not seen.right and settings.membrane and "MEMBRANE" not in setup.given.explicit:
        setup.person.print(
            f"The program in the existing settings is not usable: {display_value(seen.why)}"
        )
        seen = look(setup, None)
    while not seen.right:
        seen = _look_again(setup, seen)
    value = _setting_value(settings, seen)
    if value or any("MEMBRANE" in entry for entry in setup.entries.values()):
        setup.story.env["KARTRA_MCP_MEMBRANE"] = value
    setup.record_done(
        f"Membrane's program {seen.program.version} found: {display_value(seen.command[-1])}"
    )
    return replace(setup, settings=replace(settings, membrane=seen.setting))


def look(setup: SetupContext, setting: str | None) -> ProgramCheck:
    """Find the program and check that it is Membrane's."""
    settings = setup.settings
    path = settings.environment.get("PATH", "")
    try:
        command = program.find_executable(setting, path, settings.platform, settings.home)
    except RefusedError as missing:
        return ProgramCheck(setting, why=missing.message)
    try:
        done = subprocesses.run(setup, command, ["--version"], LOOK)
    except KartraMCPError as problem:
        return ProgramCheck(setting, command, why=problem.message)
    output = (done.stdout + b"\n" + done.stderr).decode("utf-8", errors="replace")
    found = parse_version(done.exit_code, output)
    tried = replace(setup, settings=replace(settings, membrane=setting))
    if found.is_membrane is None and _is_membrane(tried):
        found = replace(found, is_membrane=True)
    printed = display_value(found.output, 80) if found.output else "nothing"
    return ProgramCheck(setting, command, found, f"{command[-1]} --version printed: {printed}.")


def _is_membrane(setup: SetupContext) -> bool:
    """Return true if a program of an unknown version answers a login query."""
    login = subprocesses.run_client(
        setup, lambda membrane: membrane.is_logged_in(Deadline.after(LOOK))
    )
    return login is not None


def _look_again(setup: SetupContext, seen: ProgramCheck) -> ProgramCheck:
    """Check another program: the user names it, or npm installs it."""
    settings = setup.settings
    node = _resolve_program("node", settings)
    if not node and (not seen.command or seen.program.is_membrane is None):
        raise RefusedError(
            "program_missing",
            "Node.js, which runs Membrane's program, was not found. Nothing was installed.",
            "Install Node.js from https://nodejs.org or with your system's package manager. "
            f"{RERUN_HINT}.",
        )
    if not seen.command and not seen.setting:
        return install(setup)
    what = "is not Membrane's" if seen.command else "cannot be used"
    setup.person.print(f"The program called `membrane` {what}. {display_value(seen.why)}")
    question = "Full path of Membrane's own program, or the word install"
    answer = setup.person.ask_text(question, _find_path_fault, flag="--membrane PATH")
    return install(setup) if answer == "install" else look(setup, answer)


def _find_path_fault(answer: str) -> str:
    if answer == "install" or expand_home(answer).is_file():
        return ""
    return "File not found. Type another path, or stop with Ctrl-C."


def install(setup: SetupContext) -> ProgramCheck:
    """Install the program by npm, if the user agrees and npm's folder is writable.

    Raises:
        RefusedError: nothing was installed.
    """
    settings = setup.settings
    npm = _resolve_program("npm", settings)
    if not npm:
        raise RefusedError(
            "program_missing",
            "npm, which installs Membrane's program, was not found. Nothing was installed.",
            f"npm comes with Node.js: https://nodejs.org. {RERUN_HINT}.",
        )
    prefix = _npm_prefix(setup, npm)
    if not setup.person.confirm(f"Membrane's program was not found. Install it (`{INSTALL}`)?"):
        raise RefusedError(
            "program_missing",
            "Membrane's program was not found. Nothing was installed.",
            f"Install it with `{INSTALL}`. {RERUN_HINT}.",
        )
    with setup.person.show_progress(f"npm installs {PACKAGE}; this may take a few minutes …"):
        done = subprocesses.run_npm(setup, npm, ["install", "-g", PACKAGE], NPM)
    if done.exit_code != 0:
        raise _npm_error(done.exit_code, done.stdout + b"\n" + done.stderr)
    return _check_installed(setup, prefix)


def _check_installed(setup: SetupContext, prefix: Path) -> ProgramCheck:
    """Find the installed program: in the default search, else below npm's prefix."""
    own = prefix / ("membrane.cmd" if setup.settings.platform == "win32" else "bin/membrane")
    seen = [look(setup, None), *([look(setup, str(own))] if own.exists() else [])]
    found = next((one for one in seen if one.right), None)
    if found is None:
        raise RefusedError(
            "program_missing",
            f"npm installed {PACKAGE}, but Membrane's program was not found below {prefix}.",
            "Name its path: `kartra-mcp setup --membrane PATH`.",
        )
    return found


def _npm_prefix(setup: SetupContext, npm: Sequence[str]) -> Path:
    """Return the folder of npm's global programs.

    Raises:
        RefusedError: it is not writable.
    """
    done = subprocesses.run_npm(setup, npm, ["prefix", "-g"], LOOK)
    lines = done.stdout.decode("utf-8", errors="replace").strip().splitlines()
    if done.exit_code != 0 or not lines or not Path(lines[-1]).is_absolute():
        raise _npm_error(done.exit_code, done.stdout + b"\n" + done.stderr)
    prefix = Path(lines[-1])
    if setup.settings.platform == "win32" or all(
        map(_is_writable, (prefix / "lib", prefix / "bin"))
    ):
        return prefix
    raise RefusedError(
        "not_allowed",
        f"npm installs into {display_value(prefix)}, which you cannot write. Nothing was "
        "installed.",
        f"Give npm a folder of your own: `npm config set prefix ~/.npm-global`. {RERUN_HINT}.",
    )


def _is_writable(folder: Path) -> bool:
    """Return true if the folder is writable, or could be created in its nearest parent."""
    with suppress(OSError):
        while not os.path.lexists(folder):
            folder = folder.parent
        return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    return False


def _npm_error(code: int, printed: bytes) -> RefusedError:
    lines = printed.decode("utf-8", errors="replace").splitlines()
    shown = [display_value(line, 200) for line in lines if line.strip()][-LINES:]
    return RefusedError(
        "program_missing",
        f"npm failed to install {PACKAGE} (exit code {code}).",
        f"Fix the error that npm reports, or try `{INSTALL}` yourself. {RERUN_HINT}.",
        detail={"npm": shown},
    )


def _resolve_program(name: str, settings: Settings, path: str | None = None) -> tuple[str, ...]:
    on_path = settings.environment.get("PATH", "") if path is None else path
    try:
        return program.find_executable(name, on_path, settings.platform, settings.home)
    except RefusedError:
        return ()


def _setting_value(settings: Settings, seen: ProgramCheck) -> str:
    """Return KARTRA_MCP_MEMBRANE for a client, whose PATH is short; "" if none is needed."""
    command = seen.command
    if _needs_node(command[0]) and not _resolve_program("node", settings, ""):
        command = (*_resolve_program("node", settings), *command)
    elif seen.setting is None and _resolve_program(program.PROGRAM, settings, "") == command:
        return ""
    return command[0] if len(command) == 1 else json.dumps(list(command))


def _needs_node(file: str) -> bool:
    """Return true for a script that runs on node and has no node in its own folder."""
    try:
        with Path(file).open("rb") as opened:
            first = opened.readline(200)
    except OSError:
        return False
    return (
        first.startswith(b"#!") and b"node" in first and not Path(file).with_name("node").exists()
    )
