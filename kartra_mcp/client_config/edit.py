"""Edits of a configuration's text: set or remove our entry. Each result is parsed and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from types import ModuleType
from typing import Any, Literal

from kartra_mcp.client_config import jsonc_edit, toml_edit, yaml_edit
from kartra_mcp.client_config.entry import ServerEntry, dropped_arguments, is_ours
from kartra_mcp.client_config.errors import UneditableConfigError
from kartra_mcp.client_config.registry import ClientSpec
from kartra_mcp.core.json_types import as_list, is_array, is_object

How = Literal["new", "updated", "same"]
_FORMS: Mapping[str, ModuleType] = {"json": jsonc_edit, "toml": toml_edit, "yaml": yaml_edit}


@dataclass(frozen=True, slots=True)
class Edited:
    """Edited text and a summary of the change.

    `kept` names settings of the entry that were not given again; `lost` names what only the
    replaced entry had.
    """

    text: str
    change: How
    kept: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


class ForeignEntryError(UneditableConfigError):
    """An entry of that name starts another program."""


class WouldRelaxError(UneditableConfigError):
    """The entry has flags or settings that the new one would lose."""


def list_entries(client: ClientSpec, text: str) -> dict[str, Any]:
    """Return every server in the text, by name.

    Raises:
        UneditableConfigError: the text cannot be parsed, or its servers are not an object.
    """
    data = _FORMS[client.form].read(text)
    if not is_object(data):
        raise UneditableConfigError("does not contain an object")
    servers = data.get(client.outer)
    if servers is None:
        return {}
    if not is_object(servers):
        raise UneditableConfigError(f"has a `{client.outer}` that is not an object")
    return dict(servers)


def get_command(client: ClientSpec, entry: Any) -> tuple[str, tuple[str, ...]]:
    """Return command and arguments of a server; ("", ()) if it is not started by a command."""
    if not is_object(entry) or not isinstance(entry.get(client.command), str):
        return "", ()
    words = as_list(entry.get("args"))
    return str(entry[client.command]), tuple(word for word in words if isinstance(word, str))


def own_entries(client: ClientSpec, text: str) -> dict[str, Any]:
    """Return the servers that start kartra-mcp.

    Raises:
        UneditableConfigError: see `list_entries`.
    """
    return {n: e for n, e in list_entries(client, text).items() if is_ours(*get_command(client, e))}


def with_entry(
    client: ClientSpec, text: str, entry: ServerEntry, *, replace: bool = False
) -> Edited:
    """Return the text with our entry. With `replace`, another program's entry is overwritten too.

    Raises:
        ForeignEntryError: an entry of that name starts another program.
        WouldRelaxError: flags or settings would be lost.
        UneditableConfigError: the text cannot be parsed or edited.
    """
    there = list_entries(client, text)
    now = there.get(entry.name)
    kept: Mapping[str, Any] | None = None
    if entry.name in there and not replace:
        kept = _value_to_keep(client, now, entry)
    value = client.make_entry(entry, kept)
    if _is_same(value, now):
        return Edited(text, "same", _list_kept_settings(client, kept, entry))
    made = _set_value(client, text, (client.outer, entry.name), value, kept)
    _require_agreement(client, text, made, {**there, entry.name: value})
    return Edited(
        made,
        "updated" if now is not None else "new",
        _list_kept_settings(client, kept, entry),
        _list_lost_names(client, now, value, entry) if kept is None else (),
    )


def without_entry(client: ClientSpec, text: str, name: str) -> str:
    """Return the text without our entry; unchanged if there was none.

    Raises:
        ForeignEntryError: an entry of that name starts another program.
        UneditableConfigError: the text cannot be parsed or edited.
    """
    there = list_entries(client, text)
    if name not in there:
        return text
    if not is_ours(*get_command(client, there[name])):
        raise ForeignEntryError(f"has another server named `{name}`")
    made = _FORMS[client.form].remove_entry(text, (client.outer, name))
    _require_agreement(client, text, made, {n: e for n, e in there.items() if n != name})
    return made


def make_snippet(client: ClientSpec, entry: ServerEntry) -> str:
    """Return a configuration that contains only our entry."""
    return _FORMS[client.form].set_entry("", (client.outer, entry.name), client.make_entry(entry))


def _value_to_keep(client: ClientSpec, now: Any, entry: ServerEntry) -> Mapping[str, Any]:
    command, args = get_command(client, now)
    if not is_ours(command, args):
        raise ForeignEntryError(f"has another server named `{entry.name}`")
    lost = dropped_arguments(command, args, entry.args)
    if lost:
        raise WouldRelaxError(f"has `{entry.name}` with {', '.join(lost)}, which would be lost")
    return now


def _list_kept_settings(
    client: ClientSpec, kept: Mapping[str, Any] | None, entry: ServerEntry
) -> tuple[str, ...]:
    env: Any = (kept or {}).get(client.env)
    return tuple(name for name in env if name not in entry.env) if is_object(env) else ()


def _list_lost_names(
    client: ClientSpec, now: Any, value: Mapping[str, Any], entry: ServerEntry
) -> tuple[str, ...]:
    """Return names of settings, fields and arguments that only the replaced entry had."""
    if not is_object(now):
        return ()
    command, args = get_command(client, now)
    words = dropped_arguments(command, args, entry.args)
    fields = (name for name in now if name not in value and name != client.env)
    return tuple(dict.fromkeys((*_list_kept_settings(client, now, entry), *words, *fields)))


def _set_value(
    client: ClientSpec,
    text: str,
    path: Sequence[str],
    value: Mapping[str, Any],
    kept: Mapping[str, Any] | None,
) -> str:
    form = _FORMS[client.form]
    if kept is None or client.form != "json":
        return form.set_entry(text, path, value)
    for name, part in value.items():
        if name not in kept or kept[name] != part:
            text = form.set_entry(text, (*path, name), part)
    return text


def _require_agreement(
    client: ClientSpec, before: str, after: str, servers: Mapping[str, Any]
) -> None:
    """Require that the edited text contains the entry, and everything else unchanged."""
    read = _FORMS[client.form].read
    meant = {**read(before), client.outer: dict(servers)}
    try:
        found = read(after)
        if not servers and client.outer not in found:  # TOML has no empty table without a header
            del meant[client.outer]
        agrees = _is_same(meant, found)
    except UneditableConfigError:
        agrees = False
    if not agrees:
        raise UneditableConfigError(f"has `{client.outer}` in a form that cannot be edited")


def _is_same(one: Any, other: Any) -> bool:
    """Compare data; NaN, which TOML and YAML allow, counts as equal to itself."""
    if one == other:
        return True
    if is_object(one) and is_object(other):
        return one.keys() == other.keys() and all(_is_same(one[n], other[n]) for n in one)
    if is_array(one) and is_array(other):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return isinstance(one, float) and isinstance(other, float) and isnan(one) and isnan(other)
