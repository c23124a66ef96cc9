"""Membrane's error envelope, and the ways a program ends without one."""

from __future__ import annotations

from typing import Any


class MembraneError(Exception):
    """Error as Membrane returns it."""

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
    """End of the program without a response: it hangs, dies, or prints something unreadable."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Deferred(Exception):
    """An accepted request that is executed later, in so many seconds.

    `kind` is the fault of its response meanwhile, and `reply` an error as its response.
    """

    def __init__(self, seconds: float, kind: str = "", reply: MembraneError | None = None) -> None:
        super().__init__(kind)
        self.seconds, self.kind, self.reply = seconds, kind, reply


class UsageError(Exception):
    """Wrong usage of the command line; exit status 2."""
