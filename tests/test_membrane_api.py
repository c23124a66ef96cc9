"""Membrane's API: the exact requests, what its answers prove, and that nothing is sent twice."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from typing import Any

import anyio
import pytest
from fake_membrane_api import serving
from harness import (
    CONNECTION,
    APIStandIn,
    StandIn,
    action,
    both_eras,
    call,
    connect,
    connect_stdio,
    healthy,
    sandbox_served,
)
from polling import until

from kartra_mcp.core.deadline import Deadline
from kartra_mcp.core.errors import KartraMCPError
from kartra_mcp.core.models import Action, RawRequest, SendRight
from kartra_mcp.core.timings import Clocks
from kartra_mcp.membrane.client import CallOptions, StartedIntent
from kartra_mcp.membrane.credentials import Credentials, Secret, credentials_from_env
from kartra_mcp.membrane.http_client import HttpClient
from kartra_mcp.membrane.limiter import CallLimiter
from kartra_mcp.membrane.pagination import FALLBACK_SEARCHES
from kartra_mcp.membrane.responses import parse_run_log

pytestmark = pytest.mark.anyio

TOKEN = "a-token-of-the-tests"
ACTION = Action(id="650e12", key="get-lead", name="Get Lead")
DONE = {"out": {"output": {"ok": 1}, "actionRunId": "r1"}}
EVIL = 'HTTP/1.1 200 OK\r\nContent-Length: 36\r\n\r\n{"output":1,"actionRunId":"of others"}'
PAGE = "<html><h1>502 Bad Gateway</h1></html>"


@pytest.fixture
def place(fake_membrane):
    with serving(fake_membrane.folder) as address:
        yield APIStandIn(fake_membrane.folder, fake_membrane.settings, address)


@pytest.fixture
async def api(place: APIStandIn):
    made = HttpClient(Credentials(place.address, Secret(TOKEN)), CallLimiter(4))
    yield made
    await made.close()


def soon() -> Deadline:
    return Deadline.after(20)


class Noted:
    """A record that stores each call with the bytes sent by then."""

    def __init__(self, place: APIStandIn | None = None) -> None:
        self.place = place
        self.told: list[tuple[str, int]] = []
        self.right: SendRight | None = None

    async def begin(self, right: SendRight | None = None) -> StartedIntent:
        self._note("begin")
        self.right = self.right or right
        return StartedIntent("int_0123456789abcdef", (), self.right, 7, "a1", time.time())

    def mark_started(self) -> None:
        self._note("started")

    def _note(self, word: str) -> None:
        self.told.append((word, len(self.place.lines("asked")) if self.place else 0))


async def failed(api: HttpClient, to_do: CallOptions) -> tuple[str, str]:
    with pytest.raises(KartraMCPError) as caught:
        await api.run(ACTION, {}, "c1", to_do)
    assert caught.value.remedy
    return caught.value.code, str(caught.value.executed)


# ── The requests of each verb ──


async def test_the_lists(place: APIStandIn, api: HttpClient):
    place.plan(
        connection_list={"out": {"items": [CONNECTION]}},
        action_list={"out": {"items": [{"id": "2"}, {"id": "1"}]}},
        search={"out": {"items": [{"element": {"id": "k", "name": "Kartra"}}]}},
    )
    assert [one.id for one in await api.list_connections(soon())] == ["c1"]
    assert len((await api.list_actions("c 1", soon())).entries) == 2
    assert await api.search("-5 % off & more", "c1", soon()) == ["2", "1"]
    assert await api.find_connector(soon()) == "k"
    assert place.lines("asked") == [
        "GET /connections",
        "GET /actions?connectionId=c+1&limit=1000",
        "GET /actions?connectionId=c1&intent=-5+%25+off+%26+more",
        "GET /search?q=kartra&elementType=connector",
    ]
    assert set(place.lines("tokens")) == {f"Bearer {TOKEN}"}


async def test_a_list_is_read_to_its_end_and_ten_without_a_cursor_are_searched(
    place: APIStandIn, api: HttpClient
):
    first = [{"id": str(number)} for number in range(10)]
    place.plan(
        action_list=[{"out": {"items": first, "cursor": "p 2"}}, {"out": {"items": [{"id": "x"}]}}]
    )
    assert len((await api.list_actions("c1", soon())).entries) == 11
    assert place.lines("asked")[1] == "GET /actions?connectionId=c1&limit=1000&cursor=p+2"
    place.plan(action_list={"out": {"items": first}})
    assert not (await api.list_actions("c1", soon())).complete
    assert len(place.lines("asked")) == 2 + 1 + len(FALLBACK_SEARCHES)


async def test_one_connection_is_read_and_waited_for(place: APIStandIn, api: HttpClient):
    place.plan(**{"connection get": {"out": {"id": "c1", "state": "BUILDING"}}})
    found = await api.get_connection("../a/b?c", soon())
    assert found is not None
    assert found.state == "BUILDING"
    await api.get_connection("c1", soon(), wait=20)
    assert place.lines("asked") == [
        "GET /connections/..%2Fa%2Fb%3Fc",
        "GET /connections/c1?wait=true&timeout=20",
    ]


@pytest.mark.parametrize("identity", ["", ".", ".."])
async def test_an_id_that_would_lead_elsewhere_is_not_sent(
    place: APIStandIn, api: HttpClient, identity: str
):
    for ask in (
        api.get_connection(identity, soon()),
        api.request(RawRequest("GET", "/api"), identity, CallOptions(soon())),
    ):
        with pytest.raises(KartraMCPError) as caught:
            await ask
        assert (caught.value.code, str(caught.value.executed)) == ("invalid_arguments", "no")
    assert place.lines("asked") == []


async def test_a_run_names_its_connection_and_a_write_its_intent(
    place: APIStandIn, api: HttpClient
):
    place.plan(action_run=DONE)
    arguments = {"email": "a@b.c", "note": 'é "q"\n', "n": 97.5}
    reply = await api.run(ACTION, arguments, "c1", CallOptions(soon()))
    assert (reply.result, reply.action_run_id) == ({"ok": 1}, "r1")
    noted = Noted(place)
    await api.run(ACTION, {}, "c1", CallOptions(soon(), write=True, write_record=noted))
    read, write = map(json.loads, place.lines("bodies"))
    assert read == {"id": "650e12", "connectionId": "c1", "input": arguments}
    assert noted.right is not None
    mark = {
        "kartra_mcp_intent": "int_0123456789abcdef",
        "kartra_mcp_attempt": noted.right.attempt,
        "kartra_mcp_line": 7,
        "kartra_mcp_hash": "a1",
    }
    assert write == {"id": "650e12", "connectionId": "c1", "input": {}, "meta": mark}
    assert place.lines("asked") == ["POST /act", "POST /act"]
    assert noted.told == [("begin", 1), ("started", 1)]


async def test_a_raw_request_is_described(place: APIStandIn, api: HttpClient):
    place.plan(request={"out": {"status": 200, "headers": {}, "body": {"status": "Success"}}})
    request = RawRequest(
        "POST",
        "/api/{what}",
        path_params={"what": "x=y"},
        query=(("a", "1"), ("b", "-2")),
        headers={"Accept": "application/json"},
        body='{"get_lead":{"email":"a@b.c"}}',
        content_type="application/json",
    )
    reply = await api.request(request, "c1", CallOptions(soon(), write_record=Noted()))
    assert (reply.status, reply.body) == (200, {"status": "Success"})
    form = RawRequest(
        "POST", "/api", query=(("a", "1"), ("a", "&")), body="a=b", content_type="x/y"
    )
    await api.request(form, "c1", CallOptions(soon()))
    await api.request(RawRequest("GET", "/api"), "c1", CallOptions(soon()))
    assert [json.loads(body) for body in place.lines("bodies")] == [
        {
            "method": "POST",
            "path": "/api/{what}",
            "pathParameters": {"what": "x=y"},
            "query": {"a": "1", "b": "-2"},
            "headers": {"Accept": "application/json", "Content-Type": "application/json"},
            "data": {"get_lead": {"email": "a@b.c"}},
        },
        {
            "method": "POST",
            "path": "/api?a=1&a=%26",
            "headers": {"Content-Type": "x/y"},
            "data": "a=b",
        },
        {"method": "GET", "path": "/api"},
    ]
    assert set(place.lines("asked")) == {"POST /connections/c1/request"}


WAITS = {"id": "c1", "state": "CLIENT_ACTION_REQUIRED"}


async def test_a_connection_is_mended_or_begun_by_whichever_address_there_is(
    place: APIStandIn, api: HttpClient
):
    nowhere = {"http": 404, "out": "<h1>Cannot POST</h1>"}
    place.plan(reconnect={"out": WAITS}, connect={"out": WAITS})
    assert (await api.connect(soon(), connection="c1")).state == "CLIENT_ACTION_REQUIRED"
    await api.connect(soon(), connector="k1")
    place.plan(reconnect=nowhere)
    await api.connect(soon(), connection="c1")
    place.plan(connect=nowhere, connection_create={"out": WAITS})
    await api.connect(soon(), connector="k1")
    assert place.lines("asked") == [
        "POST /connections/c1/reconnect",
        "POST /connect",
        "POST /connections/c1/reconnect",
        "POST /connect",
        "POST /connect",
        "POST /connections",
    ]
    assert json.loads(place.lines("bodies")[-1]) == {"connectorId": "k1"}


async def test_a_connect_whose_answer_is_lost_is_not_sent_again(place: APIStandIn, api: HttpClient):
    place.plan(reconnect={"signal": 9}, connect={"out": WAITS})
    with pytest.raises(KartraMCPError) as caught:
        await api.connect(soon(), connection="c1")
    assert str(caught.value.executed) == "unknown"
    assert len(place.lines("asked")) == 1


NO_LOGIN = {"type": "bad_request", "key": "not_authenticated", "message": "m"}


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ({"out": {"items": []}}, True),
        ({"out": NO_LOGIN, "exit": 1}, False),
        ({"http": 401, "out": "Unauthorized"}, False),
        ({"http": 502, "out": PAGE}, None),
    ],
    ids=repr,
)
async def test_whether_the_credentials_are_taken(
    place: APIStandIn,
    api: HttpClient,
    step: dict[str, Any],
    told: bool | None,  # noqa: FBT001
):
    place.plan(connection_list=step)
    assert await api.is_logged_in(soon()) is told


# ── What an answer proves ──


def envelope(key: str, kind: str = "bad_request") -> dict[str, str]:
    return {"type": kind, "key": key, "message": "turned away"}


ANSWERS: Mapping[str, tuple[dict[str, Any], str, str]] = {
    "a listed key": ({"out": envelope("not_found"), "exit": 1}, "membrane_error", "no"),
    "no login": ({"out": envelope("not_authenticated"), "exit": 1}, "not_logged_in", "no"),
    "no right": ({"out": envelope("access_denied"), "exit": 1}, "membrane_error", "no"),
    "too many": ({"out": envelope("rate_limit_exceeded"), "exit": 1}, "rate_limited", "no"),
    "too many, as a page": ({"http": 429, "out": PAGE}, "rate_limited", "no"),
    "a listed key under 500": (
        {"http": 500, "out": envelope("not_found")},
        "membrane_error",
        "unknown",
    ),
    "too many under 503": (
        {"http": 503, "out": envelope("rate_limit_exceeded")},
        "membrane_error",
        "unknown",
    ),
    "a login page": ({"http": 401, "out": "<html>Sign in</html>"}, "not_logged_in", "unknown"),
    "a 404 of nobody": ({"http": 404, "out": PAGE}, "membrane_error", "unknown"),
    "a bad gateway": ({"http": 502, "out": PAGE}, "membrane_error", "unknown"),
    "a silent 500": ({"http": 500}, "membrane_error", "unknown"),
    "a redirect": (
        {"http": 307, "headers": {"Location": "/act-elsewhere"}},
        "membrane_error",
        "unknown",
    ),
    "an envelope under 200": ({"out": envelope("not_found")}, "membrane_error", "no"),
    "an error without a key": (
        {"out": {"type": "action_run", "message": "m"}, "exit": 1},
        "membrane_error",
        "unknown",
    ),
    "garbage": ({"out": PAGE}, "unreadable_answer", "unknown"),
    "nothing": ({}, "unreadable_answer", "unknown"),
    "half a value": ({"out": '{"output": {"sta'}, "unreadable_answer", "unknown"),
    "two values": ({"out": '{"output": 1}\n{"output": 2}'}, "unreadable_answer", "unknown"),
    "an answer cut off": ({**DONE, "cut": True}, "membrane_error", "unknown"),
    "closed without an answer": ({"signal": 9}, "membrane_error", "unknown"),
    "no gzip": (
        {**DONE, "headers": {"Content-Encoding": "gzip"}},
        "membrane_error",
        "unknown",
    ),
    "40 MB": ({"flood": True}, "unreadable_answer", "unknown"),
    "hours": ({"hang": True}, "timed_out", "unknown"),
    "letter by letter": ({**DONE, "drip": 0.2}, "timed_out", "unknown"),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_what_an_answer_proves_of_a_write(place: APIStandIn, api: HttpClient, name: str):
    step, code, executed = ANSWERS[name]
    place.plan(action_run=[step, DONE])
    deadline = Deadline.after(3 if code == "timed_out" else 20)
    noted = Noted(place)
    to_do = CallOptions(deadline, write=True, write_record=noted)
    assert await failed(api, to_do) == (code, executed)
    assert [word for word, _ in noted.told] == ["begin", "started"]
    assert place.lines("asked") == ["POST /act"]
    assert (await api.run(ACTION, {}, "c1", CallOptions(soon()))).action_run_id == "r1"


# ── Before the first byte ──


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(place: APIStandIn, status: int):
    """A token is sent to the address of the settings only."""
    away = {"http": status, "headers": {"Location": f"{place.address}/elsewhere"}, "out": {}}
    place.plan(**{**healthy(action("get-lead")), "action_run": away})
    async with connect(place, "legacy") as client:
        answer = await call(client, "kartra_get_lead")
    assert answer.failed, answer.text
    assert "elsewhere" not in str(place.started())
    assert [words for words in place.started() if words[:2] == ["action", "run"]]


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_nothing_was_sent_where_there_is_no_connection(place: APIStandIn, scheme: str):
    """Nothing listens on the port, or the listener has no TLS."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    found, _ = credentials_from_env(
        {
            "MEMBRANE_TOKEN": TOKEN,
            "MEMBRANE_API_URI": f"http://127.0.0.1:{port}"
            if scheme == "http"
            else place.address.replace("http:", "https:"),
        }
    )
    assert found is not None
    api, noted = HttpClient(found, CallLimiter(1)), Noted()
    to_do = CallOptions(soon(), write=True, write_record=noted)
    assert await failed(api, to_do) == ("membrane_error", "no")
    assert [word for word, _ in noted.told] == ["begin"]
    assert place.lines("asked") == []
    await api.close()


