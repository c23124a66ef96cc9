"""`kartra-mcp demo`: the real server as a real process, a real MCP client, the sandbox account.

It knows of the server what any client knows, and imports nothing that serves. Each step checks the
answer that it shows, by reading the account again, and ends the demo if the server answered
otherwise.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import anyio
from mcp import Client, StdioServerParameters
from mcp.types import TextContent, Tool
from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from kartra_mcp.core.json_types import is_array, is_object

LEAD = "ada@example.com"
SALE = 101
OTHER_SALE = 102
TAG = "Spring retreat"
MAX_WIDTH = 96
MAX_VALUE_CHARS = 44
CALL_TIMEOUT = 60.0
"""Seconds for one answer."""

GROUPS = {
    "read": "only looks, runs at once",
    "write": "changes something, runs at once",
    "destructive": "needs a flag where it overwrites or takes away",
    "irreversible": "shows the facts first, cannot be undone",
}


class DemoFailedError(Exception):
    """The server answered otherwise than this step says."""


@dataclass(frozen=True, slots=True)
class DemoAnswer:
    """What one call brought: result and receipt of a success, or the error of a failure."""

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
    """One step as it is shown, after it was checked."""

    title: str
    wish: str
    call: str
    answer: str
    effect: str
    changed: bool = False


def run_demo() -> int:
    """Show it all. 0: every step went as shown; 1: one did not, or it was stopped."""
    screen = Console(highlight=False)
    screen.width = min(screen.width, MAX_WIDTH)
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with tempfile.TemporaryDirectory(
            prefix="kartra-mcp-demo-", ignore_cleanup_errors=True
        ) as folder:
            seconds = anyio.run(play, screen, folder)
    except KeyboardInterrupt:
        return _report_stopped("Stopped. Nothing is left behind.")
    except Exception as problem:  # noqa: BLE001  whatever it is, the demo did not succeed
        return _report_stopped(_find_reason(problem))
    _close(screen, seconds)
    return 0


async def play(screen: Console, folder: str) -> float:
    """The whole demo against a server that keeps everything in `folder`; how long it took."""
    began = time.monotonic()
    _open(screen)
    # -P: a file of the folder in which the demo was started must not pass for a module.
    words = ["-P", "-m", "kartra_mcp", "serve", "--sandbox", "--state-dir", folder]
    server = StdioServerParameters(command=sys.executable, args=words)
    async with Client(server, read_timeout_seconds=CALL_TIMEOUT) as client:
        tools = (await client.list_tools()).tools
        _expect(len(tools) > 1, "it listed no tools")
        _show_server(screen, client, time.monotonic() - began)
        _show_tools(screen, tools)
        for number, step in enumerate(STEPS, 1):
            _show_step(screen, number, await step(client))
    return time.monotonic() - began


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
    _expect(TAG not in before, f"the lead had the tag {TAG!r} already")
    answer = await call(client, "kartra_assign_tag", arguments)
    _expect(not answer.error, f"the tag was not assigned ({answer.code})")
    after = await read_lead_tags(client)
    _expect({*after} == {*before, TAG}, "the tag is not on the lead")
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
    _expect(answer.code == "confirmation_required", "the refund was not held back")
    _expect(answer.nothing_done, "the refund was held back, but something was done")
    _expect(await count_refunds(client) == 0, "money went back although the refund was held back")
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
    _expect(asked.code == "confirmation_required", "the refund was not held back")
    arguments |= consent_arguments(asked)
    answer = await call(client, "kartra_refund_transaction", arguments)
    _expect(not answer.error, f"the refund was not made ({answer.code})")
    _expect(await count_refunds(client) == 1, "her transactions do not hold exactly one refund")
    number = find_first(answer.result, "transaction_refunded")
    receipt = answer.receipt
    _expect(receipt.get("intent"), "the refund has no receipt")
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
    _expect(answer.code == "already_done", "the second refund was not recognised as one")
    _expect(answer.nothing_done, "the second refund did something")
    _expect(await count_refunds(client) == 1, "money went back twice")
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
    _expect(answer.code == "forbidden_request", "the hidden refund was not refused")
    _expect(answer.nothing_done, "the hidden refund was refused, but something was done")
    _expect(await count_refunds(client) == 1, "the hidden refund was made")
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
    _expect(len(found) == 1, "the ledger does not hold exactly one refund")
    line = found[0]
    _expect(line.get("state") == "succeeded", "the ledger does not say that it was made")
    _expect(LEAD not in json.dumps(line), "the ledger holds the lead's address")
    return DemoStep(
        "What is on record",
        "What did you do to that sale, and who agreed?",
        format_call("kartra_ledger", arguments),
        f"{line['time']}  {line['operation']} {line['target']}, {line['state']}; "
        f"lead {line['lead']}; actor {line['actor']}; client {line['client']}; "
        f"consent {line['consent']}",
        "Nothing was changed: this only reads. two_step says that the caller repeated the preview, "
        "not that a person agreed.",
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
    """One tool call; a failure is an answer too."""
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
        raise DemoFailedError(f"{tool} failed without saying why") from None


def consent_arguments(refusal: DemoAnswer) -> dict[str, Any]:
    """The consent that a refusal asks for: the flag, and what it handed out to be repeated."""
    offered: Mapping[str, Any] = refusal.error.get("confirmation") or {}
    repeated = {f"confirmation_{name}": offered.get(name) for name in ("id", "summary")}
    return {"confirm": True} | {name: value for name, value in repeated.items() if value}


async def look(client: Client, transaction: int) -> DemoAnswer:
    return await call(client, "kartra_get_transaction_details", {"transaction_id": transaction})


async def read_lead_tags(client: Client) -> list[str]:
    return get_tags((await call(client, "kartra_get_lead", {"email": LEAD})).result)


async def count_refunds(client: Client) -> int:
    """How many refunds the lead's transactions hold."""
    answer = await call(client, "kartra_retrieve_transactions_from_lead", {"email": LEAD})
    kinds = [str(kind) for kind in find_every(answer.result, "transaction_type")]
    _expect(bool(kinds), "the lead's transactions could not be read")
    return sum("refund" in kind for kind in kinds)


