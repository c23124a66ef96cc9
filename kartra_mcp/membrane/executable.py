"""Find Membrane's program on this machine; reads the file system and starts nothing."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, cast

from kartra_mcp.core.errors import RefusedError

PROGRAM = "membrane"
REMEDY = (
    "Install it (`npm install -g @membranehq/cli`) or set KARTRA_MCP_MEMBRANE to its full path."
)

POSIX_HOME = (
    ".npm-global/bin",
    ".local/bin",
    ".volta/bin",
    ".nvm/versions/node/*/bin",
    ".local/share/fnm/node-versions/*/installation/bin",
    ".fnm/node-versions/*/installation/bin",
    "Library/Application Support/fnm/node-versions/*/installation/bin",
    ".asdf/shims",
    ".local/share/mise/shims",
    ".bun/bin",
    ".yarn/bin",
    "Library/pnpm",
    "Library/pnpm/bin",
    ".local/share/pnpm",
    ".local/share/pnpm/bin",
)
"""Folders of global programs of npm and similar tools, below the home folder; `*` is a version."""

POSIX_SYSTEM = ("/usr/local/bin", "/opt/homebrew/bin", "/usr/bin")
WINDOWS_HOME = (
    "AppData/Roaming/npm",
    "AppData/Local/pnpm",
    "AppData/Local/pnpm/bin",
    "AppData/Local/Volta/bin",
    "AppData/Local/Yarn/bin",
    ".bun/bin",
)
WINDOWS_SYSTEM = ("C:/Program Files/nodejs", "C:/Program Files (x86)/nodejs")

WINDOWS_ENDINGS = (".exe", ".com", ".cmd", ".bat")
SHIMS = frozenset({".cmd", ".bat"})
NODE_SCRIPTS = frozenset({".js", ".mjs", ".cjs"})
SHIM_DEPTH = 3
# `"%dp0%\x.js" %*` (npm), `"%~dp0\x.js" %*` (pnpm, yarn), `"C:\x.js" %*` (pnpm, another drive).
LAUNCH = re.compile(r'"(?P<here>%~?dp0%?\\)?(?P<file>[^"%]+)"\s+%\*', re.IGNORECASE)


def find_executable(setting: str | None, path: str, platform: str, home: Path) -> tuple[str, ...]:
    """Return the absolute command that starts Membrane's program.

    Args:
        setting: KARTRA_MCP_MEMBRANE: an existing file, else a JSON array, else shell words.
        path: the value of PATH.
        platform: as in `sys.platform`.
        home: the user's home folder.
    """
    machine = _Platform(path, platform, home)
    first, *rest = _split_setting(setting, machine)
    return (*machine.make_command(machine.locate(first)), *rest)


def is_on_path(path: str, platform: str) -> bool:
    """Return whether a terminal with this PATH finds Membrane's program by its name."""
    return _Platform(path, platform, None).is_in_path(PROGRAM)


def search_path(
    command: Sequence[str], path: str, platform: str = sys.platform, home: Path | None = None
) -> str:
    """Return the PATH that `command` needs: its own folder first, and a folder that has `node`.

    Desktop programs start with a short PATH, and `#!/usr/bin/env node` searches only that.
    """
    machine = _Platform(path, platform, home)
    own = Path(command[0]).parent
    folders = list(machine.on_path())
    if own not in folders:
        folders.insert(0, own)
    node = machine.find("node")
    if node is not None and node.parent not in folders:
        folders.append(node.parent)
    return machine.separator.join(map(str, folders))


def find_shim_target(text: str, folder: Path) -> Path | None:
    """Return the file to which a batch shim with this text passes its arguments."""
    launches = list(LAUNCH.finditer(text))
    if not launches:
        return None
    file = PureWindowsPath(launches[-1]["file"])
    if launches[-1]["here"]:
        return _walk(folder, file)
    return Path(file) if file.is_absolute() else None


def _walk(folder: Path, relative: PureWindowsPath) -> Path:
    for part in relative.parts:
        folder = folder.parent if part == ".." else folder / part
    return folder


def _split_setting(setting: str | None, machine: _Platform) -> list[str]:
    text = (setting or "").strip()
    if not text:
        return [PROGRAM]
    if _is_path(text) and machine.resolve_path(text) is not None:
        return [text]
    words = _parse_json_words(text) or _split_shell_words(text, machine.platform)
    if not words:
        raise _missing_error("KARTRA_MCP_MEMBRANE cannot be read as a command.")
    return words


def _parse_json_words(text: str) -> list[str]:
    try:
        value: Any = json.loads(text)
    except ValueError:
        return []
    if not isinstance(value, list):
        return []
    items = cast("list[object]", value)
    words = [item for item in items if isinstance(item, str)]
    return words if len(words) == len(items) else []


