"""Notices of requests for approval: what they carry, that each is sent once, and their faults."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from ledger_stores import APP
from polling import wait_for
from prometheus_client import generate_latest
from service_world import HOST, Caller, TeamWorld, team_world
from webhook_receiver import SECRET_PATH, Receiver, serving_receiver

from kartra_mcp.ledger.postgres.migrations import migrate_service
from kartra_mcp.membrane.credentials import Secret
from kartra_mcp.service.logs import EVENTS, LogSink
from kartra_mcp.service.metrics import ServiceMetrics
from kartra_mcp.service.observer import NoticeEvent
from kartra_mcp.team.config import NOTICE_FORMATS
from kartra_mcp.team.notice import make_message, make_notice
from kartra_mcp.team.webhook import NoticeFailed, Webhook

NOTICE = make_notice("main", "Main shop", 7, "https://kartra.example.com/page/a/main/approvals/7")
PAGE = """\
page: {issuer: https://login.example.com, client_id: kartra-page}
notify: {url_file: webhook}
"""
HUMAN = '[gates]\nirreversible = "human"\n'


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with serving_receiver() as made:
        yield made


# What is sent


def test_a_notice_is_a_link_in_the_form_that_its_reader_takes():
    as_json = make_message(NOTICE, "json")
    assert as_json == {
        "event": "approval_requested",
        "account": "main",
        "number": 7,
        "text": "Main shop: request 7 waits for an approval.",
        "url": "https://kartra.example.com/page/a/main/approvals/7",
    }
    slack = make_message(NOTICE, "slack")
    assert slack["text"] == f"{as_json['text']} <{as_json['url']}|Open it>"
    assert (slack["unfurl_links"], slack["unfurl_media"]) == (False, False)
    teams = make_message(NOTICE, "teams")
    (attached,) = teams["attachments"]
    assert teams["type"] == "message"
    assert attached["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attached["content"]
    assert card["body"][0]["text"] == as_json["text"]
    assert card["actions"] == [
        {"type": "Action.OpenUrl", "title": "Open it", "url": as_json["url"]}
    ]


def test_a_title_is_no_markup_of_slack():
    notice = make_notice("main", "<!channel> & <https://evil.example|x>", 1, "https://k.example")
    text = make_message(notice, "slack")["text"]
    assert text.count("<") == 1
    assert "&lt;!channel&gt; &amp;" in text


# How it is sent


@pytest.mark.anyio
async def test_a_notice_is_posted_once(receiver: Receiver):
    for format_ in NOTICE_FORMATS:
        await Webhook(Secret(receiver.url), format_).send(NOTICE)
    assert receiver.messages == [make_message(NOTICE, format_) for format_ in NOTICE_FORMATS]
    assert receiver.paths == [SECRET_PATH] * len(NOTICE_FORMATS)


@pytest.mark.anyio
@pytest.mark.parametrize("status", [301, 307, 400, 404, 429, 500, 503])
async def test_another_status_is_a_failure_that_is_not_repeated(receiver: Receiver, status: int):
    receiver.status, receiver.location = status, f"{receiver.origin}/elsewhere"
    with pytest.raises(NoticeFailed) as failed:
        await Webhook(Secret(receiver.url), "json").send(NOTICE)
    assert failed.value.reason == f"status {status}"
    assert receiver.paths == [SECRET_PATH]


@pytest.mark.anyio
async def test_a_receiver_that_never_answers_costs_a_bounded_time(receiver: Receiver):
    receiver.is_silent = True
    with pytest.raises(NoticeFailed, match=r"no answer in 0\.3 s"):
        await Webhook(Secret(receiver.url), "json", timeout=0.3).send(NOTICE)


@pytest.mark.anyio
@pytest.mark.parametrize("url", ["http://127.0.0.1:9/s3cr3t", "https://nothing.invalid/s3cr3t"])
async def test_a_receiver_that_is_not_there_is_named_without_its_address(url: str):
    with pytest.raises(NoticeFailed) as failed:
        await Webhook(Secret(url), "json").send(NOTICE)
    assert "s3cr3t" not in repr(failed.value)
    assert failed.value.__cause__ is None


# The service


@pytest.fixture
def team_log(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    """The log of the service, as an operator gets it."""
    text = StringIO()
    monkeypatch.setattr(EVENTS, "stream", text)
    return text


@pytest.fixture
def metrics() -> ServiceMetrics:
    return ServiceMetrics()


@pytest.fixture
def world(
    team_database: Any, receiver: Receiver, team_log: StringIO, metrics: ServiceMetrics
) -> Iterator[TeamWorld]:
    """Two replicas whose calls of the gate human need other people."""
    del team_log
    migrate_service(team_database.server.dsn(), APP)
    with (
        TemporaryDirectory() as folder,
        team_world(Path(folder), team_database, more=PAGE) as world,
    ):
        write_webhook(world, receiver.url)
        world.add_account("Main shop", HUMAN)
        for _ in range(2):
            world.start_replica(sinks=(LogSink(), metrics))
        yield world


def write_webhook(world: TeamWorld, url: str) -> None:
    file = world.folder / "webhook"
    file.write_text(url)
    file.chmod(0o600)


def notices(world: TeamWorld) -> list[NoticeEvent]:
    return [event for replica in world.replicas for event in replica.events.notices]


def requester(world: TeamWorld, name: str = "bea") -> Caller:
    return world.caller(name, next(iter(world.sandboxes)), "requester")


def ask(caller: Caller, transaction: int = 101) -> dict[str, Any]:
    error = caller.call("kartra_refund_transaction", transaction_id=transaction).tool_error
    assert error["code"] == "approval_required"
    return error


def test_one_notice_is_sent_for_a_request_however_often_and_where_it_is_repeated(
    world: TeamWorld, receiver: Receiver
):
    bea = requester(world)
    first = ask(bea)
    wait_for(lambda: receiver.messages)
    for replica in (*world.replicas, *world.replicas):
        assert ask(bea.at(replica))["confirmation"]["number"] == first["confirmation"]["number"]
    second = ask(bea, 105)
    wait_for(lambda: len(notices(world)) == 2)
    assert [message["number"] for message in receiver.messages] == [
        first["confirmation"]["number"],
        second["confirmation"]["number"],
    ]
    assert [event.reason for event in notices(world)] == ["", ""]


def test_a_notice_has_nothing_of_the_customer_the_amount_or_the_people(
    world: TeamWorld, receiver: Receiver
):
    bea = requester(world, "bea-the-requester")
    confirmation = ask(bea)["confirmation"]
    wait_for(lambda: receiver.messages)
    account, number = bea.account, confirmation["number"]
    assert receiver.messages == [
        {
            "event": "approval_requested",
            "account": account,
            "number": number,
            "text": f"Main shop: request {number} waits for an approval.",
            "url": f"https://{HOST}/page/a/{account}/approvals/{number}",
        }
    ]
    assert confirmation["address"] == receiver.messages[0]["url"]


def test_a_receiver_that_never_answers_delays_no_call(world: TeamWorld, receiver: Receiver):
    receiver.is_silent = True
    bea = requester(world)
    began = time.monotonic()
    for transaction in (101, 105, 101):
        ask(bea, transaction)
    took = time.monotonic() - began
    wait_for(lambda: receiver.messages)
    assert not receiver.release.is_set()
    assert took < 10, "one silent notice alone takes ten seconds"
    receiver.release.set()
    wait_for(lambda: len(notices(world)) == 2)


def test_a_failure_is_logged_and_counted_and_the_call_is_answered_as_ever(
    world: TeamWorld, receiver: Receiver, team_log: StringIO, metrics: ServiceMetrics
):
    receiver.status = 404
    bea = requester(world)
    number = ask(bea)["confirmation"]["number"]
    wait_for(lambda: notices(world))
    assert notices(world) == [NoticeEvent(bea.account, number, "status 404")]
    lines = [json.loads(line) for line in team_log.getvalue().splitlines()]
    (failed,) = [line for line in lines if line["event"] == "notice_failed"]
    assert (failed["account"], failed["number"], failed["reason"]) == (
        bea.account,
        number,
        "status 404",
    )
    text = generate_latest(metrics.registry).decode()
    assert f'kartra_mcp_notices_total{{account="{bea.account}",outcome="failed"}} 1.0' in text
    assert "s3cr3t" not in team_log.getvalue() + text
    ask(bea)
    ask(bea.at(world.replicas[1]))
    ask(bea, 105)
    wait_for(lambda: len(notices(world)) == 2)
    assert len(receiver.messages) == 2, "a notice that failed is not repeated"


def test_a_notice_that_could_not_be_claimed_is_sent_at_the_next_call(
    world: TeamWorld, receiver: Receiver
):
    """The tables of the service are of an older version: the call is answered as ever."""
    bea, sql = requester(world), world.database.server.run_sql
    sql("ALTER TABLE service.notices RENAME TO elsewhere")
    try:
        number = ask(bea)["confirmation"]["number"]
        wait_for(lambda: notices(world))
    finally:
        sql("ALTER TABLE service.elsewhere RENAME TO notices")
    assert notices(world) == [NoticeEvent(bea.account, number, "ledger_unavailable")]
    assert receiver.messages == []
    ask(bea)
    wait_for(lambda: len(notices(world)) == 2)
    assert [message["number"] for message in receiver.messages] == [number]


def test_what_waits_at_the_end_of_a_replica_is_sent(world: TeamWorld, receiver: Receiver):
    receiver.is_silent = True
    bea = requester(world)
    ask(bea)
    wait_for(lambda: receiver.messages)
    ask(bea, 105)
    world.replicas[0].stop()
    receiver.release.set()
    world.replicas[0].thread.join(30)
    assert len(receiver.messages) == 2


def test_a_team_file_without_a_webhook_sends_nothing(team_database: Any, receiver: Receiver):
    with TemporaryDirectory() as folder, team_world(Path(folder), team_database) as world:
        world.add_account("Main shop", HUMAN)
        replica = world.start_replica()
        ask(requester(world))
        assert replica.replica.notices is None
    assert receiver.messages == []