@pytest.mark.parametrize("seconds", [0, -1])
async def test_without_time_nothing_is_recorded_or_sent(
    place: APIStandIn, api: HttpClient, seconds: float
):
    noted = Noted()
    to_do = CallOptions(Deadline.after(seconds), write=True, write_record=noted)
    assert (await failed(api, to_do))[1] == "no"
    assert noted.told == place.lines("asked") == []


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("x" * 10_000_000, "input_too_large"),
        (float("nan"), "invalid_arguments"),
        ("\ud800", "invalid_arguments"),
    ],
    ids=["10 MB", "no number", "half a letter"],
)
async def test_what_cannot_be_sent_is_not_recorded(
    place: APIStandIn, api: HttpClient, value: Any, code: str
):
    noted = Noted()
    with pytest.raises(KartraMCPError) as caught:
        await api.run(
            ACTION, {"x": value}, "c1", CallOptions(soon(), write=True, write_record=noted)
        )
    assert (caught.value.code, str(caught.value.executed)) == (code, "no")
    assert noted.told == place.lines("asked") == []


# ── Connections are kept, and lost ──


async def test_reads_share_a_connection_and_a_closed_one_is_not_sent_to(
    place: APIStandIn, api: HttpClient
):
    place.plan(action_run=[DONE, DONE, {**DONE, "shut": True}, DONE])
    for _ in range(3):
        await api.run(ACTION, {}, "c1", CallOptions(soon()))
    assert len(set(place.lines("ports"))) == 1
    await until(lambda: bool(place.lines("shut")))
    await anyio.wait_all_tasks_blocked()
    await api.run(ACTION, {}, "c1", CallOptions(soon()))
    assert len(set(place.lines("ports"))) == 2


