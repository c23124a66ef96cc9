"""Streams of SDK messages over lines, read and sent in the task that needs them.

The SDK's own streams have a task and a hand-over for each direction, which cost a call more than
the reading and writing itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import anyio
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp_types import (
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)

from kartra_mcp.server.backlog import Backlog
from kartra_mcp.server.message_lines import (
    MessageLines,
    OversizedLine,
    Rejection,
    bound_values,
    decode_line,
    has_invalid_id,
    reject,
)
from kartra_mcp.server.stdin import LineReader
from kartra_mcp.server.stdout import PipeWriter

PARTIAL_MESSAGE_TIMEOUT = 2.0
"""Seconds without input after which an incomplete message is answered as broken."""


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
    """Messages as they arrive. Input that is no message is answered with an error.

    `on_end` runs at the end of input: a shielded call may keep the SDK from ending then.
    """

    def __init__(
        self,
        lines: LineReader,
        refuse: Callable[[Rejection], Awaitable[None]],
        backlog: Backlog,
        on_end: Callable[[], None],
    ) -> None:
        self._lines, self._refuse, self._backlog = lines, refuse, backlog
        self._on_end = on_end
        self._assembler = MessageLines()
        self._messages: deque[SessionMessage] = deque()

    def __aiter__(self) -> ReadStream:
        return self

    async def __anext__(self) -> SessionMessage:
        while not self._messages:
            if self._backlog.is_full and not await self._backlog.wait_for_room():
                break
            if not await self._read():
                break
        else:
            return self._messages.popleft()
        self._on_end()
        raise StopAsyncIteration

    async def receive(self) -> SessionMessage:
        try:
            return await anext(self)
        except StopAsyncIteration:
            raise anyio.EndOfStream from None

    async def _read(self) -> bool:
        """Read one line; return False at the end of input."""
        waiting = self._assembler.is_waiting
        line = await self._lines.next_line(PARTIAL_MESSAGE_TIMEOUT if waiting else None)
        if line is None:
            found = self._assembler.flush()
        elif waiting or isinstance(line := bound_values(line), OversizedLine):
            found = self._assembler.add(line)
        else:
            text = decode_line(line)
            found = [] if self._accept(text) else self._assembler.add(line)
        for item in found:
            await self._handle(item)
        return line is not None or not self._lines.ended

    async def _handle(self, item: str | Rejection) -> None:
        if isinstance(item, str):
            if self._accept(item):
                return
            item = reject(item)
        if item.failed_question is not None:
            error = ErrorData(code=item.code, message=item.message)
            failed = JSONRPCError(jsonrpc="2.0", id=item.failed_question, error=error)
            self._messages.append(SessionMessage(failed))
        await self._refuse(item)

    def _accept(self, text: str) -> bool:
        """Keep the message that a text is, if it is one."""
        try:
            message = jsonrpc_message_adapter.validate_json(text, by_name=False)
        except Exception:  # noqa: BLE001  a bad line must not affect the next one
            return False
        if isinstance(message, JSONRPCNotification) and has_invalid_id(text):
            return False
        self._messages.append(SessionMessage(message, self._open(message, len(text))))
        return True

    def _open(self, message: JSONRPCMessage, size: int) -> ServerMessageMetadata | None:
        if not isinstance(message, JSONRPCRequest):
            return None
        self._backlog.open(message.id, size)

        async def close() -> None:
            self._backlog.close(message.id)

        return ServerMessageMetadata(on_request_unanswered=close)  # the client cancelled it


class WriteStream(_StreamBase):
    """Messages in the order of `send`, each in one piece; `on_broken` runs on a lost reader."""

    def __init__(
        self,
        out: PipeWriter,
        on_broken: Callable[[], None],
        make_oversized_result: Callable[[], dict[str, Any]],
        backlog: Backlog,
    ) -> None:
        self._out, self._on_broken, self._backlog = out, on_broken, backlog
        self._make_oversized_result = make_oversized_result
        self.closed = False
        self._turn = anyio.Lock(fast_acquire=True)

    async def send(self, item: SessionMessage, /) -> None:
        """Send one message.

        Raises:
            anyio.BrokenResourceError: the reader is gone; half of the line may have been written.
            anyio.ClosedResourceError: the stream was closed before; nothing was written.
        """
        line = item.message.model_dump_json(by_alias=True, exclude_unset=True)
        self._backlog.add_unwritten(len(line))
        try:
            async with self._turn:
                await self._write(line)
        finally:
            self._backlog.add_unwritten(-len(line))
            if isinstance(item.message, JSONRPCResponse | JSONRPCError):
                self._backlog.close(item.message.id)

    async def _write(self, line: str) -> None:
        if self.closed:
            raise anyio.ClosedResourceError
        try:
            await self._out.write(line + "\n")
        except Exception as problem:  # after any error, half of the line may be written
            self.closed = True
            self._on_broken()
            raise anyio.BrokenResourceError from problem

    async def refuse(self, rejection: Rejection) -> None:
        """Answer input that is not passed on; a lost reader is no error here."""
        if rejection.is_large_call and rejection.request_id is not None:
            result = self._make_oversized_result()
            answer: JSONRPCMessage = JSONRPCResponse(
                jsonrpc="2.0", id=rejection.request_id, result=result
            )
        else:
            error = ErrorData(code=rejection.code, message=rejection.message)
            answer = JSONRPCError(jsonrpc="2.0", id=rejection.request_id, error=error)
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await self.send(SessionMessage(answer))

    async def aclose(self) -> None:
        self.closed = True
