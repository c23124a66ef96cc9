"""Edits of a lead: what names nothing is refused, and the receipt reports a certain change."""

from __future__ import annotations

from typing import Any

import pytest
from harness import Sandbox, call, connect

EDIT = "kartra_edit_lead"
ADA = {"email": "ada@example.com"}

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "arguments", [ADA, {"lead_id": 48110}, {**ADA, "confirm": True}], ids=["email", "id", "confirm"]
)
async def test_an_edit_that_names_no_field_is_refused(sandbox: Sandbox, arguments: dict[str, Any]):
    async with connect(sandbox, "2026-07-28") as client:
        answer = await call(client, EDIT, **arguments)
    assert (answer.code, answer.executed) == ("invalid_arguments", "no")
    assert sandbox.runs() == []


async def test_a_raw_edit_that_names_no_field_is_refused(sandbox: Sandbox):
    request = {"actions": [{"cmd": "edit_lead"}], "lead": ADA}
    async with connect(sandbox, "2026-07-28") as client:
        answer = await call(
            client, "kartra_proxy_write", method="POST", path="/api", json=request, confirm=True
        )
    assert answer.code in {"invalid_arguments", "forbidden_request"}
    assert answer.executed == "no"


async def test_the_receipt_of_an_edit_reports_whether_it_changed_a_value(sandbox: Sandbox):
    async with connect(sandbox, "2026-07-28") as client:
        changed = await call(client, EDIT, **ADA, phone="5550199", confirm=True)
        same = await call(client, EDIT, **ADA, phone="5550199", confirm=True)
    assert changed.structured is not None
    assert same.structured is not None
    assert changed.structured["before"] == {"phone": "5550142"}
    assert changed.structured["receipt"]["changed"] is True
    assert not changed.structured["receipt"]["undo"].startswith("if")
    assert same.structured["receipt"]["changed"] is False
    assert "undo" not in same.structured["receipt"]