async def test_what_came_unasked_on_a_kept_connection_is_nobodys_answer(
    place: APIStandIn, api: HttpClient
):
    """The next read once took it for its own answer."""
    place.plan(action_run=[{**DONE, "after": EVIL}, DONE])
    await api.run(ACTION, {}, "c1", CallOptions(soon()))
    (place.folder / "read").touch()
    await until((place.folder / "after").exists)
    await anyio.wait_all_tasks_blocked()
    assert (await api.run(ACTION, {}, "c1", CallOptions(soon()))).action_run_id == "r1"
    assert len(set(place.lines("ports"))) == 2


async def test_what_is_read_for_a_preview_has_a_connection_of_its_own(
    place: APIStandIn, api: HttpClient
):
    place.plan(action_run=DONE)
    for _ in range(2):
        await api.run(ACTION, {}, "c1", CallOptions(soon(), fresh_connection=True))
    assert len(set(place.lines("ports"))) == 2


async def test_a_write_has_a_connection_of_its_own(place: APIStandIn, api: HttpClient):
    """Bug: surplus bytes after a read were taken for the answer to the next write."""
    place.plan(action_run=[DONE, DONE, DONE])
    await api.run(ACTION, {}, "c1", CallOptions(soon()))
    for _ in range(2):
        await api.run(ACTION, {}, "c1", CallOptions(soon(), write=True))
    assert len(set(place.lines("ports"))) == 3


