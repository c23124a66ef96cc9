"""Steps of the demo: each calls tools as a client does, and checks the response by another read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mcp import Client
from mcp.types import TextContent

from kartra_mcp.core.json_types import is_array, is_object

LEAD = "ada@example.com"
SALE = 101
OTHER_SALE = 102
TAG = "Spring retreat"
MAX_VALUE_CHARS = 44


class DemoFailedError(Exception):
    """The server's response differs from what the step shows."""


@dataclass(frozen=True, slots=True)
class DemoAnswer:
    """Response of one call: result and receipt, or the error."""

    result: Any = None
    receipt: Mapping[str, Any] = field(default_factory=dict[str, Any])
    error: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def code(self) -> str:
        return str(self.error.get("code", ""))

    @property
    def nothing_done(self) -> bool:
        return self.error.get("executed") == "no"


@dataclass(frozen=True, slots=True)
class DemoStep:
    """One checked step, for display."""

    title: str
    wish: str
    call: str
    answer: str
    effect: str
    changed: bool = False


async def look_up(client: Client) -> DemoStep:
    answer = await call(client, "kartra_get_lead", {"email": LEAD})
    lead = find_first(answer.result, "lead_details")
    if not is_object(lead) or lead.get("email") != LEAD:
        raise DemoFailedError(f"the lead was not found ({answer.code})")
    tags = get_tags(answer.result)
    joined = str(lead["date_joined"]).partition(" ")[0]
    return DemoStep(
        "A lead is looked up",
        f"Who is {LEAD}?",
        format_call("kartra_get_lead", {"email": LEAD}),
        f"{lead['first_name']} {lead['last_name']} of {lead['city']}, lead {lead['id']}, here "
        f"since {joined}. Tags: {', '.join(tags)}. Note: {lead['notes']}",
        "Nothing was changed: this only reads.",
    )


async def assign_tag(client: Client) -> DemoStep:
    arguments = {"email": LEAD, "tag_name": TAG}
    before = await read_lead_tags(client)
    expect(TAG not in before, f"the lead had the tag {TAG!r} already")
    answer = await call(client, "kartra_assign_tag", arguments)
    expect(not answer.error, f"the tag was not assigned ({answer.code})")
    after = await read_lead_tags(client)
    expect({*after} == {*before, TAG}, "the tag is not on the lead")
    return DemoStep(
        "A tag is assigned",
        f'She asked about the retreat. Give her the tag "{TAG}".',
        format_call("kartra_assign_tag", arguments),
        f"Assigned. The lead, read again, has: {', '.join(after)}.",
        "Done: one tag more.",
        changed=True,
    )


async def preview_refund(client: Client) -> DemoStep:
    sale = find_first((await look(client, SALE)).result, "transaction_details")
    if not is_object(sale):
        raise DemoFailedError(f"transaction {SALE} was not found")
    arguments = {"transaction_id": SALE, "confirm": True}
    answer = await call(client, "kartra_refund_transaction", arguments)
    expect(answer.code == "confirmation_required", "the refund was not held back")
    expect(answer.nothing_done, "the refund was held back, but something was done")
    expect(await count_refunds(client) == 0, "money went back although the refund was held back")
    return DemoStep(
        "A refund gets a preview, whatever the model sets",
        f"Refund {sale['product_name']}, {sale['transaction_full_amount']:.2f}, "
        f"transaction {SALE}.",
        format_call("kartra_refund_transaction", arguments),
        f"{format_failure(answer)}\n{format_preview(answer)}",
        "Nothing was done: her transactions, read again, hold no refund.",
    )


async def make_refund(client: Client) -> DemoStep:
    arguments: dict[str, Any] = {"transaction_id": SALE}
    asked = await call(client, "kartra_refund_transaction", arguments)
    expect(asked.code == "confirmation_required", "the refund was not held back")
    arguments |= consent_arguments(asked)
    answer = await call(client, "kartra_refund_transaction", arguments)
    expect(not answer.error, f"the refund was not made ({answer.code})")
    expect(await count_refunds(client) == 1, "her transactions do not hold exactly one refund")
    number = find_first(answer.result, "transaction_refunded")
    receipt = answer.receipt
    expect(receipt.get("intent"), "the refund has no receipt")
    return DemoStep(
        "Agreed: the same refund, with the preview's id and summary",
        "Yes, pay exactly that back.",
        format_call("kartra_refund_transaction", arguments),
        f"Refunded, as transaction {number}. In the sandbox: no real money moved.\n"
        f"Receipt {receipt['intent']}: {receipt.get('done')}; undo: {receipt.get('undo')}.",
        "Done: her transactions, read again, hold one refund.",
        changed=True,
    )


async def repeat_refund(client: Client) -> DemoStep:
    arguments: dict[str, Any] = {"transaction_id": SALE}
    answer = await call(client, "kartra_refund_transaction", arguments)
    expect(answer.code == "already_done", "the second refund was not recognised as one")
    expect(answer.nothing_done, "the second refund did something")
    expect(await count_refunds(client) == 1, "money went back twice")
    return DemoStep(
        "The same refund once more",
        "Did that work? Pay it back again, to be sure.",
        format_call("kartra_refund_transaction", arguments),
        format_failure(answer),
        "Nothing was done: there is still one refund.",
    )


