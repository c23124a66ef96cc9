"""Traces of calls by OpenTelemetry's API; without an SDK in the process nothing is recorded."""

from __future__ import annotations

import time

from opentelemetry import trace

from kartra_mcp.service.observer import CallEvent, NoticeEvent, RequestEvent


class TraceSink:
    """A span for each call, without its arguments or its texts."""

    def __init__(self) -> None:
        self._tracer = trace.get_tracer("kartra_mcp")

    def add_call(self, event: CallEvent) -> None:
        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            return
        ended = time.time_ns()
        began = ended - int(event.seconds * 1e9)
        span = self._tracer.start_span(f"tools/call {event.tool}", start_time=began)
        span.set_attributes(
            {
                "kartra_mcp.account": event.account,
                "kartra_mcp.tool": event.tool,
                "kartra_mcp.outcome": event.outcome,
                "kartra_mcp.request": event.request_id,
            }
        )
        span.end(ended)

    def add_request(self, event: RequestEvent) -> None:
        """Record nothing: a proxy traces requests."""

    def add_notice(self, event: NoticeEvent) -> None:
        """Record nothing: a notice belongs to no call."""