async def test_a_write_on_a_connection_that_breaks_is_unknown_and_not_sent_again(
    place: APIStandIn, api: HttpClient
):
    place.plan(action_run=[DONE, {"signal": 9}, DONE])
    await api.run(ACTION, {}, "c1", CallOptions(soon(), write=True))
    assert await failed(api, CallOptions(soon(), write=True)) == ("membrane_error", "unknown")
    assert len(place.lines("asked")) == 2


@pytest.mark.parametrize(
    "page", [None, {}, [], True, "maintenance", {"loginUrl": "https://example.com"}], ids=str
)
async def test_a_page_without_a_run_does_not_prove_a_write(
    place: APIStandIn, api: HttpClient, page: Any
):
    place.plan(action_run={"out": page if page != "maintenance" else json.dumps(page)})
    assert await failed(api, CallOptions(soon(), write=True)) == ("unreadable_answer", "unknown")


def php(token: str) -> str:
    return token.replace("/", "\\/")


def gson(token: str) -> str:
    return token.replace("=", "\\u003d")


def by_numbers(token: str) -> str:
    return "".join(f"\\u{ord(letter):04X}" for letter in token)


@pytest.mark.parametrize("status", [200, 502])
@pytest.mark.parametrize("spelt", [str, php, gson, by_numbers])
async def test_a_token_that_comes_back_is_not_shown_however_it_is_spelt(
    place: APIStandIn, spelt: Any, status: int
):
    token = "mbr/Zm9v+YmFy/x=y="
    api = HttpClient(Credentials(place.address, Secret(token)), CallLimiter(2))
    said = f'{{"output": {{"x": "{spelt(token)}", "kept": "a\\/b"}}, "actionRunId": "r1"}}'
    place.plan(action_run={"http": status, "out": said})
    try:
        shown = str(await api.run(ACTION, {}, "c1", CallOptions(soon())))
    except KartraMCPError as problem:
        shown = str(problem.as_dict())
    assert "(a secret)" in shown
    assert "kept" in shown
    assert "Zm9v" not in shown
    assert spelt(token) not in shown
    await api.close()


