"""The time of a human's answer ends with its arrival, not with its processing."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from typing import Any

import anyio
import pytest

from kartra_mcp.catalogue.decided_calls import decide_call
from kartra_mcp.consent.flow import ConsentFlow, ConsentRequest
from kartra_mcp.consent.subject import CallSubject
from kartra_mcp.core.deadline import Deadline, ExtendableDeadline
from kartra_mcp.core.elicitation import ClientContext, ElicitationResponse, InputRequired
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Action, Command, Gate, Risk, ValidatedCall
from kartra_mcp.core.timings import Clocks, read_steady_clock
from kartra_mcp.ledger.consent_ids import ConsentIds
from kartra_mcp.ledger.records import Binding, Intent, IssuedConfirmation, make_intent_id
from kartra_mcp.ledger.sqlite.store import open_ledger
from kartra_mcp.policy.gates import Policy
from kartra_mcp.policy.limits import Limits

SLOW = 1.2
"""Seconds that a program takes: longer than what makes an answer a host's own."""

GIVEN = {"transaction_id": 101}
CALL = decide_call(
    ValidatedCall(
        "kartra_refund_transaction",
        "Refund",
        Action("a", "refund-transaction", "Refund"),
        Risk.IRREVERSIBLE,
        frozenset(),
        (Command("refund_transaction", GIVEN),),
        GIVEN,
    ),
    Policy(),
)
DRAFT = Intent(
    id=make_intent_id(),
    tool=CALL.tool,
    operation="refund_transaction",
    risk=CALL.risk,
    connection="c",
    target_kind="transaction",
    target="101",
)


async def read(command: Command) -> object:
    if command.name == "retrieve_transactions_from_lead":
        return {"transaction_list": []}
    return {"transaction_id": 101, "transaction_full_amount": 97, "lead_email": "a@example.com"}


async def agree(consent: ConsentFlow, client: ClientContext) -> object:
    binding = Binding(CALL.tool, "d", "c", "", "a", "", "p")
    patience = ExtendableDeadline(Deadline.after(50))
    asked = ConsentRequest(
        CallSubject(CALL, read), Gate.PREVIEW, binding, client, DRAFT, Limits(), patience
    )
    return await consent.obtain(asked)


async def question(consent: ConsentFlow) -> str:
    with pytest.raises(InputRequired) as asked:
        await agree(consent, ClientContext(supports_forms=True))
    return asked.value.state


def yes(state: str) -> ClientContext:
    """A host that answers now."""
    answer = ElicitationResponse("accept", {"confirm": True})
    return ClientContext(
        supports_forms=True,
        response=answer,
        request_state=state,
        received_at=time.time(),
        received_steady=read_steady_clock(),
    )


@pytest.mark.anyio
async def test_a_slow_program_does_not_make_a_host_a_human(tmp_path):
    """Bug: an immediate answer counted as a human's when the program was slow."""
    with closing(open_ledger(tmp_path)) as ledger:
        consent = ConsentFlow(ledger)
        at_once = yes(await question(consent))
        await anyio.sleep(SLOW)  # what a refresh of the list may take, after the answer came
        with pytest.raises(RefusedError) as refused:
            await agree(consent, at_once)
    assert refused.value.code == "answered_by_host"


class SlowIds(ConsentIds):
    """The ids of a ledger on a disk that takes its time.

    It sleeps because a length of time is what is judged here, not to wait for something to happen.
    """

    def issue_question(self, *told: Any, **more: Any) -> IssuedConfirmation:
        minted = super().issue_question(*told, **more)
        time.sleep(SLOW)
        return minted


@pytest.mark.anyio
async def test_a_slow_ledger_does_not_make_a_host_a_human(tmp_path):
    """Bug: what it took to record the question, before it was asked, counted as thinking."""
    with closing(open_ledger(tmp_path)) as ledger:
        ledger.consents = SlowIds(ledger._store)
        consent = ConsentFlow(ledger)
        state = await question(consent)
        with pytest.raises(RefusedError) as refused:
            await agree(consent, yes(state))
    assert refused.value.code == "answered_by_host"


class SteppedClock:
    """A wall clock that is set by so many seconds while the host answers."""

    def __init__(self) -> None:
        self.step = 0.0

    def __call__(self) -> float:
        return time.time() + self.step


@pytest.mark.anyio
@pytest.mark.parametrize("step", [2.0, 3_600.0])
async def test_a_step_of_the_clock_does_not_make_a_host_a_human(tmp_path, step):
    """Bug: a host that answered at once counted as a human when the clock was set forward."""
    clock = SteppedClock()
    with closing(open_ledger(tmp_path, clock)) as ledger:
        consent = ConsentFlow(ledger, clocks=Clocks(clock))
        state = await question(consent)
        clock.step = step
        at_once = replace(yes(state), received_at=clock())
        with pytest.raises(RefusedError) as refused:
            await agree(consent, at_once)
    # After an hour by either clock the question itself has expired.
    assert refused.value.code == ("answered_by_host" if step < 240 else "confirmation_expired")
