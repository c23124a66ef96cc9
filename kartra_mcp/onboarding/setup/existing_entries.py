"""Settings of our entries in the user's clients, and the comparison of their strictness."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kartra_mcp.argument_parser import parse_entry
from kartra_mcp.client_config.edit import get_command, own_entries
from kartra_mcp.client_config.errors import UneditableConfigError
from kartra_mcp.client_config.files import decode_text, locate, read
from kartra_mcp.client_config.registry import CLIENTS, ClientSpec
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.json_types import as_dict, is_object
from kartra_mcp.core.models import Gate, Risk
from kartra_mcp.onboarding.doctor.launch_settings import server_arguments
from kartra_mcp.policy.limits import LIMITS
from kartra_mcp.settings import Settings, explicit_settings, read_settings

NO_LIMIT = float("inf")
NUMBERS = frozenset({"MAIL_PER_HOUR", "REPEAT_WINDOW_DAYS", "MAX_CHILDREN", "RATE"})
"""Numbers without a question of their own; if entries differ, the strictest value is used."""

INCOMPARABLE = ("ALLOW", "POLICY")
"""Settings whose values have no order of strictness; if entries differ, the user chooses."""


def read_entries(settings: Settings, name: str) -> dict[str, dict[str, str]]:
    """Return the settings of our entry of this name by client, without their prefix.

    Arguments of the entry count as settings too, and win over its variables.
    """
    found = ((client.name, _read_entry(client, settings, name)) for client in CLIENTS)
    return {client: values for client, values in found if values is not None}


def _read_entry(client: ClientSpec, settings: Settings, name: str) -> dict[str, str] | None:
    try:
        file = locate(client, settings).file
        data = read(file)
        entry = None if data is None else own_entries(client, decode_text(file, data)).get(name)
    except (RefusedError, UneditableConfigError):
        return None
    if not is_object(entry):
        return None
    env: Any = entry.get(client.env)
    values: Mapping[str, Any] = as_dict(env)
    flags, _ = parse_entry(server_arguments(*get_command(client, entry)))
    return explicit_settings(flags, {n: str(v) for n, v in values.items()})


def merged_entry(name: str, there: Mapping[str, Mapping[str, str]]) -> str:
    """Return the value that makes a further entry no looser than the others; "" is unset.

    Settings without an order of strictness get the value on which all entries agree, else "".
    """
    if name == "DENY":
        return ",".join(
            sorted({p for entry in there.values() for p in _split_parts(entry.get(name))})
        )
    if name in NUMBERS:
        return find_strictest(name, there) or ""
    found = group_values(name, there)
    return next(iter(found)) if len(found) == 1 else ""


def group_values(name: str, there: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """Return each value of a setting ("" for unset) with the clients that have it."""
    found: dict[str, list[str]] = {}
    for client, entry in there.items():
        text = entry.get(name, "")
        text = ",".join(sorted(_split_parts(text))) if name == "ALLOW" else text
        found.setdefault(text, []).append(client)
    return found


def _split_parts(text: str | None) -> set[str]:
    return {part.strip() for part in (text or "").split(",") if part.strip()}


def find_strictest(name: str, there: Mapping[str, Mapping[str, str]]) -> str | None:
    """Return the strictest value of a setting ("" for unset); None without an entry."""
    values: Iterable[str] = (entry.get(name, "") for entry in there.values())
    return max(values, key=lambda text: measure_strictness(name, text), default=None)


def is_looser(name: str, then: str, now: str) -> bool:
    """Return true if `then` allows more than `now`; "" is unset."""
    return measure_strictness(name, then) < measure_strictness(name, now)


def measure_strictness(name: str, text: str) -> float:
    """Rate a value as the server would use it, a bad one too; higher is stricter."""
    settings = read_settings({name: text} if text else {}, {})
    gates = {"GATE_DESTRUCTIVE": Risk.DESTRUCTIVE, "GATE_IRREVERSIBLE": Risk.IRREVERSIBLE}
    if name in gates:
        return tuple(Gate).index(settings.gates[gates[name]])
    if name in ("READ_ONLY", "APPROVAL"):
        return float(settings.read_only if name == "READ_ONLY" else settings.out_of_band_approval)
    if name == "REPEAT_WINDOW_DAYS":
        return settings.limits.repeat_window_days
    if name in ("MAX_CHILDREN", "RATE"):
        return -settings.max_children if name == "MAX_CHILDREN" else -(settings.rate or NO_LIMIT)
    field = next(field for field, info in LIMITS.items() if info.option == name)
    cap = getattr(settings.limits, field)
    return -NO_LIMIT if cap is None else -float(cap)
