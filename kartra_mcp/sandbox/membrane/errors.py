"""Membrane's error envelope, and the ends that a program can come to without one."""

from __future__ import annotations

from typing import Any


class MembraneError(Exception):
    """An error as Membrane answers it."""

    def __init__(
        self,
        message: str,
        *,
        kind: str = "bad_request",
        key: str = "not_found",
        data: dict[str, Any] | None = None,
        cause: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.key = key
        self.data = data or {}
        self.cause = cause

    def envelope(self) -> dict[str, Any]:
        found: dict[str, Any] = {"type": self.kind, "key": self.key, "message": self.message}
        if self.data:
            found["data"] = self.data
        if self.cause:
            found["causedByError"] = self.cause
        return found


class ProgramEnd(Exception):
    """The program does not answer: it hangs, dies, or prints what nobody can read."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class UsageError(Exception):
    """The command line itself is wrong; exit code 2."""
