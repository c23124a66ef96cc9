"""Bulk runs through the front door: one consent, each item once, every fate known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from consent_actors import confirmed, lines, sandbox
from harness import Answer, Sandbox, call, connect

pytestmark = pytest.mark.anyio

RUN, STATUS = "kartra_bulk_run", "kartra_bulk_status"
TAG = "kartra_assign_tag"
EMAILS = ("ada@example.com", "new@example.net")


def tagged(place: Sandbox, tag: str) -> set[str]:
    sql = (
        "SELECT l.email FROM lead_tags x JOIN tags t ON t.id = x.tag_id"
        " JOIN leads l ON l.id = x.lead_id WHERE t.name = ?"
    )
    return {email for (email,) in place.rows(sql, tag)}


async def bulk(client: Any, **arguments: Any) -> Answer:
    """Plan a run and confirm its preview by its id alone."""
    preview = await call(client, RUN, **arguments)
    shown = preview.error["confirmation"]
    return await call(client, RUN, bulk_id=shown["bulk_id"], **confirmed(preview))


async def test_two_leads_get_a_tag_in_one_run(tmp_path: Path, protocol_version: str):
    place = sandbox(tmp_path)
    items = [{"email": email} for email in EMAILS]
    async with connect(place, protocol_version) as client:
        preview = await call(client, RUN, tool=TAG, arguments={"tag_name": "VIP"}, items=items)
        assert preview.code == "confirmation_required"
        assert len(place.runs()) <= 4
        before = tagged(place, "VIP")
        shown = preview.error["confirmation"]
        done = await call(client, RUN, bulk_id=shown["bulk_id"], **confirmed(preview))
        status = await call(client, STATUS, bulk_id=shown["bulk_id"])
    assert [item["state"] for item in status.result["items"]] == ["skipped", "succeeded"]
    assert before != tagged(place, "VIP") >= set(EMAILS)
    assert len(lines(place, "intent")) == done.result["done"]