def get_tags(lead: Any) -> list[str]:
    tags = find_first(lead, "tags")
    _expect(is_array(tags), "the lead's tags could not be read")
    return [str(name) for name in find_every(tags, "tag_name")]


def find_every(value: Any, name: str) -> Iterator[Any]:
    """Every value under this name, wherever in the answer it stands."""
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
    """The preview as a client would show it: the summary, some facts, what undoes it."""
    offered: Mapping[str, Any] = refusal.error["confirmation"]
    facts = offered["facts"]
    names = ("amount", "refunded_so_far", "remaining", "this_refund")
    told = ", ".join(f"{name.replace('_', ' ')} {facts[name]}" for name in names)
    return f"{offered['summary']}\nFacts: {told}. Undo: {offered['undo']}."


def format_call(tool: str, arguments: Mapping[str, Any]) -> str:
    shown = (f"{name}={_cut(json.dumps(value))}" for name, value in arguments.items())
    return f"{tool}  {' '.join(shown)}"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_VALUE_CHARS else text[:MAX_VALUE_CHARS] + "…"


def get_risk(tool: Tool) -> str:
    """What the tool's annotations say, and its description where they have no word for it."""
    hints = tool.annotations
    if hints and hints.read_only_hint:
        return "read"
    if hints and hints.destructive_hint is False:
        return "write"
    return "irreversible" if "irreversible" in (tool.description or "") else "destructive"


def _expect(as_shown: object, otherwise: str) -> None:
    if not as_shown:
        raise DemoFailedError(otherwise)


def _open(screen: Console) -> None:
    screen.print()
    screen.print(Rule("kartra-mcp, a rehearsal", align="left", style="cyan"))
    screen.print(
        "A real server in a process of its own, and a real MCP client. Only the Kartra "
        "account is made up: no real person, no real money, nothing leaves this machine."
    )


def _show_server(screen: Console, client: Client, seconds: float) -> None:
    info = client.server_info
    name = f"{info.title or info.name} ({info.name} {info.version})" if info else "The server"
    screen.print(f"\n{name} is ready after {seconds:.1f} s.", markup=False)


def _show_tools(screen: Console, tools: Sequence[Tool]) -> None:
    width = max(len(tool.name) for tool in tools) + 2
    by_risk = {risk: [tool for tool in tools if get_risk(tool) == risk] for risk in GROUPS}
    screen.print(f"It lists {len(tools)} tools:", style="bold")
    for risk, group in by_risk.items():
        if not group:
            continue
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, min_width=width)
        table.add_column(no_wrap=True, overflow="ellipsis")
        for tool in group:
            table.add_row(Text(f"  {tool.name}"), Text(tool.title or "", style="dim"))
        screen.print(Text.assemble("\n", (risk, _pick_color(risk)), f" - {GROUPS[risk]}"))
        screen.print(table)


def _pick_color(risk: str) -> str:
    return {"read": "bold green", "write": "bold yellow"}.get(risk, "bold red")


def _show_step(screen: Console, number: int, step: DemoStep) -> None:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, min_width=8, style="dim")
    table.add_column(overflow="fold")
    table.add_row("  wish", Text(step.wish))
    table.add_row("  call", Text(step.call, style="cyan"))
    table.add_row("  answer", Text(step.answer))
    table.add_row("  effect", Text(step.effect, style="green" if step.changed else "bold"))
    screen.print(Text(f"\n{number}. {step.title}", style="bold"))
    screen.print(table)


def _close(screen: Console, seconds: float) -> None:
    screen.print()
    screen.print(Rule("Next: your own account", align="left", style="cyan"))
    screen.print(
        f"Every step was checked. All of it took {seconds:.1f} s, and nothing of it is left.\n"
    )
    program = _find_program()
    screen.print("One command installs Membrane's program, logs in, connects your Kartra account")
    screen.print("and puts this server into your MCP client; it asks before each step:")
    screen.print(Text("  kartra-mcp setup", style="cyan"), soft_wrap=True)
    screen.print(Text(f"  ({program} setup, where that is not found)", style="dim"), soft_wrap=True)
    screen.print("Or go on rehearsing with it, on an account that stays:")
    screen.print(Text(f"  {program} serve --sandbox", style="cyan"), soft_wrap=True)


def _find_program() -> str:
    """The command for a client: the console script beside this Python, where there is one."""
    python = Path(sys.executable)
    script = python.with_name("kartra-mcp.exe" if sys.platform == "win32" else "kartra-mcp")
    return str(script) if script.is_file() else f"{python} -m kartra_mcp"


def _find_reason(problem: Exception) -> str:
    """The first cause: task groups wrap what went wrong inside them."""
    while _is_group(problem):
        problem = problem.exceptions[0]
    if isinstance(problem, DemoFailedError):
        return f"The demo stopped: the server did otherwise than it should; {problem}."
    return f"The demo stopped: {type(problem).__name__}: {problem}"


def _is_group(problem: Exception) -> TypeGuard[ExceptionGroup[Exception]]:
    return isinstance(problem, ExceptionGroup)


def _report_stopped(why: str) -> int:
    Console(stderr=True, highlight=False).print(f"\n{why}", style="bold red", markup=False)
    return 1
