"""Metrics of a replica for Prometheus, on a port of their own. No label holds personal data."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from kartra_mcp.calls.running_writes import RunningWrites
from kartra_mcp.service.observer import CallEvent, NoticeEvent, RequestEvent

NAMESPACE = "kartra_mcp"
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
LedgerFigures = Callable[[], Mapping[str, Mapping[str, float]]]
"""Returns figures of the ledger of each account: `unknown`, `conflicts`, `approvals`."""

_FIGURES = {
    "unknown": "Writes whose outcome is unknown.",
    "conflicts": "Late answers that contradict a settled write.",
    "approvals": "Requests that wait for an approver.",
}


@dataclass(slots=True)
class ServiceMetrics:
    """The metrics of one replica; a sink of events."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    _calls: Callable[..., Counter] = field(init=False)
    _seconds: Callable[..., Histogram] = field(init=False)
    _requests: Callable[..., Counter] = field(init=False)
    _refused: Callable[..., Counter] = field(init=False)
    _notices: Callable[..., Counter] = field(init=False)

    def __post_init__(self) -> None:
        of, space = self.registry, NAMESPACE
        calls = Counter(
            "calls", "Calls of tools.", ("account", "tool", "outcome"), space, registry=of
        )
        seconds = Histogram(
            "call_seconds", "Time of calls.", ("account",), space, registry=of, buckets=_BUCKETS
        )
        requests = Counter("requests", "Requests over HTTP.", ("status",), space, registry=of)
        refused = Counter("refused_requests", "Refused requests.", ("reason",), space, registry=of)
        notices = Counter(
            "notices",
            "Notices of requests for approval.",
            ("account", "outcome"),
            space,
            registry=of,
        )
        # Each call counts in three of them; `labels` costs more than what it finds.
        self._calls, self._seconds = cache(calls.labels), cache(seconds.labels)
        self._requests, self._refused = cache(requests.labels), cache(refused.labels)
        self._notices = cache(notices.labels)

    def add_call(self, event: CallEvent) -> None:
        self._calls(event.account, event.tool, event.outcome).inc()
        self._seconds(event.account).observe(event.seconds)

    def add_request(self, event: RequestEvent) -> None:
        self._requests(str(event.status)).inc()
        if event.reason:
            self._refused(event.reason).inc()

    def add_notice(self, event: NoticeEvent) -> None:
        self._notices(event.account, "failed" if event.reason else "sent").inc()

    def watch(
        self, process: RunningWrites, is_ending: Callable[[], bool], figures: LedgerFigures
    ) -> None:
        """Report what is read when the metrics are asked for."""
        of, space = self.registry, NAMESPACE
        running = Gauge("running_writes", "Writes that run now.", namespace=space, registry=of)
        running.set_function(lambda: process.count)
        ending = Gauge("ending", "1 while the replica shuts down.", namespace=space, registry=of)
        ending.set_function(lambda: float(is_ending()))
        of.register(_LedgerCollector(figures))

    @contextmanager
    def served(self, host: str, port: int) -> Generator[int]:
        """Serve the metrics in a thread; yield the port."""
        server, thread = start_http_server(port, host, self.registry)
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _LedgerCollector(Collector):
    """Figures of the ledgers; none while the database cannot be read."""

    def __init__(self, figures: LedgerFigures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Any]:
        found = self._figures()
        for name, text in _FIGURES.items():
            family = GaugeMetricFamily(NAMESPACE + "_" + name, text, labels=["account"])
            for account, figures in found.items():
                if name in figures:
                    family.add_metric([account], figures[name])
            yield family
