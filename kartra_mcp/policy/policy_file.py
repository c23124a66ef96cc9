"""Policy file to gates and caps; a bad value becomes the strictest. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from kartra_mcp.core.json_types import is_number, is_object
from kartra_mcp.core.models import Gate, Risk
from kartra_mcp.core.principal import Role, is_role
from kartra_mcp.core.toml_keys import has_long_key
from kartra_mcp.kartra.values import amount
from kartra_mcp.policy.limits import CAPS, NO_CAPS, GroupCaps

_RISKS: Mapping[str, Risk] = {"destructive": Risk.DESTRUCTIVE, "irreversible": Risk.IRREVERSIBLE}
_CAPS: Mapping[str, str] = {info.file_key: name for name, info in CAPS.items()}
_WHOLE = frozenset(info.file_key for info in CAPS.values() if info.whole)


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """Content of the file. `tools` are names or patterns with their gate, in the file's order.

    `person` and `roles` are caps of a team. `errors` are pairs of the expected value and the
    replacement of the bad one.
    """

    gates: Mapping[Risk, Gate] = field(default_factory=dict[Risk, Gate])
    tools: tuple[tuple[str, Gate], ...] = ()
    caps: Mapping[str, Any] = field(default_factory=dict[str, Any])
    person: GroupCaps = NO_CAPS
    roles: tuple[tuple[Role, GroupCaps], ...] = ()
    errors: tuple[tuple[str, str], ...] = ()


DENY_ALL_WRITES = PolicyFile(dict.fromkeys((Risk.WRITE, *_RISKS.values()), Gate.DENY))
"""Policy for an unreadable file: it may have restricted any tool, so no write runs."""

_DENIED = "deny for all that writes"


def parse_policy_file(text: str | None) -> PolicyFile:
    """Parse a policy file; None is a file that could not be read."""
    found = _parse_toml(text)
    if found is None:
        fault = ("a readable TOML file", _DENIED)
        return PolicyFile(DENY_ALL_WRITES.gates, errors=(fault,))
    faults = list(_iter_unknown_names(found))
    gates = {
        _RISKS[n]: _parse_gate(v, f"[gates] {n}", faults)
        for n, v in _iter_table(found, "gates", faults)
    }
    tools = [(n, _parse_tool_gate(v, n, faults)) for n, v in _iter_table(found, "tools", faults)]
    caps = {
        _CAPS[n]: _parse_cap(n, v, "[caps]", faults) for n, v in _iter_table(found, "caps", faults)
    }
    person, roles = _parse_groups(found.get("caps"), faults)
    if faults:
        gates |= DENY_ALL_WRITES.gates
    return PolicyFile(gates, tuple(tools), caps, person, roles, tuple(faults))


def _parse_groups(
    caps: Any, faults: list[tuple[str, str]]
) -> tuple[GroupCaps, tuple[tuple[Role, GroupCaps], ...]]:
    """Return the caps of each person, and of each role, of a team."""
    table: Mapping[str, Any] = caps if is_object(caps) else {}
    person = _parse_group(table.get("person", {}), "[caps.person]", faults)
    by_role = table.get("role", {})
    if not is_object(by_role):
        faults.append(("a table in [caps.role]", _DENIED))
        return person, ()
    roles: list[tuple[Role, GroupCaps]] = []
    for name, values in by_role.items():
        if not is_role(name):
            faults.append((f"free of unknown names: [caps.role.{name}]", _DENIED))
            continue
        roles.append((name, _parse_group(values, f"[caps.role.{name}]", faults)))
    return person, tuple(roles)


def _parse_group(values: Any, where: str, faults: list[tuple[str, str]]) -> GroupCaps:
    if not is_object(values):
        faults.append((f"a table in {where}", _DENIED))
        return NO_CAPS
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name in _CAPS:
            found[_CAPS[name]] = _parse_cap(name, value, where, faults)
        else:
            faults.append((f"free of unknown names: {where} {name}", _DENIED))
    return GroupCaps(**found)


def _parse_toml(text: str | None) -> dict[str, Any] | None:
    import tomllib

    if text is None or has_long_key(text):
        return None
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return None


def _iter_unknown_names(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Report an unknown name, which may be a misspelled restriction."""
    known = {"gates": {*_RISKS}, "caps": {*_CAPS, "person", "role"}}
    for table, names in known.items():
        inner = found.get(table)
        for name in inner if is_object(inner) else ():
            if name not in names:
                yield f"free of unknown names: [{table}] {name}", _DENIED
    for name in found:
        if name not in {"gates", "tools", "caps"}:
            yield f"free of unknown names: {name}", _DENIED


def _iter_table(
    found: Mapping[str, Any], name: str, faults: list[tuple[str, str]]
) -> Iterator[tuple[str, Any]]:
    inner = found.get(name, {})
    if not is_object(inner):
        faults.append((f"a table in [{name}]", _DENIED))
        return
    known = {"gates": _RISKS, "caps": _CAPS}.get(name)
    yield from ((n, v) for n, v in inner.items() if known is None or n in known)


def _parse_tool_gate(value: Any, name: str, faults: list[tuple[str, str]]) -> Gate:
    if not name.lower().startswith(("kartra_", "*", "?", "[")):
        faults.append((f"free of names that no tool has: [tools] {name}", _DENIED))
    text = value.get("gate") if is_object(value) and set(value) == {"gate"} else value
    return _parse_gate(text, f"[tools] {name}", faults)


def _parse_gate(value: Any, where: str, faults: list[tuple[str, str]]) -> Gate:
    if isinstance(value, str) and value.lower() in set(map(str, Gate)):
        return Gate(value.lower())
    faults.append((f"a gate at {where}", "deny"))
    return Gate.DENY


def _parse_cap(name: str, value: Any, where: str, faults: list[tuple[str, str]]) -> Any:
    text = str(value) if is_number(value) or isinstance(value, str) else ""
    if name in _WHOLE and re.fullmatch(r"[0-9]{1,7}", text):
        return int(text)
    sum_of_money = None if name in _WHOLE else amount(text)
    if sum_of_money is not None:
        return sum_of_money
    faults.append((f"a limit at {where} {name}", "0"))
    return 0 if name in _WHOLE else Decimal(0)