async def test_a_rate_limit_error_with_a_run_proves_nothing(place: APIStandIn, api: HttpClient):
    place.plan(action_run={"http": 429, "out": {"actionRunId": "r1", "output": {}}})
    _, executed = await failed(api, CallOptions(soon(), write=True))
    assert executed == "unknown"


def test_a_log_that_leaves_its_output_out_settles_nothing():
    """It was once taken for an output of null, and so for a success."""
    told = parse_run_log({"id": "r1", "status": "success"})
    assert (told.reply, told.error) == (None, None)


async def test_a_proxy_that_cannot_be_used_is_named_and_nothing_is_sent(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "ht!tp://user:pa55word@x")
    api = HttpClient(Credentials("https://api.example.com", Secret(TOKEN)), CallLimiter(2))
    with pytest.raises(KartraMCPError) as caught:
        await api.run(ACTION, {}, "c1", CallOptions(soon(), write=True))
    assert caught.value.executed == "no"
    assert "HTTPS_PROXY" in str(caught.value.detail)
    assert "pa55word" not in str(caught.value.as_dict())
    await api.close()


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY"])
async def test_a_proxy_error_is_not_the_apis_and_its_password_is_not_shown(
    monkeypatch, place: APIStandIn, name: str
):
    monkeypatch.setenv(name, place.address.replace("://", "://user:pa55word@"))
    api, noted = (
        HttpClient(Credentials("https://api.example.com", Secret(TOKEN)), CallLimiter(2)),
        Noted(),
    )
    with pytest.raises(KartraMCPError) as caught:
        await api.run(ACTION, {}, "c1", CallOptions(soon(), write=True, write_record=noted))
    assert (caught.value.code, str(caught.value.executed)) == ("membrane_error", "no")
    assert "proxy answered with the HTTP status 501" in str(caught.value.detail)
    assert "pa55word" not in str(caught.value.as_dict())
    assert [word for word, _ in noted.told] == ["begin"]
    await api.close()


