"""Client for Membrane's REST API: one request per operation, on kept connections.

The connection is always named: without one Membrane picks a default account. No write is sent
twice, and no redirect is followed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeGuard

import anyio

from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.json_types import is_object
from kartra_mcp.core.models import Action, ActionResult, Connection, RawRequest
from kartra_mcp.core.sanitize import dump_json
from kartra_mcp.core.threads import parse_off_loop
from kartra_mcp.membrane.client import CallOptions, ProgramInfo
from kartra_mcp.membrane.connections import get_connector_id, parse_connect, parse_connection
from kartra_mcp.membrane.credentials import AccessToken, Credentials, access_token
from kartra_mcp.membrane.errors import UNAUTHORIZED
from kartra_mcp.membrane.http_messages import (
    INTENT_META_KEY,
    NOT_FOUND,
    ApiRequest,
    connection_lost_error,
    not_sent_error,
    parse_response,
    path_segment,
    redact,
    request_payload,
)
from kartra_mcp.membrane.http_transport import (
    HttpRequest,
    HttpTransport,
    ResponseTooLargeError,
    TransportConfigError,
    TransportError,
)
from kartra_mcp.membrane.limiter import CallLimiter, RunningCalls
from kartra_mcp.membrane.logged_runs import LoggedRuns, list_logged_runs
from kartra_mcp.membrane.pagination import (
    MAX_PAGES,
    ActionList,
    FetchPage,
    element_id,
    list_actions,
    read_pages,
)
from kartra_mcp.membrane.responses import (
    ProxyResponse,
    RunLog,
    get_cursor,
    invalid_response_error,
    list_items,
    parse_proxy_response,
    parse_run,
    parse_run_log,
    timed_out_error,
)

TIMED_OUT = "Membrane's API did not answer in time."

CLOCK_SKEW = timedelta(minutes=15)
"""Assumed largest difference between this clock and Membrane's."""

LOGS = "100"
REDACTED = b"(a secret)"


