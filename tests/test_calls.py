"""Calls through the front door, in both eras, asserted on the account and the programs started."""

from __future__ import annotations

import pytest
from harness import action, both_eras, call, connect, healthy

pytestmark = pytest.mark.anyio


@both_eras
async def test_a_lead_is_looked_up(any_transport_sandbox, transport, protocol_version):
    async with connect(any_transport_sandbox, protocol_version) as client:
        answer = await call(client, "kartra_get_lead", email="ada@example.com")
    assert answer.result["lead_details"]["id"] == "48110"
    assert answer.structured is not None
    assert answer.structured["notice"].startswith("SANDBOX") == (transport == "cli")


@both_eras
async def test_a_refund_without_its_flag_does_nothing(any_transport_sandbox, protocol_version):
    async with connect(any_transport_sandbox, protocol_version) as client:
        await client.list_tools()
        before, started = any_transport_sandbox.dump(), any_transport_sandbox.started()
        answer = await call(client, "kartra_refund_transaction", transaction_id=101)
        assert (answer.code, answer.executed) == ("confirmation_required", "no")
        assert (any_transport_sandbox.dump(), any_transport_sandbox.started()) == (before, started)


async def test_a_refund_with_its_flag_happens_once(any_transport_sandbox, protocol_version):
    async with connect(any_transport_sandbox, protocol_version) as client:
        first = await call(client, "kartra_refund_transaction", transaction_id="101", confirm=True)
        again = await call(client, "kartra_refund_transaction", transaction_id=101, confirm=True)
    assert first.result["actions"][0]["refund_transaction"]["status"] == "Success"
    assert (again.code, again.executed) == ("already_done", "no")


@pytest.mark.parametrize("flag", ["true", "yes", 1, 0, None, False, [True], {"confirm": True}])
async def test_only_the_boolean_true_is_a_flag(sandbox, flag):
    async with connect(sandbox, "legacy") as client:
        answer = await call(client, "kartra_refund_transaction", transaction_id=101, confirm=flag)
        assert answer.code == "confirmation_required"
        assert sandbox.runs() == []


async def test_the_saved_list_is_served_at_once(any_transport_fake, protocol_version):
    any_transport_fake.plan(**healthy(action("get-lead")))
    async with connect(any_transport_fake, protocol_version) as client:
        await client.list_tools()
    any_transport_fake.plan(**{"connection list": {"hang": True}, "action list": {"hang": True}})
    async with connect(any_transport_fake, protocol_version) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert "kartra_get_lead" in names
        answer = await call(client, "kartra_get_lead")
        assert answer.result == {"status": "Success"}