def _split_shell_words(text: str, platform: str) -> list[str]:
    windows = platform == "win32"
    try:
        words = shlex.split(text, posix=not windows)
    except ValueError:
        return []
    return [_unquote(word) for word in words] if windows else words


def _unquote(word: str) -> str:
    quoted = len(word) > 1 and word[0] == word[-1] and word[0] in "\"'"
    return word[1:-1] if quoted else word


def _is_path(word: str) -> bool:
    return "/" in word or "\\" in word


def _missing_error(message: str) -> RefusedError:
    return RefusedError("program_missing", message, REMEDY)


@dataclass(frozen=True, slots=True)
class _Platform:
    """Search locations of this machine. `home` None: only PATH and the system's folders."""

    path: str
    platform: str
    home: Path | None

    @property
    def windows(self) -> bool:
        return self.platform == "win32"

    @property
    def separator(self) -> str:
        return ";" if self.windows else ":"

    def _expand(self, word: str) -> Path:
        if word.startswith(("~/", "~\\")) and self.home is not None:
            return self.home / word[2:]
        return Path(word).absolute()

    def locate(self, word: str) -> Path:
        found = self.resolve_path(word) if _is_path(word) else self.find(word)
        if found is None:
            raise _missing_error(f"The program {word} was not found on this machine.")
        return found

    def find(self, name: str) -> Path | None:
        return self._find_in((*self.on_path(), *self._iter_usual_places()), name)

    def is_in_path(self, name: str) -> bool:
        return self._find_in(self.on_path(), name) is not None

    def _find_in(self, folders: Iterable[Path], name: str) -> Path | None:
        for folder in folders:
            for file in self._list_spellings(folder / name):
                if _is_file(file) and (self.windows or os.access(file, os.X_OK)):
                    return file
        return None

    def on_path(self) -> Iterator[Path]:
        # A relative entry would mean the working folder, whose files may be untrusted.
        folders = (Path(entry.strip('"')) for entry in self.path.split(self.separator) if entry)
        return (folder for folder in folders if folder.is_absolute())

    def make_command(self, file: Path, depth: int = SHIM_DEPTH) -> tuple[str, ...]:
        ending = file.suffix.lower()
        if self.windows and ending in SHIMS:
            return self._resolve_shim(file, depth)
        if not self.windows and os.access(file, os.X_OK):
            return (str(file),)
        if ending in NODE_SCRIPTS:
            return (str(self._find_node(file)), str(file))
        if ending == ".py":
            return (sys.executable, str(file))
        if self.windows and ending in WINDOWS_ENDINGS:
            return (str(file),)
        raise _missing_error(f"The file {file} is not a program that can be run.")

    def resolve_path(self, word: str) -> Path | None:
        file = self._expand(word)
        return next(
            (spelling for spelling in self._list_spellings(file) if _is_file(spelling)), None
        )

    def _list_spellings(self, file: Path) -> tuple[Path, ...]:
        if not self.windows:
            return (file,)
        # npm puts a shell script of the bare name next to `membrane.cmd`; Windows cannot run it.
        more = tuple(file.with_name(file.name + ending) for ending in WINDOWS_ENDINGS)
        return (file, *more) if file.suffix else more

    def _iter_usual_places(self) -> Iterator[Path]:
        below, system = (
            (WINDOWS_HOME, WINDOWS_SYSTEM) if self.windows else (POSIX_HOME, POSIX_SYSTEM)
        )
        if self.home is not None:
            for place in below:
                yield from _sort_newest_first(self.home, place)
        yield from map(Path, system)

    def _resolve_shim(self, shim: Path, depth: int) -> tuple[str, ...]:
        file = find_shim_target(_read_text(shim), shim.parent)
        if file is None or depth == 0:
            raise _missing_error(f"The batch file {shim} names no script that it runs.")
        if file.suffix.lower() in WINDOWS_ENDINGS:
            return self.make_command(file, depth - 1)
        return (str(self._find_node(shim)), str(file))

    def _find_node(self, beside: Path) -> Path:
        name = "node.exe" if self.windows else "node"
        own = beside.with_name(name)
        node = own if _is_file(own) else self.find(name)
        if node is None:
            raise _missing_error("Node.js, which runs Membrane's program, was not found.")
        return node


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _is_file(file: Path) -> bool:
    # Unlike `Path.is_file`, this is False for a file in a folder on PATH that is not readable.
    return os.path.isfile(file)  # noqa: PTH113


def _sort_newest_first(home: Path, place: str) -> list[Path]:
    if "*" not in place:
        return [home / place]
    before, _, after = place.partition("/*/")
    versions = (home / before).glob("*")
    return [folder / after for folder in sorted(versions, key=_parse_version, reverse=True)]


def _parse_version(folder: Path) -> tuple[int, ...]:
    parts = folder.name.removeprefix("v").split(".")
    return tuple(int(part) if part.isdecimal() else -1 for part in parts)
