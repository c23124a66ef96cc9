"""The client's lines as the SDK's messages, and back, in the task that reads or sends them.

The SDK's own pair of streams has a task and a hand-over between for each direction, which cost a
call more than the reading and writing do.
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
    """What the SDK asks of either direction besides; the descriptors are not ours to close."""

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
    """Messages as they come; a line that is none comes as the exception that it caused."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines

    def __aiter__(self) -> ReadStream:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        line = await anext(self._lines)
        try:
            return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
        except Exception as problem:  # noqa: BLE001  whatever it is, the next line is another's
            return problem

    async def receive(self) -> SessionMessage | Exception:
        try:
            return await anext(self)
        except StopAsyncIteration:
            raise anyio.EndOfStream from None


class WriteStream(_StreamBase):
    """Messages in the order of asking, each in one piece; `on_broken`: nobody can read them."""

    def __init__(self, out: PipeWriter, on_broken: Callable[[], None]) -> None:
        self._out, self._on_broken = out, on_broken
        self.closed = False
        self._turn = anyio.Lock(fast_acquire=True)

    async def send(self, item: SessionMessage, /) -> None:
        """Raises: anyio.BrokenResourceError, anyio.ClosedResourceError: it was not sent."""
        line = item.message.model_dump_json(by_alias=True, exclude_unset=True)
        async with self._turn:
            if self.closed:
                raise anyio.ClosedResourceError
            try:
                await self._out.write(line + "\n")
            except Exception as problem:  # whatever it is, the line may be there by half
                self.closed = True
                self._on_broken()
                raise anyio.BrokenResourceError from problem

    async def aclose(self) -> None:
        self.closed = True
