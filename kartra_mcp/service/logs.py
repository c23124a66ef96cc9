"""Logs of the service: one JSON object a line on stderr, without arguments, addresses or tokens."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from kartra_mcp.service.observer import CallEvent, NoticeEvent, RequestEvent

EVENTS = logging.getLogger("kartra_mcp.service.events")
_FIRST_REFUSAL = 400
_ENCODER = json.JSONEncoder(separators=(",", ":"))


class JsonFormatter(logging.Formatter):
    """Formats an event of ours whole; of any other record only where it was logged.

    Messages of libraries contain what a client sent, and tracebacks what Kartra returned.
    """

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        shown: dict[str, Any] = {"time": at, "level": record.levelname.lower()}
        fields: Mapping[str, Any] | None = getattr(record, "fields", None)
        if fields is not None:
            shown |= {"event": record.msg, **fields}
        else:
            shown |= {"event": "log", "logger": record.name, "line": record.lineno}
            if record.exc_info and record.exc_info[0]:
                shown["error"] = record.exc_info[0].__name__
        return _ENCODER.encode(shown)


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
    if EVENTS.isEnabledFor(logging.INFO):
        # Not `info`, which walks the stack for the place that logs: an event does not show it.
        extra = {"fields": fields}
        EVENTS.handle(
            EVENTS.makeRecord(EVENTS.name, logging.INFO, "", 0, event, (), None, None, extra)
        )


def log_to(stream: TextIO | None = None) -> None:
    """Send every log of this process to a stream, by default stderr, as JSON."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    EVENTS.setLevel(logging.INFO)
