"""Error hierarchy: code, problem, remedy, and the state of execution.

- `KartraMCPError`: the base; one error answer of a call.
- `RefusedError`: raised before any program was started; nothing was executed.
- `UpstreamError`: raised after a program was started; `executed` is no, yes or unknown.
"""

from __future__ import annotations

import traceback
from typing import Any

from kartra_mcp.core.error_codes import ERROR_CODES
from kartra_mcp.core.models import Executed


class KartraMCPError(Exception):
    """Error answer of a call.

    Args:
        code: one of `ERROR_CODES`.
        message: the problem, in this server's words (never another program's text).
        remedy: the next step, in this server's words.
        executed: the default of the class if None.
        detail: untrusted text (Kartra, Membrane, the account), quoted as data.
        answered: False if the program ended without a readable response.
        confirmation: the preview to agree to; its `facts` are untrusted too.
        first: the earlier call that did the same, if there is one.
    """

    executed = Executed.NO

    def __init__(  # noqa: PLR0913  what an answer may carry, each by its name
        self,
        code: str,
        message: str,
        remedy: str,
        *,
        executed: Executed | None = None,
        detail: Any = None,
        answered: bool = True,
        confirmation: dict[str, Any] | None = None,
        first: dict[str, Any] | None = None,
    ) -> None:
        assert code in ERROR_CODES, code  # noqa: S101  a bug; any test that raises the code finds it
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.remedy = remedy
        self.detail = detail
        self.has_response = answered
        self.confirmation = confirmation
        self.previous_call = first
        if executed is not None:
            self.executed = executed

    def as_dict(self) -> dict[str, Any]:
        """Return the contract's `{"code", "message", "remedy", "executed", "detail"?}`."""
        more = {
            "detail": self.detail,
            "confirmation": self.confirmation,
            "first": self.previous_call,
        }
        return {
            "code": self.code,
            "message": self.message,
            "remedy": self.remedy,
            "executed": str(self.executed),
            **{name: value for name, value in more.items() if value is not None},
        }


class RefusedError(KartraMCPError):
    """Refusal before any program was started: nothing was done."""


class UpstreamError(KartraMCPError):
    """Failure after a program was started; `executed` is no, yes or unknown."""

    executed = Executed.UNKNOWN


def internal_error(executed: Executed) -> UpstreamError:
    """Return the error for a bug in this server; its text is not part of the answer."""
    return UpstreamError(
        "internal_error",
        "An error in this server ended the call.",
        "If this was a write, look in Kartra before repeating it; please report the error.",
        executed=executed,
    )


def describe_exception(error: BaseException) -> str:
    """Return type, file and line of an exception; never its text, which can hold customer data."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__name__
    file = frames[-1].filename.replace("\\", "/").rpartition("/")[2]
    return f"{type(error).__name__} at {file}:{frames[-1].lineno}"
