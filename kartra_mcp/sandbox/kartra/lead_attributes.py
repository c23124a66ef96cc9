"""Kartra's commands on a lead's tags, lists, sequences, points and calendar classes."""

from __future__ import annotations

from typing import Any

from kartra_mcp.sandbox.kartra.errors import KartraError, require
from kartra_mcp.sandbox.kartra.leads import find
from kartra_mcp.sandbox.store import clock, php_values
from kartra_mcp.sandbox.store.database import Account

Map = dict[str, Any]


def _find_named(account: Account, table: str, name: object, blank: str, missing: str) -> int:
    require(not php_values.is_blank(name), blank)
    found = account.row(f"SELECT id FROM {table} WHERE name = ?", php_values.text(name).strip())
    if found is None:
        raise KartraError(missing)
    return found["id"]


def _make_answer(kind: str, message: str) -> Map:
    return {"message": message, "type": kind}


def assign_tag(account: Account, lead: Map, action: Map) -> Map:
    number = find(account, lead)["id"]
    tag = _find_named(account, "tags", action.get("tag_name"), "211", "212")
    account.run("INSERT OR IGNORE INTO lead_tags VALUES (?, ?)", number, tag)
    return _make_answer("103", "Tag assigned")


def unassign_tag(account: Account, lead: Map, action: Map) -> Map:
    number = find(account, lead)["id"]
    tag = _find_named(account, "tags", action.get("tag_name"), "213", "214")
    account.run("DELETE FROM lead_tags WHERE lead_id = ? AND tag_id = ?", number, tag)
    return _make_answer("104", "Tag unassigned")


def subscribe_lead_to_list(account: Account, lead: Map, action: Map) -> Map:
    number = find(account, lead)["id"]
    found = _find_named(account, "lists", action.get("list_name"), "207", "231")
    account.run("INSERT OR REPLACE INTO lead_lists VALUES (?, ?, 1)", number, found)
    return _make_answer("101", "Lead is on the list")


def unsubscribe_lead_from_list(account: Account, lead: Map, action: Map) -> Map:
    number = find(account, lead)["id"]
    found = _find_named(account, "lists", action.get("list_name"), "208", "209")
    account.run("UPDATE lead_lists SET active = 0 WHERE lead_id = ? AND list_id = ?", number, found)
    return _make_answer("101", "Lead is off the list")


def subscribe_lead_to_sequence_at_step(account: Account, lead: Map, action: Map) -> Map:
    number = find(account, lead)["id"]
    found = _find_named(account, "sequences", action.get("sequence_name"), "226", "219")
    require(not php_values.is_blank(action.get("step")), "225")
    step = php_values.text(action["step"]).strip()
    require(step.isascii() and step.isalnum(), "229")
    known = account.column("SELECT step FROM steps WHERE sequence_id = ?", found)
    require(step in known, "230")
    account.run(
        "INSERT OR REPLACE INTO lead_sequences VALUES (?, ?, ?, 'active')", number, found, step
    )
    return _make_answer("107", "Lead is in the sequence")


def unsubscribe_lead_from_sequence(account: Account, lead: Map, action: Map) -> Map:
    number = find(account, lead)["id"]
    found = _find_named(account, "sequences", action.get("sequence_name"), "226", "220")
    account.run(
        "UPDATE lead_sequences SET status = 'unsubscribed' WHERE lead_id = ? AND sequence_id = ?",
        number,
        found,
    )
    return _make_answer("108", "Lead is out of the sequence")


def _parse_points(action: Map, blank: str, wrong: str) -> int:
    require(not php_values.is_blank(action.get("points")), blank)
    points = php_values.integer(action["points"])
    if points is None or points < 0:
        raise KartraError(wrong)
    return points


def give_points_to_lead(account: Account, lead: Map, action: Map) -> Map:
    number = find(account, lead)["id"]
    points = _parse_points(action, "215", "227")
    days = php_values.integer(action.get("expiration")) or 0
    expires = clock.in_days(days) if days > 0 else ""
    account.run("INSERT INTO points VALUES (?, ?, ?)", number, points, expires)
    return _make_answer("105", "Points given")


def remove_points_from_lead(account: Account, lead: Map, action: Map) -> Map:
    number = find(account, lead)["id"]
    points = _parse_points(action, "217", "228")
    account.run("INSERT INTO points VALUES (?, ?, '')", number, -points)
    return _make_answer("106", "Points taken away")


def _find_class(account: Account, action: Map) -> int:
    require(not php_values.is_blank(action.get("calendar_name")), "255")
    require(not php_values.is_blank(action.get("class_name")), "256")
    calendar = _find_named(account, "calendars", action["calendar_name"], "255", "257")
    found = account.row(
        "SELECT id FROM classes WHERE calendar_id = ? AND name = ?",
        calendar,
        php_values.text(action["class_name"]).strip(),
    )
    if found is None:
        raise KartraError("258")
    return found["id"]


def _parse_start(action: Map) -> str:
    """Return the start of a booking.

    Without date and hour it is open; with one of them both must be valid.
    """
    date, hour = (
        php_values.text(action.get(name)).strip() for name in ("starting_date", "starting_hour")
    )
    if not date and not hour:
        return ""
    moment = clock.class_start(date, hour)
    if moment is None:
        raise KartraError("260")
    require(moment > clock.now(), "261")
    return clock.written(moment)


def calendar_subscribe(account: Account, lead: Map, action: Map) -> Map:
    number = find(account, lead)["id"]
    found, starts = _find_class(account, action), _parse_start(action)
    status = "active" if starts else "pending"
    account.run(
        "INSERT OR REPLACE INTO bookings VALUES (?, ?, ?, ?)", number, found, starts, status
    )
    return _make_answer("112", "Lead is in the class")


def calendar_cancel(account: Account, lead: Map, action: Map) -> Map:
    number = find(account, lead)["id"]
    found = _find_class(account, action)
    cancelled = account.changed(
        "UPDATE bookings SET status = 'cancelled' WHERE lead_id = ? AND class_id = ?"
        " AND status IN ('active', 'pending')",
        number,
        found,
    )
    require(cancelled, "259")
    return _make_answer("113", "Lead is out of the class")
