"""Leads: find, create, edit and print them; Kartra's lead commands and `get_lead`."""

from __future__ import annotations

import json
from typing import Any

from kartra_mcp.sandbox.kartra.errors import KartraError, require
from kartra_mcp.sandbox.store import clock, php_values
from kartra_mcp.sandbox.store.database import Account, Row

TEXTS = [
    "first_name",
    "middle_name",
    "last_name",
    "last_name2",
    "phone",
    "phone_country_code",
    "ip",
    "address",
    "zip",
    "city",
    "state",
    "country",
    "company",
    "lead_picture",
    "website",
    "facebook",
    "twitter",
    "linkedin",
    "lead_preferred_time_zone",
    "sales_tax_id",
    "business_type",
]
GONE = 1
"""A deleted lead of which Kartra answers only 245. A 2 is still read and written."""
CHOICES = {"drop_down", "radio_button", "checkbox"}


def is_named(lead: dict[str, Any]) -> bool:
    return not (php_values.is_blank(lead.get("id")) and php_values.is_blank(lead.get("email")))


def find(account: Account, lead: dict[str, Any], missing: str = "243") -> Row:
    """Find the lead; its id takes precedence over its e-mail address."""
    if php_values.is_blank(lead.get("id")):
        email = php_values.text(lead.get("email")).strip()
        found = account.row("SELECT * FROM leads WHERE email = ?", email)
    else:
        number = php_values.integer(lead["id"])
        found = account.row("SELECT * FROM leads WHERE id = ?", number)
    if found is None:
        raise KartraError(missing)
    require(found["deleted"] != GONE, "245")
    return found


def search_lead(account: Account, lead: dict[str, Any], _action: dict[str, Any]) -> dict[str, Any]:
    found = find(account, lead)
    return {"message": "Lead found", "lead_details": {"id": str(found["id"])}}


def create_lead(account: Account, lead: dict[str, Any], _action: dict[str, Any]) -> dict[str, Any]:
    email = php_values.text(lead.get("email")).strip()
    require(email, "206")
    taken = account.row("SELECT deleted FROM leads WHERE email = ?", email)
    if taken is not None:
        raise KartraError("245" if taken["deleted"] == GONE else "244")
    number = account.run(
        "INSERT INTO leads (email, date_joined) VALUES (?, ?)", email, clock.in_days(0)
    )
    _write(account, number, lead)
    return {"lead_details": {"id": str(number)}}


def edit_lead(account: Account, lead: dict[str, Any], _action: dict[str, Any]) -> dict[str, Any]:
    number = find(account, lead)["id"]
    _write(account, number, lead)
    _rename(account, number, php_values.text(lead.get("new_email")).strip())
    return {"message": "Lead edited", "lead_details": {"id": str(number)}}


def _rename(account: Account, number: int, email: str) -> None:
    if not email:
        return
    taken = account.row("SELECT id FROM leads WHERE email = ? AND id <> ?", email, number)
    require(taken is None, "244")
    account.run("UPDATE leads SET email = ? WHERE id = ?", email, number)


def _write(account: Account, number: int, lead: dict[str, Any]) -> None:
    for column in TEXTS:
        if column in lead:
            value = php_values.text(lead[column])
            account.run(f"UPDATE leads SET {column} = ? WHERE id = ?", value, number)
    if "custom_fields" in lead:
        _write_fields(account, number, lead["custom_fields"])


def _write_fields(account: Account, number: int, entries: object) -> None:
    require(php_values.is_array(entries), "271")
    for entry in php_values.values(entries):
        require(
            php_values.is_map(entry) and not php_values.is_blank(entry.get("field_identifier")),
            "271",
        )
        identifier = php_values.text(entry["field_identifier"]).strip()
        field = account.row("SELECT * FROM custom_fields WHERE identifier = ?", identifier)
        if field is not None:  # an unknown field is passed over, and that is a success
            value = _parse_field_value(account, field, entry.get("field_value"))
            account.run(
                "INSERT OR REPLACE INTO lead_fields VALUES (?, ?, ?)",
                number,
                field["id"],
                json.dumps(value),
            )


def _parse_field_value(account: Account, field: Row, value: object) -> str | list[int]:
    if field["type"] not in CHOICES:
        require(not php_values.is_array(value), "271")
        return php_values.text(value)
    if php_values.is_blank(value):
        return []
    require(php_values.is_array(value) == (field["type"] == "checkbox"), "271")
    chosen = [
        php_values.integer(one)
        for one in (php_values.values(value) if php_values.is_array(value) else [value])
    ]
    allowed = account.column("SELECT id FROM options WHERE field_id = ?", field["id"])
    require(set(chosen) <= set(allowed), "271")
    return [one for one in chosen if one is not None]


