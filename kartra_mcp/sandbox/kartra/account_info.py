"""Kartra's commands that read the account's own objects, and the one that adds a custom field."""

from __future__ import annotations

import re
from typing import Any

from kartra_mcp.sandbox.kartra.errors import require
from kartra_mcp.sandbox.kartra.leads import CHOICES, format_option
from kartra_mcp.sandbox.store import php_values
from kartra_mcp.sandbox.store.database import Account, Row

Map = dict[str, Any]
_TYPES = CHOICES | {"input_field", "text_area"}


def retrieve_account_tags(account: Account) -> Map:
    return {"account_tags": account.column("SELECT name FROM tags ORDER BY id")}


def retrieve_account_lists(account: Account) -> Map:
    return {"account_lists": account.column("SELECT name FROM lists ORDER BY id")}


def retrieve_account_sequences(account: Account) -> Map:
    return {"account_sequences": account.column("SELECT name FROM sequences ORDER BY id")}


def retrieve_account_pages(account: Account) -> Map:
    return {"account_pages": account.column("SELECT name FROM pages ORDER BY id")}


def retrieve_custom_fields(account: Account) -> Map:
    rows = account.rows("SELECT * FROM custom_fields ORDER BY id")
    return {"custom_fields": [_format_field(account, row) for row in rows]}


def _format_field(account: Account, row: Row) -> Map:
    field: Map = {
        "field_id": str(row["id"]),
        "field_identifier": row["identifier"],
        "field_type": row["type"],
    }
    if row["type"] in CHOICES:
        options = account.rows("SELECT id, value FROM options WHERE field_id = ?", row["id"])
        field["field_value"] = [format_option(one) for one in options]
    return field


def create_custom_field(account: Account, _lead: Map, action: Map) -> Map:
    identifier = php_values.text(action.get("custom_field_identifier")).strip()
    kind = php_values.text(action.get("custom_field_type")).strip()
    require(identifier, "265")
    require(re.fullmatch(r"[A-Za-z0-9_-]+", identifier), "263")
    taken = account.row("SELECT id FROM custom_fields WHERE identifier = ?", identifier)
    require(taken is None, "264")
    require(kind in _TYPES, "269")
    names = _insert_options(action.get("custom_field_options")) if kind in CHOICES else []
    number = account.run(
        "INSERT INTO custom_fields (identifier, type) VALUES (?, ?)", identifier, kind
    )
    for name in names:
        account.run("INSERT INTO options (field_id, value) VALUES (?, ?)", number, name)
    return {"message": "Custom field made", "type": "114"}


def _insert_options(options: object) -> list[str]:
    require(php_values.is_array(options), "270")
    names = [
        php_values.text(php_values.fields(one).get("option_name")).strip()
        for one in php_values.values(options)
    ]
    require(all(names), "272")
    require(len(names) > 1, "273")
    return names
