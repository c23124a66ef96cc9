"""Checks of a write against the account, before its consent: the user is not asked for a mistake.

Kartra ignores an unknown custom field and reports success. It takes an option only by its id. If an
id and an address contradict each other, it takes the id.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from kartra_mcp.calls.account_names import AccountNames
from kartra_mcp.calls.new_lead_checks import check_chain_names
from kartra_mcp.catalogue.catalogue import ActionTool
from kartra_mcp.catalogue.command_checks import value_error
from kartra_mcp.consent.facts import Read
from kartra_mcp.consent.lead_edit import names_no_field
from kartra_mcp.core.deferred import Deferred
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.json_types import as_list, is_object
from kartra_mcp.core.models import Action, Call, Command, Connection, Gate, RawRequest
from kartra_mcp.core.sanitize import strip_control_chars, truncate
from kartra_mcp.kartra import addresses, custom_fields
from kartra_mcp.kartra.command_values import find_past_date
from kartra_mcp.kartra.custom_fields import CustomField, FieldFault, FieldResolver
from kartra_mcp.kartra.form_encoding import encode_form, parse_form
from kartra_mcp.kartra.listings import (
    LISTINGS,
    NO_PERMISSION,
    WRONG_NAME_TYPES,
    Listing,
    find_given_name,
    parse_names,
)
from kartra_mcp.kartra.names import find_nearest, fold_text
from kartra_mcp.kartra.operations import derive_operation
from kartra_mcp.kartra.response_search import find_object, first_field
from kartra_mcp.kartra.values import normalize_id, to_json_id

MAX_FAULTS = 5


@dataclass(frozen=True, slots=True)
class ArgumentChecks:
    """The checks of one call; `entries` are the served tools, which remedies name."""

    names: AccountNames
    connection: Connection
    read: Read
    entries: Iterable[ActionTool]

    async def check(self, call: Call) -> Call:
        """Return the call as Kartra takes it.

        Raises:
            RefusedError: `invalid_arguments`, or the error of a read that the check needs.
        """
        if names_no_field(call):
            raise _nothing_to_edit_error()
        now = datetime.now(UTC)
        past = [find_past_date(command, now) for command in call.commands]
        if any(past):
            raise value_error(filter(None, past))
        await check_chain_names(call, self.connection, self.names, self.read)
        for command in call.commands:
            await self._check_lead(command)
        if call.decision.gate in (Gate.PREVIEW, Gate.HUMAN):
            await self.check_names(call)
        if any(_sets_custom_fields(command) for command in call.commands):
            call = await self._check_custom_fields(call)
        return call

    async def check_names(self, call: Call) -> None:
        """Refuse a name that the account does not have, whatever the gate of the call is."""
        for command in call.commands:
            await self._check_name(command)

    async def _check_lead(self, command: Command) -> None:
        """Refuse an id and an address of two leads; a lead that does not exist fails by itself."""
        named = addresses.find_named_twice(command)
        if named is None:
            return
        number, given = named
        try:
            answer = await self.read(Command("get_lead", {"id": to_json_id(number)}))
        except KartraMCPError as problem:
            if problem.code == "kartra_error":
                return
            raise
        found = find_object(answer, "lead_details", ("email", "id"))
        email = first_field(found, "email")
        if isinstance(email, str) and normalize_id(email) != given:
            raise _two_leads_error(number, email, edits=command.name == "edit_lead")

    async def _check_name(self, command: Command) -> None:
        """Refuse a tag, list or sequence that the account does not have, in no spelling.

        Kartra may ignore case, so that only it can refuse a name that is spelled almost right.
        """
        listing = LISTINGS.get(command.name)
        given = find_given_name(command, listing) if listing else ""
        if not listing or not given or listing.command == "get_lead":
            return
        kept = parse_names(self.names.peek(self.connection, listing.command), listing)
        if _has_name(given, kept):
            return
        known = await self._read_names(listing, command)
        if known and not _has_name(given, known):
            raise RefusedError(
                "invalid_arguments",
                f"The account has no {listing.noun} of this name. Nothing was done.",
                self._name_remedy(listing),
                detail={"nearest": find_nearest(given, known)},
            )

    async def _read_names(self, listing: Listing, command: Command) -> list[str]:
        """Return the account's names, or the lead's memberships; none if they cannot be read."""
        try:
            if listing.command != "get_lead":
                answer = await self.names.read(self.connection, listing.command, self.read)
            else:
                answer = await self.read(Command("get_lead", addresses.find_lead(command)))
        except KartraMCPError:
            return []
        return parse_names(answer, listing)

    def _name_remedy(self, listing: Listing) -> str:
        tool = name_read_tool(listing.command, self.entries)
        whose = " of a lead" if listing.command == "get_lead" else ""
        return (
            f"{tool} lists the {listing.noun}s{whose}. Use a name exactly as it is there; "
            "`detail` has the nearest."
        )

    async def explain(self, problem: KartraMCPError, call: Call) -> None:
        """Add the nearest names and the tool that lists them to the error of a wrong name."""
        detail = problem.detail
        if problem.code != "kartra_error" or not is_object(detail):
            return
        for part in (*as_list(detail.get("kartra")), *as_list(detail.get("not_done"))):
            given = _find_command(call, part)
            listing = LISTINGS.get(given.name) if given else None
            if given and listing and "index" in part:
                part[listing.noun] = find_given_name(given, listing)
            if given is None or listing is None or not _is_about_name(part, listing):
                continue
            known = await self._read_names(listing, given)
            near = find_nearest(find_given_name(given, listing), known)
            if near:
                part["nearest"] = near
            if part.get("type") == NO_PERMISSION:
                problem.message = (
                    "Kartra refused the command: the membership or level does not exist, or the "
                    "app of this connection may not use the command."
                )
            problem.remedy = self._name_remedy(listing)

    async def _check_custom_fields(self, call: Call) -> Call:
        kept = self.names.peek(self.connection, custom_fields.READ_COMMAND)
        if kept is not None:
            known = custom_fields.parse_custom_fields(kept)
            found, faults = _resolve(call, known or {})
            if known is not None and not faults:
                return found
        found, faults = _resolve(call, await self._read_custom_fields())
        if faults:
            raise self._field_error(faults)
        return found

    async def _read_custom_fields(self) -> Mapping[str, CustomField]:
        try:
            answer = await self.names.read(self.connection, custom_fields.READ_COMMAND, self.read)
        except KartraMCPError as problem:
            if problem.code == "connection_not_ready":
                raise
            raise _unread_error(problem.code, problem.detail) from None
        known = custom_fields.parse_custom_fields(answer)
        if known is None:
            raise _unread_error("unreadable_answer", None)
        return known

    def _field_error(self, faults: list[FieldFault]) -> RefusedError:
        named = "; ".join(f"{_clean(fault.path)}: {fault.text}" for fault in faults[:MAX_FAULTS])
        more = f" and {len(faults) - MAX_FAULTS} more" if len(faults) > MAX_FAULTS else ""
        about = [{"argument": _clean(f.path), **f.about} for f in faults[:MAX_FAULTS]]
        return RefusedError(
            "invalid_arguments",
            f"Invalid custom fields: {named}{more}. Nothing was done.",
            "Use a name or a choice from `detail`, spelled as it is there. "
            f"{name_read_tool(custom_fields.READ_COMMAND, self.entries)} lists all of them.",
            detail={"custom_fields": about},
        )


def _nothing_to_edit_error() -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        "The edit names no field to write. Nothing was done.",
        "Give at least one field with its new value, such as phone or new_email.",
    )


def name_read_tool(command: str, entries: Iterable[ActionTool]) -> str:
    """Return the tool that runs a read command: its action's, else the raw read."""
    own = sorted(entry.tool for entry in entries if entry.command == command)
    return own[0] if own else f'kartra_proxy_read with {{"cmd": "{command}"}}'