@dataclass(slots=True)
class HttpClient:
    """Membrane through its API; one request per operation.

    Args:
        credentials: token or workspace, and address.
        turns: concurrency and rate limits.
        clock: seconds since the epoch, for the expiry of tokens.
    """

    credentials: Credentials
    turns: CallLimiter
    clock: Callable[[], float] = time.time
    _unfinished: RunningCalls = field(default_factory=RunningCalls)
    _minted: AccessToken | None = None
    _http: HttpTransport = field(init=False)

    def __post_init__(self) -> None:
        self._http = HttpTransport(self.credentials.address, is_here=self.credentials.is_loopback)

    async def get_program(self, deadline: Deadline) -> ProgramInfo:
        """Return a known program: the user configured the address, and TLS authenticates it."""
        del deadline
        return ProgramInfo(is_membrane=True)

    async def is_logged_in(self, deadline: Deadline) -> bool | None:
        """Return True if these credentials can list connections; None if that cannot be decided."""
        try:
            await self._request_json(
                ApiRequest("GET", "/connections", {"limit": "1"}), CallOptions(deadline)
            )
        except KartraMCPError as problem:
            return False if problem.code == "not_logged_in" else None
        return True

    async def list_connections(self, deadline: Deadline) -> tuple[Connection, ...]:
        found = await read_pages(self._ask("/connections", {}, deadline), {})
        listed = (parse_connection(entry) for entry in found.entries)
        return tuple(connection for connection in listed if connection)

    async def get_connection(
        self, id_or_key: str, deadline: Deadline, wait: int = 0
    ) -> Connection | None:
        waiting = {"wait": "true", "timeout": str(wait)} if wait else {}
        question = ApiRequest("GET", f"/connections/{path_segment(id_or_key)}", waiting)
        return parse_connection(await self._request_json(question, CallOptions(deadline)))

    async def connect(
        self, deadline: Deadline, *, connection: str = "", connector: str = ""
    ) -> Connection:
        """Connect through one of the two documented routes.

        The second is tried only after a 404, which means that the first route does not exist and
        nothing was executed.
        """
        first, second = (
            _reconnect_requests(connection) if connection else _connect_requests(connector)
        )
        to_do = CallOptions(deadline, write=True, shielded=True)
        status, raw = await self._request(first, to_do)
        if status == NOT_FOUND:
            status, raw = await self._request(second, to_do)
        return parse_connect(parse_response(status, raw), connection)

    async def find_connector(self, deadline: Deadline) -> str | None:
        """Return the id of Kartra's connector, or None if Membrane lists none."""
        question = ApiRequest("GET", "/search", {"q": "kartra", "elementType": "connector"})
        entries = list_items(await self._request_json(question, CallOptions(deadline)))
        return next((found for entry in entries if (found := get_connector_id(entry))), None)

    async def list_actions(self, connection: str, deadline: Deadline) -> ActionList:
        return await list_actions(self._ask("/actions", {"connectionId": connection}, deadline))

    async def search(self, intent: str, connection: str, deadline: Deadline) -> list[str]:
        """Return the ids of the actions that match a task in plain words, best first."""
        query = {"connectionId": connection, "intent": intent}
        value = await self._request_json(
            ApiRequest("GET", "/actions", query), CallOptions(deadline)
        )
        return [element_id(entry) for entry in list_items(value)]

    async def run(
        self, action: Action, arguments: Mapping[str, Any], connection: str, to_do: CallOptions
    ) -> ActionResult:
        body = {"id": action.id, "connectionId": connection, "input": arguments}
        question = ApiRequest("POST", "/act", body=body, takes_mark=True)
        value = await self._request_json(question, to_do)
        if to_do.write and not (is_object(value) and value.keys() & {"output", "actionRunId"}):
            raise invalid_response_error(
                dump_json(value)[:600]
            )  # another page, such as a proxy's: it proves no run
        return parse_run(value)

    async def request(
        self, request: RawRequest, connection: str, to_do: CallOptions
    ) -> ProxyResponse:
        path = f"/connections/{path_segment(connection)}/request"
        question = ApiRequest("POST", path, body=request_payload(request))
        return parse_proxy_response(await self._request_json(question, to_do))

    async def run_logs(
        self, connection: str, intent: str, since: float, deadline: Deadline
    ) -> tuple[RunLog, ...]:
        began = datetime.fromtimestamp(since, UTC) - CLOCK_SKEW
        query = {"from": began.isoformat(timespec="seconds").replace("+00:00", "Z"), "limit": LOGS}
        found: list[RunLog] = []
        for _ in range(MAX_PAGES):
            value = await self._request_json(
                ApiRequest("GET", "/action-run-logs", query), CallOptions(deadline)
            )
            found += [
                parse_run_log(log) for log in list_items(value) if _is_of(log, connection, intent)
            ]
            at = get_cursor(value)
            if at is None:
                break
            query = {**query, "cursor": at}
        return tuple(found)

    async def logged_runs(self, connection: str, since: float, deadline: Deadline) -> LoggedRuns:
        async def fetch(query: Mapping[str, str]) -> Any:
            question = ApiRequest("GET", "/action-run-logs", query)
            return await self._request_json(question, CallOptions(deadline))

        return await list_logged_runs(fetch, connection, since - CLOCK_SKEW.total_seconds())

    def cancel_all(self) -> None:
        self._unfinished.cancel_all()

    async def close(self) -> None:
        await self._http.close()

    def _ask(self, path: str, query: Mapping[str, str], deadline: Deadline) -> FetchPage:
        """Return a function that fetches one page of a list."""

        async def ask(parameters: Mapping[str, str]) -> Any:
            return await self._request_json(
                ApiRequest("GET", path, {**query, **parameters}), CallOptions(deadline)
            )

        return ask

    async def _request_json(self, question: ApiRequest, to_do: CallOptions) -> Any:
        status, raw = await self._request(question, to_do)
        return await parse_off_loop(len(raw), parse_response, status, raw)

    async def _request(self, question: ApiRequest, to_do: CallOptions) -> tuple[int, bytes]:
        """Return status and body, with the token redacted."""
        status, raw, token = await self._send(question, to_do)
        return status, await parse_off_loop(len(raw), redact, raw, token, REDACTED)

    async def _send(self, question: ApiRequest, to_do: CallOptions) -> tuple[int, bytes, str]:
        """Return the status, the body as received, and the token that was sent."""
        content = question.encode_content()
        async with self.turns.slot(to_do.deadline, write=to_do.write, paced=to_do.rate_limited):
            if to_do.write_record:
                content = question.encode_content((await to_do.write_record.begin()).intent)
            token = self._get_token()
            sending = _SendState(to_do)
            with (
                self._unfinished.track(to_do.shielded),
                anyio.CancelScope(deadline=to_do.deadline.at),
            ):
                status, raw = await self._exchange(question, content, token, sending)
                if status == UNAUTHORIZED:
                    self._minted = None
                return status, raw, token
        raise timed_out_error(TIMED_OUT, write=to_do.write and sending.has_begun)

    async def _exchange(
        self, question: ApiRequest, content: bytes | None, token: str, sending: _SendState
    ) -> tuple[int, bytes]:
        alone = sending.to_do.write or sending.to_do.fresh_connection
        request = HttpRequest(
            question.method, question.path, question.query, content, token, alone, sending.begin
        )
        try:
            return await self._http.exchange(request)
        except ResponseTooLargeError:
            raise invalid_response_error("(above 32 MB; the rest was not read)") from None
        except (TransportConfigError, TransportError) as problem:
            why = str(problem).replace(token, REDACTED.decode())
            if sending.has_begun:
                raise connection_lost_error(why) from None
            raise not_sent_error(self.credentials.host, why) from None

    def _get_token(self) -> str:
        now = self.clock()
        if self._minted is None or not self._minted.is_valid(now):
            self._minted = access_token(self.credentials, now)
        return self._minted.token.reveal()


@dataclass(slots=True)
class _SendState:
    """State of one request: `has_begun` is set immediately before its first byte is sent."""

    to_do: CallOptions
    has_begun: bool = False

    def begin(self) -> None:
        self.has_begun = True
        if self.to_do.write_record:
            self.to_do.write_record.mark_started()


def _reconnect_requests(connection: str) -> tuple[ApiRequest, ApiRequest]:
    return (
        ApiRequest("POST", f"/connections/{path_segment(connection)}/reconnect", body={}),
        ApiRequest("POST", "/connect", body={"connectionId": connection}),
    )


def _connect_requests(connector: str) -> tuple[ApiRequest, ApiRequest]:
    body = {"connectorId": connector}
    return ApiRequest("POST", "/connect", body=body), ApiRequest("POST", "/connections", body=body)


def _is_of(entry: Any, connection: str, intent: str) -> TypeGuard[Mapping[str, Any]]:
    """Return True if a run log carries exactly this intent and is not of another connection."""
    if not is_object(entry):
        return False
    meta = entry.get("meta")
    marked = is_object(meta) and meta.get(INTENT_META_KEY) == intent
    return marked and entry.get("connectionId") in (None, connection)