async def send_raw_refund(client: Client) -> DemoStep:
    hidden = [
        {"cmd": "get_transaction_details", "transaction_id": OTHER_SALE},
        {"cmd": "refund_transaction", "transaction_id": OTHER_SALE},
    ]
    arguments = {"method": "POST", "path": "/api", "json": {"actions": hidden}}
    answer = await call(client, "kartra_proxy_read", arguments)
    expect(answer.code == "forbidden_request", "the hidden refund was not refused")
    expect(answer.nothing_done, "the hidden refund was refused, but something was done")
    expect(await count_refunds(client) == 1, "the hidden refund was made")
    commands = " + ".join(action["cmd"] for action in hidden if isinstance(action["cmd"], str))
    return DemoStep(
        "A refund hidden in a raw request is refused",
        "(the model sends a raw read with a refund inside)",
        f"kartra_proxy_read  POST /api  {commands}",
        format_failure(answer),
        "Nothing was done: there is still one refund.",
    )


async def look_at_record(client: Client) -> DemoStep:
    arguments = {"target": str(SALE)}
    answer = await call(client, "kartra_ledger", arguments)
    found = [line for line in find_first(answer.result, "lines") or () if is_object(line)]
    expect(len(found) == 1, "the ledger does not hold exactly one refund")
    line = found[0]
    expect(line.get("state") == "succeeded", "the ledger does not show the refund as succeeded")
    expect(LEAD not in json.dumps(line), "the ledger holds the lead's address")
    return DemoStep(
        "What is on record",
        "What did you do to that sale, and who agreed?",
        format_call("kartra_ledger", arguments),
        f"{line['time']}  {line['operation']} {line['target']}, {line['state']}; "
        f"lead {line['lead']}; actor {line['actor']}; client {line['client']}; "
        f"consent {line['consent']}",
        "Nothing was changed: this only reads. two_step means that the caller repeated the "
        "preview, not that a human agreed.",
    )


STEPS = (
    look_up,
    assign_tag,
    preview_refund,
    make_refund,
    repeat_refund,
    send_raw_refund,
    look_at_record,
)


async def call(client: Client, tool: str, arguments: Mapping[str, Any]) -> DemoAnswer:
    """Call a tool; a failure is a response too."""
    got = await client.call_tool(tool, dict(arguments))
    if not got.is_error:
        content: Any = got.structured_content
        if not is_object(content):
            return DemoAnswer()
        return DemoAnswer(content.get("result"), content.get("receipt") or {})
    text = "".join(block.text for block in got.content if isinstance(block, TextContent))
    try:
        return DemoAnswer(error=json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        raise DemoFailedError(f"{tool} failed without an error message") from None


def consent_arguments(refusal: DemoAnswer) -> dict[str, Any]:
    """Return the consent arguments that a refusal requests: the flag, id and summary."""
    offered: Mapping[str, Any] = refusal.error.get("confirmation") or {}
    repeated = {f"confirmation_{name}": offered.get(name) for name in ("id", "summary")}
    return {"confirm": True} | {name: value for name, value in repeated.items() if value}


async def look(client: Client, transaction: int) -> DemoAnswer:
    return await call(client, "kartra_get_transaction_details", {"transaction_id": transaction})


async def read_lead_tags(client: Client) -> list[str]:
    return get_tags((await call(client, "kartra_get_lead", {"email": LEAD})).result)


async def count_refunds(client: Client) -> int:
    """Count the refunds among the lead's transactions."""
    answer = await call(client, "kartra_retrieve_transactions_from_lead", {"email": LEAD})
    kinds = [str(kind) for kind in find_every(answer.result, "transaction_type")]
    expect(bool(kinds), "the lead's transactions could not be read")
    return sum("refund" in kind for kind in kinds)


def get_tags(lead: Any) -> list[str]:
    tags = find_first(lead, "tags")
    expect(is_array(tags), "the lead's tags could not be read")
    return [str(name) for name in find_every(tags, "tag_name")]


def find_every(value: Any, name: str) -> Iterator[Any]:
    """Yield every value of the fields named `name`, at any depth."""
    if is_object(value):
        for key, inner in value.items():
            if key == name:
                yield inner
            yield from find_every(inner, name)
    elif is_array(value):
        for inner in value:
            yield from find_every(inner, name)


def find_first(value: Any, name: str) -> Any:
    return next(find_every(value, name), None)


def format_failure(failure: DemoAnswer) -> str:
    return f"{failure.error.get('message', '')} [{failure.code}]"


def format_preview(refusal: DemoAnswer) -> str:
    """Format the preview as a client would: the summary, some facts, the undo."""
    offered: Mapping[str, Any] = refusal.error["confirmation"]
    facts = offered["facts"]
    names = ("amount", "refunded_so_far", "remaining", "this_refund")
    values = ", ".join(f"{name.replace('_', ' ')} {facts[name]}" for name in names)
    return f"{offered['summary']}\nFacts: {values}. Undo: {offered['undo']}."


def format_call(tool: str, arguments: Mapping[str, Any]) -> str:
    shown = (f"{name}={_cut(json.dumps(value))}" for name, value in arguments.items())
    return f"{tool}  {' '.join(shown)}"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_VALUE_CHARS else text[:MAX_VALUE_CHARS] + "…"


def expect(as_shown: object, otherwise: str) -> None:
    if not as_shown:
        raise DemoFailedError(otherwise)
