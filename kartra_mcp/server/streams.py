"""Streams of SDK messages over lines, read and sent in the task that needs them.

The SDK's own streams have a task and a hand-over for each direction, which cost a call more than
the reading and writing itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self

import anyio
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from kartra_mcp.server.stdout import PipeWriter


class _StreamBase:
    """The rest of the SDK's stream interface. The descriptors are not closed here."""

    async def aclose(self) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()


class ReadStream(_StreamBase):
    """Messages as they arrive; an invalid line arrives as the exception that it caused."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines

    def __aiter__(self) -> ReadStream:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        line = await anext(self._lines)
        try:
            return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
        except Exception as problem:  # noqa: BLE001  a bad line must not affect the next one
            return problem

    async def receive(self) -> SessionMessage | Exception:
        try:
            return await anext(self)
        except StopAsyncIteration:
            raise anyio.EndOfStream from None


class WriteStream(_StreamBase):
    """Messages in the order of `send`, each in one piece; `on_broken` runs on a lost reader."""

    def __init__(self, out: PipeWriter, on_broken: Callable[[], None]) -> None:
        self._out, self._on_broken = out, on_broken
        self.closed = False
        self._turn = anyio.Lock(fast_acquire=True)

    async def send(self, item: SessionMessage, /) -> None:
        """Send one message.

        Raises:
            anyio.BrokenResourceError: the reader is gone; half of the line may have been written.
            anyio.ClosedResourceError: the stream was closed before; nothing was written.
        """
        line = item.message.model_dump_json(by_alias=True, exclude_unset=True)
        async with self._turn:
            if self.closed:
                raise anyio.ClosedResourceError
            try:
                await self._out.write(line + "\n")
            except Exception as problem:  # after any error, half of the line may be written
                self.closed = True
                self._on_broken()
                raise anyio.BrokenResourceError from problem

    async def aclose(self) -> None:
        self.closed = True