@pytest.mark.parametrize("scheme", ["socks5", "SOCKS5h", "socks4", "ftp", "x y"])
async def test_a_proxy_that_is_not_spoken_is_named_and_not_spoken_to(
    monkeypatch, place: APIStandIn, scheme: str
):
    monkeypatch.setenv("ALL_PROXY", place.address.replace("http://", f"{scheme}://user:pa55word@"))
    api, noted = (
        HttpClient(Credentials("https://api.example.com", Secret(TOKEN)), CallLimiter(2)),
        Noted(),
    )
    to_do = CallOptions(soon(), write=True, write_record=noted)
    with pytest.raises(KartraMCPError) as caught:
        await api.run(ACTION, {}, "c1", to_do)
    assert (caught.value.code, str(caught.value.executed)) == ("membrane_error", "no")
    assert "ALL_PROXY" in str(caught.value.detail)
    assert "pa55word" not in str(caught.value.as_dict())
    assert place.lines("asked") == []
    await api.close()


async def test_a_proxy_may_be_named_without_its_scheme(monkeypatch, place: APIStandIn):
    monkeypatch.setenv("HTTPS_PROXY", place.address.removeprefix("http://"))
    api = HttpClient(Credentials("https://api.example.com", Secret(TOKEN)), CallLimiter(2))
    with pytest.raises(KartraMCPError) as caught:
        await api.run(ACTION, {}, "c1", CallOptions(soon()))
    assert "proxy answered with the HTTP status 501" in str(caught.value.detail)
    await api.close()


