"""A client that waits for announcements of a changed tool list, in the way of each era."""

from __future__ import annotations

from contextlib import asynccontextmanager

import anyio
from mcp_types import ToolListChangedNotification

WITHIN = 10
"""Seconds for an announcement to come."""


class Announced:
    """Announcements of a changed list, in the way of the era."""

    def __init__(self):
        self.count = 0
        self.came = anyio.Event()

    def note(self):
        self.count += 1
        self.came.set()

    async def message(self, message):
        if isinstance(message, ToolListChangedNotification):
            self.note()

    async def wait(self):
        with anyio.fail_after(WITHIN):
            await self.came.wait()
        self.came = anyio.Event()


@asynccontextmanager
async def listening(opened, place, era):
    """A client that hears of changes: by notification, or by `subscriptions/listen`."""
    heard = Announced()
    if era == "legacy":
        async with opened(place, era, message_handler=heard.message) as client:
            yield client, heard
        return
    async with (
        opened(place, era) as client,
        anyio.create_task_group() as tasks,
        client.listen(tools_list_changed=True) as subscription,
    ):
        tasks.start_soon(hear, subscription, heard)
        yield client, heard
        tasks.cancel_scope.cancel()


async def hear(subscription, heard):
    async for _ in subscription:
        heard.note()
