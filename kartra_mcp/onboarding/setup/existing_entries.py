"""What our entries in the person's clients say now, and which of two values is the stricter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kartra_mcp.client_config.edit import get_command, own_entries
from kartra_mcp.client_config.errors import UneditableConfigError
from kartra_mcp.client_config.files import decode_text, locate, read
from kartra_mcp.client_config.registry import CLIENTS, ClientSpec
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.json_types import is_object
from kartra_mcp.core.models import Gate, Risk
from kartra_mcp.onboarding.doctor.launch_settings import server_arguments
from kartra_mcp.options import parse_flags
from kartra_mcp.settings import Settings, explicit_settings, read_settings

NO_LIMIT = float("inf")
NUMBERS = frozenset({"MAIL_PER_HOUR", "REPEAT_WINDOW_DAYS", "MAX_CHILDREN", "RATE"})
"""Numbers that no question asks for; where entries differ in them, the strictest holds."""

INCOMPARABLE = ("ALLOW", "POLICY")
"""Settings of which neither is the stricter: where entries differ in them, a person says which."""


def read_entries(settings: Settings, name: str) -> dict[str, dict[str, str]]:
    """Of each client that has our entry of this name: its settings, without their prefix.

    What stands in its arguments counts as what stands in its variables does, and before it.
    """
    found = ((client.name, _read_entry(client, settings, name)) for client in CLIENTS)
    return {client: said for client, said in found if said is not None}


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
    said: Mapping[str, Any] = env if is_object(env) else {}
    flags, _ = parse_flags(server_arguments(*get_command(client, entry)))
    return explicit_settings(flags, {n: str(v) for n, v in said.items()})


def merged_entry(name: str, there: Mapping[str, Mapping[str, str]]) -> str:
    """The value with which a further entry is no wider than any there; "" is unset.

    Of what widens nothing it is the value that all have.
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
    """Each value that entries give a setting, "" for none, and the clients that have it."""
    found: dict[str, list[str]] = {}
    for client, entry in there.items():
        text = entry.get(name, "")
        text = ",".join(sorted(_split_parts(text))) if name == "ALLOW" else text
        found.setdefault(text, []).append(client)
    return found


def _split_parts(text: str | None) -> set[str]:
    return {part.strip() for part in (text or "").split(",") if part.strip()}


def find_strictest(name: str, there: Mapping[str, Mapping[str, str]]) -> str | None:
    """The strictest value of a setting in the entries, "" for unset; None without an entry."""
    said: Iterable[str] = (entry.get(name, "") for entry in there.values())
    return max(said, key=lambda text: measure_strictness(name, text), default=None)


def is_looser(name: str, then: str, now: str) -> bool:
    """Whether one value of a setting lets more through than another; "" is unset."""
    return measure_strictness(name, then) < measure_strictness(name, now)


def measure_strictness(name: str, text: str) -> float:
    """Of a value as the server takes it, a bad one too; more is stricter."""
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
    cap = getattr(settings.limits, name.lower())
    return -NO_LIMIT if cap is None else -float(cap)
