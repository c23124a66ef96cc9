"""Client for Membrane's REST API: one request per operation, on kept connections.

The connection is always named: without one Membrane picks a default account. No write is sent
twice, and no redirect is followed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeGuard

from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.json_types import is_object
from kartra_mcp.core.models import (
    UNFENCED,
    Action,
    ActionResult,
    Connection,
    Executed,
    RawRequest,
)
from kartra_mcp.core.sanitize import dump_json
from kartra_mcp.core.threads import parse_off_loop
from kartra_mcp.core.timings import DEFAULT_CLOCKS, DEFAULT_TIMINGS, Clocks, WriteTimings
from kartra_mcp.membrane.client import CallOptions, ProgramInfo, Record, StartedIntent
from kartra_mcp.membrane.clock_skew import ClockSkew, measure_skew
from kartra_mcp.membrane.connections import get_connector_id, parse_connect, parse_connection
from kartra_mcp.membrane.credentials import AccessToken, Credentials, access_token, mint_token
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
    HttpResponse,
    HttpTransport,
    ResponseTooLargeError,
    SendRightEndedError,
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
from kartra_mcp.membrane.send_right import (
    SendState,
    add_skew,
    arrived_late_error,
    make_attempt_id,
    make_right,
    require_agreeing_clocks,
    send_right_ended_error,
)

TIMED_OUT = "Membrane's API did not answer in time."

CLOCK_SKEW = timedelta(minutes=15)
"""Assumed largest difference between this clock and Membrane's."""

SUCCESS = 200
LOGS = "100"
REDACTED = b"(a secret)"


@dataclass(slots=True)
class HttpClient:
    """Membrane through its API; one request per operation.

    Args:
        credentials: token or workspace, and address.
        turns: concurrency and rate limits.
        clocks: the wall clock for the expiry of tokens, the steady one for rights to send.
        timings: times of a write.
    """

    credentials: Credentials
    turns: CallLimiter
    clocks: Clocks = DEFAULT_CLOCKS
    timings: WriteTimings = DEFAULT_TIMINGS.writes
    skew: ClockSkew | None = None
    """Newest measured difference of Membrane's clock to this machine's."""
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
        answer = await self._request(first, to_do)
        if answer.status == NOT_FOUND:
            answer = await self._request(second, to_do)
        return parse_connect(parse_response(answer.status, answer.body), connection)

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
        answer = await self._request(question, to_do)
        value = await self._parse(answer)
        if to_do.write and not (is_object(value) and value.keys() & {"output", "actionRunId"}):
            raise invalid_response_error(
                dump_json(value)[:600]
            )  # another page, such as a proxy's: it proves no run
        return parse_run(value, len(answer.body))

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

    async def refuses_token(self, ended_at: float, deadline: Deadline) -> bool | None:
        if self.credentials.fence == UNFENCED:
            return None
        question = ApiRequest("GET", "/connections", {"limit": "1"})
        ended = mint_token(self.credentials, int(ended_at), make_attempt_id()).token.reveal()
        try:
            answer = await self._send(question, CallOptions(deadline), ended)
        except KartraMCPError:
            return None
        return {UNAUTHORIZED: True, SUCCESS: False}.get(answer.status)

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
        return await self._parse(await self._request(question, to_do))

    async def _parse(self, answer: _Answer) -> Any:
        try:
            return await parse_off_loop(
                len(answer.body), parse_response, answer.status, answer.body
            )
        except KartraMCPError as problem:
            rejected = problem.code == "not_logged_in" and problem.executed is Executed.NO
            if rejected and answer.sending.has_ended:
                raise arrived_late_error(problem) from None
            add_skew(problem, self.skew)
            raise

    async def _request(self, question: ApiRequest, to_do: CallOptions) -> _Answer:
        """Return the answer, with the token redacted."""
        found = await self._send(question, to_do)
        body = await parse_off_loop(len(found.body), redact, found.body, found.token, REDACTED)
        return found if body is found.body else replace(found, body=body)

    async def _send(self, question: ApiRequest, to_do: CallOptions, token: str = "") -> _Answer:
        """Return the answer to a request under `token`, else under the token for it."""
        content = question.encode_content()
        async with self.turns.slot(to_do.deadline, write=to_do.write, paced=to_do.rate_limited):
            sending = SendState(to_do, self.clocks.steady)
            if to_do.write_record is None:
                token = token or self._get_token()
            else:
                begun = await self._begin_write(to_do.write_record, sending)
                content = question.encode_content(begun)
                token = self._mint_for(begun)
            with self._unfinished.track(to_do.shielded, to_do.deadline.at):
                found = await self._exchange(question, content, token, sending)
                if found.status == UNAUTHORIZED:
                    self._minted = None
                return _Answer(found.status, found.body, token, sending)
        raise timed_out_error(TIMED_OUT, write=to_do.write and sending.has_begun)

    async def _begin_write(self, record: Record, sending: SendState) -> StartedIntent:
        """Record the intent with its right to be sent; a repeated send has the first right.

        Raises:
            RefusedError: it may not run, or the clocks differ too much. Nothing was sent.
        """
        if sending.to_do.irreversible:
            require_agreeing_clocks(self.skew, self.timings.skew_seconds)
        seconds = self.timings.send_seconds
        right = make_right(self.credentials.fence, seconds, self.clocks.steady)
        begun = await record.begin(right)
        sending.right = begun.right or right
        if sending.has_ended:
            raise send_right_ended_error()
        if sending.to_do.irreversible and self.skew is not None and begun.begun_at:
            # The ledger's clock sets the end of the token, and may be another than this one.
            ahead = begun.begun_at - self.clocks.wall()
            require_agreeing_clocks(self.skew.shifted(ahead), self.timings.skew_seconds)
        return begun

    def _mint_for(self, begun: StartedIntent) -> str:
        """Return the token of this write alone, which ends with its right to be sent."""
        right = begun.right
        if right is None or right.fence == UNFENCED:
            return self._get_token()
        ends = begun.begun_at + right.seconds
        # Whole seconds, rounded down: not every reader of a JWT takes a fraction. Only a right that
        # has one itself, as in tests, keeps it.
        ends = int(ends) if float(right.seconds).is_integer() else ends
        return mint_token(self.credentials, ends, right.attempt).token.reveal()

    async def _exchange(
        self, question: ApiRequest, content: bytes | None, token: str, sending: SendState
    ) -> HttpResponse:
        alone = sending.to_do.write or sending.to_do.fresh_connection
        request = HttpRequest(
            question.method, question.path, question.query, content, token, alone, sending.begin
        )
        sent_at = self.clocks.wall()
        try:
            found = await self._http.exchange(request)
        except SendRightEndedError:
            raise send_right_ended_error() from None
        except ResponseTooLargeError:
            raise invalid_response_error("(above 32 MB; the rest was not read)") from None
        except (TransportConfigError, TransportError) as problem:
            why = str(problem).replace(token, REDACTED.decode())
            if sending.has_begun:
                raise connection_lost_error(why) from None
            raise not_sent_error(self.credentials.host, why) from None
        self.skew = measure_skew(found.date, sent_at, self.clocks.wall()) or self.skew
        return found

    def _get_token(self) -> str:
        now = self.clocks.wall()
        if self._minted is None or not self._minted.is_valid(now):
            self._minted = access_token(self.credentials, now)
        return self._minted.token.reveal()


@dataclass(frozen=True, slots=True)
class _Answer:
    """Response, the token that was sent, and the state of its request."""

    status: int
    body: bytes
    token: str
    sending: SendState


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
