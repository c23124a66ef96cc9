"""The property of configuration files of clients: our entry is set and removed, nothing else."""

from __future__ import annotations

import re
from typing import Any

from kartra_mcp.client_config import edit
from kartra_mcp.client_config.entry import ServerEntry
from kartra_mcp.client_config.errors import UneditableConfigError
from kartra_mcp.client_config.registry import BY_NAME, ClientSpec

_ENTRY = ServerEntry("kartra", "/opt/bin/kartra-mcp", env={"KARTRA_MCP_READ_ONLY": "on"})
_EMPTY = re.compile(r"(extensions:)\s*(?:\{\s*\}|null|Null|NULL|~)")
"""The empty servers of Goose, which the first entry takes the place of."""


_MAX_YAML = 8 * 1024
"""Bytes of an input. The parser is slow and an edit reads the text several times: a longer input is
over the limit of time, though the time grows with the length alone (measured at 4, 8 and 16 KiB).
"""


def check_json(raw: bytes) -> None:
    _check_edits(BY_NAME["vscode"], raw)


def check_toml(raw: bytes) -> None:
    _check_edits(BY_NAME["codex"], raw)


def check_yaml(raw: bytes) -> None:
    _check_edits(BY_NAME["goose"], raw[:_MAX_YAML])


def _check_edits(client: ClientSpec, raw: bytes) -> None:
    """Set the entry twice and remove it: the others stay, and every line of the user's too."""
    text = raw.decode("utf-8", "replace")
    before = _list(client, text)
    _attempt(edit.own_entries, client, text)
    made = _attempt(edit.with_entry, client, text, _ENTRY)
    if before is None or made is None:
        return
    after = edit.list_entries(client, made.text)
    assert edit.get_command(client, after.pop("kartra"))[0] == _ENTRY.command
    others = {name: entry for name, entry in before.items() if name != "kartra"}
    assert repr(after) == repr(others) or after == others
    assert edit.with_entry(client, made.text, _ENTRY).change == "same"
    if made.change == "new":
        assert _is_inside(_EMPTY.sub(r"\1", text), made.text), "a line of the user's is lost"
    removed = _attempt(edit.without_entry, client, made.text, "kartra")
    if removed is not None:
        left = edit.list_entries(client, removed)
        assert repr(left) == repr(others) or left == others


def _list(client: ClientSpec, text: str) -> dict[str, Any] | None:
    return _attempt(edit.list_entries, client, text)


def _attempt(work: Any, *arguments: Any) -> Any:
    """Return the result, or None if the file is refused."""
    try:
        return work(*arguments)
    except UneditableConfigError:
        return None


def _is_inside(text: str, longer: str) -> bool:
    """Return whether a text is another one with something put in."""
    rest = iter(longer)
    return all(char in rest for char in text if not char.isspace())
