"""One request as the routes receive it, with validation of its query and body."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from kartra_mcp.sandbox.membrane.errors import MembraneError
from kartra_mcp.sandbox.store import php_values
from kartra_mcp.sandbox.store.database import Account

Map = dict[str, Any]
Form = Mapping[str, type]
"""Fields of a body and their types; `object` accepts any. All are optional."""

LARGEST = 10_000_000
"""Largest request, in bytes."""


@dataclass(frozen=True, slots=True)
class Call:
    """Request and the account it is for."""

    account: Account
    method: str
    path: str
    """The path as it was sent, without the query."""
    parts: Mapping[str, str]
    """Values of the names in braces of the route."""
    query: Mapping[str, str]
    question: str
    """The query as it was sent."""
    headers: Mapping[str, str]
    body: bytes

    def get_part(self, name: str) -> str:
        return self.parts[name]

    def get_query(self, name: str) -> str:
        return self.query.get(name, "")

    def has_flag(self, name: str) -> bool:
        return self.get_query(name) not in {"", "0", "false"}

    def list_named(self, *names: str) -> list[str]:
        return [self.get_query(name) for name in names]

    def read_json(self) -> object:
        """Return the parsed body.

        A body not declared as JSON is ignored, as in the vendor's framework.
        """
        if not self.body or "json" not in self.headers.get("content-type", ""):
            return {}
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise invalid_error("The body is not JSON", "body") from error

    def read_form(self, form: Form, *, strict: bool = False) -> Map:
        """Return the body's known fields; with `strict`, unknown ones are an error."""
        return check_fields(self.read_json(), form, strict=strict)

    def read_text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def path_after(self, mark: str) -> str:
        """Return the rest of the path as it was sent, with its query."""
        rest = self.path.partition(mark)[2]
        if unquote(rest[:12]).lower().startswith(("http://", "https://")):
            rest = unquote(rest)
        else:
            rest = f"/{rest}"
        return f"{rest}?{self.question}" if self.question else rest


def check_fields(body: object, form: Form, *, strict: bool = False) -> Map:
    if not php_values.is_map(body):
        raise invalid_error("The body has to be an object", "body")
    unknown = sorted(set(body) - set(form))
    if strict and unknown:
        raise invalid_error(f"Unrecognized keys: {', '.join(unknown)}", *unknown)
    wrong = [name for name, value in body.items() if name in form and not _is(value, form[name])]
    if wrong:
        raise invalid_error(f"Invalid type: {', '.join(wrong)}", *wrong)
    return {name: value for name, value in body.items() if name in form}


def _is(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not (kind in {int, float} and isinstance(value, bool))


def invalid_error(message: str, *fields: str) -> MembraneError:
    """Return the error for a malformed request. Nothing was done."""
    return MembraneError(message, key="validation_error", data={"fields": list(fields)})
