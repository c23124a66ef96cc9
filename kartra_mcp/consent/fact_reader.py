"""Bounded reads for facts, and the display of what they return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kartra_mcp.consent.facts import Read
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.json_types import as_list, is_object
from kartra_mcp.core.models import Command
from kartra_mcp.core.sanitize import strip_control_chars, truncate
from kartra_mcp.kartra.response_search import (
    find_object,
    find_rows,
    first_field,
    has_more_pages,
    is_empty_list,
)
from kartra_mcp.kartra.values import normalize_id, to_json_id

MAX_READS = 10
NOT_UNDERSTOOD = "the response could not be parsed"
ABSENT_TYPES = frozenset({"234", "243", "245", "247", "248"})
"""Kartra's error types that mean: this object does not exist, or was deleted."""
_NO_VALUE = frozenset({"", "n/a", "null", "none"})


@dataclass(slots=True)
class FactReader:
    """At most ten reads; a failed read is a reason, not an error.

    `absent` has the reads to which Kartra answered that the object does not exist. `leads` has each
    lead that was read, by its id or address as given. `strict`: only Kartra's own refusal of a read
    is a reason; any other failure is raised.
    """

    read: Read
    left: int = MAX_READS
    unread: list[str] = field(default_factory=list[str])
    absent: set[str] = field(default_factory=set[str])
    leads: dict[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    strict: bool = False

    async def ask(
        self, what: str, name: str, lead: Mapping[str, Any] | None = None, **given: Any
    ) -> Any:
        """Return the response to a read command; None, with a reason in `unread`, if it failed."""
        if self.left <= 0:
            self.unread.append(f"{what}: it needs more than {MAX_READS} reads")
            return None
        self.left -= 1
        try:
            return await self.read(Command(name, given, lead or {}))
        except KartraMCPError as problem:
            if problem.code == "connection_not_ready":
                raise
            if self.strict and problem.code != "kartra_error":
                raise
            if is_absent(problem):
                self.absent.add(what)
            self.unread.append(f"{what}: {problem.message.rstrip('.')}")
            return None

    async def ask_quietly(
        self, name: str, lead: Mapping[str, Any] | None = None, **given: Any
    ) -> Any:
        """Return the response to a read of a name only: a failure adds no missing fact."""
        unread, absent = list(self.unread), set(self.absent)
        found = await self.ask("", name, lead, **given) if self.left > 0 else None
        self.unread, self.absent = unread, absent
        return found

    async def read_transaction(self, identity: str) -> Mapping[str, Any]:
        """Return a transaction's details, or {} with a reason in `unread`."""
        answer = await self.ask(
            "the transaction", "get_transaction_details", transaction_id=to_json_id(identity)
        )
        found = find_transaction(answer)
        found_id = first_field(found, "transaction_id", "id")
        if answer is not None and (
            not found or (found_id is not None and normalize_id(found_id) != identity)
        ):
            self.unread.append(f"transaction {identity}: {NOT_UNDERSTOOD}")
            return {}
        return found

    async def read_lead(self, identity: str, what: str) -> Mapping[str, Any]:
        """Return the lead of an id or address, or {} with a reason in `unread`."""
        if identity in self.leads:
            return self.leads[identity]
        who: dict[str, Any] = (
            {"email": identity} if "@" in identity else {"id": to_json_id(identity)}
        )
        answer = await self.ask(what, "get_lead", None, **who)
        details = find_object(answer, "lead_details", ("email", "id"))
        if answer is not None and not details:
            self.unread.append(f"{what}: {NOT_UNDERSTOOD}")
        if details:
            self.leads[identity] = details
        return details

    async def read_existing_lead(
        self, identity: str, what: str
    ) -> tuple[Mapping[str, Any], list[str]]:
        """Return a lead and the reasons why it could not be read; neither if it does not exist."""
        unread, absent = self.unread, self.absent
        self.unread, self.absent = [], set()
        try:
            details = await self.read_lead(identity, what)
            return details, [] if what in self.absent else self.unread
        finally:
            self.unread, self.absent = unread, absent


def find_transaction(answer: Any) -> Mapping[str, Any]:
    return find_object(answer, "transaction_details", ("transaction_id", "transaction_full_amount"))


def list_rows(answer: Any, name: str, what: str, reader: FactReader) -> list[Mapping[str, Any]]:
    """Return the rows of a list.

    Any other value, or a list with further pages, counts as not read.
    """
    rows = find_rows(answer, name)
    if answer is not None and not rows and not is_empty_list(answer, name):
        reader.unread.append(f"{what}: {NOT_UNDERSTOOD}")
    if has_more_pages(answer):
        reader.unread.append(f"{what}: there are more than one answer holds")
    return rows


def linked_subscription(transaction: Mapping[str, Any]) -> Any:
    """Return the subscription id in a transaction, as received."""
    return first_field(
        transaction,
        "transaction_internal_subscription_id",
        "subscription_id",
        "transaction_subscription_id",
    )


def describe_person(found: Mapping[str, Any], email: str) -> str:
    """Return `First Last <address>` of a lead or a buyer, as far as it is known."""
    parts = (
        first_field(found, "lead_first_name", "first_name"),
        first_field(found, "lead_last_name", "last_name"),
    )
    name = " ".join(short_text(part) for part in parts if part)
    return f"{name} <{email}>" if name and email else name or email


def short_text(value: Any) -> str:
    """Return a value of the account as one short line of clean text."""
    return "" if value is None else truncate(" ".join(strip_control_chars(str(value)).split()), 120)


def known_text(value: Any) -> str:
    """Return a value as `short_text`; "" for Kartra's zero dates and `N/A`."""
    text = short_text(value)
    return "" if text.lower() in _NO_VALUE or text.startswith("0000-00-00") else text


def without_empty(shown: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in shown.items() if value not in (None, "", [])}


def is_absent(problem: KartraMCPError) -> bool:
    """Return whether every error in Kartra's response means that the object does not exist."""
    detail: Any = problem.detail
    errors = as_list(detail.get("kartra")) if is_object(detail) else []
    types = {str(one.get("type")) for one in errors if is_object(one)}
    return problem.code == "kartra_error" and bool(types) and types <= ABSENT_TYPES
