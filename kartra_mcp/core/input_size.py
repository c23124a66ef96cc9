"""Bounds on what a client sends, checked before anything walks it. Pure."""

from __future__ import annotations

import json
from typing import Any

from kartra_mcp.core.errors import RefusedError

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
MAX_VALUES = 100_000
"""Values of one message: validation takes time for each, however short it is."""

_ENCODER = json.JSONEncoder(ensure_ascii=False)
_SMALL = 64 * 1024
"""Bytes below which the values need not be counted."""


def has_too_many_values(message: bytes) -> bool:
    """Return whether the JSON of a message may have more than `MAX_VALUES` values.

    Commas and brackets inside of texts count too: to leave them out, the message must be parsed.
    """
    if len(message) <= _SMALL:
        return False
    return message.count(b",") + message.count(b"[") + message.count(b"{") > MAX_VALUES


def check_arguments(given: Any) -> int:
    """Return the size of the arguments of a call, in bytes of JSON.

    Raises:
        RefusedError: `input_too_large`.
    """
    try:
        dumped = _ENCODER.encode(given).encode(errors="surrogatepass")
    except (RecursionError, TypeError, ValueError):
        raise input_too_large() from None
    if len(dumped) > MAX_MESSAGE_BYTES or has_too_many_values(dumped):
        raise input_too_large()
    return len(dumped)


def input_too_large() -> RefusedError:
    return RefusedError(
        "input_too_large",
        f"The message is larger than {MAX_MESSAGE_BYTES // 1024**2} MiB, or has more than "
        f"{MAX_VALUES:,} values. Nothing was executed.",
        "Send less, or split the call.",
    )
