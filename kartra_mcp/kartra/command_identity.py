"""Identity of one write: the same for an action, its raw command, and every spelling of it. Pure.

The ledger compares writes by it: two writes are equal if operation, target and digest are.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.core.models import Target
from kartra_mcp.kartra import action_words, fields
from kartra_mcp.kartra.commands import COMMANDS
from kartra_mcp.kartra.fields import normalize_name
from kartra_mcp.kartra.values import normalize_id

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,30})(?:\.[0-9]{1,30})?")
_ADDRESSES = frozenset({"email", "leademail"})
_NAMES_LEAD = fields.LEAD_ID_NAMES | _ADDRESSES


def is_additive(name: str) -> bool:
    """Return whether a second equal write of this operation has a second effect."""
    row = COMMANDS.get(name)
    return action_words.adds(name) if row is None else row.additive


def digest_fields(name: str, given: Mapping[str, Any], target: Target | None) -> str:
    """Return the digest of a write's fields without those that name its target.

    A lead is named by id or by address, in different fields; the target has it in one spelling.
    """
    kept = _normalize_object(given, name, target)
    text = json.dumps([name, kept], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _normalize_object(given: Mapping[str, Any], name: str, target: Target | None) -> dict[str, Any]:
    kept = {
        normalize_name(field): _normalize(value, name, target)
        for field, value in given.items()
        if value is not None and not _names_target(normalize_name(field), value, name, target)
    }
    return {field: value for field, value in kept.items() if value != {}}


def _normalize(value: Any, name: str, target: Target | None) -> Any:
    if is_object(value) and _is_php_list(value):
        value = list(value.values())
    if is_object(value):
        return _normalize_object(value, name, target)
    if is_array(value):
        return [_normalize(inner, name, target) for inner in value]
    return _normalize_scalar(value)


def _is_php_list(value: Mapping[str, Any]) -> bool:
    """Return whether an object is a list in a form: PHP numbers its elements from 0."""
    return bool(value) and list(value) == [str(number) for number in range(len(value))]


def _names_target(field: str, value: Any, name: str, target: Target | None) -> bool:
    if target is None or not isinstance(value, str | int | float) or isinstance(value, bool):
        return False
    if target.kind == "lead" and name in COMMANDS:
        return field in _NAMES_LEAD
    named = field in fields.ID_NAMES or field in _NAMES_LEAD
    return named and normalize_id(value) == target.id


def _normalize_scalar(value: Any) -> Any:
    """Return 5, 5.0 and "5" as one text; a number with a leading zero is no number."""
    if isinstance(value, bool):
        return value
    text = unicodedata.normalize("NFC", str(value)).strip()
    if not _NUMBER.fullmatch(text):
        return text
    number = Decimal(text)
    return format(number.normalize() if number else Decimal(0), "f")
