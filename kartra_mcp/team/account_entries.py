"""`accounts` of a team file: each Kartra account, its access, members and approvals. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

from kartra_mcp.kartra.values import amount
from kartra_mcp.membrane.credentials import ADDRESS as MEMBRANE_ADDRESS
from kartra_mcp.team.addresses import ADDRESS
from kartra_mcp.team.config import (
    DEFAULT_APPROVERS,
    ApprovalBand,
    MembraneAccess,
    TeamAccount,
    make_endpoint,
)
from kartra_mcp.team.faults import FaultList, quote
from kartra_mcp.team.mapping_reader import MappingReader, Place, iterate_mapping
from kartra_mcp.team.yaml_tree import Node

MAX_APPROVERS = 10
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
"""At most 40: it is a part of an address and of the name of a schema."""

_CONNECTION_ID = re.compile(r"[0-9a-f]{24}", re.IGNORECASE)
_KEYS = ("title", "audiences", "members", "membrane", "policy", "approvals")
_WORKSPACE = ("workspace_key", "workspace_secret_file", "tenant_key")
_TOKEN = "access_token_file"  # noqa: S105  the name of a key
_LAST_BAND = "Write the bands in order; the last one without up_to"


def parse_accounts(
    reader: MappingReader, faults: FaultList, public_url: str
) -> Mapping[str, TeamAccount]:
    """Read every account, and refuse two that are one Kartra account."""
    node = reader.require("accounts")
    if node is None:
        return {}
    place = reader.locate("accounts")
    found: dict[str, TeamAccount] = {}
    lines: dict[str, int] = {}
    for name, value in iterate_mapping(node, place, faults):
        if not _NAME.fullmatch(name.text):
            problem = f"{quote(name.text)} cannot be part of an address"
            faults.add(name.line, place.key, problem, "Use a-z, 0-9 and -, at most 40")
            continue
        lines[name.text] = name.line
        entry = MappingReader(value, place.below(name.text, name.line), faults, _KEYS)
        found[name.text] = _read_account(entry, name.text, faults, public_url)
    if not found:
        faults.add(place.line, place.key, "names no account", "Write one below")
    _check_audiences(found, lines, faults, public_url)
    _check_connections(found, lines, faults)
    return found


def _read_account(
    reader: MappingReader, name: str, faults: FaultList, public_url: str
) -> TeamAccount:
    own = (make_endpoint(public_url, name),)
    return TeamAccount(
        name=name,
        title=reader.text("title", name),
        audiences=reader.texts("audiences") if reader.has("audiences") else own,
        membrane=_read_membrane(reader, faults),
        members=reader.texts("members") if reader.has("members") else None,
        policy=reader.text("policy", ""),
        approvals=_read_approvals(reader, faults),
    )


def _read_membrane(reader: MappingReader, faults: FaultList) -> MembraneAccess:
    node = reader.require("membrane")
    if node is None:
        return MembraneAccess()
    known = ("api", *_WORKSPACE, _TOKEN, "connection")
    access = MappingReader(node, reader.locate("membrane"), faults, known)
    fixed = access.has(_TOKEN)
    if fixed and any(map(access.has, _WORKSPACE)):
        access.fault(_TOKEN, f"{' and '.join(_WORKSPACE)} are there too", "Write one or the other")
    values = {name: "" if fixed else access.text(name) for name in _WORKSPACE}
    return MembraneAccess(
        api=access.checked("api", ADDRESS, MEMBRANE_ADDRESS).rstrip("/"),
        **values,
        access_token_file=access.text(_TOKEN, ""),
        connection=access.text("connection"),
    )


def _read_approvals(reader: MappingReader, faults: FaultList) -> tuple[ApprovalBand, ...]:
    if not reader.has("approvals"):
        return (ApprovalBand(None, DEFAULT_APPROVERS),)
    nodes = reader.items("approvals")
    place = reader.locate("approvals")
    bands = [_read_band(node, place, number, faults) for number, node in enumerate(nodes)]
    if bands and not _are_ordered(bands):
        problem = "are not in order: each band covers larger sums, with no fewer approvers"
        reader.fault("approvals", problem, _LAST_BAND)
    return tuple(bands)


def _read_band(node: Node, place: Place, number: int, faults: FaultList) -> ApprovalBand:
    at = Place(node.line, f"{place.key}[{number}]")
    reader = MappingReader(node, at, faults, ("up_to", "approvers"))
    return ApprovalBand(reader.amount("up_to", amount), reader.whole("approvers", 1, MAX_APPROVERS))


def _are_ordered(bands: Sequence[ApprovalBand]) -> bool:
    limits = [Decimal("Infinity") if band.up_to is None else band.up_to for band in bands]
    counts = [band.approvers for band in bands]
    rising = all(one < other for one, other in itertools.pairwise(limits))
    return rising and counts == sorted(counts) and bands[-1].up_to is None and limits[0] > 0


def _check_audiences(
    accounts: Mapping[str, TeamAccount],
    lines: Mapping[str, int],
    faults: FaultList,
    public_url: str,
) -> None:
    """Refuse the address of another account as an audience: its tokens would pass here."""
    for name, account in accounts.items():
        for other in accounts:
            if other != name and make_endpoint(public_url, other) in account.audiences:
                problem = f"accepts the tokens of {other}: its audiences have that address"
                faults.add(lines[name], f"accounts.{name}", problem, "Remove it there")


def _check_connections(
    accounts: Mapping[str, TeamAccount], lines: Mapping[str, int], faults: FaultList
) -> None:
    """Refuse two entries with one connection: a refund would pass once for each of them.

    Seen here: the same id, or the same key or name in one tenant. Two different connections to one
    Kartra account cannot be seen in the file.
    """
    names = list(accounts)
    for number, name in enumerate(names):
        for other in names[:number]:
            if is_same_connection(accounts[name].membrane, accounts[other].membrane):
                problem = f"has the connection of {other}; one Kartra account has one entry"
                faults.add(lines[name], f"accounts.{name}", problem, f"Remove {name} or {other}")


def is_same_connection(one: MembraneAccess, other: MembraneAccess) -> bool:
    """Return whether two entries certainly name one Membrane connection."""
    if not one.connection or one.connection.casefold() != other.connection.casefold():
        return False
    return bool(_CONNECTION_ID.fullmatch(one.connection)) or _tenant(one) == _tenant(other)


def _tenant(access: MembraneAccess) -> tuple[str, ...]:
    return (access.api, access.workspace_key, access.tenant_key, access.access_token_file)
