"""Logs of the service: one JSON object a line on stderr, without arguments, addresses or tokens."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TextIO

from kartra_mcp.service.observer import CallEvent, NoticeEvent, RequestEvent

_FIRST_REFUSAL = 400
_ENCODER = json.JSONEncoder(separators=(",", ":"))


class JsonFormatter(logging.Formatter):
    """Formats only where a record was logged.

    Messages of libraries contain what a client sent, and tracebacks what Kartra returned.
    """

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {"logger": record.name, "line": record.lineno}
        if record.exc_info and record.exc_info[0]:
            fields["error"] = record.exc_info[0].__name__
        return _format_line(record.created, record.levelname.lower(), "log", fields)


@dataclass(slots=True)
class EventStream:
    """Stream of the service's own events; without one they are not written.

    No logger of `logging`: each call is an event, and a record of it costs three times its line.
    """

    stream: TextIO | None = None

    def write(self, event: str, fields: Mapping[str, Any]) -> None:
        if self.stream is not None:
            line = _format_line(time.time(), "info", event, fields)
            with suppress(OSError, ValueError):  # a log that cannot be written ends no call
                self.stream.write(line + "\n")
                self.stream.flush()


EVENTS = EventStream()


class LogSink:
    """Logs each call, each notice, and each request that was refused."""

    def add_call(self, event: CallEvent) -> None:
        write_event(
            "call",
            request=event.request_id,
            account=event.account,
            tool=event.tool,
            principal=event.principal,
            outcome=event.outcome,
            milliseconds=round(event.seconds * 1000, 1),
        )

    def add_request(self, event: RequestEvent) -> None:
        if event.status >= _FIRST_REFUSAL:
            write_event(
                "refused",
                request=event.request_id,
                status=event.status,
                reason=event.reason,
                milliseconds=round(event.seconds * 1000, 1),
            )

    def add_notice(self, event: NoticeEvent) -> None:
        outcome = {"reason": event.reason} if event.reason else {}
        name = "notice_failed" if event.reason else "notice_sent"
        write_event(name, account=event.account, number=event.number, **outcome)


def write_event(event: str, /, **fields: Any) -> None:
    EVENTS.write(event, fields)


def log_to(stream: TextIO | None = None) -> None:
    """Send every log of this process to a stream, by default stderr, as JSON."""
    EVENTS.stream = stream or sys.stderr
    handler = logging.StreamHandler(EVENTS.stream)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def _format_line(seconds: float, level: str, event: str, fields: Mapping[str, Any]) -> str:
    whole, part = divmod(seconds, 1)
    at = f"{_format_second(int(whole))}.{int(part * 1000):03d}+00:00"
    return _ENCODER.encode({"time": at, "level": level, "event": event, **fields})


@lru_cache(maxsize=1)
def _format_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
