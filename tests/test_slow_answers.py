"""How long a person took is told by when the answer came, not by when it was read."""

from __future__ import annotations

import time
from contextlib import closing

import anyio
import pytest

from kartra_mcp.asking import Answered, Client, QuestionToReturn
from kartra_mcp.consent import Asked, Consent
from kartra_mcp.errors import Refused
from kartra_mcp.ledger.ledger import Ledger
from kartra_mcp.ledger.words import Binding, Intent, Limits, new_intent_id
from kartra_mcp.model import Action, Call, Command, Gate, Risk
from kartra_mcp.turns import Deadline, Patience

SLOW = 1.2
"""Seconds that a program takes: longer than what makes an answer a host's own."""

GIVEN = {"transaction_id": 101}
CALL = Call(
    "kartra_refund_transaction",
    "Refund",
    Action("a", "refund-transaction", "Refund"),
    Risk.IRREVERSIBLE,
    frozenset(),
    (Command("refund_transaction", GIVEN),),
    GIVEN,
)


async def read(command: Command) -> object:
    if command.name == "retrieve_transactions_from_lead":
        return {"transaction_list": []}
    return {"transaction_id": 101, "transaction_full_amount": 97, "lead_email": "a@example.com"}


def draft(_: object) -> Intent:
    return Intent(
        id=new_intent_id(),
        tool=CALL.tool,
        operation="refund_transaction",
        risk=CALL.risk,
        connection="c",
        target_kind="transaction",
        target="101",
    )


@pytest.mark.anyio
async def test_a_slow_program_does_not_make_a_host_a_person(tmp_path):
    """Bug: an answer given at once counted as a person's when the program was slow."""
    binding = Binding(CALL.tool, "d", "c", "", "a", "", "p")
    patience = Patience(Deadline.after(50))
    with closing(Ledger(tmp_path)) as ledger:

        async def agree(client: Client) -> object:
            asked = Asked(CALL, Gate.PREVIEW, binding, read, client, draft, Limits(), patience)
            return await Consent(ledger).agree(asked)

        with pytest.raises(QuestionToReturn) as question:
            await agree(Client(can_ask=True))
        yes = Answered("accept", {"confirm": True})
        at_once = Client(can_ask=True, answer=yes, state=question.value.state, arrived=time.time())
        await anyio.sleep(SLOW)  # what a refresh of the list may take, after the answer came
        with pytest.raises(Refused) as refused:
            await agree(at_once)
    assert refused.value.code == "answered_by_host"
