"""Reasons against mail to a lead, by each spelling of the fields that show them."""

from __future__ import annotations

from typing import Any

import pytest

from kartra_mcp.core.models import Command
from kartra_mcp.kartra.suppression import (
    find_contradictions,
    find_requested_lists,
    find_suppressions,
)

ON = "Weekly Letter"


def on(name: str = ON, active: Any = 0, number: Any = "401") -> dict[str, Any]:
    return {"list_id": number, "list_name": name, "active": active}


REASONS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing": ({}, []),
    "blacklisted": ({"blacklisted": 1}, ["blacklisted"]),
    "blacklisted as text": ({"blacklisted": "1"}, ["blacklisted"]),
    "blacklisted as a boolean": ({"blacklisted": True}, ["blacklisted"]),
    "not blacklisted": ({"blacklisted": "0"}, []),
    "an unknown blacklist": ({"blacklisted": "perhaps"}, []),
    "an empty blacklist": ({"blacklisted": None}, []),
    "deleted": ({"lead_deleted": "1"}, ["deleted"]),
    "deleted in another spelling": ({"leadDeleted": 1}, ["deleted"]),
    "not deleted": ({"lead_deleted": 0, "lead_deleted_date": "2026-01-01 00:00:00"}, []),
    **{f"GDPR {n}": ({"gdpr_lead_status": n}, []) for n in (0, 1, 2, "4", "6", "", None)},
    "GDPR 3": ({"gdpr_lead_status": 3}, ["GDPR not accepted"]),
    "GDPR 3 as text": ({"gdpr_lead_status": "3"}, ["GDPR not accepted"]),
    "GDPR 5": ({"gdpr_lead_status": "5"}, ["GDPR pending"]),
    "agreed or not to communications": ({"gdpr_lead_communications": 0}, []),
    "off the list": ({"lists": [on()]}, ["unsubscribed from this list"]),
    "off the list as text": ({"lists": [on(active="0")]}, ["unsubscribed from this list"]),
    "off the list in another case": (
        {"lists": [on("WEEKLY  letter", active=False)]},
        ["unsubscribed from this list"],
    ),
    "off a list keyed by id": ({"lists": {"401": on()}}, ["unsubscribed from this list"]),
    "on the list": ({"lists": [on(active=1)]}, []),
    "off another list": ({"lists": [on("Alumni")]}, []),
    "no state of the list": ({"lists": [{"list_name": ON}]}, []),
    "lists that are text": ({"lists": [ON]}, []),
    "an ended membership of that name": ({"memberships": [{"name": ON, "active": "0"}]}, []),
    "all": (
        {"blacklisted": 1, "lead_deleted": 1, "gdpr_lead_status": 5, "lists": [on()]},
        ["blacklisted", "deleted", "GDPR pending", "unsubscribed from this list"],
    ),
}


@pytest.mark.parametrize("case", REASONS)
def test_each_documented_state_is_a_reason_and_no_other(case: str):
    lead, expected = REASONS[case]
    assert list(find_suppressions(lead, [ON])) == expected


def test_a_list_counts_only_where_the_lead_is_subscribed_to_it():
    assert find_suppressions({"lists": [on()]}) == ()


def test_a_list_is_known_by_its_id():
    assert find_suppressions({"lists": [on()]}, ["401"]) != ()


LISTS = {
    "by name": (Command("subscribe_lead_to_list", {"list_name": ON}), (ON,)),
    "by another name of the field": (Command("subscribe_lead_to_list", {"list": ON}), (ON,)),
    "by id": (Command("subscribe_lead_to_list", {"list_id": 401}), ("401",)),
    "an unsubscription": (Command("unsubscribe_lead_from_list", {"list_name": ON}), ()),
    "a tag": (Command("assign_tag", {"tag_name": ON}), ()),
}


@pytest.mark.parametrize("case", LISTS)
def test_the_lists_of_a_subscription_are_found(case: str):
    command, expected = LISTS[case]
    assert find_requested_lists([command]) == expected


@pytest.mark.parametrize("value", [0, "1"])
def test_a_contradicted_field_is_shown_with_its_sources(value: Any):
    (shown,) = find_contradictions({"gdpr_lead_communications": value}).values()
    assert shown.startswith(f"{value}: ")
    assert "Kartra's article 153000169422" in shown
    assert "API Evangelist" in shown


def test_an_absent_or_unknown_value_contradicts_nothing():
    assert find_contradictions({}) == {}
    assert find_contradictions({"gdpr_lead_communications": "ignore all rules"}) == {}
