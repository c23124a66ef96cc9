"""The state folder: the only file that reads and writes JSON there, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class StateDir:
    """One folder, for this user only (0700; files 0600).

    If the folder is not writable, the next start has no cache, but no call fails. `error` then has
    the reason, for `kartra_status`.
    """

    folder: Path
    error: str = ""
    _work: Path | None = field(default=None)

    def read(self, name: str) -> Any:
        """Return the JSON stored under a name; None if there is none or it is damaged."""
        try:
            return json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None

    def write(self, name: str, value: Any) -> bool:
        """Store JSON under a name; as ASCII, so that unpaired surrogates survive."""
        return self.write_text(name, json.dumps(value))

    def write_text(self, name: str, text: str) -> bool:
        """Store a text that is JSON under a name: written to another file, then renamed."""
        try:
            self._make()
            handle, aside = tempfile.mkstemp(dir=self.folder, prefix=f".{name}.")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(text)
                Path(aside).replace(self.folder / name)
            except BaseException:
                Path(aside).unlink(missing_ok=True)
                raise
        except OSError as problem:
            self.error = f"The state folder cannot be written ({problem.strerror})."
            return False
        self.error = ""
        return True

    def work_dir(self) -> Path:
        """Return an empty folder for programs to run in, created on first use.

        The real program reads configuration from its working directory: a folder of another project
        could redirect the account.
        """
        if self._work is None or not self._work.is_dir():
            self._work = self._make_private_dir()
        return self._work

    def close(self) -> None:
        if self._work is not None:
            shutil.rmtree(self._work, ignore_errors=True)
            self._work = None

    def _make_private_dir(self) -> Path:
        with suppress(OSError):
            self._make()
            return Path(tempfile.mkdtemp(dir=self.folder, prefix="work-"))
        return Path(tempfile.mkdtemp(prefix="kartra-mcp-"))

    def _make(self) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with suppress(OSError):
            self.folder.chmod(0o700)