def get_lead(account: Account, wanted: dict[str, Any]) -> dict[str, Any]:
    return lead_details(account, find(account, wanted, missing="234"))


def lead_details(account: Account, lead: Row) -> dict[str, Any]:
    """Return a lead as `get_lead` prints it.

    Ids and counts are text, missing dates are zero dates, and every custom field is listed.
    """
    number = lead["id"]
    return {
        "id": str(number),
        "email": lead["email"],
        **{column: lead[column] for column in TEXTS},
        "ip_country": lead["country"] if lead["ip"] else "",
        "date_joined": lead["date_joined"],
        "score": _sum_points(account, number),
        "source": lead["source"],
        "source_id": "0",
        "notes": lead["notes"],
        "referring_id": "0",
        "blacklisted": lead["blacklisted"],
        "gdpr_lead_status": lead["gdpr_lead_status"],
        "gdpr_lead_status_date": clock.NEVER,
        "gdpr_lead_status_ip": "",
        "gdpr_lead_communications": 0,
        "lead_deleted": str(int(lead["deleted"] > 0)),
        "lead_deleted_date": lead["deleted_date"],
        "custom_fields": _list_fields(account, number),
        "tags": _list_tags(account, number),
        "lists": _list_lists(account, number),
        "sequences": _list_sequences(account, number),
        "memberships": _list_memberships(account, number),
    }


def _sum_points(account: Account, number: int) -> int:
    return account.number(
        "SELECT sum(points) FROM points WHERE lead_id = ? AND (expires = '' OR expires > ?)",
        number,
        clock.in_days(0),
    )


def _list_fields(account: Account, number: int) -> list[dict[str, Any]]:
    rows = account.rows(
        "SELECT id, identifier, type, value FROM custom_fields LEFT JOIN lead_fields"
        " ON field_id = id AND lead_id = ? ORDER BY id",
        number,
    )
    return [_format_field(account, row) for row in rows]


def _format_field(account: Account, row: Row) -> dict[str, Any]:
    value: Any = json.loads(row["value"]) if row["value"] is not None else ""
    if row["type"] in CHOICES:
        options = account.rows("SELECT id, value FROM options WHERE field_id = ?", row["id"])
        value = [format_option(one) for one in options if one["id"] in (value or ())]
    return {
        "field_id": str(row["id"]),
        "field_identifier": row["identifier"],
        "field_type": row["type"],
        "field_value": value,
    }


def format_option(row: Row) -> dict[str, str]:
    return {"option_id": str(row["id"]), "option_value": row["value"]}


def _list_tags(account: Account, number: int) -> list[dict[str, str]]:
    rows = account.rows(
        "SELECT id, name FROM tags JOIN lead_tags ON tag_id = id WHERE lead_id = ? ORDER BY id",
        number,
    )
    return [{"tag_id": str(row["id"]), "tag_name": row["name"]} for row in rows]


def _list_lists(account: Account, number: int) -> list[dict[str, Any]]:
    rows = account.rows(
        "SELECT id, name, active FROM lists JOIN lead_lists ON list_id = id"
        " WHERE lead_id = ? ORDER BY id",
        number,
    )
    return [
        {"list_id": str(row["id"]), "list_name": row["name"], "active": row["active"]}
        for row in rows
    ]


def _list_sequences(account: Account, number: int) -> list[dict[str, str]]:
    rows = account.rows(
        "SELECT id, name, step, status FROM sequences JOIN lead_sequences ON sequence_id = id"
        " WHERE lead_id = ? ORDER BY id",
        number,
    )
    return [
        {
            "sequence_id": str(row["id"]),
            "sequence_name": row["name"],
            "step": row["step"],
            "status": row["status"],
        }
        for row in rows
    ]


def _list_memberships(account: Account, number: int) -> list[dict[str, str]]:
    rows = account.rows(
        "SELECT m.id, m.name, l.id AS level_id, l.name AS level, active FROM lead_memberships"
        " JOIN levels l ON l.id = level_id JOIN memberships m ON m.id = membership_id"
        " WHERE lead_id = ? ORDER BY l.id",
        number,
    )
    return [
        {
            "membership_id": str(row["id"]),
            "name": row["name"],
            "level_id": str(row["level_id"]),
            "level_name": row["level"],
            "active": str(row["active"]),
        }
        for row in rows
    ]
