"""Steps of the team's demo: people at the service, and the account read again after each."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import anyio
import anyio.to_thread
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from kartra_mcp.cli.demo_steps import (
    LEAD,
    SALE,
    DemoAnswer,
    DemoStep,
    call,
    count_refunds,
    expect,
    find_every,
    find_first,
    format_call,
    format_failure,
)
from kartra_mcp.core.json_types import is_object
from kartra_mcp.sandbox.team.browser import Browser
from kartra_mcp.sandbox.team.world import TeamWorld

ACCOUNT, OTHER_ACCOUNT = "main", "outlet"
SUPPORT, REQUESTER, APPROVER = "sam", "bea", "hana"
REFUND: Mapping[str, Any] = {"transaction_id": SALE}
TOOL = "kartra_refund_transaction"
CALL_SECONDS = 60.0
ANSWER_SECONDS = 20
"""Seconds by which the account's answer is late, while its effect is there at once."""
_POLL_SECONDS = 0.1


@dataclass
class TeamStory:
    """State of the steps: the world, the number of the approval, the amount that was shown."""

    world: TeamWorld
    number: int = 0
    amount: str = ""
    killed: int = 0
    intents: list[str] = field(default_factory=list[str])

    @asynccontextmanager
    async def client(self, login: str, account: str = ACCOUNT) -> AsyncGenerator[Client]:
        """Connect a test person's MCP client to an account, with a token for it."""
        endpoint = self.world.endpoint(account)
        token = self.world.provider.access_token(login, endpoint)
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=CALL_SECONDS) as http,
            Client(streamable_http_client(endpoint, http_client=http)) as client,
        ):
            yield client


async def lack_a_role(story: TeamStory) -> DemoStep:
    async with story.client(SUPPORT) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        expect(TOOL not in names, "an operator is shown the refund")
        answer = await call(client, TOOL, REFUND)
        expect(answer.code == "forbidden_role", f"an operator may ask for a refund ({answer.code})")
        expect(await count_refunds(client) == 0, "an operator made a refund")
    return DemoStep(
        "Sam of support asks for a refund",
        f"Refund the sale {SALE}.",
        format_call(TOOL, REFUND),
        format_failure(answer),
        "Nothing was done. An operator reads and writes, and may not ask for money.",
    )


async def ask_for_approval(story: TeamStory) -> DemoStep:
    async with story.client(REQUESTER) as client:
        answer = await call(client, TOOL, REFUND)
        expect(answer.code == "approval_required", f"nobody has to approve ({answer.code})")
        expect(answer.nothing_done, "the refund was held back, but something was done")
        expect(await count_refunds(client) == 0, "money went back without an approval")
    story.number = _find_number(answer)
    story.amount = str(find_first(answer.error, "this_refund"))
    return DemoStep(
        "Bea of billing asks for it",
        f"Refund the sale {SALE} of {LEAD}.",
        format_call(TOOL, REFUND),
        f"{format_failure(answer)}\n{answer.error.get('remedy', '')}",
        f"Nothing was done. Number {story.number} waits for an approver.",
    )


def _find_number(answer: DemoAnswer) -> int:
    found = [n for n in find_every(answer.error, "number") if isinstance(n, int)]
    expect(found, "the answer names no number to approve")
    return found[0]


async def fail_to_approve(story: TeamStory) -> DemoStep:
    def look() -> str:
        with Browser(story.world.address) as browser:
            browser.log_in(REQUESTER)
            return browser.open(f"/page/a/{ACCOUNT}/")

    page = await anyio.to_thread.run_sync(look)
    expect(f'id="approval-{story.number}"' in page, "the requester does not see the request")
    expect('value="approve"' not in page, "the requester can approve")
    return DemoStep(
        "Bea opens the page",
        "(in a browser, logged in)",
        f"GET {story.world.address}/page/a/{ACCOUNT}/",
        f"The card of number {story.number}, without a button to approve.",
        "Nothing was decided: who asks never approves.",
    )


async def approve(story: TeamStory) -> DemoStep:
    def decide() -> str:
        with Browser(story.world.address) as browser:
            browser.log_in(APPROVER)
            return browser.approve(ACCOUNT, story.number, story.amount)

    page = await anyio.to_thread.run_sync(decide)
    expect("Approved" in page, "the approval was not accepted")
    async with story.client(REQUESTER) as client:
        expect(await count_refunds(client) == 0, "the approval itself made the refund")
    return DemoStep(
        "Hana, a head, approves in her browser",
        f"(a fresh login; she types {story.amount})",
        f"POST {story.world.address}/page/a/{ACCOUNT}/approvals/{story.number}",
        "Approved. The requester continues.",
        "Nothing was done yet: an approval lets exactly that call run once.",
    )