def _sets_custom_fields(command: Command) -> bool:
    writes = command.name in custom_fields.COMMANDS
    return writes and custom_fields.has_custom_fields([command.arguments, command.lead])


def _resolve(call: Call, known: Mapping[str, CustomField]) -> tuple[Call, list[FieldFault]]:
    """Return the call with option ids for labels; its operation is derived again."""
    resolver = FieldResolver(known)
    if isinstance(call.request, Action):
        given: dict[str, Any] = resolver.resolve(dict(call.arguments))
        commands = tuple(replace(command, arguments=given) for command in call.commands)
        found = replace(call, arguments=given, commands=commands)
    else:
        found = _resolve_raw(call, call.request, resolver)
    return replace(found, deferred=Deferred(lambda: derive_operation(found))), resolver.faults


def _resolve_raw(call: Call, request: RawRequest, resolver: FieldResolver) -> Call:
    """Resolve the lead of a raw request, in its commands and in the text that is sent."""
    if request.body is None:  # the commands are in the query, which has no room for labels
        resolver.resolve([dict(command.lead) for command in request.commands])
        return call
    as_json = "json" in request.content_type
    body = json.loads(request.body) if as_json else parse_form(request.body)
    sent = resolver.resolve(body)
    if sent == body:
        return call
    # ASCII, as the guard writes it: the text is the same for every parser.
    text = json.dumps(sent, separators=(",", ":")) if as_json else encode_form(sent)
    commands = tuple(replace(one, lead=sent.get("lead", {})) for one in request.commands)
    return replace(call, request=replace(request, body=text, commands=commands), commands=commands)


def _has_name(given: str, known: Iterable[str]) -> bool:
    return fold_text(given) in map(fold_text, known)


def _find_command(call: Call, part: Mapping[str, Any]) -> Command | None:
    """Return the command that a part of an error is about."""
    named = [command for command in call.commands if command.name == part.get("command")]
    at = part.get("index")
    exact = isinstance(at, int) and at < len(call.commands) and call.commands[at] in named
    return call.commands[at] if exact and isinstance(at, int) else next(iter(named), None)


def _is_about_name(part: Mapping[str, Any], listing: Listing) -> bool:
    of_lead = listing.command == "get_lead"
    kind = part.get("type")
    return kind == NO_PERMISSION if of_lead else kind in WRONG_NAME_TYPES


def _two_leads_error(number: str, email: str, *, edits: bool) -> RefusedError:
    change = " To change the address, give `new_email`." if edits else ""
    return RefusedError(
        "invalid_arguments",
        "The e-mail address and the id do not name the same lead; Kartra would take the id. "
        "Nothing was done.",
        f"Read both leads (kartra_get_lead), then give only one of the two.{change}",
        detail={"lead_id": number, "email": email},
    )


def _unread_error(code: str, detail: Any) -> RefusedError:
    return RefusedError(
        code,
        "The account's custom fields could not be read, so the given ones cannot be checked. "
        "Nothing was done.",
        "Repeat the call in a moment, or leave the custom fields out.",
        detail=detail,
    )


def _clean(path: str) -> str:
    return truncate(strip_control_chars(path), 80)