async def test_an_address_of_this_machine_is_asked_without_a_proxy(monkeypatch, place: APIStandIn):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    api = HttpClient(Credentials(place.address, Secret(TOKEN)), CallLimiter(2))
    place.plan(action_run=DONE)
    assert (await api.run(ACTION, {}, "c1", CallOptions(soon()))).action_run_id == "r1"
    await api.close()


async def test_no_more_are_under_way_at_once_than_there_are_places(place: APIStandIn):
    api = HttpClient(Credentials(place.address, Secret(TOKEN)), CallLimiter(2))
    place.plan(action_run={**DONE, "gate": "open"})
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(api.run, ACTION, {}, "c1", CallOptions(soon()))
        await until(lambda: len(place.lines("asked")) == 2)
        await anyio.wait_all_tasks_blocked()
        assert len(place.lines("asked")) == 2
        (place.folder / "open").touch()
    assert len(place.lines("asked")) == 5
    await api.close()


# ── Tokens ──


async def test_a_token_is_renewed_before_it_expires_or_when_it_is_rejected(place: APIStandIn):
    now = [1_800_000_000.0]
    made = Credentials(place.address, None, "workspace", Secret("a-secret-of-the-tests"), "tenant")
    api = HttpClient(made, CallLimiter(4), Clocks(lambda: now[0]))
    place.plan(action_run=[DONE, DONE, DONE, {"http": 401, "out": NO_LOGIN}, DONE])
    for ahead in (0, 239, 241):
        now[0] = 1_800_000_000.0 + ahead
        await api.run(ACTION, {}, "c1", CallOptions(soon()))
    now[0] += 1
    assert await failed(api, CallOptions(soon(), write=True)) == ("not_logged_in", "no")
    await api.run(ACTION, {}, "c1", CallOptions(soon()))
    first, second, third, fourth, fifth = place.lines("tokens")
    assert first == second
    assert third == fourth
    assert len({first, third, fifth}) == 3
    await api.close()


async def test_membrane_takes_what_is_minted(sandbox, protocol_version):
    with sandbox_served(sandbox) as served:
        async with connect(served, protocol_version) as client:
            answer = await call(client, "kartra_get_lead", email="ada@example.com")
            assert answer.result["lead_details"]["id"] == "48110"
            served.arrange("logout")
            ended = await call(client, "kartra_get_lead", email="ada@example.com")
    assert (ended.code, ended.executed) == ("not_logged_in", "no")
    assert "MEMBRANE_ACCESS_TOKEN" in ended.error["remedy"]


# ── Cancelled ──

READ, REFUND = "kartra_get_lead", "kartra_refund_transaction"
OPENED = {"in memory": connect, "over stdio": connect_stdio}


@pytest.fixture
def front(place: APIStandIn) -> APIStandIn:
    schema = {"type": "object", "properties": {"transaction_id": {"type": "integer"}}}
    kinds = [action("get-lead"), action("refund-transaction", inputSchema=schema)]
    place.plan(**healthy(*kinds))
    return place


async def call_in(scope, client, tool, **arguments):
    with scope:
        await client.call_tool(tool, arguments)


