"""Writes of a response: head and body leave together, and nothing is held back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kartra_mcp.web.joined_writes import JoinedWrites


class Wire(asyncio.Transport):
    """A transport that keeps what it is given, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes | str] = []

    def write(self, data: Any) -> None:
        self.sent.append(bytes(data))

    def close(self) -> None:
        self.sent.append("close")


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_head_and_body_are_one_write(wire: Wire):
    """Bug: each response took two system calls and two packets."""

    async def respond() -> None:
        joined = JoinedWrites(wire, asyncio.get_running_loop())
        for data in (b"head ", b"body", b""):
            joined.write(data)
        await asyncio.sleep(0)

    asyncio.run(respond())
    assert wire.sent == [b"head body"]


def test_a_head_without_a_body_leaves_in_the_same_turn(wire: Wire):
    async def stream() -> None:
        joined = JoinedWrites(wire, asyncio.get_running_loop())
        for data in (b"head", b"", b"first", b"second"):
            joined.write(data)
            await asyncio.sleep(0)

    asyncio.run(stream())
    assert wire.sent == [b"head", b"first", b"second"]


def test_what_waits_is_sent_before_the_connection_closes(wire: Wire):
    async def refuse() -> None:
        joined = JoinedWrites(wire, asyncio.get_running_loop())
        joined.write(b"last words")
        joined.close()
        await asyncio.sleep(0)

    asyncio.run(refuse())
    assert wire.sent == [b"last words", "close"]