async def lose_a_replica(story: TeamStory) -> DemoStep:
    """Kill the replica that sends the refund, after the effect and before the answer."""
    world = story.world
    first, *others = list(world.replicas)
    late = ("fault", "set", "refund_transaction", "slow", "--effect", f"--message={ANSWER_SECONDS}")
    await anyio.to_thread.run_sync(lambda: world.accounts[ACCOUNT].run(*late))
    world.balancer.backends[:] = [first]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_call_until_lost, story)
        await _wait_for_begin(story)
        world.balancer.backends[:] = others
        async with story.client(SUPPORT) as client:

            async def has_refund() -> bool:
                return await count_refunds(client) > 0

            await _wait_until(has_refund)
        await anyio.to_thread.run_sync(world.replicas[first].kill)
        story.killed = first
        tasks.cancel_scope.cancel()
    return DemoStep(
        "Bea continues, and the replica dies in the middle",
        "Continue.",
        format_call(TOOL, REFUND),
        f"(no answer: the replica on port {first} was killed, SIGKILL)",
        "The refund is in the account. No outcome was recorded.",
        changed=True,
    )


async def _call_until_lost(story: TeamStory) -> None:
    """Call, and drop whatever a call over a dead connection raises."""
    with suppress(ExceptionGroup, MCPError, OSError, httpx2.HTTPError, anyio.BrokenResourceError):
        async with story.client(REQUESTER) as client:
            await call(client, TOOL, REFUND)


async def _wait_for_begin(story: TeamStory) -> None:
    """Wait until the replica has recorded that it is about to send."""

    def count_running() -> int:
        table = f'"ledger_{ACCOUNT}".intents'
        sql = f"SELECT count(*) FROM {table} WHERE state = 'running'"  # noqa: S608  a constant
        return story.world.database.run_sql(sql)[0][0]

    async def has_begun() -> bool:
        return await anyio.to_thread.run_sync(count_running) > 0

    await _wait_until(has_begun)


async def _wait_until(check: Callable[[], Awaitable[bool]]) -> None:
    """Poll until something is so that another process does."""
    with anyio.fail_after(CALL_SECONDS):
        while not await check():  # noqa: ASYNC110  no event crosses processes
            await anyio.sleep(_POLL_SECONDS)


async def repeat(story: TeamStory) -> DemoStep:
    async with story.client(REQUESTER) as client:
        answer = await call(client, TOOL, REFUND)
        expected = {"in_progress", "outcome_unknown", "already_done"}
        expect(answer.code in expected, f"the repeated refund was not recognised ({answer.code})")
        expect(answer.nothing_done, "the repeated refund did something")
        expect(await count_refunds(client) == 1, "money went back twice")
    return DemoStep(
        "Her client repeats the call; another replica answers",
        "Continue.",
        format_call(TOOL, REFUND),
        format_failure(answer),
        "Nothing was done again: the account, read again, holds one refund.",
    )


async def stay_apart(story: TeamStory) -> DemoStep:
    endpoint = story.world.endpoint(OTHER_ACCOUNT)
    token = story.world.provider.access_token(REQUESTER, story.world.endpoint(ACCOUNT))
    async with httpx2.AsyncClient(timeout=CALL_SECONDS) as http:
        answer = await http.post(endpoint, json={}, headers={"Authorization": f"Bearer {token}"})
    expect(answer.status_code == HTTPStatus.UNAUTHORIZED, "a token opened another account")
    return DemoStep(
        "Bea's token at the other account",
        "(the same token, another address)",
        f"POST {endpoint}",
        f"401, {answer.headers['www-authenticate'].partition(',')[0]}, …",
        "Nothing of that account was shown: each account has its own tokens.",
    )


async def look_at_record(story: TeamStory) -> DemoStep:
    async with story.client(REQUESTER) as client:
        answer = await call(client, "kartra_ledger", {"target": str(SALE)})
    lines = [line for line in find_first(answer.result, "lines") or () if is_object(line)]
    expect(len(lines) == 1, "the ledger does not hold exactly one refund")
    line = lines[0]
    story.intents.append(str(line["intent"]))
    return DemoStep(
        "What is on record",
        "Who did that, and who agreed?",
        format_call("kartra_ledger", {"target": str(SALE)}),
        f"{line['time']}  {line['operation']} {line['target']}, {line['state']}; "
        f"actor {line['actor']}; consent {line['consent']}",
        "Nothing was changed. When the time of its answer is over, Membrane's run log settles it.",
    )


TeamStep = Callable[[TeamStory], Awaitable[DemoStep]]
TEAM_STEPS: tuple[TeamStep, ...] = (
    *(lack_a_role, ask_for_approval, fail_to_approve, approve),
    *(lose_a_replica, repeat, stay_apart, look_at_record),
)