@pytest.mark.parametrize("opened", OPENED.values(), ids=OPENED)
@both_eras
async def test_a_cancelled_read_closes_its_connection(front: APIStandIn, protocol_version, opened):
    front.plan(action_run={"hang": True})
    async with opened(front, protocol_version) as client, anyio.create_task_group() as tasks:
        await client.list_tools()
        calling = anyio.CancelScope()
        tasks.start_soon(call_in, calling, client, READ)
        await until(lambda: bool(front.runs()))
        calling.cancel()
        await until(lambda: bool(front.lines("left")))
        front.plan(action_run=DONE)
        assert (await call(client, READ)).result == {"ok": 1}


@pytest.mark.parametrize("opened", OPENED.values(), ids=OPENED)
@both_eras
async def test_a_cancelled_refund_that_was_sent_is_finished(
    front: APIStandIn, protocol_version, opened
):
    front.plan(action_run={**DONE, "gate": "open", "done": "done"})
    lines: list[Any] = []
    async with opened(front, protocol_version) as client, anyio.create_task_group() as tasks:
        await client.list_tools()
        calling = anyio.CancelScope()
        given = {"transaction_id": 101, "confirm": True}
        tasks.start_soon(lambda: call_in(calling, client, REFUND, **given))
        await until(lambda: bool(front.runs()))
        calling.cancel()
        await client.list_tools(cache_mode="bypass")  # answered after the cancellation was heard
        (front.folder / "open").touch()
        await until((front.folder / "done").exists)
        while not lines or lines[0]["state"] == "running":
            lines = (await call(client, "kartra_ledger")).result["lines"]
    assert (lines[0]["state"], front.lines("left"), len(front.runs())) == ("succeeded", [], 1)


async def test_the_end_of_the_server_ends_what_was_to_be_finished(
    place: APIStandIn, api: HttpClient
):
    place.plan(action_run={"hang": True})
    ended: list[tuple[str, str]] = []

    async def run() -> None:
        ended.append(await failed(api, CallOptions(soon(), write=True, shielded=True)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await until(lambda: bool(place.runs()))
        api.cancel_all()
    assert ended == [("timed_out", "unknown")]


# ── Status of the transport ──


async def test_the_status_names_the_host_and_nothing_else(front: APIStandIn, protocol_version):
    async with connect(front, protocol_version) as client:
        told = (await call(client, "kartra_status")).result
    host = front.address.removeprefix("http://")
    assert told["program"] == {
        "command": f"Membrane's API at {host}",
        "transport": "api",
        "version": "",
        "is_membrane": "yes",
    }
    assert told["healthy"] is True


async def test_the_status_explains_unused_partial_credentials(
    fake_membrane: StandIn, protocol_version
):
    fake_membrane.plan(**healthy(action("get-lead")))
    half = Half(fake_membrane.folder, fake_membrane.settings)
    async with connect(half, protocol_version) as client:
        program = (await call(client, "kartra_status")).result["program"]
        assert (program["transport"], program["is_membrane"]) == ("cli", "yes")
        assert program["api_not_used"].startswith("MEMBRANE_WORKSPACE_SECRET and MEMBRANE_TENANT")
        told = (await call(client, "kartra_status")).result
        assert (told["healthy"], len(told["problems"])) == (False, 1)
        assert "MEMBRANE_WORKSPACE_SECRET" in told["problems"][0]["message"]
        assert "KARTRA_MCP_TRANSPORT=cli" in told["problems"][0]["remedy"]
    half.settings = {"TRANSPORT": "cli"}
    async with connect(half, protocol_version) as client:
        assert (await call(client, "kartra_status")).result["healthy"] is True
    half.settings = {"TRANSPORT": "api"}
    before = fake_membrane.started()
    async with connect(half, protocol_version) as client:
        told = (await call(client, "kartra_status")).result
        answer = await call(client, READ)
    assert told["problems"][0]["code"] == "not_logged_in"
    assert "MEMBRANE_WORKSPACE_SECRET" in told["problems"][0]["message"]
    assert (answer.code, answer.executed) == ("not_logged_in", "no")
    assert fake_membrane.started() == before


class Half(StandIn):
    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "MEMBRANE_WORKSPACE_KEY": "a-workspace"}
