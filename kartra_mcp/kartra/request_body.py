"""Body of a raw request: the text to send, and the same text parsed and validated. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.kartra.form_encoding import (
    TOO_DEEP,
    FormError,
    check_depth,
    encode_form,
    parse_form,
    parses_to_command,
)
from kartra_mcp.kartra.request_tree import (
    TEXT_REMEDY,
    FieldTree,
    build_tree,
    reject,
    safe_name,
    validate_tree,
)

JSON_TYPE = "application/json"
FORM_TYPE = "application/x-www-form-urlencoded"
MAX_BYTES = 100_000
_FORM_REMEDY = "Use `form` or `json` with an object: it is written the way Kartra reads it."
_PLUS_REMEDY = "Write %2B for a plus and %20 for a blank, or use `form` with an object."
_LOST_PLUS = re.compile(r"=\+|=[^&]*\+[^&]*(?:@|%40)")
"""A `+` that is meant: in `ada+news@example.com`, which as a form names another lead, or `+49…`."""


@dataclass(frozen=True, slots=True)
class Body:
    """The exact text to send, and the tree that the same text is parsed as."""

    text: str
    content_type: str
    tree: FieldTree


def parse_body(kind: str, value: Any) -> Body:
    """Return the validated body of one of `json`, `form` and `raw`.

    The text that is sent is always encoded here, and that same text is parsed and validated.
    """
    try:
        body = _READERS[kind](value)
    except FormError as error:
        remedy = _PLUS_REMEDY if "`+`" in error.what else _FORM_REMEDY
        reject(f"{kind}{_format_suffix(error.name)}: {error.what}", remedy)
    validate_tree(body.tree)
    return body


def _read_json(value: Any) -> Body:
    check_depth(value)
    text = _dump(value)
    _check_size(text)
    if parses_to_command(text):
        reject("body: read as a form, this JSON would hold a command", TEXT_REMEDY)
    return Body(text, JSON_TYPE, build_tree("body", json.loads(text)))


def _read_form(value: Mapping[str, Any]) -> Body:
    check_depth(value)
    text = encode_form(value)
    if not text:
        raise FormError("The form is empty")
    _check_size(text)
    return Body(text, FORM_TYPE, build_tree("body", parse_form(text)))


def _read_raw(text: str) -> Body:
    _check_size(text)
    value = _parse(text)
    if not isinstance(value, dict | list):
        if _LOST_PLUS.search(text):
            raise FormError("A form holds a bare `+` in an address or a number; it means a blank")
        return _read_form(parse_form(text))
    if parses_to_command(text):
        reject("raw: it is JSON, and read as a form it would hold a command", TEXT_REMEDY)
    return _read_json(value)


_READERS: Mapping[str, Callable[[Any], Body]] = {
    "json": _read_json,
    "form": _read_form,
    "raw": _read_raw,
}


def _dump(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise FormError("A value is not JSON (NaN, Infinity, or longer than any number)") from error


def _parse(text: str) -> Any:
    """Return the JSON value of a text, or None if it is not JSON."""
    try:
        return json.loads(
            text, object_pairs_hook=_reject_repeated_names, parse_constant=_reject_constant
        )
    except RecursionError:
        raise FormError(TOO_DEEP) from None
    except FormError:
        raise
    except ValueError:
        return None


def _reject_repeated_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise FormError("A JSON key is repeated", name)
        fields[name] = value
    return fields


def _reject_constant(_: str) -> NoReturn:
    raise FormError("JSON has no NaN and no Infinity")


def _check_size(text: str) -> None:
    size = len(text.encode(errors="surrogatepass"))
    if size > MAX_BYTES:
        raise RefusedError(
            "input_too_large",
            f"The body has {size:,} bytes as it would be sent; {MAX_BYTES:,} are allowed. "
            "Nothing was sent.",
            "Send less, or split the request.",
        )


def _format_suffix(name: str) -> str:
    return f".{safe_name(name)}" if name else ""
