"""Events of requests and calls for the operators of a service: never arguments or texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kartra_mcp.core.principal import Principal
from kartra_mcp.server.elicitation import PRINCIPAL_KEY
from kartra_mcp.server.mcp_server import CallReport

REQUEST_ID_KEY = "kartra_mcp.request_id"


@dataclass(frozen=True, slots=True)
class CallEvent:
    """One call of a tool. `principal` is the hashed key of its principal."""

    account: str
    tool: str
    outcome: str
    seconds: float
    principal: str
    request_id: str


@dataclass(frozen=True, slots=True)
class RequestEvent:
    """One request over HTTP. `reason` is why it was refused, one of a fixed set, or ""."""

    status: int
    reason: str
    seconds: float
    request_id: str


@dataclass(frozen=True, slots=True)
class NoticeEvent:
    """A notice of a request for approval. `reason` is why it was not delivered, or ""."""

    account: str
    number: int
    reason: str = ""


class Sink(Protocol):
    """A place for events: metrics, logs, traces."""

    def add_call(self, event: CallEvent) -> None: ...
    def add_request(self, event: RequestEvent) -> None: ...
    def add_notice(self, event: NoticeEvent) -> None: ...


@dataclass(frozen=True, slots=True)
class ServiceObserver:
    """Passes each event to every sink."""

    sinks: Sequence[Sink] = ()

    def note_request(
        self, scope: Mapping[str, Any], status: int, reason: str, seconds: float
    ) -> None:
        event = RequestEvent(status, reason, seconds, scope.get(REQUEST_ID_KEY, ""))
        for sink in self.sinks:
            sink.add_request(event)

    def note_call(self, account: str, report: CallReport) -> None:
        principal = report.scope.get(PRINCIPAL_KEY)
        event = CallEvent(
            account,
            report.tool,
            report.outcome,
            report.seconds,
            principal.key if isinstance(principal, Principal) else "",
            report.scope.get(REQUEST_ID_KEY, ""),
        )
        for sink in self.sinks:
            sink.add_call(event)

    def note_notice(self, event: NoticeEvent) -> None:
        for sink in self.sinks:
            sink.add_notice(event)
