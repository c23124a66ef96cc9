"""Labels of error codes."""

from __future__ import annotations

from kartra_mcp.core.error_codes import ERROR_CODES
from kartra_mcp.web.views.formatting import humanize


def error_label(code: str) -> str:
    """Return the label of a code. An old ledger may contain a code that was removed since."""
    return ERROR_CODES[code].label if code in ERROR_CODES else humanize(code)


def label_with_code(code: str) -> str:
    """Return `No answer came in time (timed_out)`."""
    return f"{error_label(code)} ({code})"
