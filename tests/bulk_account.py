"""Accounts, runs and ledgers for tests of bulk runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from consent_actors import changed, confirmed, lines
from harness import Answer, Sandbox, call

RUN, STATUS = "kartra_bulk_run", "kartra_bulk_status"
TAG, CREATE, EDIT = "kartra_assign_tag", "kartra_create_lead", "kartra_edit_lead"
REFUND = "kartra_refund_transaction"
POINTS = "kartra_give_points_to_lead"
VIP = {"tag_name": "VIP"}
FIRST_LEAD = 70_001


def add_leads(place: Sandbox, count: int) -> list[str]:
    """Add leads who consented and have nothing; return their addresses."""
    added = [f"lead{number}@example.com" for number in range(FIRST_LEAD, FIRST_LEAD + count)]
    for number, email in enumerate(added, FIRST_LEAD):
        place.rows(
            "INSERT INTO leads (id, email, first_name, date_joined, gdpr_lead_status)"
            " VALUES (?, ?, 'Bulk', '2026-01-01 00:00:00', 1)",
            *(number, email),
        )
    return added


def new_leads(count: int) -> list[dict[str, Any]]:
    """Items of `create_lead`, each with an address of its own."""
    return [{"email": f"made{number}@example.com"} for number in range(count)]


def created(place: Sandbox) -> int:
    return place.rows("SELECT COUNT(*) FROM leads WHERE email LIKE 'made%'")[0][0]


def tagged(place: Sandbox, tag: str = "VIP") -> set[str]:
    sql = (
        "SELECT l.email FROM lead_tags x JOIN tags t ON t.id = x.tag_id"
        " JOIN leads l ON l.id = x.lead_id WHERE t.name = ?"
    )
    return {email for (email,) in place.rows(sql, tag)}


def emails(addresses: Iterable[str]) -> list[dict[str, Any]]:
    return [{"email": address} for address in addresses]


async def plan(client: Any, tool: str, items: Sequence[Any], **more: Any) -> Answer:
    """Plan a run; nothing runs."""
    return await call(client, RUN, tool=tool, items=list(items), **more)


def bulk_id(preview: Answer) -> str:
    return preview.error["confirmation"]["bulk_id"]


async def agree(client: Any, preview: Answer) -> Answer:
    """Confirm a preview by the id of its run alone."""
    return await call(client, RUN, bulk_id=bulk_id(preview), **confirmed(preview))


async def bulk(client: Any, tool: str, items: Sequence[Any], **more: Any) -> Answer:
    """Plan a run, in as many calls as it takes, and confirm its preview."""
    preview = await plan(client, tool, items, **more)
    while preview.code == "not_enough_time":
        preview = await resume(client, preview.error["detail"]["bulk_id"])
    assert preview.code == "confirmation_required", preview.text
    return await agree(client, preview)


async def resume(client: Any, id_: str) -> Answer:
    return await call(client, RUN, bulk_id=id_)


async def states(client: Any, id_: str) -> list[str]:
    """The state of each item, in order."""
    status = await call(client, STATUS, bulk_id=id_, limit=2000)
    return [item["state"] for item in status.result["items"]]


def bulk_events(place: Sandbox) -> list[str]:
    return [line["event"] for line in lines(place, "bulk")]


def only_run(place: Sandbox) -> str:
    """The id of the only run of a ledger."""
    ((id_,),) = changed(place, "SELECT id FROM bulk_runs")
    return id_
